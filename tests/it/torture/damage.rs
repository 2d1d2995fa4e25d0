//! Files that were damaged on the way: nothing wrong becomes visible, nothing panics, hangs or takes much memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use walkdir::WalkDir;

use super::judge::{Judge, MEMORY};
use super::scene::{World, is_tar};
use super::trace::Run;
use super::{Dice, Job, Outcome};
use crate::support::faulty::Faulty;
use crate::support::images::Content;

/// What is damaged, and the commands that read it. TARGET is an empty registry.
const WAYS: &[(&str, &[&str])] = &[
    (
        "bundle.tar",
        &[
            "unpack bundle.tar --root root",
            "unpack - --root root",
            "push bundle.tar docker://TARGET --retry-times 0",
            "push - docker://TARGET --retry-times 0",
            "copy --all bundle:bundle.tar:app:1 oci:out",
            "copy bundle:bundle.tar:docker:1 docker-archive:out.tar:docker:1",
            "unpack-image bundle:bundle.tar:single:1 files",
            "verify bundle.tar",
            "ls bundle.tar",
            "inspect bundle:bundle.tar:single:1",
            "diff bundle.tar bundle.tar",
            "inventory bundle.tar",
        ],
    ),
    (
        "bundle.tar.zst",
        &[
            "unpack bundle.tar.zst --root root",
            "unpack - --root root",
            "push bundle.tar.zst docker://TARGET --retry-times 0",
            "push - docker://TARGET --retry-times 0",
            "copy --all bundle:bundle.tar.zst:app:1 oci:out",
            "unpack-image bundle:bundle.tar.zst:single:1 files",
            "verify bundle.tar.zst",
            "ls bundle.tar.zst",
        ],
    ),
    (
        "signed.tar",
        &[
            "unpack signed.tar --key release.pub --root root",
            "push signed.tar --key release.pub docker://TARGET --retry-times 0",
        ],
    ),
    (
        "volumes",
        &["unpack volumes --root root", "push volumes docker://TARGET --retry-times 0", "verify volumes", "ls volumes"],
    ),
    (
        "store",
        &[
            "pack --store store -o packed.tar",
            "push store docker://TARGET --retry-times 0",
            "copy --all store:store:app:1 oci:out",
            "copy store:store:docker:1 docker-archive:out.tar:docker:1",
            "copy --all store:store:app:1 dir:image",
            "copy --file list store:store store:root",
            "select --store store --to root",
            "unpack-image store:store:single:1 files",
            "inventory store",
            "verify store",
            "ls store",
            "gc --store store",
            "rm --store store app:1",
            "tag --store store app:1 app:3",
        ],
    ),
    (
        "layout",
        &[
            "copy --all oci:layout:app:1 store:root:app:1",
            "copy --all oci:layout:app:1 docker://TARGET/app:1 --retry-times 0",
            "copy oci:layout:single:1 docker-archive:out.tar:docker:1",
            "unpack-image oci:layout:single:1 files",
            "verify oci:layout",
            "list-tags oci:layout",
            "gc oci:layout",
            "index create oci:layout:all oci:layout:single:1",
        ],
    ),
    (
        "directory",
        &[
            "copy --all dir:directory store:root:app:1",
            "copy --all dir:directory docker://TARGET/app:1 --retry-times 0",
            "verify dir:directory",
        ],
    ),
    (
        "oci.tar",
        &[
            "copy --all oci-archive:oci.tar:app:1 store:root:app:1",
            "inspect oci-archive:oci.tar:app:1",
            "verify oci-archive:oci.tar",
        ],
    ),
    (
        "docker.tar",
        &[
            "copy docker-archive:docker.tar:docker:1 store:root:docker:1",
            "inspect docker-archive:docker.tar",
            "list-tags docker-archive:docker.tar",
        ],
    ),
    ("inventory.json", &["pack --store store --have inventory.json -o packed.tar", "diff inventory.json store"]),
    ("lock", &["pull -f lock --store root --all-platforms --retry-times 0", "lock --check lock", "diff lock lock"]),
    (
        "list",
        &["pull -f list --from REGISTRY --store root --all-platforms --retry-times 0", "plan -f list --from REGISTRY"],
    ),
];

/// Tries without end: each input and command in turn, with damage by chance.
pub fn tries(seed: u64) -> impl Iterator<Item = Job> + Send {
    let ways = |turn: u64| {
        WAYS.iter().flat_map(move |(input, commands)| commands.iter().map(move |words| (turn, *input, *words)))
    };
    (0..).flat_map(ways).map(move |(turn, input, words)| {
        let command = words.split(' ').next().unwrap();
        let run = move |world: &World, folder: &Path| attempt(world, folder, input, words, seed ^ turn << 20);
        // Which of the commands that begin like this is told by the words themselves.
        Job { part: "damage", command: input, name: format!("{command}-{turn}-{}", words.len()), run: Box::new(run) }
    })
}

