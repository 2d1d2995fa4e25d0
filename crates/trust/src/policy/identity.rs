//! Matches the name in a signature with the name of an image (containers-policy.json(5), `signedIdentity`).

use serde::Deserialize;

use hod_oci::{DOCKER_IO, Reference};

/// How the name in a signature and that of the image must agree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum IdentityMatch {
    /// Both have the same tag or digest.
    MatchExact {},
    /// The same tag; for an image that is named by digest alone, the same repository.
    MatchRepoDigestOrExact {},
    /// The same repository.
    MatchRepository {},
    /// The signature is for this very name.
    ExactReference {
        /// The name.
        docker_reference: String,
    },
    /// The signature is for this repository.
    ExactRepository {
        /// The repository.
        docker_repository: String,
    },
    /// As [`IdentityMatch::MatchRepoDigestOrExact`], after one prefix was put in place of another.
    RemapIdentity {
        /// The prefix of the image's name.
        prefix: String,
        /// What stands for it in signatures.
        signed_prefix: String,
    },
}

impl Default for IdentityMatch {
    fn default() -> Self {
        Self::MatchRepoDigestOrExact {}
    }
}

impl IdentityMatch {
    /// Whether a signature for `signed` counts for an image. Images of places that have no names are `None`; for them
    /// only a name in the policy itself can fit. An image with both tag and digest goes by its tag: that it has the
    /// digest was seen when it was fetched, and signatures are for one or the other.
    pub fn fits(&self, image: Option<&Reference>, signed: &str) -> bool {
        let Some(signed) = full(signed) else { return false };
        let is_exact = signed.tag.is_some() || signed.digest.is_some();
        let own = image.and_then(|image| full(&image.to_string())).map(by_tag);
        match self {
            Self::MatchExact {} => is_exact && own.is_some_and(|own| own == signed),
            Self::MatchRepoDigestOrExact {} => {
                is_exact && own.is_some_and(|own| repository_digest_or_exact(&own, &signed))
            }
            Self::MatchRepository {} => own.is_some_and(|own| same_repository(&own, &signed)),
            Self::ExactReference { docker_reference } => {
                is_exact && full(docker_reference).is_some_and(|wanted| wanted == signed)
            }
            Self::ExactRepository { docker_repository } => {
                full(docker_repository).is_some_and(|wanted| same_repository(&wanted, &signed))
            }
            Self::RemapIdentity { prefix, signed_prefix } => {
                let Some(own) = own else { return false };
                let remapped = remap(&own, prefix, signed_prefix);
                is_exact && remapped.is_some_and(|own| repository_digest_or_exact(&own, &signed))
            }
        }
    }
}

/// A name with its host; a tag that is not there is not added.
fn full(text: &str) -> Option<Reference> {
    let reference: Reference = text.parse().ok()?;
    let (host, name) = reference.in_registry(DOCKER_IO).ok()?;
    Some(Reference { host: Some(host), name, ..reference })
}

/// The name that is signed in place of an image's tag and digest.
fn by_tag(reference: Reference) -> Reference {
    let digest = if reference.tag.is_some() { None } else { reference.digest };
    Reference { digest, ..reference }
}

/// Puts one prefix in place of another. A prefix is a host, or a host and whole parts of the name; a port, which
/// belongs to the host, and what follows the name are never cut off.
fn remap(own: &Reference, prefix: &str, signed_prefix: &str) -> Option<Reference> {
    let name = Reference { tag: None, digest: None, ..own.clone() }.to_string();
    match name.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        Some(rest) => {
            let remapped = full(&format!("{signed_prefix}{rest}"))?;
            Some(Reference { tag: own.tag.clone(), digest: own.digest, ..remapped })
        }
        None => Some(own.clone()),
    }
}

fn same_repository(one: &Reference, other: &Reference) -> bool {
    (&one.host, &one.name) == (&other.host, &other.name)
}

