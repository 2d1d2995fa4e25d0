//! The repositories and tags of a server as the page lists, searches and counts them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::image::{Image, read_manifest};
use super::repositories::Repositories;
use hod_engine::endpoint::Result;
use hod_oci::{Digest, RepositoryName, Tag, is_companion_tag};

/// With more tags than this, the page reads no manifests for its list: that would take seconds.
const COUNTED: usize = 500;
/// The most images without a tag that are listed for a repository.
const UNTAGGED: usize = 100;

/// The search of a client.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    /// Words that the name, tag or group must have.
    pub(super) words: String,
    /// The group of the list.
    pub(super) group: Option<String>,
}

/// The repositories that match a search.
pub(super) struct Catalog {
    pub(super) rows: Vec<Row>,
    /// The groups of all images.
    pub(super) groups: BTreeSet<String>,
    /// All repositories and tags, also those that do not match.
    pub(super) repositories: usize,
    pub(super) tags: usize,
    /// Tags of signatures and other attachments, which are not images.
    pub(super) attachments: usize,
}

/// A repository with its tags that match, newest version first.
pub(super) struct Row {
    pub(super) name: RepositoryName,
    pub(super) tags: Vec<Tag>,
    pub(super) groups: BTreeSet<String>,
}

/// The sizes of everything, for a server that has not too many tags.
pub(super) struct Usage {
    /// The bytes of all images, each blob once.
    pub(super) bytes: u64,
    /// The bytes of each repository, each blob once.
    pub(super) by_repository: BTreeMap<RepositoryName, u64>,
    /// The blobs that more than one image needs.
    shared: BTreeSet<Digest>,
}

impl Search {
    fn matches(&self, words: &[String], name: &RepositoryName, tag: Option<&Tag>, group: Option<&str>) -> bool {
        if self.group.as_deref().is_some_and(|wanted| group != Some(wanted)) {
            return false;
        }
        let text = format!("{name}:{} {}", tag.map_or("", Tag::as_str), group.unwrap_or_default());
        let text = text.to_lowercase();
        words.iter().all(|word| text.contains(word))
    }
}

impl Catalog {
    /// Lists what matches a search. It reads names and tags only, no manifests.
    pub(super) fn of(repositories: &dyn Repositories, search: &Search) -> Result<Self> {
        let words: Vec<String> = search.words.split_whitespace().map(str::to_lowercase).collect();
        let mut catalog = Self { rows: Vec::new(), groups: BTreeSet::new(), repositories: 0, tags: 0, attachments: 0 };
        let mut names = repositories.names()?;
        names.sort();
        for name in names {
            let all = repositories.tags(&name)?.unwrap_or_default();
            let (companions, mut tags): (Vec<Tag>, Vec<Tag>) = all.into_iter().partition(is_companion_tag);
            let is_bare = tags.is_empty();
            if is_bare && companions.is_empty() && repositories.manifests(&name)?.is_empty() {
                continue;
            }
            catalog.repositories += 1;
            catalog.tags += tags.len();
            catalog.attachments += companions.len();
            let mut groups = BTreeSet::new();
            tags.retain(|tag| {
                let group = repositories.group(&name, tag);
                let is_wanted = search.matches(&words, &name, Some(tag), group);
                catalog.groups.extend(group.map(str::to_owned));
                groups.extend(group.filter(|_| is_wanted).map(str::to_owned));
                is_wanted
            });
            if !tags.is_empty() || is_bare && search.matches(&words, &name, None, None) {
                tags.sort_by(|one, other| newest_first(one.as_str(), other.as_str()));
                catalog.rows.push(Row { name, tags, groups });
            }
        }
        Ok(catalog)
    }
}

