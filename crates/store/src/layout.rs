//! Every path of a registry root, in one table.
//!
//! ```text
//! docker/registry/v2/
//! ├── blobs/<algorithm>/<first two hex digits>/<hex>/data            bytes of a blob or manifest
//! └── repositories/<name>/
//!     ├── _layers/<algorithm>/<hex>/link                            configs and layers of the repository
//!     └── _manifests/
//!         ├── revisions/<algorithm>/<hex>/link                      manifests, child manifests too
//!         └── tags/<tag>/
//!             ├── current/link                                      what the tag points to now
//!             └── index/<algorithm>/<hex>/link                      what it has pointed to
//! ```
//!
//! A `link` holds the digest as text, without a newline: a registry answers anything else with a
//! server error, and its garbage collection stops. Paths are made and read here and nowhere else,
//! for stores and for bundles; what [`Entry::parse`] does not know does not belong in a root.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use hod_oci::{Algorithm, Digest, RepositoryName, Tag};

/// The folder below a root that a registry owns.
pub const REGISTRY: &str = "docker/registry/v2";
/// The blobs of all repositories.
pub const BLOBS: &str = "docker/registry/v2/blobs";
/// The repositories.
pub const REPOSITORIES: &str = "docker/registry/v2/repositories";
/// How much is read of a link: more than any digest has as text.
pub(crate) const LINK_LIMIT: u64 = 256;

/// A file or folder of a registry root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// The bytes of some content.
    Data(Digest),
    /// The folder for layer links, which every repository must have.
    Layers(RepositoryName),
    /// The folder for revision links, which every repository must have.
    Revisions(RepositoryName),
    /// The folder for tags, which every repository must have.
    Tags(RepositoryName),
    /// That a repository has a config or layer.
    Layer(RepositoryName, Digest),
    /// That a repository has a manifest.
    Revision(RepositoryName, Digest),
    /// That a tag has pointed to a manifest.
    TagIndex(RepositoryName, Tag, Digest),
    /// What a tag points to. The file's content alone says what that is.
    TagCurrent(RepositoryName, Tag),
}

/// The links of one repository: what of the shared blobs belongs to it, and under which names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// The repository.
    pub name: RepositoryName,
    /// Its configs and layers.
    pub layers: Vec<Digest>,
    /// Its manifests, with children and indexes.
    pub revisions: Vec<Digest>,
    /// Its tags.
    pub tags: Vec<TagLink>,
}

/// A tag and the manifest that it points to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagLink {
    /// The tag.
    pub name: Tag,
    /// The root manifest.
    pub digest: Digest,
}

impl Links {
    /// A repository without any.
    pub const fn none(name: RepositoryName) -> Self {
        Self { name, layers: Vec::new(), revisions: Vec::new(), tags: Vec::new() }
    }

    /// The link files in the order in which they must appear, each with the digest that it holds:
    /// layers, revisions (in the order given: children first), tag indexes, current tags.
    pub fn files(&self) -> impl Iterator<Item = (Entry, Digest)> {
        let name = &self.name;
        let indexes =
            self.tags.iter().map(|tag| (Entry::TagIndex(name.clone(), tag.name.clone(), tag.digest), tag.digest));
        let tags = self.tags.iter().map(|tag| (Entry::TagCurrent(name.clone(), tag.name.clone()), tag.digest));
        self.content().chain(indexes).chain(tags)
    }

    /// Those of them that are no tag's.
    pub(super) fn content(&self) -> impl Iterator<Item = (Entry, Digest)> {
        let name = &self.name;
        let layers = self.layers.iter().map(|digest| (Entry::Layer(name.clone(), *digest), *digest));
        layers.chain(self.revisions.iter().map(|digest| (Entry::Revision(name.clone(), *digest), *digest)))
    }

    /// The folders that must be there even when nothing is in them.
    pub fn folders(&self) -> [Entry; 3] {
        [Entry::Layers(self.name.clone()), Entry::Revisions(self.name.clone()), Entry::Tags(self.name.clone())]
    }
}

/// `sha256/<hex>`, as it stands in the path of a link.
struct Split<'a>(&'a Digest);

impl fmt::Display for Split<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.algorithm().name(), self.0.hex())
    }
}

/// The path below the root, with `/` between its parts.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(digest) => {
                let hex = digest.hex();
                let folder = hex.get(..2).unwrap_or_default();
                write!(f, "{BLOBS}/{}/{folder}/{hex}/data", digest.algorithm().name())
            }
            Self::Layers(name) => write!(f, "{REPOSITORIES}/{name}/_layers"),
            Self::Revisions(name) => write!(f, "{REPOSITORIES}/{name}/_manifests/revisions"),
            Self::Tags(name) => write!(f, "{REPOSITORIES}/{name}/_manifests/tags"),
            Self::Layer(name, digest) => write!(f, "{REPOSITORIES}/{name}/_layers/{}/link", Split(digest)),
            Self::Revision(name, digest) => {
                write!(f, "{REPOSITORIES}/{name}/_manifests/revisions/{}/link", Split(digest))
            }
            Self::TagIndex(name, tag, digest) => {
                write!(f, "{REPOSITORIES}/{name}/_manifests/tags/{tag}/index/{}/link", Split(digest))
            }
            Self::TagCurrent(name, tag) => write!(f, "{REPOSITORIES}/{name}/_manifests/tags/{tag}/current/link"),
        }
    }
}

