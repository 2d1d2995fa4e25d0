//! What becomes of a tag that is there.

/// What to do with a tag that exists and points to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnExistingTag {
    /// Move it to the bundle's image.
    Overwrite,
    /// Leave it where it is.
    Skip,
    /// Refuse the bundle before anything is written.
    Error,
}
