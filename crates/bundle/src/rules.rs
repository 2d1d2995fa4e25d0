//! The consistency rules between the parts of a header.
//!
//! Every link leads to content that the bundle holds or says it requires, nothing is carried that no
//! link leads to, and nothing appears twice. A root made from such a header is one that a registry
//! serves and whose garbage collection deletes nothing.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::contents::{FEATURES_LIMIT, PLATFORMS_LIMIT};
use super::delta_base::{DeltaBase, is_day};
use super::{Blob, Content, HeaderError, Image};
use hod_oci::{Digest, Platform, RepositoryName};
use hod_store::Links;

type Result<T, E = HeaderError> = std::result::Result<T, E>;

/// Texts of a header are shown to people; longer ones are not meant for them.
const TEXT_LIMIT: usize = 4096;
/// The most bases that a header names.
const BASES_LIMIT: usize = 1000;

/// Where blobs stand in their list, by digest. A map of digests would take ten times the memory, and a header has tens
/// of thousands of them.
#[derive(Debug, Clone)]
pub(super) struct Positions {
    /// All positions, in the order of the digests there.
    sorted: Box<[usize]>,
}

impl Positions {
    /// Fails where a blob is listed twice.
    pub(super) fn new(blobs: &[Blob]) -> Result<Self> {
        let digest = |position: &usize| blobs.get(*position).map(|blob| blob.digest);
        let mut sorted: Box<[usize]> = (0..blobs.len()).collect();
        sorted.sort_unstable_by_key(digest);
        let mut pairs = sorted.iter().zip(sorted.iter().skip(1)).map(|(one, next)| (digest(one), digest(next)));
        match pairs.find(|(one, next)| one == next) {
            Some((Some(twice), _)) => Err(duplicate("blob", &twice)),
            _ => Ok(Self { sorted }),
        }
    }

    /// The position of a blob in the list that this was made from.
    pub(super) fn find(&self, blobs: &[Blob], digest: &Digest) -> Option<usize> {
        let at = |position: &usize| blobs.get(*position).map(|blob| blob.digest);
        let found = self.sorted.binary_search_by_key(&Some(*digest), at).ok()?;
        self.sorted.get(found).copied()
    }
}

/// Checks the links of all repositories against what is there.
pub(super) fn check(
    (blobs, positions): (&[Blob], &Positions),
    requires: &[Content],
    repositories: &[Links],
) -> Result<()> {
    let elsewhere = unique("required blob", requires.iter().map(|content| content.digest))?;
    if let Some(digest) = elsewhere.iter().find(|digest| positions.find(blobs, digest).is_some()) {
        return Err(duplicate("blob", digest));
    }
    in_order("repository", repositories.iter().map(|links| &links.name))?;
    let mut used = vec![false; blobs.len()];
    let mut unused_elsewhere = elsewhere.clone();
    for links in repositories {
        unique("layer link", links.layers.iter().copied())?;
        let revisions = unique("revision link", links.revisions.iter().copied())?;
        in_order("tag", links.tags.iter().map(|tag| &tag.name))?;
        for digest in links.layers.iter().chain(&links.revisions) {
            if let Some(used) = positions.find(blobs, digest).and_then(|position| used.get_mut(position)) {
                *used = true;
            } else if elsewhere.contains(digest) {
                unused_elsewhere.remove(digest);
            } else {
                return Err(HeaderError::Absent { repository: links.name.clone(), digest: *digest });
            }
        }
        if let Some(tag) = links.tags.iter().find(|tag| !revisions.contains(&tag.digest)) {
            return Err(HeaderError::Image {
                name: format!("{}:{}", links.name, tag.name),
                digest: tag.digest,
                problem: "the repository has no such manifest",
            });
        }
    }
    let unused = blobs.iter().zip(used).filter(|(_, used)| !used).map(|(blob, _)| blob.digest);
    let mut unused = unused.chain(unused_elsewhere);
    unused.next().map_or(Ok(()), |digest| Err(HeaderError::Unused(digest)))
}

