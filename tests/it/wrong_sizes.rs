//! Manifests that give their content a wrong length: the digest decides.

use serde_json::{Value, json};

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::Faulty;
use crate::support::hod::hod;
use crate::support::images::{Content, Image, image, index, layer};
use crate::support::job::{assert_registry_has, blob_path, names};

/// An image with one layer too long and one too short, both small and large, and a config that is none of its length.
fn wrong() -> Image {
    let right = image("linux/amd64", &[layer(1, 3000), layer(2, 3000), layer(3, 3_000_000), layer(4, 3_000_000)]);
    let mut manifest: Value = serde_json::from_slice(&right.bytes).unwrap();
    for (position, by) in [1, -1, 1, -1].into_iter().enumerate() {
        let size = &mut manifest["layers"][position]["size"];
        *size = json!(size.as_i64().unwrap() + by);
    }
    manifest["config"]["size"] = json!(7);
    Image { blobs: right.blobs, ..Image::of_bytes(right.descriptor.media_type.as_str(), manifest.to_string()) }
}

/// An index that says of its child that it has one byte.
fn wrong_index(child: Image) -> Image {
    let mut list: Value = serde_json::from_slice(&index(std::slice::from_ref(&child)).bytes).unwrap();
    list["manifests"][0]["size"] = json!(1);
    Image { children: vec![child], ..Image::of_bytes("application/vnd.oci.image.index.v1+json", list.to_string()) }
}

#[test]
fn the_digest_decides_on_the_whole_way() {
    let content = Content::default()
        .with("app:1", &wrong_index(wrong()))
        .with("single:1", &wrong())
        .with("good:1", &image("linux/amd64", &[layer(9, 3000)]));
    let registry = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let run = |words: &str| hod(words.split(' ')).in_folder(here);
    let pull = format!("pull app:1 single:1 good:1 --from {} --store store", registry.host());
    let told = run(&pull).ok().stderr;
    assert_eq!(told.matches("the digest decides").count(), 5, "{told}");
    let config = wrong().blobs[0].digest();
    assert!(told.contains(&format!("{config} has ")) && told.contains("and its manifest says 7"), "{told}");
    // Nothing comes twice.
    let before = registry.count(|seen| seen.method == "GET" && seen.path.contains("/blobs/"));
    run(&pull).ok();
    assert_eq!(registry.count(|seen| seen.method == "GET" && seen.path.contains("/blobs/")), before);

    let found = run("verify store --json").ok().json();
    let codes: Vec<&Value> = found["findings"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
    assert_eq!(codes, vec![&json!("declared-size-wrong"); 11]);
    assert!(run("verify store").ok().stdout.starts_with(b"warning: declared-size-wrong: docker/registry/v2/blobs/"));
    let strict = run("verify store --strict").code(4).stderr;
    assert!(strict.contains("store has 11 warnings") && !strict.contains("delete"), "{strict}");

    run("pack --store store -o b.tar").ok();
    run("verify b.tar").ok();
    run("unpack b.tar --root root").ok();
    assert_eq!(names(&here.join("root")), names(&here.join("store")));
    run("select --store root --to some app:1").ok();
    run("verify some").ok();
    for from in ["store", "b.tar", "root"] {
        let far = DockerRegistry::empty();
        run(&format!("push {from} docker://{}", far.host())).ok();
        assert_registry_has(far.host(), &content);
    }
    for to in ["oci:layout:app", "dir:folder", "oci-archive:o.tar:app", "docker-archive:d.tar:app"] {
        run(&format!("copy store:store:app:1 {to}")).ok();
    }
    for place in ["oci:layout", "dir:folder", "oci-archive:o.tar"] {
        let told = run(&format!("verify {place}")).ok();
        assert!(told.text().contains("warning: declared-size-wrong"), "{place}");
        run(&format!("verify {place} --strict")).code(4);
    }
    run("copy oci:layout:app oci-archive:again.tar:app").ok();
    // The config is read for its platform here.
    run("copy --override-arch amd64 store:store:single:1 dir:single").ok();
    run("inspect --override-arch amd64 store:store:single:1").ok();
    run("unpack-image store:store:single:1 unpacked --rootless").ok();
}

#[test]
fn a_file_that_is_written_in_one_go_has_no_room_for_other_lengths() {
    let registry = Faulty::new(Content::default().with("app:1", &wrong())).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let host = registry.host();
    let from = format!("docker://{host}/app:1");
    for to in ["oci:layout:app", "dir:folder", "docker-archive:d.tar:app"] {
        hod(["copy", &from, to]).in_folder(here).ok();
    }
    let archive = hod(["copy", &from, "oci-archive:o.tar:app"]).in_folder(here).code(1).stderr;
    let bundle = hod(["bundle", &format!("{host}/app:1"), "-o", "b.tar"]).in_folder(here).code(1).stderr;
    for told in [archive, bundle] {
        assert!(told.contains("pull the image into a store first"), "{told}");
    }
}

#[test]
fn wrong_bytes_of_another_length_are_damage() {
    let image = image("linux/amd64", &[layer(1, 3000)]);
    let registry = Faulty::new(Content::default().with("app:1", &image)).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let pull = ["pull", "app:1", "--from", registry.host(), "--store", "store"];
    hod(pull).in_folder(here).ok();
    let damaged = blob_path(&here.join("store"), &image.blobs[1].digest());
    let bytes = fs_err::read(&damaged).unwrap();
    fs_err::write(&damaged, &bytes[..bytes.len() - 1]).unwrap();
    let found = hod(["verify", "store", "--json"]).in_folder(here).code(4).json();
    let codes: Vec<&Value> = found["findings"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
    assert_eq!(codes, ["blob-digest-mismatch", "blob-size-mismatch"]);
    // Whoever pulls again has it mended.
    hod(pull).in_folder(here).ok();
    assert_eq!(fs_err::read(&damaged).unwrap(), bytes);
    hod(["verify", "store"]).in_folder(here).ok();
}
