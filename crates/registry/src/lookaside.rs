//! The lookasides of signatures: `registries.d` (containers-registries.d(5)).
//!
//! A lookaside is a folder, here or on a web server, with `REPOSITORY@ALGORITHM=HEX/signature-N` for each manifest. It
//! is asked without credentials, and what comes from it is worth nothing until somebody has verified it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use super::kept::WrittenFolders;
use hod_oci::RepositoryName;
use hod_trust::policy::docker_scopes;

/// The paths of `registries.d`.
#[derive(Debug, Clone, Default)]
pub struct LookasideSources {
    /// The one folder to read, which must exist (`--registries.d`).
    pub folder: Option<PathBuf>,
    /// The folders of which the first that exists is read where none is named.
    pub folders: Vec<PathBuf>,
    /// Where signatures lie of which the files say nothing.
    pub default: Option<PathBuf>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LookasideError {
    /// A file or folder that cannot be read.
    #[error("cannot read the configuration of signature lookasides")]
    Read(#[source] io::Error),
    /// A signature that cannot be written or removed.
    #[error("cannot change the signatures")]
    Write(#[source] io::Error),
    /// Text that is no YAML, or not what the format wants.
    #[error("{path} is not a valid configuration of signature lookasides: {problem}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The same twice.
    #[error("{path} configures the signatures of {name} again")]
    Twice {
        /// The file.
        path: PathBuf,
        /// The scope.
        name: String,
    },
    /// An address that leads nowhere.
    #[error(
        "{path}: {url:?} is not a valid place for signatures: write file:///DIR, https://HOST/PATH or http://HOST/PATH"
    )]
    Url {
        /// The file.
        path: PathBuf,
        /// The address.
        url: String,
    },
}

/// All that is configured.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookaside {
    default: Bases,
    /// By scope, from a whole host down to a tag.
    docker: BTreeMap<String, Bases>,
    /// Where signatures lie of which nothing is configured.
    usual: Option<Url>,
    /// What was written by this configuration.
    pub(super) kept: WrittenFolders,
}

/// The folders of one scope.
#[derive(Debug, Clone, Default)]
struct Bases {
    /// `lookaside`, in older files `sigstore`.
    read: Option<Url>,
    /// `lookaside-staging` or `sigstore-staging`; without it, the same.
    written: Option<Url>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    default_docker: Option<Places>,
    #[serde(default)]
    docker: BTreeMap<String, Places>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Places {
    lookaside: Option<String>,
    /// The old name.
    sigstore: Option<String>,
    lookaside_staging: Option<String>,
    /// The old name.
    sigstore_staging: Option<String>,
    /// These are content of the registry, and travel as such.
    #[serde(rename = "use-sigstore-attachments")]
    _use_sigstore_attachments: Option<bool>,
}

impl Lookaside {
    /// Reads the configuration.
    pub(super) fn read(sources: &LookasideSources) -> Result<Self, LookasideError> {
        let mut found = Self::default();
        let mut has_default = false;
        for path in files(sources)? {
            let text = hod_io::fs::read_config(&path).map_err(LookasideError::Read)?;
            let written: Written = serde_saphyr::from_str(&text)
                .map_err(|error| LookasideError::Syntax { path: path.clone(), problem: error.to_string() })?;
            if let Some(places) = written.default_docker {
                let name = "all registries".to_owned();
                if std::mem::replace(&mut has_default, true) {
                    return Err(LookasideError::Twice { path, name });
                }
                found.default = places.bases(&path)?;
            }
            for (name, places) in written.docker {
                let bases = places.bases(&path)?;
                if found.docker.insert(name.clone(), bases).is_some() {
                    return Err(LookasideError::Twice { path, name });
                }
            }
        }
        found.usual = sources.default.as_deref().and_then(|path| Url::from_directory_path(path).ok());
        Ok(found)
    }

    /// The folder where a repository's signatures are read.
    pub(super) fn base(&self, host: &str, name: &RepositoryName) -> Option<Url> {
        self.find(host, name, |bases| bases.read.as_ref()).or_else(|| self.usual.clone())
    }

    /// The folder where they are written, if one is configured.
    pub(super) fn staging(&self, host: &str, name: &RepositoryName) -> Option<Url> {
        self.find(host, name, |bases| bases.written.as_ref().or(bases.read.as_ref()))
    }

