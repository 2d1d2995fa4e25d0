//! Fetches tokens from the server that a challenge names (distribution, "Token Authentication
//! Specification" and "Oauth2 Token Authentication").

use std::time::Instant;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use url::Url;
use url::form_urlencoded::Serializer;

use super::auth::{Access, Authorization};
use super::challenge::Bearer;
use super::connection::Connection;
use super::credentials::{Credentials, Login};
use super::error::RegistryError;
use super::host::Host;
use super::request::{Payload, Request};
use super::subject::Subject;
use super::token::Token;
use hod_io::secret::{Secret, redacted};

/// The largest answer of a token server; some tokens list thousands of scopes.
const TOKEN_LIMIT: usize = 1024 * 1024;

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
