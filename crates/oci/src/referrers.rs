//! Lists of referrers: signatures, attestations and SBOMs of an image.
//!
//! There are two ways to find them. A *referrer* is a manifest whose `subject` is the image; registries list
//! them, or clients keep the list in an index under a tag made of the digest (distribution-spec, "Referrers
//! Tag Schema"). cosign's older way are tags made of the digest and an ending.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Algorithm, Descriptor, Digest, Manifest, ManifestError, MediaType, Tag};

/// The endings of cosign's tags: signatures, attestations, bills of materials.
const COSIGN: [&str; 3] = [".sig", ".att", ".sbom"];
/// How many digits of a digest the tag of an index of referrers has at the most.
const DIGITS: usize = 64;

/// The tag of the index of referrers of a manifest, where registries do not list them.
pub fn referrers_tag(subject: &Digest) -> Option<Tag> {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm().name(), hex.get(..DIGITS).unwrap_or(&hex)).parse().ok()
}

/// The tags that cosign gives to what belongs to a manifest.
pub fn cosign_tags(subject: &Digest) -> impl Iterator<Item = Tag> {
    let base = format!("{}-{}", subject.algorithm().name(), subject.hex());
    COSIGN.into_iter().filter_map(move |ending| format!("{base}{ending}").parse().ok())
}

/// Returns true if a tag is one of an index of referrers, by its form.
pub fn is_referrers_tag(tag: &Tag) -> bool {
    let Some((algorithm, hex)) = tag.as_str().split_once('-') else { return false };
    matches!(algorithm, "sha256" | "sha384" | "sha512")
        && hex.len() == DIGITS
        && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest that a tag is made of, where it is of something that belongs to another image: the algorithm's name, and
/// the first hex digits, which for SHA-256 are all.
pub fn companion_of(tag: &Tag) -> Option<(Algorithm, &str)> {
    if !is_companion_tag(tag) {
        return None;
    }
    let (algorithm, rest) = tag.as_str().split_once('-')?;
    Some((Algorithm::from_name(algorithm)?, rest.split('.').next()?))
}

/// Returns true if a tag is of something that belongs to another image, by its form.
pub fn is_companion_tag(tag: &Tag) -> bool {
    let stem = COSIGN.into_iter().find_map(|ending| tag.as_str().strip_suffix(ending));
    stem.map_or_else(|| is_referrers_tag(tag), |stem| stem.parse().is_ok_and(|stem: Tag| is_referrers_tag(&stem)))
}

/// The descriptor of a referrer as it stands in an index: with its kind and its annotations.
pub fn referrer(descriptor: &Descriptor, manifest: &Manifest) -> Descriptor {
    Descriptor {
        artifact_type: kind(manifest),
        annotations: manifest.annotations.clone(),
        ..Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size)
    }
}

/// What a manifest says that it is: the type of the artifact, else that of its configuration.
fn kind(manifest: &Manifest) -> Option<Box<str>> {
    let config = manifest.config().map(|config| config.media_type.as_str().into());
    manifest.artifact_type.clone().filter(|kind| !kind.is_empty()).or(config)
}

/// An index of referrers, to which others can be added and none taken away.
///
/// Its bytes depend on what is in it alone, not on the order in which it was put together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReferrerIndex {
    /// By digest, with everything that was said of them.
    entries: BTreeMap<String, Value>,
    annotations: BTreeMap<String, String>,
}

