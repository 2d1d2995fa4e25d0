//! Checks a store: every byte against its digest, every link against its target, every image for completeness.
//!
//! It judges as a registry and its garbage collection would. A child that an index names and that is
//! nowhere is no damage (a sparse index); one whose content is there without its link is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::finding::{Code, Finding, Findings};
use super::hashing::HashJob;
use hod_engine::observe::{Event, Observer, Stop};
use hod_io::fs::ColdFile;
use hod_oci::{Descriptor, Digest, Manifest, MediaType, RepositoryName, Tag};
use hod_store::layout::Entry;
use hod_store::{FoundKind, Store, StoreError};

/// What the walk over a root has seen.
#[derive(Default)]
struct Seen {
    blobs: BTreeMap<Digest, u64>,
    repositories: BTreeMap<RepositoryName, Repository>,
    findings: Vec<Finding>,
    links: usize,
}

#[derive(Default)]
struct Repository {
    folders: usize,
    layers: BTreeSet<Digest>,
    revisions: BTreeSet<Digest>,
    tags: BTreeMap<Tag, Option<Digest>>,
}

/// Checks a whole store. Reads everything, changes nothing, and stays within a few MiB of memory
/// a processor.
///
/// # Errors
/// Only where the store cannot be read; damage is a finding.
pub fn verify_store(store: &Store, observer: &dyn Observer, stop: &Stop) -> Result<Findings, StoreError> {
    if !store.tells_tags_apart()? {
        let root = store.root().display();
        observer.on(&Event::Notice(&format!(
            "the file system of {root} does not tell all tags apart: of V1 and v1 it keeps one"
        )));
    }
    let mut seen = walk(store)?;
    let total = seen.blobs.values().sum();
    observer.on(&Event::Step { name: "verify", images: 0, bytes: total });
    let bad = hash_all(store, &seen.blobs, observer, stop);
    let mut broken: HashSet<Digest> = HashSet::new();
    for (digest, detail) in bad {
        seen.findings.push(Finding::new(Code::BlobDigestMismatch, Entry::Data(digest).to_string(), detail));
        broken.insert(digest);
    }
    let mut findings = Findings { blobs: seen.blobs.len(), bytes: total, links: seen.links, ..Findings::default() };
    let mut manifests = Manifests { store, known: HashMap::new() };
    let mut images = Images::default();
    for (name, repository) in &seen.repositories {
        let mut judge = Judge { name, repository, blobs: &seen.blobs, broken: &broken, found: &mut seen.findings };
        judge.folders();
        judge.links();
        judge.manifests(&mut manifests, &mut images);
    }
    images.name_victims(&mut seen.findings, &broken);
    findings.images = images.count;
    findings.findings = seen.findings;
    findings.findings.sort();
    findings.findings.dedup();
    Ok(findings)
}

/// Walks over the root and takes note of what is there.
fn walk(store: &Store) -> Result<Seen, StoreError> {
    let mut seen = Seen::default();
    for found in store.walk() {
        let found = found?;
        let path = found.path.to_string_lossy().into_owned();
        if matches!(found.kind, FoundKind::SymbolicLink | FoundKind::Other) {
            let detail = "a registry root may contain only files and directories";
            seen.findings.push(Finding::new(Code::NotAFile, path, detail));
            continue;
        }
        match found.entry {
            Some(entry) if entry.is_folder() == (found.kind == FoundKind::Folder) => {
                seen.note(store, entry, found.size, &path);
            }
            _ => seen.judge_stranger(&path, found.kind),
        }
    }
    for path in store.foreign_in_own()? {
        let detail = "hod did not create this, and does not change it: check its origin, and remove it";
        seen.findings.push(Finding::new(Code::ForeignInHod, path, detail));
    }
    Ok(seen)
}

