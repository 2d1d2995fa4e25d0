//! A token of a registry, and how long it can be used.

use std::time::{Duration, Instant};

use serde::Deserialize;

use hod_io::secret::Secret;

/// The life of a token whose server does not name one, by the specification.
const LIFETIME: Duration = Duration::from_secs(60);
/// A token is not used in its last moments, in which it could end on the way.
const MARGIN: Duration = Duration::from_secs(10);
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
    /// A number of seconds; some servers write a fraction or a text.
    expires_in: Option<serde_json::Value>,
}

impl Token {
    /// Reads the answer to a request that was sent at `asked`.
    pub(super) fn read(body: &[u8], asked: Instant) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let secret = answer.token.filter(|token| !token.is_empty()).or(answer.access_token)?;
        let seconds = match answer.expires_in {
            Some(serde_json::Value::Number(number)) => number.as_f64(),
            Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        let lifetime = seconds.filter(|seconds| *seconds > 0.0);
        let lifetime = lifetime.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(LIFETIME);
        let usable = lifetime.saturating_sub(MARGIN).max(lifetime / 2);
        let until = asked.checked_add(usable).unwrap_or(asked + LIFETIME);
        (!secret.is_empty() && secret.len() <= LONGEST).then(|| Self { secret: Secret::new(secret), until })
    }

    /// Returns true if it can still be used.
    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn read(body: &str) -> Option<(String, u64)> {
        let asked = Instant::now();
        let token = Token::read(body.as_bytes(), asked)?;
        Some((token.secret.expose().to_owned(), token.until.duration_since(asked).as_secs()))
    }

    #[test]
    fn answers_come_in_two_shapes() {
        assert_eq!(read(r#"{"token":"a","expires_in":300}"#), Some(("a".to_owned(), 290)));
        assert_eq!(read(r#"{"access_token":"b"}"#), Some(("b".to_owned(), 50)));
        assert_eq!(read(r#"{"token":"","access_token":"b","expires_in":4}"#), Some(("b".to_owned(), 2)));
        assert_eq!(read(r#"{"token":"a","expires_in":18446744073709551615}"#), Some(("a".to_owned(), 50)));
        for lifetime in ["300", "300.0", "\"300\"", "300.4"] {
            assert_eq!(read(&format!(r#"{{"token":"a","expires_in":{lifetime}}}"#)), Some(("a".to_owned(), 290)));
        }
        for lifetime in ["-1", "0", "\"soon\"", "null", "[]", "1e400", "-0.5"] {
            let found = read(&format!(r#"{{"token":"a","expires_in":{lifetime}}}"#));
            assert!(found.is_none_or(|found| found == ("a".to_owned(), 50)), "{lifetime}");
        }
        let long = |length: usize| format!(r#"{{"token":"{}"}}"#, "a".repeat(length));
        assert!(read(&long(LONGEST)).is_some() && read(&long(LONGEST + 1)).is_none());
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":1}"#, "[]"] {
            assert_eq!(read(body), None, "{body}");
        }
    }
}
