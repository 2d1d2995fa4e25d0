//! One rule: a source, which may be many images, and its destinations.
//!
//! ```text
//! source       REPOSITORY                 all tags
//!              REPOSITORY:TAG[,TAG…]      these
//!              REPOSITORY@DIGEST          this
//!              REPOSITORY:/EXPRESSION/    tags with a match anywhere
//! destination  REPOSITORY                 the same tags
//!              REPOSITORY:TAG[,TAG…]      one for each image, in their order
//!              REPOSITORY@DIGEST          the digest of the source
//! ```
//!
//! Names without a host are Docker Hub's.

use std::fmt;

use regex::Regex;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::super::source::TagChoice;
use super::expand::{UnsetError, Variables, expand};
use hod_oci::{DOCKER_IO, NameError, Reference, ReferenceError, Tag, Version};

/// What goes where.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The source as it is written.
    pub source: String,
    /// The repository at the source, without tag and digest.
    pub repository: Reference,
    /// Which of its images.
    pub choice: TagChoice,
    /// Where they go.
    pub destinations: Vec<RuleDestination>,
}

/// Where the images of a rule go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleDestination {
    /// As it is written, with variables replaced.
    pub text: String,
    /// The repository, without tag and digest.
    pub repository: Reference,
    /// What its images are to be called, where that is not what they are called at the source.
    pub versions: Option<Vec<Version>>,
}

/// A rule that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{rule}")]
pub struct RuleError {
    /// The source as it is written.
    pub rule: String,
    /// The problem.
    #[source]
    pub problem: RuleProblem,
}

