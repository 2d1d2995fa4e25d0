//! What is public in a crate and used by no other.

use std::collections::{BTreeMap, BTreeSet};

use super::code::{code_only, without_tests};

/// What may stand between `pub` and the kind of an item.
const QUALIFIERS: [&str; 3] = ["async", "const", "unsafe"];
/// Types may be public because something public has them in its signature.
const TYPES: [&str; 4] = ["struct", "enum", "trait", "type"];
const OTHERS: [&str; 3] = ["fn", "static", "mod"];

/// One file and the crate that it is part of.
#[derive(Debug, Clone, Copy)]
pub struct SourceFile<'a> {
    pub owner: &'a str,
    pub path: &'a str,
    pub text: &'a str,
}

/// Public items in `crates/` that no other crate names, nor a public signature of their own.
pub fn unused(files: &[SourceFile<'_>]) -> Vec<String> {
    let mut namers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut signed: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let mut public = Vec::new();
    for file in files {
        for word in words(&code_only(file.text)) {
            namers.entry(word.to_owned()).or_default().insert(file.owner);
        }
        if !file.path.starts_with("crates/") {
            continue;
        }
        for signature in signatures(&code_only(without_tests(file.text))) {
            for word in words(&signature) {
                *signed.entry((file.owner, word.to_owned())).or_default() += 1;
            }
            if let Some((kind, name)) = item(&signature) {
                public.push((*file, kind.to_owned(), name.to_owned()));
            }
        }
    }
    let is_used = |file: &SourceFile<'_>, kind: &str, name: &String| {
        namers[name].len() > 1
            // One of them is where it is defined.
            || TYPES.contains(&kind) && signed[&(file.owner, name.clone())] > 1
    };
    let unused = public.iter().filter(|(file, kind, name)| !is_used(file, kind, name));
    unused
        .map(|(file, kind, name)| format!("{}: {kind} {name} is public, and no other crate uses it", file.path))
        .collect()
}

/// The public items, each up to its body or end; of enums and traits the body, too, and types that traits ask for.
fn signatures(code: &str) -> Vec<String> {
    let begins = ["pub ", "type Err ", "type Error ", "type Item ", "type Output "];
    let begins = begins.iter().flat_map(|begin| code.match_indices(begin)).filter(|(at, _)| {
        code[..*at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && before != '_')
    });
    let texts = begins.map(|(at, _)| {
        let rest = &code[at..];
        let has_open_body = ["pub enum ", "pub trait "].iter().any(|begin| rest.starts_with(begin));
        // The body of what stands at the margin ends there.
        let end = if has_open_body { rest.find("\n}") } else { rest.find(['{', ';', '}']) };
        rest[..end.unwrap_or(rest.len())].to_owned()
    });
    texts.filter(|text| !text.starts_with("pub use")).collect()
}

/// The kind and name of an item, if it is one and no field.
fn item(signature: &str) -> Option<(&str, &str)> {
    let mut parts = words(signature).skip(1).peekable();
    let mut kind = parts.next()?;
    while QUALIFIERS.contains(&kind) && parts.peek().is_some_and(|next| *next == "fn" || QUALIFIERS.contains(next)) {
        kind = parts.next()?;
    }
    let is_item = TYPES.contains(&kind) || OTHERS.contains(&kind) || kind == "const";
    is_item.then_some((kind, parts.next()?))
}

/// Parameters of public functions whose meaning a caller cannot see: tuples and `bool`.
pub fn unclear_parameters(code: &str) -> Vec<String> {
    let functions =
        signatures(code).into_iter().filter(|signature| item(signature).is_some_and(|(kind, _)| kind == "fn"));
    functions
        .flat_map(|signature| {
            let name = item(&signature).map(|(_, name)| name.to_owned()).unwrap_or_default();
            let unclear = parameters(&signature).into_iter().filter(|parameter| is_unclear(parameter));
            unclear.map(|parameter| format!("{name}({parameter})")).collect::<Vec<_>>()
        })
        .collect()
}

/// The parameters of a function, each with its type.
fn parameters(signature: &str) -> Vec<String> {
    let (mut parameters, mut depth, mut generics) = (vec![String::new()], 0_usize, 0_usize);
    let mut before = ' ';
    for letter in signature.chars() {
        match letter {
            // Generics may have parentheses of their own, as in `F: Fn(u8)`.
            '<' if depth == 0 => generics += 1,
            '>' if depth == 0 && before != '-' => generics = generics.saturating_sub(1),
            '(' if depth == 0 && generics == 0 => depth = 1,
            ')' if depth == 1 => break,
            ',' if depth == 1 => parameters.push(String::new()),
            _ if depth > 0 => {
                match letter {
                    '(' | '[' | '<' => depth += 1,
                    ')' | ']' => depth -= 1,
                    '>' if before != '-' => depth -= 1,
                    _ => {}
                }
                parameters.last_mut().unwrap().push(letter);
            }
            _ => {}
        }
        before = letter;
    }
    parameters.iter().map(|parameter| parameter.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn is_unclear(parameter: &str) -> bool {
    let (pattern, kind) = parameter.split_once(": ").unwrap_or((parameter, ""));
    let kind = kind.trim_start_matches('&').trim_start_matches("mut ");
    pattern.starts_with('(') || kind == "bool" || kind.starts_with('(') && kind != "()"
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !(character.is_alphanumeric() || character == '_')).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_and_flags_are_unclear() {
        for (text, unclear) in [
            ("pub fn one(a: u8, b: &[u8]) -> (u8, bool) {}", &[][..]),
            ("pub fn one(a: Vec<(u8, bool)>, b: impl Fn(bool) -> (u8, u8)) {}", &[]),
            ("pub fn one<F: Fn(bool) -> bool>(f: F, set: bool) {}", &["one(set: bool)"]),
            ("pub async fn one(\n    (a, b): (&A, B),\n) {}", &["one((a, b): (&A, B))"]),
            ("pub const fn one(self, pair: &(A, B)) {}", &["one(pair: &(A, B))"]),
            ("pub(super) fn one(set: bool) {}\nfn two(set: bool) {}", &[]),
        ] {
            assert_eq!(unclear_parameters(text), unclear, "{text}");
        }
    }

    #[test]
    fn what_is_public_is_used_elsewhere() {
        for (text, elsewhere, count) in [
            ("pub fn one() {}", "use a::one;", 0),
            ("pub fn one() {}", "", 1),
            ("pub(crate) fn one() {}", "", 0),
            ("pub const fn one() {}", "", 1),
            ("pub const ONE: u8 = 1;", "", 1),
            ("pub struct One { pub field: u8 }", "", 1),
            ("pub struct One { pub field: u8 }\npub fn one() -> One {}", "a::one()", 0),
            ("fn two() -> One {}\npub struct One;", "", 1),
            ("pub struct One;\npub enum Two {\n A(One),\n}\n", "a::Two", 0),
            ("pub struct One;\nimpl FromStr for X {\n type Err = One;\n}\n", "", 0),
            ("impl X {\n pub fn one(&self) {}\n}", "x.one()", 0),
            ("impl X {\n pub fn one(&self) {}\n}", "// x.one()", 1),
            ("pub fn one() {}\n#[cfg(test)]\nmod tests { fn x() { super::one() } }", "", 1),
            ("pub use b::One;", "", 0),
        ] {
            let file = SourceFile { owner: "a", path: "crates/a/src/lib.rs", text };
            let other = SourceFile { owner: "b", path: "src/main.rs", text: elsewhere };
            assert_eq!(unused(&[file, other]).len(), count, "{text}");
        }
    }
}
