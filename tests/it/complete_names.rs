//! Names of images in archives, layouts and stores: complete where a runtime needs them, and the same in every command.

use std::path::Path;

use fs_err as fs;
use serde_json::{Value, json};

use crate::support::faulty::{Faulty, Running};
use crate::support::hod::{Hod, hod};
use crate::support::images::{Content, Image, image, layer};
use crate::support::job::{names, push, text};

const COMPLETE: &str = "io.containerd.image.name";
const OWN: &str = "org.opencontainers.image.ref.name";

fn app(seed: u64) -> Image {
    image("linux/amd64", &[layer(seed, 3000)])
}

/// A registry with two images, and a folder with their list, in which a store is to come.
fn scene() -> (Running, tempfile::TempDir) {
    let registry = Faulty::new(Content::default().with("app:1", &app(1)).with("coreos/etcd:v3.5", &app(2))).start();
    let folder = tempfile::tempdir().unwrap();
    let host = registry.host();
    fs::write(folder.path().join("list"), format!("{host}/app:1\n{host}/coreos/etcd:v3.5\n")).unwrap();
    (registry, folder)
}

fn run(folder: &Path, words: &str) -> Hod {
    hod(words.split(' ')).in_folder(folder)
}

/// The names of an archive or layout.
fn tags(folder: &Path, place: &str) -> Vec<String> {
    let listed = run(folder, &format!("list-tags {place}")).ok().json();
    let mut tags: Vec<String> =
        listed["Tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
    tags.sort_unstable();
    tags
}

/// The annotations of all entries of a layout.
fn annotations(layout: &Path) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let mut found: Vec<Value> =
        index["manifests"].as_array().unwrap().iter().map(|entry| entry["annotations"].clone()).collect();
    found.sort_by_key(|annotations| annotations[OWN].to_string());
    found
}

#[test]
fn a_docker_archive_has_the_complete_names_of_the_list() {
    let (registry, folder) = scene();
    let (here, host) = (folder.path(), registry.host());
    let complete = [format!("{host}/app:1"), format!("{host}/coreos/etcd:v3.5")];
    run(here, "pull -f list --store store").ok();
    run(here, "pack --store store -o bundle.tar").ok();
    for (number, from) in ["docker://", "store:store", "bundle:bundle.tar"].into_iter().enumerate() {
        let archive = format!("docker-archive:{number}.tar");
        run(here, &format!("copy --file list {from} {archive}")).ok();
        assert_eq!(tags(here, &archive), complete, "{from}");
        // By the same list it is found there again.
        run(here, &format!("copy --file list {archive} oci:layout{number}")).ok();
        assert_eq!(tags(here, &format!("oci:layout{number}")), ["app:1", "coreos/etcd:v3.5"]);
    }
    // A name of its own is complete as Docker completes it.
    fs::write(here.join("list"), format!("{host}/app:1 as=web:2\n{host}/app:1 as=quay.io/team/web:2\n")).unwrap();
    run(here, "copy --file list docker:// docker-archive:own.tar").ok();
    assert_eq!(tags(here, "docker-archive:own.tar"), ["docker.io/library/web:2", "quay.io/team/web:2"]);
}

#[test]
fn copy_names_images_as_names_says() {
    let (registry, folder) = scene();
    let (here, host) = (folder.path(), registry.host().replace(':', "-"));
    for (style, wanted) in [
        ("as-listed", ["app:1".to_owned(), "coreos/etcd:v3.5".to_owned()]),
        ("library", ["library/app:1".to_owned(), "coreos/etcd:v3.5".to_owned()]),
        ("with-host", [format!("{host}/app:1"), format!("{host}/coreos/etcd:v3.5")]),
    ] {
        run(here, &format!("copy --names {style} --file list docker:// store:{style}")).ok();
        run(here, &format!("copy --names {style} --file list docker:// oci:oci-{style}")).ok();
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(tags(here, &format!("oci:oci-{style}")), wanted);
        assert_eq!(names(&here.join(style)), wanted);
    }
}

