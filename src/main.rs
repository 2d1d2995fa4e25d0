//! The `hod` command. Everything is in the library; see [`hod::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hod::cli::run()
}