fn attempt(world: &World, folder: &Path, input: &str, words: &str, seed: u64) -> Result<Outcome, String> {
    let mut dice = Dice::new(seed ^ words.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(byte)));
    world.copy(&[input], folder);
    let needed: BTreeSet<&str> =
        ["store", "list", "release.pub"].into_iter().filter(|it| *it != input && words.contains(it)).collect();
    for needed in needed {
        let from = world.path(needed);
        if from.is_dir() {
            fs::create_dir(folder.join(needed)).unwrap();
            crate::support::tree::copy(&from, &folder.join(needed));
        } else {
            fs::copy(from, folder.join(needed)).unwrap();
        }
    }
    let mut said = format!("hod {words}\n");
    for _ in 0..=dice.below(2) {
        said += &damage(&folder.join(input), &mut dice);
    }
    let target = Faulty::new(Content::default()).start();
    let words: Vec<String> = words
        .split(' ')
        .map(|word| word.replace("TARGET", target.host()).replace("REGISTRY", world.registry.host()))
        .collect();
    let bytes =
        if words.contains(&"-".to_owned()) { fs::read(folder.join(input)).unwrap_or_default() } else { Vec::new() };
    let ended = Run::new(folder, &words).input(bytes).end();
    let tell = |error: String| format!("{said}{error}\n{}", ended.stderr);
    ended.check().map_err(tell)?;
    if ended.memory > MEMORY {
        return Err(tell(format!("it holds {} MiB", ended.memory >> 20)));
    }
    let judge = Judge::new(world, folder);
    judge.root("root").and_then(|()| judge.layout("out")).map_err(tell)?;
    judge.registry(&target.content(), input == "directory").map_err(tell)?;
    if ended.code == Some(0) {
        if words[0] == "pack" {
            judge.verifies("packed.tar").map_err(tell)?;
        }
        if words[0] == "verify"
            && is_tar(input)
            && fs::read(folder.join(input)).unwrap() != fs::read(world.path(input)).unwrap()
            && input != "oci.tar"
        {
            return Err(tell("it finds nothing".to_owned()));
        }
    }
    Ok(Outcome::Survived)
}

/// Damages a file, or one of a folder; says how.
fn damage(place: &Path, dice: &mut Dice) -> String {
    let mut files: Vec<PathBuf> = WalkDir::new(place)
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file() && !entry.path().ends_with(".hod/lock"))
        .map(walkdir::DirEntry::into_path)
        .collect();
    if files.is_empty() {
        return String::new();
    }
    let file = files.swap_remove(dice.below(files.len()));
    let name = file.strip_prefix(place).unwrap().display();
    if place.is_dir() && dice.chance(3) {
        return match dice.below(4) {
            0 => {
                fs::remove_file(&file).unwrap();
                format!("{name} is gone\n")
            }
            1 => {
                fs::remove_file(&file).unwrap();
                fs::create_dir(&file).unwrap();
                format!("{name} is a folder\n")
            }
            2 => {
                fs::remove_file(&file).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
                format!("{name} is a link to /etc/passwd\n")
            }
            _ if !files.is_empty() => {
                let other = &files[dice.below(files.len())];
                fs::copy(other, &file).unwrap();
                format!("{name} is a copy of {}\n", other.strip_prefix(place).unwrap().display())
            }
            _ => String::new(),
        };
    }
    let mut bytes = fs::read(&file).unwrap();
    let how = change(&mut bytes, dice);
    fs::write(&file, bytes).unwrap();
    format!("{name}: {how}\n")
}

/// Changes bytes; says how.
pub fn change(bytes: &mut Vec<u8>, dice: &mut Dice) -> String {
    if bytes.is_empty() {
        bytes.push(0);
        return "a byte where there was none".to_owned();
    }
    let length = bytes.len();
    // Half of the places are near the beginning, where what describes the rest is.
    let place = |dice: &mut Dice| if dice.chance(2) { dice.below(length) } else { dice.below(length.min(20_000)) };
    let (at, other) = (place(dice), place(dice));
    let count = 1 + dice.below(600.min(length));
    let end = (at + count).min(length);
    match dice.below(9) {
        0 => {
            bytes[at] ^= 1 << dice.below(8);
            format!("a bit is changed at {at}")
        }
        1 => {
            bytes[at] = u8::try_from(dice.below(256)).unwrap();
            format!("a byte is changed at {at}")
        }
        2 => {
            bytes.truncate(at);
            format!("cut off at {at}")
        }
        3 => {
            bytes.drain(at..end);
            format!("{} bytes are missing at {at}", end - at)
        }
        4 => {
            let more = bytes[at..end].to_vec();
            bytes.splice(other..other, more);
            format!("{} bytes of {at} are inserted at {other}", end - at)
        }
        5 => {
            bytes[at..end].fill(0);
            format!("{} bytes are zero at {at}", end - at)
        }
        6 => {
            // Members of a tar, or volumes of a disk: whole sectors change places.
            let (one, two) = (at / 512 * 512, other / 512 * 512);
            for step in 0..512 {
                if one.max(two) + step < length {
                    bytes.swap(one + step, two + step);
                }
            }
            format!("the sectors at {one} and {two} are swapped")
        }
        7 => {
            let digit = bytes.iter().skip(at).position(u8::is_ascii_digit).map_or(0, |more| at + more);
            bytes.splice(digit..=digit, *b"999999999999");
            format!("a number grows at {digit}")
        }
        _ => {
            bytes.extend_from_within(at..end);
            format!("{} bytes of {at} again at the end", end - at)
        }
    }
}
