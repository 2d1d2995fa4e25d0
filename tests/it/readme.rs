//! The README's commands, run as they stand there, in their order and in one folder.

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::hod;

/// The lines of the README's shell blocks that call hod.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let lines = blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.starts_with("hod ")).collect()
}

#[test]
fn the_first_ten_minutes() {
    let (upstream, site) = (DockerRegistry::over(fixtures::root()), DockerRegistry::empty());
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixtures::list(), folder.path().join("images-list.txt")).unwrap();
    let root = folder.path().join("registry").display().to_string();
    let commands = commands();
    assert!(commands.len() >= 8, "{commands:?}");
    for line in &commands {
        // What a reader has and this machine has not: a root under /var/lib, a registry on the site, a free port 5000.
        let here = line
            .replace("/var/lib/registry", &root)
            .replace("registry.site:5000", site.host())
            .replace("127.0.0.1:5000", "127.0.0.1:0");
        let words = here.split_whitespace().skip(1);
        let command = hod(words).in_folder(folder.path()).env("HOD_FROM", upstream.host());
        if line.starts_with("hod serve") {
            let mut server = command.spawn();
            server.until_printed("listening on");
            server.interrupt();
            assert_eq!(server.wait().code, Some(0), "{line}");
        } else {
            command.ok();
        }
    }
}
