//! Finds the image directories below a directory: every directory with a `manifest.json`.
//!
//! Nothing is looked for within an image directory. An image is called by its path below the folder, or by the name
//! of the folder where that is an image itself.

use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::NamedLocation;
use hod_transport::Location;

/// A folder whose images cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The system said no; the message names the path.
    #[error("cannot search for images in {path}")]
    Read {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A path that cannot be part of a name.
    #[error("{0} is not a valid name of an image: it is not UTF-8")]
    Name(PathBuf),
}

/// The images of a folder, in the order of their names.
pub fn images(folder: &Path) -> Result<Vec<NamedLocation>, DirectoryError> {
    let mut found = Vec::new();
    let mut walk = WalkDir::new(folder).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry =
            entry.map_err(|error| DirectoryError::Read { path: folder.to_owned(), source: io::Error::from(error) })?;
        if !entry.file_type().is_dir() || !entry.path().join("manifest.json").is_file() {
            continue;
        }
        walk.skip_current_dir();
        let path = entry.path();
        let below = path.strip_prefix(folder).unwrap_or(path);
        let name = if below.as_os_str().is_empty() { path.file_name().map_or(path, Path::new) } else { below };
        let name = name.to_str().ok_or_else(|| DirectoryError::Name(path.to_owned()))?;
        found.push(NamedLocation { location: Location::Dir(path.to_owned()), name: name.to_owned() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        images(folder).unwrap().into_iter().map(|image| image.name).collect()
    }

    #[test]
    fn finds_images_at_any_depth_and_none_within_images() {
        let folder = tempfile::tempdir().unwrap();
        for image in ["b:1", "a/host:5000/x:2", "a/host:5000/x:2/inner", "c"] {
            fs::create_dir_all(folder.path().join(image)).unwrap();
        }
        assert!(names(folder.path()).is_empty());
        for image in ["b:1", "a/host:5000/x:2", "a/host:5000/x:2/inner"] {
            fs::write(folder.path().join(image).join("manifest.json"), "{}").unwrap();
        }
        assert_eq!(names(folder.path()), ["a/host:5000/x:2", "b:1"]);
        assert_eq!(names(&folder.path().join("b:1")), ["b:1"]);
        assert_eq!(names(&folder.path().join("b:1/")), ["b:1"]);
        assert!(matches!(images(&folder.path().join("nowhere")), Err(DirectoryError::Read { .. })));
    }
}
