//! Flags that skopeo's users type: old ones, loose ones, and those that hod refuses and says why.

use crate::signatures::Keyring;
use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::job::text;
use crate::support::skopeo;
use crate::support::tls::Certificates;

/// skopeo's old `--tls-verify` stands before or behind the command, and means both sides where these say nothing.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn one_flag_trusts_anybody_at_both_sides() {
    let certificates = Certificates::new();
    let from = DockerRegistry::options().tls(&certificates).root(fixtures::root()).start();
    let to = DockerRegistry::options().tls(&certificates).start();
    let folder = tempfile::tempdir().unwrap();
    let image = format!("docker://{}/web:1.0", from.host());
    let target = format!("docker://{}/copied:1.0", to.host());
    let repository = format!("{}/web", from.host());
    let index = format!("docker://{}/index:1.0", to.host());
    let commands: [&[&str]; 4] = [
        &["copy", &image, &target],
        &["sync", "--src", "docker", "--dest", "docker", &repository, to.host()],
        &["inspect", &image],
        &["index", "create", &index, &image],
    ];
    for command in commands {
        let run = |words: &[&str]| hod(words).in_folder(folder.path());
        run(command).args(["--retry-times", "0"]).code(1);
        run(&[&["--tls-verify=false"], command].concat()).ok();
        run(&[command, &["--tls-verify=false"]].concat()).ok();
        run(command).env("HOD_TLS_VERIFY", "false").ok();
        // What is said of one side counts more.
        let own = if command[0] == "inspect" { "--tls-verify=true" } else { "--src-tls-verify=true" };
        run(&[&["--tls-verify=false"], command, &[own, "--retry-times", "0"]].concat()).code(1);
        if command[0] != "inspect" {
            run(&[command, &["--tls-verify=false", "--dest-tls-verify", "--retry-times", "0"]].concat()).code(1);
        }
    }
    // And so it does in skopeo.
    let there = format!("dir:{}", folder.path().join("there").display());
    skopeo::skopeo(["--tls-verify=false", "copy", &image, &there]);
    skopeo::skopeo(["copy", "--tls-verify=false", &image, &there]);
}

/// What gpg takes for the name of a key hod takes, where one key alone is meant; skopeo signs with the same.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn keys_are_found_by_mail_and_number() {
    let keys = Keyring::new("ed25519", "sign", "");
    keys.gpg(&["--passphrase", "", "--quick-generate-key", "Build <build@site.example>", "ed25519", "sign", "never"]);
    let all = keys.path("all.asc");
    fs_err::write(&all, keys.gpg(&["--armor", "--export-secret-keys"])).unwrap();
    let manifest = keys.manifest();
    let id = &keys.fingerprint[24..];
    let signature = keys.path("signature");
    let sign = |name: &str, more: &[&str]| {
        let words = ["standalone-sign", &manifest, "registry.example/web:1.0", name, "-o", text(&signature), "--json"];
        keys.hod(&[&words[..], more].concat()).run()
    };
    let file = ["--sign-key", text(&all)];
    for name in [
        "release@site.example",
        "<release@site.example>",
        "Release <release@site.example>",
        id,
        "Release",
        "@lease@site",
    ] {
        for more in [&[][..], &file] {
            let signed = sign(name, more);
            assert_eq!(signed.code, Some(0), "{name} {more:?}: {}", signed.stderr);
            assert_eq!(signed.json()["fingerprint"], keys.fingerprint.as_str(), "{name} {more:?}");
        }
    }
    for more in [&[][..], &file] {
        let ambiguous = sign("site.example", more);
        assert_eq!(ambiguous.code, Some(2), "{}", ambiguous.stderr);
        assert!(ambiguous.stderr.contains("error: \"site.example\" matches 2 secret keys"), "{}", ambiguous.stderr);
        for fits in [format!("{} Release <release@site.example>", keys.fingerprint), "Build <build@site".to_owned()] {
            assert!(ambiguous.stderr.contains(&fits), "{fits}: {}", ambiguous.stderr);
        }
        let none = sign("nobody@site.example", more);
        assert_eq!(none.code, Some(2), "{}", none.stderr);
        assert!(none.stderr.contains("no secret key that can sign matches \"nobody@site.example\""), "{}", none.stderr);
    }
    // skopeo takes the same names, and refuses the same.
    let copy = |tool: &str, name: &str| {
        let folder = tempfile::tempdir().unwrap();
        let image = format!("oci:{}:certs:2023", fixtures::folder().join("images").display());
        let to = format!("dir:{}", folder.path().join("out").display());
        let words = ["copy", "--sign-by", name, "--sign-identity", "docker.io/library/web:1.0", &image, &to];
        if tool == "hod" {
            keys.hod(&words).run().code == Some(0)
        } else {
            keys.skopeo(&[&["--insecure-policy"], &words[..]].concat()).status.success()
        }
    };
    for (name, taken) in [("release@site.example", true), (id, true), ("site.example", false), ("nobody@site", false)] {
        assert_eq!((copy("hod", name), copy("skopeo", name)), (taken, taken), "{name}");
    }
}

/// Flags of skopeo's that hod does not heed say what they are for, and what to do without them.
#[test]
fn flags_that_are_refused_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let image = format!("store:{}:web:1.0", fixtures::root().display());
    for (words, what, instead) in [
        (&["--encryption-key", "jwe:public.pem"][..], "--encryption-key encrypts layers", "use skopeo for this step"),
        (&["--encrypt-layer", "-1"], "--encrypt-layer encrypts layers", "use skopeo for this step"),
        (&["--decryption-key", "private.pem"], "--decryption-key decrypts layers", "use skopeo for this step"),
        (&["--sign-by-sigstore", "p.yaml"], "--sign-by-sigstore creates sigstore signatures", "cosign sign"),
        (
            &["--sign-by-sigstore-private-key", "x.key"],
            "--sign-by-sigstore-private-key creates sigstore signatures",
            "hod pack --sign",
        ),
    ] {
        let refused = hod([&["copy"], words, &[&image, "dir:x"]].concat()).in_folder(folder.path()).code(2);
        let (error, hint) = refused.stderr.split_once('\n').unwrap();
        assert!(error.contains(what) && hint.contains("hint: ") && hint.contains(instead), "{}", refused.stderr);
        assert!(!folder.path().join("x").exists());
    }
    let help = hod(["copy", "--help"]).ok().text();
    assert!(!help.contains("encrypt-layer") && !help.contains("decryption"), "{help}");
}
