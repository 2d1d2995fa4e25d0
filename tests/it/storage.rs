//! `tarball:` and `containers-storage:`, with podman, skopeo and tar as judges.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::Digest;
use serde_json::Value;

use crate::support::engine::{Engine, podman, run};
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::skopeo::skopeo;

fn fixture(name: &str) -> String {
    format!("oci:{}:{name}", fixtures::folder().join("images").display())
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// `containers-storage:[vfs@ROOT+RUNROOT]NAME` for the root that [`podman`] uses.
fn storage(folder: &Path, name: &str) -> String {
    let (root, run) = (folder.join("root"), folder.join("run"));
    format!("containers-storage:[vfs@{}+{}]{name}", root.display(), run.display())
}

/// Two layers as files: one as it is, one compressed.
fn layers(folder: &Path) -> (String, String) {
    let file = |name: &str, content: &str| {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join(format!("{name}.txt")), content).unwrap();
        let tar = folder.join(format!("{name}.tar"));
        run(Command::new("tar").args(["--mtime=@0", "--sort=name", "-cf"]).arg(&tar).arg("-C").arg(folder).arg(name));
        tar
    };
    let (first, second) = (file("first", "1"), file("second", "2"));
    run(Command::new("gzip").arg("-n").arg(&second));
    (first.display().to_string(), format!("{}.gz", second.display()))
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn files_become_an_image_that_podman_takes() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = layers(folder.path());
    let from = format!("tarball:{first}:{second}");
    let archive = format!("oci-archive:{}:localhost/made:1", folder.path().join("made.tar").display());
    hod(["--override-arch", "arm64", "copy", &from, &archive]).ok();
    let manifest = json(&skopeo(["inspect", "--raw", &archive]));
    let digests: Vec<&str> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
    let of = |path: &str| Digest::sha256(&fs::read(path).unwrap()).to_string();
    assert_eq!(digests, [of(&first), of(&second)], "layers are the files, byte for byte");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar");
    assert_eq!(manifest["layers"][1]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let config = json(&skopeo(["--override-arch", "arm64", "inspect", "--config", &archive]));
    assert_eq!((&config["architecture"], &config["os"]), (&"arm64".into(), &"linux".into()));
    assert_eq!(config["history"].as_array().unwrap().len(), 2);
    run(podman(folder.path()).args(["load", "--input"]).arg(folder.path().join("made.tar")));
    let mounted = run(podman(folder.path()).args(["image", "mount", "localhost/made:1"]));
    let mounted = Path::new(mounted.trim());
    assert_eq!(fs::read_to_string(mounted.join("first/first.txt")).unwrap(), "1");
    assert_eq!(fs::read_to_string(mounted.join("second/second.txt")).unwrap(), "2");
    run(podman(folder.path()).args(["image", "unmount", "localhost/made:1"]));

    // From standard input it is the same image.
    let from_input = format!("tarball:-:{second}");
    let raw = |from: &str, input: Vec<u8>| {
        hod(["--override-arch", "arm64", "inspect", "--raw", from]).input(input).ok().stdout
    };
    assert_eq!(raw(&from_input, fs::read(&first).unwrap()), raw(&from, Vec::new()));
}

#[test]
fn a_file_that_is_no_tar_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.gz");
    let mut gzip = flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::fast());
    gzip.write_all(&[b'x'; 2000]).unwrap();
    gzip.finish().unwrap();
    let from = format!("tarball:{}", path.display());
    let to = format!("dir:{}", folder.path().join("d").display());
    let refused = hod(["copy", &from, &to]).code(1);
    assert!(refused.stderr.contains("text.gz is not a tar file"), "{}", refused.stderr);
    let missing = hod(["copy", "tarball:/nowhere.tar", &to]).code(1);
    assert!(missing.stderr.contains("/nowhere.tar"), "{}", missing.stderr);
    let written = hod(["copy", &fixture("web:1.0"), &from]).code(1);
    assert!(written.stderr.contains("cannot be written"), "{}", written.stderr);
}

