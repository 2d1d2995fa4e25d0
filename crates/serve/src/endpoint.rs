//! The endpoints below `/v2/`, by the grammar of their paths.
//!
//! The router cannot tell them apart: a repository's name has any number of parts, and may look like the end of another
//! endpoint. So every path is taken apart by the grammar of names, tags and digests, and what comes out is safe to look
//! up: there is no `..`, no empty part, no encoded slash that could mean another repository to somebody else.

use percent_encoding::percent_decode_str;

use super::answer::Refusal;
use hod_oci::{Digest, RepositoryName, Tag, Version};

/// An endpoint of the API, with its path's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest(RepositoryName, Version),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<session>`
    Upload(RepositoryName, String),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
}

impl Endpoint {
    /// The endpoint that a path below `/v2/` names.
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        let parts = path.split('/').map(decode).collect::<Option<Vec<String>>>();
        let parts = parts.ok_or_else(Refusal::no_such_endpoint)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(match parts.as_slice() {
            ["_catalog"] => Self::Catalog,
            [name @ .., "tags", "list"] => Self::Tags(repository(name)?),
            [name @ .., "manifests", version] => {
                let name = repository(name)?;
                let version = version_of(&name, version)?;
                Self::Manifest(name, version)
            }
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => Self::Uploads(repository(name)?),
            [name @ .., "blobs", "uploads", session] => Self::Upload(repository(name)?, (*session).to_owned()),
            [name @ .., "blobs", digest] => Self::Blob(repository(name)?, digest_of(digest)?),
            [name @ .., "referrers", digest] => Self::Referrers(repository(name)?, digest_of(digest)?),
            _ => return Err(Refusal::no_such_endpoint()),
        })
    }

    /// The methods that the endpoint has.
    pub(super) const fn methods(&self) -> &'static str {
        match self {
            Self::Catalog | Self::Tags(_) | Self::Referrers(..) => "GET, HEAD",
            Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Blob(..) => "GET, HEAD, DELETE",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "GET, PATCH, PUT, DELETE",
        }
    }
}

/// A part of a path as text; none if it is no UTF-8 or would be several parts.
fn decode(part: &str) -> Option<String> {
    let part = percent_decode_str(part).decode_utf8().ok()?;
    (!part.contains('/')).then(|| part.into_owned())
}

fn repository(parts: &[&str]) -> Result<RepositoryName, Refusal> {
    parts.join("/").parse().map_err(Refusal::name_invalid)
}

fn digest_of(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(Refusal::digest_invalid)
}

/// A tag that breaks the grammar is one that cannot exist: the specification's tests expect 404.
fn version_of(name: &RepositoryName, text: &str) -> Result<Version, Refusal> {
    if text.contains(':') {
        return digest_of(text).map(Version::Digest);
    }
    let tag: Tag = text.parse().map_err(|_| Refusal::manifest_unknown(name, format!("{text:?}")))?;
    Ok(Version::Tag(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn knows_the_endpoints() {
        let digest: Digest = DIGEST.parse().unwrap();
        let tag = |text: &str| Version::Tag(text.parse().unwrap());
        for (path, endpoint) in [
            ("_catalog", Endpoint::Catalog),
            ("a/b/c/tags/list", Endpoint::Tags(name("a/b/c"))),
            ("a/manifests/3.14", Endpoint::Manifest(name("a"), tag("3.14"))),
            ("a/manifests/list", Endpoint::Manifest(name("a"), tag("list"))),
            ("tags/list/tags/list", Endpoint::Tags(name("tags/list"))),
            ("manifests/manifests/manifests", Endpoint::Manifest(name("manifests"), tag("manifests"))),
            (&format!("a/manifests/{DIGEST}"), Endpoint::Manifest(name("a"), Version::Digest(digest))),
            (
                &format!("a/manifests/{}", DIGEST.replace(':', "%3A")),
                Endpoint::Manifest(name("a"), Version::Digest(digest)),
            ),
            (&format!("a/blobs/{DIGEST}"), Endpoint::Blob(name("a"), digest)),
            ("a/blobs/uploads", Endpoint::Uploads(name("a"))),
            ("a/blobs/uploads/", Endpoint::Uploads(name("a"))),
            ("a/blobs/uploads/x-1", Endpoint::Upload(name("a"), "x-1".into())),
            (&format!("a/referrers/{DIGEST}"), Endpoint::Referrers(name("a"), digest)),
        ] {
            assert_eq!(Endpoint::parse(path).unwrap(), endpoint, "{path}");
        }
    }

    #[test]
    fn nothing_else_is_an_endpoint() {
        for path in [
            "",
            "/",
            "a",
            "_catalog/",
            "/manifests/x",
            "a//manifests/x",
            "a/manifests/",
            "a/manifests/x/",
            "../v2/a/manifests/x",
            "a/../../b/manifests/x",
            "%2e%2e/manifests/x",
            "a%2Fb/manifests/x",
            "a/manifests/..",
            "a/manifests/%2e%2e%2fx",
            "a/manifests/x%00",
            "a/manifests/%ff",
            "A/manifests/x",
            "_layers/manifests/x",
            "a/blobs/sha256:abc",
            "a/blobs/..",
            "a/tags",
            "tags/list",
        ] {
            assert!(Endpoint::parse(path).is_err(), "{path} was accepted");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(path in "((a|\\.\\.|%2e|blobs|uploads|tags|list|manifests|referrers|\\PC{0,4}|)/){0,6}") {
            let _ = Endpoint::parse(&path);
        }
    }
}
