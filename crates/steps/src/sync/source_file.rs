//! The YAML file of `--src yaml`: registries and their requested images.
//!
//! ```yaml
//! registry.site:5000:
//!   images:
//!     web: ["1.0", "sha256:…"]        # tags and digests
//!     certs: []                       # all tags
//!   images-by-tag-regex:
//!     base/busybox: ^1\.3[0-9]$       # RE2; matches anywhere unless anchored
//!   images-by-semver:
//!     etcd: ">= 3.5, < 4"
//!   credentials: { username: me, password: secret }
//!   tls-verify: true                  # not set: as the command says
//!   cert-dir: /etc/certs
//! ```
//!
//! The order of the file is kept. An entry that cannot be meant is a problem of its own and hides no other.

use std::fmt;
use std::path::PathBuf;

use regex::Regex;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::constraint::{Constraint, ConstraintError};
use super::document::{Language, SyntaxError, read};
use super::ordered::OrderedMap;
use super::source::TagChoice;
use hod_io::secret::Secret;
use hod_oci::{DOCKER_IO, Digest, NameError, Reference, ReferenceError, Tag, Version};
use hod_registry::{Credentials, HostAccess};

/// What a file asks for.
#[derive(Debug)]
pub struct SourceFile {
    /// The registries, as they are to be dealt with, and what is wanted of each.
    pub registries: Vec<RegistryEntry>,
    /// Entries that cannot be meant.
    pub problems: Vec<EntryError>,
    /// What is there and has no meaning.
    pub warnings: Vec<String>,
}

/// One registry.
#[derive(Debug)]
pub struct RegistryEntry {
    /// What is different about it.
    pub access: HostAccess,
    /// Its repositories, without tags, and which of their images are wanted.
    pub repositories: Vec<(Reference, TagChoice)>,
}

/// An entry that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{entry}")]
pub struct EntryError {
    /// The keys that lead to it.
    pub entry: String,
    /// The problem.
    #[source]
    pub problem: EntryProblem,
}

/// What can be wrong with an entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryProblem {
    /// The repository's name.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The repository's name on Docker Hub.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A repository with a tag or digest.
    #[error("a repository is expected here, without tag and digest")]
    Version,
    /// Something that is neither tag nor digest.
    #[error("{0:?} is neither a tag nor a digest")]
    Neither(String),
    /// A regular expression.
    #[error("the regular expression is invalid")]
    Regex(#[from] regex::Error),
    /// A constraint.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
}

impl SourceFile {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let (document, _) = read::<OrderedMap<Option<Entry>>>(Language::Yaml, text)?;
        let mut file = Self { registries: Vec::new(), problems: Vec::new(), warnings: Vec::new() };
        for (registry, entry) in document.0 {
            file.add(&registry, entry.unwrap_or_default());
        }
        Ok(file)
    }

    fn add(&mut self, registry: &str, entry: Entry) {
        for key in entry.unknown {
            self.warnings.push(format!("{registry}: {key:?} has no effect and is ignored"));
        }
        let images = entry.images.0.into_iter().map(|(name, versions)| {
            let key = format!("{registry}: images: {name}");
            (key, name, these(versions.unwrap_or_default()))
        });
        let matching = entry.by_regex.0.into_iter().map(|(name, text)| {
            let choice = Regex::new(&text).map(TagChoice::Matching).map_err(|error| vec![error.into()]);
            (format!("{registry}: images-by-tag-regex: {name}"), name, choice)
        });
        let satisfying = entry.by_semver.0.into_iter().map(|(name, text)| {
            let choice = text.parse::<Constraint>().map(TagChoice::Satisfying).map_err(|error| vec![error.into()]);
            (format!("{registry}: images-by-semver: {name}"), name, choice)
        });
        let mut repositories = Vec::new();
        let mut named = 0;
        for (entry, name, choice) in images.chain(matching).chain(satisfying) {
            named += 1;
            let (reference, choice) = (repository(registry, &name), choice);
            match (reference, choice) {
                (Ok(reference), Ok(choice)) => repositories.push((reference, choice)),
                (reference, choice) => {
                    let problems = reference.err().into_iter().chain(choice.err().unwrap_or_default());
                    self.problems.extend(problems.map(|problem| EntryError { entry: entry.clone(), problem }));
                }
            }
        }
        if named == 0 {
            self.warnings.push(format!("{registry}: no images are named"));
        }
        let credentials = (!entry.credentials.is_empty()).then(|| entry.credentials.credentials());
        let access = HostAccess { credentials, tls_verify: entry.tls_verify, cert_dir: entry.cert_dir };
        self.registries.push(RegistryEntry { access, repositories });
    }
}

/// A repository below a registry, which may be a registry's namespace.
fn repository(registry: &str, name: &str) -> Result<Reference, EntryProblem> {
    let reference: Reference = format!("{registry}/{name}").parse()?;
    if reference.tag.is_some() || reference.digest.is_some() {
        return Err(EntryProblem::Version);
    }
    Ok(Reference { tag: None, ..reference.qualified(DOCKER_IO)? })
}