impl ReferrerIndex {
    /// Reads an index. It may be of Docker's type, as some have written it.
    ///
    /// # Errors
    /// Where the bytes are no index.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest = Manifest::parse(&MediaType::parse(""), bytes)?;
        if !manifest.media_type.is_index() {
            return Err(ManifestError::Missing("manifests"));
        }
        let mut document: Value = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let mut index = Self::default();
        let entries = document.get_mut("manifests").and_then(Value::as_array_mut);
        for entry in entries.ok_or(ManifestError::Missing("manifests"))?.iter_mut().map(Value::take) {
            let digest = entry.get("digest").and_then(Value::as_str).ok_or(ManifestError::Missing("digest"))?;
            index.insert(digest.to_owned(), entry);
        }
        index.annotations =
            manifest.annotations.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Ok(index)
    }

    /// Adds a referrer.
    pub fn add(&mut self, referrer: &Descriptor) {
        self.insert(referrer.digest.to_string(), json!(referrer));
    }

    /// Adds everything that another index has.
    pub fn merge(&mut self, other: Self) {
        for (digest, entry) in other.entries {
            self.insert(digest, entry);
        }
        for (name, value) in other.annotations {
            let mine = self.annotations.entry(name).or_insert_with(|| value.clone());
            *mine = std::mem::take(mine).max(value);
        }
    }

    /// Of two descriptions of the same referrer the longer stays, whichever came first.
    fn insert(&mut self, digest: String, entry: Value) {
        let weight = |entry: &Value| {
            let text = entry.to_string();
            (text.len(), text)
        };
        let kept = self.entries.remove(&digest);
        let entry = match kept {
            Some(kept) if weight(&kept) >= weight(&entry) => kept,
            _ => entry,
        };
        self.entries.insert(digest, entry);
    }

    /// Returns true if it names a referrer.
    pub fn names(&self, referrer: &Digest) -> bool {
        self.entries.contains_key(&referrer.to_string())
    }

    /// Returns true if it names all that another index names.
    pub fn names_all_of(&self, other: &Self) -> bool {
        other.entries.keys().all(|digest| self.entries.contains_key(digest))
    }

    /// Keeps only these.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.entries.retain(|digest, _| wanted(digest));
    }

    /// Returns true if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of the index.
    pub fn to_bytes(&self) -> Bytes {
        let mut document = Map::new();
        document.insert("schemaVersion".to_owned(), json!(2));
        document.insert("mediaType".to_owned(), json!(MediaType::OciIndex));
        document.insert("manifests".to_owned(), self.entries.values().cloned().collect());
        if !self.annotations.is_empty() {
            document.insert("annotations".to_owned(), json!(self.annotations));
        }
        Value::Object(document).to_string().into()
    }
}

/// Something that has the tag of an index of referrers and is none, so that nothing can be merged into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    what: String,
    digest: Digest,
}

impl Foreign {
    /// What it is that the tag stands for; `None` where it is an index.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let what = match Manifest::parse(&MediaType::parse(""), bytes) {
            Ok(manifest) if manifest.media_type.is_index() => {
                ReferrerIndex::parse(bytes).err().map(|_| "an index that cannot be used".to_owned())?
            }
            Ok(manifest) => match kind(&manifest) {
                Some(kind) if !MediaType::parse(&kind).is_image_config() => format!("an artifact of the type {kind}"),
                _ => "an image".to_owned(),
            },
            Err(ManifestError::Schema1) => "an image of Docker's schema 1".to_owned(),
            Err(_) => "something other than a manifest".to_owned(),
        };
        Some(Self { what, digest: Digest::sha256(bytes) })
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.digest)
    }
}

/// Why an index of referrers was not merged into what has its tag.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// What comes is no index.
    #[error("the new manifest is not a list of referrers")]
    Incoming(#[source] ManifestError),
    /// What is there is none, and would lose its tag.
    #[error("the existing manifest is not a list of referrers but {0}")]
    Existing(Foreign),
}

