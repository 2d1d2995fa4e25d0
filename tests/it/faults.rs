//! `hod pull` from a registry that misbehaves: what is tried again, what is not, and what is kept.

mod access;
mod endless;
mod outages;
mod shared;
mod slow;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hod_oci::Digest;
use hyper::Method;

use crate::support::faulty::{Effect, Faulty, On, Route, Running, Seen};
use crate::support::images::{Blob, Content, Image, image, layer, random};
use crate::support::job::{assert_clean, assert_serves, names, pull, visible};

const SIZE: usize = 3_000_000;

/// A large layer, and an image that has it.
fn large() -> (Blob, Image) {
    let layer = Blob::new("application/vnd.oci.image.layer.v1.tar", random(1, SIZE));
    let image = image("linux/amd64", std::slice::from_ref(&layer));
    (layer, image)
}

fn content() -> Content {
    Content::default().with("app:1", &large().1)
}

fn start(faults: impl IntoIterator<Item = (On, Effect)>) -> Running {
    faults.into_iter().fold(Faulty::new(content()), |faulty, (on, effect)| faulty.fault(on, effect)).start()
}

/// The `Range` headers with which a blob was asked for, in their order.
fn ranges(registry: &Running, digest: &Digest) -> Vec<String> {
    let requests = registry.requests();
    requests.iter().filter(|seen| seen.is_blob(digest)).map(|seen| seen.header("range").to_owned()).collect()
}

