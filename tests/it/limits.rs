//! Little memory for large blobs, images that are too wide, disks that are full, and stores that cannot be written.

mod full_disk;
mod hostile;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On};
use crate::support::hod::{Hod, hod};
use crate::support::images::{Blob, Content, Image, image, index, layer, random, write_big_root};
use crate::support::job::{
    assert_clean, assert_serves, blob_path, manifest, names, pack, pull, push, text, unpack, visible,
};
use crate::support::pipe::Pipe;

const MEMORY: u64 = 64 * 1024 * 1024;
const LARGE: u64 = 1_000_000_000;

/// Runs to a good end within the memory that every command must do with.
#[track_caller]
fn lean(run: Hod) {
    let (output, peak) = run.measured();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(peak < MEMORY, "{peak} bytes of memory: {}", output.stderr);
    println!("{:>4} MiB: {}", peak >> 20, output.stderr.lines().last().unwrap_or_default());
}

/// Files that are larger than any of their kind, and take no room on the disk.
#[test]
fn small_files_that_are_large_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let image = image("linux/amd64", &[layer(1, 100)]);
    image.write_layout(&path("layout"));
    let layout = format!("oci:{}", text(&path("layout")));
    hod(["copy", &layout, &format!("dir:{}", text(&path("image")))]).ok();
    Content::default().with("app:1", &image).write_root(&path("root"));
    let link = "docker/registry/v2/repositories/app/_manifests/tags/1/current/link";
    fs::create_dir(path("tree")).unwrap();
    let refused = |large: &Path, run: &[&str], (code, says): (i32, &str)| {
        let kept = fs::read(large).ok();
        fs::OpenOptions::new().create(true).append(true).open(large).unwrap().set_len(LARGE).unwrap();
        let (output, peak) = hod(run).in_folder(folder.path()).measured();
        assert!(peak < MEMORY, "{run:?}: {peak} bytes of memory");
        assert_eq!(output.code, Some(code), "{run:?}: {}", output.stderr);
        assert!(format!("{}{}", output.text(), output.stderr).contains(says), "{run:?}: {}", output.stderr);
        kept.map_or_else(|| fs::remove_file(large), |kept| fs::write(large, kept)).unwrap();
    };
    refused(&path("layout/oci-layout"), &["inspect", &layout], (1, "oci-layout"));
    refused(&path("image/version"), &["inspect", "dir:image"], (0, "amd64"));
    refused(&path("image/version"), &["copy", &layout, "dir:image"], (0, ""));
    refused(&path("tree/version"), &["verify", "dir:tree"], (1, "tree is not an image directory"));
    refused(&path("root").join(link), &["verify", "root"], (4, "tags/1/current/link"));
    let registry = Faulty::new(Content::default().with("app:1", &image)).start();
    let from = format!("{}/app:1", registry.host());
    let sync = ["sync", "--src", "docker", "--dest", "dir", &from, "synced"];
    hod(sync).in_folder(folder.path()).ok();
    refused(&path("synced/app:1/manifest.json"), &sync, (1, "manifest.json has more than"));
    refused(&path("x.json"), &["manifest-digest", "x.json"], (1, "x.json has more than"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_gigabyte_goes_through_every_command_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("upstream")).unwrap();
    let image = write_big_root(&path("upstream"), "big:1", LARGE);
    let layer = image.blobs[1].descriptor.digest;
    let is_whole = |root: &Path| assert_eq!(blob_path(root, &layer).metadata().unwrap().len(), LARGE);

    let (address, serving) = serve(&path("upstream"));
    lean(pull(&address, &path("store"), ["big:1"]));
    let peak = serving.peak_memory();
    assert!(peak < MEMORY, "serve: {peak} bytes of memory");
    drop(serving);
    is_whole(&path("store"));
    fs::remove_dir_all(path("upstream")).unwrap();

    lean(pack(&path("store"), &path("x.tar"), []));
    lean(unpack(&path("x.tar"), &path("root"), []));
    is_whole(&path("root"));
    fs::remove_dir_all(path("root")).unwrap();
    fs::remove_file(path("x.tar")).unwrap();
    lean(pack(&path("store"), &path("x.tar.zst"), []));
    lean(unpack(&path("x.tar.zst"), &path("root"), []));
    fs::remove_file(path("x.tar.zst")).unwrap();
    // Verify reads every byte, so that what all of the above have made is right.
    lean(hod(["verify", text(&path("root"))]));
    let registry = DockerRegistry::empty();
    lean(push(&path("root"), registry.host(), []));
    is_whole(registry.root());
    assert_eq!(manifest(registry.host(), "big", "1").body, image.bytes);
}

