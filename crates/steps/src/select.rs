//! Selects images of a store or bundle by a list, and their platforms.

use hod_image::contents::{ContentsError, ContentsReader, Holdings, StoredImage};
use hod_image::list::{ImageList, Line, StoredName};
use hod_image::merge::{NameRegister, NameTaken, merged};
use hod_image::resolve::ResolveOptions;
use hod_oci::{AbsentPlatforms, Digest, Graph, NameError, NotPulledError, narrowed};

/// A line for which there is no image, or not enough of one.
#[derive(Debug)]
pub struct UnmatchedLine<E: std::error::Error + 'static> {
    /// The line.
    pub line: Line,
    /// The reason.
    pub error: SelectError<E>,
}

/// The errors of a line that the held content cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum SelectError<E: std::error::Error + 'static> {
    /// It has no valid name.
    #[error("the image has no valid name")]
    Name(#[from] NameError),
    /// Another line has taken its name for something else.
    #[error(transparent)]
    Taken(#[from] NameTaken),
    /// It is not there, or cannot be read.
    #[error(transparent)]
    Contents(#[from] ContentsError<E>),
    /// The index does not have a platform.
    #[error("cannot select the requested platforms")]
    Platform(#[from] AbsentPlatforms),
    /// It has less than that.
    #[error(transparent)]
    NotPulled(#[from] NotPulledError),
}

/// Finds the image of every line; lines that mean one image come to one. All lines that have none are reported
/// together.
pub fn select<H: Holdings>(
    holdings: &H,
    list: ImageList,
    options: &ResolveOptions,
) -> Result<Vec<StoredImage>, Vec<UnmatchedLine<H::Error>>> {
    let mut reader = ContentsReader::new(holdings);
    let (mut images, mut unmatched, mut taken) = (Vec::new(), Vec::new(), NameRegister::default());
    for line in list.lines {
        let found = find(&mut reader, &line, options).and_then(|held| {
            taken.claim(&held.name, &held.graph.root.descriptor.digest, &line)?;
            Ok(held)
        });
        match found {
            Ok(held) => images.push(held),
            Err(error) => unmatched.push(UnmatchedLine { line, error }),
        }
    }
    if unmatched.is_empty() { Ok(merged(images)) } else { Err(unmatched) }
}

/// The image under the first of several names that there is; without any, the first is what is missing.
fn first_of<H: Holdings>(
    reader: &mut ContentsReader<'_, H>,
    names: &[StoredName],
    digest: Option<&Digest>,
) -> Result<StoredImage, ContentsError<H::Error>> {
    let mut missing = None;
    for name in names {
        match reader.image(name, digest) {
            Err(error @ ContentsError::Unknown(_)) => missing = missing.or(Some(error)),
            found => return found,
        }
    }
    Err(missing.unwrap_or_else(|| ContentsError::Unknown(String::new())))
}

fn find<H: Holdings>(
    reader: &mut ContentsReader<'_, H>,
    line: &Line,
    options: &ResolveOptions,
) -> Result<StoredImage, SelectError<H::Error>> {
    let qualified = options.from.qualify(&line.reference)?;
    let mut held = first_of(reader, &options.candidates(line)?, line.reference.digest.as_ref())?;
    let wanted = match (&line.platforms, options.platforms_asked) {
        (Some(platforms), _) => Some(platforms),
        (None, true) => Some(&options.platforms),
        (None, false) => None,
    };
    if let Some(platforms) = wanted {
        let (root, offer) = narrowed(held.graph.root, platforms)?;
        if root.manifest.media_type.is_index() {
            platforms.check(&offer)?;
        }
        held.graph = Graph { root };
    }
    held.pinned = line.reference.digest.is_some();
    held.referrers.clone_from(&line.referrers);
    held.group.clone_from(&line.group);
    // Where it was on the machine of whoever pulled it says nothing to anybody else.
    held.source = line.place.is_none().then(|| qualified.to_string().into());
    Ok(held)
}
