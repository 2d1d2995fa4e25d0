//! Something else that has the tag of a list of referrers: neither replaces the other, wherever they meet.

use std::path::Path;

use fs_err as fs;
use hod_oci::{Digest, referrers_tag};

use super::{Sample, pull, thing};
use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::Faulty;
use crate::support::hod::{Hod, hod};
use crate::support::images::{Content, Image, image, index, layer};
use crate::support::skopeo;

/// A store with all of a sample, and the roots of sites where its list's tag is taken: by an image, an artifact, a list.
struct Sites {
    sample: Sample,
    folder: tempfile::TempDir,
    tag: String,
    image: Image,
    artifact: Image,
    list: Image,
}

impl Sites {
    fn new() -> Self {
        let sample = Sample::new();
        let source = Faulty::new(sample.tagged()).start();
        let folder = tempfile::tempdir().unwrap();
        pull(source.host(), &folder.path().join("store")).ok();
        let theirs = thing("text/theirs", "theirs", &sample.image);
        let sites = Self {
            tag: referrers_tag(&sample.image.digest()).unwrap().to_string(),
            image: image("linux/amd64", &[layer(7, 100)]),
            artifact: thing("text/poem", "poem", &sample.amd64),
            list: index(std::slice::from_ref(&theirs)),
            sample,
            folder,
        };
        for (name, image) in [("image", &sites.image), ("artifact", &sites.artifact), ("list", &sites.list)] {
            sites.at_tag(image).write_root(&sites.folder.path().join(name));
        }
        for store in ["store", "image"] {
            sites.hod(&["pack", "--store", store, "-o", &format!("{store}.tar")]).ok();
        }
        sites
    }

    fn at_tag(&self, image: &Image) -> Content {
        Content::default().with(&format!("app:{}", self.tag), image)
    }

    fn hod(&self, words: &[&str]) -> Hod {
        hod(words).in_folder(self.folder.path())
    }

    fn root(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// What the tag stands for in a root.
    fn tagged(&self, root: &Path) -> Digest {
        let repository = root.join("docker/registry/v2/repositories/app");
        let link = repository.join(format!("_manifests/tags/{}/current/link", self.tag));
        fs::read_to_string(link).unwrap().parse().unwrap()
    }

    fn has_image(root: &Path) -> bool {
        root.join("docker/registry/v2/repositories/app/_manifests/tags/1").exists()
    }

    /// The two kinds of things that are there, and what they are called.
    fn foreign(&self) -> [(&'static str, &Image, String); 2] {
        [
            ("image", &self.image, format!("an image ({})", self.image.digest())),
            ("artifact", &self.artifact, format!("an artifact of the type text/poem ({})", self.artifact.digest())),
        ]
    }
}

#[test]
fn pull_leaves_it_and_the_image_out() {
    let sites = Sites::new();
    let source = Faulty::new(sites.sample.tagged()).start();
    for (root, there, called) in sites.foreign() {
        let root = sites.root(root);
        let output = pull(source.host(), &root).code(1);
        for part in [&format!("app:{}", sites.tag), &called, "hod tag", "--no-referrers"] {
            assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
        }
        assert_eq!(sites.tagged(&root), there.digest());
        assert!(!Sites::has_image(&root), "visible without its signatures");
        pull(source.host(), &root).arg("--no-referrers").ok();
    }
}

#[test]
fn unpack_and_select_write_nothing() {
    let sites = Sites::new();
    for existing in ["overwrite", "skip", "error"] {
        for (root, there, called) in sites.foreign() {
            for words in [["unpack", "store.tar", "--root", root], ["select", "--store=store", "--to", root]] {
                let output = sites.hod(&words).args(["--on-existing-tag", existing]).code(1);
                for part in [&format!("app:{}", sites.tag), &called, "hod tag"] {
                    assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
                }
                assert_eq!(sites.tagged(&sites.root(root)), there.digest());
                assert!(!Sites::has_image(&sites.root(root)));
            }
        }
        // The other way round the list would be lost.
        let words = ["unpack", "image.tar", "--root", "list", "--on-existing-tag", existing];
        let output = sites.hod(&words).code(1);
        assert!(output.stderr.contains("it is a list of referrers there"), "{}", output.stderr);
        assert_eq!(sites.tagged(&sites.root("list")), sites.list.digest());
    }
    // Where neither is a list, it is a tag like any other.
    sites.hod(&["unpack", "image.tar", "--root", "artifact"]).ok();
    assert_eq!(sites.tagged(&sites.root("artifact")), sites.image.digest());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn push_leaves_it_at_the_registry() {
    let sites = Sites::new();
    let bundle = fs::read(sites.root("store.tar")).unwrap();
    for (root, there, called) in sites.foreign() {
        let target = DockerRegistry::over(&sites.root(root));
        for from in ["store", "store.tar", "-"] {
            let to = format!("docker://{}", target.host());
            let output = sites.hod(&["push", from, &to, "--index", "child"]).input(bundle.clone()).code(3);
            for part in [&format!("{}/app:{}", target.host(), sites.tag), &called, "--no-referrers"] {
                assert!(output.stderr.contains(part), "{from}: {part}: {}", output.stderr);
            }
            let name = format!("{}/app:{}", target.host(), sites.tag);
            assert_eq!(skopeo::digest(&name), there.digest(), "{from}");
        }
    }
    // The other way round the list would be lost.
    let target = DockerRegistry::over(&sites.root("list"));
    let bundle = fs::read(sites.root("image.tar")).unwrap();
    for from in ["image.tar", "-"] {
        let to = format!("docker://{}", target.host());
        let output = sites.hod(&["push", from, &to]).input(bundle.clone()).code(1);
        assert!(output.stderr.contains("which is a list of referrers"), "{}", output.stderr);
        assert_eq!(skopeo::digest(&format!("{}/app:{}", target.host(), sites.tag)), sites.list.digest());
    }
}
