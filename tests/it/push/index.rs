//! Indexes of which only some children are there, and registries that want them all.

use hod_oci::Digest;
use hyper::Method;
use tempfile::TempDir;

use super::app;
use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On};
use crate::support::images::{Content, Image, docker_image, docker_list, index, layer};
use crate::support::job::{assert_registry_has, manifest, pack, pull, push, reach, whole};

fn children() -> [Image; 3] {
    [app("linux/amd64", 2), app("linux/arm64", 3), app("linux/arm/v7", 4)]
}

/// A store with the index at `app:1`, of which these platforms were pulled.
fn sparse(platforms: &str) -> (TempDir, Image) {
    let root = index(&children());
    let registry = Faulty::new(Content::default().with("app:1", &root)).start();
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), ["app:1", "--platform", platforms]).ok();
    (folder, root)
}

/// What Debian's registry has as `app:1`.
fn tagged(registry: &DockerRegistry) -> Digest {
    let response = manifest(registry.host(), "app", "1");
    assert_eq!(response.status, 200);
    Digest::sha256(&response.body)
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_that_refuses_gets_another_form() {
    let [amd64, arm64, _] = children();
    for (platforms, policy) in [
        ("linux/amd64", "auto"),
        ("linux/amd64", "child"),
        ("linux/amd64", "rewrite"),
        ("linux/amd64,linux/arm64", "auto"),
        ("linux/amd64,linux/arm64", "rewrite"),
    ] {
        let (store, root) = sparse(platforms);
        let bundle = store.path().join("x.tar");
        pack(store.path(), &bundle, []).ok();
        for source in [store.path(), &bundle, "-".as_ref()] {
            let registry = DockerRegistry::empty();
            let stdin = if source == store.path() { Vec::new() } else { fs_err::read(&bundle).unwrap() };
            let output = push(source, registry.host(), ["--index", policy]).input(stdin).ok();
            let digest = tagged(&registry);
            let note = format!("app:1 has a new digest at the registry: {} → {digest}", root.digest());
            assert!(output.stderr.contains(&note), "{policy}: {}", output.stderr);
            let reached = reach(registry.host(), "app", "1");
            assert!(reached.absent.is_empty());
            assert!(reached.manifests.contains(&amd64.digest()));
            assert_eq!(reached.manifests.contains(&arm64.digest()), platforms.contains("arm64"));
            let is_child = policy == "child" || (policy == "auto" && !platforms.contains("arm64"));
            assert_eq!(digest == amd64.digest(), is_child, "{platforms} {policy}");
            push(&bundle, registry.host(), ["--index", policy]).ok();
            assert_eq!(tagged(&registry), digest);
        }
    }
}

#[test]
fn a_registry_that_takes_it_gets_the_index_as_it_is() {
    let (store, root) = sparse("linux/amd64");
    for policy in ["auto", "sparse"] {
        let registry = Faulty::new(Content::default()).start();
        let output = push(store.path(), registry.host(), ["--index", policy]).ok();
        assert!(!output.stderr.contains("new digest"), "{}", output.stderr);
        assert_eq!(registry.content().repositories["app"].tags["1"], root.digest());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn ways_that_are_closed_are_errors() {
    let (one, _) = sparse("linux/amd64");
    let (two, root) = sparse("linux/amd64,linux/arm64");
    let pinned = format!("app:1@{}", root.digest());
    let cases: &[(&TempDir, &[&str], &str)] = &[
        (&one, &["--index", "sparse"], "app:1"),
        (&one, &["--index", "full"], "2 manifests of the index are missing"),
        (&two, &["--index", "child"], "--index rewrite"),
        (&two, &[&pinned], "--index rewrite"),
    ];
    for (store, words, said) in cases {
        let registry = DockerRegistry::empty();
        let output = push(store.path(), registry.host(), words.iter().copied()).code(1);
        assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
        assert_eq!(manifest(registry.host(), "app", "1").status, 404, "{words:?}");
    }
    let registry = DockerRegistry::empty();
    push(two.path(), registry.host(), [&*pinned, "--index", "rewrite"]).ok();
    assert_eq!(tagged(&registry), Digest::sha256(&manifest(registry.host(), "app", "1").body));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_image_that_only_its_digest_names_stays_as_it_is_or_fails() {
    let root = index(&children());
    let registry = Faulty::new(Content::default().with("app:1", &root)).start();
    let folder = tempfile::tempdir().unwrap();
    let name = format!("app@{}", root.digest());
    pull(registry.host(), folder.path(), [&*name, "--platform", "linux/amd64"]).ok();
    let refusing = DockerRegistry::empty();
    let output = push(folder.path(), refusing.host(), []).code(1);
    assert!(output.stderr.contains(&root.digest().to_string()), "{}", output.stderr);
    let taking = Faulty::new(Content::default()).start();
    push(folder.path(), taking.host(), []).ok();
    assert!(taking.content().repositories["app"].manifests.contains_key(&root.digest()));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn whole_and_nested_indexes_and_lists_go_as_they_are() {
    let [amd64, arm64, v7] = children();
    let list =
        docker_list(&[docker_image("linux/amd64", &[layer(7, 10)]), docker_image("linux/arm64", &[layer(7, 10)])]);
    let content = Content::default()
        .with("whole:1", &index(&[amd64.clone(), arm64.clone()]))
        .with("nested:1", &index(&[index(&[amd64.clone(), arm64]), v7]))
        .with("docker:1", &list);
    let store = tempfile::tempdir().unwrap();
    content.write_root(store.path());
    for policy in ["auto", "sparse", "full", "rewrite", "child"] {
        let registry = DockerRegistry::empty();
        let output = push(store.path(), registry.host(), ["--index", policy]).ok();
        assert!(!output.stderr.contains("new digest"), "{policy}: {}", output.stderr);
        assert_registry_has(registry.host(), &content);
    }
    let (store, _) = sparse("linux/amd64,linux/arm64,linux/arm/v7");
    let registry = DockerRegistry::empty();
    push(store.path(), registry.host(), ["--index", "full"]).ok();
    assert_eq!(reach(registry.host(), "app", "1"), whole(&index(&children())));
}

#[test]
fn a_child_that_the_registry_only_believes_to_have_is_sent_again() {
    let [amd64, arm64, _] = children();
    let root = index(&[amd64.clone(), arm64]);
    let store = tempfile::tempdir().unwrap();
    Content::default().with("app:1", &root).write_root(store.path());
    let registry = Faulty::new(Content::default()).refuse_sparse().phantom(&amd64).start();
    push(store.path(), registry.host(), []).ok();
    let held = &registry.content().repositories["app"];
    assert_eq!(held.tags["1"], root.digest());
    assert!(held.manifests.contains_key(&amd64.digest()));
}

#[test]
fn a_refusal_for_another_reason_changes_no_digest() {
    let (store, _) = sparse("linux/amd64");
    for status in [401, 403, 413] {
        let registry = Faulty::new(Content::default()).fault(On::put_manifest(), Effect::Status(status)).start();
        let output = push(store.path(), registry.host(), []).code(1);
        assert!(output.stderr.contains(&format!(" {status} ")), "{}", output.stderr);
        assert!(!output.stderr.contains("new digest"));
        assert!(registry.content().repositories.get("app").is_none_or(|held| held.tags.is_empty()));
    }
}

/// Pushed again, an index costs two round trips, however many platforms it has.
#[test]
fn what_an_index_names_is_asked_for_side_by_side() {
    let (store, root) = sparse("all");
    let content = Content::default().with("app:1", &root);
    let never = On::matching(|seen| seen.method == Method::HEAD && seen.path.contains("/manifests/sha256:"));
    let registry = Faulty::new(content).fault(never, Effect::Silence).start();
    let running = push(store.path(), registry.host(), []).spawn();
    for child in children() {
        registry.wait_for(|seen| seen.path.ends_with(&child.digest().to_string()));
    }
    running.interrupt();
    assert_eq!(running.wait().code, Some(130));
}
