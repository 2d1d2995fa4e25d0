//! Tokens: fetched from the server that a challenge names (distribution, "Token Authentication
//! Specification" and "Oauth2 Token Authentication").

use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::auth::{Access, Authorization};
use super::challenge::Bearer;
use super::client::{Payload, Request};
use super::credentials::{Credentials, Login};
use super::error::RegistryError;
use super::host::{Connection, Host};
use super::subject::Subject;
use hod_io::secret::{Secret, redacted};

/// The life of a token whose server does not name one, by the specification.
const LIFETIME: Duration = Duration::from_secs(60);
/// A token is not used in its last moments, in which it could end on the way.
const MARGIN: Duration = Duration::from_secs(10);
/// The largest answer of a token server; some tokens list thousands of scopes.
const TOKEN_LIMIT: usize = 1024 * 1024;

/// The longest token that is kept, for each repository and what is done there: headers are not longer.
const LONGEST: usize = 64 * 1024;

/// A token and how long it can be used.
pub(super) struct Token {
    pub(super) secret: Secret,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Token {
    /// Reads the answer to a request that was sent at `asked`.
    fn read(body: &[u8], asked: Instant) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let secret = answer.token.filter(|token| !token.is_empty()).or(answer.access_token)?;
        let lifetime = answer.expires_in.filter(|seconds| *seconds > 0).map_or(LIFETIME, Duration::from_secs);
        let usable = lifetime.saturating_sub(MARGIN).max(lifetime / 2);
        let until = asked.checked_add(usable).unwrap_or(asked + LIFETIME);
        (!secret.is_empty() && secret.len() <= LONGEST).then(|| Self { secret: Secret::new(secret), until })
    }

    /// Whether it can still be used.
    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

impl Host {
    /// Fetches a token, with the credentials where there are some.
    pub(super) async fn fetch_token(
        &self,
        connection: &Connection,
        bearer: &Bearer,
        access: &Access,
        login: Option<&Login>,
    ) -> Result<Token, RegistryError> {
        let realm = connection.at_registry(bearer.realm.clone());
        if connection.objection(&connection.base, &realm).is_some() {
            return Err(RegistryError::Realm { host: self.name.clone(), realm: redacted(&realm) });
        }
        let unusable = || RegistryError::Token { host: self.name.clone(), realm: redacted(&realm) };
        let scopes = access.with_challenge(&bearer.scopes);
        let subject = Subject::Token(self.name.clone());
        let mut authorization = None;
        let mut request = match login.map(|login| (&login.credentials, &login.origin)) {
            Some((Credentials::IdentityToken(token), _)) => exchange(&realm, bearer, &scopes, token, subject),
            Some((Credentials::Password { username, password }, origin)) => {
                authorization = Authorization::basic(username, password, origin);
                Request::new(Method::GET, question(&realm, bearer, &scopes, Some(username)), subject)
            }
            _ => Request::new(Method::GET, question(&realm, bearer, &scopes, None), subject),
        };
        let asked = Instant::now();
        let mut response = self.follow(connection, &mut request, authorization.as_ref(), &realm).await?;
        response.login = login.map(|login| login.origin.clone());
        let body = response.accept(&[StatusCode::OK]).await?.bytes(TOKEN_LIMIT).await?.ok_or_else(unusable)?;
        Token::read(&body, asked).ok_or_else(unusable)
    }
}

/// The URL that asks for a token.
fn question(realm: &Url, bearer: &Bearer, scopes: &[String], account: Option<&str>) -> Url {
    let mut url = realm.clone();
    let parameters = account.map(|account| ("account", account)).into_iter();
    let parameters = parameters.chain(bearer.service.as_deref().map(|service| ("service", service)));
    let parameters = parameters.chain(scopes.iter().map(|scope| ("scope", scope.as_str())));
    for (name, value) in parameters {
        url.query_pairs_mut().append_pair(name, value);
    }
    url
}

/// The request that turns an identity token into a token.
fn exchange(realm: &Url, bearer: &Bearer, scopes: &[String], token: &Secret, subject: Subject) -> Request {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("service", bearer.service.as_deref().unwrap_or_default());
    form.append_pair("client_id", "hod");
    form.append_pair("scope", &scopes.join(" "));
    form.append_pair("refresh_token", token.expose());
    Request::new(Method::POST, realm.clone(), subject)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .payload(Payload::Bytes(form.finish().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<(String, u64)> {
        let asked = Instant::now();
        let token = Token::read(body.as_bytes(), asked)?;
        Some((token.secret.expose().to_owned(), token.until.duration_since(asked).as_secs()))
    }

    #[test]
    fn answers_come_in_two_shapes() {
        assert_eq!(read(r#"{"token":"a","expires_in":300}"#), Some(("a".to_owned(), 290)));
        assert_eq!(read(r#"{"access_token":"b"}"#), Some(("b".to_owned(), 50)));
        assert_eq!(read(r#"{"token":"","access_token":"b","expires_in":4}"#), Some(("b".to_owned(), 2)));
        assert_eq!(read(r#"{"token":"a","expires_in":18446744073709551615}"#), Some(("a".to_owned(), 60)));
        let long = |length: usize| format!(r#"{{"token":"{}"}}"#, "a".repeat(length));
        assert!(read(&long(LONGEST)).is_some() && read(&long(LONGEST + 1)).is_none());
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":1}"#, "[]"] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn questions_keep_what_the_realm_has() {
        let realm = Url::parse("https://t.example/token?tenant=1").unwrap();
        let bearer = Bearer { realm: realm.clone(), service: Some("r.example".to_owned()), scopes: Vec::new() };
        let scopes = ["repository:a:pull,push".to_owned(), "repository:b:pull".to_owned()];
        assert_eq!(
            question(&realm, &bearer, &scopes, Some("me&you")).query().unwrap(),
            "tenant=1&account=me%26you&service=r.example&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull"
        );
    }
}
