//! What a registry says that it has, and `--force`, which does not take its word for it.

use fs_err as fs;
use hyper::Method;

use super::{app, content, store};
use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Faulty, Route};
use crate::support::hod::hod;
use crate::support::images::Content;
use crate::support::job::{assert_registry_has, blob_path, push, text};

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_that_has_lost_something_gets_it_again() {
    let store = store();
    let registry = DockerRegistry::empty();
    push(store.path(), registry.host(), []).ok();
    let lose = || {
        let (layer, manifest) = (app("linux/amd64", 3).blobs[2].digest(), app("linux/amd64", 4).digest());
        fs::remove_file(blob_path(registry.root(), &layer)).unwrap();
        fs::remove_file(blob_path(registry.root(), &manifest)).unwrap();
    };
    lose();
    // Its tags are as they should be.
    let output = push(store.path(), registry.host(), []).ok();
    assert!(output.stderr.contains("0 images pushed, 4 unchanged"), "{}", output.stderr);
    let output = push(store.path(), registry.host(), ["--force"]).ok();
    assert!(output.stderr.contains("4 images pushed, 0 unchanged"), "{}", output.stderr);
    assert_registry_has(registry.host(), &content());
    lose();
    for name in ["app:2", "team/other:1"] {
        let (from, to) =
            (format!("store:{}:{name}", text(store.path())), format!("docker://{}/{name}", registry.host()));
        hod(["copy", "--force", &from, &to]).ok();
    }
    assert_registry_has(registry.host(), &content());
}

/// A condition on what is named by its digest would be true whether it is there or not.
#[test]
fn tags_are_compared_by_the_registry_and_digests_looked_for() {
    let store = store();
    let registry = Faulty::new(content()).start();
    push(store.path(), registry.host(), []).ok();
    let heads: Vec<_> = registry.requests().into_iter().filter(|seen| seen.method == Method::HEAD).collect();
    let mut tags = 0;
    for seen in &heads {
        let Route::Manifest(name, version) = &seen.route else { panic!("{seen:?}") };
        let Content { repositories } = content();
        let tag = repositories[name.as_str()].tags.get(version.as_str()).map(|digest| format!("\"{digest}\""));
        assert_eq!(seen.header("if-none-match"), tag.as_deref().unwrap_or_default(), "{seen:?}");
        tags += usize::from(tag.is_some());
    }
    // Each tag once, and the children of the one index.
    assert_eq!((tags, heads.len()), (4, 6));
}
