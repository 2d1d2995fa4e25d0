//! Who may do what: users from files, and tokens where some need none.
//!
//! Without users everybody may do everything that the server does. With them, a request carries a
//! name and password (RFC 7617). Where reading needs no name, clients have to learn from the very first
//! answer how to tell theirs when they push, and still be let in without one when they pull: only a
//! token service does both (the registries' token protocol), so the server is one in that case.
//!
//! A token is good for as long as its user has the password that it was given for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::json;

use super::answer::{Answer, Refusal, json_response};
use super::error::ServeError;
use super::htpasswd::Users;
use super::origin::Origin;
use super::passwords::Passwords;
use super::watched::Watched;
use hod_io::secret::Secret;

/// How long a token is good for. A transfer that has begun goes on after it.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Who may use a server.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// Users who may read and write: a file as `htpasswd -B` writes it.
    pub writers: Option<PathBuf>,
    /// Users who may only read, likewise.
    pub readers: Option<PathBuf>,
    /// Whether reading needs no user.
    pub anonymous_read: bool,
}

impl Admission {
    /// Whether the files can be read, before a server is started.
    pub fn check(&self) -> Result<(), ServeError> {
        Door::new(self).map(drop)
    }
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rights {
    /// To pull, as those without a name may.
    Pull,
    /// To see what else there is to read: what only users may.
    Read,
    Write,
}

/// Where a request comes from, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) origin: Origin,
    /// Whether by TLS.
    pub(super) secure: bool,
}

/// Somebody who may do something.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// The name; none for those who need none.
    pub(super) user: Option<String>,
    pub(super) rights: Rights,
    /// What a token of the user says of the password.
    proof: String,
}

/// Whoever shows nothing, where that is enough.
const ANYBODY: Visitor = Visitor { user: None, rights: Rights::Pull, proof: String::new() };

/// The doorkeeper of a server.
pub(super) struct Door {
    writers: Watched<Users>,
    readers: Watched<Users>,
    anonymous_read: bool,
    key: hmac::Key,
    passwords: Arc<Passwords>,
}

