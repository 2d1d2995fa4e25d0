//! The lock: a list in which every image is pinned to its digest.
//!
//! It is a valid list itself, so everything that takes a list takes a lock. A line says all that
//! decides what is stored: where from, which digest, which platforms, under which name, and what belongs to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use serde::Serialize;

use hod_image::list::{FAILED, ImageList, PinnedReferrer, StoredName};
use hod_image::resolve::{Failed, ResolvedImage};
use hod_oci::{Digest, Platforms};

/// The text of a lock, in the order of the images. Those that were converted are left out: no registry has them.
///
/// Lines that failed follow as comments, by which every reader of lists knows that the lock is not complete.
pub fn lock_text(images: &[ResolvedImage], failed: &[Failed]) -> String {
    let mut text = String::from("# Pinned by hod: pulling this list again gives the same content.\n");
    let mut group = None;
    for image in images.iter().filter(|image| image.converted_from.is_none()) {
        open_group(&mut text, &mut group, image.line.group.as_deref());
        let _ = writeln!(text, "{}", locked_line(image));
    }
    for line in failed.iter().flat_map(|failed| std::iter::once(&failed.line).chain(&failed.also)) {
        open_group(&mut text, &mut group, line.group.as_deref());
        let _ = writeln!(text, "{FAILED}{}", line.text);
    }
    text
}

/// A lock in which lines that had failed are replaced by what became of them now. `None` where the run was about other
/// lines, too: then it is no second try, and its lock stands for itself.
pub fn completed_lock(before: &str, images: &[ResolvedImage], failed: &[Failed]) -> Option<String> {
    let open: BTreeSet<&str> = before.lines().filter_map(|line| line.strip_prefix(FAILED)).collect();
    let mut done = HashMap::new();
    for image in images {
        let lines = std::iter::once(&image.line).chain(&image.also);
        let locked = image.converted_from.is_none().then(|| locked_line(image));
        done.extend(
            lines.zip(std::iter::once(locked).chain(std::iter::repeat(None))).map(|(line, text)| (&*line.text, text)),
        );
    }
    let again =
        failed.iter().flat_map(|failed| std::iter::once(&failed.line).chain(&failed.also)).map(|line| &*line.text);
    if !done.keys().copied().chain(again).all(|line| open.contains(line)) {
        return None;
    }
    let mut text = String::new();
    for line in before.lines() {
        match line.strip_prefix(FAILED).and_then(|failed| done.get_mut(failed)) {
            None => text.extend([line, "\n"]),
            Some(locked) => text.extend(locked.take().map(|locked| locked + "\n")),
        }
    }
    Some(text)
}

/// The line of an image.
fn locked_line(image: &ResolvedImage) -> String {
    // Of an image that is not an index there is nothing to choose, whatever platforms a later run asks for.
    let chosen = if image.graph.root.descriptor.media_type.is_index() {
        &image.platforms
    } else {
        image.line.platforms.as_ref().unwrap_or(&Platforms::All)
    };
    if let Some(place) = &image.place {
        let digest = image.graph.root.descriptor.digest;
        return format!("{place} platform={chosen} as={} digest={digest}", image.name);
    }
    let referrers = referrers_text(&pinned(image));
    format!("{} platform={chosen} as={} referrers={referrers}", image.source_name, image.name)
}

/// What belongs to an image as it was found, sorted.
fn pinned(image: &ResolvedImage) -> Vec<PinnedReferrer> {
    let mut pinned = Vec::new();
    for attached in &image.attached {
        let root = &attached.graph.root;
        let roots = if attached.is_index { root.children.as_slice() } else { std::slice::from_ref(root) };
        pinned.extend(
            roots.iter().map(|root| PinnedReferrer { tag: attached.tag.clone(), digest: root.descriptor.digest }),
        );
    }
    pinned.sort();
    pinned.dedup();
    pinned
}

