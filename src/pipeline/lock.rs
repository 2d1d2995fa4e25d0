//! The lock: a list in which every image is pinned to what it was.
//!
//! It is a valid list itself, so everything that takes a list takes a lock. A line says all that
//! decides what is stored: where from, which digest, which platforms, under which name.

use std::fmt::Write as _;

use super::resolve::{Failed, Resolved};
use crate::oci::Platforms;

/// The text of a lock, in the order of the images.
pub fn lock_text(images: &[Resolved]) -> String {
    let mut text = String::from("# Pinned by hod: pulling this list again gives the same content.\n");
    let mut group = None;
    for image in images {
        open_group(&mut text, &mut group, image.line.group.as_deref());
        // Of an image that is not an index there is nothing to choose, whatever platforms a later run asks for.
        let chosen = if image.graph.root.descriptor.media_type.is_index() {
            &image.platforms
        } else {
            image.line.platforms.as_ref().unwrap_or(&Platforms::All)
        };
        let _ = writeln!(text, "{} platform={chosen} as={}", image.source_name, image.name);
    }
    text
}

/// The lines that failed, as a list to try again, each with its reason as a comment.
pub fn failed_text(failed: &[Failed]) -> String {
    let mut text = String::new();
    let mut group = None;
    for Failed { line, error } in failed {
        open_group(&mut text, &mut group, line.group.as_deref());
        let _ = writeln!(text, "# {}: {}", line.origin, one_line(error));
        let _ = writeln!(text, "{}", line.text);
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
