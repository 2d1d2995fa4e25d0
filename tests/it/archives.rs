//! Archives of other tools: to pipes and into empty files, never over others; of odd compressions and digests.

mod runtimes;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{image, layer};
use crate::support::job::text;
use crate::support::pipe::Pipe;
use crate::support::skopeo::skopeo;

const TRANSPORTS: [&str; 2] = ["docker-archive", "oci-archive"];

fn web() -> String {
    format!("oci:{}:web:1.0", fixtures::folder().join("images").display())
}

/// The digest of the config, which both formats keep.
fn config(transport: &str, archive: &Path) -> Vec<u8> {
    skopeo(["inspect", "--config", "--raw", &format!("{transport}:{}", archive.display())])
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_same_image_gives_the_same_archive() {
    let folder = tempfile::tempdir().unwrap();
    // The first layers take longest, so that the others overtake them.
    let layers: Vec<_> = (0..12).map(|number| layer(number, 2_000_000 >> number)).collect();
    image("linux/amd64", &layers).write_layout(&folder.path().join("layout"));
    for transport in TRANSPORTS {
        let made = |name: &str, jobs: &str| {
            let archive = folder.path().join(name);
            let to = format!("{transport}:{}:web:1.0", archive.display());
            hod(["copy", "--jobs", jobs, "oci:layout", &to]).in_folder(folder.path()).ok();
            archive
        };
        let one = made(&format!("{transport}-1.tar"), "1");
        let bytes = fs::read(&one).unwrap();
        for round in 0..3 {
            let many = made(&format!("{transport}-8-{round}.tar"), "8");
            assert!(bytes == fs::read(many).unwrap(), "{transport}");
        }
        // Layers stand in the order of the image, and tell nothing of who made the archive, and when.
        let mut tar = tar::Archive::new(&*bytes);
        for entry in tar.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        }
        let mut tar = tar::Archive::new(&*bytes);
        let sizes = tar.entries().unwrap().map(|entry| entry.unwrap().size()).filter(|size| *size > 0);
        let sizes: Vec<u64> =
            sizes.take_while(|size| *size < 4_000_000).skip_while(|size| *size < 900_000).take(3).collect();
        assert!(sizes.is_sorted_by(|one, next| one > next), "{transport}: {sizes:?}");
        // The judges read it.
        skopeo([
            "copy",
            &format!("{transport}:{}", one.display()),
            &format!("dir:{}/{transport}", folder.path().display()),
        ]);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_archive_goes_through_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    for transport in TRANSPORTS {
        let whole = folder.path().join(format!("{transport}.tar"));
        hod(["copy", &web(), &format!("{transport}:{}:web:1.0", whole.display())]).ok();

        let piped = hod(["copy", &web(), &format!("{transport}:/dev/stdout:web:1.0")]).ok();
        let wanted = config(transport, &whole);
        let is_whole = |bytes: &[u8]| {
            // Layers stand in the order in which they came.
            let copy = folder.path().join("copy.tar");
            fs::write(&copy, bytes).unwrap();
            assert_eq!(bytes.len() as u64, fs::metadata(&whole).unwrap().len(), "{transport}");
            assert!(config(transport, &copy) == wanted, "{transport}");
        };
        is_whole(&piped.stdout);

        let pipe = folder.path().join("pipe");
        let there = Pipe::at(&pipe);
        let reading = there.read();
        hod(["copy", &web(), &format!("{transport}:{}:web:1.0", pipe.display())]).ok();
        is_whole(&reading.wait());

        // What reads along is not left waiting by a copy that fails.
        let reading = there.read();
        let broken = folder.path().join("broken");
        hod(["copy", &web(), &format!("dir:{}", broken.display())]).ok();
        let files = fs::read_dir(&broken).unwrap().map(|file| file.unwrap().path());
        let layer = files.max_by_key(|file| file.metadata().unwrap().len()).unwrap();
        // It is a link to the fixture's own file.
        fs::remove_file(&layer).unwrap();
        fs::write(&layer, "short").unwrap();
        hod(["copy", &format!("dir:{}", broken.display()), &format!("{transport}:{}:web:1.0", pipe.display())]).code(4);
        assert_eq!(reading.wait(), b"", "{transport}");
        fs::remove_file(pipe).unwrap();
        fs::remove_dir_all(broken).unwrap();
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_empty_file_is_filled_and_no_other_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for transport in TRANSPORTS {
        let path = folder.path().join(format!("{transport}.tar"));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let to = format!("{transport}:{}:web:1.0", path.display());
        hod(["copy", &web(), &to]).ok();
        assert!(!config(transport, &path).is_empty());
        let before = fs::read(&path).unwrap();
        let refused = hod(["copy", &web(), &to]).code(1);
        assert!(refused.stderr.contains("does not replace an archive"), "{}", refused.stderr);
        assert!(fs::read(&path).unwrap() == before);

        // What a shell has opened for standard output.
        let opened = folder.path().join("opened.tar");
        let script = format!("exec \"$0\" copy {} {transport}:/dev/stdout:web:1.0 > {}", web(), text(&opened));
        let output = Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_hod")]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(config(transport, &opened) == config(transport, &path), "{transport}");
        assert_eq!(
            fs::read_dir(folder.path())
                .unwrap()
                .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
                .count(),
            0
        );
    }
}

/// A layout with one image, all of whose digests are by SHA-512.
fn layout_by_sha512(folder: &Path) {
    let image = image("linux/amd64", &[layer(1, 500)]);
    let put = |bytes: &[u8]| {
        let digest = Digest::of(Algorithm::Sha512, bytes);
        fs::create_dir_all(folder.join("blobs/sha512")).unwrap();
        fs::write(folder.join("blobs/sha512").join(digest.hex()), bytes).unwrap();
        digest
    };
    let mut manifest: Value = serde_json::from_slice(&image.bytes).unwrap();
    manifest["config"]["digest"] = json!(put(&image.blobs[0].bytes));
    manifest["layers"][0]["digest"] = json!(put(&image.blobs[1].bytes));
    let manifest = manifest.to_string();
    let entry = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": put(manifest.as_bytes()), "size": manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": "x:1"},
    });
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string()).unwrap();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn digests_by_sha512_go_where_they_can() {
    let folder = tempfile::tempdir().unwrap();
    layout_by_sha512(folder.path());
    let from = format!("oci:{}:x:1", folder.path().display());
    let archive = folder.path().join("x.tar");
    hod(["copy", &from, &format!("docker-archive:{}:x:1", archive.display())]).ok();
    assert!(!config("docker-archive", &archive).is_empty());
    let registry = DockerRegistry::empty();
    let refused = hod(["copy", &from, &format!("docker://{}/x:1", registry.host())]).code(1).stderr;
    assert!(refused.contains("it does not support sha512") && !refused.contains("is broken"), "{refused}");
}

#[test]
fn what_is_compressed_otherwise_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for (name, head) in [("xz", &b"\xFD7zXZ\0\0\x04"[..]), ("bzip2", b"BZh91AY&SY")] {
        let path = folder.path().join(name);
        fs::write(&path, head).unwrap();
        for transport in TRANSPORTS {
            let refused = hod(["inspect", &format!("{transport}:{}", path.display())]).code(1).stderr;
            assert!(
                refused.contains(&format!("compressed with {name}, but hod supports only gzip and zstd")),
                "{refused}"
            );
        }
    }
    let relative = hod(["inspect", "containers-storage:[vfs/x+/run/x]web:1.0"]).in_folder(folder.path()).code(2).stderr;
    assert!(relative.contains("[DRIVER@ROOT+RUNROOT]"), "{relative}");
}
