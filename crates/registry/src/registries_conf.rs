//! `registries.conf`: mirrors and rewritten names of registries (containers-registries.conf(5)).
//!
//! Version 2 of the format is read: `[[registry]]` tables, merged with the drop-in files by their prefix, and
//! `credential-helpers`, of which the last file's count. What short names stand for is not hod's business, so that part of the file is left alone. Nothing here asks a registry.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The paths of the configuration.
#[derive(Debug, Clone, Default)]
pub struct RegistriesConfSources {
    /// The one file to read, which must exist (`--registries-conf`, `CONTAINERS_REGISTRIES_CONF`).
    pub file: Option<PathBuf>,
    /// The one folder of drop-in files to read, which must exist (`--registries-conf-dir`).
    pub folder: Option<PathBuf>,
    /// The files of which the first that exists is read where none is named.
    pub files: Vec<PathBuf>,
    /// The folders whose `*.conf` add to it where none is named, later ones over earlier ones.
    pub folders: Vec<PathBuf>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesConfError {
    /// A file or folder that cannot be read.
    #[error("cannot read the configuration of registries")]
    Read(#[source] io::Error),
    /// Text that is no TOML, or not what the format wants.
    #[error("{path}, line {line}: {problem}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The problem.
        problem: String,
    },
    /// The first version of the format.
    #[error("{0} has [registries.…] tables, which is version 1 of the format: write [[registry]] tables, version 2")]
    Version1(PathBuf),
    /// A registry that makes no sense.
    #[error("{path}: {registry}: {problem}")]
    Registry {
        /// The file.
        path: PathBuf,
        /// Its prefix or location, or its number.
        registry: String,
        /// The problem.
        problem: String,
    },
}

/// For which references a mirror is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Pull {
    /// All.
    #[default]
    All,
    /// Those with a digest.
    DigestOnly,
    /// Those without.
    TagOnly,
}

/// The places from which a repository can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// What stands in the name in place of the prefix; empty leaves it as it is.
    pub(super) place: String,
    pub(super) insecure: bool,
    pub(super) pull: Pull,
}

/// What holds for the names that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) prefix: String,
    pub(super) blocked: bool,
    pub(super) own: Location,
    /// In the order in which they are asked.
    pub(super) mirrors: Vec<Location>,
    /// The file that says so.
    pub(super) path: PathBuf,
}

/// All that is configured.
#[derive(Debug, Clone, Default)]
pub(super) struct RegistriesConf {
    /// By prefix.
    entries: BTreeMap<String, Entry>,
    /// Who is asked for credentials.
    helpers: Option<Helpers>,
}

/// Who is asked for credentials, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Helpers {
    /// The file that says so.
    pub(super) path: PathBuf,
    /// Names of credential helpers, and [`Helpers::FILES`].
    pub(super) names: Vec<String>,
}

impl Helpers {
    /// What stands for the files with credentials.
    pub(super) const FILES: &'static str = "containers-auth.json";
}

impl RegistriesConf {
    /// Reads the configuration. Without any file, nothing is configured.
    pub(super) fn read(sources: &RegistriesConfSources) -> Result<Self, RegistriesConfError> {
        let mut conf = Self::default();
        match &sources.file {
            Some(file) => conf.add(file, &read(file)?)?,
            None => {
                for file in &sources.files {
                    if let Some(text) = optional(read(file))? {
                        conf.add(file, &text)?;
                        break;
                    }
                }
            }
        }
        let drop_ins = match (&sources.folder, &sources.file) {
            (Some(folder), _) => files_of(folder)?,
            // Who names a file means that file.
            (None, Some(_)) => Vec::new(),
            (None, None) => {
                let found: Result<Vec<_>, _> =
                    sources.folders.iter().map(|folder| optional(files_of(folder))).collect();
                found?.into_iter().flatten().flatten().collect()
            }
        };
        for file in drop_ins {
            conf.add(&file, &read(&file)?)?;
        }
        Ok(conf)
    }

    /// Adds what a file says; it wins over what was there for the same prefix.
    fn add(&mut self, path: &Path, text: &str) -> Result<(), RegistriesConfError> {
        tracing::debug!(path = %path.display(), "configuration of registries");
        let written: Written = toml::from_str(text).map_err(|error| syntax(path, text, &error))?;
        if written.registries.is_some() {
            return Err(RegistriesConfError::Version1(path.to_owned()));
        }
        for (number, registry) in written.registry.into_iter().enumerate() {
            let entry = registry.entry(path, number + 1)?;
            self.entries.insert(entry.prefix.clone(), entry);
        }
        if !written.credential_helpers.is_empty() {
            self.helpers = Some(Helpers { path: path.to_owned(), names: written.credential_helpers });
        }
        Ok(())
    }

    /// Who is asked for credentials, where that is configured.
    pub(super) const fn helpers(&self) -> Option<&Helpers> {
        self.helpers.as_ref()
    }

