//! Commits that are under way, and what waits for its place.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::root::Root;
use super::{Entry, Links, Result, StoreError};
use hod_io::fs::Child;

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// How many links were made or moved; the others were there already.
    pub links: usize,
}

/// The commits that are under way.
#[derive(Default)]
pub(super) struct CommitRounds {
    pub(super) state: Mutex<State>,
    pub(super) turn: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    /// The number of the next ticket.
    pub(super) next: u64,
    /// Whether some thread is busy with a round.
    pub(super) led: bool,
    pub(super) tickets: Vec<Ticket>,
    /// Results that their callers have not fetched yet.
    pub(super) ended: Vec<(u64, Result<Committed>)>,
}

pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) links: usize,
    pub(super) step: Step,
}

pub(super) enum Step {
    Queued(Vec<Links>),
    Staged(PendingLinks),
    Linked(Vec<QueuedEntry>),
    Tagged,
}

/// Links that wait for their place.
#[derive(Default)]
pub(super) struct PendingLinks {
    /// Of layers and revisions.
    pub(super) content: Vec<QueuedEntry>,
    /// Of tags.
    pub(super) tags: Vec<QueuedEntry>,
    /// How many there are.
    pub(super) links: usize,
}

/// What waits for its place, or is removed.
pub(super) struct QueuedEntry {
    pub(super) from: Child,
    pub(super) to: Target,
    /// Whether it has left where it waits.
    pub(super) gone: bool,
}

pub(super) enum Target {
    /// Of a link file.
    Link(Entry),
    /// Of a tag's directory, which has these links: what it has pointed to, and what it points to.
    Tag([Entry; 2]),
}

impl CommitRounds {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueuedEntry {
    pub(super) const fn new(from: Child, to: Target) -> Self {
        Self { from, to, gone: false }
    }

    pub(super) fn place(&mut self, root: &Root) -> Result<()> {
        match &self.to {
            Target::Link(link) => root.place(&self.from, &link.to_string())?,
            Target::Tag(links) => {
                let [_, current] = links;
                match root.place(&self.from, &current.directory()) {
                    Err(StoreError::Io(error)) if is_taken(&error) => {
                        let staged = self.from.directory()?;
                        for (from, to) in inside(links).iter().zip(links) {
                            root.place(&staged.child_below(from)?, &to.to_string())?;
                        }
                        return Ok(());
                    }
                    placed => placed?,
                }
            }
        }
        self.gone = true;
        Ok(())
    }
}

/// Where the links of a tag are in its directory.
pub(super) fn inside(links: &[Entry; 2]) -> [String; 2] {
    let [_, current] = links;
    let above = current.directory().len() + 1;
    links.each_ref().map(|link| link.to_string().split_off(above))
}

/// Whether a directory could not be renamed because there is one with something in it, or a symbolic link.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

impl Drop for QueuedEntry {
    fn drop(&mut self) {
        if !self.gone {
            // A process that is killed leaves it, too: the next one removes it.
            let _ = self.from.remove_tree();
        }
    }
}
