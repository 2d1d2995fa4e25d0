//! Layers that lie elsewhere, as those of Windows do: who brings them, who leaves them and says so. skopeo is the judge.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hod_oci::Digest;

use crate::support::docker_registry::DockerRegistry;
use crate::support::engine::{Engine, podman, run};
use crate::support::faulty::{Faulty, Running};
use crate::support::hod::{Hod, hod};
use crate::support::images::{Blob, Content, docker_image, foreign_layer, image, layer, random};
use crate::support::skopeo::skopeo;
use crate::support::tree;

/// A registry that wants a password and has an image without its first layer, and the server that has the layer.
struct Site {
    registry: DockerRegistry,
    server: Running,
    layer: Blob,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let plain = layer(7, 100);
        let server =
            Faulty::new(Content::default().with("store:1", &image("linux/amd64", std::slice::from_ref(&plain))))
                .start();
        let url = format!("http://{}/v2/store/blobs/{}", server.host(), plain.digest());
        let foreign = foreign_layer(7, &url);
        let web = docker_image("linux/amd64", &[foreign.clone(), layer(8, 50)]);
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        Content::default().with("web:1", &web).write_root(&root);
        let registry = DockerRegistry::options().user("me", "secret").root(&root).start();
        Self { registry, server, layer: foreign, folder }
    }

    fn image(&self) -> String {
        format!("docker://{}/web:1", self.registry.host())
    }

    fn copy(&self, from: &str, to: &str) -> Hod {
        let tries = ["--retry-times", "0"];
        hod(["copy", from, to]).args(tries).env("HOD_SRC_CREDS", "me:secret").in_folder(self.folder.path())
    }

    /// That a daemon has both layers.
    #[track_caller]
    fn assert_whole(&self, image: &str, host: &str) {
        let folder = tempfile::tempdir().unwrap();
        skopeo(["copy", "-q", "--src-daemon-host", host, image, &format!("dir:{}", folder.path().display())]);
        self.assert_layers(folder.path());
    }

    /// That an image directory has both layers, compressed or not.
    #[track_caller]
    fn assert_layers(&self, folder: &Path) {
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter().map(|layer| {
            let digest: Digest = layer["digest"].as_str().unwrap().parse().unwrap();
            let bytes = fs::read(folder.join(digest.hex())).unwrap();
            let mut plain = Vec::new();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
                return Digest::sha256(&plain);
            }
            Digest::sha256(&bytes)
        });
        let expected = [&self.layer, &layer(8, 50)].map(|layer| {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*layer.bytes).read_to_end(&mut plain).unwrap();
            Digest::sha256(&plain)
        });
        assert_eq!(layers.collect::<Vec<_>>(), expected);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn who_reads_a_place_without_asking_elsewhere_gets_them() {
    let site = Site::new();
    let theirs = format!("dir:{}", site.path("theirs").display());
    skopeo(["copy", "-q", "--src-tls-verify=false", "--src-creds", "me:secret", &site.image(), &theirs]);
    let said = site.copy(&site.image(), "dir:ours").ok().stderr;
    assert!(!said.contains("not copied"), "{said}");
    tree::assert_same(&site.path("theirs"), &site.path("ours"));
    // What the registry gets to know stays there.
    let digest = site.layer.digest().to_string();
    let asked: Vec<_> = site.server.requests().into_iter().filter(|seen| seen.path.contains(&digest)).collect();
    assert_eq!(asked.len(), 2, "once by each tool");
    assert!(asked.iter().all(|seen| !seen.headers.contains_key("authorization")));
    // Once more, with all of it there.
    assert!(site.copy(&site.image(), "dir:ours").ok().stderr.contains("1 unchanged"));
    assert_eq!(site.server.count(|seen| seen.path.contains(&digest)), 2);
    let archive = format!("docker-archive:{}:web:1", site.path("a.tar").display());
    site.copy(&site.image(), &archive).ok();
    let other = archive.replace("a.tar", "b.tar");
    skopeo(["copy", "-q", "--src-tls-verify=false", "--src-creds", "me:secret", &site.image(), &other]);
    assert_eq!(skopeo(["inspect", &archive]), skopeo(["inspect", &other]));
    let sync = ["sync", "--src", "docker", "--dest", "dir", &format!("{}/web", site.registry.host()), "synced"];
    hod(sync).env("HOD_SRC_CREDS", "me:secret").in_folder(site.folder.path()).ok();
    tree::assert_same(&site.path("theirs"), &site.path("synced/web:1"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn who_keeps_addresses_keeps_them_and_the_user_hears_of_it() {
    let site = Site::new();
    let to = DockerRegistry::empty();
    let note = format!("is not copied: runtimes fetch such layers from {}", site.server.host());
    for place in [format!("docker://{}/web:1", to.host()), "oci:layout:web:1".into(), "store:store:web:1".into()] {
        let said = site.copy(&site.image(), &place).ok().stderr;
        assert_eq!(said.matches(&note).count(), 1, "{place}: {said}");
    }
    assert_eq!(site.server.count(|_| true), 0);
    // A place on this machine has the layer or has not: nobody is asked.
    let said = site.copy("oci:layout:web:1", "dir:d").ok().stderr;
    assert!(said.contains(&note), "{said}");
    let refused = site.copy("oci:layout:web:1", "docker-archive:a.tar:web:1").code(1).stderr;
    assert!(refused.contains("a docker archive cannot contain an image whose layer"), "{refused}");
    assert!(refused.contains("oci:, stores and registries support such layers"), "{refused}");
    assert_eq!(site.server.count(|_| true), 0);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn daemons_get_them_whole() {
    let site = Site::new();
    let digest = site.layer.digest().to_string();
    for engine in [Engine::podman(), Engine::docker()] {
        let host = engine.host();
        let before = site.server.count(|seen| seen.path.contains(&digest));
        let to = "docker-daemon:localhost/web:1";
        let said = site.copy(&site.image(), to).args(["--dest-daemon-host", &host]).ok().stderr;
        assert!(!said.contains("not copied"), "{said}");
        assert_eq!(site.server.count(|seen| seen.path.contains(&digest)), before + 1);
        site.assert_whole(to, &host);
        let again = site.copy(&site.image(), to).args(["--dest-daemon-host", &host]).ok().stderr;
        assert!(again.contains("1 unchanged"), "{again}");
    }
    // A place on this machine has the layer or has not, for them too.
    site.copy(&site.image(), "oci:layout:web:1").ok();
    let engine = Engine::podman();
    let to = ["--dest-daemon-host", &engine.host()];
    let refused = site.copy("oci:layout:web:1", "docker-daemon:localhost/web:1").args(to).code(1).stderr;
    assert!(refused.contains("cannot contain an image whose layer"), "{refused}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_storage_gets_them_whole() {
    let site = Site::new();
    let digest = site.layer.digest().to_string();
    let (root, run_root) = (site.path("root-of-podman/root"), site.path("root-of-podman/run"));
    fs::create_dir(site.path("root-of-podman")).unwrap();
    let to = format!("containers-storage:[vfs@{}+{}]localhost/web:1", root.display(), run_root.display());
    let copy = || site.copy(&site.image(), &to).env("HOD_TMPDIR", site.folder.path());
    let said = copy().ok().stderr;
    assert!(!said.contains("not copied"), "{said}");
    // The tools of the storage go to the addresses too.
    assert!(site.server.count(|seen| seen.path.contains(&digest)) > 0);
    let back = site.path("back");
    site.copy(&to, &format!("dir:{}", back.display())).env("HOD_TMPDIR", site.folder.path()).ok();
    site.assert_layers(&back);
    let mounted = run(podman(&site.path("root-of-podman")).args(["image", "mount", "localhost/web:1"]));
    assert_eq!(fs::read(PathBuf::from(mounted.trim()).join("data-7")).unwrap(), random(7, 100));
    run(podman(&site.path("root-of-podman")).args(["image", "unmount", "localhost/web:1"]));

    // The same by way of a podman that listens.
    let engine = Engine::podman();
    let to = "containers-storage:localhost/web:1";
    let said = site.copy(&site.image(), to).env("CONTAINER_HOST", engine.host()).ok().stderr;
    assert!(!said.contains("not copied"), "{said}");
    site.assert_whole("docker-daemon:localhost/web:1", &engine.host());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_address_without_the_layer_is_an_error_that_names_it() {
    let site = Site::new();
    site.server.change(|content| content.repositories.clear());
    let refused = site.copy(&site.image(), "dir:ours").code(1).stderr;
    assert!(refused.contains(&format!("GET http://{}/v2/store/blobs/", site.server.host())), "{refused}");
    assert!(!site.path("ours/manifest.json").exists());
}
