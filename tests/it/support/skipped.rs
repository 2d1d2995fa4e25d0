//! Tests, or parts of them, that this machine cannot run. `scripts/test` counts them; in CI they fail.

use std::io::Write as _;
use std::process::Command;

use fs_err as fs;

/// True for root; otherwise records what the test leaves out.
pub fn is_root_for(left_out: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skipped(left_out, "only root can do that");
    }
    is_root
}

/// True if this machine lets the user change the root directory, in a network of its own; otherwise records a skip.
pub fn may_change_root() -> bool {
    let entered = Command::new("unshare").args(["--net", "chroot", "/", "true"]).output();
    let may = entered.is_ok_and(|output| output.status.success());
    if !may {
        skipped("all of it", "this machine has no namespaces for chroot");
    }
    may
}

/// Records in the file that `HOD_SKIPPED` names what the running test leaves out, and why. In CI that is a failure.
pub fn skipped(left_out: &str, why: &str) {
    let test = std::thread::current();
    let line = format!("{}: {left_out}: {why}\n", test.name().unwrap_or_default());
    eprint!("skipped in {line}");
    assert!(std::env::var_os("CI").is_none(), "this test must run in CI");
    record(&line);
}

/// True if a tool is installed that Debian does not have; otherwise records a skip, which is no failure in CI.
pub fn has_tool(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", tool]).output();
    let has_tool = found.is_ok_and(|output| output.status.success());
    if !has_tool {
        let test = std::thread::current();
        let line = format!("{}: {tool}: Debian does not have it\n", test.name().unwrap_or_default());
        eprint!("skipped in {line}");
        record(&line);
    }
    has_tool
}

fn record(line: &str) {
    if let Some(record) = std::env::var_os("HOD_SKIPPED") {
        let mut record = fs::OpenOptions::new().append(true).create(true).open(record).unwrap();
        record.write_all(line.as_bytes()).unwrap();
    }
}
