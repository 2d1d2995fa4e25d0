//! The errors of the registry client, and their classification.
//!
//! A message names what was asked for, and of whom; URLs in it went through
//! [`hod_io::secret::redacted`], and credentials are named by where they came from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use url::Url;

use super::answer::Answer;
pub use super::cause::Cause;
use super::cause::{is_plain, rustls_error, said_of};
use super::credentials::CredentialsError;
use super::endless::ListProblem;
use super::lookaside::LookasideError;
use super::registries_conf::RegistriesConfError;
use super::subject::Subject;
use hod_engine::endpoint::{EndpointError, Fault};
use hod_io::tls::TrustError;
use hod_oci::{Digest, ManifestError, NameError};

/// A failure in dealing with a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text cannot be the host of a URL.
    #[error("{0:?} is not the host of a registry: expected host, host:port or [ipv6]:port")]
    Host(Box<str>),
    /// The registry, or a server that it sent us to, answered with an error status.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No answer came, or it broke off.
    #[error("the connection to {host} failed")]
    Network {
        /// The request.
        subject: Box<Subject>,
        /// The host that was asked.
        host: Box<str>,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// Nothing came for too long, or next to nothing.
    #[error("less than 1 KiB moved to or from {host} in {} s", after.as_secs())]
    Stalled {
        /// The request.
        subject: Box<Subject>,
        /// The host that was asked.
        host: Box<str>,
        /// How long that was waited for.
        after: Duration,
    },
    /// The resolver knows no address for the host.
    #[error("the host {host} has no address")]
    UnknownHost {
        /// The request.
        subject: Box<Subject>,
        /// The host.
        host: Box<str>,
        /// What the resolver says.
        #[source]
        source: Cause,
    },
    /// The host's certificate does not prove that it is the host.
    #[error("the certificate of {host} is not trusted")]
    Certificate {
        /// The request.
        subject: Box<Subject>,
        /// The host.
        host: Box<str>,
        /// The reason.
        #[source]
        source: Cause,
    },
    /// A certificate cannot be checked, since nothing is trusted here.
    #[error("the certificate of {host} cannot be checked, because no CA certificates were found on this system")]
    NoRoots {
        /// The request.
        subject: Box<Subject>,
        /// The host.
        host: Box<str>,
    },
    /// No encrypted connection came about: often a server that speaks plain HTTP.
    #[error("the TLS connection to {host} failed")]
    Tls {
        /// The request.
        subject: Box<Subject>,
        /// The host.
        host: Box<str>,
        /// True if it answered, and not in TLS at all.
        is_plain: bool,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// A redirect that must not be followed.
    #[error("{subject}: {from} redirects to {to}, {reason}")]
    Redirect {
        /// The request.
        subject: Box<Subject>,
        /// The source of the redirect.
        from: String,
        /// The target of the redirect.
        to: String,
        /// The reason why it is not followed.
        reason: &'static str,
    },
    /// The registry wants the password to be sent where everyone could read it.
    #[error("{host} asks for its password to be sent to {realm}, which is not encrypted")]
    Realm {
        /// The registry.
        host: Box<str>,
        /// The token server that it named.
        realm: String,
    },
    /// A token server answered without a token.
    #[error("the token server {realm} of {host} returned no usable token")]
    Token {
        /// The registry.
        host: Box<str>,
        /// The token server that it named.
        realm: String,
    },
    /// The registry no longer took what it had taken before, and the body could not be sent again.
    #[error("{subject}: the credentials for {host} expired during the upload")]
    Expired {
        /// The subject of the upload.
        subject: Box<Subject>,
        /// The registry.
        host: Box<str>,
    },
    /// The credentials could not be found out.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// How to read the repository could not be found out, or it must not be read.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// Where the signatures of the repository are could not be found out, or they could not be read.
    #[error(transparent)]
    Lookaside(Arc<LookasideError>),
    /// Neither a mirror nor the registry itself has answered well.
    #[error("all mirrors failed: {said}")]
    Mirrors {
        /// Their errors.
        said: String,
        /// The error of the registry itself.
        #[source]
        source: Box<Self>,
    },
    /// The certificates to trust or to show could not be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The response is not a manifest.
    #[error("{subject} cannot be used")]
    Manifest {
        /// The request.
        subject: Box<Subject>,
        /// The reason.
        #[source]
        source: ManifestError,
    },
    /// The bytes and the digest that the registry gives for them differ.
    #[error("{subject}: the digest should be {}, but the content has {}", digests.0, digests.1)]
    Digest {
        /// What was asked for or sent.
        subject: Box<Subject>,
        /// The digest asked for, or in the registry's header, and that of the bytes.
        digests: Box<(Digest, Digest)>,
    },
    /// The content to send could not be read; this fails as the source of it does.
    #[error(transparent)]
    Content(EndpointError),
    /// The HTTP client could not be set up.
    #[error("cannot set up connections to {host}")]
    Client {
        /// The registry.
        host: Box<str>,
        /// The reason.
        #[source]
        source: Cause,
    },
    /// A list that is not read to its end.
    #[error("{subject}: {host} returned a list {problem}")]
    Endless {
        /// The list.
        subject: Box<Subject>,
        /// The host that was asked.
        host: Box<str>,
        /// The reason.
        problem: ListProblem,
    },
    /// The registry said yes and broke the protocol.
    #[error("{subject}: {host} answered {problem}")]
    Protocol {
        /// The request.
        subject: Box<Subject>,
        /// The host that was asked.
        host: Box<str>,
        /// The problem of the response.
        problem: Box<str>,
    },
}

/// The errors of a repository without a route.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RoutingError {
    /// Somebody does not want it to be used.
    #[error("{name} is blocked by {path}")]
    Blocked {
        /// The repository or registry.
        name: String,
        /// The file that says so.
        path: PathBuf,
    },
    /// A location makes no name of a repository.
    #[error("{path} maps it to {text:?}, which is not a valid repository")]
    Name {
        /// The file that says so.
        path: PathBuf,
        /// What the location and the rest of the name make.
        text: String,
        /// The problem.
        #[source]
        source: NameError,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Conf(Arc<RegistriesConfError>),
    /// Nothing was asked.
    #[error("no source is configured for this repository")]
    NoWay,
}

/// An error status, with all that is known about it.
#[derive(Debug)]
pub struct Refusal {
    /// The request.
    pub subject: Subject,
    /// The response.
    pub answer: Answer,
    /// Where the credentials came from that were sent, if any were.
    pub login: Option<Box<str>>,
    /// True if not the registry answered, but a server that it had redirected to.
    pub redirected: bool,
}

impl Refusal {
    fn fault(&self) -> Fault {
        let status = self.answer.status;
        let code = |code| self.answer.has_code(code);
        if status == StatusCode::TOO_MANY_REQUESTS || code("TOOMANYREQUESTS") {
            return Fault::Busy(self.answer.retry_after);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE && self.answer.retry_after.is_some() {
            return Fault::Busy(self.answer.retry_after);
        }
        if matches!(self.subject, Subject::Publication(..))
            && ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"].into_iter().any(code)
        {
            return Fault::Incomplete;
        }
        // A signed URL that has expired, an upload that the registry forgot: the next try gets another.
        let passing = self.redirected || code("BLOB_UPLOAD_UNKNOWN");
        match status.as_u16() {
            501 => Fault::Rejected,
            408 | 500.. => Fault::Unreachable,
            400.. if passing => Fault::Unreachable,
            401 | 403 => Fault::Denied,
            404 if !matches!(self.subject, Subject::Token(_) | Subject::Api(_)) => Fault::Missing,
            _ => Fault::Rejected,
        }
    }

    /// Who answered what, without what was asked for and what is said of that.
    fn in_short(&self) -> String {
        let Answer { url, status, reasons, .. } = &self.answer;
        let host = Url::parse(url).map_or_else(|_| url.as_str().into(), |url| authority(&url));
        let words = |code: &str, message: &str| match (code, message) {
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        let words: Vec<_> = reasons.iter().map(|reason| words(&reason.code, &reason.message)).collect();
        let said = if words.is_empty() { String::new() } else { format!(" ({})", words.join("; ")) };
        format!("{host} answered {status}{said}")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, answer, .. } = self;
        match self.fault() {
            Fault::Missing if subject.is_sent() => write!(f, "{subject}: the repository does not exist: {answer}"),
            Fault::Missing => write!(f, "{subject} does not exist: {answer}"),
            Fault::Denied => match &self.login {
                Some(login) => write!(f, "{subject}: access denied with the credentials from {login}: {answer}"),
                None => write!(f, "{subject}: access denied, and no credentials were found: {answer}"),
            },
            Fault::Busy(Some(wait)) => {
                write!(f, "{subject}: too many requests, try again in {} s: {answer}", wait.as_secs())
            }
            Fault::Busy(None) => write!(f, "{subject}: too many requests: {answer}"),
            Fault::Incomplete => write!(f, "{subject}: referenced content is missing in the registry: {answer}"),
            Fault::Unreachable => write!(f, "{subject}: the server failed: {answer}"),
            _ => write!(f, "{subject}: refused: {answer}"),
        }
    }
}

impl RegistryError {
    /// The kind of failure.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault(),
            Self::Network { .. } | Self::Stalled { .. } | Self::Expired { .. } => Fault::Unreachable,
            Self::Content(error) => error.fault(),
            Self::Mirrors { source, .. } => source.fault(),
            Self::Digest { .. } => Fault::Corrupt,
            Self::Manifest { .. } | Self::Protocol { .. } | Self::Endless { .. } | Self::Redirect { .. } => {
                Fault::Rejected
            }
            _ => Fault::Other,
        }
    }

    /// Returns true if a registry has answered a request for referrers with something other than a list of them: then its
    /// API is of no use. A registry that asks to come later may still have one.
    pub fn is_no_list_of_referrers(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                matches!(refusal.subject, Subject::Referrers(..)) && !matches!(self.fault(), Fault::Busy(_))
            }
            Self::Protocol { subject, .. } => matches!(**subject, Subject::Referrers(..)),
            Self::Mirrors { source, .. } => source.is_no_list_of_referrers(),
            _ => false,
        }
    }

    /// Returns true if it is about a list that is too long, or has no end.
    pub fn is_endless(&self) -> bool {
        match self {
            Self::Endless { .. } => true,
            Self::Mirrors { source, .. } => source.is_endless(),
            _ => false,
        }
    }

    /// What is wrong with a host as a whole, in words that are the same whatever it was asked for; `None` where it may
    /// well be what was asked for.
    pub fn of_host(&self) -> Option<String> {
        match self {
            Self::Network { source, .. } => Some(format!("{self}: {source}")),
            Self::Stalled { .. } | Self::Expired { .. } => Some(self.to_string()),
            Self::Refused(refusal) if refusal.fault().is_transient() => Some(refusal.in_short()),
            Self::Mirrors { source, .. } => Some(format!("{}; all of its mirrors failed", source.of_host()?)),
            _ => None,
        }
    }

    /// Makes an error of what the HTTP client says; `without_roots` is asked where a certificate was refused.
    pub(super) fn transport(
        subject: &Subject,
        url: &Url,
        error: &reqwest::Error,
        without_roots: impl FnOnce() -> bool,
    ) -> Self {
        let (subject, host) = (Box::new(subject.clone()), authority(url));
        if let Some(tls) = rustls_error(error) {
            let source = said_of(tls);
            return match tls {
                rustls::Error::InvalidCertificate(_) if without_roots() => Self::NoRoots { subject, host },
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                    Self::Certificate { subject, host, source }
                }
                _ => Self::Tls { subject, host, is_plain: is_plain(tls), source },
            };
        }
        let source = Cause::of(error);
        // The C library's two ways to say "ask again later"; everything else is a definite answer.
        let later = source.says("Temporary failure") || source.says("Try again");
        if error.is_dns() && !later {
            return Self::UnknownHost { subject, host, source };
        }
        Self::Network { subject, host, source }
    }

    pub(super) fn stalled(subject: &Subject, url: &Url, after: Duration) -> Self {
        Self::Stalled { subject: Box::new(subject.clone()), host: authority(url), after }
    }

    pub(super) fn endless(subject: &Subject, url: &Url, problem: ListProblem) -> Self {
        Self::Endless { subject: Box::new(subject.clone()), host: authority(url), problem }
    }

    pub(super) fn protocol(subject: &Subject, url: &Url, problem: &str) -> Self {
        Self::Protocol { subject: Box::new(subject.clone()), host: authority(url), problem: problem.into() }
    }
}

