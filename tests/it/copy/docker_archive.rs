//! Docker archives, from and to skopeo and podman.

use super::*;

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn archives_go_to_podman_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    let place = format!("docker-archive:{}:web:1.0", archive.display());
    hod(["copy", &fixture(WEB), &place, "--additional-tag", "quay.io/x/web:2"]).ok();
    let exists = hod(["copy", &fixture(WEB), &place]).code(1);
    assert!(exists.stderr.contains("already exists"), "{}", exists.stderr);
    let tags: Value =
        serde_json::from_slice(&skopeo(["list-tags", &format!("docker-archive:{}", archive.display())])).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["docker.io/library/web:1.0", "quay.io/x/web:2"]));
    let podman = |arguments: &[&str]| {
        let output = Command::new("podman")
            .args(["--root", folder.path().join("p").to_str().unwrap(), "--runroot"])
            .args([folder.path().join("r").to_str().unwrap(), "--storage-driver", "vfs"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    podman(&["load", "--input", archive.to_str().unwrap()]);
    let listed = podman(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "--no-trunc"]);
    assert!(listed.contains("docker.io/library/web:1.0") && listed.contains("quay.io/x/web:2"), "{listed}");
    let id = listed.split_whitespace().nth(1).unwrap().trim_start_matches("sha256:").to_owned();
    for format in ["docker-archive", "oci-archive"] {
        let saved = folder.path().join(format!("saved-{format}.tar"));
        podman(&["save", "--format", format, "--output", saved.to_str().unwrap(), "docker.io/library/web:1.0"]);
        let to = folder.path().join(format!("back-{format}"));
        hod(["copy", &format!("{format}:{}", saved.display()), &format!("dir:{}", to.display())]).ok();
        assert_eq!(json(to.join("manifest.json"))["config"]["digest"], format!("sha256:{id}"), "{format}");
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_docker_archive_of_skopeo_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, ours, theirs) = (folder.path().join("a.tar"), folder.path().join("o"), folder.path().join("t"));
    let place = format!("docker-archive:{}:web:1.0", archive.display());
    skopeo(["copy", &fixture(WEB), &place]);
    hod(["copy", &place, &format!("dir:{}", ours.display())]).ok();
    skopeo(["copy", &place, &format!("dir:{}", theirs.display())]);
    fs::remove_file(ours.join("manifest.json")).unwrap();
    fs::remove_file(theirs.join("manifest.json")).unwrap();
    tree::assert_same(&theirs, &ours);
    let compressed = folder.path().join("a.tar.zst");
    assert!(Command::new("zstd").args(["-q", "-o"]).args([&compressed, &archive]).status().unwrap().success());
    let again = folder.path().join("again");
    hod(["copy", &format!("docker-archive:{}:@0", compressed.display()), &format!("dir:{}", again.display())]).ok();
    assert_eq!(json(again.join("manifest.json"))["layers"].as_array().unwrap().len(), 3);
    let other = hod(["copy", &format!("docker-archive:{}:web:2", archive.display()), "dir:x"]).code(1);
    assert!(other.stderr.contains("it contains docker.io/library/web:1.0"), "{}", other.stderr);
}

/// Writes an archive as `docker save` does, of images that all have one layer, which lies there as `bytes`.
fn docker_archive(path: &Path, layer: &images::Blob, member: &str, bytes: &[u8]) {
    let config = images::docker_image("linux/amd64", std::slice::from_ref(layer)).blobs[0].clone();
    let items =
        ["a:1", "b:1"].map(|name| serde_json::json!({"Config": "c.json", "RepoTags": [name], "Layers": [member]}));
    let mut tar = tar::Builder::new(fs::File::create(path).unwrap());
    let manifest = serde_json::json!(items).to_string();
    for (name, bytes) in [("c.json", &config.bytes[..]), ("manifest.json", manifest.as_bytes()), (member, bytes)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    }
    tar.finish().unwrap();
}

#[test]
fn compressed_layers_of_a_docker_archive_are_what_the_image_has() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    let (layer, other) = (images::layer(1, 5000), images::layer(2, 5000));
    let mut damaged = layer.bytes.to_vec();
    damaged[2000] ^= 1;
    let blob = format!("blobs/sha256/{}", layer.digest().hex());
    let copy = |to: &str| {
        let from = format!("docker-archive:{}:a:1", archive.display());
        hod(["copy", "--retry-times", "0", &from, &at("dir", folder.path(), to)])
    };
    for (member, wrong) in [("x/layer.tar", "the config of the image says"), (&blob, "digest")] {
        docker_archive(&archive, &layer, member, &layer.bytes);
        copy("good").ok();
        let manifest = json(folder.path().join("good/manifest.json"));
        assert_eq!(manifest["layers"][0]["digest"], layer.digest().to_string());
        fs::remove_dir_all(folder.path().join("good")).unwrap();
        for (bytes, says) in [(&other.bytes[..], wrong), (&damaged, ""), (&layer.bytes[..3000], "")] {
            docker_archive(&archive, &layer, member, bytes);
            let refused = copy("bad").code(4);
            assert!(refused.stderr.contains(says), "{member}: {}", refused.stderr);
            assert!(!folder.path().join("bad/manifest.json").exists());
        }
    }
}

#[test]
fn a_layer_that_images_of_a_docker_archive_share_is_expanded_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let layer = images::layer(1, 5000);
    docker_archive(&path, &layer, "x/layer.tar", &layer.bytes);
    let archive = DockerArchive::open(&path).unwrap();
    let first = archive.source(Some(&ArchiveImage::Position(0))).unwrap();
    // Damage since then is for whoever takes the bytes to notice.
    let mut bytes = fs::read(&path).unwrap();
    let start = bytes.windows(layer.bytes.len()).position(|window| window == layer.bytes).unwrap();
    bytes[start + 2000] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(archive.source(Some(&ArchiveImage::Position(1))).unwrap().root(), first.root());
    assert!(DockerArchive::open(&path).unwrap().source(Some(&ArchiveImage::Position(1))).is_err());
}
