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

use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, Refusal, json};
use super::error::ServeError;
use super::htpasswd::Users;
use super::origin::Origin;
use super::passwords::Passwords;
use super::reload::Reload;
use super::tls::Tls;
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
        Authenticator::new(self, None).map(drop)
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

/// Somebody who may do something.
#[derive(Debug, Clone)]
struct Client {
    /// The name; none for those who need none.
    user: Option<String>,
    rights: Rights,
    /// What a token of the user says of the password.
    proof: String,
}

/// Whoever shows nothing, where that is enough.
const ANYBODY: Client = Client { user: None, rights: Rights::Pull, proof: String::new() };

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    user: Option<String>,
    proof: String,
    until: u64,
}

/// What knows the users of a server.
pub(super) struct Authenticator {
    writers: Reload<Users>,
    readers: Reload<Users>,
    anonymous_read: bool,
    /// Whether the server speaks TLS itself.
    tls: bool,
    key: hmac::Key,
    passwords: Arc<Passwords>,
}

impl Authenticator {
    /// Reads the users; `None` where there are none, and everybody may do everything.
    pub(super) fn new(admission: &Admission, tls: Option<&Tls>) -> Result<Option<Self>, ServeError> {
        if admission.writers.is_none() && admission.readers.is_none() {
            return Ok(None);
        }
        let users = |path: &Option<PathBuf>| Reload::new(path.iter().cloned().collect(), Users::read);
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| ServeError::Random)?;
        Ok(Some(Self {
            writers: users(&admission.writers)?,
            readers: users(&admission.readers)?,
            anonymous_read: admission.anonymous_read,
            tls: tls.is_some(),
            passwords: Passwords::new(key.clone()),
            key,
        }))
    }

    /// Lets in whoever may do what the request wants to; returns the user's name, where there is one.
    pub(super) async fn admit(&self, parts: &Parts, wanted: Rights, origin: Origin) -> Result<Option<String>, Refusal> {
        // By this request clients find out how to tell who they are.
        let asks = matches!(parts.uri.path(), "/v2" | "/v2/");
        let client = match Credentials::of(&parts.headers) {
            Credentials::Absent if self.anonymous_read && !asks => Some(ANYBODY),
            Credentials::Absent | Credentials::Invalid => None,
            Credentials::Password(user, password) => self.client(user, &password, origin).await?,
            Credentials::Token(token) => self.redeem(&token),
        };
        match client {
            Some(client) if client.rights >= wanted => Ok(client.user),
            Some(Client { user: Some(user), .. }) => {
                let message = format!("{user} may pull from this registry, and not push or delete");
                Err(Refusal::new(StatusCode::FORBIDDEN, "DENIED", message))
            }
            // No client of registries asks for this, and others know no tokens.
            _ if wanted == Rights::Read => Err(unauthorized(BASIC)),
            _ => Err(unauthorized(&self.challenge(parts))),
        }
    }

    /// Answers `/token`: a token for the user whose password is shown, or for anybody to read.
    pub(super) async fn token(&self, headers: &HeaderMap, origin: Origin) -> Answer {
        let client = match Credentials::of(headers) {
            Credentials::Absent if self.anonymous_read => Some(ANYBODY),
            Credentials::Password(user, password) => self.client(user, &password, origin).await?,
            _ => None,
        };
        let token = self.issue(client.ok_or_else(|| unauthorized(BASIC))?);
        Ok(json(&json!({ "token": token, "access_token": token, "expires_in": TOKEN_LIFE.as_secs() })))
    }

    /// Who shows a password, if it is the right one.
    async fn client(&self, user: String, password: &Secret, origin: Origin) -> Result<Option<Client>, Refusal> {
        if user.is_empty() && password.expose().is_empty() {
            return Ok(self.anonymous_read.then_some(ANYBODY));
        }
        let (writers, readers) = (self.writers.get(Users::read), self.readers.get(Users::read));
        let own = [(&writers, Rights::Write), (&readers, Rights::Read)]
            .into_iter()
            .find_map(|(users, rights)| Some((users.hash(&user)?, rights)));
        // Somebody who does not exist takes as long.
        let Some(hash) = own.map(|(hash, _)| hash).or_else(|| writers.any_hash()).or_else(|| readers.any_hash()) else {
            return Ok(None);
        };
        let right = self.passwords.is_right(origin, &user, password, hash).await?;
        Ok(own.filter(|_| right).map(|(hash, rights)| {
            let proof = self.proof(hash);
            Client { user: Some(user), rights, proof }
        }))
    }

    /// A text that proves to this process who somebody is: claims, and their keyed digest.
    fn issue(&self, client: Client) -> String {
        let claims = Claims { user: client.user, proof: client.proof, until: now() + TOKEN_LIFE.as_secs() };
        let claims = URL_SAFE_NO_PAD.encode(json!(claims).to_string());
        let tag = hmac::sign(&self.key, claims.as_bytes());
        format!("{claims}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn redeem(&self, token: &Secret) -> Option<Client> {
        let (claims, tag) = token.expose().split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        // In constant time.
        hmac::verify(&self.key, claims.as_bytes(), &tag).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        if claims.until < now() {
            return None;
        }
        let Some(user) = claims.user else { return self.anonymous_read.then_some(ANYBODY) };
        // Its rights are those that the user has now, with the password that the user has now.
        let found = [(&self.writers, Rights::Write), (&self.readers, Rights::Read)];
        let (proof, rights) = found
            .into_iter()
            .find_map(|(users, rights)| Some((self.proof(users.get(Users::read).hash(&user)?), rights)))?;
        (claims.proof == proof).then_some(Client { user: Some(user), rights, proof })
    }

    /// A keyed digest of a password's hash: it changes with the password, and tells nothing of it.
    fn proof(&self, hash: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, format!("proof:{hash}").as_bytes()))
    }

    fn challenge(&self, parts: &Parts) -> String {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_host(host));
        let Some(host) = host.filter(|_| self.anonymous_read) else { return BASIC.to_owned() };
        let scheme = if self.tls || is_forwarded_https(&parts.headers) { "https" } else { "http" };
        format!("Bearer realm=\"{scheme}://{host}/token\",service=\"hod\"{}", scope(parts.uri.path()))
    }
}

fn unauthorized(challenge: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "this needs a user name and a password")
        .with_headers([(WWW_AUTHENTICATE, challenge.to_owned())])
}

const BASIC: &str = "Basic realm=\"hod\"";

/// What a request shows of who sends it.
enum Credentials {
    Absent,
    Invalid,
    Password(String, Secret),
    Token(Secret),
}

impl Credentials {
    fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(AUTHORIZATION) else { return Self::Absent };
        let Some((scheme, rest)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
            return Self::Invalid;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Token(Secret::new(rest));
        }
        let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((user, password)) if scheme.eq_ignore_ascii_case("basic") => {
                Self::Password(user.to_owned(), Secret::new(password))
            }
            _ => Self::Invalid,
        }
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

/// Returns true if a proxy in front says that the client uses HTTPS.
pub(super) fn is_forwarded_https(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https")
}

/// Whether a text can be the name or address of a host, with or without a port.
pub(super) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
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
