//! The attachments of an image by kind: signatures, attestations, SBOMs and other artifacts.

use std::collections::{BTreeMap, BTreeSet};

use super::image::{Image, State, read_manifest};
use super::referrers::ReferrerCache;
use super::repositories::Repositories;
use hod_engine::endpoint::Result;
use hod_oci::{Digest, Manifest, RepositoryName, cosign_tags};

/// The type of the statement in a layer of an attestation.
const PREDICATE: &str = "in-toto.io/predicate-type";

/// Something that belongs to an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Attachment {
    pub(super) digest: Digest,
    /// Its type, or the tag by which it was found.
    pub(super) kind: String,
}

/// All attachments of an image, by a word for their kind.
pub(super) fn attachments(
    repositories: &dyn Repositories,
    cache: &ReferrerCache,
    name: &RepositoryName,
    image: &Image,
) -> Result<BTreeMap<&'static str, BTreeSet<Attachment>>> {
    let mut found: BTreeMap<&'static str, BTreeSet<Attachment>> = BTreeMap::new();
    let mut add = |digest, kind: String| {
        found.entry(word(&kind)).or_default().insert(Attachment { digest, kind });
    };
    for digest in &image.attestations {
        let kinds = read_manifest(repositories, name, digest).map(|(_, manifest)| statements(&manifest));
        match kinds.unwrap_or_default() {
            kinds if kinds.is_empty() => add(*digest, "attestation".to_owned()),
            kinds => kinds.into_iter().for_each(|kind| add(*digest, kind)),
        }
    }
    let here = image.instances.iter().filter(|instance| instance.state != State::Absent);
    let subjects: BTreeSet<Digest> = here.map(|instance| instance.digest).chain([image.digest]).collect();
    for referrer in cache.of_any(repositories, name, &subjects)? {
        add(referrer.digest, referrer.artifact_type.map_or_else(|| "artifact".to_owned(), Into::into));
    }
    for tag in subjects.iter().flat_map(cosign_tags) {
        if let Ok(Some(digest)) = repositories.tag(name, &tag) {
            let ending = tag.as_str().rsplit('.').next().unwrap_or_default();
            let kind = match ending {
                "sig" => "cosign signature",
                "att" => "cosign attestation",
                _ => "cosign SBOM",
            };
            add(digest, kind.to_owned());
        }
    }
    Ok(found)
}

/// The types of the statements of an attestation.
fn statements(manifest: &Manifest) -> Vec<String> {
    let types = manifest.blobs().filter_map(|blob| blob.annotations.get(PREDICATE));
    types.map(ToString::to_string).collect()
}

/// A word for a type: types are many, and most people know only these.
fn word(kind: &str) -> &'static str {
    let kind = kind.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    if has(&["sbom", "spdx", "cyclonedx"]) {
        "SBOM"
    } else if has(&["provenance", "slsa"]) {
        "Provenance"
    } else if has(&["in-toto", "attestation", "intoto"]) {
        "Attestation"
    } else if has(&["signature", "cosign", "sigstore", "notary"]) {
        "Signature"
    } else {
        "Other"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_words() {
        for (kind, expected) in [
            ("application/vnd.dev.cosign.artifact.sig.v1+json", "Signature"),
            ("application/vnd.dev.sigstore.bundle.v0.3+json", "Signature"),
            ("application/vnd.cncf.notary.signature", "Signature"),
            ("cosign SBOM", "SBOM"),
            ("https://spdx.dev/Document", "SBOM"),
            ("application/vnd.cyclonedx+json", "SBOM"),
            ("https://slsa.dev/provenance/v0.2", "Provenance"),
            ("application/vnd.in-toto+json", "Attestation"),
            ("text/x", "Other"),
        ] {
            assert_eq!(word(kind), expected, "{kind}");
        }
    }
}