/// The tags and digests of a list; an empty one means all tags.
fn these(texts: Vec<String>) -> Result<TagChoice, Vec<EntryProblem>> {
    if texts.is_empty() {
        return Ok(TagChoice::All);
    }
    let (mut versions, mut problems) = (Vec::new(), Vec::new());
    for text in texts {
        match (text.parse::<Tag>(), text.parse::<Digest>()) {
            (Ok(tag), _) => versions.push(Version::Tag(tag)),
            (Err(_), Ok(digest)) => versions.push(Version::Digest(digest)),
            _ => problems.push(EntryProblem::Neither(text)),
        }
    }
    if problems.is_empty() { Ok(TagChoice::These(versions)) } else { Err(problems) }
}

/// A registry as the file has it.
#[derive(Default)]
struct Entry {
    images: OrderedMap<Option<Vec<String>>>,
    by_regex: OrderedMap<String>,
    by_semver: OrderedMap<String>,
    credentials: Login,
    tls_verify: Option<bool>,
    cert_dir: Option<PathBuf>,
    unknown: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

impl Login {
    fn is_empty(&self) -> bool {
        self.username.is_empty() && self.password.is_empty() && self.identitytoken.is_empty()
    }

    fn credentials(self) -> Credentials {
        if self.identitytoken.is_empty() {
            Credentials::Password { username: self.username, password: Secret::new(self.password) }
        } else {
            Credentials::IdentityToken(Secret::new(self.identitytoken))
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a registry with images")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let mut entry = Entry::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "images" => entry.images = map.next_value()?,
                        "images-by-tag-regex" => entry.by_regex = map.next_value()?,
                        "images-by-semver" => entry.by_semver = map.next_value()?,
                        "credentials" => entry.credentials = map.next_value::<Option<Login>>()?.unwrap_or_default(),
                        "tls-verify" => entry.tls_verify = map.next_value()?,
                        "cert-dir" => entry.cert_dir = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            entry.unknown.push(key);
                        }
                    }
                }
                Ok(entry)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn shown(file: &SourceFile) -> Vec<String> {
        let repositories = file.registries.iter().flat_map(|registry| &registry.repositories);
        let choice = |choice: &TagChoice| match choice {
            TagChoice::All => "all".to_owned(),
            TagChoice::These(versions) => versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            TagChoice::Matching(regex) => format!("/{regex}/"),
            TagChoice::Satisfying(_) => "semver".to_owned(),
        };
        repositories.map(|(reference, tags)| format!("{reference} {}", choice(tags))).collect()
    }

    #[test]
    fn the_whole_grammar_in_the_order_of_the_file() {
        let text = format!(
            "registry.example.com:5000:\n  images:\n    zebra: []\n    busybox: [1.10, \"{DIGEST}\", latest]\n    empty:\n  \
             images-by-tag-regex:\n    nginx: ^1\\.13\\.[12]-alpine-perl$\n  images-by-semver:\n    alpine: \">= 3.12.0\"\n  \
             credentials:\n    username: john\n    password: hunter2\n  tls-verify: no\n  cert-dir: /certs\n\
             quay.io:\n  tls-verify: true\n  images:\n    coreos/etcd:\n    - latest\n\
             docker.io:\n  images: {{alpine: [3.20]}}\n"
        );
        let file = SourceFile::parse(&text).unwrap();
        assert_eq!(
            shown(&file),
            [
                "registry.example.com:5000/zebra all".to_owned(),
                format!("registry.example.com:5000/busybox 1.10,{DIGEST},latest"),
                "registry.example.com:5000/empty all".to_owned(),
                "registry.example.com:5000/nginx /^1\\.13\\.[12]-alpine-perl$/".to_owned(),
                "registry.example.com:5000/alpine semver".to_owned(),
                "quay.io/coreos/etcd latest".to_owned(),
                "docker.io/library/alpine 3.20".to_owned(),
            ]
        );
        let access: Vec<_> = file.registries.iter().map(|registry| &registry.access).collect();
        assert_eq!(access[0].credentials, Some(Credentials::from_flag("john:hunter2")));
        assert_eq!((access[0].tls_verify, access[1].tls_verify, access[2].tls_verify), (Some(false), Some(true), None));
        assert_eq!(access[0].cert_dir, Some("/certs".into()));
        assert!(file.problems.is_empty() && file.warnings.is_empty(), "{file:?}");
        assert!(!format!("{file:?}").contains("hunter2"));
    }

    #[test]
    fn every_problem_is_told_with_its_keys() {
        let text = "a.example:\n  images:\n    UPPER: [\"1\"]\n    x: [\"sha256:111111\", \"1\", \"-\"]\n    y:1: []\n  \
                    images-by-tag-regex: {z: \"(\"}\n  images-by-semver: {w: newest}\n  extra: {a: 1}\nb.example:\n";
        let file = SourceFile::parse(text).unwrap();
        let problems: Vec<_> = file.problems.iter().map(|it| format!("{it}: {}", it.problem)).collect();
        let starts = [
            "a.example: images: UPPER: repository name \"UPPER\" has upper-case",
            "a.example: images: x: \"sha256:111111\" is neither a tag nor a digest",
            "a.example: images: x: \"-\" is neither",
            "a.example: images: y:1: a repository is expected here",
            "a.example: images-by-tag-regex: z: the regular expression",
            "a.example: images-by-semver: w: \"newest\" is not a version constraint",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:#?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem}");
        }
        assert_eq!(
            file.warnings,
            ["a.example: \"extra\" has no effect and is ignored", "b.example: no images are named"]
        );
        let error = SourceFile::parse("a.example:\n  images: [x]\n").unwrap_err();
        assert_eq!(error.line, 2, "{error}");
    }
}