impl Seen {
    fn note(&mut self, store: &Store, entry: Entry, size: u64, path: &str) {
        match entry {
            Entry::Data(digest) => {
                self.blobs.insert(digest, size);
            }
            Entry::Layers(name) | Entry::Revisions(name) | Entry::Tags(name) => {
                self.repositories.entry(name).or_default().folders += 1;
            }
            Entry::Layer(name, digest) => {
                if self.link(store, path, Some(digest)).is_some() {
                    self.repositories.entry(name).or_default().layers.insert(digest);
                }
            }
            Entry::Revision(name, digest) => {
                if self.link(store, path, Some(digest)).is_some() {
                    self.repositories.entry(name).or_default().revisions.insert(digest);
                }
            }
            Entry::TagIndex(name, tag, digest) => {
                self.link(store, path, Some(digest));
                self.repositories.entry(name).or_default().tags.entry(tag).or_default();
            }
            Entry::TagCurrent(name, tag) => {
                let digest = self.link(store, path, None);
                self.repositories.entry(name).or_default().tags.insert(tag, digest);
            }
        }
    }

    /// Reads a link file; `expected` is the digest that its path names, where it names one.
    fn link(&mut self, store: &Store, path: &str, expected: Option<Digest>) -> Option<Digest> {
        self.links += 1;
        let text = match store.link_text(path) {
            // What has gone since the walk has come to it is nothing.
            Ok(text) => text?,
            Err(error) => {
                self.findings.push(Finding::new(Code::LinkMalformed, path, error.to_string()));
                return None;
            }
        };
        let shown: String = text.chars().take(80).collect();
        let digest: Option<Digest> = text.parse().ok();
        let detail = match (digest, expected) {
            (Some(digest), None) => return Some(digest),
            (Some(digest), Some(expected)) if digest == expected => return Some(digest),
            (Some(_), _) => format!("it contains {shown:?}, but its path names another digest"),
            (None, _) if text.trim().parse::<Digest>().is_ok() => {
                "white space around the digest: registries answer such a link with a server error".to_owned()
            }
            (None, _) => format!("it contains {shown:?}, which is not a digest"),
        };
        self.findings.push(Finding::new(Code::LinkMalformed, path, detail));
        None
    }

    /// Judges a path that is no entry: most are harmless, some stop a registry's garbage collection.
    fn judge_stranger(&mut self, path: &str, kind: FoundKind) {
        let Some(rest) = path.strip_prefix("docker/registry/v2/") else { return };
        let last = rest.rsplit('/').next().unwrap_or_default();
        let is_file = kind == FoundKind::File;
        let harm = if rest.starts_with("blobs/") && is_file && last == "data" {
            Some("a file named data that is not a blob stops the registry's garbage collection")
        } else if !rest.starts_with("repositories/") || rest.contains("/_uploads") {
            None
        } else if is_file && last.starts_with('_') {
            Some("a file with this name hides the repositories beside it from version 2 registries")
        } else if !is_file && matches!(last, "_layers" | "_manifests") && !is_repository(rest, last) {
            Some("the directory above is not a repository name, which stops the registry's garbage collection")
        } else {
            self.note_tag_folder(rest, is_file);
            None
        };
        if let Some(harm) = harm {
            self.findings.push(Finding::new(Code::PathHarmful, path, harm));
        }
    }

    /// Remembers a tag's folder, so that one without a link is noticed.
    fn note_tag_folder(&mut self, rest: &str, is_file: bool) {
        let Some((name, tag)) =
            rest.strip_prefix("repositories/").and_then(|rest| rest.split_once("/_manifests/tags/"))
        else {
            return;
        };
        if let (Ok(name), Ok(tag), false) = (name.parse(), tag.parse(), is_file) {
            self.repositories.entry(name).or_default().tags.entry(tag).or_default();
        }
    }
}

fn is_repository(rest: &str, last: &str) -> bool {
    let name = rest.strip_prefix("repositories/").and_then(|rest| rest.strip_suffix(last));
    name.and_then(|name| name.strip_suffix('/')).is_some_and(|name| name.parse::<RepositoryName>().is_ok())
}

