//! Requests, as they are remembered and as faults choose among them.

use hod_oci::Digest;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path, as sent.
    pub path: String,
    /// The query, as sent; empty where there is none.
    pub query: String,
    /// The headers, with `Authorization`.
    pub headers: HeaderMap,
    /// Whether it came to the other host.
    pub on_other_host: bool,
    /// What the path means.
    pub route: Route,
    /// What it was answered, once it was.
    pub status: Option<u16>,
}

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`
    Ping,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags(String),
    /// `/v2/NAME/manifests/TAG-OR-DIGEST`
    Manifest(String, String),
    /// `/v2/NAME/blobs/DIGEST`
    Blob(String, String),
    /// `/v2/NAME/blobs/uploads/ID`, where the id may be empty
    Upload(String, String),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(String, String),
    /// `/token`, on either host
    Token,
    /// `/storage/DIGEST` on the other host
    Storage(String),
    /// Anything else
    Unknown,
}

impl Route {
    fn of(path: &str, on_other_host: bool) -> Self {
        if path == "/token" {
            return Self::Token;
        }
        if on_other_host {
            return path.strip_prefix("/storage/").map_or(Self::Unknown, |digest| Self::Storage(digest.to_owned()));
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return Self::Unknown };
        let split = |separator| {
            rest.rsplit_once(separator).map(|(name, last): (&str, &str)| (name.to_owned(), last.to_owned()))
        };
        match rest {
            "" => Self::Ping,
            "_catalog" => Self::Catalog,
            _ => {
                if let Some((name, id)) = split("/blobs/uploads/") {
                    Self::Upload(name, id)
                } else if let Some((name, digest)) = split("/blobs/") {
                    Self::Blob(name, digest)
                } else if let Some((name, version)) = split("/manifests/") {
                    Self::Manifest(name, version)
                } else if let Some((name, digest)) = split("/referrers/") {
                    Self::Referrers(name, digest)
                } else {
                    rest.strip_suffix("/tags/list").map_or(Self::Unknown, |name| Self::Tags(name.to_owned()))
                }
            }
        }
    }

    /// The repository that the path is in.
    pub fn repository(&self) -> Option<&str> {
        match self {
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(name),
            _ => None,
        }
    }
}

impl Seen {
    pub(super) fn new(head: &Parts, on_other_host: bool) -> Self {
        Self {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
            on_other_host,
            route: Route::of(head.uri.path(), on_other_host),
            status: None,
        }
    }

    /// Whether it wants to change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    /// Whether it asked the registry for the bytes of this blob.
    pub fn is_blob(&self, digest: &Digest) -> bool {
        self.method == Method::GET && matches!(&self.route, Route::Blob(_, found) if *found == digest.to_string())
    }

    /// Whether it asked for the bytes of this manifest, by this tag or digest.
    pub fn is_manifest(&self, version: &str) -> bool {
        self.method == Method::GET && matches!(&self.route, Route::Manifest(_, found) if found == version)
    }

    /// A header as text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The values of a parameter in the query.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.filter(|(known, _)| known == name).map(|(_, value)| value.into_owned()).collect()
    }

    /// The first value of a parameter in the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).into_iter().next()
    }
}