/// A folder with nothing but these tools in it, to be the only one on the path.
fn only(folder: &Path, tools: &[&str]) -> String {
    let path = folder.join(format!("only-{}", tools.join("-")));
    fs::create_dir_all(&path).unwrap();
    for tool in tools {
        let _ = std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), path.join(tool));
    }
    path.display().to_string()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_storage_is_read_and_written_by_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let config = skopeo(["--override-arch", "amd64", "inspect", "--raw", "--config", &fixture("web:1.0")]);
    let everything = std::env::var("PATH").unwrap();
    // skopeo alone does it too; it needs no more than itself.
    for (number, tools) in [everything, only(path, &["skopeo"])].into_iter().enumerate() {
        let name = storage(path, &format!("localhost/web:{number}"));
        let hod = |arguments: &[&str]| {
            hod(["--override-arch", "amd64"]).args(arguments).env("PATH", &tools).env("HOD_TMPDIR", path)
        };
        hod(&["copy", &fixture("web:1.0"), &name]).ok();
        let listed = run(podman(path).args(["images", "--format", "{{.Repository}}:{{.Tag}}"]));
        assert!(listed.contains(&format!("localhost/web:{number}")), "{listed}");
        assert_eq!(skopeo(["inspect", "--raw", "--config", &name]), config);
        assert_eq!(hod(&["inspect", "--raw", "--config", &name]).ok().stdout, config);
        let id = storage(path, &format!("@{}", &Digest::sha256(&config).hex()[..12]));
        assert_eq!(hod(&["inspect", "--raw", "--config", &id]).ok().stdout, config);
        let back = path.join(format!("back-{number}"));
        hod(&["copy", &name, &format!("dir:{}", back.display())]).ok();
        assert_eq!(skopeo(["inspect", "--raw", "--config", &format!("dir:{}", back.display())]), config);
        let missing = hod(&["inspect", &storage(path, "localhost/nothing:1")]).code(1);
        assert!(missing.stderr.contains("cannot export the image: "), "{}", missing.stderr);
        let all = hod(&["copy", "--all", &fixture("web:1.0"), &name]).code(1);
        assert!(all.stderr.contains("choose one"), "{}", all.stderr);
    }
    let nobody = hod(["inspect", &storage(path, "localhost/web:0")]).env("PATH", only(path, &[])).code(1);
    assert!(nobody.stderr.contains("install podman or skopeo"), "{}", nobody.stderr);
    // What one name less leaves, and then nothing.
    for (number, tools) in [std::env::var("PATH").unwrap(), only(path, &["skopeo"])].into_iter().enumerate() {
        let name = storage(path, &format!("localhost/web:{number}"));
        hod(["delete", &name]).env("PATH", &tools).ok();
        let listed = run(podman(path).args(["images", "--format", "{{.Repository}}:{{.Tag}}"]));
        assert_eq!(listed.contains("localhost/web:1"), number == 0, "{listed}");
        assert!(!listed.contains("localhost/web:0"), "{listed}");
        let again = hod(["delete", &name]).env("PATH", &tools).code(1);
        assert!(again.stderr.contains("cannot delete the image: "), "{}", again.stderr);
    }
    let left: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".hod")), "{left:?}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_podman_that_listens_is_asked_first() {
    let engine = Engine::podman();
    let folder = tempfile::tempdir().unwrap();
    let hod = |arguments: &[&str]| {
        let nobody = only(folder.path(), &[]);
        hod(["--override-arch", "amd64"]).args(arguments).env("CONTAINER_HOST", engine.host()).env("PATH", nobody)
    };
    hod(&["copy", &fixture("web:1.0"), "containers-storage:localhost/web:1.0"]).ok();
    let config =
        skopeo(["inspect", "--raw", "--config", "--daemon-host", &engine.host(), "docker-daemon:localhost/web:1.0"]);
    assert_eq!(hod(&["inspect", "--raw", "--config", "containers-storage:localhost/web:1.0"]).ok().stdout, config);
}
