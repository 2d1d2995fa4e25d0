//! hod under torture, for as long as `scripts/torture` says: killed at each system call, told of errors of the disk,
//! given damaged files and hostile registries. What holds is always the same: nothing wrong becomes visible, nothing
//! panics or hangs, and the next run ends what this one began.

mod calls;
mod damage;
mod judge;
mod kills;
mod proxy;
mod registries;
mod scene;
mod trace;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs_err as fs;

use kills::Known;
use scene::World;

/// Workers: of what a try waits for, most is the disk.
const WORKERS: usize = 2;

/// One try.
struct Job {
    part: &'static str,
    command: &'static str,
    name: String,
    run: Box<dyn Fn(&World, &Path) -> Result<Outcome, String> + Send>,
}

/// What became of a try that found nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// hod was struck, and all that must hold holds.
    Survived,
    /// It took another way this time, and was not struck.
    Missed,
}

/// Numbers by chance that are the same for the same seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        // SplitMix64, as in `support::images::random`.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// True once in so many times.
    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

/// How the tries of a command went.
#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    missed: usize,
    failed: usize,
}

type Table = BTreeMap<(&'static str, &'static str), Tally>;

/// Where everything is done and kept.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../torture")
}

#[test]
#[ignore = "scripts/torture runs it"]
fn torture() {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let seconds: u64 = variable("HOD_TORTURE_SECONDS", "180").parse().unwrap();
    let seed: u64 = variable("HOD_TORTURE_SEED", "1").parse().unwrap();
    let only = variable("HOD_TORTURE_TRY", "");
    let chosen = variable("HOD_TORTURE_PARTS", "");
    let parts: Vec<&str> =
        PARTS.iter().copied().filter(|part| chosen.is_empty() || chosen.split(' ').any(|it| it == *part)).collect();
    assert!(!parts.is_empty(), "the parts are {PARTS:?}");
    let begin = Instant::now();
    let kept = folder().join("failed");
    // In memory, where a sync costs nothing: a kill loses nothing that was written, on a disk either.
    let work = PathBuf::from(variable("HOD_TORTURE_FOLDER", folder().join("work").to_str().unwrap()));
    for place in [&work, &kept] {
        let _ = fs::remove_dir_all(place);
        fs::create_dir_all(place).unwrap();
    }
    let (work, kept) = (fs::canonicalize(work).unwrap(), fs::canonicalize(kept).unwrap());
    let world = World::new(&work.join("world"));
    let table = Mutex::new(Table::new());
    let end = begin + Duration::from_secs(seconds);
    let calls = parts.iter().any(|part| matches!(*part, "kills" | "errors"));
    let commands = if calls { [scene::LOOKING, scene::COMMANDS].concat() } else { Vec::new() };
    let known = kills::known(&world, &commands, &work.join("known"));
    for (position, part) in parts.iter().enumerate() {
        let jobs = jobs(part, &known, seed);
        let jobs = jobs.filter(|job| only.is_empty() || format!("{}/{}/{}", job.part, job.command, job.name) == only);
        // There is no end of tries; one that was named comes once.
        let jobs = jobs.take(if only.is_empty() { usize::MAX } else { 1 });
        // What is left, in equal shares: a part that ends early leaves more for those after it.
        let share = end.saturating_duration_since(Instant::now()) / u32::try_from(parts.len() - position).unwrap();
        work_off(&world, &Mutex::new(Box::new(jobs)), (&work, &kept), Instant::now() + share, &table, seed);
    }
    report(&table.into_inner().unwrap(), seed, begin.elapsed(), &only);
    let _ = fs::remove_dir_all(&work);
}

const PARTS: [&str; 4] = ["kills", "errors", "damage", "registries"];

fn jobs(part: &str, known: &[Arc<Known>], seed: u64) -> Box<dyn Iterator<Item = Job> + Send> {
    match part {
        "kills" => Box::new(kills::kills(known, seed).into_iter()),
        "errors" => Box::new(kills::errors(known, seed).into_iter()),
        "damage" => Box::new(damage::tries(seed)),
        _ => Box::new(registries::tries(seed)),
    }
}

/// Lets all workers try until there is nothing left to try, or no time.
fn work_off(
    world: &World,
    jobs: &Mutex<Box<dyn Iterator<Item = Job> + Send + '_>>,
    (work, kept): (&Path, &Path),
    end: Instant,
    table: &Mutex<Table>,
    seed: u64,
) {
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                let folder = work.join(format!("worker-{worker}"));
                while Instant::now() < end {
                    let Some(job) = jobs.lock().unwrap().next() else { break };
                    let result = (job.run)(world, &folder);
                    let name = format!("{}/{}/{}", job.part, job.command, job.name);
                    let mut table = table.lock().unwrap();
                    let tally = table.entry((job.part, job.command)).or_default();
                    tally.tried += 1;
                    match result {
                        Ok(Outcome::Survived) => {}
                        Ok(Outcome::Missed) => tally.missed += 1,
                        Err(error) => {
                            tally.failed += 1;
                            println!("\nFAILED {name}\n{error}\n  again: HOD_TORTURE_SEED={seed} HOD_TORTURE_TRY={name} scripts/torture 60 {}", job.part);
                            // The first few are enough to look at.
                            if tally.failed <= 3 {
                                let place = kept.join(name.replace('/', "-"));
                                println!("  kept:  {}", place.display());
                                keep(&folder, &place);
                            }
                        }
                    }
                }
            });
        }
    });
}

/// Keeps what a failure has left: by `cp`, since it may be anything.
fn keep(folder: &Path, place: &Path) {
    let _ = std::process::Command::new("cp").arg("-a").arg(folder).arg(place).status();
}

/// Prints the table, and fails where anything has failed, or nothing was tried.
fn report(table: &Table, seed: u64, taken: Duration, only: &str) {
    println!("\n{:<12} {:<22} {:>7} {:>9} {:>7} {:>7}", "part", "command", "tried", "survived", "missed", "failed");
    let mut all = Tally::default();
    for ((part, command), tally) in table {
        let survived = tally.tried - tally.failed - tally.missed;
        println!("{part:<12} {command:<22} {:>7} {survived:>9} {:>7} {:>7}", tally.tried, tally.missed, tally.failed);
        all.tried += tally.tried;
        all.missed += tally.missed;
        all.failed += tally.failed;
    }
    println!(
        "{} tries in {:.0} s, seed {seed}: {} missed, {} failed",
        all.tried,
        taken.as_secs_f64(),
        all.missed,
        all.failed
    );
    assert!(all.failed == 0, "{} tries failed", all.failed);
    let least = if only.is_empty() { usize::try_from(taken.as_secs()).unwrap() } else { 1 };
    assert!(all.tried - all.missed >= least, "only {} tries: too few to say anything", all.tried - all.missed);
}
