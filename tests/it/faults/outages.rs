//! What people read while a registry is gone: one line for it and each round of tries, not one for each blob.

use std::path::Path;

use hod_oci::Digest;
use hyper::Method;

use crate::support::faulty::{Effect, Faulty, On, Route, Running};
use crate::support::hod::{Output, hod};
use crate::support::images::{Content, Image, image, layer};
use crate::support::job::{assert_serves, pull, push, text};

/// Layers in two images, all of them wanted at once.
const LAYERS: usize = 8;

fn content() -> (Content, Vec<Digest>) {
    let layers: Vec<_> = (0..LAYERS as u64).map(|seed| layer(seed, 50_000)).collect();
    let half = |layers| -> Image { image("linux/amd64", layers) };
    let content = Content::default().with("a:1", &half(&layers[..4])).with("b:1", &half(&layers[4..]));
    (content, layers.iter().map(super::Blob::digest).collect())
}

/// A registry that does this to all layers at once, for so many rounds.
fn failing(effect: Effect, rounds: usize) -> (Running, Content) {
    let (content, layers) = content();
    let on = On::matching(move |seen| layers.iter().any(|layer| seen.is_blob(layer)));
    let on = on.times(LAYERS.saturating_mul(rounds));
    (Faulty::new(content.clone()).fault(on, effect.together(LAYERS)).start(), content)
}

/// The lines that tell of trouble which may pass.
fn told(output: &Output) -> Vec<&str> {
    output.stderr.lines().filter(|line| line.starts_with("~ ")).collect()
}

#[test]
fn a_round_of_tries_is_one_line_however_many_transfers_wait() {
    for (effect, why) in [(Effect::Reset, "the connection to "), (Effect::Status(503), " answered 503 ")] {
        let (registry, _) = failing(effect, usize::MAX);
        let folder = tempfile::tempdir().unwrap();
        let words = ["a:1", "b:1", "-j", "16", "--retry-times", "2", "-v"];
        let output = pull(registry.host(), folder.path(), words).code(1);
        let lines = told(&output);
        assert_eq!(lines.len(), 2, "{}", output.stderr);
        for (line, next) in lines.iter().zip(["(try 2 of 3)", "(try 3 of 3)"]) {
            let parts = [why, registry.host(), "; retry in 0.0 s ", next];
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
            assert!(!line.contains("sha256:"), "{line}");
        }
        // Who wants to hear more hears of each, with its whole digest.
        let each = output.stderr.lines().filter(|line| line.starts_with("  sha256:") && line.contains("retry in"));
        assert_eq!(each.count(), 2 * LAYERS, "{}", output.stderr);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_that_is_back_is_told_of_once() {
    let (registry, content) = failing(Effect::Reset, 2);
    let folder = tempfile::tempdir().unwrap();
    // Long enough for all transfers to fail before the first is tried again.
    let words = ["a:1", "b:1", "-j", "16", "--retry-delay", "500ms"];
    let output = pull(registry.host(), folder.path(), words).ok();
    let lines = told(&output);
    assert_eq!(lines.len(), 3, "{}", output.stderr);
    assert_eq!(lines[2], format!("~ {} works again", registry.host()));

    assert_serves(folder.path(), &content);
    // One that fails for a moment just goes on.
    let (registry, _) = failing(Effect::Status(502), 1);
    let folder = tempfile::tempdir().unwrap();
    let output = pull(registry.host(), folder.path(), ["a:1", "b:1", "-j", "16"]).ok();
    assert_eq!(told(&output).len(), 1, "{}", output.stderr);
}

#[test]
fn a_push_says_it_in_the_same_way() {
    let (content, _) = content();
    let folder = tempfile::tempdir().unwrap();
    content.write_root(folder.path());
    // Each image has a config besides.
    let uploads = LAYERS + 2;
    let begun = On::matching(|seen| seen.method == Method::POST && matches!(seen.route, Route::Upload(..)));
    let effect = Effect::Status(500).together(uploads);
    let registry = Faulty::new(Content::default()).fault(begun.times(2 * uploads), effect).start();
    let output = push(folder.path(), registry.host(), ["-j", "16"]).ok();
    let lines = told(&output);
    assert_eq!(lines.len(), 3, "{}", output.stderr);
    assert!(lines[0].contains(&format!("~ {} answered 500 ", registry.host())), "{}", lines[0]);
    assert_eq!(lines[2], format!("~ {} works again", registry.host()));
}

#[test]
fn hosts_and_reasons_have_lines_of_their_own() {
    let start = |effect| Faulty::new(content().0).fault(On::manifest("1"), effect).start();
    let (reset, busy) = (start(Effect::Reset), start(Effect::Later { status: 429, after: "0".into() }));
    let folder = tempfile::tempdir().unwrap();
    let names = [format!("{}/a:1", reset.host()), format!("{}/b:1", busy.host())];
    let output = pull("r.example", folder.path(), [&*names[0], &names[1], "--retry-times", "1"]).code(1);
    let mut lines = told(&output);
    lines.sort_by_key(|line| line.contains("429"));
    let expected = [
        format!("~ the connection to {} failed: ", reset.host()),
        format!("~ {} answered 429 Too Many Requests (TOOMANYREQUESTS: come back later); retry in 0.0 s", busy.host()),
    ];
    assert_eq!(lines.len(), 2, "{}", output.stderr);
    assert!(lines.iter().zip(&expected).all(|(line, expected)| line.starts_with(expected)), "{lines:#?}");
}

/// Wrong bytes say nothing of the host: each blob is told of by itself.
#[test]
fn what_concerns_one_blob_names_it() {
    let (content, layers) = content();
    let wrong = |registry: Faulty, layer: &Digest| registry.fault(On::blob(layer).once(), Effect::WrongByte);
    let registry = layers[..2].iter().fold(Faulty::new(content), wrong).start();
    let folder = tempfile::tempdir().unwrap();
    let output = pull(registry.host(), folder.path(), ["a:1"]).ok();
    assert_eq!(told(&output).len(), 2, "{}", output.stderr);
    for layer in &layers[..2] {
        let line = format!("~ {} from {}/a: the bytes of {}", layer.short(), registry.host(), layer.short());
        assert!(told(&output).iter().any(|told| told.starts_with(&line)), "{line} is not in {}", output.stderr);
    }
}

#[test]
fn a_log_file_has_whole_digests() {
    let (content, layers) = content();
    let registry = Faulty::new(content).fault(On::blob(&layers[0]).once(), Effect::Status(503)).start();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = folder.path().join(name);
        fs_err::write(&path, content).unwrap();
        path
    };
    let target = Faulty::new(Content::default()).start();
    let images = file("images.yaml", format!("{}/a:1: {}/a\n", registry.host(), target.host()));
    let auth = file("auth.json", "{}".to_owned());
    let log = folder.path().join("sync.log");
    let words: [&Path; 3] = [&auth, &images, &log];
    let [auth, images, log] = words.map(text);
    let fixed = ["sync", "--image-syncer", "--retry-delay", "1ms"];
    let output = hod(fixed.into_iter().chain(["--auth", auth, "--images", images, "--log", log])).ok();
    let digest = layers[0].to_string();
    assert!(told(&output).len() == 1 && !output.stderr.contains(&digest), "{}", output.stderr);
    let logged = fs_err::read_to_string(log).unwrap();
    assert!(logged.contains(&format!("  {digest} from {}/a: ", registry.host())), "{logged}");
}