#[test]
fn a_store_pulled_with_host_answers_to_its_list_in_every_command() {
    let (registry, folder) = scene();
    let (here, host) = (folder.path(), registry.host());
    for style in ["with-host", "library", "as-listed"] {
        let below = here.join(style);
        fs::create_dir(&below).unwrap();
        let list = fs::read_to_string(here.join("list")).unwrap();
        fs::write(below.join("list"), &list).unwrap();
        let digests = [app(1).digest(), app(2).digest()];
        let locked =
            list.lines().zip(digests).map(|(line, digest)| format!("{line}@{digest}")).collect::<Vec<_>>().join("\n");
        fs::write(below.join("locked"), locked).unwrap();
        run(&below, &format!("pull -f list --names {style} --store store")).ok();
        let kept = names(&below.join("store"));
        for list in ["list", "locked"] {
            run(&below, &format!("pack -f {list} --store store -o {list}.tar")).ok();
            let mut packed = names(&below.join(format!("{list}.tar")));
            packed.sort_unstable();
            assert_eq!(packed, kept, "{style} {list}");
            run(&below, &format!("select -f {list} --store store --to {list}.store")).ok();
            assert_eq!(names(&below.join(format!("{list}.store"))), kept, "{style} {list}");
            run(&below, &format!("copy --file {list} store:store oci:{list}.oci")).ok();
            run(&below, &format!("copy --file {list} bundle:list.tar docker-archive:{list}.docker")).ok();
            run(&below, &format!("plan -f {list} --store store")).ok();
        }
        for source in ["store", "list.tar"] {
            let to = format!("{host}/{style}/{}", source.replace('.', "-"));
            push(&below.join(source), &to, ["-f", text(&below.join("list"))]).ok();
        }
        let bundle = fs::read(below.join("list.tar")).unwrap();
        run(&below, &format!("push - docker://{host}/{style}/stream -f list")).input(bundle).ok();
        let pushed = registry.content();
        for source in ["store", "list-tar", "stream"] {
            let found = |name: &String| {
                let (repository, tag) = name.rsplit_once(':').unwrap();
                let found = pushed.repositories.get(&format!("{style}/{source}/{repository}"));
                found.is_some_and(|repository| repository.tags.contains_key(tag))
            };
            assert!(kept.iter().all(found), "{style} {source}");
        }
        let same = run(&below, "diff locked store --json").code(0).json();
        assert_eq!(same["unchanged"], json!(2), "{style}: {same}");
    }
    // The name that --names says comes first, and what is absent is named as it is looked for.
    let said = hod(["pack", "quay.io/no/such:1", "--store", text(&here.join("with-host/store")), "-o", "x.tar"]);
    let said = said.in_folder(here).code(1).stderr;
    assert!(said.contains("image no/such:1 does not exist"), "{said}");
}

#[test]
fn layouts_and_archives_have_the_complete_name_for_containerd() {
    let (registry, folder) = scene();
    let (here, host) = (folder.path(), registry.host());
    run(here, "copy --file list docker:// oci:layout").ok();
    run(here, "copy --file list docker:// oci-archive:layout.tar").ok();
    let one = json!({ OWN: "app:1", COMPLETE: format!("{host}/app:1") });
    let two = json!({ OWN: "coreos/etcd:v3.5", COMPLETE: format!("{host}/coreos/etcd:v3.5") });
    assert_eq!(annotations(&here.join("layout")), [one.clone(), two.clone()]);
    fs::create_dir(here.join("expanded")).unwrap();
    tar::Archive::new(fs::File::open(here.join("layout.tar")).unwrap()).unpack(here.join("expanded")).unwrap();
    assert_eq!(annotations(&here.join("expanded")), [one, two]);
    // One image: the name of the source, if that is what it is called there too, else what Docker makes of the name.
    let from = format!("docker://{host}/app:1");
    for (name, complete) in [
        ("1", format!("{host}/app:1")),
        ("app:1", format!("{host}/app:1")),
        ("web:7", "docker.io/library/web:7".to_owned()),
        ("quay.io/team/web:7", "quay.io/team/web:7".to_owned()),
    ] {
        run(here, &format!("copy {from} oci:{}:{name}", name.replace(['/', ':'], "-"))).ok();
        let wanted = json!({ OWN: name, COMPLETE: complete });
        assert_eq!(annotations(&here.join(name.replace(['/', ':'], "-"))), [wanted]);
    }
    // A mere tag of which no more is known has none, nor has an image without a name.
    run(here, "copy oci:layout:app:1 oci:tag:9").ok();
    assert_eq!(annotations(&here.join("tag")), [json!({ OWN: "9" })]);
    run(here, "copy oci:layout:app:1 oci:nameless").ok();
    assert_eq!(annotations(&here.join("nameless")), [Value::Null]);
    // A further name of an image is complete, too, and a name that moves leaves nothing behind.
    run(here, "tag oci:web-7:web:7 team/web:8").ok();
    run(here, &format!("copy docker://{host}/coreos/etcd:v3.5 oci:web-7:web:7")).ok();
    let entries = annotations(&here.join("web-7"));
    let web = |name: &str, complete: &str| json!({ OWN: name, COMPLETE: complete });
    assert_eq!(
        entries,
        [web("team/web:8", "docker.io/team/web:8"), web("web:7", "docker.io/library/web:7"), Value::Null]
    );
}

