//! Makes content and links durable and visible, many commits at a time.
//!
//! A commit goes through steps, and between two of them everything written so far is synced:
//!
//! 1. link files are written in `.hod`, where the blobs are already;
//! 2. blobs, then layer links, then revision links are renamed into place;
//! 3. tags are renamed into place: a new one as a whole, of one that is there the index, then the current link;
//! 4. the caller is told.
//!
//! One call of `syncfs` carries every commit that is under way one step further, whichever
//! threads they belong to. Whoever waits leads a round when nobody else does.

use std::mem;
use std::sync::{Arc, PoisonError};

use super::rounds::{Committed, PendingLinks, QueuedEntry, Step, Target, Ticket, inside};
use super::{Entry, Links, Result, Store, StoreError, TagLink, Writing};
use hod_io::fs::Child;
use hod_oci::{Digest, RepositoryName};

impl Store {
    /// Makes the links and all that they refer to durable and visible, tags last, and with them
    /// every other blob that was ingested before.
    ///
    /// Where all of it is there already nothing is written and nothing is synced. Calls from
    /// several threads share their syncs.
    ///
    /// # Errors
    /// [`StoreError::Dangling`] where a link refers to content that the store does not have. A commit
    /// that fails may have made some of its links, none of them dangling, and can be made again.
    pub fn commit(&self, links: &[Links]) -> Result<Committed> {
        let writing = self.writing()?;
        let rounds = &writing.rounds;
        let mut state = rounds.lock();
        let number = state.next;
        state.next += 1;
        state.tickets.push(Ticket { number, links: 0, step: Step::Queued(links.to_vec()) });
        loop {
            if let Some(position) = state.ended.iter().position(|(ended, _)| *ended == number) {
                return state.ended.swap_remove(position).1;
            }
            if state.led {
                state = rounds.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.led = true;
            let tickets = mem::take(&mut state.tickets);
            drop(state);
            let (under_way, ended) = self.round(writing, tickets);
            state = rounds.lock();
            state.led = false;
            state.tickets.extend(under_way);
            state.ended.extend(ended);
            rounds.turn.notify_all();
        }
    }

    /// Makes the blobs durable that no commit has taken along, so that the next run finds them.
    pub fn finish(&self) -> Result<()> {
        self.commit(&[]).map(|_| ())
    }

    /// Carries every ticket one step further; returns those that are not at their end, and the
    /// results of the others.
    fn round(&self, writing: &Writing, tickets: Vec<Ticket>) -> (Vec<Ticket>, Vec<(u64, Result<Committed>)>) {
        let (mut under_way, mut ended) = (Vec::new(), Vec::new());
        for mut ticket in tickets {
            match ticket.stage(self, writing) {
                Ok(()) => under_way.push(ticket),
                Err(error) => ended.push((ticket.number, Err(error))),
            }
        }
        let blobs = writing.staging.waiting();
        let needed = !blobs.is_empty() || writing.staging.is_touched() || under_way.iter().any(Ticket::needs_sync);
        let synced = if needed { writing.staging.sync() } else { Ok(()) };
        if synced.is_err() {
            writing.staging.distrust(&blobs);
        }
        let tickets = mem::take(&mut under_way);
        let placed = match synced {
            Ok(()) => self.place(writing, &blobs).map_err(|error| (Arc::new(error), false)),
            Err(error) => Err((Arc::new(error), true)),
        };
        for mut ticket in tickets {
            let advanced = match &placed {
                Err((error, all)) if *all || ticket.needs_blobs() => Err(StoreError::Shared(Arc::clone(error))),
                _ => ticket.advance(self, writing, !blobs.is_empty()),
            };
            match advanced {
                Ok(true) => under_way.push(ticket),
                Ok(false) => ended.push((ticket.number, Ok(Committed { links: ticket.links }))),
                Err(error) => ended.push((ticket.number, Err(error))),
            }
        }
        self.inner.hashed.flush();
        (under_way, ended)
    }

    /// Makes the folders of a repository, and writes the links that are missing or hold something else.
    fn stage(&self, writing: &Writing, links: &Links, pending: &mut PendingLinks) -> Result<()> {
        for folder in links.folders() {
            if self.tree().folder(&folder.to_string())? {
                writing.staging.touch();
            }
        }
        for (to, digest) in links.content() {
            self.refers_to(writing, &links.name, &digest)?;
            if self.is_linked(&to, &digest)? {
                continue;
            }
            let from = writing.staging.link(&digest)?;
            pending.content.push(QueuedEntry::new(from, Target::Link(to)));
            pending.links += 1;
        }
        self.claim_spelling(&links.name, links.tags.iter().map(|tag| &tag.name))?;
        for TagLink { name, digest } in &links.tags {
            self.refers_to(writing, &links.name, digest)?;
            let current = Entry::TagCurrent(links.name.clone(), name.clone());
            let links = [Entry::TagIndex(links.name.clone(), name.clone(), *digest), current];
            let mut missing = 0;
            for link in &links {
                missing += usize::from(!self.is_linked(link, digest)?);
            }
            if missing == 0 {
                continue;
            }
            let from = writing.staging.tag(digest, &inside(&links))?;
            pending.tags.push(QueuedEntry::new(from, Target::Tag(links)));
            pending.links += missing;
        }
        Ok(())
    }

    /// Whether a link is in its place and holds a digest. One that registries cannot read is one to be written again.
    fn is_linked(&self, link: &Entry, digest: &Digest) -> Result<bool> {
        match self.link(link) {
            Err(StoreError::Link { .. }) => Ok(false),
            found => Ok(found? == Some(*digest)),
        }
    }

    fn refers_to(&self, writing: &Writing, name: &RepositoryName, digest: &Digest) -> Result<()> {
        if writing.staging.size(digest).is_some() || self.size(digest)?.is_some() {
            return Ok(());
        }
        Err(StoreError::Dangling { name: name.clone(), digest: *digest })
    }

    /// Renames blobs that are durable into their places.
    fn place(&self, writing: &Writing, blobs: &[Digest]) -> Result<()> {
        for digest in blobs {
            writing.staging.touch();
            let put = |staged: &Child| self.tree().place(staged, &Entry::Data(*digest).to_string());
            writing.staging.place(digest, put)?;
        }
        Ok(())
    }
}

impl Ticket {
    /// Writes what the next sync is to make durable.
    fn stage(&mut self, store: &Store, writing: &Writing) -> Result<()> {
        if let Step::Queued(wanted) = &self.step {
            let mut pending = PendingLinks::default();
            wanted.iter().try_for_each(|links| store.stage(writing, links, &mut pending))?;
            self.links = pending.links;
            self.step = Step::Staged(pending);
        }
        Ok(())
    }

