//! What is tortured: the images, the places that hold them, and the commands with what each of them needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hod_oci::Digest;

use super::trace::{Ended, Run};
use crate::support::faulty::{Faulty, Running as Registry};
use crate::support::images::{Blob, Content, artifact, attestation, docker_image, image, index, layer, random};
use crate::support::tree;

/// Everything that tries begin with; it is only read.
#[derive(Debug)]
pub struct World {
    folder: PathBuf,
    /// What `store` and all that is made of it holds.
    pub content: Content,
    /// A registry without faults that holds the same.
    pub registry: Registry,
}

/// A command that is killed, or told of errors.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// What the table calls it.
    pub name: &'static str,
    /// The words; REGISTRY is the one that holds the images.
    pub words: &'static str,
    /// What of the world it works on.
    pub inputs: &'static [&'static str],
    /// What has to be sound afterwards, as far as it is there: targets of `hod verify`.
    pub places: &'static [&'static str],
}

const fn command(
    name: &'static str,
    words: &'static str,
    inputs: &'static [&'static str],
    places: &'static [&'static str],
) -> Command {
    Command { name, words, inputs, places }
}

/// Words that stand for `hod serve` with a client that pushes `bundle.tar` to it.
pub const SERVED: &str = "serve root --writable --listen 127.0.0.1:0";

/// All commands that write.
pub const COMMANDS: &[Command] = &[
    command("tag", "tag --store store app:1 stable mirror/app:1", &["store"], &["store"]),
    command("rm", "rm --store store app:1", &["store"], &["store"]),
    command("rm-several", "rm --store store app:1 single:1", &["store"], &["store"]),
    command("gc", "gc --store garbage", &["garbage"], &["garbage"]),
    command("unpack", "unpack bundle.tar --root root", &["bundle.tar"], &["root"]),
    command("unpack-onto", "unpack bundle.tar --root other", &["bundle.tar", "other"], &["other"]),
    command("unpack-zst", "unpack bundle.tar.zst --root root", &["bundle.tar.zst"], &["root"]),
    command("unpack-volumes", "unpack volumes --root root", &["volumes"], &["root"]),
    command("push-serve", SERVED, &["bundle.tar"], &["root"]),
    command("pull", "pull -f list --from REGISTRY --store out --all-platforms --lock out.lock", &["list"], &["out"]),
    command("pull-onto", "pull -f list --from REGISTRY --store other --all-platforms", &["list", "other"], &["other"]),
    command("select", "select --store store --to out", &["store"], &["store", "out"]),
    command("select-onto", "select --store store --to other", &["store", "other"], &["store", "other"]),
    command("bundle", "bundle -f list --from REGISTRY --all-platforms -o out.tar", &["list"], &["out.tar"]),
    command("pack", "pack --store store -o out.tar", &["store"], &["store", "out.tar"]),
    command("pack-zst", "pack --store store -o out.tar.zst", &["store"], &["store", "out.tar.zst"]),
    command("pack-volumes", "pack --store store -o out.tar --volume-size 100000", &["store"], &["out.tar"]),
    command("copy-store", "copy --all store:store:app:1 store:other:app:1", &["store", "other"], &["store", "other"]),
    command("copy-dir", "copy --all store:store:app:1 dir:out", &["store"], &["store", "dir:out"]),
    command("copy-oci", "copy --file list store:store oci:out", &["store", "list"], &["store", "oci:out"]),
    command("copy-oci-onto", "copy --all store:store:app:1 oci:layout:new", &["store", "layout"], &["oci:layout"]),
    command(
        "copy-oci-archive",
        "copy --all store:store:app:1 oci-archive:out.tar",
        &["store"],
        &["oci-archive:out.tar"],
    ),
    command("copy-docker-archive", "copy store:store:docker:1 docker-archive:out.tar:docker:1", &["store"], &["store"]),
    command(
        "copy-recoded",
        "copy --format oci --dest-compress-format zstd store:store:single:1 oci:out:x",
        &["store"],
        &["oci:out"],
    ),
    command("sync-dir", "sync --src docker --dest dir --all REGISTRY/single out", &[], &[]),
    command("layout-tag", "tag oci:layout:app:1 app:2 app:3", &["layout"], &["oci:layout"]),
    command("layout-rm", "rm oci:layout:app:1", &["layout"], &["oci:layout"]),
    command("layout-gc", "gc oci:scraps", &["scraps"], &["oci:scraps"]),
    command("index-create", "index create oci:layout:all oci:layout:single:1", &["layout"], &["oci:layout"]),
    command("new", "new oci:layout:scratch", &["layout"], &["oci:layout"]),
    command("init", "init oci:out", &[], &["oci:out"]),
    command("unpack-image", "unpack-image store:store:single:1 out", &["store"], &["store"]),
    command("rootfs", "unpack-image store:store:app:1 --rootfs out --platform linux/amd64", &["store"], &["store"]),
    command("layer", "layer extract store:store:single:1 1 out", &["store"], &["store"]),
    command("lock", "lock -f list --from REGISTRY -o out.lock", &["list"], &[]),
    command("inventory", "inventory store -o out.json", &["store"], &["store"]),
    command("man", "man --output out", &[], &[]),
];

