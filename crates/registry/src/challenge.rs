//! Parses the challenge of a registry: `WWW-Authenticate` (RFC 9110, section 11).
//!
//! Two schemes exist among registries: `Basic`, and `Bearer` with the parameters of
//! distribution's token specification (`realm`, `service`, `scope`).

use url::Url;

/// The longest header that is read, and how many scopes of it: they go into the address that asks for a token.
const HEADER_LIMIT: usize = 16 * 1024;
const SCOPES: usize = 64;

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With a user name and a password.
    Basic,
    /// With a token that another server hands out.
    Bearer(Bearer),
}

/// The source of tokens, and their scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    /// The token server.
    pub(super) realm: Url,
    /// The registry's name at the token server.
    pub(super) service: Option<String>,
    /// What the refused request would have needed.
    pub(super) scopes: Vec<String>,
}

impl Challenge {
    /// The challenge to answer among those that `headers` hold: a token where that is offered.
    ///
    /// `None` where there is none that this client understands. A realm may be relative to `base`.
    pub(super) fn parse<'a>(headers: impl Iterator<Item = &'a str>, base: &Url) -> Option<Self> {
        let mut basic = None;
        for header in headers.filter(|header| header.len() <= HEADER_LIMIT) {
            for (scheme, parameters) in offers(header) {
                if scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(bearer) = Bearer::read(&parameters, base) {
                        return Some(Self::Bearer(bearer));
                    }
                } else if scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic
    }
}

impl Bearer {
    fn read(parameters: &[(&str, String)], base: &Url) -> Option<Self> {
        let parameter = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let realm = base.join(&parameter("realm").filter(|realm| !realm.is_empty())?).ok()?;
        let scopes = parameter("scope").unwrap_or_default();
        Some(Self {
            realm,
            service: parameter("service").filter(|service| !service.is_empty()),
            scopes: scopes.split_ascii_whitespace().take(SCOPES).map(str::to_owned).collect(),
        })
    }
}

/// A scheme with its parameters.
type Offer<'a> = (&'a str, Vec<(&'a str, String)>);

/// Reads a header as servers write it, who do not all keep to the grammar: with several blanks, semicolons for commas,
/// commas too many, and values without quotes that need them, such as `scope=repository:a:pull,push`.
fn offers(header: &str) -> Vec<Offer<'_>> {
    const SEPARATORS: [char; 4] = [' ', '\t', ',', ';'];
    let mut offers: Vec<Offer<'_>> = Vec::new();
    let mut rest = header;
    // Where a value without quotes has just ended.
    let mut bare_end = None;
    loop {
        rest = rest.trim_start_matches(SEPARATORS);
        if rest.is_empty() {
            return offers;
        }
        let begin = header.len() - rest.len();
        let (word, behind) = rest.split_at(rest.find([' ', '\t', ',', ';', '=']).unwrap_or(rest.len()));
        let parameters = offers.last_mut().map(|(_, parameters)| parameters);
        let Some(value) = behind.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            match parameters.and_then(|parameters| parameters.last_mut()) {
                // Right behind the comma, it is more of the value.
                Some((key, value)) if bare_end == Some(begin - 1) && key.eq_ignore_ascii_case("scope") => {
                    value.extend([",", word]);
                    bare_end = Some(begin + word.len());
                }
                _ => offers.push((word, Vec::new())),
            }
            rest = behind;
            continue;
        };
        let value = value.trim_start_matches([' ', '\t']);
        let (value, behind) = if let Some(quoted) = value.strip_prefix('"') {
            let Some(found) = unquoted(quoted) else { return offers };
            found
        } else {
            let (value, behind) = value.split_at(value.find(SEPARATORS).unwrap_or(value.len()));
            bare_end = Some(header.len() - behind.len());
            (value.to_owned(), behind)
        };
        if let Some(parameters) = parameters.filter(|_| !word.is_empty()) {
            parameters.push((word, value));
        }
        rest = behind;
    }
}

/// A quoted string behind its first quote, and what follows it; `None` where it does not end.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

