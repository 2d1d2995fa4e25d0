//! Lists with images of this machine, for the commands that make a lock, a bundle or a copy of them.

use std::path::Path;

use fs_err as fs;
use serde_json::json;

use crate::support::faulty::{Effect, Faulty, On, Running as Registry};
use crate::support::hod::{Hod, hod};
use crate::support::images::{Blob, Content, Image, docker_image, image, index, layer, random};
use crate::support::job::{assert_clean, assert_sound, ls, names};

fn large(seed: u64) -> Blob {
    Blob::new("application/vnd.oci.image.layer.v1.tar", random(seed, 2_000_000))
}

fn web() -> Image {
    index(
        &[("linux/amd64", 4), ("linux/arm64", 5)]
            .map(|(platform, seed)| image(platform, &[layer(seed, 500), large(9)])),
    )
}

/// A registry, and images in places of every kind of file, all in one list.
struct Scene {
    folder: tempfile::TempDir,
    registry: Registry,
}

const LIST: &str = "##far\nfar:1\n##near\n\
    oci:layout as=web:1 platform=linux/amd64\n\
    dir:a folder as=x/shell  # a name with a tag of its own\n\
    far:2\n\
    oci:layout as=web:1 platform=linux/arm64\n\
    docker-archive:saved.tar as=saved:1\n\
    oci-archive:packed.tar:web as=packed:1 platform=all\n\
    tarball:packed.tar as=made:1\n";