/// Checks that images are what the repositories have.
pub(super) fn check_images(images: &[Image], repositories: &[Links]) -> Result<()> {
    let repositories: HashMap<&RepositoryName, (HashSet<&Digest>, &Links)> =
        repositories.iter().map(|links| (&links.name, (links.revisions.iter().collect(), links))).collect();
    let mut seen = HashSet::with_capacity(images.len());
    for image in images {
        let name = image.label();
        let problem = |problem| HeaderError::Image { name: name.clone(), digest: image.digest, problem };
        let Some((revisions, links)) = repositories.get(&image.name) else {
            return Err(problem("the bundle has no such repository"));
        };
        if !revisions.contains(&image.digest) {
            return Err(problem("the repository has no such manifest"));
        }
        if !image.media_type.is_manifest() {
            return Err(problem("its media type is not that of a manifest"));
        }
        if let Some(tag) = &image.tag {
            let linked = links.tags.binary_search_by(|link| link.name.cmp(tag)).ok();
            if linked.and_then(|index| links.tags.get(index)).is_none_or(|link| link.digest != image.digest) {
                return Err(problem("the tag in the repository does not"));
            }
        }
        let is_wide = |platform: &Platform| platform.os_features.len() > FEATURES_LIMIT;
        if image.platforms.len() > PLATFORMS_LIMIT || image.platforms.iter().any(is_wide) {
            return Err(problem("it names too many platforms, or too many features of a platform"));
        }
        if !seen.insert((&image.name, &image.tag, &image.digest)) {
            return Err(duplicate("image", &name));
        }
        check_texts(image)?;
    }
    Ok(())
}

/// Checks the bases of a header. Only a bundle that requires content builds on anything.
pub(super) fn check_bases(bases: &[DeltaBase], requires: &[Content]) -> Result<(), HeaderError> {
    if !bases.is_empty() && requires.is_empty() {
        return Err(HeaderError::Base("the bundle requires no content"));
    }
    if bases.len() > BASES_LIMIT {
        return Err(HeaderError::Base("there are more than 1000 bases"));
    }
    for base in bases {
        if base.name.is_empty() || !is_text(&base.name) {
            return Err(HeaderError::Base("a name is empty, has control characters or is longer than 4096 bytes"));
        }
        if base.date.as_ref().is_some_and(|date| !is_day(date)) {
            return Err(HeaderError::Base("a date does not have the form 2026-12-01"));
        }
    }
    Ok(())
}

/// Returns true if a header may have a text, such as the name of a group.
pub fn is_text(text: &str) -> bool {
    text.len() <= TEXT_LIMIT && !text.chars().any(char::is_control)
}

fn check_texts(image: &Image) -> Result<()> {
    let platforms = image.platforms.iter().flat_map(|platform| {
        let optional = platform.variant.iter().chain(&platform.os_version).chain(&platform.os_features);
        [&platform.os, &platform.architecture].into_iter().chain(optional).map(|text| ("platform", &**text))
    });
    let group = image.group.iter().map(|text| ("group", &**text));
    let source = image.source.iter().map(|text| ("source", &**text));
    for (what, text) in group.chain(source).chain(platforms) {
        if !is_text(text) {
            return Err(HeaderError::Text { what, text: text.chars().take(64).collect() });
        }
    }
    Ok(())
}

fn unique<T: Hash + Eq + ToString + Copy>(what: &'static str, items: impl Iterator<Item = T>) -> Result<HashSet<T>> {
    let mut seen = HashSet::with_capacity(items.size_hint().0);
    for item in items {
        if !seen.insert(item) {
            return Err(duplicate(what, &item));
        }
    }
    Ok(seen)
}

fn in_order<'a, T: Ord + ToString + 'a>(what: &'static str, items: impl Iterator<Item = &'a T>) -> Result<()> {
    let mut last = None;
    for item in items {
        if last.is_some_and(|last| last >= item) {
            return Err(duplicate(what, item));
        }
        last = Some(item);
    }
    Ok(())
}

fn duplicate(what: &'static str, name: &impl ToString) -> HeaderError {
    HeaderError::Duplicate { what, name: name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::delta_base::tests::base;
    use super::*;

    #[test]
    fn invalid_bases_are_refused() {
        let requires = [Content { digest: Digest::sha256(b"a"), size: 1 }];
        assert!(check_bases(&[base("may.tar", Some("2026-05-01"))], &requires).is_ok());
        assert!(check_bases(&[base("may.tar", None)], &[]).is_err());
        for bad in [base("", None), base("a\nb", None), base("a", Some("2026-5-1")), base("a", Some("2026-05-01T"))] {
            assert!(check_bases(&[bad], &requires).is_err());
        }
        assert!(check_bases(&vec![base("a", None); BASES_LIMIT + 1], &requires).is_err());
    }
}
