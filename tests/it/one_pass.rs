//! `hod bundle`: the same bytes as pull and pack, with every byte fetched once, killed and resumed.

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::faulty::{Effect, Faulty, On};
use crate::support::fixtures;
use crate::support::hod::hod;
use crate::support::images::{Content, image, layer};

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_bytes_are_those_of_pull_and_pack() {
    let upstream = DockerRegistry::over(fixtures::root());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let list = fixtures::list().display().to_string();
    for platforms in [&["--all-platforms"][..], &["--platform", "linux/amd64,linux/arm64"], &[]] {
        let _ = fs::remove_dir_all(path("store"));
        let common = [&["-q", "-f", &list, "--from", upstream.host()], platforms].concat();
        hod([&["pull"], &*common, &["--store", &path("store")]].concat()).run();
        let listed = if platforms == ["--all-platforms"] { &["--group", "base", "--group", "web"][..] } else { &[] };
        hod([
            &["pack", "-q", "-f", &list, "--from", upstream.host()],
            listed,
            &["--store", &path("store"), "-o", &path("two.tar")],
        ]
        .concat())
        .ok();
        hod([&["bundle"], &*common, listed, &["-o", &path("one.tar")]].concat()).ok();
        assert!(fs::read(path("one.tar")).unwrap() == fs::read(path("two.tar")).unwrap(), "{platforms:?}");
        hod(["verify", "-q", &path("one.tar")]).ok();
        assert!(
            fs::read_dir(folder.path()).unwrap().all(|entry| !entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with('.'))
        );
    }
}

#[test]
fn what_was_fetched_is_not_fetched_again() {
    let (first, second) = (layer(1, 3_000_000), layer(2, 400_000));
    let app = image("linux/amd64", &[first.clone(), second.clone()]);
    let other = image("linux/amd64", std::slice::from_ref(&second));
    let registry = Faulty::new(Content::default().with("app:1", &app).with("other:1", &other))
        .fault(On::blob(&first.digest()).once(), Effect::Cut { after: 1_200_000 })
        .start();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.tar");
    let command = ["bundle", "app:1", "other:1", "--from", registry.host(), "--retry-times", "0", "-o"];
    let command: Vec<_> = command.into_iter().chain(output.to_str()).collect();
    hod(&command).code(1);
    assert!(!output.exists());

    hod(&command).ok();
    assert_eq!(registry.count(|seen| seen.is_blob(&second.digest())), 1, "a layer of two images, in two runs");
    let asked = registry.requests().into_iter().filter(|seen| seen.is_blob(&first.digest()));
    let ranges: Vec<String> = asked.map(|seen| seen.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=1200000-"]);
    hod(["verify", "-q", output.to_str().unwrap()]).ok();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no partial file is left");
}

/// After a crash of the machine the journal may be there, and of the file only some of what was written.
#[test]
fn what_a_crash_has_taken_is_written_again() {
    use std::os::unix::fs::FileExt as _;

    let (first, second) = (layer(1, 3_000_000), layer(2, 3_000_000));
    let app = image("linux/amd64", &[first.clone(), second.clone()]);
    let registry = Faulty::new(Content::default().with("app:1", &app))
        .fault(On::blob(&first.digest()).once(), Effect::Cut { after: 1_200_000 })
        .fault(On::blob(&second.digest()).once(), Effect::Cut { after: 2_000_000 })
        .start();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.tar");
    let command = ["bundle", "app:1", "--from", registry.host(), "--retry-times", "1", "--retry-delay", "1ms", "-o"];
    let once = |times| command.map(|word| if word == "1" { times } else { word });
    hod(once("0").into_iter().chain(output.to_str())).code(1);

    let partial = fs::OpenOptions::new().read(true).write(true).open(folder.path().join(".out.tar.partial")).unwrap();
    let length = partial.metadata().unwrap().len();
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    partial.file().read_exact_at(&mut bytes, 0).unwrap();
    let second_at = bytes.windows(100).position(|found| found == &second.bytes[..100]).unwrap();
    let nothing = vec![0; 4096];
    // The header, what is between the blobs, the beginning of one, the links and the end.
    for position in [0, second_at - 4096, second_at + 4096, bytes.len() - 20_000, bytes.len() - 4096] {
        partial.file().write_all_at(&nothing, position as u64).unwrap();
    }

    hod(once("1").into_iter().chain(output.to_str())).ok();
    hod(["verify", "-q", output.to_str().unwrap()]).ok();
    let of_second = registry.requests().into_iter().filter(|seen| seen.is_blob(&second.digest()));
    let ranges: Vec<String> = of_second.map(|seen| seen.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=2000000-", ""], "what has proved false is not believed again");
}

#[test]
fn nothing_is_written_through_a_symbolic_link() {
    let app = image("linux/amd64", &[layer(1, 1000)]);
    let registry = Faulty::new(Content::default().with("app:1", &app)).start();
    for name in [".out.tar.partial", ".out.tar.partial.journal"] {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        fs::write(other.path(), "of somebody else").unwrap();
        fs_err::os::unix::fs::symlink(other.path(), folder.path().join(name)).unwrap();
        let output = folder.path().join("out.tar");
        let words = ["bundle", "app:1", "--from", registry.host(), "-o", output.to_str().unwrap()];
        let said = hod(words).code(1).stderr;
        assert!(said.contains(name) && said.contains("is a symbolic link"), "{said}");
        assert_eq!(fs::read_to_string(other.path()).unwrap(), "of somebody else");
        assert!(!output.exists());
    }
}

#[test]
fn another_form_than_tar_is_refused_before_anything_is_asked() {
    let output = hod(["bundle", "app:1", "--from", "127.0.0.1:1", "-o", "x.tar.zst"]).code(2);
    assert!(output.stderr.contains("hod pull and hod pack"), "{}", output.stderr);
}