    /// What is configured for a name such as `quay.io/coreos/etcd`, and how many bytes of the name its prefix stands for.
    ///
    /// The longest match counts, and of two of the same length the one without a wildcard.
    pub(super) fn find(&self, name: &str) -> Option<(&Entry, usize)> {
        let matches = self.entries.values().filter_map(|entry| Some((entry, matched(&entry.prefix, name)?)));
        matches.max_by_key(|(entry, length)| (*length, !entry.prefix.starts_with('*'), entry.prefix.len()))
    }
}

/// How many bytes at the start of a name a prefix stands for; `*.example.com` stands for every host below that domain.
fn matched(prefix: &str, name: &str) -> Option<usize> {
    let length = match prefix.strip_prefix('*') {
        Some(domain) => {
            let start = name
                .find(domain)
                .filter(|start| *start > 0 && !name.get(..*start).is_some_and(|it| it.contains('/')))?;
            start + domain.len()
        }
        None => name.starts_with(prefix).then_some(prefix.len())?,
    };
    let rest = name.get(length..)?;
    (rest.is_empty() || rest.starts_with([':', '/', '@'])).then_some(length)
}

/// A file, as it is written.
#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    registry: Vec<WrittenRegistry>,
    #[serde(default, rename = "credential-helpers")]
    credential_helpers: Vec<String>,
    /// Where version 1 keeps everything.
    registries: Option<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WrittenRegistry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<WrittenMirror>,
    #[serde(flatten)]
    unknown: toml::Table,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WrittenMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<Pull>,
    #[serde(flatten)]
    unknown: toml::Table,
}

impl WrittenRegistry {
    fn entry(self, path: &Path, number: usize) -> Result<Entry, RegistriesConfError> {
        let called = [&self.prefix, &self.location].into_iter().find(|name| !name.is_empty());
        let registry = called.map_or_else(|| format!("registry {number}"), |name| format!("registry {name:?}"));
        let refuse = |problem: String| RegistriesConfError::Registry {
            path: path.to_owned(),
            registry: registry.clone(),
            problem,
        };
        let (own, prefix) = (location(&self.location).map_err(refuse)?, location(&self.prefix).map_err(refuse)?);
        let prefix = if prefix.is_empty() { own.clone() } else { prefix };
        if prefix.is_empty() {
            return Err(refuse("it has neither prefix nor location".to_owned()));
        }
        if own.is_empty() && !prefix.starts_with("*.") {
            return Err(refuse("it has no location, which only a prefix such as *.example.com may omit".to_owned()));
        }
        if prefix.trim_start_matches("*.").contains('*') || own.contains('*') {
            return Err(refuse("a wildcard is allowed only for the hosts of a domain, as in *.example.com".to_owned()));
        }
        warn(path, &registry, &self.unknown);
        let digests = self.mirror_by_digest_only;
        let mirrors = self.mirror.into_iter().map(|mirror| {
            warn(path, &registry, &mirror.unknown);
            let place = location(&mirror.location).map_err(refuse)?;
            match mirror.pull_from_mirror {
                _ if place.is_empty() => Err(refuse("a mirror of it has no location".to_owned())),
                Some(_) if digests => Err(refuse(format!(
                    "mirror-by-digest-only and the pull-from-mirror of {place:?} exclude each other"
                ))),
                pull => Ok(Location {
                    place,
                    insecure: mirror.insecure,
                    pull: if digests { Pull::DigestOnly } else { pull.unwrap_or_default() },
                }),
            }
        });
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        let own = Location { place: own, insecure: self.insecure, pull: Pull::All };
        Ok(Entry { prefix, blocked: self.blocked, own, mirrors, path: path.to_owned() })
    }
}

/// A location or prefix without the slashes at its end.
fn location(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(_) => Err(format!("{text:?} has a URL scheme: write the host alone, and insecure = true for plain HTTP")),
        None => Ok(text.trim_end_matches('/').to_owned()),
    }
}