/// A layout as Docker 25 and `ctr images export` write it: the tag in one annotation, the name in another.
fn exported(layout: &Path, images: &[(&str, &str, Image)]) {
    for (_, _, image) in images {
        image.write_layout(layout);
    }
    let entry = |(own, complete, image): &(&str, &str, Image)| {
        json!({
            "mediaType": image.descriptor.media_type, "digest": image.digest(), "size": image.descriptor.size,
            "annotations": { OWN: own, COMPLETE: complete },
        })
    };
    let manifests: Vec<Value> = images.iter().map(entry).collect();
    fs::write(layout.join("index.json"), json!({ "schemaVersion": 2, "manifests": manifests }).to_string()).unwrap();
}

#[test]
fn an_export_of_docker_25_or_containerd_is_read_by_io_containerd_image_name() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (alpine, busybox) = ("docker.io/library/alpine:latest", "docker.io/team/busybox:latest");
    let by_digest = format!("docker.io/team/tool@{}", app(3).digest());
    let at_digest = format!("@{}", app(3).digest());
    let images = [("latest", alpine, app(1)), ("latest", busybox, app(2)), (&*at_digest, &*by_digest, app(3))];
    exported(&here.join("x"), &images);
    let mut tar = tar::Builder::new(fs::File::create(here.join("x.tar")).unwrap());
    tar.append_dir_all(".", here.join("x")).unwrap();
    tar.finish().unwrap();
    for place in ["oci:x", "oci-archive:x.tar"] {
        assert_eq!(tags(here, place), [alpine, busybox, &by_digest], "{place}");
        let store = place.replace([':', '.'], "-");
        run(here, &format!("pull {place} --store {store}")).ok();
        let kept = names(&here.join(&store));
        let tool = format!("team/tool@{}", app(3).digest());
        assert_eq!(kept, ["library/alpine:latest", "team/busybox:latest", &tool], "{place}");
        // By the complete name, and by what Docker completes to it.
        for (name, wanted) in [(alpine, 1), ("alpine:latest", 1), ("team/busybox:latest", 2)] {
            let raw = run(here, &format!("inspect --raw {place}:{name}")).ok().stdout;
            assert_eq!(raw, app(wanted).bytes, "{place}:{name}");
        }
        // A mere tag means both.
        let said = run(here, &format!("copy {place}:latest dir:no")).code(1).stderr;
        assert!(said.contains(&format!("contains 2 images latest: name one of {alpine}, {busybox}")), "{said}");
    }
    // The name of one moves, and the other keeps its own.
    run(here, "copy oci:x:team/busybox:latest oci:x:alpine:latest").ok();
    assert_eq!(tags(here, "oci:x"), ["alpine:latest", busybox, &by_digest]);
    run(here, &format!("rm oci:x:{busybox}")).ok();
    assert_eq!(tags(here, "oci:x"), ["alpine:latest", &by_digest]);
}

