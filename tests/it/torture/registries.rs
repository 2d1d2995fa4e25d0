//! Registries that fail and lie in several ways at once, and lines that change what they carry.

use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use hod_oci::Digest;
use hyper::Method;

use super::judge::{Judge, MEMORY};
use super::proxy::Proxy;
use super::scene::{World, names};
use super::trace::Run;
use super::{Dice, Job, Outcome};
use crate::support::faulty::{Effect, Faulty, On, Route};
use crate::support::images::Content;

/// Commands that fetch from HOST, or bring to it, with what they need of the world.
const WAYS: &[(&str, &str, &[&str])] = &[
    ("pull", "pull -f list --from HOST --store root --all-platforms", &["list"]),
    ("pull-onto", "pull -f list --from HOST --store root --all-platforms", &["list"]),
    ("copy-layout", "copy --all docker://HOST/app:1 oci:out", &[]),
    ("copy-archive", "copy docker://HOST/docker:1 docker-archive:out.tar:docker:1", &[]),
    ("copy-store", "copy --all docker://HOST/app:1 store:root:app:1", &[]),
    ("lock", "lock -f list --from HOST -o out.lock", &["list"]),
    ("bundle", "bundle -f list --from HOST --all-platforms -o packed.tar", &["list"]),
    ("push", "push bundle.tar docker://HOST", &["bundle.tar"]),
    ("push-store", "push store docker://HOST", &["store"]),
    ("push-stdin", "push - docker://HOST", &["bundle.tar"]),
    ("copy-to", "copy --all store:store:app:1 docker://HOST/app:1", &["store"]),
    ("inspect", "inspect docker://HOST/single:1", &[]),
    ("list-tags", "list-tags docker://HOST/single", &[]),
    ("inventory", "inventory docker://HOST", &[]),
    ("sync", "sync --src docker --dest dir --all HOST/single folder", &[]),
    ("unpack-image", "unpack-image docker://HOST/single:1 files", &[]),
    ("delete", "delete docker://HOST/single:1", &[]),
];

/// After which hod gives up a registry that is silent.
const PATIENCE: &str = "4s";

/// Tries without end: each command in turn, with faults by chance.
pub fn tries(seed: u64) -> impl Iterator<Item = Job> + Send {
    (0_u64..).flat_map(move |turn| {
        WAYS.iter().enumerate().map(move |(position, (command, words, needs))| {
            let seed = seed ^ turn << 20 ^ (position as u64) << 50;
            let run = move |world: &World, folder: &Path| attempt(world, folder, command, words, (needs, seed));
            Job { part: "registries", command, name: turn.to_string(), run: Box::new(run) }
        })
    })
}

fn attempt(
    world: &World,
    folder: &Path,
    command: &str,
    words: &str,
    (needs, seed): (&[&str], u64),
) -> Result<Outcome, String> {
    let mut dice = Dice::new(seed);
    world.copy(needs, folder);
    let brings = command.starts_with("push") || command == "copy-to";
    let content = if brings { Content::default() } else { world.content.clone() };
    let mut registry = match dice.below(4) {
        0 => Faulty::new(content).anonymous_tokens(),
        1 => Faulty::new(content).anonymous_tokens().token_uses(1 + dice.below(3)),
        _ => Faulty::new(content),
    };
    if dice.chance(2) {
        registry = registry.lists_referrers(1 + dice.below(2));
    }
    let mut said = format!("hod {words}\n");
    for _ in 0..=dice.below(4) {
        let (on, effect, how) = fault(&mut dice);
        said.extend([&how, "\n"]);
        registry = registry.fault(on, effect);
    }
    let running = registry.start();
    let proxy = dice.chance(3).then(|| Proxy::before(running.host(), dice.next()));
    let host = proxy.as_ref().map_or(running.host(), Proxy::host);
    let input = if words.contains(" - ") { fs::read(folder.join("bundle.tar")).unwrap() } else { Vec::new() };
    let run = |host: &str| {
        // What only looks through a registry is not told how often.
        let retry: &[&str] = if command == "inventory" { &[] } else { &["--retry-times", "2", "--retry-delay", "1ms"] };
        let words = words.split(' ').map(|word| word.replace("HOST", host));
        let fixed = retry.iter().copied().chain(["--command-timeout", PATIENCE]).map(str::to_owned);
        let words: Vec<String> = words.chain(fixed).collect();
        Run::new(folder, words).input(input.clone()).limit(Duration::from_secs(40)).end()
    };
    let ended = run(host);
    said += &proxy.as_ref().map_or_else(String::new, Proxy::said);
    let tell = |error: String| format!("{said}{error}\n{}", ended.stderr);
    ended.check().map_err(tell)?;
    if ended.memory > MEMORY {
        return Err(tell(format!("it holds {} MiB", ended.memory >> 20)));
    }
    drop(proxy);
    let judge = Judge::new(world, folder);
    let left = running.content();
    drop(running);
    judge.root("root").and_then(|()| judge.layout("out")).and_then(|()| judge.registry(&left, false)).map_err(tell)?;
    if folder.join("root").exists() {
        judge.verifies("root").map_err(tell)?;
    }
    if command == "delete" {
        return Ok(Outcome::Survived);
    }
    // What is not replaced is there already.
    if ended.code == Some(0) {
        let _ = (fs::remove_file(folder.join("out.tar")), fs::remove_dir_all(folder.join("files")));
    }
    // And once the registry is well again, the same command ends the work.
    let well = Faulty::new(left).start();
    let second = run(well.host())
        .good()
        .map_err(|error| format!("{said}the first run: {}\nrun again: {error}", ended.stderr))?;
    judge
        .root("root")
        .and_then(|()| judge.layout("out"))
        .and_then(|()| judge.registry(&well.content(), false))
        .map_err(tell)?;
    let wanted: Vec<String> = names(&world.content).collect();
    if command.starts_with("push") {
        let there: Vec<String> = names(&well.content()).collect();
        if there != wanted {
            return Err(tell(format!("the registry has {there:?} alone\n{}", second.stderr)));
        }
    }
    if command.starts_with("pull") {
        let listed = Run::new(folder, ["ls", "root"]).end().good().map_err(tell)?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        if let Some(missing) = wanted.iter().find(|name| !listed.contains(name.as_str())) {
            return Err(tell(format!("{missing} is not in\n{listed}")));
        }
    }
    Ok(Outcome::Survived)
}

