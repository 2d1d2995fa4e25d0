//! The choice of `--on-existing-tag`: overwrite, skip or fail.

/// The action for an existing tag that points to another image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnExistingTag {
    /// Move the tag to the new image
    Overwrite,
    /// Keep the existing tag
    Skip,
    /// Fail before anything is written
    Error,
}