impl Scene {
    fn new() -> Self {
        let shell = docker_image("linux/amd64", &[layer(3, 400), layer(4, 500)]);
        let far = image("linux/amd64", &[layer(4, 500), large(20)]);
        let content = Content::default().with("far:1", &far).with("far:2", &shell);
        let registry = Faulty::new(content).start();
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { folder, registry };
        fs::create_dir(scene.path().join("layout")).unwrap();
        web().write_layout(&scene.path().join("layout"));
        fs::write(scene.path().join("list"), LIST).unwrap();
        let far = format!("docker://{}", scene.registry.host());
        for (from, to) in [
            (format!("{far}/far:2"), "dir:a folder"),
            (format!("{far}/far:2"), "docker-archive:saved.tar:what/ever:1"),
            ("oci:layout".to_owned(), "oci-archive:packed.tar:web"),
        ] {
            scene.hod(&["copy", "--all", &from, to]).ok();
        }
        scene
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn hod(&self, words: &[&str]) -> Hod {
        hod(words).in_folder(self.path())
    }

    /// A command that looks names up in the registry.
    fn from(&self, words: &[&str]) -> Hod {
        self.hod(words).args(["--from", self.registry.host(), "--platform", "linux/amd64"])
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_lock_and_a_bundle_are_those_of_a_pull() {
    let scene = Scene::new();
    scene.from(&["pull", "-f", "list", "--store", "store", "--lock", "pulled.lock"]).ok();
    scene.from(&["lock", "-f", "list", "-o", "lock"]).ok();
    assert_eq!(scene.text("lock"), scene.text("pulled.lock"));
    assert_eq!(scene.text("lock").matches(" digest=sha256:").count(), 5, "{}", scene.text("lock"));
    for list in ["list", "lock"] {
        let (packed, bundled) = (format!("{list}.packed.tar"), format!("{list}.tar"));
        scene.from(&["pack", "-f", list, "--store", "store", "-o", &packed]).ok();
        scene.from(&["bundle", "-f", list, "-o", &bundled, "--lock", "bundled.lock"]).ok();
        assert!(scene.read(&packed) == scene.read(&bundled), "{list}: pack and bundle differ");
        assert_eq!(scene.text("bundled.lock"), scene.text("lock"));
        assert_clean(&scene.path().join(&bundled));
        scene.from(&["bundle", "-f", list, "--group", "far", "-o", "far.tar"]).ok();
        assert_eq!(names(&scene.path().join("far.tar")), ["far:1"]);
    }
    let bundle = scene.path().join("list.tar");
    assert_eq!(names(&bundle), ["far:1", "web:1", "x/shell:latest", "far:2", "saved:1", "packed:1", "made:1"]);
    assert_eq!(ls(&bundle)["images"][1]["platforms"], json!(["linux/amd64", "linux/arm64"]));
    scene.hod(&["unpack", "list.tar", "--root", "root"]).ok();
    assert_sound(&scene.path().join("root"));
    // A lock that was there before is compared with.
    let said = scene.from(&["lock", "-f", "list", "-o", "lock"]).ok();
    assert!(!said.text().contains("moved") && !said.text().contains("added"), "{}", said.text());
}

#[test]
fn places_on_the_command_line_are_taken_too() {
    let scene = Scene::new();
    scene.from(&["bundle", "dir:a folder as=shell:2", "far:1", "-o", "x.tar"]).ok();
    assert_eq!(names(&scene.path().join("x.tar")), ["shell:2", "far:1"]);
    scene.from(&["lock", "dir:a folder as=shell:2", "far:1", "-o", "lock"]).ok();
    assert!(scene.text("lock").contains("dir:a folder platform=all as=shell:2 digest="), "{}", scene.text("lock"));
}

#[test]
fn what_can_be_read_once_is_not_taken_twice() {
    let scene = Scene::new();
    let layer = scene.read("packed.tar");
    scene.from(&["bundle", "tarball:- as=made:1", "-o", "x.tar"]).input(layer.clone()).ok();
    assert_eq!(names(&scene.path().join("x.tar")), ["made:1"]);
    let twice = "tarball:- as=made:1\ntarball:- as=made:2\n";
    fs::write(scene.path().join("list"), twice).unwrap();
    for words in [&["bundle", "-f", "list", "-o", "y.tar"][..], &["pull", "-f", "list", "--store", "store"]] {
        let said = scene.from(words).input(layer.clone()).code(2).stderr;
        assert!(said.contains("list:2: tarball:-") && said.contains("can be read only once"), "{said}");
    }
    let said = scene.from(&["bundle", "-f", "-", "-o", "y.tar"]).input("tarball:- as=made:1\n").code(2).stderr;
    assert!(said.contains("-:1: tarball:-") && said.contains("can be read only once"), "{said}");
    // The archives are read here and there, which a pipe cannot give.
    let pipe = ["lock", "docker-archive:/dev/stdin as=saved:1", "-o", "lock"];
    let said = scene.from(&pipe).input(scene.read("saved.tar")).code(2).stderr;
    assert!(said.contains("docker-archive:/dev/stdin") && !scene.path().join("lock").exists(), "{said}");
}

#[test]
fn a_place_that_is_not_what_the_list_says_spoils_nothing() {
    let scene = Scene::new();
    scene.from(&["lock", "-f", "list", "-o", "lock"]).ok();
    let before = scene.registry.requests().len();
    fs::remove_file(scene.path().join("saved.tar")).unwrap();
    for (list, output) in [("list", "x.tar"), ("lock", "y.tar")] {
        for words in [&["bundle", "-f", list, "-o", output][..], &["lock", "-f", list, "-o", output]] {
            let said = scene.from(words).code(2).stderr;
            assert!(said.contains("docker-archive:saved.tar") && said.contains("1 place cannot be used"), "{said}");
        }
        let said = scene.hod(&["copy", "--file", list, "--no-referrers", "docker://", "oci:out"]).code(2).stderr;
        assert!(said.contains("docker-archive:saved.tar") && said.contains("1 place cannot be used"), "{said}");
        assert!(!scene.path().join(output).exists() && !scene.path().join("out").exists());
    }
    assert_eq!(scene.registry.requests().len(), before);

    // Another image is there now.
    let far = format!("docker://{}/far:1", scene.registry.host());
    scene.hod(&["copy", &far, "docker-archive:saved.tar:what/ever:1"]).ok();
    for words in [&["bundle", "-f", "lock", "-o", "x.tar"][..], &["lock", "-f", "lock", "-o", "x.tar"]] {
        let said = scene.from(words).code(1).stderr;
        assert!(said.contains("docker-archive:saved.tar:@0 contains sha256:"), "{said}");
        assert!(said.contains("error: lock:") && said.contains("1 of 7 images"), "{said}");
        assert!(!scene.path().join("x.tar").exists());
    }
    let said = scene.hod(&["copy", "--file", "lock", "docker://", "oci:out", "--no-referrers"]).code(3).stderr;
    assert!(said.contains("docker-archive:saved.tar:@0 contains sha256:"), "{said}");
    assert_eq!(scene.text("out/index.json").matches("ref.name\"").count(), 6);
}

#[test]
fn a_bundle_of_places_is_killed_and_goes_on() {
    let scene = Scene::new();
    scene.from(&["bundle", "-f", "list", "-o", "whole.tar"]).ok();
    scene.registry.fault(On::blob(&large(20).digest()).once(), Effect::Stall { after: 1_500_000 });
    let mut running = scene.from(&["bundle", "-f", "list", "-o", "x.tar", "--json"]).spawn();
    let large = large(9).bytes;
    let partial = scene.path().join(".x.tar.partial");
    running.until("the layer of a place is in its place", || {
        let there = fs::read(&partial).unwrap_or_default();
        there.windows(4096).any(|found| found == &large[large.len() - 4096..])
    });
    // What is written is believed once the journal says so.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    running.kill();
    assert!(!scene.path().join("x.tar").exists());
    let done = scene.from(&["bundle", "-f", "list", "-o", "x.tar", "--json"]).ok().json();
    // Of three large blobs two are there already: the layer of the layout, and the archive that is one.
    assert!(done["bytes"].as_u64().unwrap() > 6_000_000, "{done}");
    assert!(done["bytesFetched"].as_u64().unwrap() < 3_000_000, "{done}");
    assert!(scene.read("x.tar") == scene.read("whole.tar"));
    assert!(!partial.exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_copy_takes_each_image_from_where_the_list_says() {
    let scene = Scene::new();
    let list = scene.text("list").replace("far:", &format!("{}/far:", scene.registry.host()));
    fs::write(scene.path().join("list"), list).unwrap();
    scene.from(&["pull", "-f", "list", "--store", "pulled", "--lock", "lock"]).ok();
    for (list, store) in [("list", "one"), ("lock", "two")] {
        let to = format!("store:{store}");
        scene.hod(&["--override-arch", "amd64", "copy", "--no-referrers", "--file", list, "docker://", &to]).ok();
        assert_eq!(ls(&scene.path().join(store))["images"], ls(&scene.path().join("pulled"))["images"]);
        assert_sound(&scene.path().join(store));
        // Elsewhere such an image is what is called so there.
        let layout = format!("oci:out-{store}");
        scene.hod(&["copy", "--all", "--no-referrers", "--file", list, &to, &layout]).ok();
        scene.hod(&["copy", "--all", "--no-referrers", "--file", list, &layout, &format!("store:{store}2")]).ok();
        assert_eq!(ls(&scene.path().join(format!("{store}2")))["images"], ls(&scene.path().join("pulled"))["images"]);
    }
    let said = scene.hod(&["copy", "--file", "list", "store:one", "docker://"]).code(2).stderr;
    assert!(said.contains("list:4: oci:layout as=web:1") && said.contains("on this machine"), "{said}");
}