fn fault(dice: &mut Dice) -> (On, Effect, String) {
    let (on, what): (On, &str) = match dice.below(12) {
        0 => (On::everything(), "everything"),
        1 | 2 => (On::any_blob(), "blobs"),
        3 => (On::storage(), "the other host"),
        4 => (On::put_manifest(), "manifests that come"),
        5 => (On::upload([Method::POST, Method::PATCH, Method::PUT][dice.below(3)].clone()), "uploads"),
        6 => (On::token(), "tokens"),
        7 => (On::ping(), "pings"),
        8 => (On::matching(|seen| matches!(seen.route, Route::Referrers(..))), "referrers"),
        9 => (On::matching(|seen| matches!(seen.route, Route::Tags(_) | Route::Catalog)), "lists"),
        _ => (On::matching(|seen| matches!(seen.route, Route::Manifest(..))), "manifests"),
    };
    let skip = dice.below(3);
    let times = if dice.chance(3) { usize::MAX } else { 1 + dice.below(4) };
    let effect = match dice.below(17) {
        0 | 1 => Effect::Status([400, 401, 403, 404, 405, 406, 413, 416, 418, 429, 500, 502, 503, 504][dice.below(14)]),
        2 => Effect::Later {
            status: [429, 503][dice.below(2)],
            after: ["0", "1", "-1", "99999999999999999999", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"][dice.below(6)]
                .into(),
        },
        3 => Effect::Reset,
        4 | 5 => Effect::Cut { after: dice.below(2000) },
        6 => Effect::WrongByte,
        7 => Effect::Short(0),
        8 => Effect::Long(b"and more"),
        9 => Effect::Digest(Digest::sha256(b"another")),
        10 => Effect::NoDigest,
        11 => Effect::Type(
            ["text/html", "application/octet-stream", "application/vnd.oci.image.index.v1+json", ";;;"][dice.below(4)],
        ),
        12 => Effect::Body(body(dice).into()),
        13 => Effect::IgnoreRange,
        14 if dice.chance(4) => Effect::Stall { after: dice.below(500) },
        15 if dice.chance(4) => Effect::Silence,
        _ => Effect::Redirect,
    };
    let how = format!("{what} after {skip}, {times} times: {effect:?}");
    (on.skip(skip).times(times), effect, how.chars().take(300).collect())
}

/// What no registry should send.
fn body(dice: &mut Dice) -> Vec<u8> {
    match dice.below(8) {
        0 => b"<html>sign in to the network</html>".to_vec(),
        1 => b"{}".to_vec(),
        2 => b"null".to_vec(),
        3 => vec![b'['; 100_000],
        4 => br#"{"a":"#.repeat(50_000),
        5 => br#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:0","size":-1}]}"#.to_vec(),
        6 => format!(r#"{{"token":"{}","expires_in":-5,"tags":["..","a/b"],"repositories":["../x"]}}"#, "t".repeat(70_000)).into(),
        _ => vec![0xff; 5_000_000],
    }
}