    /// Whether this ticket has written something that is not durable yet.
    fn needs_sync(&self) -> bool {
        match &self.step {
            Step::Queued(_) => false,
            Step::Staged(pending) => !pending.content.is_empty() || !pending.tags.is_empty(),
            Step::Linked(_) | Step::Tagged => true,
        }
    }

    /// Whether the blobs of this ticket may be among those that are now put in place.
    const fn needs_blobs(&self) -> bool {
        matches!(self.step, Step::Queued(_) | Step::Staged(_))
    }

    /// Does what a sync has cleared the way for; says whether another sync is needed after it.
    ///
    /// `placed` is whether blobs were put in place after the sync.
    fn advance(&mut self, store: &Store, writing: &Writing, placed: bool) -> Result<bool> {
        let tags = match mem::replace(&mut self.step, Step::Tagged) {
            Step::Staged(pending) => {
                if place_links(store, writing, pending.content)? || placed {
                    self.step = Step::Linked(pending.tags);
                    return Ok(true);
                }
                pending.tags
            }
            Step::Linked(tags) => tags,
            Step::Queued(_) | Step::Tagged => Vec::new(),
        };
        place_links(store, writing, tags)
    }
}

/// Brings links to their places, in the order given; says whether there were any.
fn place_links(store: &Store, writing: &Writing, links: Vec<QueuedEntry>) -> Result<bool> {
    let any = !links.is_empty();
    for mut link in links {
        writing.staging.touch();
        link.place(store.tree())?;
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn a_tag_comes_over_whatever_is_there_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let (old, new) = (Digest::sha256(b"old"), Digest::sha256(b"new"));
        store.add(&old, b"old").unwrap();
        store.add(&new, b"new").unwrap();
        let links = |name: &RepositoryName, digest: Digest| {
            let tags = vec![TagLink { name: "t".parse().unwrap(), digest }];
            [Links { revisions: vec![digest], tags, ..Links::none(name.clone()) }]
        };
        let names: [RepositoryName; 5] =
            ["none", "empty", "incomplete", "another", "index-is-lost"].map(|name| name.parse().unwrap());
        for name in &names {
            let tag: hod_oci::Tag = "t".parse().unwrap();
            let directory = folder.path().join(Entry::TagCurrent(name.clone(), tag.clone()).directory());
            let index = Entry::TagIndex(name.clone(), tag.clone(), new).under(folder.path());
            match name.as_str() {
                "empty" => fs::create_dir_all(&directory).unwrap(),
                "incomplete" => fs::create_dir_all(directory.join("index/sha256/x")).unwrap(),
                "another" => drop(store.commit(&links(name, old)).unwrap()),
                "index-is-lost" => {
                    store.commit(&links(name, new)).unwrap();
                    fs::remove_file(&index).unwrap();
                }
                _ => {}
            }
            store.commit(&links(name, new)).unwrap();
            assert_eq!(store.tag(name, &tag).unwrap(), Some(new), "{name}");
            assert_eq!(fs::read_to_string(&index).unwrap(), new.to_string(), "{name}");
            assert_eq!(store.commit(&links(name, new)).unwrap().links, 0, "{name}");
        }
        assert_eq!(fs::read_dir(folder.path().join(".hod/staged/0")).unwrap().count(), 0);
    }
}
