//! Selects images of a bundle by its header, before any manifest has been read.
//!
//! Whole images are meant, since the header does not say which platform a blob belongs to. What is chosen for good is
//! decided when the manifests are known (`select`); that is never more than this.

use std::collections::{BTreeSet, HashSet};

use hod_bundle::{Header, Image};
use hod_image::list::{ImageList, Line, StoredName};
use hod_image::resolve::ResolveOptions;
use hod_oci::{Digest, Tag, cosign_tags, referrers_tag};

/// The images that a list means, and what belongs to them.
pub(super) fn chosen<'a>(header: &'a Header, list: &ImageList, options: &ResolveOptions) -> Vec<&'a Image> {
    let mut seen: HashSet<*const Image> = HashSet::new();
    let mut found: Vec<&Image> = list.lines.iter().flat_map(|line| named(header, line, options)).collect();
    // Lines may mean the same image.
    found.retain(|image| seen.insert(std::ptr::from_ref(*image)));
    if options.referrers {
        let mut next = 0;
        while let Some(image) = found.get(next).copied() {
            next += 1;
            let tags: HashSet<_> = header
                .contents_of(image)
                .flat_map(|content| {
                    cosign_tags(&content.digest).chain(referrers_tag(&content.digest)).collect::<Vec<Tag>>()
                })
                .collect();
            let belongs =
                |other: &&Image| other.name == image.name && other.tag.as_ref().is_some_and(|it| tags.contains(it));
            found
                .extend(header.images().iter().filter(belongs).filter(|other| seen.insert(std::ptr::from_ref(*other))));
        }
    }
    found
}

/// The images of one line: by name, and one with a digest wherever that is part of something.
fn named<'a>(header: &'a Header, line: &Line, options: &ResolveOptions) -> Vec<&'a Image> {
    // A line without a valid name is reported when images are chosen for good.
    let names = options.candidates(line).unwrap_or_default();
    let images = names.into_iter().map(|StoredName { repository, tag }| {
        let is_meant = |image: &&Image| match &line.reference.digest {
            Some(digest) => header.contents_of(image).any(|content| content.digest == *digest),
            None => image.tag == tag,
        };
        header.images().iter().filter(|image| image.name == repository).filter(is_meant).collect::<Vec<_>>()
    });
    images.into_iter().find(|images| !images.is_empty()).unwrap_or_default()
}

/// Everything that some images consist of.
pub(super) fn contents(header: &Header, images: &[&Image]) -> BTreeSet<Digest> {
    images.iter().flat_map(|image| header.contents_of(image)).map(|content| content.digest).collect()
}