/// Commands that only look: under errors they must not give a wrong answer.
pub const LOOKING: &[Command] = &[
    command("verify", "verify store --json", &["store"], &[]),
    command("verify-bundle", "verify bundle.tar --json", &["bundle.tar"], &[]),
    command("verify-layout", "verify oci:layout --json", &["layout"], &[]),
    command("verify-volumes", "verify volumes --json", &["volumes"], &[]),
    command("ls", "ls store --json", &["store"], &[]),
    command("ls-bundle", "ls bundle.tar.zst --json", &["bundle.tar.zst"], &[]),
    command("inventory-stdout", "inventory store", &["store"], &[]),
    command("diff", "diff store other --json", &["store", "other"], &[]),
    command("pack-stdout", "pack --store store -o -", &["store"], &[]),
    command("gc-dry", "gc --store garbage --dry-run --json", &["garbage"], &[]),
    command("inspect", "inspect store:store:single:1", &["store"], &[]),
    command("list-tags", "list-tags oci:layout", &["layout"], &[]),
];

impl Command {
    /// The words, one by one.
    pub fn words(&self, world: &World) -> Vec<String> {
        self.words.split(' ').map(|word| word.replace("REGISTRY", world.registry.host())).collect()
    }

    /// Whether it is a server, and a client's push what is tried.
    pub fn serves(&self) -> bool {
        self.words == SERVED
    }
}

