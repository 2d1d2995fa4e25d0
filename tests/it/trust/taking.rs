//! Images that are taken out of bundles one by one: by the same rules as those that are unpacked.

use fs_err as fs;

use super::Bench;
use crate::support::docker_registry::DockerRegistry;
use crate::support::hod::{Output, hod};
use crate::support::images::{Content, image, layer};
use crate::support::page::blocks;
use crate::support::{fixtures, skopeo};

impl Bench {
    /// Runs where our key, and no other, is in the folder of trusted keys. BUNDLE and REGISTRY stand for those.
    fn trusting(&self, words: &[&str], (bundle, registry): (&str, &str), input: &str) -> Output {
        let trusted = self.path("config/hod/trusted");
        fs::create_dir_all(trusted).unwrap();
        fs::copy(self.path("ours.pub"), trusted.join("ours.pub")).unwrap();
        let words = words.iter().map(|word| word.replace("BUNDLE", bundle).replace("REGISTRY", registry));
        hod(words).in_folder(self.path("")).env("XDG_CONFIG_HOME", self.path("config")).input(input).run()
    }

    fn is_written(&self) -> bool {
        ["out", "out.tar", "config.json"].iter().any(|name| self.path(name).exists())
    }

    fn clear(&self) {
        let _ = fs::remove_dir_all(self.path("out"));
        let _ = ["out.tar", "config.json"].map(|name| fs::remove_file(self.path(name)));
    }
}

/// Every way by which an image leaves a bundle, besides those of a bundle as a whole.
const WAYS: [&[&str]; 11] = [
    &["copy", "bundle:BUNDLE:web:1.0", "dir:out"],
    &["copy", "--all", "bundle:BUNDLE:web:1.0", "store:out:web:1.0"],
    &["copy", "bundle:BUNDLE:web:1.0", "docker-archive:out.tar:web:1.0"],
    &["copy", "--all", "bundle:BUNDLE:web:1.0", "docker://REGISTRY/web:1.0"],
    &["copy", "--file", "-", "bundle:BUNDLE", "oci:out"],
    &["unpack-image", "bundle:BUNDLE:web:1.0", "out"],
    &["unpack-image", "bundle:BUNDLE:web:1.0", "--config-only", "config.json", "--rootfs", "."],
    &["layer", "extract", "bundle:BUNDLE:web:1.0", "1"],
    &["layer", "extract", "bundle:BUNDLE:web:1.0", "1", "out"],
    &["index", "create", "oci:out:web", "bundle:BUNDLE:web:1.0"],
    &["index", "create", "oci:out:web", "oci:there:web", "bundle:BUNDLE:web:1.0"],
];

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn every_way_out_of_a_bundle_heeds_the_trusted_keys() {
    let bench = Bench::new();
    bench.pack("resigned.tar", &["--sign", "theirs.key"]);
    // The signature of one bundle beside another.
    let store = fixtures::root().to_str().unwrap();
    let words = ["pack", "web:1.0", "web:1.1", "--store", store, "--all-platforms", "-o", "other.tar"];
    hod(words).in_folder(bench.path("")).ok();
    hod(["sign", "signed.tar", "--sign", "ours.key", "-o", "other.tar.header.minisig"]).in_folder(bench.path("")).ok();
    hod(["copy", "bundle:plain.tar:web:1.0", "oci:there:web", "--override-arch", "arm64"])
        .in_folder(bench.path(""))
        .ok();
    let (registry, list) = (DockerRegistry::empty(), "web:1.0\n");
    for words in WAYS {
        for (bundle, says) in [
            ("plain.tar", "the bundle is not signed"),
            ("resigned.tar", "which is not trusted"),
            ("other.tar", "does not belong to this bundle"),
        ] {
            let output = bench.trusting(words, (bundle, registry.host()), list);
            let said = output.stderr.as_str();
            assert_eq!(output.code, Some(4), "{words:?} {bundle}: {said}");
            assert!(said.contains(&format!("error: the bundle {bundle} is refused")), "{words:?} {bundle}: {said}");
            assert!(said.contains(says) && said.contains("nothing was written"), "{words:?} {bundle}: {said}");
            assert!(output.stdout.is_empty() && !bench.is_written(), "{words:?} {bundle}: something was written");
        }
        assert!(!registry.log().contains("/v2/web/"), "{words:?}: {}", registry.log());
    }
    for words in WAYS {
        let taken = |bundle: &str, more: &[&str]| {
            bench.clear();
            bench.trusting(&[words, more].concat(), (bundle, registry.host()), list)
        };
        let ours = taken("signed.tar", &[]);
        assert_eq!(ours.code, Some(0), "{words:?}: {}", ours.stderr);
        assert!(ours.stderr.contains("signed with "), "{words:?}: {}", ours.stderr);
        assert_eq!(taken("plain.tar", &["--no-key"]).code, Some(0), "{words:?}");
        assert_eq!(taken("resigned.tar", &["--key", "theirs.pub"]).code, Some(0), "{words:?}");
        assert_eq!(taken("signed.tar", &["--key", "theirs.pub"]).code, Some(4), "{words:?}");
        assert!(!bench.is_written(), "{words:?}");
    }
    assert_eq!(skopeo::digest(&format!("{}/web:1.0", registry.host())), fixtures::digest("web:1.0"));
    // Keys that cannot be had are no permission, and are no matter where there is no bundle.
    let folder = bench.path("config/hod/trusted");
    fs::write(folder.join("bad.pub"), "not a key").unwrap();
    for (source, code) in [("bundle:signed.tar:web:1.0", 2), ("oci:there:web", 0)] {
        let output = bench.trusting(&["copy", source, "dir:out"], ("", ""), "");
        assert_eq!(output.code, Some(code), "{source}: {}", output.stderr);
    }
}