impl Usage {
    /// Counts the bytes of all images with a tag; `None` if there are too many. Images that cannot be read are left out.
    pub(super) fn of(repositories: &dyn Repositories) -> Result<Option<Self>> {
        let mut tags_of = Vec::new();
        let mut count = 0;
        for name in repositories.names()? {
            let tags: Vec<Tag> = repositories.tags(&name)?.unwrap_or_default();
            let tags: Vec<Tag> = tags.into_iter().filter(|tag| !is_companion_tag(tag)).collect();
            count += tags.len();
            tags_of.push((name, tags));
            if count.max(tags_of.len()) > COUNTED {
                return Ok(None);
            }
        }
        let mut uses: BTreeMap<Digest, (u64, usize)> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut by_repository = BTreeMap::new();
        for (name, tags) in tags_of {
            let mut own: BTreeMap<Digest, u64> = BTreeMap::new();
            let mut read = BTreeSet::new();
            for tag in tags {
                let digest = repositories.tag(&name, &tag).ok().flatten();
                let Some(digest) = digest.filter(|digest| read.insert(*digest)) else { continue };
                let Some(image) = Image::read(repositories, &name, digest) else { continue };
                // The same image in two repositories is one.
                let count = usize::from(seen.insert(digest));
                for (blob, size) in &image.blobs {
                    uses.entry(*blob).or_insert((*size, 0)).1 += count;
                }
                own.extend(image.blobs);
            }
            by_repository.insert(name, own.values().sum());
        }
        let bytes = uses.values().map(|(size, _)| *size).sum();
        let shared = uses.into_iter().filter(|(_, (_, count))| *count > 1).map(|(digest, _)| digest).collect();
        Ok(Some(Self { bytes, by_repository, shared }))
    }

    /// The bytes of an image that other images need, too.
    pub(super) fn shared(&self, image: &Image) -> u64 {
        image.blobs.iter().filter(|(digest, _)| self.shared.contains(digest)).map(|(_, size)| *size).sum()
    }
}

/// The images of a repository that have no tag and belong to no other image.
pub(super) fn untagged(repositories: &dyn Repositories, name: &RepositoryName) -> Result<Vec<Digest>> {
    let all = repositories.manifests(name)?;
    let mut below = BTreeSet::new();
    let mut roots = Vec::new();
    for digest in all.into_iter().take(UNTAGGED * 10) {
        let Some((_, manifest)) = read_manifest(repositories, name, &digest) else { continue };
        below.extend(manifest.children().iter().map(|child| child.digest));
        if manifest.subject.is_none() {
            roots.push(digest);
        }
    }
    roots.retain(|digest| !below.contains(digest));
    roots.sort();
    roots.truncate(UNTAGGED);
    Ok(roots)
}

/// The tags of a repository by their digests, to read each image once.
#[derive(Default)]
pub(super) struct Images(HashMap<Digest, Option<Image>>);

impl Images {
    /// The image of a digest; `None` if it cannot be read.
    pub(super) fn read(
        &mut self,
        repositories: &dyn Repositories,
        name: &RepositoryName,
        digest: Digest,
    ) -> Option<&Image> {
        self.0.entry(digest).or_insert_with(|| Image::read(repositories, name, digest)).as_ref()
    }
}

/// Orders tags: words such as `latest` first, then versions, the highest first.
pub(super) fn newest_first(one: &str, other: &str) -> Ordering {
    let starts_with_digit = |text: &str| text.trim_start_matches('v').starts_with(|first: char| first.is_ascii_digit());
    starts_with_digit(one).cmp(&starts_with_digit(other)).then_with(|| {
        let order = parts(one).cmp(parts(other)).then_with(|| one.cmp(other));
        if starts_with_digit(one) { order.reverse() } else { order }
    })
}

/// The numbers of a text by their value, and what is between them.
fn parts(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.trim_start_matches('v');
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest.find(|letter: char| letter.is_ascii_digit() != first.is_ascii_digit()).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        let digits = part.trim_start_matches('0');
        // Of two numbers the one with more digits is larger.
        Some(if first.is_ascii_digit() { (digits.len() + 1, digits) } else { (0, part) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_versions_are_first() {
        let mut tags = ["1.9", "1.10", "v2.0", "latest", "1.10.1", "edge", "1.2", "09"];
        tags.sort_by(|one, other| newest_first(one, other));
        assert_eq!(tags, ["edge", "latest", "09", "v2.0", "1.10.1", "1.10", "1.9", "1.2"]);
    }
}
