//! Indented JSON as Go prints it, for output that scripts compare with skopeo's.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::failure::{Failure, Kind};

/// The value with this indent, and with the escapes that Go adds for HTML. No newline at the end.
pub(super) fn to_string(value: &impl Serialize, indent: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(indent.as_bytes()));
    let failed = |error| Failure::new(Kind::Failed, "cannot write JSON").because(error);
    value.serialize(&mut serializer).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // Outside of strings JSON has none of these.
    let escapes =
        [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
    Ok(escapes.into_iter().fold(text, |text, (character, escape)| text.replace(character, escape)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_gos() {
        let value = serde_json::json!({"a": ["<b> & c"], "e": [], "n": null});
        let text = to_string(&value, "    ").unwrap();
        assert_eq!(
            text,
            "{\n    \"a\": [\n        \"\\u003cb\\u003e \\u0026 c\"\n    ],\n    \"e\": [],\n    \"n\": null\n}"
        );
    }
}
