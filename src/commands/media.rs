//! Bundles in one file or in volumes, and the prompt for the next medium.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bundle_failure;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::Interruptible;
use hod_bundle::volumes::{Answer, VolumePrompt};
use hod_bundle::{BundleFiles, BundleReader, BundleSigner, Header, OpenBundle, Trust};

/// The file or volumes that a path stands for; `folders` are more places for volumes.
pub(super) fn files(path: &Path, folders: &[PathBuf]) -> Result<BundleFiles, Failure> {
    BundleFiles::find(path, folders).map_err(|error| bundle_failure::of(path, error))
}

/// Opens a bundle for reading in any order, if it is signed as `trust` says; with who signed it.
pub(super) fn open(
    path: &Path,
    folders: &[PathBuf],
    trust: &Trust,
) -> Result<(OpenBundle, Option<BundleSigner>), Failure> {
    files(path, folders)?.open(trust).map_err(|error| bundle_failure::of(path, error))
}

/// The same for who can do without: not of what comes through a pipe, or in volumes of which some are missing.
pub(super) fn open_at_rest(path: &Path, folders: &[PathBuf]) -> Option<OpenBundle> {
    let files = BundleFiles::find(path, folders).ok().filter(|_| path != Path::new("-") && !is_pipe(path))?;
    Some(files.open(&Trust::default()).ok()?.0)
}

/// The header of a bundle; of volumes, those that hold it are enough.
pub(super) fn header(path: &Path, folders: &[PathBuf]) -> Result<Arc<Header>, Failure> {
    let read = |files: BundleFiles| match files {
        BundleFiles::One(_) => Ok(files.open(&Trust::default())?.0.header().clone()),
        BundleFiles::Volumes(_) => Ok(BundleReader::new(files.read(None)?)?.header().clone()),
    };
    read(files(path, folders)?).map_err(|error| bundle_failure::of(path, error))
}

/// Reads a bundle from its beginning, `-` being standard input. On a terminal the user is asked for media.
pub(super) fn read(context: &Context, path: &Path, folders: &[PathBuf]) -> Result<Box<dyn Read + Send>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(Interruptible::stdin(&context.stop)));
    }
    let failed = |error| bundle_failure::of(path, error);
    match files(path, folders)? {
        BundleFiles::One(pipe) if is_pipe(&pipe) => {
            let pipe = fs_err::File::open(pipe).map_err(|error| failed(error.into()))?;
            Ok(Box::new(Interruptible::new(pipe, &context.stop)))
        }
        files => files.read(asker(context, "quits")).map_err(failed),
    }
}

/// Returns true if somebody writes what is read, as slowly as they like.
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    fs_err::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

/// The name that a bundle has as a whole, for what lies beside it.
pub(super) fn whole(path: &Path, folders: &[PathBuf]) -> PathBuf {
    match BundleFiles::find(path, folders) {
        Ok(BundleFiles::Volumes(set)) => {
            set.folders().first().map_or_else(PathBuf::new, |folder| folder.join(set.base()))
        }
        _ => path.to_owned(),
    }
}

/// Asks for a volume that is not there, where there is somebody to ask. `otherwise` says what q does.
pub(super) fn asker(context: &Context, otherwise: &'static str) -> Option<VolumePrompt> {
    let question = context.question()?;
    Some(Box::new(move |wanted| {
        let of = wanted.count.map(|count| format!(" of {count}")).unwrap_or_default();
        let folders: Vec<_> = wanted.folders.iter().map(|folder| folder.display().to_string()).collect();
        let text = format!(
            "Volume {}{of}, {}, is not in {}.\nInsert its medium and press Enter, or type its directory; q {otherwise}: ",
            wanted.number,
            wanted.name,
            folders.join(", "),
        );
        Ok(match question(&text)?.as_deref().map(str::trim) {
            None | Some("q") => Answer::GiveUp,
            Some("") => Answer::Again,
            Some(folder) => Answer::In(folder.into()),
        })
    }))
}