    /// The same from the narrowest scope that has one.
    fn find(&self, host: &str, name: &RepositoryName, of: impl Fn(&Bases) -> Option<&Url>) -> Option<Url> {
        let scopes = docker_scopes(host, name, &[]);
        let narrowest = scopes.iter().filter_map(|scope| self.docker.get(scope)).find_map(&of);
        narrowest.or_else(|| of(&self.default)).cloned()
    }
}

impl Places {
    fn bases(&self, path: &Path) -> Result<Bases, LookasideError> {
        let url = |new: &Option<String>, old: &Option<String>| {
            new.as_ref().or(old.as_ref()).map(|text| address(path, text)).transpose()
        };
        Ok(Bases {
            read: url(&self.lookaside, &self.sigstore)?,
            written: url(&self.lookaside_staging, &self.sigstore_staging)?,
        })
    }
}

fn address(path: &Path, text: &str) -> Result<Url, LookasideError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(url) if url.scheme() == "file" && url.to_file_path().is_ok() => Ok(url),
        _ => Err(LookasideError::Url { path: path.to_owned(), url: text.to_owned() }),
    }
}

fn files(sources: &LookasideSources) -> Result<Vec<PathBuf>, LookasideError> {
    let list = |folder: &Path| {
        let entries = fs_err::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        Ok(files)
    };
    if let Some(folder) = &sources.folder {
        return list(folder).map_err(LookasideError::Read);
    }
    match sources.folders.iter().find(|folder| folder.is_dir()) {
        Some(folder) => list(folder).map_err(LookasideError::Read),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(files: &[(&str, &str)]) -> Result<Lookaside, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs_err::write(folder.path().join(name), text).unwrap();
        }
        let sources = LookasideSources { folder: Some(folder.path().to_owned()), ..LookasideSources::default() };
        Lookaside::read(&sources).map_err(|error| error.to_string())
    }

    #[test]
    fn the_narrowest_scope_counts() {
        let found = read_all(&[
            ("a.yaml", "default-docker:\n  lookaside: file:///default\n  lookaside-staging: file:///staging\n"),
            ("b.yaml", "docker:\n  r.example:\n    sigstore: https://s.example/r/\n  r.example/team/app:\n    lookaside: http://s.example/app\n  s.example:\n    sigstore-staging: file:///only-staging\n  \"*.wild.example\":\n    lookaside: file:///wild\n"),
            ("c.txt", "nonsense"),
        ])
        .unwrap();
        let base = |host: &str, name: &str| found.base(host, &name.parse().unwrap()).unwrap().to_string();
        assert_eq!(base("r.example", "team/app"), "http://s.example/app");
        assert_eq!(base("r.example", "team/other"), "https://s.example/r/");
        assert_eq!(base("a.wild.example", "x"), "file:///wild");
        assert_eq!(base("docker.io", "library/a"), "file:///default");
        let staging = |host: &str, name: &str| found.staging(host, &name.parse().unwrap()).unwrap().to_string();
        assert_eq!(staging("docker.io", "library/a"), "file:///staging");
        assert_eq!(staging("a.wild.example", "x"), "file:///wild");
        assert_eq!(staging("s.example", "x"), "file:///only-staging");
        assert_eq!(base("s.example", "x"), "file:///default");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let twice = "docker:\n  r.example:\n    lookaside: file:///a\n";
        for (files, says) in [
            (vec![("a.yaml", "docker: [")], "is not a valid configuration of signature lookasides"),
            (vec![("a.yaml", "dockr: {}\n")], "dockr"),
            (vec![("a.yaml", twice), ("b.yaml", twice)], "configures the signatures of r.example again"),
            (vec![("a.yaml", "default-docker:\n  lookaside: ftp://x/y\n")], "is not a valid place for signatures"),
            (vec![("a.yaml", "default-docker:\n  lookaside: /x/y\n")], "is not a valid place for signatures"),
        ] {
            let error = read_all(&files).unwrap_err();
            assert!(error.contains(says), "{files:?}: {error}");
        }
        assert!(read_all(&[]).unwrap().base("r.example", &"a".parse().unwrap()).is_none());
    }

    #[test]
    fn what_is_usual_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let default = Some(folder.path().to_owned());
        let found = Lookaside::read(&LookasideSources { default, ..LookasideSources::default() }).unwrap();
        let name: RepositoryName = "a".parse().unwrap();
        assert!(found.base("r.example", &name).is_some());
        assert!(found.staging("r.example", &name).is_none());
    }
}