/// Hashes all blobs on all processors, the largest first; gives back those that are wrong, and how.
fn hash_all(
    store: &Store,
    blobs: &BTreeMap<Digest, u64>,
    observer: &dyn Observer,
    stop: &Stop,
) -> Vec<(Digest, String)> {
    let mut queue: Vec<(Digest, u64)> = blobs.iter().map(|(digest, size)| (*digest, *size)).collect();
    queue.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let hashing = HashJob {
        open: |(digest, _): &(Digest, u64)| Ok((digest.algorithm(), ColdFile::new(store.open_blob(digest)?))),
        moved: |(digest, _): &(Digest, u64), count| observer.on(&Event::Moved { digest, bytes: count as u64 }),
        judge: |(digest, _): &(Digest, u64), found: Result<Digest, StoreError>| match found {
            Ok(found) if found == *digest => None,
            Ok(found) => Some((*digest, format!("the bytes have the digest {found}"))),
            Err(error) => Some((*digest, error.to_string())),
        },
    };
    hashing.run(&queue, stop)
}

/// Manifests by digest, each read once.
struct Manifests<'a> {
    store: &'a Store,
    known: HashMap<Digest, Result<Manifest, String>>,
}

impl Manifests<'_> {
    fn get(&mut self, digest: &Digest) -> &Result<Manifest, String> {
        self.known.entry(*digest).or_insert_with(|| {
            let bytes = self.store.read_manifest(digest).map_err(|error| error.to_string())?;
            Manifest::parse(&MediaType::Other("".into()), &bytes).map_err(|error| {
                let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
                causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
            })
        })
    }
}

/// What uses what, so that damage can be told in images.
#[derive(Default)]
struct Images {
    users: HashMap<Digest, BTreeSet<String>>,
    count: usize,
}

impl Images {
    fn name_victims(&self, findings: &mut [Finding], broken: &HashSet<Digest>) {
        for finding in findings {
            let Some(digest) = Entry::parse(&finding.path).and_then(|entry| match entry {
                Entry::Data(digest) | Entry::Layer(_, digest) | Entry::Revision(_, digest) => Some(digest),
                _ => None,
            }) else {
                continue;
            };
            if broken.contains(&digest) || finding.code != Code::BlobDigestMismatch {
                finding.images = self.users.get(&digest).into_iter().flatten().cloned().collect();
            }
        }
    }
}

/// Judges one repository.
struct Judge<'a> {
    name: &'a RepositoryName,
    repository: &'a Repository,
    blobs: &'a BTreeMap<Digest, u64>,
    /// Those whose bytes are wrong.
    broken: &'a HashSet<Digest>,
    found: &'a mut Vec<Finding>,
}