/// A misspelt setting would do nothing, and nobody would know.
fn warn(path: &Path, registry: &str, unknown: &toml::Table) {
    for key in unknown.keys() {
        let path = path.display();
        tracing::warn!("{path}: {registry} has the unknown setting {key:?}, which is ignored");
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> RegistriesConfError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    RegistriesConfError::Syntax { path: path.to_owned(), line, problem: error.message().to_owned() }
}

fn read(path: &Path) -> Result<String, RegistriesConfError> {
    hod_io::fs::read_config(path).map_err(RegistriesConfError::Read)
}

/// The drop-in files of a folder, in the order of their names.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, RegistriesConfError> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(RegistriesConfError::Read)? {
        let path = entry.map_err(RegistriesConfError::Read)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `None` for what is not there.
fn optional<T>(found: Result<T, RegistriesConfError>) -> Result<Option<T>, RegistriesConfError> {
    match found {
        Err(RegistriesConfError::Read(error))
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> Result<RegistriesConf, String> {
        let mut conf = RegistriesConf::default();
        conf.add(Path::new("f.conf"), text).map_err(|error| error.to_string())?;
        Ok(conf)
    }

    fn found<'a>(conf: &'a RegistriesConf, name: &str) -> Option<(&'a str, usize)> {
        conf.find(name).map(|(entry, length)| (entry.prefix.as_str(), length))
    }

    #[test]
    fn the_longest_prefix_counts() {
        let prefixes = ["docker.io", "docker.io/library", "docker.io/library/web", "a.example.com"];
        let text = prefixes.map(|prefix| format!("[[registry]]\nlocation = \"{prefix}/\"\n")).concat();
        let conf =
            conf(&(text + "[[registry]]\nprefix = \"*.example.com\"\n[[registry]]\nprefix = \"*.b.example.com\"\n"))
                .unwrap();
        for (name, prefix) in [
            ("docker.io/library/web", Some("docker.io/library/web")),
            ("docker.io/library/web/x", Some("docker.io/library/web")),
            ("docker.io/library/webs", Some("docker.io/library")),
            ("docker.io/other", Some("docker.io")),
            ("docker.io.evil/other", None),
            ("a.example.com/x", Some("a.example.com")),
            ("b.example.com/x", Some("*.example.com")),
            ("c.b.example.com:5000/x", Some("*.b.example.com")),
            ("example.com/x", None),
            ("quay.io/a.example.com", None),
            ("x.example.com.evil/x", None),
        ] {
            assert_eq!(found(&conf, name).map(|found| found.0), prefix, "{name}");
        }
        assert_eq!(found(&conf, "b.example.com/x"), Some(("*.example.com", "b.example.com".len())));
    }

    #[test]
    fn mirrors_keep_their_order_and_their_rules() {
        let conf = conf(
            "unqualified-search-registries = [\"x\"]\nshort-name-mode = \"enforcing\"\n[aliases]\n\"a\" = \"b/c\"\n\
             [[registry]]\nlocation = \"r\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"m1/p/\"\npull-from-mirror = \"tag-only\"\n\
             [[registry.mirror]]\nlocation = \"m2\"\ninsecure = true\n\
             [[registry]]\nlocation = \"s\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"m3\"\n",
        )
        .unwrap();
        let (entry, _) = conf.find("r/x").unwrap();
        assert!(entry.own.insecure && !entry.blocked);
        let shown: Vec<_> = entry.mirrors.iter().map(|it| (it.place.as_str(), it.insecure, it.pull)).collect();
        assert_eq!(shown, [("m1/p", false, Pull::TagOnly), ("m2", true, Pull::All)]);
        assert_eq!(conf.find("s").unwrap().0.mirrors.first().unwrap().pull, Pull::DigestOnly);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (text, says) in [
            ("[registries.search]\nregistries = []\n", "version 1 of the format"),
            ("[[registry]]\nlocation = 1\n", "f.conf, line 2: "),
            ("[[registry]]\nlocation = \"https://r\"\n", "has a URL scheme"),
            ("[[registry]]\nblocked = true\n", "registry 1: it has neither"),
            ("[[registry]]\nprefix = \"r\"\n", "has no location"),
            ("[[registry]]\nprefix = \"r.*.x\"\nlocation = \"a\"\n", "a wildcard is allowed only for"),
            (
                "[[registry]]\nlocation = \"r\"\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"never\"\n",
                "line 5",
            ),
            (
                "[[registry]]\nlocation = \"r\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"all\"\n",
                "exclude each other",
            ),
        ] {
            let error = conf(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn later_files_win_by_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs_err::create_dir(at("d")).unwrap();
        let write = |name: &str, prefix: &str, location: &str| {
            fs_err::write(at(name), format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"\n"))
                .unwrap();
        };
        write("main", "a", "main");
        write("second", "a", "second");
        write("d/1.conf", "b", "one");
        write("d/2.conf", "b", "two");
        write("d/3.txt", "b", "three");
        let location = |sources: &RegistriesConfSources, name: &str| {
            let conf = RegistriesConf::read(sources).unwrap();
            conf.find(name).map(|(entry, _)| entry.own.place.clone())
        };
        let files = vec![at("absent"), at("main"), at("second")];
        let found = RegistriesConfSources { files, folders: vec![at("nowhere"), at("d")], ..Default::default() };
        assert_eq!((location(&found, "a"), location(&found, "b")), (Some("main".into()), Some("two".into())));
        let named = RegistriesConfSources { file: Some(at("second")), ..found.clone() };
        assert_eq!((location(&named, "a"), location(&named, "b")), (Some("second".into()), None));
        let both = RegistriesConfSources { folder: Some(at("d")), ..named };
        assert_eq!((location(&both, "a"), location(&both, "b")), (Some("second".into()), Some("two".into())));
        for absent in [
            RegistriesConfSources { file: Some(at("absent")), ..Default::default() },
            RegistriesConfSources { folder: Some(at("absent")), ..Default::default() },
        ] {
            assert!(matches!(RegistriesConf::read(&absent), Err(RegistriesConfError::Read(_))));
        }
    }
}
