//! A place that a command reads.

use std::path::{Path, PathBuf};

use clap::Args;

// What to read: an argument, or a store by its option, which every command has for it.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// Store, registry root or bundle; - for a bundle on standard input
    #[arg(value_name = "TARGET", required_unless_present = "store")]
    target: Option<PathBuf>,
    /// Store, instead of the argument
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    store: Option<PathBuf>,
}

impl TargetArgs {
    /// What was named; the argument counts more.
    pub(crate) fn path(&self) -> &Path {
        self.target.as_deref().or(self.store.as_deref()).unwrap_or_else(|| "".as_ref())
    }
}
