//! Parses configuration files in YAML and JSON, in the order of the file.
//!
//! No message quotes a value, since such files hold passwords.

use serde::de::DeserializeOwned;

/// The languages of configuration files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// YAML 1.2, with YAML 1.1's ways to write true and false.
    Yaml,
    /// JSON; comments and commas too many are passed over.
    Json,
}

/// A text that is no configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", place(*.line, *.column))]
pub struct SyntaxError {
    /// The line, counted from 1; 0 where it is not known.
    pub line: u64,
    /// The column.
    pub column: u64,
    /// The problem.
    pub problem: String,
}

fn place(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!("line {line}, column {column}: ") }
}

/// Reads a document; with whether it is JSON with things that JSON does not have.
pub(super) fn read<T: DeserializeOwned>(language: Language, text: &str) -> Result<(T, bool), SyntaxError> {
    match language {
        Language::Yaml => yaml(text).map(|value| (value, false)),
        Language::Json => {
            let (strict, relaxed) = strict(text);
            json(&strict).map(|value| (value, relaxed))
        }
    }
}

fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, SyntaxError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
        let message = error.to_string();
        let said = message.rsplit_once(" at line ").map_or(message.as_str(), |(said, _)| said);
        // What follows is for those who write programs.
        let said = said.split_once(", set DuplicateKeyPolicy").map_or(said, |(said, _)| said);
        SyntaxError { line, column, problem: said.to_owned() }
    })
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, SyntaxError> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let said = message.rsplit_once(" at line ").map_or(message.as_str(), |(said, _)| said);
        // What the parser says of values that do not fit may quote them.
        let problem = if said.contains("invalid type") || said.contains("invalid value") {
            let expected = said.rsplit_once("expected ").map_or("something else", |(_, expected)| expected);
            format!("expected {expected}")
        } else {
            said.to_owned()
        };
        SyntaxError { line: error.line() as u64, column: error.column() as u64, problem }
    })
}

/// The text with blanks for comments and for commas before a closing bracket; lines stay where they are.
fn strict(text: &str) -> (String, bool) {
    let text = text.trim_start_matches('\u{feff}');
    let mut found = String::with_capacity(text.len());
    let mut relaxed = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '/' if rest.starts_with("//") || rest.starts_with("/*") => {
                let length = comment_length(rest);
                let comment = rest.get(..length).unwrap_or(rest);
                found.extend(comment.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
                relaxed = true;
                rest = rest.get(length..).unwrap_or_default();
                continue;
            }
            letter => letter.len_utf8(),
        };
        if matches!(first, '}' | ']') {
            let kept = found.trim_end();
            if kept.ends_with(',') {
                let comma = kept.len() - 1;
                found.replace_range(comma..=comma, " ");
                relaxed = true;
            }
        }
        found.push_str(rest.get(..length).unwrap_or(rest));
        rest = rest.get(length..).unwrap_or_default();
    }
    (found, relaxed)
}

/// The length of the string that begins here, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn comment_length(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    text.get(2..).and_then(|rest| rest.find("*/")).map_or(text.len(), |end| end + 4)
}

#[cfg(test)]
mod tests {
    use super::super::ordered::OrderedMap;
    use super::*;

    type Map = OrderedMap<Option<Vec<String>>>;

    fn keys(language: Language, text: &str) -> Result<String, SyntaxError> {
        let (map, relaxed) = read::<Map>(language, text)?;
        let keys: Vec<String> = map.0.into_iter().map(|(key, _)| key).collect();
        Ok(format!("{}{}", keys.join(" "), if relaxed { " relaxed" } else { "" }))
    }

    #[test]
    fn maps_keep_their_order_and_scalars_their_text() {
        assert_eq!(keys(Language::Yaml, "z: [x]\na:\nm: null\n").unwrap(), "z a m");
        assert_eq!(keys(Language::Json, r#"{"z": ["x"], "a": null, "m": []}"#).unwrap(), "z a m");
        let (map, _) = read::<Map>(Language::Yaml, "a: [3.10, 1.0, 010, yes, 2024-01-01, \"x\"]").unwrap();
        assert_eq!(map.0[0].1.as_ref().unwrap().join(" "), "3.10 1.0 010 yes 2024-01-01 x");
        assert_eq!(keys(Language::Yaml, "").unwrap(), "");
    }

    #[test]
    fn comments_and_trailing_commas_of_json_are_passed_over() {
        let text = "// all of it\n{\n  \"a//b\": [\"x\\\"//\", \"y\",], /* both\n lines */\n  // \"c\": [],\n}\n";
        assert_eq!(keys(Language::Json, text).unwrap(), "a//b relaxed");
        assert_eq!(keys(Language::Json, "{\"a\": [\"/*\", \"//\"]}").unwrap(), "a");
        let error = keys(Language::Json, "{\n // x\n \"a\": [1]}").unwrap_err();
        assert_eq!((error.line, error.problem.as_str()), (3, "expected a string"));
    }

    #[test]
    fn mistakes_are_located_and_values_not_quoted() {
        for (language, text, line, problem) in [
            (Language::Yaml, "a: [x]\na: [y]\n", 2, "duplicate mapping key: a"),
            (Language::Json, "{\"a\": [],\n\"a\": []}", 2, "the key \"a\" is given twice"),
            (Language::Yaml, "a: {hunter2: x}", 1, "expected sequence start"),
            (Language::Json, "{\"a\": \"hunter2\"}", 1, "expected a sequence"),
            (Language::Json, "{\"a\": [\"hunter2\"", 1, "EOF while parsing a list"),
            (Language::Yaml, "a: [x", 1, "unclosed bracket '['"),
            (Language::Yaml, "a: [x]\n---\nb: [x]\n", 3, "multiple YAML documents"),
        ] {
            let error = keys(language, text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.problem.starts_with(problem), "{text}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_a_reader_panic(text in "[\\[\\]{}:,\"/*\\\\\n a-z0-9&~é-]{0,60}") {
            let _ = keys(Language::Json, &text);
            let _ = keys(Language::Yaml, &text);
        }
    }
}