fn referrers_text(pinned: &[PinnedReferrer]) -> String {
    if pinned.is_empty() {
        return "none".to_owned();
    }
    pinned.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// An image that is no longer what a lock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MovedImage {
    /// Its name in the store.
    pub name: String,
    /// The digest in the lock.
    pub locked: Digest,
    /// What the registry has under the tag now.
    pub now: Digest,
}

/// What a registry has changed since a lock was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Images whose tag has moved.
    pub moved: Vec<MovedImage>,
    /// Images that the lock does not have.
    pub added: Vec<String>,
    /// Images that the lock alone has.
    pub removed: Vec<String>,
}

impl Changes {
    /// Compares the lines of a lock with what was resolved now. Images are told apart by their names in the store, which
    /// several lines may share: those that differ in their platforms, and those that mean the same.
    pub fn between(lock: &ImageList, now: &[ResolvedImage]) -> Self {
        let mut locked = Digests::new();
        for line in &lock.lines {
            if let Some(name) = &line.name {
                locked.entry(label(name, line.reference.digest)).or_default().extend(line.reference.digest);
            }
        }
        let mut found = Digests::new();
        for image in now {
            let digest = image.graph.root.descriptor.digest;
            found.entry(label(&image.name, Some(digest))).or_default().insert(digest);
        }
        Self::of(locked, found)
    }

    fn of(mut locked: Digests, found: Digests) -> Self {
        let mut changes = Self::default();
        for (name, digests) in found {
            let Some(before) = locked.remove(&name) else {
                changes.added.push(name);
                continue;
            };
            // A line without a digest is content with any.
            let (Some(any_before), Some(any_now)) = (before.last(), digests.last()) else { continue };
            let (gone, fresh) = (before.difference(&digests), digests.difference(&before));
            let count = gone.clone().count().max(fresh.clone().count());
            let pairs = gone.chain(std::iter::repeat(any_before)).zip(fresh.chain(std::iter::repeat(any_now)));
            let moved =
                pairs.take(count).map(|(locked, now)| MovedImage { name: name.clone(), locked: *locked, now: *now });
            changes.moved.extend(moved);
        }
        changes.removed = locked.into_keys().collect();
        changes
    }

    /// Returns true if nothing has changed.
    pub const fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }
}

/// What is under each name.
type Digests = BTreeMap<String, BTreeSet<Digest>>;

/// What an image is called: by its digest too where it has no tag, since many may have one repository then.
fn label(name: &StoredName, digest: Option<Digest>) -> String {
    match (&name.tag, digest) {
        (None, Some(digest)) => format!("{name}@{digest}"),
        _ => name.to_string(),
    }
}

/// The lines of a lock as they were before it: by tag, where they have one.
pub fn unpinned(mut lock: ImageList) -> ImageList {
    for line in &mut lock.lines {
        if line.reference.tag.is_some() {
            line.reference.digest = None;
        }
    }
    lock
}

/// The lines that failed, as a list to try again, each with its reason as a comment.
pub fn failed_text(failed: &[Failed]) -> String {
    let mut text = String::new();
    let mut group = None;
    // On the command line a place may do without the name that it needs in a list.
    let is_listed = |failed: &&Failed| failed.line.origin.file.is_some() || failed.line.place.is_none();
    for Failed { line, also, error } in failed.iter().filter(is_listed) {
        // Each line chose platforms of its own.
        for line in std::iter::once(line).chain(also) {
            open_group(&mut text, &mut group, line.group.as_deref());
            let _ = writeln!(text, "# {}: {}", line.origin, one_line(error));
            let _ = writeln!(text, "{}", line.text);
        }
    }
    text
}

fn open_group<'a>(text: &mut String, current: &mut Option<&'a str>, group: Option<&'a str>) {
    if *current != group {
        let _ = writeln!(text, "##{}", group.unwrap_or_default());
        *current = group;
    }
}

/// An error and its causes in one line.
fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(|error| error.to_string().replace(['\n', '\r'], " ")).collect::<Vec<_>>().join(": ")
}