/// A name, the faults, and the `Range` headers that follow from them.
type Broken = (&'static str, Vec<(On, Effect)>, &'static [&'static str]);

/// Where a fault strikes.
type Where = fn(&Digest) -> On;

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_breaks_off_goes_on_where_it_stopped() {
    let (layer, _) = large();
    let blob = || On::blob(&layer.digest());
    let cases: Vec<Broken> = vec![
        ("cut once", vec![(blob().once(), Effect::Cut { after: 1_000_000 })], &["", "bytes=1000000-"]),
        ("cut before the first byte", vec![(blob().times(2), Effect::Cut { after: 0 })], &["", "", ""]),
        (
            "cut again and again",
            vec![(blob().times(4), Effect::Cut { after: 500_000 })],
            &["", "bytes=500000-", "bytes=1000000-", "bytes=1500000-", "bytes=2000000-"],
        ),
        ("short, as if that were all", vec![(blob().once(), Effect::Short(2_999_999))], &["", "bytes=2999999-"]),
        (
            "cut, then reset, then a server error",
            vec![
                (blob().once(), Effect::Cut { after: 700_000 }),
                (blob().once(), Effect::Reset),
                (blob().once(), Effect::Status(502)),
            ],
            &["", "bytes=700000-", "bytes=700000-", "bytes=700000-"],
        ),
        (
            "cut by a server that knows no Range",
            vec![(blob().once(), Effect::Cut { after: 1_000_000 }), (blob(), Effect::IgnoreRange)],
            &["", "bytes=1000000-"],
        ),
    ];
    for (name, faults, expected) in cases {
        let registry = start(faults);
        let folder = tempfile::tempdir().unwrap();
        let output = pull(registry.host(), folder.path(), ["app:1"]).ok();
        assert_eq!(ranges(&registry, &layer.digest()), expected, "{name}");
        assert_eq!(output.stderr.matches("retry in").count(), expected.len() - 1, "{name}: {}", output.stderr);
        assert_serves(folder.path(), &content());
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_that_cuts_every_connection_is_used_as_long_as_it_serves() {
    let (layer, _) = large();
    let registry = start([(On::blob(&layer.digest()), Effect::Cut { after: 1_048_576 })]);
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), ["app:1", "--retry-times", "1"]).ok();
    assert_eq!(ranges(&registry, &layer.digest()), ["", "bytes=1048576-", "bytes=2097152-"]);
    assert_serves(folder.path(), &content());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn wrong_bytes_are_fetched_anew_and_never_kept() {
    let (layer, image) = large();
    for effect in [Effect::WrongByte, Effect::Long(b"more"), Effect::Body(vec![7; SIZE].into())] {
        let registry = start([(On::blob(&layer.digest()).once(), effect.clone())]);
        let folder = tempfile::tempdir().unwrap();
        pull(registry.host(), folder.path(), ["app:1"]).ok();
        let asked = ranges(&registry, &layer.digest());
        assert_eq!(asked.len(), 2, "{effect:?}: {asked:?}");
        assert_serves(folder.path(), &content());

        let registry = start([(On::blob(&layer.digest()), effect.clone())]);
        let folder = tempfile::tempdir().unwrap();
        let output = pull(registry.host(), folder.path(), ["app:1", "--retry-times", "3"]).code(1);
        assert_eq!(ranges(&registry, &layer.digest()).len(), 2, "{effect:?}");
        let digest = layer.digest().to_string();
        for part in ["app:1", &digest, registry.host(), "hint: the source sent bytes that do not match their digest"] {
            assert!(output.stderr.contains(part), "{part} is not in {}", output.stderr);
        }
        assert!(visible(folder.path()).is_empty(), "{:?}", visible(folder.path()));
        assert_clean(folder.path());
    }
    // Wrong manifests are no better.
    for effect in [Effect::WrongByte, Effect::Body(b"{\"schemaVersion\":2}".as_slice().into())] {
        let by_digest = image.digest().to_string();
        let registry = start([(On::manifest(&by_digest), effect)]);
        let folder = tempfile::tempdir().unwrap();
        let output = pull(registry.host(), folder.path(), [&*format!("app@{by_digest}")]).code(1);
        assert!(output.stderr.contains(&by_digest), "{}", output.stderr);
        assert!(visible(folder.path()).is_empty());
    }
}

#[test]
fn a_digest_that_the_registry_lies_about() {
    let (_, image) = large();
    for (effect, good) in [
        (Effect::Digest(Digest::sha256(b"another")), false),
        (Effect::NoDigest, true),
        (Effect::Type("application/json"), true),
        // The manifest says itself what it is, and its digest proves it.
        (Effect::Type("application/vnd.oci.image.index.v1+json"), true),
        (Effect::Type("application/vnd.docker.distribution.manifest.v2+json"), true),
        (Effect::Type("text/html"), true),
    ] {
        let registry = start([(On::matching(|seen| matches!(seen.route, Route::Manifest(..))), effect.clone())]);
        let folder = tempfile::tempdir().unwrap();
        let output = pull(registry.host(), folder.path(), ["app:1", "--retry-times", "1"]).run();
        assert_eq!(output.code, Some(i32::from(!good)), "{effect:?}: {}", output.stderr);
        assert_eq!(names(folder.path()).is_empty(), !good);
        // Nothing has moved, and the registry lies now, or still does not tell.
        if good {
            let output = pull(registry.host(), folder.path(), ["app:1"]).ok();
            assert!(output.stderr.contains("1 image, nothing new"), "{effect:?}: {}", output.stderr);
            let shown = pull(registry.host(), folder.path(), ["app:1", "-v"]).ok().text();
            assert_eq!(shown, format!("app:1  {}  unchanged\n", image.digest()));
        }
    }
}

#[test]
fn answers_that_are_worth_another_try() {
    let (layer, _) = large();
    let digest = layer.digest();
    let places: [(&str, Where); 2] = [("manifest", |_| On::manifest("1")), ("blob", |digest| On::blob(digest))];
    for (place, on) in places {
        for effect in [500, 502, 503, 504, 408, 429].map(Effect::Status).into_iter().chain([Effect::Reset]) {
            let registry = start([(on(&digest).times(2), effect.clone())]);
            let folder = tempfile::tempdir().unwrap();
            let output = pull(registry.host(), folder.path(), ["app:1"]).ok();
            assert_eq!(output.stderr.matches("retry in").count(), 2, "{place} {effect:?}: {}", output.stderr);
            assert_eq!(names(folder.path()), ["app:1"]);
        }
        let registry = start([(on(&digest), Effect::Status(503))]);
        let folder = tempfile::tempdir().unwrap();
        let output = pull(registry.host(), folder.path(), ["app:1", "--retry-times", "3"]).code(1);
        assert!(output.stderr.contains("503"), "{}", output.stderr);
        assert!(output.stderr.contains("hint: run the same command again"), "{}", output.stderr);
        assert_eq!(output.stderr.matches("retry in").count(), 3, "{}", output.stderr);
    }
}

#[test]
fn a_registry_that_is_busy_says_when_to_come_back() {
    let (layer, _) = large();
    for status in [429, 503] {
        for after in ["0", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            let busy = |on: On| (on.times(2), Effect::Later { status, after: after.into() });
            let registry = start([busy(On::manifest("1")), busy(On::blob(&layer.digest()))]);
            let folder = tempfile::tempdir().unwrap();
            // A pause of hod's own would outlast the test.
            let words = ["app:1", "--retry-delay", "10h", "--command-timeout", "5m"];
            crate::support::hod::hod(
                ["pull", "--from", registry.host(), "--store", folder.path().to_str().unwrap()]
                    .into_iter()
                    .chain(words),
            )
            .ok();
            assert_eq!(ranges(&registry, &layer.digest()).len(), 3);
        }
    }
    let busy = Effect::Later { status: 429, after: "1".into() };
    let registry = start([(On::manifest("1").once(), busy)]);
    let folder = tempfile::tempdir().unwrap();
    let output = pull(registry.host(), folder.path(), ["app:1"]).ok();
    assert!(output.stderr.contains("retry in 1.0 s"), "{}", output.stderr);
    // Longer than anybody would sit before a terminal: that is an error.
    let busy = Effect::Later { status: 429, after: "86400".into() };
    let registry = start([(On::manifest("1"), busy)]);
    let folder = tempfile::tempdir().unwrap();
    let output = pull(registry.host(), folder.path(), ["app:1"]).code(1);
    assert!(output.stderr.contains("429") && output.stderr.contains("come back later"), "{}", output.stderr);
    assert_eq!(registry.count(|seen| seen.is_manifest("1") || seen.method == Method::HEAD), 1);
}

#[test]
fn no_is_an_answer() {
    let (layer, _) = large();
    let is_about = |seen: &Seen| matches!(seen.route, Route::Manifest(..) | Route::Blob(..));
    for (status, hint) in [(401, "credentials"), (403, "credentials"), (404, "check the name"), (400, ""), (410, "")] {
        // A layer that is not there was named by the registry itself.
        let of_layer = if status == 404 { "must be pushed there again" } else { hint };
        for (on, hint) in [(On::manifest("1"), hint), (On::blob(&layer.digest()), of_layer)] {
            let on_blob = format!("{on:?}");
            let registry = start([(on, Effect::Status(status))]);
            let folder = tempfile::tempdir().unwrap();
            let output = pull(registry.host(), folder.path(), ["app:1"]).code(1);
            assert!(output.stderr.contains(&format!(" {status} ")), "{}", output.stderr);
            assert!(output.stderr.contains(hint), "{status}: {}", output.stderr);
            let refused =
                registry.requests().iter().filter(|seen| is_about(seen) && seen.status == Some(status)).count();
            // A manifest that is missing is looked for as an official image of Docker Hub, too.
            let names = if status == 404 && hint == "check the name" { 2 } else { 1 };
            assert_eq!(refused, names, "{status} {on_blob}");
            assert!(!output.stderr.contains("retry in"), "{}", output.stderr);
            assert!(visible(folder.path()).is_empty());
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_that_dies_in_the_middle_and_comes_back() {
    let (whole, broken) = (layer(1, 400_000), Blob::new("application/vnd.oci.image.layer.v1.tar", random(2, SIZE)));
    let content = Content::default()
        .with("small:1", &image("linux/amd64", std::slice::from_ref(&whole)))
        .with("large:1", &image("linux/amd64", &[whole.clone(), broken.clone()]));
    let (dead, struck, digest) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false), broken.digest());
    let (is_dead, dies) = (dead.clone(), dead.clone());
    let strikes = move |seen: &Seen| {
        let strikes = seen.is_blob(&digest) && !struck.swap(true, Ordering::SeqCst);
        dies.fetch_or(strikes, Ordering::SeqCst);
        strikes
    };
    let registry = Faulty::new(content.clone())
        .fault(On::matching(move |_| is_dead.load(Ordering::SeqCst)), Effect::Reset)
        .fault(On::matching(strikes), Effect::Cut { after: 1_200_000 })
        .start();
    let folder = tempfile::tempdir().unwrap();
    pull(registry.host(), folder.path(), ["small:1"]).ok();
    let command = || pull(registry.host(), folder.path(), ["small:1", "large:1", "--retry-times", "2"]);
    let output = command().code(3);
    assert!(output.stderr.contains("partial downloads are kept"), "{}", output.stderr);
    assert_eq!(names(folder.path()), ["small:1"]);
    assert_clean(folder.path());

    dead.store(false, Ordering::SeqCst);
    let before = registry.requests().len();
    command().ok();
    let again = registry.requests().split_off(before);
    let blobs: Vec<_> = again.iter().filter(|seen| matches!(seen.route, Route::Blob(..))).collect();
    assert!(blobs.len() <= 2, "{blobs:#?}");
    assert_eq!(ranges(&registry, &broken.digest()).last().unwrap(), "bytes=1200000-");
    assert_eq!(registry.count(|seen| seen.is_blob(&whole.digest())), 1);
    assert_serves(folder.path(), &content);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_that_falls_silent_can_be_given_up_without_loss() {
    let (layer, _) = large();
    let registry = start([(On::blob(&layer.digest()).once(), Effect::Stall { after: 1_500_000 })]);
    let folder = tempfile::tempdir().unwrap();
    let partial = folder.path().join(".hod/partial").join(layer.digest().to_string().replace(':', "-"));
    let mut running = pull(registry.host(), folder.path(), ["app:1"]).spawn();
    // The last bytes before the silence may still be gathered for one write.
    let length = || partial.metadata().map_or(0, |metadata| metadata.len());
    running.until("bytes from before the silence are there", || length() >= 1_500_000 - 524_288);
    running.interrupt();
    assert_eq!(running.wait().code, Some(130));
    let kept = length();
    pull(registry.host(), folder.path(), ["app:1"]).ok();
    assert_eq!(ranges(&registry, &layer.digest()), [String::new(), format!("bytes={kept}-")]);
    assert_serves(folder.path(), &content());

    let registry = start([(On::manifest("1"), Effect::Stall { after: 10 })]);
    let other = tempfile::tempdir().unwrap();
    let output = pull(registry.host(), other.path(), ["app:1", "--command-timeout", "300ms"]).code(1);
    assert!(output.stderr.contains("--command-timeout"), "{}", output.stderr);
}

#[test]
fn a_host_where_nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = pull(&free, folder.path(), ["app:1", "--retry-times", "2"]).code(1);
    assert!(output.stderr.contains(&free) && output.stderr.contains("refused"), "{}", output.stderr);
    assert_eq!(output.stderr.matches("retry in").count(), 2, "{}", output.stderr);
}
