//! How a host is told who asks: at once where it is known what it wants, else in answer to its challenge.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use super::auth::{Access, Authorization};
use super::challenge::{Bearer, Challenge};
use super::connection::Connection;
use super::credentials::{Credentials, Login};
use super::error::RegistryError;
use super::host::Host;
use hod_io::secret::Secret;

impl Host {
    /// What to send along without being asked.
    pub(super) async fn known_authorization(
        &self,
        connection: &Connection,
        access: &Access,
    ) -> Result<Option<Authorization>, RegistryError> {
        if let Some(token) = self.given_token() {
            return Ok(Authorization::bearer(token, Some("the registry token given")));
        }
        match self.auth.challenge() {
            None => Ok(None),
            Some(challenge) => self.authorize(connection, &challenge, access, None).await,
        }
    }

    /// What to send after a 401; `None` where there is nothing to add to what has been `sent`.
    pub(super) async fn answer_challenge(
        &self,
        connection: &Connection,
        headers: &HeaderMap,
        access: &Access,
        sent: Option<&Authorization>,
    ) -> Result<Option<Authorization>, RegistryError> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = Challenge::parse(values, &connection.base) else { return Ok(None) };
        if self.given_token().is_some() {
            return Ok(None);
        }
        // The scopes are about this request; the rest holds for all.
        self.auth.remember(match &challenge {
            Challenge::Bearer(bearer) => Challenge::Bearer(Bearer { scopes: Vec::new(), ..bearer.clone() }),
            Challenge::Basic => Challenge::Basic,
        });
        let rejected = sent.and_then(|sent| sent.token.as_ref());
        let answer = self.authorize(connection, &challenge, access, rejected).await?;
        Ok(answer.filter(|answer| sent.is_none_or(|sent| sent.header != answer.header)))
    }

    /// The token that the user gave for this host.
    fn given_token(&self) -> Option<&Secret> {
        let settings = &self.shared.settings;
        let is_meant = !self.manner.foreign && settings.credentials.is_given_for(&self.name);
        settings.registry_token.as_ref().filter(|_| is_meant)
    }

    async fn authorize(
        &self,
        connection: &Connection,
        challenge: &Challenge,
        access: &Access,
        rejected: Option<&Secret>,
    ) -> Result<Option<Authorization>, RegistryError> {
        let login = self.shared.login(&self.name, access.repository.as_ref(), !self.manner.foreign).await?;
        if let Some(Login { credentials: Credentials::RegistryToken(token), origin }) = &login {
            return Ok(Authorization::bearer(token, Some(origin)));
        }
        match (challenge, login) {
            (Challenge::Bearer(bearer), login) => {
                let origin = login.as_ref().map(|login| login.origin.clone());
                let slot = self.auth.slot(access);
                let mut slot = slot.lock().await;
                let kept = slot.take().filter(|kept| kept.is_fresh() && Some(&kept.secret) != rejected);
                let token = match kept {
                    Some(token) => token,
                    None => self.fetch_token(connection, bearer, access, login.as_ref()).await?,
                };
                let authorization = Authorization::bearer(&token.secret, origin.as_deref());
                let token = &*slot.insert(token);
                Ok(authorization.map(|header| Authorization { token: Some(token.secret.clone()), ..header }))
            }
            (Challenge::Basic, Some(Login { credentials: Credentials::Password { username, password }, origin })) => {
                Ok(Authorization::basic(&username, &password, &origin))
            }
            (Challenge::Basic, _) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::testing::{Seen, Server, reply};
    use super::super::{CredentialSources, Settings};
    use super::*;
    use hod_engine::endpoint::{Fault, Sink as _, Source as _};
    use hod_oci::{Descriptor, MediaType};

    /// A token server whose tokens are numbered, and a registry that takes those from `valid` on.
    async fn pair(answer: &'static str, valid: Arc<AtomicUsize>) -> (Server, Server) {
        let issued = AtomicUsize::new(0);
        let tokens = Server::start(move |seen| match (seen.method.as_str(), seen.header("authorization")) {
            ("GET", "" | "Basic bWU6aHVudGVyMg==") | ("POST", "") => {
                let number = issued.fetch_add(1, Ordering::SeqCst);
                reply(200, &[], answer.replace("NUMBER", &number.to_string()))
            }
            _ => reply(401, &[], r#"{"details":"incorrect username or password"}"#),
        })
        .await;
        let realm = tokens.address;
        let registry = Server::start(move |seen: &Seen| {
            let number = seen.header("authorization").strip_prefix("Bearer t").and_then(|text| text.parse().ok());
            if number.is_some_and(|number: usize| number >= valid.load(Ordering::SeqCst)) {
                return reply(200, &[], "brick");
            }
            let challenge = format!(r#"Bearer realm="http://{realm}/token",service="r",scope="repository:a:pull""#);
            reply(401, &[("www-authenticate", &challenge)], r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)
        })
        .await;
        (tokens, registry)
    }

    fn given(credentials: Credentials) -> Settings {
        let credentials = CredentialSources { given: Some(credentials), ..CredentialSources::default() };
        Settings { credentials, ..Settings::default() }
    }

    fn brick() -> Descriptor {
        Descriptor::of(MediaType::parse("x"), b"brick")
    }

    #[tokio::test]
    async fn one_token_serves_all_who_wait() {
        let (tokens, registry) = pair(r#"{"token":"tNUMBER"}"#, Arc::default()).await;
        let (registries, repository) = registry.repository("a", given(Credentials::from_flag("me:hunter2")));
        let brick = brick();
        let all = futures_util::future::join_all((0..16).map(|_| repository.open(&brick, 0))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(tokens.lines(), ["GET /token?account=me&service=r&scope=repository%3Aa%3Apull"]);
        let before = registries.requests();
        assert!(repository.open(&brick, 0).await.is_ok());
        assert_eq!(registries.requests(), before + 1, "the token goes along unasked");
        assert!(repository.contains(&brick).await.unwrap());
        assert!(tokens.lines().last().unwrap().ends_with("repository%3Aa%3Apull%2Cpush"));
    }

    #[tokio::test]
    async fn an_ended_token_is_replaced_once() {
        let valid: Arc<AtomicUsize> = Arc::default();
        let (tokens, registry) = pair(r#"{"access_token":"tNUMBER","expires_in":300}"#, valid.clone()).await;
        let (_, repository) = registry.repository("a", Settings::default());
        assert!(repository.open(&brick(), 0).await.is_ok());
        valid.store(1, Ordering::SeqCst);
        assert!(repository.open(&brick(), 0).await.is_ok());
        assert_eq!(tokens.seen().len(), 2);
        valid.store(usize::MAX, Ordering::SeqCst);
        let error = repository.open(&brick(), 0).await.err().unwrap();
        assert_eq!((error.fault(), tokens.seen().len()), (Fault::Denied, 3));
        assert!(error.to_string().contains("no credentials were found"), "{error}");
    }

    #[tokio::test]
    async fn a_wrong_password_is_named_by_its_origin() {
        let (_tokens, registry) = pair(r#"{"token":"tNUMBER"}"#, Arc::default()).await;
        let (_, repository) = registry.repository("a", given(Credentials::from_flag("me:wrong")));
        let error = repository.open(&brick(), 0).await.err().unwrap();
        let shown = format!("{error} {error:?}");
        assert_eq!(error.fault(), Fault::Denied);
        assert!(shown.contains("denied with the credentials from the command line"), "{shown}");
        assert!(shown.contains("incorrect username or password") && !shown.contains("wrong\""), "{shown}");
    }

    #[tokio::test]
    async fn identity_tokens_are_exchanged() {
        let (tokens, registry) = pair(r#"{"access_token":"tNUMBER"}"#, Arc::default()).await;
        let (_, repository) = registry.repository("a", given(Credentials::IdentityToken(Secret::new("long"))));
        assert!(repository.open(&brick(), 0).await.is_ok());
        let seen = tokens.seen();
        assert_eq!(tokens.lines(), ["POST /token"]);
        assert_eq!(
            seen.first().unwrap().body,
            "grant_type=refresh_token&service=r&client_id=hod&scope=repository%3Aa%3Apull&refresh_token=long"
        );
    }

    #[tokio::test]
    async fn a_given_token_is_sent_at_once() {
        let (tokens, registry) = pair("{}", Arc::default()).await;
        let settings = Settings { registry_token: Some(Secret::new("t1")), ..Settings::default() };
        let (_, repository) = registry.repository("a", settings);
        assert!(repository.open(&brick(), 0).await.is_ok());
        assert_eq!((registry.seen().len(), tokens.seen().len()), (1, 0));
        let settings = Settings { registry_token: Some(Secret::new("x")), ..Settings::default() };
        let error = registry.repository("a", settings).1.open(&brick(), 0).await.err().unwrap();
        assert_eq!((error.fault(), tokens.seen().len()), (Fault::Denied, 0));
    }

    #[tokio::test]
    async fn answers_without_a_token_are_named() {
        let (_tokens, registry) = pair("{}", Arc::default()).await;
        let error = registry.repository("a", Settings::default()).1.open(&brick(), 0).await.err().unwrap();
        assert!(error.to_string().ends_with("returned no usable token"), "{error}");
    }
}
