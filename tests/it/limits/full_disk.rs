//! Disks that are full.

use super::*;

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn pull_onto_a_full_disk() {
    let (content, _) = images();
    // Too small from the start: that is known before anything moves.
    let Some(disk) = Disk::new("3m") else { return };
    let registry = Faulty::new(content.clone()).start();
    let output = pull(registry.host(), &disk.path(), NAMES).code(1);
    assert!(output.stderr.contains("more bytes at") && output.stderr.contains("are free"), "{}", output.stderr);
    assert_eq!(registry.count(|seen| seen.is_blob(&blob(1).digest())), 0);
    assert!(visible(&disk.path()).is_empty());
    disk.remount("size=20m");
    pull(registry.host(), &disk.path(), NAMES).ok();
    assert_serves(&disk.path(), &content);

    // Somebody else fills it on the way.
    let Some(disk) = Disk::new("20m") else { return };
    let (filler, wanted) = (disk.filler(), blob(2).digest());
    let once = Mutex::new(Some(filler.clone()));
    let fills = On::matching(move |seen| {
        if seen.is_blob(&wanted)
            && let Some(filler) = once.lock().unwrap().take()
        {
            Disk::fill(&filler);
        }
        false
    });
    let registry = Faulty::new(content.clone()).fault(fills, Effect::Reset).start();
    let output = pull(registry.host(), &disk.path(), ["one:1", "two:1", "--jobs", "1"]).run();
    assert!(matches!(output.code, Some(1 | 3)), "{}", output.stderr);
    assert!(
        output.stderr.contains("no space left for") && output.stderr.contains("hint: free some space there"),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains("retry in"), "{}", output.stderr);
    assert_clean(&disk.path());
    fs::remove_file(filler).unwrap();
    pull(registry.host(), &disk.path(), NAMES).ok();
    assert_serves(&disk.path(), &content);
}

/// A disk with too little room for a blob, most of which an interrupted run has left there.
fn disk_with_a_part_of(blob: &Blob) -> Option<Disk> {
    let disk = Disk::new("3500k")?;
    let partial = disk.path().join(".hod/partial");
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join(blob.digest().to_string().replace(':', "-")), &blob.bytes[..2_000_000]).unwrap();
    Some(disk)
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_an_interrupted_run_has_left_needs_no_more_space() {
    let (content, _) = images();
    let Some(disk) = disk_with_a_part_of(&blob(1)) else { return };
    let registry = Faulty::new(content.clone()).start();
    let output = pull(registry.host(), &disk.path(), ["two:1"]).code(1);
    assert!(output.stderr.contains("more bytes at"), "{}", output.stderr);
    assert!(output.stderr.contains("kB more there\n"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: nothing was written: "), "{}", output.stderr);
    pull(registry.host(), &disk.path(), ["one:1"]).ok();
    let one = Content::default().with("one:1", &image("linux/amd64", &[blob(1)]));
    assert_serves(&disk.path(), &one);

    let folder = tempfile::tempdir().unwrap();
    let (source, bundle) = (folder.path().join("store"), folder.path().join("x.tar"));
    one.write_root(&source);
    pack(&source, &bundle, []).ok();
    let Some(disk) = disk_with_a_part_of(&blob(1)) else { return };
    unpack(&bundle, &disk.path(), []).ok();
    assert_serves(&disk.path(), &one);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn what_is_linked_needs_no_space() {
    let Some(disk) = Disk::new("4m") else { return };
    let source = tempfile::tempdir().unwrap();
    let one = Content::default().with("one:1", &image("linux/amd64", &[blob(1)]));
    one.write_root(source.path());
    for place in ["oci", "dir"] {
        let to = format!("{place}:{}", disk.0.path().join("place").display());
        hod(["copy", "--quiet", &format!("store:{}:one:1", text(source.path())), &to]).ok();
        let from = format!("{to} as=one:1");
        hod(["pull", &from, "--store", text(&disk.path())]).ok();
        assert_serves(&disk.path(), &one);
        fs::remove_dir_all(disk.path()).unwrap();
        fs::remove_dir_all(disk.0.path().join("place")).unwrap();
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn pack_and_unpack_onto_a_full_disk() {
    let (content, _) = images();
    let source = tempfile::tempdir().unwrap();
    content.write_root(source.path());
    let bundle = source.path().join("x.tar");
    pack(source.path(), &bundle, []).ok();

    let Some(disk) = Disk::new("3m") else { return };
    // How long a bundle becomes by compression shows when it is written.
    let known = ["the bundle needs", "are free", "hint: nothing was written: "];
    for (name, words, says) in [
        ("y.tar", &[][..], &known[..]),
        ("y.tar", &["--volume-size", "1M"], &known),
        ("y.tar.zst", &[], &["o space left", "hint: free some space there"]),
    ] {
        let target = disk.0.path().join(name);
        let output = pack(source.path(), &target, words.iter().copied()).code(1);
        assert!(says.iter().all(|part| output.stderr.contains(part)), "{}", output.stderr);
        assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 0);
    }
    let output = unpack(&bundle, &disk.path(), []).code(1);
    assert!(
        output.stderr.contains("the images need") && output.stderr.contains("nothing was written"),
        "{}",
        output.stderr
    );
    assert!(visible(&disk.path()).is_empty());
    disk.remount("size=20m");
    unpack(&bundle, &disk.path(), []).ok();
    assert_serves(&disk.path(), &content);

    let Some(disk) = Disk::new("20m") else { return };
    let bytes = fs::read(&bundle).unwrap();
    let pipe = source.path().join("pipe");
    let there = Pipe::at(&pipe);
    let root = disk.path();
    let mut running = unpack(&pipe, &root, []).spawn();
    let mut writer = there.writer();
    std::io::Write::write_all(&mut writer, &bytes[..bytes.len() / 4]).unwrap();
    running.until("unpack has begun to write", || {
        root.join(".hod/partial").read_dir().is_ok_and(|mut it| it.next().is_some())
    });
    Disk::fill(&disk.filler());
    // It stops reading when the disk is full.
    let _ = std::io::Write::write_all(&mut writer, &bytes[bytes.len() / 4..]);
    drop(writer);
    let output = running.wait();
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("no space left for") && output.stderr.contains("hint: free some space there"),
        "{}",
        output.stderr
    );
    assert!(visible(&root).is_empty());
    fs::remove_file(disk.filler()).unwrap();
    unpack(&bundle, &root, []).ok();
    assert_serves(&root, &content);
}

#[test]
fn what_a_killed_pack_has_left_is_written_over() {
    let (content, _) = images();
    let source = tempfile::tempdir().unwrap();
    content.write_root(source.path());
    for (left, words) in [(".y.tar.partial", &[][..]), (".y.tar.001.partial", &["--volume-size", "3M"])] {
        let Some(disk) = Disk::new("7m") else { return };
        fs::write(disk.0.path().join(left), random(3, 4_000_000)).unwrap();
        let target = disk.0.path().join("y.tar");
        pack(source.path(), &target, words.iter().copied()).ok();
        assert_eq!(names(&target), names(source.path()));
        assert!(!disk.0.path().join(left).exists());
    }
}
