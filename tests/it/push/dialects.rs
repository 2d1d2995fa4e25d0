//! Registries that answer otherwise than the specification has it, and take what is pushed all the same.

use hyper::Method;

use super::{content, store};
use crate::support::faulty::{Effect, Faulty, On, Route, Running, Seen};
use crate::support::images::Content;
use crate::support::job::{assert_registry_has, pull, push};

/// Pushes the store into a registry with a fault, and checks that all of it arrives.
fn pushed(on: On, effect: Effect) -> Running {
    let store = store();
    let registry = Faulty::new(Content::default()).fault(on, effect).start();
    push(store.path(), registry.host(), ["--retry-times", "0"]).ok();
    assert_registry_has(registry.host(), &content());
    registry
}

/// Google's registries answer 411 to an upload or mount that does not say that its body is empty.
#[test]
fn the_length_of_an_empty_body_is_said() {
    let without = |seen: &Seen| {
        matches!(seen.method, Method::POST | Method::PUT | Method::PATCH) && seen.header("content-length").is_empty()
    };
    let registry = pushed(On::matching(without), Effect::Status(411));
    let posts = registry.requests().into_iter().filter(|seen| seen.method == Method::POST).collect::<Vec<_>>();
    assert!(posts.iter().any(|seen| seen.parameter("mount").is_some()), "{posts:#?}");
    assert!(posts.iter().all(|seen| seen.header("content-length") == "0"), "{posts:#?}");
}

#[test]
fn a_registry_that_does_not_answer_head_is_asked_otherwise() {
    for status in [400, 403, 404, 405, 406, 501] {
        let head = || On::matching(|seen| seen.method == Method::HEAD);
        let registry = pushed(head(), Effect::Bare(status));
        push(store().path(), registry.host(), ["--retry-times", "0"]).ok();
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            pull(registry.host(), folder.path(), ["app:1", "app:2", "--retry-times", "0"]).ok();
        }
    }
}

#[test]
fn a_blob_that_the_registry_only_says_to_have_is_sent() {
    let head = On::matching(|seen| seen.method == Method::HEAD && matches!(seen.route, Route::Blob(..)));
    pushed(head, Effect::Bare(200));
}

#[test]
fn a_mount_that_fails_in_any_way_becomes_an_upload() {
    for (status, effect) in [201, 202, 400, 404, 405, 500, 501, 502].map(|status| (status, Effect::Bare(status))) {
        let mount = On::matching(|seen| seen.method == Method::POST && seen.parameter("mount").is_some());
        let registry = pushed(mount, effect);
        let mounts = registry.count(|seen| seen.parameter("mount").is_some());
        assert!(mounts > 0, "{status}: nothing was mounted");
    }
}

#[test]
fn another_status_of_success_is_one() {
    for status in [200, 202, 204] {
        pushed(
            On::matching(|seen| seen.method == Method::PUT && !matches!(seen.route, Route::Manifest(..))),
            Effect::As(status),
        );
        pushed(On::put_manifest(), Effect::As(status));
    }
}
