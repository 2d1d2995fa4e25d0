//! The `hod` command. Everything is in the library; see [`hod::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hod::run()
}