#[test]
fn one_image_of_a_layout_has_the_name_that_all_give_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let web = ("web:1", "docker.io/library/web:1", app(2));
    exported(&here.join("x"), &[("latest", "quay.io/team/app:latest", app(1)), web]);
    let at = format!("@{}", app(1).digest());
    for (number, (image, wanted)) in [
        ("@0", "team/app:latest"),
        (&*at, "team/app:latest"),
        ("latest", "team/app:latest"),
        ("quay.io/team/app:latest", "team/app:latest"),
        ("@1", "web:1"),
        ("docker.io/library/web:1", "web:1"),
    ]
    .into_iter()
    .enumerate()
    {
        run(here, &format!("pull oci:x:{image} --store store{number}")).ok();
        assert_eq!(names(&here.join(format!("store{number}"))), [wanted], "{image}");
    }
}

#[test]
fn an_image_with_several_names_gets_one_by_as() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    app(1).write_layout(&here.join("layout"));
    run(here, "copy --additional-tag b:2 oci:layout docker-archive:a.tar:a:1").ok();
    for image in ["", ":@0", ":b:2"] {
        let store = format!("store{}", image.len());
        hod(["pull", &format!("docker-archive:a.tar{image} as=own:1"), "--store", &store]).in_folder(here).ok();
        assert_eq!(names(&here.join(store)), ["own:1"], "{image}");
    }
}

#[test]
fn layouts_of_hauler_and_zarf_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (busybox, tool) = ("index.docker.io/library/busybox:1.36", "ghcr.io/org/tool:v1");
    exported(&here.join("hauler"), &[(busybox, "docker.io/library/busybox:1.36", app(1)), (tool, tool, app(2))]);
    fs::remove_file(here.join("hauler/oci-layout")).unwrap();
    exported(&here.join("zarf/images"), &[("", busybox, app(1)), ("", tool, app(2))]);
    let index = here.join("zarf/images/index.json");
    let text = fs::read_to_string(&index).unwrap().replace(COMPLETE, "org.opencontainers.image.base.name");
    fs::write(&index, text.replace(r#","org.opencontainers.image.ref.name":"""#, "")).unwrap();
    let mut tar = tar::Builder::new(fs::File::create(here.join("haul.tar")).unwrap());
    tar.append_dir_all(".", here.join("hauler")).unwrap();
    tar.finish().unwrap();
    let zst = zstd::encode_all(&*fs::read(here.join("haul.tar")).unwrap(), 1).unwrap();
    fs::write(here.join("haul.tar.zst"), zst).unwrap();
    let places = ["oci:hauler", "oci-archive:haul.tar", "oci-archive:haul.tar.zst", "oci:zarf/images"];
    for (number, place) in places.into_iter().enumerate() {
        run(here, &format!("pull {place} --store store{number}")).ok();
        assert_eq!(names(&here.join(format!("store{number}"))), ["library/busybox:1.36", "org/tool:v1"], "{place}");
        let far = Faulty::new(Content::default()).start();
        run(here, &format!("push {place} docker://{}", far.host())).ok();
        assert_eq!(far.content().repositories["org/tool"].tags["v1"], app(2).digest(), "{place}");
        run(here, &format!("copy {place}:{tool} dir:dir{number}")).ok();
    }
    // hod writes to no layout that it cannot lock, nor into what is none.
    run(here, "copy oci:hauler:ghcr.io/org/tool:v1 oci:hauler:other:1").code(1);
    run(here, "copy oci:nothing:1 dir:no").code(1);
}

#[test]
fn archives_and_layouts_are_as_private_as_the_umask_says() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    app(1).write_layout(&here.join("source"));
    for place in ["docker-archive:d.tar:a:1", "oci-archive:o.tar:a:1", "oci:layout:a:1", "dir:directory"] {
        let words = format!("umask 077 && exec {} copy oci:source {place}", env!("CARGO_BIN_EXE_hod"));
        assert!(std::process::Command::new("sh").args(["-c", &words]).current_dir(here).status().unwrap().success());
    }
    let mut files: Vec<_> = ["d.tar", "o.tar"].map(|name| here.join(name)).into();
    for below in ["layout", "directory"] {
        let found = walkdir::WalkDir::new(here.join(below)).into_iter().map(|entry| entry.unwrap());
        files.extend(found.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().to_owned()));
    }
    for file in files {
        let found = fs::metadata(&file).unwrap();
        // What is linked is the file that was there.
        if found.nlink() == 1 {
            assert_eq!(found.permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
    }
}
