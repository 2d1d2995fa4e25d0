//! Reads Rust just far enough: what is code, and not a test, a comment or text.

/// A file up to its unit tests.
pub fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

/// The code, with comments and the insides of literals left out.
pub fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = literal_or_comment(rest, code.chars().next_back());
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    code
}

/// The length of the comment or literal that `rest` begins with, 0 where it begins with code.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    let up_to = |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return up_to(2, "\n");
    }
    if rest.starts_with("/*") {
        return up_to(2, "*/");
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !before.is_some_and(char::is_alphanumeric)) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return up_to(hashes + 2, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    // A quote opens a character only where another follows it closely; else it is a lifetime.
    let mut characters = rest.chars();
    match (characters.next(), characters.next(), characters.next()) {
        (Some('\''), Some('\\'), _) | (Some('\''), _, Some('\'')) => quoted(rest, '\''),
        _ => 0,
    }
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            found if found == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}
