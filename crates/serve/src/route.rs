//! Which endpoint a path names.
//!
//! Every path is taken apart by the grammar of names, tags and digests, so that what comes out is
//! safe to look up: there is no `..`, no empty part, no encoded slash that could mean another
//! repository to somebody else.

use percent_encoding::percent_decode_str;

use super::answer::Refusal;
use hod_oci::{Digest, RepositoryName, Tag, Version};

/// An endpoint of the API, with its path's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`: a page for people.
    Page,
    /// `/metrics`
    Metrics,
    /// `/token`: a token for who may read or write.
    Token,
    /// `/v2/`: whether this is a registry, and whether the client may use it.
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest(RepositoryName, Version),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`, and one upload with its session's name.
    Upload(RepositoryName, Option<String>),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
}

impl Route {
    /// The endpoint that a request's path names.
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        match path {
            "/" => return Ok(Self::Page),
            "/metrics" => return Ok(Self::Metrics),
            "/token" => return Ok(Self::Token),
            _ => {}
        }
        let Some(rest) = path.strip_prefix("/v2") else { return Err(Refusal::no_such_endpoint()) };
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Base);
        }
        let rest = rest.strip_prefix('/').ok_or_else(Refusal::no_such_endpoint)?;
        let parts =
            rest.split('/').map(decode).collect::<Option<Vec<String>>>().ok_or_else(Refusal::no_such_endpoint)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["_catalog"] => Ok(Self::Catalog),
            [name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [name @ .., "manifests", version] => {
                let name = repository(name)?;
                let version = version_of(&name, version)?;
                Ok(Self::Manifest(name, version))
            }
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Self::Upload(repository(name)?, None))
            }
            [name @ .., "blobs", "uploads", session] => {
                Ok(Self::Upload(repository(name)?, Some((*session).to_owned())))
            }
            [name @ .., "blobs", digest] => Ok(Self::Blob(repository(name)?, digest_of(digest)?)),
            [name @ .., "referrers", digest] => Ok(Self::Referrers(repository(name)?, digest_of(digest)?)),
            _ => Err(Refusal::no_such_endpoint()),
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
        for (path, route) in [
            ("/v2", Route::Base),
            ("/v2/", Route::Base),
            ("/v2/_catalog", Route::Catalog),
            ("/v2/a/b/c/tags/list", Route::Tags(name("a/b/c"))),
            ("/v2/a/manifests/3.14", Route::Manifest(name("a"), tag("3.14"))),
            ("/v2/a/manifests/list", Route::Manifest(name("a"), tag("list"))),
            ("/v2/tags/list/tags/list", Route::Tags(name("tags/list"))),
            ("/v2/manifests/manifests/manifests", Route::Manifest(name("manifests"), tag("manifests"))),
            (&format!("/v2/a/manifests/{DIGEST}"), Route::Manifest(name("a"), Version::Digest(digest))),
            (
                &format!("/v2/a/manifests/{}", DIGEST.replace(':', "%3A")),
                Route::Manifest(name("a"), Version::Digest(digest)),
            ),
            (&format!("/v2/a/blobs/{DIGEST}"), Route::Blob(name("a"), digest)),
            ("/v2/a/blobs/uploads", Route::Upload(name("a"), None)),
            ("/v2/a/blobs/uploads/", Route::Upload(name("a"), None)),
            ("/v2/a/blobs/uploads/x-1", Route::Upload(name("a"), Some("x-1".into()))),
            (&format!("/v2/a/referrers/{DIGEST}"), Route::Referrers(name("a"), digest)),
        ] {
            assert_eq!(Route::parse(path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn nothing_else_is_an_endpoint() {
        for path in [
            "",
            "//",
            "//v2/",
            "/v1/",
            "/v2x",
            "/v2//",
            "/v2/a",
            "/v2/_catalog/",
            "/v2//manifests/x",
            "/v2/a//manifests/x",
            "/v2/a/manifests/",
            "/v2/a/manifests/x/",
            "/v2/../v2/a/manifests/x",
            "/v2/a/../../b/manifests/x",
            "/v2/%2e%2e/manifests/x",
            "/v2/a%2Fb/manifests/x",
            "/v2/a/manifests/..",
            "/v2/a/manifests/%2e%2e%2fx",
            "/v2/a/manifests/x%00",
            "/v2/a/manifests/%ff",
            "/v2/A/manifests/x",
            "/v2/_layers/manifests/x",
            "/v2/a/blobs/sha256:abc",
            "/v2/a/blobs/..",
            "/v2/a/tags",
            "/v2/tags/list",
        ] {
            assert!(Route::parse(path).is_err(), "{path} was accepted");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(path in "/v2(/(a|\\.\\.|%2e|blobs|uploads|tags|list|manifests|referrers|\\PC{0,4}|)){0,6}") {
            let _ = Route::parse(&path);
        }
    }
}