/// What an index becomes when another is merged into it: one of the two where it has everything that
/// the other has, so that bytes stay as they are, else a new one.
///
/// # Errors
/// Where either is no index: an `old` that is something else is not replaced.
pub fn merged(old: Option<&Bytes>, new: &Bytes) -> Result<Bytes, MergeError> {
    let incoming = ReferrerIndex::parse(new).map_err(MergeError::Incoming)?;
    let Some(old) = old else { return Ok(new.clone()) };
    if let Some(foreign) = Foreign::of(old) {
        return Err(MergeError::Existing(foreign));
    }
    let existing = ReferrerIndex::parse(old).map_err(MergeError::Incoming)?;
    let mut union = existing.clone();
    union.merge(incoming.clone());
    Ok(if union == existing {
        old.clone()
    } else if union == incoming {
        new.clone()
    } else {
        union.to_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(text: &str) -> Descriptor {
        Descriptor::of(MediaType::OciManifest, text.as_bytes())
    }

    fn index(names: &[&str]) -> Bytes {
        let mut index = ReferrerIndex::default();
        for name in names {
            index.add(&descriptor(name));
        }
        index.to_bytes()
    }

    #[test]
    fn tags_are_those_of_the_specifications() {
        let digest = Digest::sha256(b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(referrers_tag(&digest).unwrap().as_str(), format!("sha256-{hex}"));
        let cosign: Vec<String> = cosign_tags(&digest).map(|tag| tag.to_string()).collect();
        assert_eq!(cosign, [".sig", ".att", ".sbom"].map(|ending| format!("sha256-{hex}{ending}")));
        let long = Digest::of(Algorithm::Sha512, b"");
        assert_eq!(referrers_tag(&long).unwrap().as_str().len(), "sha512-".len() + 64);
        assert!(is_referrers_tag(&referrers_tag(&long).unwrap()));
        assert!(is_companion_tag(&format!("sha256-{hex}.att").parse().unwrap()));
        for tag in ["latest", "sha256-abc", &format!("md5-{hex}"), &format!("sha256-{hex}.x"), &hex.to_uppercase()] {
            assert!(!is_companion_tag(&tag.parse().unwrap()), "{tag}");
        }
    }

    #[test]
    fn nothing_is_lost_and_bytes_stay_where_they_can() {
        let (a, b, ab) = (index(&["a"]), index(&["b"]), index(&["a", "b"]));
        assert_eq!(merged(None, &a).unwrap(), a.clone());
        assert_eq!(merged(Some(&a), &b).unwrap(), ab.clone());
        assert_eq!(merged(Some(&b), &a).unwrap(), ab.clone());
        assert_eq!(merged(Some(&ab), &a).unwrap(), ab.clone());
        let spaced = Bytes::from(String::from_utf8(a.to_vec()).unwrap().replace(',', ", "));
        assert_eq!(merged(Some(&spaced), &a).unwrap(), spaced.clone());
        assert!(merged(None, &Bytes::from_static(b"{}")).is_err());
    }

    #[test]
    fn what_is_no_index_is_not_replaced_but_named() {
        let manifest = |more: &str| {
            let empty = format!(
                r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":0}}"#,
                Digest::sha256(b"")
            );
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{}"{more},"config":{empty},"layers":[]}}"#,
                MediaType::OciManifest
            )
        };
        let no_digest = format!(r#"{{"schemaVersion":2,"mediaType":"{}"}}"#, MediaType::OciIndex);
        for (bytes, expected) in [
            (manifest(""), "an image"),
            (manifest(r#","artifactType":"x/y""#), "an artifact of the type x/y"),
            (no_digest, "something other than a manifest"),
            ("{}".to_owned(), "something other than a manifest"),
            (r#"{"schemaVersion":1}"#.to_owned(), "an image of Docker's schema 1"),
        ] {
            let error = merged(Some(&bytes.clone().into()), &index(&["a"])).unwrap_err().to_string();
            let digest = Digest::sha256(bytes.as_bytes());
            assert!(error.ends_with(&format!("{expected} ({digest})")), "{error}");
        }
        assert_eq!(Foreign::of(&index(&[])), None);
    }

    #[test]
    fn an_index_of_dockers_type_has_entries_too() {
        let list = |text: &str| {
            let oci = String::from_utf8(index(&[text]).to_vec()).unwrap();
            Bytes::from(oci.replacen(MediaType::OciIndex.as_str(), MediaType::DockerList.as_str(), 1))
        };
        assert_eq!(merged(Some(&list("a")), &index(&["b"])).unwrap(), index(&["a", "b"]));
        assert_eq!(merged(Some(&index(&["b"])), &list("a")).unwrap(), index(&["a", "b"]));
        assert_eq!(merged(None, &list("a")).unwrap(), list("a"));
    }

    #[test]
    fn what_is_not_understood_is_kept() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{}","digest":"{}","size":1,"data":"eA==","x":{{}}}}],"annotations":{{"n":"v"}}}}"#,
            MediaType::OciIndex,
            MediaType::OciManifest,
            descriptor("a").digest
        );
        let union = merged(Some(&text.into()), &index(&["b"])).unwrap();
        let union = String::from_utf8(union.to_vec()).unwrap();
        for kept in [r#""data":"eA==""#, r#""x":{}"#, r#""annotations":{"n":"v"}"#] {
            assert!(union.contains(kept), "{union}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_order_of_merging_does_not_matter(
            mut sets in proptest::collection::vec(proptest::collection::vec("[a-e]", 1..4), 1..5)
        ) {
            let all = |sets: &[Vec<String>]| {
                let mut union = ReferrerIndex::default();
                for set in sets {
                    let names: Vec<&str> = set.iter().map(String::as_str).collect();
                    union.merge(ReferrerIndex::parse(&index(&names)).unwrap());
                }
                union.to_bytes()
            };
            let forward = all(&sets);
            sets.reverse();
            proptest::prop_assert_eq!(forward, all(&sets));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            proptest::prop_assert!(ReferrerIndex::parse(&bytes).is_err());
        }
    }
}
