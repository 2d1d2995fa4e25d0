//! Reports the tags of commands that bring images into a root.

use crate::args::OnExistingTag;
use crate::context::Context;
use crate::documents::IncomingTag;
use crate::failure::{Failure, Kind};
use crate::report::{ImageResult, UNCHANGED};
use hod_bundle::Header;
use hod_oci::{Digest, is_companion_tag};
use hod_steps::incoming::{ExistingTags, IncomingError, TagChange, Tags};

/// What was typed, for the pipeline.
pub(super) const fn existing(typed: OnExistingTag) -> ExistingTags {
    match typed {
        OnExistingTag::Overwrite => ExistingTags::Overwrite,
        OnExistingTag::Skip => ExistingTags::Skip,
        OnExistingTag::Error => ExistingTags::Refuse,
    }
}

const fn word(change: TagChange) -> &'static str {
    match change {
        TagChange::New => "new",
        TagChange::Same => UNCHANGED,
        TagChange::Moved => "moved",
        TagChange::Skipped => "skipped",
        TagChange::Merged => "merged",
    }
}

/// The tags, and the images that have none. What belongs to an image is for who wants to hear more.
pub(super) fn lines(context: &Context, header: &Header, tags: &Tags) -> String {
    let shown = tags.iter().filter(|(_, tag, ..)| context.is_verbose() || !is_companion_tag(tag));
    let tags = shown.map(|(name, tag, digest, change)| ImageResult {
        name: format!("{name}:{tag}"),
        digest: *digest,
        change: word(*change),
    });
    let untagged = header.images().iter().filter(|image| image.tag.is_none());
    untagged.fold(context.image_lines(tags), |text, image| text + &image.label() + "\n")
}

/// The tags in a JSON document.
pub(super) fn documents(tags: &Tags) -> Vec<IncomingTag> {
    let tag = |(name, tag, digest, change): &(_, _, Digest, _)| IncomingTag {
        change: word(*change),
        digest: (*digest).into(),
        name: format!("{name}:{tag}"),
    };
    tags.iter().map(tag).collect()
}

/// Why a root takes nothing, with what to do about it.
pub(super) fn failure(error: IncomingError) -> Failure {
    match error {
        IncomingError::Tags { ref tags, .. } => {
            let list = tags.join(", ");
            Failure::of(Kind::Failed, error).hint(format!("no tag was written; existing tags: {list}"))
        }
        error => Failure::of(Kind::Failed, error),
    }
}