impl Door {
    /// A door for a server with users; `None` where everybody may do everything.
    pub(super) fn new(admission: &Admission) -> Result<Option<Self>, ServeError> {
        if admission.writers.is_none() && admission.readers.is_none() {
            return Ok(None);
        }
        let watch = |path: &Option<PathBuf>| Watched::new(path.iter().cloned().collect(), Users::read_first);
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| ServeError::Random)?;
        Ok(Some(Self {
            writers: watch(&admission.writers)?,
            readers: watch(&admission.readers)?,
            anonymous_read: admission.anonymous_read,
            passwords: Passwords::new(key.clone()),
            key,
        }))
    }

    /// Lets in whoever may do what the request wants to. `ask` is whether it is the request by which
    /// clients find out how to tell who they are.
    pub(super) async fn admit(
        &self,
        parts: &Parts,
        wanted: Rights,
        (ask, caller): (bool, Caller),
    ) -> Result<Visitor, Refusal> {
        let visitor = match credentials(&parts.headers) {
            Shown::Nothing if self.anonymous_read && !ask => Some(ANYBODY),
            Shown::Nothing | Shown::Nonsense => None,
            Shown::Password(user, password) => self.visitor(user, &password, caller.origin).await?,
            Shown::Token(token) => self.redeem(&token),
        };
        match visitor {
            Some(visitor) if visitor.rights >= wanted => Ok(visitor),
            Some(Visitor { user: Some(user), .. }) => {
                let message = format!("{user} may pull from this registry, and not push or delete");
                Err(Refusal::new(StatusCode::FORBIDDEN, "DENIED", message))
            }
            // No client of registries asks for this, and others know no tokens.
            _ if wanted == Rights::Read => Err(unauthorized().with_header(WWW_AUTHENTICATE, BASIC)),
            _ => Err(self.challenge(parts, caller.secure)),
        }
    }

    /// Answers `/token`: a token for the user whose password is shown, or for anybody to read.
    pub(super) async fn token(&self, parts: &Parts, origin: Origin) -> Answer {
        let visitor = match credentials(&parts.headers) {
            Shown::Nothing if self.anonymous_read => Some(ANYBODY),
            Shown::Password(user, password) => self.visitor(user, &password, origin).await?,
            _ => None,
        };
        let visitor = visitor.ok_or_else(|| unauthorized().with_header(WWW_AUTHENTICATE, BASIC))?;
        let token = self.issue(&visitor);
        let document = json!({ "token": token, "access_token": token, "expires_in": TOKEN_LIFE.as_secs() });
        Ok(json_response(StatusCode::OK, &document))
    }

    /// Who shows a password, if it is the right one.
    async fn visitor(&self, user: String, password: &Secret, origin: Origin) -> Result<Option<Visitor>, Refusal> {
        if user.is_empty() && password.expose().is_empty() {
            return Ok(self.anonymous_read.then_some(ANYBODY));
        }
        let (writers, readers) = (self.writers.get(Users::read_first), self.readers.get(Users::read_first));
        let own = [(&writers, Rights::Write), (&readers, Rights::Read)]
            .into_iter()
            .find_map(|(users, rights)| Some((users.hash(&user)?, rights)));
        // Somebody who does not exist takes as long.
        let Some(hash) = own.map(|(hash, _)| hash).or_else(|| writers.any_hash()).or_else(|| readers.any_hash()) else {
            return Ok(None);
        };
        let right = self.passwords.is_right(origin, (&user, password), hash).await?;
        Ok(own.filter(|_| right).map(|(hash, rights)| {
            let proof = self.proof(hash);
            Visitor { user: Some(user), rights, proof }
        }))
    }

    /// A text that proves to this process who somebody is: claims, and their keyed digest.
    fn issue(&self, visitor: &Visitor) -> String {
        let until = now() + TOKEN_LIFE.as_secs();
        let claims = json!({ "user": visitor.user, "proof": visitor.proof, "until": until });
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        let tag = hmac::sign(&self.key, claims.as_bytes());
        format!("{claims}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn redeem(&self, token: &Secret) -> Option<Visitor> {
        let (claims, tag) = token.expose().split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        // In constant time.
        hmac::verify(&self.key, claims.as_bytes(), &tag).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        if claims.get("until")?.as_u64()? < now() {
            return None;
        }
        let Some(user) = claims.get("user")?.as_str() else { return self.anonymous_read.then_some(ANYBODY) };
        // Its rights are those that the user has now, with the password that the user has now.
        let found = [(&self.writers, Rights::Write), (&self.readers, Rights::Read)];
        let (proof, rights) = found.into_iter().find_map(|(users, rights)| {
            let users = users.get(Users::read_first);
            Some((self.proof(users.hash(user)?), rights))
        })?;
        let same = claims.get("proof")?.as_str()? == proof;
        same.then(|| Visitor { user: Some(user.to_owned()), rights, proof })
    }

    /// A keyed digest of a password's hash: it changes with the password, and tells nothing of it.
    fn proof(&self, hash: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, format!("proof:{hash}").as_bytes()))
    }

    fn challenge(&self, parts: &Parts, secure: bool) -> Refusal {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_host(host));
        let challenge = match host {
            Some(host) if self.anonymous_read => {
                let scheme = if secure || is_forwarded(&parts.headers) { "https" } else { "http" };
                format!("Bearer realm=\"{scheme}://{host}/token\",service=\"hod\"{}", scope(parts.uri.path()))
            }
            _ => BASIC.to_owned(),
        };
        unauthorized().with_header(WWW_AUTHENTICATE, challenge)
    }
}

fn unauthorized() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "this needs a user name and a password")
}

const BASIC: &str = "Basic realm=\"hod\"";

/// What a request shows of who sends it.
enum Shown {
    Nothing,
    Nonsense,
    Password(String, Secret),
    Token(Secret),
}

fn credentials(headers: &HeaderMap) -> Shown {
    let Some(value) = headers.get(AUTHORIZATION) else { return Shown::Nothing };
    let Some((scheme, rest)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return Shown::Nonsense;
    };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Shown::Token(Secret::new(rest));
    }
    let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, password)) if scheme.eq_ignore_ascii_case("basic") => {
            Shown::Password(user.to_owned(), Secret::new(password))
        }
        _ => Shown::Nonsense,
    }
}

/// The scope that a client asks a token for; everything it may do is in every token anyway.
fn scope(path: &str) -> String {
    let name = path.strip_prefix("/v2/").and_then(|rest| {
        let end =
            ["/manifests/", "/blobs/", "/tags/", "/referrers/"].iter().filter_map(|part| rest.rfind(part)).max()?;
        rest.get(..end)?.parse::<hod_oci::RepositoryName>().ok()
    });
    name.map(|name| format!(",scope=\"repository:{name}:pull,push\"")).unwrap_or_default()
}

/// Whether a text can be the name or address of a host, with or without a port.
pub(super) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}

/// Whether a proxy in front says that the client came by TLS.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_name_the_repository() {
        assert_eq!(scope("/v2/a/b/manifests/1"), ",scope=\"repository:a/b:pull,push\"");
        assert_eq!(scope("/v2/a/blobs/uploads/"), ",scope=\"repository:a:pull,push\"");
        for path in ["/v2/", "/v2/_catalog", "/v2/A/manifests/1", "/v2/\"/manifests/1"] {
            assert_eq!(scope(path), "", "{path}");
        }
        assert!(is_host("[::1]:5000") && is_host("a-b.c:1") && !is_host("a\"b") && !is_host(""));
    }
}