/// The token server that a `WWW-Authenticate` header of this registry names.
///
/// It is public for the fuzzer, since only a network leads to it otherwise.
pub fn token_server(header: &str, registry: &Url) -> Option<Url> {
    match Challenge::parse(std::iter::once(header), registry)? {
        Challenge::Bearer(bearer) => Some(bearer.realm),
        Challenge::Basic => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(headers: &[&str]) -> Option<Challenge> {
        let base = Url::parse("https://registry.example/").unwrap();
        Challenge::parse(headers.iter().copied(), &base)
    }

    fn bearer(headers: &[&str]) -> Bearer {
        match parse(headers) {
            Some(Challenge::Bearer(bearer)) => bearer,
            other => panic!("{headers:?} was read as {other:?}"),
        }
    }

    #[test]
    fn reads_what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull",error="invalid_token""#;
        assert_eq!(
            bearer(&[hub]),
            Bearer {
                realm: Url::parse("https://auth.docker.io/token").unwrap(),
                service: Some("registry.docker.io".to_owned()),
                scopes: vec!["repository:library/alpine:pull".to_owned()],
            }
        );
        let two = bearer(&[r#"bearer Realm="/token", scope="repository:a:pull,push repository:b:pull""#]);
        assert_eq!((two.realm.as_str(), two.scopes.len()), ("https://registry.example/token", 2));
        assert_eq!(parse(&[r#"Basic realm="Registry Realm""#]), Some(Challenge::Basic));
    }

    #[test]
    fn servers_do_not_keep_to_the_grammar() {
        let realm = r#"realm="https://t.example/token""#;
        for header in [
            format!(r#"Bearer  {realm},service="s",scope="repository:a:pull,push""#),
            format!("Bearer\t{realm} , service = \"s\" ,scope=repository:a:pull,push"),
            format!("Bearer {realm};service=s;scope=repository:a:pull,push"),
            format!(r#" Bearer {realm},,service="s", scope="repository:a:pull,push","#),
            "Bearer realm=https://t.example/token,scope=repository:a:pull,push,service=s".to_owned(),
            format!(r#"Negotiate, Basic realm="x", Bearer {realm}, scope="repository:a:pull,push",service=s"#),
            format!(
                r#"Negotiate YWJj==, Bearer error="a, \"b\" c=d",{realm},scope="repository:a:pull,push",service=s"#
            ),
        ] {
            let read = bearer(&[&header]);
            assert_eq!(read.realm.as_str(), "https://t.example/token", "{header}");
            assert_eq!(read.service.as_deref(), Some("s"), "{header}");
            assert_eq!(read.scopes, ["repository:a:pull,push"], "{header}");
        }
        assert_eq!(bearer(&[&format!("Bearer {realm},service=127.0.0.1:5000")]).service.unwrap(), "127.0.0.1:5000");
        assert_eq!(parse(&[r#"Bearer realm="", Basic realm="x""#]), Some(Challenge::Basic));
    }

    #[test]
    fn a_token_is_preferred() {
        let token = r#"Bearer realm="https://t.example/""#;
        assert_eq!(bearer(&["Basic realm=x", token]).scopes, Vec::<String>::new());
        assert_eq!(bearer(&[&format!("{token}, Basic realm=\"x\"")]).realm.host_str(), Some("t.example"));
    }

    #[test]
    fn what_is_not_understood_is_no_challenge() {
        for header in ["", "Negotiate", "Bearer", r#"Bearer service="x""#, "Bearer realm=\"", "\u{1}"] {
            assert_eq!(parse(&[header]), None, "{header:?}");
        }
        let long = format!(r#"Bearer realm="https://t.example/{}""#, "x".repeat(HEADER_LIMIT));
        assert_eq!(parse(&[&long]), None);
        let many = format!(r#"Bearer realm="https://t.example/",scope="{}""#, "a ".repeat(1000));
        assert_eq!(bearer(&[&many]).scopes.len(), SCOPES);
        assert_eq!(parse(&["Negotiate, Basic realm=x"]), Some(Challenge::Basic));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}|(Bearer|Basic|realm|scope|[=\", \\\\a-z:/]){0,20}") {
            let _ = parse(&[&text]);
        }
    }
}