impl World {
    /// Makes everything in a new folder.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let content = content();
        content.write_root(&folder.join("store"));
        let other = Content::default()
            .with("app:1", &image("linux/amd64", &[layer(50, 700)]))
            .with("mine:1", &image("linux/amd64", &[layer(1, 900), layer(51, 100)]));
        other.write_root(&folder.join("other"));
        let names: BTreeSet<String> = names(&content).collect();
        fs::write(folder.join("list"), names.into_iter().map(|name| name + "\n").collect::<String>()).unwrap();
        tree::copy(&folder.join("store"), &folder.join("garbage"));
        let registry = Faulty::new(content.clone()).lists_referrers(10).start();
        for words in [
            "rm --store garbage app:1 docker:1",
            "pack --store store -o bundle.tar",
            "pack --store store -o bundle.tar.zst",
            "pack --store store -o volumes/v.tar --volume-size 100000",
            "keygen release --no-passphrase",
            "pack --store store -o signed.tar --sign release.key",
            "copy --file list store:store oci:layout",
            "copy --file list store:store oci:scraps",
            "rm oci:scraps:app:1",
            "copy --all store:store:app:1 dir:directory",
            "copy --all store:store:app:1 oci-archive:oci.tar:app:1",
            "copy store:store:docker:1 docker-archive:docker.tar:docker:1",
            "inventory other -o inventory.json",
        ] {
            if words.contains("volumes/") {
                fs::create_dir(folder.join("volumes")).unwrap();
            }
            Run::new(folder, words.split(' ')).end().good().unwrap_or_else(|error| panic!("{words}: {error}"));
        }
        // Of a platform that a lock names, an index comes without its other children.
        let lock = "lock -f list -o lock --all-platforms --from".split(' ').chain([registry.host()]);
        Run::new(folder, lock).end().good().unwrap();
        Self { folder: folder.to_owned(), content, registry }
    }

    /// A copy of some of it in an empty folder.
    pub fn copy(&self, inputs: &[&str], to: &Path) {
        let _ = fs::remove_dir_all(to);
        fs::create_dir_all(to).unwrap();
        for input in inputs {
            let (from, to) = (self.folder.join(input), to.join(input));
            if from.is_dir() {
                fs::create_dir(&to).unwrap();
                tree::copy(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
    }

    /// Where something of it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The manifests of all images and their children.
    pub fn manifests(&self) -> BTreeSet<Digest> {
        self.content.repositories.values().flat_map(|held| held.manifests.keys().copied()).collect()
    }
}

/// Every name with a tag.
pub fn names(content: &Content) -> impl Iterator<Item = String> {
    let tags = |(name, held): (&String, &crate::support::images::Repository)| -> Vec<String> {
        held.tags.keys().filter(|tag| !tag.starts_with("sha256-")).map(|tag| format!("{name}:{tag}")).collect()
    };
    content.repositories.iter().flat_map(tags)
}

/// An index, images that share layers, Docker's forms, a referrer, and a blob that goes past the page cache.
fn content() -> Content {
    let base = layer(1, 900);
    let amd64 = image("linux/amd64", &[base.clone(), layer(2, 300)]);
    let arm64 = image("linux/arm64", &[base.clone(), layer(3, 300)]);
    let single = image("linux/amd64", &[base.clone(), layer(5, 1_100_000)]);
    let note = artifact("text/x", &[Blob::new("text/plain", random(6, 200))], Some(&single));
    Content::default()
        .with("app:1", &index(&[amd64.clone(), arm64, attestation(&amd64)]))
        .with("app:2", &amd64)
        .with("docker:1", &docker_image("linux/amd64", &[base, layer(4, 500)]))
        .with("single:1", &single)
        .with("single", &note)
}

/// What every file below a folder is, but for what hod keeps of its own: of that, all that is no empty place for it.
pub fn left(folder: &Path) -> BTreeMap<String, String> {
    let mut found = tree::listing(folder);
    found.retain(|path, _| {
        let own = path.split_once(".hod").map(|(_, rest)| rest.trim_start_matches('/'));
        own.is_none_or(|rest| rest.contains('/'))
    });
    for (path, what) in found.iter_mut().filter(|(path, _)| is_tar(path)) {
        if let Some(members) = members_of_others(&folder.join(path)) {
            *what = members;
        }
    }
    // A layout lists its images in the order in which they came.
    for (path, what) in found.iter_mut().filter(|(path, _)| path.ends_with("index.json")) {
        let mut index: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join(path)).unwrap()).unwrap_or_default();
        if let Some(images) = index["manifests"].as_array_mut() {
            images.sort_by_key(ToString::to_string);
            *what = index.to_string();
        }
    }
    found
}

/// Whether a name is that of an archive.
pub fn is_tar(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "tar")
}

/// The members of an archive that is no bundle: they stand in the order in which they came.
fn members_of_others(archive: &Path) -> Option<String> {
    let mut archive = tar::Archive::new(fs::File::open(archive).unwrap());
    let mut members = Vec::new();
    for member in archive.entries().ok()? {
        let mut member = member.ok()?;
        let path = member.path().ok()?.display().to_string();
        if path.starts_with("hod/") {
            return None;
        }
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).ok()?;
        members.push(format!("{path} {}", Digest::sha256(&bytes)));
    }
    members.sort();
    Some(members.join(", "))
}

/// The first differences between two such.
pub fn differences(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let lacking = expected.iter().filter_map(|(path, what)| match found.get(path) {
        None => Some(format!("{path} is missing")),
        Some(other) if other != what => Some(format!("{path} is {other} and not {what}")),
        Some(_) => None,
    });
    let extra = found.keys().filter(|path| !expected.contains_key(*path)).map(|path| format!("{path} is left over"));
    lacking.chain(extra).take(12).collect()
}

/// Runs a command without faults to its good end.
pub fn again(world: &World, command: &Command, folder: &Path) -> Result<Ended, String> {
    super::kills::attempt(world, command, folder, super::trace::Fate::Free).good()
}

/// Whether what is to be verified is there: a layout or image directory is, once it has what names its content, and a
/// root, once it has the directory by which it is known. Before that nothing has begun, and `hod verify` says that there
/// is no root, which is so.
pub fn is_there(folder: &Path, place: &str) -> bool {
    match place.split_once(':') {
        Some(("oci", path)) => folder.join(path).join("index.json").exists(),
        Some(("dir", path)) => folder.join(path).join("manifest.json").exists(),
        Some((_, path)) => folder.join(path).exists(),
        None if place == "out.tar" => folder.join(place).exists() || folder.join("out.tar.001").exists(),
        None => folder.join(place).join("docker/registry/v2").exists(),
    }
}
