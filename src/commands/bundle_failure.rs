//! Explains a bundle that cannot be used to the user.

use std::path::Path;

use crate::delta;
use crate::failure::{Failure, Kind};
use crate::report;
use hod_bundle::{BundleError, TrustError, VolumeError};
use hod_image::base::{MissingBase, MissingContent};

/// A failure of a bundle, with its name and the exit code for its kind.
pub(super) fn of(path: &Path, error: BundleError) -> Failure {
    if let BundleError::Volume(error) = &error {
        return of_volume(path, error);
    }
    if let BundleError::Trust(error) = error {
        return of_trust(path, error);
    }
    let name = if path == Path::new("-") { "standard input".into() } else { path.to_string_lossy() };
    let kind = match &error {
        BundleError::Read(_) | BundleError::Write(_) | BundleError::NotABundle(_) | BundleError::ForeignCompression => {
            Kind::Failed
        }
        _ => Kind::Corrupt,
    };
    let failure = Failure::new(kind, format!("cannot use the bundle {name}")).because(error);
    if kind == Kind::Corrupt {
        return failure.hint("the bundle was damaged in transit: copy it again, and check the copy with hod verify");
    }
    failure
}

/// How much of what is missing is named: more of it says no more about the bundle that is wanted.
const NAMED: usize = 10;

/// The failure of a delta whose base is not there: with the base, what to do without hod pack, and what is missing.
pub(super) fn of_base(failure: Failure, lacking: &MissingBase) -> Failure {
    let line = |MissingContent { content, images }: &MissingContent| {
        format!("missing: {} ({}), needed by {}", content.digest, report::bytes(content.size), images.join(", "))
    };
    let failure = failure
        .hint(format!("nothing was written; this bundle is a delta: {}", delta::base_text(&lacking.named)))
        .hint(delta::base_advice(&lacking.named));
    let failure = lacking.contents.iter().take(NAMED).map(line).fold(failure, Failure::hint);
    match lacking.contents.len().saturating_sub(NAMED) {
        0 => failure,
        more => failure.hint(format!("missing: {} more", report::count(more, "content"))),
    }
}

/// The failure that a volume is the cause of, with what to do about it.
fn of_volume(path: &Path, error: &VolumeError) -> Failure {
    let (kind, hint) = match error {
        VolumeError::Missing { .. } => {
            (Kind::Failed, "insert its medium, copy the file there, or name its directory with --from-dir")
        }
        VolumeError::Short { .. } => (Kind::Corrupt, "copy this file again"),
        VolumeError::Long { .. } => (Kind::Corrupt, "copy the volumes of this bundle into a separate directory"),
        VolumeError::SeveralSets { .. } => (Kind::Usage, "name one of them, as in DIR/NAME.tar"),
        VolumeError::Sums { .. } => (Kind::Corrupt, "copy this file again, or delete it: hod does not need it"),
        _ => (Kind::Usage, ""),
    };
    let failure = Failure::new(kind, format!("cannot use the bundle {}", path.display()))
        .because(BundleError::from(error.clone()));
    if hint.is_empty() { failure } else { failure.hint(hint) }
}

/// The failure that a bundle of a stranger is.
fn of_trust(bundle: &Path, error: TrustError) -> Failure {
    let name = if bundle == Path::new("-") { "standard input".into() } else { bundle.to_string_lossy() };
    let hint = match &error {
        TrustError::Unsigned { .. } => "nothing was written; ask for a signed bundle, or accept this one with --no-key",
        TrustError::Unknown { .. } => {
            "nothing was written; if you trust this signer, get the key separately from the bundle and name it with --key"
        }
        _ => "nothing was written; copy the bundle again, and if it still fails, ask the signer",
    };
    Failure::new(Kind::Corrupt, format!("the bundle {name} is refused")).because(error).hint(hint)
}