impl Entry {
    /// The path of this entry in the root at `root`.
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(self.to_string())
    }

    /// The directory that a link has for itself, below the root. A tag, which its `current` link names, has one for all
    /// that it has pointed to.
    pub fn directory(&self) -> String {
        let mut path = self.to_string();
        let file = match self {
            Self::Data(_) => "/data",
            Self::TagCurrent(..) => "/current/link",
            Self::Layer(..) | Self::Revision(..) | Self::TagIndex(..) => "/link",
            Self::Layers(_) | Self::Revisions(_) | Self::Tags(_) => "",
        };
        path.truncate(path.len() - file.len());
        path
    }

    /// Whether this is a folder.
    pub const fn is_folder(&self) -> bool {
        matches!(self, Self::Layers(_) | Self::Revisions(_) | Self::Tags(_))
    }

    /// The entry that a path below a root stands for, if it is one that a root may hold.
    ///
    /// Exact: the path that an entry prints is the only one that reads as that entry.
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix(BLOBS) {
            let rest = rest.strip_prefix('/')?.strip_suffix("/data")?;
            let parts: Vec<&str> = rest.split('/').collect();
            let &[algorithm, folder, hex] = parts.as_slice() else { return None };
            let digest = digest(algorithm, hex)?;
            return hex.starts_with(folder).then_some(folder.len() == 2)?.then_some(Self::Data(digest));
        }
        let rest = path.strip_prefix(REPOSITORIES)?.strip_prefix('/')?;
        let parts: Vec<&str> = rest.split('/').collect();
        let reserved = parts.iter().position(|part| part.starts_with('_'))?;
        let name: RepositoryName = parts.get(..reserved)?.join("/").parse().ok()?;
        match *parts.get(reserved..)? {
            ["_layers"] => Some(Self::Layers(name)),
            ["_layers", algorithm, hex, "link"] => Some(Self::Layer(name, digest(algorithm, hex)?)),
            ["_manifests", "revisions"] => Some(Self::Revisions(name)),
            ["_manifests", "revisions", algorithm, hex, "link"] => Some(Self::Revision(name, digest(algorithm, hex)?)),
            ["_manifests", "tags"] => Some(Self::Tags(name)),
            ["_manifests", "tags", tag, "current", "link"] => Some(Self::TagCurrent(name, tag.parse().ok()?)),
            ["_manifests", "tags", tag, "index", algorithm, hex, "link"] => {
                Some(Self::TagIndex(name, tag.parse().ok()?, digest(algorithm, hex)?))
            }
            _ => None,
        }
    }
}

fn digest(algorithm: &str, hex: &str) -> Option<Digest> {
    Digest::from_parts(Algorithm::from_name(algorithm)?, hex).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_paths_are_those_of_distribution() {
        let digest = Digest::sha256(b"");
        let name: RepositoryName = "library/alpine".parse().unwrap();
        let tag: Tag = "3.14".parse().unwrap();
        let repository = "docker/registry/v2/repositories/library/alpine";
        for (entry, path) in [
            (Entry::Data(digest), format!("docker/registry/v2/blobs/sha256/e3/{HEX}/data")),
            (Entry::Layers(name.clone()), format!("{repository}/_layers")),
            (Entry::Revisions(name.clone()), format!("{repository}/_manifests/revisions")),
            (Entry::Tags(name.clone()), format!("{repository}/_manifests/tags")),
            (Entry::Layer(name.clone(), digest), format!("{repository}/_layers/sha256/{HEX}/link")),
            (Entry::Revision(name.clone(), digest), format!("{repository}/_manifests/revisions/sha256/{HEX}/link")),
            (
                Entry::TagIndex(name.clone(), tag.clone(), digest),
                format!("{repository}/_manifests/tags/3.14/index/sha256/{HEX}/link"),
            ),
            (Entry::TagCurrent(name, tag), format!("{repository}/_manifests/tags/3.14/current/link")),
        ] {
            assert_eq!(entry.to_string(), path);
            let own = path.strip_suffix("/current/link").or(path.strip_suffix("/link")).or(path.strip_suffix("/data"));
            assert_eq!(entry.directory(), own.unwrap_or(&path));
            assert_eq!(Entry::parse(&path), Some(entry));
        }
    }

    #[test]
    fn nothing_else_is_an_entry() {
        for path in [
            "",
            "/",
            "docker/registry/v2",
            "docker/registry/v2/repositories/_hod.json",
            &format!("docker/registry/v2/blobs/sha256/e4/{HEX}/data"),
            &format!("docker/registry/v2/blobs/sha256/e/{HEX}/data"),
            &format!("docker/registry/v2/blobs/sha256//{HEX}/data"),
            &format!("docker/registry/v2/blobs/sha256/e3/{HEX}/link"),
            &format!("/docker/registry/v2/blobs/sha256/e3/{HEX}/data"),
            &format!("./docker/registry/v2/blobs/sha256/e3/{HEX}/data"),
            &format!("docker/registry/v2/blobs/sha256/e3/{}/data", HEX.to_uppercase()),
            "docker/registry/v2/repositories/../../x/_layers",
            "docker/registry/v2/repositories/a/../b/_layers",
            "docker/registry/v2/repositories/UPPER/_layers",
            "docker/registry/v2/repositories/_layers",
            "docker/registry/v2/repositories/a/_uploads/x/data",
            "docker/registry/v2/repositories/a/_manifests/tags/../current/link",
            "docker/registry/v2/repositories/a/_layers/",
        ] {
            assert_eq!(Entry::parse(path), None, "{path:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_parses_prints_the_same(
            path in "docker/registry/v2/(blobs|repositories)(/[a-z0-9._-]{1,8}|/_layers|/_manifests|/tags|/current|/link|/sha256){0,7}"
        ) {
            if let Some(entry) = Entry::parse(&path) {
                proptest::prop_assert_eq!(entry.to_string(), path);
            }
        }
    }
}
