//! Who may do what: nobody asked, Basic, or the token dance of the distribution specification.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::reply::Reply;
use super::seen::{Route, Seen};
use super::{Shared, State};

/// How clients prove who they are.
#[derive(Debug)]
pub(super) enum Auth {
    None,
    Basic(User),
    Bearer(Bearer),
}

/// A user.
#[derive(Debug)]
pub(super) struct User {
    name: String,
    password: String,
}

/// How tokens are given.
#[derive(Debug)]
pub(super) struct Bearer {
    /// Who gets them; anyone where this is empty.
    pub(super) user: Option<User>,
    /// How many requests one is good for.
    pub(super) uses: usize,
    /// Whether the other host gives them.
    pub(super) elsewhere: bool,
}

/// A token that was given.
#[derive(Debug)]
pub(super) struct Token {
    text: String,
    scopes: Vec<String>,
    left: usize,
}

impl Default for Bearer {
    fn default() -> Self {
        Self { user: None, uses: usize::MAX, elsewhere: false }
    }
}

impl User {
    pub(super) fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned() }
    }

    fn is_in(&self, seen: &Seen) -> bool {
        let expected = STANDARD.encode(format!("{}:{}", self.name, self.password));
        seen.header("authorization").strip_prefix("Basic ") == Some(&expected)
    }
}

impl Auth {
    /// The settings for tokens, for a registry that gives them.
    pub(super) fn bearer(&mut self) -> &mut Bearer {
        match self {
            Self::Bearer(bearer) => bearer,
            other => panic!("the registry gives no tokens: {other:?}"),
        }
    }
}

impl Token {
    /// Whether this is good for an action of a scope such as `repository:app`.
    fn allows(&self, resource: &str, action: &str) -> bool {
        let granted = |scope: &String| {
            let actions = scope.strip_prefix(resource).and_then(|rest| rest.strip_prefix(':'));
            actions.is_some_and(|actions| actions.split(',').any(|granted| granted == action || granted == "*"))
        };
        resource.is_empty() || self.scopes.iter().any(granted)
    }
}

/// What a request needs: a resource as scopes write it, and an action on it. `/v2/` needs no more than a token.
fn need(seen: &Seen) -> (String, &'static str) {
    match seen.route.repository() {
        Some(name) => (format!("repository:{name}"), if seen.is_write() { "push" } else { "pull" }),
        None if seen.route == Route::Catalog => ("registry:catalog".to_owned(), "*"),
        None => (String::new(), "pull"),
    }
}

impl State {
    /// The refusal, where the request does not prove what it has to.
    pub(super) fn refuse(&mut self, seen: &Seen, shared: &Shared) -> Option<Reply> {
        if matches!(seen.route, Route::Token | Route::Storage(_)) {
            return None;
        }
        let refusal = |challenge: &str| {
            Reply::error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", challenge)
        };
        match &shared.auth {
            Auth::None => None,
            Auth::Basic(user) if user.is_in(seen) => None,
            Auth::Basic(_) => Some(refusal("Basic realm=\"faulty\"")),
            Auth::Bearer(bearer) => {
                let (resource, action) = need(seen);
                let given = seen.header("authorization").strip_prefix("Bearer ");
                let token = self.tokens.iter_mut().find(|token| Some(&*token.text) == given && token.left > 0);
                let problem = match token {
                    Some(token) if token.allows(&resource, action) => {
                        token.left -= 1;
                        return None;
                    }
                    Some(_) => ",error=\"insufficient_scope\"",
                    None if given.is_some() => ",error=\"invalid_token\"",
                    None => "",
                };
                let host = if bearer.elsewhere { &shared.other_host } else { &shared.host };
                let actions = if action == "push" { "pull,push" } else { action };
                let scope = if resource.is_empty() { resource } else { format!(",scope=\"{resource}:{actions}\"") };
                Some(refusal(&format!("Bearer realm=\"http://{host}/token\",service=\"faulty\"{scope}{problem}")))
            }
        }
    }

    /// Gives a token: for GET with Basic, or POST with a password or refresh token (which is the password) in a form.
    pub(super) fn token(&mut self, seen: &Seen, body: &[u8], shared: &Shared) -> Reply {
        let Auth::Bearer(bearer) = &shared.auth else { return Reply::error(404, "UNKNOWN", "no tokens here") };
        let form: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
        let known = bearer.user.as_ref().is_none_or(|user| {
            let secret = |(name, value): &(String, String)| {
                matches!(&**name, "password" | "refresh_token") && *value == user.password
            };
            user.is_in(seen) || form.iter().any(secret)
        });
        if !known {
            return Reply::error(401, "UNAUTHORIZED", "wrong user name or password");
        }
        let asked = seen
            .parameters("scope")
            .into_iter()
            .chain(form.into_iter().filter(|(name, _)| name == "scope").map(|(_, value)| value));
        let scopes = asked.flat_map(|scopes| scopes.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
        let text = format!("token-{}", self.tokens.len());
        self.tokens.push(Token { text: text.clone(), scopes, left: bearer.uses });
        Reply::json(200, &json!({"token": text, "access_token": text, "expires_in": 300}))
    }
}
