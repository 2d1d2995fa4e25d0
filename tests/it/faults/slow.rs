//! A registry that sends or takes a byte now and then: it is not waited for without an end.

use super::{content, large, ranges, start};
use crate::support::faulty::{Effect, Faulty, On, Running};
use crate::support::hod::Output;
use crate::support::job::{assert_serves, pull};

/// A time in which the registry of the tests sends some bytes and far less than a KiB.
const SHORT: [&str; 2] = ["--stall-timeout", "300ms"];

fn pulled(registry: &Running, words: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let words = ["app:1", "--retry-times", "1"].into_iter().chain(SHORT).chain(words.iter().copied());
    pull(registry.host(), folder.path(), words).run()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_trickle_is_given_up_and_goes_on_where_it_stopped() {
    let (layer, _) = large();
    let registry = start([(On::blob(&layer.digest()).once(), Effect::Trickle { after: 1_000_000 })]);
    let folder = tempfile::tempdir().unwrap();
    let output = pull(registry.host(), folder.path(), ["app:1"].into_iter().chain(SHORT)).ok();
    let asked = ranges(&registry, &layer.digest());
    let start: usize =
        asked[1].strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')).unwrap().parse().unwrap();
    assert!((1_000_000..1_001_000).contains(&start), "{asked:?}");
    let says = format!("less than 1 KiB moved to or from {}", registry.host());
    assert!(output.stderr.contains(&says), "{}", output.stderr);
    assert_serves(folder.path(), &content());
}

#[test]
fn whatever_trickles_fails_in_the_end_and_names_the_host() {
    let (layer, _) = large();
    let digest = layer.digest();
    let trickle = || Effect::Trickle { after: 0 };
    for (what, registry) in [
        ("blob", start([(On::blob(&digest), trickle())])),
        ("manifest", start([(On::manifest("1"), trickle())])),
        ("tags", start([(On::tags(), trickle())])),
        ("token", Faulty::new(content()).anonymous_tokens().fault(On::token(), trickle()).start()),
    ] {
        let output = pulled(&registry, &[]);
        assert_eq!(output.code, Some(1), "{what}: {}", output.stderr);
        let says = format!("less than 1 KiB moved to or from {}", registry.host());
        assert!(output.stderr.contains(&says), "{what}: {}", output.stderr);
        assert_eq!(output.stderr.matches("retry in").count(), 1, "{what}: {}", output.stderr);
    }
}
