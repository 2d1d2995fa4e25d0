//! Reads Rust just far enough: what is code and not comment or text, and which modules of the crate it names.

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

/// The top modules that a file names: by `crate::`, or by more `super::` than it is deep.
pub fn used_modules(text: &str, depth: usize) -> Vec<String> {
    let code: String = code_only(text).split_whitespace().collect::<Vec<_>>().join(" ").replace(" :: ", "::");
    let mut used = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        if !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            used.extend(heads(&code[at + path.len()..]));
        }
    }
    // Unit tests are one module deeper.
    for (part, depth) in [(without_tests(text), depth), (&text[without_tests(text).len()..], depth + 1)] {
        let code = code_only(part);
        for (at, path) in code.match_indices(&"super::".repeat(depth)) {
            used.extend(heads(&code[at + path.len()..]).into_iter().map(|head| format!("{head} by way of super")));
        }
    }
    used
}

/// The first part of each path that `rest` begins with: one, or those of a group in braces.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else { return vec![head(rest)] };
    let mut heads = vec![head(group)];
    let mut open = 1;
    for (at, character) in group.char_indices() {
        match character {
            '{' => open += 1,
            '}' if open == 1 => break,
            '}' => open -= 1,
            ',' if open == 1 => heads.push(head(&group[at + 1..])),
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn head(path: &str) -> String {
    let path = path.trim_start();
    let end = path.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(path.len());
    if path.starts_with('*') { "*".to_owned() } else { path[..end].to_owned() }
}
