//! Signatures that hod writes: into lookasides, beside image directories, and new ones with `--sign-by`.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{Keyring, Signed};
use crate::support::hod::{Hod, hod};
use crate::support::{fixtures, job, tree};

/// A site where signatures are read at one place and written to another.
struct Site {
    signed: Signed,
}

impl Site {
    fn new() -> Self {
        let site = Self { signed: Signed::new() };
        site.stage("ours");
        site.stage("theirs");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.signed.keys.path(name)
    }

    /// A `registries.d` of that name, by which signatures are written to a folder of that name.
    fn stage(&self, name: &str) {
        let folder = self.path(&format!("{name}.d"));
        fs::create_dir_all(&folder).unwrap();
        let (host, read, written) = (self.signed.registry.host(), self.path("lookaside"), self.path(name));
        let (read, written) = (read.display(), written.display());
        let text =
            format!("docker:\n  {host}:\n    lookaside: file://{read}\n    lookaside-staging: file://{written}\n");
        fs::write(folder.join("site.yaml"), text).unwrap();
    }

    fn hod(&self, arguments: &[&str]) -> Hod {
        self.signed.keys.hod(&["--registries.d", job::text(&self.path("ours.d"))]).args(arguments)
    }

    #[track_caller]
    fn skopeo(&self, arguments: &[&str]) {
        let registries = self.path("theirs.d");
        let global = ["--insecure-policy", "--registries.d", job::text(&registries)];
        let output = self.signed.keys.skopeo(&[&global[..], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The folders with signatures of a repository.
    fn folders(&self, name: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(name)) else { return Vec::new() };
        let mut found: Vec<String> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        found
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(|entry| entry.unwrap());
    entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().to_owned()).collect()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_lookaside_is_written_and_cleared_as_skopeo_does_it() {
    let site = Site::new();
    let directory = format!("dir:{}", site.path("directory").display());
    site.hod(&["copy", "--all", &site.signed.image("web:1.0"), &directory]).ok();
    let (ours, theirs) = (site.signed.image("again/ours:1.0"), site.signed.image("again/theirs:1.0"));
    let copied = site.hod(&["copy", "--all", "--json", &directory, &ours]).ok().json();
    assert_eq!((&copied["images"][0]["signatures"], &copied["images"][0]["signaturesLeft"]), (&3.into(), &0.into()));
    site.skopeo(&["copy", "--all", "--dest-tls-verify=false", &directory, &theirs]);
    let (left, right) = (site.folders("ours/again"), site.folders("theirs/again"));
    let other = |name: &String| name.replace("ours@", "theirs@");
    assert_eq!(left.iter().map(other).collect::<Vec<_>>(), right);
    assert_eq!(left.len(), 3, "{left:?}");
    for name in &left {
        tree::assert_same(&site.path("ours/again").join(name), &site.path("theirs/again").join(other(name)));
    }

    // What is written can be published by copying it to where signatures are read.
    let published = site.path("lookaside");
    tree::copy(&site.path("ours"), &published);
    let rule = format!(
        r#","signedIdentity":{{"type":"exactReference","dockerReference":"{}"}}"#,
        &site.signed.image("web:1.0")[9..]
    );
    assert!(site.signed.copies(&rule, &["--all"], &ours));

    // Sync writes them too, over what is there.
    let folder = site.path("tree");
    fs::create_dir_all(folder.join("ours:1.0")).unwrap();
    tree::copy(&site.path("directory"), &folder.join("ours:1.0"));
    let stale = site.path("ours/again").join(&left[0]).join("signature-2");
    fs::write(&stale, "stale").unwrap();
    let host = format!("{}/again", site.signed.registry.host());
    site.hod(&["sync", "--src", "dir", "--dest", "docker", "--all", job::text(&folder), &host]).ok();
    assert!(!stale.exists(), "what is no signature of it any more is removed");

    // Deleting the image takes the signature of what its tag named.
    let deleted = site.hod(&["delete", &ours]).ok();
    assert!(deleted.stderr.contains("1 signature of it removed"), "{}", deleted.stderr);
    site.skopeo(&["delete", "--tls-verify=false", &theirs]);
    for side in ["ours", "theirs"] {
        assert_eq!(files(&site.path(side).join("again")).len(), 2, "those of the images in the index: {side}");
    }
    // A web server cannot be written to: nothing is lost, and it is said.
    site.signed.configure("http://127.0.0.1:9/none");
    let web = hod(["copy", "--all", &directory, &theirs]).env("HOD_REGISTRIES_D", site.path("registries.d"));
    let left = web.ok();
    assert!(left.stderr.contains("3 signatures of"), "{}", left.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_signed_on_the_way_skopeo_and_hod_take() {
    let site = Site::new();
    let keys = &site.signed.keys;
    let from = format!("oci:{}:web:1.1", fixtures::folder().join("images").display());
    let registries = site.path("registries.d");
    let global = ["--registries.d", job::text(&registries), "copy", "--all", "--sign-by", &keys.fingerprint];
    let secret = site.path("secret.asc");
    for (name, more) in [("by-file:1.0", &["--sign-key", job::text(&secret)][..]), ("by-gpg:1.0", &[])] {
        let image = site.signed.image(name);
        let copied = keys.hod(&global).args(more).args(["--json", &from, &image]).ok().json();
        assert_eq!(copied["images"][0]["signatures"], 3, "{name}");
        assert!(site.signed.copies("", &["--all"], &image), "{name}");
    }
    // A second key signs besides the first one.
    let second = Keyring::new("ed25519", "sign", "open sesame");
    let (image, again) = (site.signed.image("by-file:1.0"), site.signed.image("twice:1.0"));
    let identity = format!("{}/twice:1.0", site.signed.registry.host());
    let by_second = ["--sign-by", &second.fingerprint, "--sign-key"];
    let twice = || {
        let command = hod(["--registries.d", job::text(&registries), "copy", "--all"]).args(by_second);
        command.arg(second.path("secret.asc")).arg("--sign-passphrase-file")
    };
    let wrong = twice().arg(second.public()).args([&image, &again]).code(1);
    assert!(wrong.stderr.contains("check the passphrase"), "{}", wrong.stderr);
    hod(["inspect", "--raw", &again]).code(1);
    twice().arg(second.path("passphrase")).args([&image, &again]).ok();
    let beside = format!("dir:{}", site.path("twice").display());
    hod(["--registries.d", job::text(&registries), "copy", "--all", &again, &beside]).ok();
    let (first, last) = (site.path("twice/signature-1"), site.path("twice/signature-2"));
    for (keys, name, signature) in [(keys, &image[9..], &first), (&second, identity.as_str(), &last)] {
        let manifest = site.path("twice/manifest.json");
        let check = ["standalone-verify", job::text(&manifest), name, &keys.fingerprint, job::text(signature)];
        let judged = keys.skopeo(&check);
        assert!(judged.status.success(), "{name}: {}", String::from_utf8_lossy(&judged.stderr));
    }
    // skopeo's own, without the signatures that were there.
    let alone = ["--remove-signatures", "--sign-identity", "registry.example/web:1.0", &again];
    let directory = format!("dir:{}", site.path("alone").display());
    keys.hod(&global).args(alone).arg(&directory).ok();
    let folder = site.path("alone");
    assert!(!folder.join("signature-2").exists());
    let reference = "registry.example/web:1.0";
    let check = ["standalone-verify", "manifest.json", reference, &keys.fingerprint, "signature-1"];
    keys.hod(&check).in_folder(&folder).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_sync_signs_every_image() {
    let site = Site::new();
    let keys = &site.signed.keys;
    let (host, registries) = (site.signed.registry.host(), site.path("registries.d"));
    let mirror = format!("{host}/mirror");
    let source = format!("{host}/unsigned");
    hod(["copy", "--all", &site.signed.image("unsigned:1.0"), &site.signed.image("unsigned:1")]).ok();
    let by = ["sync", "--src", "docker", "--all", "--sign-by", &keys.fingerprint];
    let sync = || keys.hod(&["--registries.d", job::text(&registries)]).args(by);
    sync().args(["--dest", "docker", &source, &mirror]).ok();
    for tag in ["1.0", "1"] {
        let image = site.signed.image(&format!("mirror/unsigned:{tag}"));
        assert!(site.signed.copies("", &["--all"], &image), "two tags of one image: {tag}");
    }
    // What another run writes takes the place of it.
    sync().args(["--dest", "docker", &source, &mirror]).ok();
    let folder = &site.folders("lookaside/mirror")[0];
    assert_eq!(files(&site.path("lookaside/mirror").join(folder)).len(), 2);
    let folder = site.path("folder");
    let refused = sync().args(["--dest", "dir", &source, job::text(&folder)]).code(2);
    assert!(refused.stderr.contains("image directories have none") && !folder.exists(), "{}", refused.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_documented_commands_do_what_they_say() {
    let site = Site::new();
    let keys = &site.signed.keys;
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy.md")).unwrap();
    let (_, section) = text.split_once("## Signing on the way").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let commands: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("hod ")).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in commands {
        let command = command.replace("registry.site:5000", site.signed.registry.host());
        let words: Vec<String> = command.split(' ').map(|word| word.replace("$KEY", &keys.fingerprint)).collect();
        let run = keys.hod(&words.iter().map(String::as_str).collect::<Vec<_>>());
        run.env("HOD_REGISTRIES_D", site.path("registries.d")).in_folder(keys.folder.path()).ok();
    }
    for image in ["release/web:1.0", "synced/web:1.0"] {
        assert!(site.signed.copies("", &["--all"], &site.signed.image(image)), "{image}");
    }
    assert!(site.path("signed/signature-2").is_file(), "the one of the registry, and a new one");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_cannot_be_signed_is_not_begun() {
    let site = Site::new();
    let keys = &site.signed.keys;
    let out = tempfile::tempdir().unwrap();
    let from = format!("oci:{}:web:1.1", fixtures::folder().join("images").display());
    let to = |transport: &str| format!("{transport}:{}", out.path().join("out").display());
    let nowhere = out.path().join("registries.d");
    fs::create_dir(&nowhere).unwrap();
    let image = site.signed.image("new:1.0");
    let fingerprint = keys.fingerprint.as_str();
    for (arguments, destination, says) in [
        (&["--sign-by", fingerprint][..], to("dir"), "has no name to sign"),
        (&["--sign-by", fingerprint, "--sign-identity", "web"], to("dir"), "is not a valid name to sign"),
        (&["--sign-by", fingerprint], format!("{}:web:1.0", to("docker-archive")), "cannot store signatures"),
        (&["--sign-by", fingerprint], image.clone(), "no directory is configured for the signatures of"),
        (&["--sign-by", &"0".repeat(40)], to("dir"), "gpg: "),
        (&["--sign-identity", "r.example/web:1"], to("dir"), "--sign-identity requires --sign-by"),
        (&["--sign-by-sigstore", "params.yaml"], to("dir"), "creates sigstore signatures, which hod does not support"),
        (
            &["--sign-by-sigstore-private-key", "x.key"],
            to("dir"),
            "creates sigstore signatures, which hod does not support",
        ),
    ] {
        let run = keys.hod(&["--registries.d", job::text(&nowhere), "copy", "--override-arch", "amd64"]);
        let failed = run.args(arguments).args([&from, &destination]).run();
        assert!(matches!(failed.code, Some(1 | 2)), "{arguments:?}: {}", failed.stderr);
        assert!(failed.stderr.contains(says), "{arguments:?}: {}", failed.stderr);
        assert!(!out.path().join("out/manifest.json").exists(), "{arguments:?}");
    }
    hod(["inspect", "--raw", &image]).code(1);
}