#[test]
fn who_only_looks_sees_any_bundle() {
    let bench = Bench::new();
    for words in [
        &["ls", "BUNDLE"][..],
        &["inspect", "bundle:BUNDLE:web:1.0"],
        &["inspect", "--raw", "bundle:BUNDLE:web:1.0"],
        &["stat", "bundle:BUNDLE:web:1.0"],
        &["index", "inspect", "bundle:BUNDLE:web:1.0"],
        &["inventory", "BUNDLE"],
        &["diff", "BUNDLE", "signed.tar"],
    ] {
        let output = bench.trusting(words, ("plain.tar", ""), "");
        assert_eq!(output.code, Some(0), "{words:?}: {}", output.stderr);
    }
}

#[test]
fn a_bundle_is_checked_once_for_all_of_its_images() {
    let bench = Bench::new();
    let store = fixtures::root().to_str().unwrap();
    let words = ["pack", "--store", store, "--sign", "ours.key", "-o", "all.tar"];
    hod(words).in_folder(bench.path("")).ok();
    let list = "web:1.0\nweb:1.1\nbase/busybox:1.35\n";
    let copy = ["copy", "--all", "--file", "-", "bundle:BUNDLE", "oci:out"];
    let output = bench.trusting(&copy, ("all.tar", ""), list);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(output.stderr.matches("signed with ").count(), 1, "{}", output.stderr);
    let refused = bench.trusting(&[&copy[..], &["--key", "theirs.pub"]].concat(), ("all.tar", ""), list);
    assert_eq!(refused.code, Some(4));
    assert_eq!(refused.stderr.matches("error: ").count(), 1, "{}", refused.stderr);
    // Every bundle of several shows its own.
    bench.clear();
    let mixed = ["index", "create", "oci:out:web", "bundle:signed.tar:web:1.0", "bundle:BUNDLE:web:1.1"];
    assert_eq!(bench.trusting(&mixed, ("plain.tar", ""), "").code, Some(4));
    assert!(!bench.is_written());
}

#[test]
fn volumes_deltas_and_signatures_beside_a_bundle_are_taken_from() {
    let bench = Bench::new();
    let run = |words: &[&str]| hod(words).in_folder(bench.path("")).ok();
    let (first, second) = (image("linux/amd64", &[layer(1, 50_000)]), image("linux/amd64", &[layer(2, 50_000)]));
    Content::default().with("one:1", &first).write_root(bench.path("first"));
    Content::default().with("one:1", &first).with("two:1", &second).write_root(bench.path("second"));
    let volumes = ["pack", "--store", "second", "--volume-size", "40000", "-o"];
    fs::create_dir_all(bench.path("disc")).unwrap();
    run(&[&volumes[..], &["disc/release.tar", "--sign", "ours.key"]].concat());
    // Of those without a signature inside, one gets it later.
    for name in ["late", "never"] {
        fs::create_dir_all(bench.path(name)).unwrap();
        run(&[&volumes[..], &[&format!("{name}/release.tar")]].concat());
    }
    run(&["sign", "late", "--sign", "ours.key", "-o", "late/release.tar.header.minisig"]);
    // A base of a stranger says what to leave out, and no more.
    run(&["pack", "--store", "first", "-o", "base.tar"]);
    let pack = ["pack", "--store", "second", "--have", "base.tar", "--sign", "ours.key", "-o", "delta.tar"];
    assert_eq!(bench.trusting(&pack, ("", ""), "").code, Some(0));
    for (bundle, code) in [
        ("disc", 0),
        ("disc/release.tar", 0),
        ("disc/release.tar.002", 0),
        ("late/release.tar.001", 0),
        ("late", 0),
        ("never", 4),
        ("delta.tar", 0),
    ] {
        bench.clear();
        let output = bench.trusting(&["copy", "bundle:BUNDLE:two:1", "dir:out"], (bundle, ""), "");
        assert_eq!(output.code, Some(code), "{bundle}: {}", output.stderr);
        assert_eq!(bench.is_written(), code == 0, "{bundle}");
    }
    // A signature beside a bundle is found under every name of the bundle.
    run(&["sign", "plain.tar", "--sign", "ours.key"]);
    for words in
        [&["verify", "BUNDLE"][..], &["verify", "bundle:BUNDLE"], &["copy", "bundle:BUNDLE:web:1.0", "dir:web"]]
    {
        let output = bench.trusting(words, ("plain.tar", ""), "");
        assert_eq!(output.code, Some(0), "{words:?}: {}", output.stderr);
    }
    let elsewhere = ["copy", "bundle:other.tar:web:1.0", "dir:other", "--signature", "plain.tar.header.minisig"];
    fs::copy(bench.path("plain.tar"), bench.path("other.tar")).unwrap();
    assert_eq!(bench.trusting(&elsewhere, ("", ""), "").code, Some(0));
    assert_eq!(bench.trusting(&elsewhere[..3], ("", ""), "").code, Some(4));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_commands_of_the_page_work() {
    let script = blocks("docs/trust.md", "sh").concat();
    // What the page does as root on another machine.
    let folder = tempfile::tempdir().unwrap();
    let script = script.replace("/etc/hod", &folder.path().join("etc").display().to_string());
    assert!(script.lines().count() >= 9, "{script}");
    std::os::unix::fs::symlink(fixtures::root(), folder.path().join("store")).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_hod")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let output = std::process::Command::new("sh")
        .args(["-ec", &script])
        .current_dir(folder.path())
        .env_clear()
        .envs([("PATH", path.as_str()), ("HOME", folder.path().to_str().unwrap()), ("HOD_PASSPHRASE", "open sesame")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
