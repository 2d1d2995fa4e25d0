//! `hod sync --image-syncer`, with configuration files as users have them.

use std::path::Path;

use fs_err as fs;

use super::tags;
use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On};
use crate::support::fixtures;
use crate::support::hod::{Hod, hod};
use crate::support::images::{Content, docker_list, image, index, layer};
use crate::support::skopeo;

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn syncer(auth: &str, images: &str) -> Hod {
    hod(["sync", "--image-syncer", "--auth", auth, "--images", images])
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn namespaces_comments_and_variables() {
    let upstream = DockerRegistry::options().root(fixtures::root()).user("reader", "first").start();
    let site = DockerRegistry::options().user("writer", "second").start();
    let folder = tempfile::tempdir().unwrap();
    let auth = format!(
        r#"{{
  "{upstream}": {{ "username": "nobody", "password": "wrong" }},  // registry
  "{upstream}/base": {{                                          // registry/namespace
    "username": "reader", "password": "${{READER}}"
  }},
  "{upstream}/web": {{ "username": "reader", "password": "$READER" }}, // the repository itself
  "{site}": {{ "username": "writer", "password": "second", "insecure": true }}, // http
}}"#,
        upstream = upstream.host(),
        site = site.host()
    );
    let auth = write(folder.path(), "auth.json", &auth);
    let images = format!(
        "{upstream}/web:1.0,1.1: {site}/mirror/web\n\
         {upstream}/base/busybox:/^1\\.[0-9]+$/: [\"${{SITE}}/tools/box:stable\", {site}/tools/other]\n\
         {upstream}/base/klibc@{digest}: {site}/klibc\n",
        upstream = upstream.host(),
        site = site.host(),
        digest = fixtures::digest("base/klibc:2.0")
    );
    let images = write(folder.path(), "images.yaml", &images);
    let (success, run) =
        (folder.path().join("done.yaml"), || syncer(&auth, &images).env("READER", "first").env("SITE", site.host()));
    let output = run().args(["--output-success-images"]).arg(&success).args(["--json"]).ok();
    assert!(output.stderr.contains("auth.json: comments"), "{}", output.stderr);
    let document = output.json();
    assert_eq!((document["sources"].as_u64(), document["images"].as_array().unwrap().len()), (Some(3), 5));
    let root = site.root().to_owned();
    let open = DockerRegistry::over(&root);
    let found = tags(&open);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["mirror/web:1.0", "mirror/web:1.1", "tools/box:stable", "tools/other:1.35"]);
    assert_eq!(found["mirror/web:1.1"], fixtures::digest("web:1.1"));
    assert_eq!(found["tools/box:stable"], fixtures::digest("base/busybox:1.35"));
    let pinned = fixtures::digest("base/klibc:2.0");
    assert_eq!(skopeo::digest(&format!("{}/klibc@{pinned}", open.host())), pinned);
    // What was done is a file of images itself; a second run finds everything there.
    let again = syncer(&auth, success.to_str().unwrap()).env("READER", "first").arg("--json").ok().json();
    assert_eq!((again["images"].as_array().unwrap().len(), &again["bytesWritten"]), (5, &0.into()));
    // What is said is in the log too, after what was there.
    let log = folder.path().join("sync.log");
    fs::write(&log, "before\n").unwrap();
    let logged = run().arg("--log").arg(&log).ok();
    assert!(logged.stderr.contains("Synced 5 images"), "{}", logged.stderr);
    assert_eq!(fs::read_to_string(&log).unwrap(), format!("before\n{}", logged.stderr));
    let nowhere = run().arg("--log").arg(folder.path()).code(2);
    assert!(nowhere.stderr.contains("cannot write the log"), "{}", nowhere.stderr);
    let forced = run().args(["--force", "--json"]).ok().json();
    assert!(forced["images"].as_array().unwrap().iter().all(|image| image["unchanged"] == false), "{forced}");
    assert!(syncer(&auth, &images).code(2).stderr.contains("READER is not set"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_one_file_of_old_versions() {
    let (upstream, site) = (DockerRegistry::over(fixtures::root()), DockerRegistry::empty());
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        r#"{{"auth": {{"{0}": {{"username": "", "password": "", "insecure": true}}}}, "images": {{"{0}/web:1.0": "{1}/web"}}}}"#,
        upstream.host(),
        site.host()
    );
    let config = write(folder.path(), "config.json", &text);
    let success = folder.path().join("done.json");
    let output = hod(["sync", "--image-syncer", "--config", &config, "--proc", "2", "--output-images-format", "json"])
        .arg("--output-success-images")
        .arg(&success)
        .ok();
    assert!(output.stderr.contains("Synced 1 images from 1 sources") && !output.stderr.contains("comments"));
    let done: serde_json::Value = serde_json::from_slice(&fs::read(&success).unwrap()).unwrap();
    let source = format!("{}/web:1.0", upstream.host());
    assert_eq!(done[source], serde_json::json!([format!("{}/web:1.0", site.host())]));
    assert_eq!(tags(&site).len(), 1);
    hod(["sync", "--image-syncer", "--config", &config, "--images", &config]).code(2);
    hod(["sync", "--image-syncer"]).code(2);
    for stray in [["--images", &config], ["--log", "sync.log"]] {
        let refused =
            hod(["sync", "--src=docker", "--dest=dir", "a", "b"]).args(stray).in_folder(folder.path()).code(2);
        assert!(refused.stderr.contains("requires --image-syncer"), "{}", refused.stderr);
    }
    assert!(!folder.path().join("sync.log").exists());
    let other = write(folder.path(), "config.toml", &text);
    assert!(hod(["sync", "--image-syncer", "--config", &other]).code(2).stderr.contains("neither .json"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn platforms_are_taken_out_of_indexes() {
    let amd64 = image("linux/amd64", &[layer(1, 500)]);
    let (v6, v7) = (image("linux/arm/v6", &[layer(2, 500)]), image("linux/arm/v7", &[layer(3, 500)]));
    let content = Content::default()
        .with("app:1", &index(&[amd64.clone(), v6.clone(), v7.clone()]))
        .with("old:1", &docker_list(&[amd64.clone(), v6.clone()]))
        .with("single:1", &amd64)
        .with("arm:1", &v6);
    let root = tempfile::tempdir().unwrap();
    content.write_root(root.path());
    let (upstream, site) = (DockerRegistry::over(root.path()), DockerRegistry::empty());
    let folder = tempfile::tempdir().unwrap();
    let rules =
        ["app", "old", "single", "arm"].map(|name| format!("{}/{name}: {}/{name}\n", upstream.host(), site.host()));
    let images = write(folder.path(), "images.yml", &rules.concat());
    let run =
        || hod(["sync", "--image-syncer", "--images", &images, "--os", "linux", "--arch", "amd64", "--arch", "arm:v7"]);
    let output = run().ok();
    assert!(output.stderr.contains("arm:1 has none of the requested platforms"), "{}", output.stderr);
    let children = |name: &str| {
        let index: serde_json::Value =
            serde_json::from_slice(&skopeo::manifest(&format!("{}/{name}", site.host()))).unwrap();
        index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["digest"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(children("app:1"), [amd64.digest().to_string(), v7.digest().to_string()]);
    assert_eq!(children("old:1"), [amd64.digest().to_string()]);
    let found = tags(&site);
    assert_eq!(found["single:1"], amd64.digest());
    assert_eq!(found.len(), 3);
    let again = run().arg("--json").ok().json();
    assert!(again["images"].as_array().unwrap().iter().all(|image| image["unchanged"] == true), "{again}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_fails_is_tried_again_when_the_rest_is_done() {
    let one = image("linux/amd64", &[layer(1, 500)]);
    let content = Content::default().with("a:1", &one).with("b:1", &image("linux/amd64", &[layer(2, 500)]));
    // Not worth another try of the request, and over when the others are done.
    let flaky = Faulty::new(content.clone()).fault(On::manifest("1").once(), Effect::Status(403)).start();
    let site = DockerRegistry::empty();
    let folder = tempfile::tempdir().unwrap();
    let images = |host: &str| {
        let text = format!("{{\"{host}/a:1\": [\"{0}/a\"], \"{host}/b:1\": \"{0}/b\"}}", site.host());
        write(folder.path(), "images.json", &text)
    };
    let config = images(flaky.host());
    hod(["sync", "--image-syncer", "--images", &config]).ok();
    assert_eq!(tags(&site).len(), 2);
    let broken = Faulty::new(content).fault(On::manifest("1").once(), Effect::Status(403)).start();
    let config = images(broken.host());
    let output = hod(["sync", "--image-syncer", "--retries", "0", "--images", &config]).code(3);
    assert!(output.stderr.contains("1 of 2 images not copied"), "{}", output.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn rules_that_cannot_be_meant_stop_it_before_it_begins() {
    let (upstream, site) = (DockerRegistry::over(fixtures::root()), DockerRegistry::empty());
    let folder = tempfile::tempdir().unwrap();
    let run = |text: &str| {
        let text = text.replace("UP", upstream.host()).replace("SITE", site.host());
        hod(["sync", "--image-syncer", "--images", &write(folder.path(), "images.yaml", &text)])
    };
    let said = run("UP/web:1.0,1.1: SITE/web:one\nUP/certs: []\nUP/pause: SITE/pause\n").code(2).stderr;
    assert!(said.contains("it has 2 images, but") && said.contains("no destination"), "{said}");
    let said = run("UP/web: SITE/web:one\n").code(2).stderr;
    assert!(said.contains("has 2 images, but"), "{said}");
    let said = run("UP/web:1.0: SITE/x:1\nUP/certs:2023: SITE/x:1\n").code(2).stderr;
    assert!(said.contains("would both become"), "{said}");
    let said = run("UP/nothing: SITE/x\nUP/web:1.0: SITE/web\n").code(3).stderr;
    assert!(said.contains("cannot list the tags of") && said.contains("Synced 1 images from 1 sources"), "{said}");
    assert_eq!(tags(&site).len(), 1);
}