impl From<RegistryError> for EndpointError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Content(error) => error,
            error => Self::new(error.fault(), error),
        }
    }
}

/// Host and port of a URL, as they were written.
pub(super) fn authority(url: &Url) -> Box<str> {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.into(), |port| format!("{host}:{port}").into())
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use reqwest::header::HeaderMap;

    use super::*;
    use hod_engine::endpoint::Place;

    fn place() -> Place {
        Place::registry("r.example", &"a/b".parse().unwrap())
    }

    fn refusal(subject: Subject, status: u16, body: &str) -> Refusal {
        let status = StatusCode::from_u16(status).unwrap();
        let answer =
            Answer::new(Method::GET, "https://r.example/".to_owned(), status, &HeaderMap::new(), body.as_bytes());
        Refusal { subject, answer, login: None, redirected: false }
    }

    fn code(code: &str) -> String {
        format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#)
    }

    #[test]
    fn statuses_become_faults() {
        let tag = || Subject::Manifest(place(), hod_oci::Version::Tag("1".parse().unwrap()));
        let published = || Subject::Publication(place(), hod_oci::Version::Tag("1".parse().unwrap()));
        let upload = || Subject::Upload(place(), Digest::sha256(b""));
        let fault = |subject, status, body: &str| refusal(subject, status, body).fault();
        assert_eq!(fault(tag(), 404, ""), Fault::Missing);
        assert_eq!(fault(Subject::Token("r.example".into()), 404, ""), Fault::Rejected);
        assert_eq!(fault(tag(), 401, ""), Fault::Denied);
        assert_eq!(fault(tag(), 403, ""), Fault::Denied);
        assert_eq!(fault(tag(), 429, ""), Fault::Busy(None));
        assert_eq!(fault(tag(), 403, &code("TOOMANYREQUESTS")), Fault::Busy(None));
        for status in [408, 500, 502, 503, 504, 599] {
            assert_eq!(fault(tag(), status, ""), Fault::Unreachable, "{status}");
        }
        for status in [301, 400, 405, 413, 501] {
            assert_eq!(fault(tag(), status, ""), Fault::Rejected, "{status}");
        }
        assert_eq!(fault(published(), 400, &code("MANIFEST_BLOB_UNKNOWN")), Fault::Incomplete);
        assert_eq!(fault(published(), 404, &code("BLOB_UNKNOWN")), Fault::Incomplete);
        assert_eq!(fault(tag(), 404, &code("MANIFEST_UNKNOWN")), Fault::Missing);
        assert_eq!(fault(upload(), 404, &code("BLOB_UPLOAD_UNKNOWN")), Fault::Unreachable);
        assert_eq!(Refusal { redirected: true, ..refusal(tag(), 403, "") }.fault(), Fault::Unreachable);
    }

    #[test]
    fn messages_name_what_was_asked_for() {
        let tag = Subject::Manifest(place(), hod_oci::Version::Tag("1".parse().unwrap()));
        let missing = refusal(tag, 404, &code("MANIFEST_UNKNOWN")).to_string();
        assert_eq!(
            missing,
            "tag 1 in r.example/a/b does not exist: GET https://r.example/ answered 404 Not Found (MANIFEST_UNKNOWN)"
        );
    }

    #[test]
    fn what_is_wrong_with_a_host_is_said_without_what_was_asked_for() {
        let of_host =
            |subject, status, body: &str| RegistryError::Refused(Box::new(refusal(subject, status, body))).of_host();
        let body = |detail: &str| {
            format!(r#"{{"errors":[{{"code":"UNKNOWN","message":"disk gone","detail":"{detail}"}},{{"code":"X"}}]}}"#)
        };
        let blob = |content: &[u8]| Subject::Blob(place(), Digest::sha256(content));
        let said = of_host(blob(b"a"), 500, &body("a"));
        assert_eq!(said.as_deref(), Some("r.example answered 500 Internal Server Error (UNKNOWN: disk gone; X)"));
        assert_eq!(of_host(blob(b"b"), 500, &body("b")), said);
        assert_eq!(of_host(blob(b"a"), 404, ""), None);
        let network = RegistryError::Network {
            subject: Box::new(blob(b"a")),
            host: "r.example".into(),
            source: Cause::of(&std::io::Error::other("refused")),
        };
        assert_eq!(network.of_host().as_deref(), Some("the connection to r.example failed: refused"));
        let said = "m.example: refused".to_owned();
        let mirrors = RegistryError::Mirrors { said, source: Box::new(network) };
        assert!(mirrors.of_host().unwrap().ends_with("; all of its mirrors failed"));
    }
}
