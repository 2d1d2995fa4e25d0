//! Authentication: stores the challenge of a host and the tokens for it.
//!
//! The first request goes out bare; its 401 says how the host wants to be asked, and from then on every
//! request carries what it needs. A token is fetched once for all who wait for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use super::challenge::Challenge;
use super::token::Token;
use hod_io::secret::Secret;
use hod_oci::RepositoryName;

/// What a request has to be allowed to do, as token servers name it
/// (distribution, "Token Scope Documentation").
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Access {
    /// The repository whose credentials count.
    pub(super) repository: Option<RepositoryName>,
    pub(super) scopes: Vec<String>,
}

impl Access {
    /// To read from a repository.
    pub(super) fn pull(name: &RepositoryName) -> Self {
        Self::to(name, "pull")
    }

    /// To write to a repository.
    pub(super) fn push(name: &RepositoryName) -> Self {
        Self::to(name, "pull,push")
    }

    /// To delete from a repository.
    pub(super) fn everything(name: &RepositoryName) -> Self {
        Self::to(name, "*")
    }

    /// To write to a repository what another one has.
    pub(super) fn mount(name: &RepositoryName, from: &RepositoryName) -> Self {
        let mut access = Self::push(name);
        access.scopes.push(format!("repository:{from}:pull"));
        access
    }

    /// To list all repositories.
    pub(super) fn catalog() -> Self {
        Self { repository: None, scopes: vec!["registry:catalog:*".to_owned()] }
    }

    fn to(name: &RepositoryName, actions: &str) -> Self {
        Self { repository: Some(name.clone()), scopes: vec![format!("repository:{name}:{actions}")] }
    }

    /// The scopes to ask for when the registry has named some itself: ours, and what is about something else.
    pub(super) fn with_challenge(&self, named: &[String]) -> Vec<String> {
        let resource = |scope: &str| scope.rsplit_once(':').map_or("", |(resource, _)| resource).to_owned();
        let ours: Vec<String> = self.scopes.iter().map(|scope| resource(scope)).collect();
        let others = named.iter().filter(|scope| !ours.contains(&resource(scope)));
        self.scopes.iter().chain(others).cloned().collect()
    }
}

/// A header that says who asks.
#[derive(Debug, Clone)]
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    /// The token, where it is one that can be had anew.
    pub(super) token: Option<Secret>,
    pub(super) origin: Option<Box<str>>,
}

impl Authorization {
    pub(super) const fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Where the credentials came from, for messages.
    pub(super) fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// `None` if the text holds what no header can.
    fn new(scheme: &str, text: &str, origin: Option<Box<str>>) -> Option<Self> {
        let mut header = HeaderValue::from_str(&format!("{scheme} {text}")).ok()?;
        header.set_sensitive(true);
        Some(Self { header, token: None, origin })
    }

    pub(super) fn basic(username: &str, password: &Secret, origin: &str) -> Option<Self> {
        let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
        Self::new("Basic", &pair, Some(origin.into()))
    }

    pub(super) fn bearer(token: &Secret, origin: Option<&str>) -> Option<Self> {
        Self::new("Bearer", token.expose(), origin.map(Into::into))
    }
}

/// What is known of how a host wants to be asked.
#[derive(Default)]
pub(super) struct Auth {
    challenge: Mutex<Option<Challenge>>,
    tokens: Mutex<HashMap<Access, TokenSlot>>,
}

/// A token, or its place while somebody fetches it.
pub(super) type TokenSlot = Arc<tokio::sync::Mutex<Option<Token>>>;

impl Auth {
    pub(super) fn challenge(&self) -> Option<Challenge> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn remember(&self, challenge: Challenge) {
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(challenge);
    }

    pub(super) fn slot(&self, access: &Access) -> TokenSlot {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(access.clone()).or_default().clone()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("challenge", &self.challenge()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_asked_for_once() {
        let name = |text: &str| text.parse::<RepositoryName>().unwrap();
        let push = Access::push(&name("a/b"));
        assert_eq!(push.scopes, ["repository:a/b:pull,push"]);
        assert_eq!(push.with_challenge(&["repository:a/b:pull".to_owned()]), push.scopes);
        let named = ["repository(plugin):x:pull".to_owned(), "registry:catalog:*".to_owned()];
        assert_eq!(push.with_challenge(&named).len(), 3);
        let mount = Access::mount(&name("a"), &name("b"));
        assert_eq!(mount.scopes, ["repository:a:pull,push", "repository:b:pull"]);
    }

    #[test]
    fn headers_are_secret() {
        let basic = Authorization::basic("me", &Secret::new("hunter2"), "x").unwrap();
        assert_eq!(basic.header().to_str().unwrap(), "Basic bWU6aHVudGVyMg==");
        assert!(!format!("{basic:?}").contains("bWU6"));
        assert!(Authorization::bearer(&Secret::new("a\nb"), None).is_none());
    }
}
