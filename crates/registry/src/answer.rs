//! Parses the error responses of registries (OCI distribution-spec, "Error Codes").
//!
//! The text is written by a stranger and ends up on a terminal: it is bounded, and control characters
//! are taken out.

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use hod_engine::observe::acts_on_terminals;

/// As much of an answer's body as is read.
pub(super) const ANSWER_LIMIT: usize = 64 * 1024;
/// As many characters of a text as are shown.
const TEXT_LIMIT: usize = 400;
/// As many reasons as are kept.
const REASON_LIMIT: usize = 8;

/// An answer with an error status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The method of the request.
    pub method: Method,
    /// Where it went, without what may be secret.
    pub url: String,
    /// The status.
    pub status: StatusCode,
    /// The registry's own words, if it had any.
    pub reasons: Vec<Reason>,
    /// How long the registry asks to wait.
    pub retry_after: Option<Duration>,
}

/// One of the reasons that a registry gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// A code such as `MANIFEST_UNKNOWN`; may be empty.
    pub code: String,
    /// Its meaning.
    pub message: String,
    /// More about it, text or JSON; may be empty.
    pub detail: String,
}

impl Answer {
    /// Puts an answer together from what came.
    pub(super) fn new(method: Method, url: String, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Self {
            method,
            url,
            status,
            reasons: reasons(body),
            retry_after: retry_after.and_then(|text| parse_retry_after(text, SystemTime::now())),
        }
    }

    /// Returns true if one of the reasons has this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.reasons.iter().any(|reason| reason.code.eq_ignore_ascii_case(code))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} answered {}", self.method, self.url, self.status)?;
        for (position, reason) in self.reasons.iter().enumerate() {
            f.write_str(if position == 0 { " (" } else { "; " })?;
            reason.fmt(f)?;
        }
        if self.reasons.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.code, &self.message, &self.detail];
        let mut parts = parts.into_iter().filter(|part| !part.is_empty());
        f.write_str(parts.next().map_or("", String::as_str))?;
        parts.try_for_each(|part| write!(f, ": {part}"))
    }
}

/// The shapes that registries and token servers answer in.
#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    errors: Vec<serde_json::Value>,
    error: Option<serde_json::Value>,
    error_description: Option<serde_json::Value>,
    code: Option<serde_json::Value>,
    message: Option<serde_json::Value>,
    #[serde(alias = "detail")]
    details: Option<serde_json::Value>,
}

fn reasons(body: &[u8]) -> Vec<Reason> {
    let Ok(wire) = serde_json::from_slice::<Wire>(body) else {
        return plain(body).into_iter().collect();
    };
    let from_list = wire.errors.iter().take(REASON_LIMIT).map(|error| match error {
        serde_json::Value::Object(fields) => {
            let field = |name: &str| fields.get(name).map(text).unwrap_or_default();
            Reason { code: field("code"), message: field("message"), detail: field("detail") }
        }
        other => Reason { code: String::new(), message: text(other), detail: String::new() },
    });
    let mut found: Vec<_> = from_list.collect();
    if found.is_empty() {
        let part = |first: &Option<serde_json::Value>, second: &Option<serde_json::Value>| {
            first.as_ref().or(second.as_ref()).map(text).unwrap_or_default()
        };
        let reason = Reason {
            code: part(&wire.code, &wire.error),
            message: part(&wire.message, &wire.error_description),
            detail: part(&wire.details, &None),
        };
        found.push(reason);
    }
    found.retain(|reason| [&reason.code, &reason.message, &reason.detail].iter().any(|part| !part.is_empty()));
    found
}

/// A body that is no JSON, where it reads like a sentence and not like a page.
fn plain(body: &[u8]) -> Option<Reason> {
    let message = clean(std::str::from_utf8(body).ok()?);
    let sentence = !message.is_empty() && !message.starts_with('<');
    sentence.then(|| Reason { code: String::new(), message, detail: String::new() })
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::Object(fields) if fields.is_empty() => String::new(),
        serde_json::Value::Array(items) if items.is_empty() => String::new(),
        serde_json::Value::String(text) => clean(text),
        other => clean(&other.to_string()),
    }
}

/// One line of at most [`TEXT_LIMIT`] characters, without what a terminal would act on.
fn clean(text: &str) -> String {
    let printable = text.chars().map(|letter| if letter.is_whitespace() { ' ' } else { letter });
    let mut clean: String = printable.filter(|letter| !acts_on_terminals(*letter)).take(TEXT_LIMIT).collect();
    clean.truncate(clean.trim_end().len());
    clean.trim_start().to_owned()
}

/// `Retry-After` in both of its forms (RFC 9110, section 10.2.3): seconds, or a date.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> String {
        let url = "https://r.example/v2/".to_owned();
        let answer =
            Answer::new(Method::GET, url, StatusCode::from_u16(404).unwrap(), &HeaderMap::new(), body.as_bytes());
        answer.to_string().strip_prefix("GET https://r.example/v2/ answered 404 Not Found").unwrap().to_owned()
    }

    #[test]
    fn keeps_the_words_of_the_registry() {
        assert_eq!(
            shown(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"1"}}]}"#),
            r#" (MANIFEST_UNKNOWN: manifest unknown: {"Tag":"1"})"#
        );
        assert_eq!(shown(r#"{"errors":[{"code":"A","detail":{}},{"message":"b","detail":[]}]}"#), " (A; b)");
        assert_eq!(shown(r#"{"details":"incorrect username or password"}"#), " (incorrect username or password)");
        assert_eq!(shown(r#"{"error":"invalid_grant","error_description":"x"}"#), " (invalid_grant: x)");
        assert_eq!(shown("404 page not found\n"), " (404 page not found)");
        assert_eq!(shown("<html><body>Not here</body></html>"), "");
        assert_eq!(shown(r#"{"errors":[]}"#), "");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn terminals_get_nothing_to_act_on() {
        assert_eq!(shown("a\u{1b}[31mb\r\n\u{202e}c"), " (a[31mb  c)");
        assert!(shown(&"x".repeat(10_000)).len() < 500);
    }

    #[test]
    fn reads_retry_after_in_both_forms() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        assert_eq!(parse_retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:28:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:00:00 GMT", now), Some(Duration::ZERO));
        for text in ["", "-1", "soon", "1.5"] {
            assert_eq!(parse_retry_after(text, now), None, "{text:?}");
        }
    }
}