/// A digest says more than any tag, so a signature for a tag of the repository will do.
fn repository_digest_or_exact(own: &Reference, signed: &Reference) -> bool {
    if own.tag.is_none() && own.digest.is_some() { same_repository(own, signed) } else { own == signed }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn fits(rule: &str, image: &str, signed: &str) -> bool {
        let rule: IdentityMatch = serde_json::from_str(rule).unwrap();
        rule.fits((!image.is_empty()).then(|| image.parse().unwrap()).as_ref(), signed)
    }

    #[test]
    fn rules_are_those_of_the_containers_tools() {
        let at = |name: &str| format!("{name}@{HASH}");
        let locked = at("r.example/a:1");
        let exact = r#"{"type":"matchExact"}"#;
        let either = r#"{"type":"matchRepoDigestOrExact"}"#;
        let repository = r#"{"type":"matchRepository"}"#;
        let one = r#"{"type":"exactReference","dockerReference":"r.example/a:1"}"#;
        let any = r#"{"type":"exactRepository","dockerRepository":"r.example/a"}"#;
        let remap = r#"{"type":"remapIdentity","prefix":"mirror.example/hub","signedPrefix":"docker.io"}"#;
        let whole = r#"{"type":"remapIdentity","prefix":"mirror.example/a","signedPrefix":"r.example/b"}"#;
        let port = r#"{"type":"remapIdentity","prefix":"mirror.example","signedPrefix":"r.example"}"#;
        for (rule, image, signed, fit) in [
            (exact, "r.example/a:1", "r.example/a:1", true),
            (exact, "r.example/a:1", "r.example/a:2", false),
            (exact, &at("r.example/a"), "r.example/a:1", false),
            (exact, "a:1", "docker.io/library/a:1", true),
            (exact, "r.example/a:1", "r.example/a", false),
            (exact, "", "r.example/a:1", false),
            (either, "r.example/a:1", "r.example/a:1", true),
            (either, "r.example/a:1", "r.example/a:2", false),
            (either, &at("r.example/a"), "r.example/a:2", true),
            (either, &at("r.example/a"), "r.example/b:2", false),
            (either, &at("r.example/a"), "r.example/a", false),
            (repository, "r.example/a:1", "r.example/a:2", true),
            (repository, "r.example/a:1", "s.example/a:1", false),
            (one, "", "r.example/a:1", true),
            (one, "r.example/b:2", "r.example/a:1", true),
            (one, "r.example/a:1", "r.example/a:2", false),
            (any, "", "r.example/a:7", true),
            (any, "", "r.example/ab:7", false),
            (remap, "mirror.example/hub/library/a:1", "a:1", true),
            (remap, "mirror.example/hubs/library/a:1", "a:1", false),
            (remap, "docker.io/library/a:1", "a:1", true),
            (remap, &at("mirror.example/hub/library/a:1"), "a:1", true),
            (remap, &at("mirror.example/hub/library/a"), "a:1", true),
            (whole, "mirror.example/a:1", "r.example/b:1", true),
            (whole, "mirror.example/a/c:1", "r.example/b/c:1", true),
            (port, "mirror.example:5000/a:1", "mirror.example:5000/a:1", true),
            (port, "mirror.example:5000/a:1", "r.example:5000/a:1", false),
            (port, "mirror.example/a:1", "r.example/a:1", true),
            (exact, &locked, "r.example/a:1", true),
            (exact, &locked, "r.example/a:2", false),
            (exact, &locked, "r.example/a", false),
            (either, &locked, "r.example/a:1", true),
            (either, &locked, "r.example/a:2", false),
            (repository, &locked, "r.example/a:2", true),
            (one, &locked, "r.example/a:1", true),
            (either, "r.example/a:1", "NOT A NAME", false),
        ] {
            assert_eq!(fits(rule, image, signed), fit, "{rule} {image} {signed}");
        }
    }
}