/// An index that names an image many times.
fn many(child: &Image, count: usize) -> Image {
    let mut index = index(&vec![child.clone(); count]);
    index.children.truncate(1);
    index
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn indexes_that_name_too_many_manifests_are_refused() {
    const SAYS: &str = "name more than 10000 manifests";
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let image = image("linux/amd64", &[layer(1, 100)]);
    let ten = many(&many(&image, 100), 100);
    for (name, root) in [("deep", &ten), ("wide", &many(&image, 10_001))] {
        let content = Content::default().with("a:1", root);
        let registry = Faulty::new(content.clone()).start();
        let refused = pull(registry.host(), &path("store"), ["a:1", "--all-platforms"]).code(1);
        assert!(refused.stderr.contains(SAYS), "{name}: {}", refused.stderr);
        content.write_root(&path(name));
        let refused = hod(["ls", text(&path(name))]).code(1);
        assert!(refused.stderr.contains(SAYS) && refused.stderr.contains("a:1"), "{name}: {}", refused.stderr);
        hod(["verify", text(&path(name))]).ok();
    }
    // Of a registry that lists what it has, and of a layout.
    let registry = DockerRegistry::over(&path("wide"));
    let refused = hod(["inventory", &format!("docker://{}", registry.host())]).code(1);
    assert!(refused.stderr.contains(SAYS) && refused.stderr.contains("a:1"), "{}", refused.stderr);
    let layout = path("layout");
    many(&image, 10_001).write_layout(&layout);
    let place = format!("oci:{} as=a:1", layout.display());
    let refused = hod(["push", &place, &format!("docker://{}", registry.host())]).code(1);
    assert!(refused.stderr.contains(SAYS) && refused.stderr.contains("layout"), "{}", refused.stderr);
    // 9,999 in all are not too many.
    let root = many(&many(&image, 100), 99);
    let registry = Faulty::new(Content::default().with("a:1", &root)).start();
    pull(registry.host(), &path("good"), ["a:1", "--all-platforms"]).ok();
    assert_eq!(names(&path("good")), ["a:1"]);
}

/// A running `hod serve`.
struct Serving(std::process::Child);

/// Serves a root on a free port, which it prints.
fn serve(root: &Path) -> (String, Serving) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hod"));
    command.args(["serve", text(root), "--listen", "127.0.0.1:0"]).env_clear();
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let stdout = process.stdout.take().unwrap();
    let serving = Serving(process);
    let line = BufReader::new(stdout).lines().next().unwrap().unwrap();
    (line.strip_prefix("listening on http://").unwrap().to_owned(), serving)
}

impl Serving {
    /// The most memory that it has held so far, in bytes.
    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A filesystem of its own, which only root can make.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=0755");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs", text(folder.path())]).output();
        if output.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        println!("not tested, because no filesystem can be mounted here: {output:?}");
        None
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        assert!(Command::new("mount").args(["-o", &option, text(self.0.path())]).status().unwrap().success());
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Takes all the space that is left.
    fn fill(filler: &Path) {
        let mut file = fs::File::create(filler).unwrap();
        let block = vec![1; 64 * 1024];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        while std::io::Write::write_all(&mut file, &[1; 512]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", text(self.0.path())]).status();
    }
}

fn blob(seed: u64) -> Blob {
    Blob::new("application/vnd.oci.image.layer.v1.tar", random(seed, 2_500_000))
}

fn images() -> (Content, Image) {
    let two = image("linux/amd64", &[blob(2)]);
    (Content::default().with("one:1", &image("linux/amd64", &[blob(1)])).with("two:1", &two), two)
}

const NAMES: [&str; 2] = ["one:1", "two:1"];

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_store_that_cannot_be_written() {
    let (content, _) = images();
    let Some(disk) = Disk::new("20m") else { return };
    content.write_root(&disk.path());
    disk.remount("ro");
    let store = disk.path();
    let upstream = Faulty::new(content.clone()).start();
    let output = pull(upstream.host(), &store, NAMES).code(1);
    assert!(output.stderr.contains("ead-only") && output.stderr.contains("hint: "), "{}", output.stderr);
    assert!(output.stderr.contains(text(&store)), "{}", output.stderr);

    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("x.tar");
    pack(&store, &bundle, []).ok();
    assert_eq!(names(&bundle), names(&store));
    assert_clean(&store);
    let registry = DockerRegistry::empty();
    push(&store, registry.host(), []).ok();
    let (address, _serving) = serve(&store);
    pull(&address, &folder.path().join("copy"), NAMES).ok();
    assert_serves(&folder.path().join("copy"), &content);
    let output = unpack(&bundle, &store, []).code(1);
    assert!(output.stderr.contains("ead-only"), "{}", output.stderr);
    let output = pack(&store, &store.join("y.tar"), []).code(1);
    assert!(output.stderr.contains("ead-only"), "{}", output.stderr);
}

/// A file of 100 GB with no bytes in it but for a table at its end that claims that many frames.
fn sparse_bundle(path: &Path, frames: u32) {
    use fs_err::os::unix::fs::FileExt as _;

    let size = 100_000_000_000;
    let file = fs::File::create(path).unwrap();
    file.set_len(size).unwrap();
    let rest = frames * 8 + 9;
    file.write_all_at(&[0x28, 0xb5, 0x2f, 0xfd], 0).unwrap();
    file.write_all_at(&[[0x5e, 0x2a, 0x4d, 0x18], rest.to_le_bytes()].concat(), size - 8 - u64::from(rest)).unwrap();
    let end = [&frames.to_le_bytes()[..], &[0, 0xb1, 0xea, 0x92, 0x8f]].concat();
    file.write_all_at(&end, size - 9).unwrap();
}

#[test]
fn a_table_that_is_not_there_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("sparse.tar.zst");
    // As many as are read at all, and as many as the format can count.
    for (frames, expected) in
        [(4 * 1024 * 1024, "an impossible length"), (u32::MAX / 8 - 1, "declares too many frames")]
    {
        sparse_bundle(&bundle, frames);
        for words in [["ls", text(&bundle)], ["inspect", &format!("bundle:{}:app:1", text(&bundle))]] {
            let (output, memory) = hod(words).measured();
            assert!(output.stderr.contains(expected), "{words:?}: {}", output.stderr);
            assert!(memory < MEMORY, "{words:?} holds {memory} bytes");
        }
        // Its first frame is none of hod's: that is no damage, but no bundle either.
        let verified = hod(["verify", text(&bundle)]).code(1);
        assert!(verified.stderr.contains("was not compressed by hod"), "{}", verified.stderr);
    }
}