/// What can be wrong with a rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleProblem {
    /// A name.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A name on Docker Hub, or a tag.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A regular expression.
    #[error("the regular expression is invalid")]
    Regex(#[from] regex::Error),
    /// More than one, or one that no tag can match.
    #[error("one regular expression between two slashes is allowed, and no slash within it")]
    Slash,
    /// A regular expression where names must be.
    #[error("a destination cannot have a regular expression: {0}")]
    Pattern(String),
    /// Nowhere to go.
    #[error("it has no destination")]
    NoDestination,
    /// Numbers that do not fit.
    #[error("it has {}, but {destination} names {names}", hod_engine::count(*images, "image"))]
    Count {
        /// How many images the source names.
        images: usize,
        /// The destination.
        destination: String,
        /// The number of its names.
        names: usize,
    },
    /// A variable.
    #[error(transparent)]
    Unset(#[from] UnsetError),
}

impl Rule {
    pub(super) fn parse(
        source: &str,
        destinations: RawDestinations,
        variables: &Variables<'_>,
    ) -> Result<Self, RuleProblem> {
        let (repository, choice) = split(source)?;
        let mut found: Vec<RuleDestination> = Vec::new();
        for text in destinations.0 {
            let text = expand(text.trim(), variables)?;
            if text.is_empty() {
                return Err(RuleProblem::NoDestination);
            }
            let (repository, own) = split(&text)?;
            let versions = match own {
                TagChoice::All => None,
                TagChoice::These(versions) => Some(versions),
                TagChoice::Matching(_) | TagChoice::Satisfying(_) => return Err(RuleProblem::Pattern(text)),
            };
            if let (TagChoice::These(images), Some(names)) = (&choice, &versions)
                && images.len() != names.len()
            {
                return Err(RuleProblem::Count { images: images.len(), destination: text, names: names.len() });
            }
            let destination = RuleDestination { text, repository, versions };
            if !found.contains(&destination) {
                found.push(destination);
            }
        }
        if found.is_empty() {
            return Err(RuleProblem::NoDestination);
        }
        Ok(Self { source: source.to_owned(), repository, choice, destinations: found })
    }
}

/// The repository and what stands behind it.
fn split(text: &str) -> Result<(Reference, TagChoice), RuleProblem> {
    let text = text.trim();
    // A port is never followed by a slash alone.
    if let Some((repository, expression)) = text.split_once(":/") {
        let expression = expression.strip_suffix('/').ok_or(RuleProblem::Slash)?;
        if expression.is_empty() || expression.contains('/') {
            return Err(RuleProblem::Slash);
        }
        return Ok((bare(&repository.parse()?)?, TagChoice::Matching(Regex::new(expression)?)));
    }
    let name = text.rfind('/').map_or(0, |slash| slash + 1);
    let colon = text.get(name..).and_then(|last| last.find(':')).map(|colon| name + colon);
    if let Some(colon) = colon.filter(|_| !text.contains('@')) {
        let repository: Reference = text.get(..colon).unwrap_or_default().parse()?;
        let tags = text.get(colon + 1..).unwrap_or_default().split(',');
        let versions = tags.map(|tag| tag.trim().parse().map(Version::Tag)).collect::<Result<_, _>>()?;
        return Ok((bare(&repository)?, TagChoice::These(versions)));
    }
    let reference: Reference = text.parse()?;
    let choice = reference.digest.map_or(TagChoice::All, |digest| TagChoice::These(vec![Version::Digest(digest)]));
    Ok((bare(&reference)?, choice))
}

/// The repository alone, with its registry.
fn bare(reference: &Reference) -> Result<Reference, NameError> {
    Ok(Reference { tag: None, digest: None, ..reference.qualified(DOCKER_IO)? })
}

/// The image of a repository.
pub(super) fn with_version(repository: &Reference, version: Version) -> Reference {
    let (tag, digest): (Option<Tag>, _) = match version {
        Version::Tag(tag) => (Some(tag), None),
        Version::Digest(digest) => (None, Some(digest)),
    };
    Reference { tag, digest, ..repository.clone() }
}

/// Destinations as the file has them: one text, or a list.
#[derive(Default)]
pub(super) struct RawDestinations(Vec<String>);

impl<'de> Deserialize<'de> for RawDestinations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = RawDestinations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a destination, or a list of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawDestinations, E> {
                Ok(RawDestinations(vec![text.to_owned()]))
            }

            fn visit_unit<E>(self) -> Result<RawDestinations, E> {
                Ok(RawDestinations::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawDestinations, A::Error> {
                let mut found = Vec::new();
                while let Some(text) = list.next_element()? {
                    found.push(text);
                }
                Ok(RawDestinations(found))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parsed(source: &str, destinations: &[&str]) -> Result<Rule, String> {
        let raw = RawDestinations(destinations.iter().map(ToString::to_string).collect());
        Rule::parse(source, raw, &|_: &str| None).map_err(|error| error.to_string())
    }

    fn shown(choice: &TagChoice) -> String {
        match choice {
            TagChoice::These(versions) => versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            TagChoice::Matching(expression) => format!("/{expression}/"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn all_forms_of_sources() {
        for (text, repository, choice) in [
            ("alpine", "docker.io/library/alpine", "All".to_owned()),
            ("h:5000/a/b", "h:5000/a/b", "All".to_owned()),
            ("h:5000/a/b:v1,v2 , v3", "h:5000/a/b", "v1 v2 v3".to_owned()),
            (&format!("quay.io/a@{DIGEST}"), "quay.io/a", DIGEST.to_owned()),
            ("h:5000/a:/^v1\\.[0-9,:]+$/", "h:5000/a", "/^v1\\.[0-9,:]+$/".to_owned()),
        ] {
            let rule = parsed(text, &["b.io/x"]).unwrap();
            assert_eq!((rule.repository.to_string(), shown(&rule.choice)), (repository.to_owned(), choice), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (source, destinations, says) in [
            ("a.io/x", &[][..], "no destination"),
            ("a.io/x", &[" "], "no destination"),
            ("a.io/X", &["b.io/x"], "upper-case"),
            ("a.io/x:1,2", &["b.io/x:1"], "has 2 images, but b.io/x:1 names 1"),
            ("a.io/x:1,,2", &["b.io/x"], "is not a tag"),
            ("a.io/x:/a/,/b/", &["b.io/x"], "one regular expression"),
            ("a.io/x:/a", &["b.io/x"], "one regular expression"),
            ("a.io/x:/(/", &["b.io/x"], "the regular expression is invalid"),
            ("a.io/x", &["b.io/x:/a/"], "cannot have a regular expression"),
            ("a.io/x", &["b.io/$SITE"], "SITE is not set"),
            ("docker://a.io/x", &["b.io/x"], "regular expression"),
        ] {
            let error = parsed(source, destinations).unwrap_err();
            assert!(error.contains(says), "{source}: {error}");
        }
        assert_eq!(parsed("a.io/x", &["b.io/x", "b.io/x"]).unwrap().destinations.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_the_parser_panic(text in "[a-z0-9:/@,.$A-Z*\\[\\]()é]{0,40}") {
            let _ = parsed(&text, &[&text]);
        }
    }
}
