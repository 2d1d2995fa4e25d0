//! Names in a registry: repositories and tags, by the grammar of distribution.
//!
//! Both become directories of a registry root, so a name that exists cannot hold `..`, cannot
//! start with `_`, and cannot be absolute: what passes here is safe to join to a path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest repository name, in bytes (distribution/reference, `NameTotalLengthMax`).
const NAME_LIMIT: usize = 255;
/// The longest tag, in bytes.
const TAG_LIMIT: usize = 128;

/// The path of a repository within a registry, such as `library/alpine`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Box<str>);

/// A tag, such as `3.14`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

/// A text that is no name or no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing where a repository name should be.
    #[error("the repository name is empty")]
    Empty,
    /// A letter that names must not have.
    #[error("repository name {0:?} has upper-case letters: registries accept lower case only")]
    UpperCase(String),
    /// A path component that breaks the grammar.
    #[error(
        "{component:?} in repository name {name:?} is not allowed: use a-z and 0-9, with single '.', '_', '__' or dashes between them"
    )]
    Component {
        /// The whole name.
        name: String,
        /// The part at fault.
        component: String,
    },
    /// The name is longer than registries take.
    #[error("repository name has {0} characters: registries accept at most {NAME_LIMIT}")]
    Long(usize),
    /// A tag that breaks the grammar.
    #[error(
        "{0:?} is not a tag: use up to {TAG_LIMIT} of A-Z, a-z, 0-9, '_', '.' and '-', not starting with '.' or '-'"
    )]
    Tag(String),
}

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a repository below another name, as in `PREFIX/alpine`.
    pub fn below(&self, prefix: &Self) -> Result<Self, NameError> {
        format!("{prefix}/{self}").parse()
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_LIMIT {
            return Err(NameError::Long(text.len()));
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NameError::UpperCase(text.to_owned()));
        }
        match text.split('/').find(|component| !is_component(component.as_bytes())) {
            None => Ok(Self(text.into())),
            Some(component) => Err(NameError::Component { name: text.to_owned(), component: component.to_owned() }),
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &[u8]) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !component.first().is_some_and(alphanumeric) || !component.last().is_some_and(alphanumeric) {
        return false;
    }
    component
        .split(alphanumeric)
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-'))
}

impl Tag {
    /// The tag of a reference that names neither tag nor digest.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let rest = |byte: u8| first(byte) || byte == b'.' || byte == b'-';
        let fits = (1..=TAG_LIMIT).contains(&text.len());
        if fits && text.bytes().next().is_some_and(first) && text.bytes().all(rest) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Tag(text.to_owned()))
        }
    }
}

macro_rules! text_like {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_like!(RepositoryName);
text_like!(Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_grammar_of_distribution() {
        for name in ["alpine", "library/alpine", "a/b/c/d", "a.b/c_d/e__f/g--h", "0", "127.0.0.1-5000/x"] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn refuses_what_would_break_a_root_or_its_gc() {
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "min/a@sha256",
            "..",
            "a/../b",
            "_layers",
            "a/_manifests",
            "a._b",
            "a___b",
            "-a",
            "a-",
            "a b",
            "ä",
            "a:b",
            "a\0",
        ] {
            assert!(name.parse::<RepositoryName>().is_err(), "{name:?} was accepted");
        }
        assert!("a".repeat(256).parse::<RepositoryName>().is_err());
    }

    #[test]
    fn tags() {
        for tag in ["latest", "3.14", "_x", "V1-rc.2", &"a".repeat(128)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag:?} was refused");
        }
        for tag in ["", ".", "..", "-a", ".a", "a/b", "a:b", "a\n", "ä", &"a".repeat(129)] {
            assert!(tag.parse::<Tag>().is_err(), "{tag:?} was accepted");
        }
    }
}