impl Judge<'_> {
    fn find(&mut self, code: Code, entry: &Entry, detail: impl Into<String>) {
        self.found.push(Finding::new(code, entry.to_string(), detail));
    }

    /// A repository without manifests is what an interrupted write leaves, in a registry too: it harms nobody.
    fn folders(&mut self) {
        let is_used = !self.repository.revisions.is_empty() || !self.repository.tags.is_empty();
        if is_used && self.repository.folders < 3 {
            let detail = "registries need _layers, _manifests/revisions and _manifests/tags in every repository";
            self.find(Code::FolderMissing, &Entry::Layers(self.name.clone()), detail);
        }
    }

    fn links(&mut self) {
        let layers = self.repository.layers.iter().map(|digest| (Entry::Layer(self.name.clone(), *digest), digest));
        let revisions =
            self.repository.revisions.iter().map(|digest| (Entry::Revision(self.name.clone(), *digest), digest));
        for (entry, digest) in layers.chain(revisions) {
            if !self.blobs.contains_key(digest) {
                self.find(Code::LinkDangling, &entry, format!("{digest} is missing"));
            }
        }
        for (tag, digest) in &self.repository.tags {
            let entry = Entry::TagCurrent(self.name.clone(), tag.clone());
            match digest {
                None => self.find(Code::TagIncomplete, &entry, "the tag has a directory, but no valid current/link"),
                Some(digest) if !self.repository.revisions.contains(digest) => {
                    self.find(Code::TagDangling, &entry, format!("{digest} is not a manifest of this repository"));
                }
                Some(_) => {}
            }
        }
    }

    fn manifests(&mut self, manifests: &mut Manifests<'_>, images: &mut Images) {
        let mut names: HashMap<Digest, Vec<String>> = HashMap::new();
        for (tag, digest) in &self.repository.tags {
            if let Some(digest) = digest {
                names.entry(*digest).or_default().push(format!("{}:{tag}", self.name));
            }
        }
        images.count += names.values().map(Vec::len).sum::<usize>();
        let roots: Vec<Digest> = self.repository.revisions.iter().copied().collect();
        for digest in roots.into_iter().filter(|digest| self.blobs.contains_key(digest)) {
            match manifests.get(&digest) {
                Err(detail) => self.find(Code::ManifestInvalid, &Entry::Data(digest), detail.clone()),
                Ok(manifest) => self.manifest(digest, manifest),
            }
            self.lost_children(digest, manifests);
        }
        for (root, names) in names {
            self.follow(root, &names, manifests, images);
        }
    }

    fn manifest(&mut self, digest: Digest, manifest: &Manifest) {
        for blob in manifest.blobs().filter(|blob| !blob.media_type.is_foreign_layer()) {
            self.blob(digest, blob);
        }
        for child in manifest.children() {
            self.size(digest, child);
        }
    }

    /// Compares what a manifest says of the length of content with what is there.
    fn size(&mut self, manifest: Digest, content: &Descriptor) {
        let Some(size) = self.blobs.get(&content.digest).filter(|size| **size != content.size) else { return };
        let detail = format!("it has {size} bytes, and {manifest} in {} says {}", self.name, content.size);
        let is_broken = self.broken.contains(&content.digest);
        let code = if is_broken { Code::BlobSizeMismatch } else { Code::DeclaredSizeWrong };
        self.find(code, &Entry::Data(content.digest), detail);
    }

    /// Finds children that were part of this repository and have lost their link: one of which every
    /// blob is linked here. A child that nobody chose has none of them.
    fn lost_children(&mut self, index: Digest, manifests: &mut Manifests<'_>) {
        let Ok(manifest) = manifests.get(&index) else { return };
        let unlinked: Vec<Digest> = manifest
            .children()
            .iter()
            .map(|child| child.digest)
            .filter(|child| self.blobs.contains_key(child) && !self.repository.revisions.contains(child))
            .collect();
        for child in unlinked {
            let Ok(manifest) = manifests.get(&child) else { continue };
            let mut blobs = manifest.blobs().filter(|blob| !blob.media_type.is_foreign_layer()).peekable();
            let was_here = blobs.peek().is_some() && blobs.all(|blob| self.repository.layers.contains(&blob.digest));
            if was_here {
                let detail = format!(
                    "the index {index} names it and all its content is present, but its revision link is missing"
                );
                self.find(Code::ChildRevisionMissing, &Entry::Revision(self.name.clone(), child), detail);
            }
        }
    }

    fn blob(&mut self, manifest: Digest, blob: &Descriptor) {
        self.size(manifest, blob);
        match self.blobs.get(&blob.digest) {
            None => {
                let detail = format!("{manifest} in {} needs it", self.name);
                self.find(Code::BlobMissing, &Entry::Data(blob.digest), detail);
            }
            Some(_) if !self.repository.layers.contains(&blob.digest) => {
                let detail = format!("{manifest} needs it: registries would report it as unknown");
                self.find(Code::LayerLinkMissing, &Entry::Layer(self.name.clone(), blob.digest), detail);
            }
            Some(_) => {}
        }
    }

    /// Notes for everything below a root which images use it, however deep indexes lie in each other.
    fn follow(&self, root: Digest, names: &[String], manifests: &mut Manifests<'_>, images: &mut Images) {
        let mut uses = |digest| images.users.entry(digest).or_default().extend(names.iter().cloned());
        uses(root);
        let mut visited = HashSet::new();
        let mut open = vec![root];
        while let Some(digest) = open.pop() {
            if !visited.insert(digest) || !self.blobs.contains_key(&digest) {
                continue;
            }
            let Ok(manifest) = manifests.get(&digest) else { continue };
            manifest.blobs().for_each(|blob| uses(blob.digest));
            let children = manifest.children().iter().map(|child| child.digest);
            children.clone().for_each(&mut uses);
            open.extend(children.filter(|child| self.repository.revisions.contains(child)));
        }
    }
}
