//! Runs that are killed at a call, or at which a call fails: what they leave is sound, and the next run ends it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::calls::{Call, Kind};
use super::scene::{Command, World, again, differences, is_there, left};
use super::trace::{Ended, Fate, Run};
use super::{Dice, Job, Outcome};

/// Commands that fail where they have done their work before: what they make is there, what they remove is not.
const ONCE: [&str; 8] =
    ["rm", "rm-several", "layout-rm", "copy-oci-archive", "copy-docker-archive", "unpack-image", "rootfs", "layer"];

/// A command with what it does when nothing disturbs it.
#[derive(Debug)]
pub struct Known {
    command: Command,
    calls: Vec<Call>,
    left: BTreeMap<String, String>,
    stdout: Vec<u8>,
}

/// Runs a command; of a server, the run of its client decides how it ends.
pub fn attempt(world: &World, command: &Command, folder: &Path, fate: Fate) -> Ended {
    let run = Run::new(folder, command.words(world)).fate(fate);
    if !command.serves() {
        return run.end();
    }
    let mut client = None;
    let mut ended = run.end_while(|server, printed| {
        let is_alive = || kill(server, None).is_ok();
        while is_alive() {
            if let Some((_, host)) = printed.text().split_once("listening on http://")
                && let Some((host, _)) = host.split_once('\n')
            {
                let to = format!("docker://{host}");
                let words = ["push", "bundle.tar", &to, "--retry-times", "1", "--retry-delay", "1ms"];
                client = Some(Run::new(folder, words).end());
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = kill(server, Signal::SIGTERM);
    });
    if let Some(client) = client {
        ended.hung |= client.hung;
        ended.stderr.extend(["\nthe client: ", &client.stderr]);
        ended.code = if ended.code == Some(101) { ended.code } else { client.code };
    }
    ended
}

/// What commands do when nothing disturbs them. One whose result is not the same each time cannot be judged.
pub fn known(world: &World, commands: &[Command], folder: &Path) -> Vec<Arc<Known>> {
    let mut all = Vec::new();
    for command in commands {
        world.copy(command.inputs, folder);
        let first =
            attempt(world, command, folder, Fate::Watched).good().unwrap_or_else(|e| panic!("{}: {e}", command.name));
        let result = left(folder);
        world.copy(command.inputs, folder);
        again(world, command, folder).unwrap();
        let differences = differences(&result, &left(folder));
        assert!(differences.is_empty(), "{} gives another result each time: {differences:#?}", command.name);
        println!(
            "{}: {} calls, {} of which change something",
            command.name,
            first.calls.len(),
            first.calls.iter().filter(|it| it.kind.changes()).count()
        );
        all.push(Arc::new(Known { command: *command, calls: first.calls, left: result, stdout: first.stdout }));
    }
    all
}

/// A try for each call that changes something: the most telling first, and commands in turns.
pub fn kills(known: &[Arc<Known>], seed: u64) -> Vec<Job> {
    points(known, seed, Kind::changes, |it, number, dice| {
        let second = dice.chance(4).then(|| dice.below(it.calls.len()));
        let name = second.map_or_else(|| number.to_string(), |second| format!("{number}+{second}"));
        vec![job("kills", it, &name, move |world, it, folder| killed(world, it, folder, number, second))]
    })
}

/// A try for each call and each error that it may give.
pub fn errors(known: &[Arc<Known>], seed: u64) -> Vec<Job> {
    points(
        known,
        seed,
        |_| true,
        |it, number, dice| {
            // A disk that is full mostly stays so.
            let (choice, lasting) = (dice.below(60), dice.chance(2));
            let name = format!("{number}-{choice}{}", if lasting { "-lasting" } else { "" });
            let fate = Fate::Failed { number, choice, lasting };
            vec![job("errors", it, &name, move |world, it, folder| failed(world, it, folder, fate))]
        },
    )
}

fn points(
    known: &[Arc<Known>],
    seed: u64,
    counts: impl Fn(Kind) -> bool,
    mut tries: impl FnMut(&Arc<Known>, usize, &mut Dice) -> Vec<Job>,
) -> Vec<Job> {
    let mut all = Vec::new();
    for (position, it) in known.iter().enumerate() {
        let mut dice = Dice::new(seed ^ position as u64);
        let mut of_kind: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut calls: Vec<&Call> = it.calls.iter().filter(|call| counts(call.kind)).collect();
        dice.shuffle(&mut calls);
        for call in calls {
            // The first of each kind, then the second of each: kinds that are rare come to their turn.
            let turn = of_kind.entry(call.kind).or_default();
            *turn += 1;
            let order = (*turn, call.kind, position);
            all.extend(tries(it, call.number, &mut dice).into_iter().map(|job| (order, job)));
        }
    }
    all.sort_by_key(|(order, _)| *order);
    all.into_iter().map(|(_, job)| job).collect()
}

fn job(
    part: &'static str,
    known: &Arc<Known>,
    name: &str,
    run: impl Fn(&World, &Known, &Path) -> Result<Outcome, String> + Send + 'static,
) -> Job {
    let known = Arc::clone(known);
    let command = known.command.name;
    Job { part, command, name: name.to_owned(), run: Box::new(move |world, folder| run(world, &known, folder)) }
}

fn killed(world: &World, it: &Known, folder: &Path, number: usize, second: Option<usize>) -> Result<Outcome, String> {
    world.copy(it.command.inputs, folder);
    let ended = attempt(world, &it.command, folder, Fate::Killed(number));
    let mut said = story("killed at", &ended);
    if ended.hung {
        return Err(format!("{said}it hangs"));
    }
    if let Some(second) = second {
        let ended = attempt(world, &it.command, folder, Fate::Killed(second));
        said += &story("then killed at", &ended);
    }
    sound(&it.command, folder).map_err(|error| format!("{said}{error}"))?;
    ends(world, it, folder).map_err(|error| format!("{said}{error}"))?;
    Ok(if ended.struck.is_some() { Outcome::Survived } else { Outcome::Missed })
}

fn failed(world: &World, it: &Known, folder: &Path, fate: Fate) -> Result<Outcome, String> {
    world.copy(it.command.inputs, folder);
    let ended = attempt(world, &it.command, folder, fate);
    let said = story("failed at", &ended);
    let hit = ended.struck.is_some();
    ended.check().map_err(|error| format!("{said}{error}"))?;
    if ended.code == Some(0) {
        // No image is worth less for a partial file that could not be looked at or removed: the next run removes it.
        let found = without_partials(without_own(&left(folder)));
        let mut differences = differences(&without_own(&it.left), &found);
        if ended.stdout != it.stdout && it.command.places.is_empty() {
            differences.push(format!("it prints {}", String::from_utf8_lossy(&ended.stdout)));
        }
        if !differences.is_empty() {
            return Err(format!("{said}it ends with 0 and another result: {differences:#?}\n{}", ended.stderr));
        }
    }
    sound(&it.command, folder).map_err(|error| format!("{said}{error}\n{}", ended.stderr))?;
    ends(world, it, folder).map_err(|error| format!("{said}{error}\nthe run with the error: {}", ended.stderr))?;
    Ok(if hit { Outcome::Survived } else { Outcome::Missed })
}

fn story(what: &str, ended: &Ended) -> String {
    let Some(call) = &ended.struck else { return format!("(not {what} any call)\n") };
    let before = &ended.calls[call.number.saturating_sub(5)..call.number];
    let before: Vec<String> = before.iter().map(|call| format!("  after {call}")).collect();
    format!("{}\n{what} {call}\n", before.join("\n"))
}

/// Whether everything that a run has left verifies.
fn sound(command: &Command, folder: &Path) -> Result<(), String> {
    for place in command.places.iter().filter(|place| is_there(folder, place)) {
        Run::new(folder, ["verify", place]).end().good().map_err(|error| format!("verify {place}: {error}"))?;
    }
    Ok(())
}

/// Whether the same command, run again, ends well, with the result of a run that nothing disturbed.
fn ends(world: &World, it: &Known, folder: &Path) -> Result<(), String> {
    // Some commands say so where there is nothing left to do, as they must when they are run twice.
    if !(ONCE.contains(&it.command.name) && differences(&it.left, &left(folder)).is_empty()) {
        again(world, &it.command, folder).map_err(|error| format!("run again: {error}"))?;
    }
    let differences = differences(&it.left, &left(folder));
    if differences.is_empty() { Ok(()) } else { Err(format!("another result: {differences:#?}")) }
}

fn without_own(left: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    left.iter().filter(|(path, _)| !path.contains(".hod/")).map(|(path, what)| (path.clone(), what.clone())).collect()
}

fn without_partials(mut left: BTreeMap<String, String>) -> BTreeMap<String, String> {
    left.retain(|path, _| !path.rsplit('/').next().unwrap().starts_with(".sha256-"));
    left
}
