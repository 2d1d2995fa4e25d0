//! Manifests as old and careless tools write them: types that are missing, or say less than they could.

use serde_json::{Value, json};

use crate::support::faulty::Faulty;
use crate::support::hod::hod;
use crate::support::images::{Content, Image, docker_image, docker_list, image, index, layer};
use crate::support::job::{assert_clean, assert_registry_has, ls};

/// A Docker image whose config has the type that Docker had for it up to 1.9.
fn with_octet_stream_config() -> Image {
    let plain = docker_image("linux/amd64", &[layer(1, 3000)]);
    let text = String::from_utf8(plain.bytes.to_vec()).unwrap();
    let text = text.replace("application/vnd.docker.container.image.v1+json", "application/octet-stream");
    Image { blobs: plain.blobs, ..Image::of_bytes(plain.descriptor.media_type.as_str(), text) }
}

#[test]
fn a_config_of_type_octet_stream_is_a_config_everywhere() {
    let old = with_octet_stream_config();
    let registry = Faulty::new(Content::default().with("app:1", &old)).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let run = |words: &str| hod(words.split(' ')).in_folder(here);
    run(&format!("pull {}/app:1 --store store", registry.host())).ok();
    let listed = ls(&here.join("store"))["images"][0].clone();
    assert_eq!((&listed["digest"], &listed["platforms"]), (&json!(old.digest()), &json!(["linux/amd64"])));
    run(&format!("pull {}/app:1 --store other --platform linux/arm64", registry.host())).code(1);
    run("copy store:store:app:1 docker-archive:a.tar:app:1").ok();
    let config = run("inspect --config --raw docker-archive:a.tar").ok().stdout;
    assert_eq!(config, old.blobs[0].bytes);
    // Each format has its own name for it.
    for (format, from, to, wanted) in [
        ("oci", "store:store:app:1", "oci:oci:app:1", "application/vnd.oci.image.config.v1+json"),
        ("v2s2", "oci:oci:app:1", "dir:docker", "application/vnd.docker.container.image.v1+json"),
        ("v2s2", "store:store:app:1", "dir:same", "application/vnd.docker.container.image.v1+json"),
    ] {
        run(&format!("copy --format {format} {from} {to}")).ok();
        assert_eq!(run(&format!("inspect --raw {to}")).ok().json()["config"]["mediaType"], wanted, "{from}");
    }
}

#[test]
fn descriptors_without_media_type_are_copied() {
    let child = image("linux/amd64", &[layer(1, 3000)]);
    let text = String::from_utf8(child.bytes.to_vec()).unwrap();
    let kind = child.blobs[1].descriptor.media_type.to_string();
    let bare = text.replace(&format!(r#""mediaType":"{kind}","#), "");
    let bare = Image { blobs: child.blobs.clone(), ..Image::of_bytes(child.descriptor.media_type.as_str(), bare) };
    assert!(bare.digest() != child.digest());
    let mut list: Value = serde_json::from_slice(&index(std::slice::from_ref(&child)).bytes).unwrap();
    list["manifests"][0].as_object_mut().unwrap().remove("mediaType");
    let bare_index =
        Image { children: vec![child], ..Image::of_bytes("application/vnd.oci.image.index.v1+json", list.to_string()) };
    let none = Image::of_bytes(
        "application/vnd.oci.image.index.v1+json",
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":null}"#,
    );
    let content = Content::default().with("image:1", &bare).with("index:1", &bare_index).with("none:1", &none);
    let registry = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let host = registry.host();
    let words = format!("pull image:1 index:1 none:1 --from {host} --all-platforms --store store");
    hod(words.split(' ')).in_folder(here).ok();
    assert_clean(&here.join("store"));
    let far = Faulty::new(Content::default()).start();
    hod(["push", "store", &format!("docker://{}", far.host())]).in_folder(here).ok();
    for (name, image) in [("image", &bare), ("index", &bare_index), ("none", &none)] {
        assert_eq!(far.content().repositories[name].tags["1"], image.digest(), "{name}");
    }
    // A layer of no type stays so in a copy to another format.
    hod(["copy", "store:store:image:1", "docker-archive:a.tar:image:1"]).in_folder(here).ok();
}

#[test]
fn docker_media_types_in_a_layout_are_said_with_the_option_for_other_tools() {
    let docker = docker_image("linux/amd64", &[layer(1, 3000)]);
    let oci = image("linux/amd64", &[layer(1, 3000)]);
    let registry = Faulty::new(Content::default().with("docker:1", &docker).with("oci:1", &oci)).start();
    let folder = tempfile::tempdir().unwrap();
    for (from, more, to, is_said) in [
        ("docker:1", "", "oci:a:x:1", true),
        ("docker:1", "", "oci-archive:b.tar:x:1", true),
        ("docker:1", "--format oci ", "oci:c:x:1", false),
        ("oci:1", "", "oci:d:x:1", false),
        ("docker:1", "", "dir:e", false),
        ("docker:1", "--quiet ", "oci:f:x:1", false),
    ] {
        let words = format!("copy {more}docker://{}/{from} {to}", registry.host());
        let said = hod(words.split(' ')).in_folder(folder.path()).ok().stderr;
        assert_eq!(said.contains("--format oci, which gives new digests"), is_said, "{words}: {said}");
    }
}

#[test]
fn a_list_of_dockers_may_call_oci_images_its_own() {
    let child = image("linux/amd64", &[layer(1, 3000)]);
    let mut list: Value = serde_json::from_slice(&docker_list(std::slice::from_ref(&child)).bytes).unwrap();
    list["manifests"][0]["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json");
    let kind = "application/vnd.docker.distribution.manifest.list.v2+json";
    let list = Image { children: vec![child.clone()], ..Image::of_bytes(kind, list.to_string()) };
    let content = Content::default().with("app:1", &list);
    let registry = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let run = |words: &str| hod(words.split(' ')).in_folder(here);
    run(&format!("pull app:1 --from {} --store store", registry.host())).ok();
    assert_clean(&here.join("store"));
    run("pack --store store -o b.tar").ok();
    run("unpack b.tar --root root").ok();
    run("copy --all store:root:app:1 oci:layout:app").ok();
    run("verify oci:layout").ok();
    for from in ["b.tar", "root"] {
        let far = Faulty::new(Content::default()).start();
        run(&format!("push {from} docker://{}", far.host())).ok();
        assert_registry_has(far.host(), &content);
    }
    // An index that calls an index an image is another matter.
    let mut odd: Value = serde_json::from_slice(&index(std::slice::from_ref(&list)).bytes).unwrap();
    odd["manifests"][0]["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
    let odd =
        Image { children: vec![list], ..Image::of_bytes("application/vnd.oci.image.index.v1+json", odd.to_string()) };
    let registry = Faulty::new(Content::default().with("app:1", &odd)).start();
    let words = format!("pull app:1 --from {} --all-platforms --store other", registry.host());
    assert!(run(&words).code(1).stderr.contains("but was announced as"));
}
