//! Layers that lie elsewhere, as those of Windows do: who brings them, who leaves them and says so. skopeo is the judge.

use std::path::PathBuf;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Faulty, Running};
use crate::support::hod::{Hod, hod};
use crate::support::images::{Blob, Content, docker_image, foreign_layer, image, layer};
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn who_reads_a_place_without_asking_elsewhere_gets_them() {
    let site = Site::new();
    let theirs = format!("dir:{}", site.path("theirs").display());
    skopeo(["copy", "-q", "--src-tls-verify=false", "--src-creds", "me:secret", &site.image(), &theirs]);
    let said = site.copy(&site.image(), "dir:ours").ok().stderr;
    assert!(!said.contains("not carried"), "{said}");
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
fn who_keeps_addresses_keeps_them_and_the_user_hears_of_it() {
    let site = Site::new();
    let to = DockerRegistry::empty();
    let note = format!("is not carried: whoever runs it fetches what lies at {} from there", site.server.host());
    for place in [format!("docker://{}/web:1", to.host()), "oci:layout:web:1".into(), "store:store:web:1".into()] {
        let said = site.copy(&site.image(), &place).ok().stderr;
        assert_eq!(said.matches(&note).count(), 1, "{place}: {said}");
    }
    assert_eq!(site.server.count(|_| true), 0);
    // A place on this machine has the layer or has not: nobody is asked.
    let said = site.copy("oci:layout:web:1", "dir:d").ok().stderr;
    assert!(said.contains(&note), "{said}");
    let refused = site.copy("oci:layout:web:1", "docker-archive:a.tar:web:1").code(1).stderr;
    assert!(refused.contains("a docker archive cannot hold an image whose layer"), "{refused}");
    assert!(refused.contains("oci:, stores and registries leave such layers there"), "{refused}");
    assert_eq!(site.server.count(|_| true), 0);
}

#[test]
fn an_address_without_the_layer_is_an_error_that_names_it() {
    let site = Site::new();
    site.server.change(|content| content.repositories.clear());
    let refused = site.copy(&site.image(), "dir:ours").code(1).stderr;
    assert!(refused.contains(&format!("GET http://{}/v2/store/blobs/", site.server.host())), "{refused}");
    assert!(!site.path("ours/manifest.json").exists());
}
