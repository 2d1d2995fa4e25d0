//! Which files of a crate import each other in a circle.
//!
//! A path is followed to the file that defines what it names: through modules, through `pub use`, and through what a
//! parent has imported. A `use` of something that the file does not mention itself only hands it on, and is no arrow.

use std::collections::{BTreeMap, BTreeSet};

use super::code::{code_only, without_tests};

/// The modules on the way to a file, from the root of its crate: `["copy", "load"]`.
type Module = Vec<String>;

/// A name that a file has imported, and the path that it stands for.
struct Import {
    name: String,
    path: Vec<String>,
}

/// What a file names.
struct File {
    imports: Vec<Import>,
    /// The code without its imports.
    code: String,
}

/// The files of a crate, by module.
pub struct Crate {
    files: BTreeMap<Module, File>,
}

impl Crate {
    /// A crate of these files, each with its path below `src/`.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files = files.into_iter().map(|(path, text)| (module(path), File::new(text)));
        Self { files: files.collect() }
    }

    /// Files that use each other in a circle: for each arrow of one `user -> used: names`.
    pub fn circles(&self) -> Vec<String> {
        let arrows: BTreeMap<_, _> = self.files.keys().map(|module| (module, self.arrows(module))).collect();
        let reached: BTreeMap<_, _> = arrows.keys().map(|module| (*module, reached(module, &arrows))).collect();
        let mut circles = Vec::new();
        for (user, used) in &arrows {
            for (used, names) in
                used.iter().filter(|(used, _)| reached.get(used).is_some_and(|all| all.contains(*user)))
            {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                circles.push(format!("{} -> {}: {}", shown(user), shown(used), names.join(", ")));
            }
        }
        circles
    }

    /// The files that one uses, with what it uses of them.
    fn arrows(&self, user: &Module) -> BTreeMap<Module, BTreeSet<String>> {
        let file = &self.files[user];
        let mentioned = file.imports.iter().filter(|import| is_mentioned(&import.name, &file.code));
        let paths = mentioned.map(|import| import.path.clone()).chain(paths(&file.code));
        let mut arrows: BTreeMap<Module, BTreeSet<String>> = BTreeMap::new();
        for path in paths {
            let Some(used) = self.definer(user, &path, &mut BTreeSet::new()).filter(|used| used != user) else {
                continue;
            };
            arrows.entry(used).or_default().insert(path.last().unwrap().clone());
        }
        arrows
    }

    /// The file that defines what a path in a file leads to, if it is in this crate. `seen` are the imports on the way.
    fn definer(&self, from: &Module, path: &[String], seen: &mut BTreeSet<(Module, String)>) -> Option<Module> {
        let mut at = from.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            name => {
                if !self.files.contains_key(&below(&at, name)) {
                    return self.imported(from, name, &rest[1..], seen);
                }
            }
        }
        while let Some(name) = rest.first() {
            let deeper = below(&at, name);
            if !self.files.contains_key(&deeper) {
                return self.imported(&at, name, &rest[1..], seen).or(Some(at));
            }
            at = deeper;
            rest = &rest[1..];
        }
        Some(at)
    }

    /// The file that defines what a file has imported by a name.
    fn imported(
        &self,
        file: &Module,
        name: &str,
        rest: &[String],
        seen: &mut BTreeSet<(Module, String)>,
    ) -> Option<Module> {
        let import = self.files.get(file)?.imports.iter().find(|import| import.name == name)?;
        if !seen.insert((file.clone(), name.to_owned())) {
            return None;
        }
        let path: Vec<String> = import.path.iter().chain(rest).cloned().collect();
        self.definer(file, &path, seen)
    }
}

impl File {
    fn new(text: &str) -> Self {
        let text =
            code_only(without_tests(text)).split_whitespace().collect::<Vec<_>>().join(" ").replace(" :: ", "::");
        let (mut imports, mut code) = (Vec::new(), String::new());
        let mut rest = text.as_str();
        while let Some(at) = rest.match_indices("use ").map(|(at, _)| at).find(|at| begins_a_word(rest, *at)) {
            let end = rest[at..].find(';').map_or(rest.len(), |end| at + end);
            code.push_str(&rest[..at]);
            add(&mut imports, &[], &rest[at + "use ".len()..end]);
            rest = &rest[end..];
        }
        code.push_str(rest);
        Self { imports, code }
    }
}

/// Adds what a tree of `use` imports.
fn add(imports: &mut Vec<Import>, above: &[String], tree: &str) {
    let tree = tree.trim();
    if tree.is_empty() {
        // After the last comma.
        return;
    }
    if let Some((path, group)) = tree.split_once('{') {
        let above: Vec<String> = above.iter().cloned().chain(parts(path)).collect();
        let group = group.trim_end().trim_end_matches('}');
        let (mut depth, mut begin) = (0, 0);
        for (at, character) in group.char_indices().chain([(group.len(), ',')]) {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    add(imports, &above, &group[begin..at]);
                    begin = (at + 1).min(group.len());
                }
                _ => {}
            }
        }
        return;
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
    let mut path: Vec<String> = above.iter().cloned().chain(parts(path)).collect();
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(last) = path.last() {
        imports.push(Import { name: alias.unwrap_or(last).trim().to_owned(), path });
    }
}

fn parts(path: &str) -> impl Iterator<Item = String> {
    path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty())
}

/// The paths of more than one part in code.
fn paths(code: &str) -> impl Iterator<Item = Vec<String>> {
    let words = code.split(|character: char| !(character.is_alphanumeric() || matches!(character, '_' | ':')));
    let paths = words.filter(|word| word.contains("::")).map(|word| parts(word.trim_start_matches(':')).collect());
    paths.filter(|path: &Vec<String>| path.len() > 1)
}

fn is_mentioned(name: &str, code: &str) -> bool {
    code.match_indices(name).any(|(at, _)| begins_a_word(code, at) && !continues(&code[at + name.len()..]))
}

fn begins_a_word(text: &str, at: usize) -> bool {
    !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
}

fn continues(rest: &str) -> bool {
    rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
}

/// The module of a file below `src/`.
fn module(path: &str) -> Module {
    let names = path.trim_end_matches(".rs").split('/').map(str::to_owned);
    names.filter(|name| name != "lib").collect()
}

fn below(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

fn shown(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("::") }
}

/// All files that are reached from one by arrows.
fn reached<'a>(
    from: &Module,
    arrows: &'a BTreeMap<&Module, BTreeMap<Module, BTreeSet<String>>>,
) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Module> = arrows[from].keys().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(arrows[next].keys());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> usize {
        Crate::new(files.iter().copied()).circles().len()
    }

    #[test]
    fn circles_are_found_through_whatever_hands_a_name_on() {
        let back = ("b.rs", "use crate::a::A; fn b(_: A) {}");
        for (files, count) in [
            (vec![("a.rs", "use crate::b::b; fn x() { b() }"), back], 2),
            (vec![("a.rs", "struct A; fn x() { crate::b::b() }"), back], 2),
            (vec![("a.rs", "struct A; fn x() { super::b::b() }"), back], 2),
            (vec![("a.rs", "use super::{b, c}; struct A; fn x() { b::b() }"), back], 2),
            (vec![("a.rs", "use crate::b as other; struct A; fn x() { other::b() }"), back], 2),
            // What is only handed on, or said in a comment, a text or a test.
            (vec![("a.rs", "pub use crate::b::b; pub struct A;"), back], 0),
            (vec![("a.rs", "// crate::b::b\nconst X: &str = \"crate::b::b\";"), back], 0),
            (vec![("a.rs", "struct A;\n#[cfg(test)]\nmod tests { use crate::b::b; fn x() { b() } }"), back], 0),
            (vec![("a.rs", "use other::b::b; fn x() { b() }"), back], 0),
            // A parent that only hands on, and one that defines.
            (vec![("lib.rs", "mod a; pub use a::A; pub use b::b;"), ("a.rs", "use crate::b; fn x() { b() }"), back], 2),
            (vec![("lib.rs", "pub use a::A;"), ("a.rs", "struct A;"), ("b.rs", "use crate::A; fn b(_: A) {}")], 0),
            (vec![("lib.rs", "mod a; fn x() { a::a() }"), ("a.rs", "fn a() { crate::x() }")], 2),
            (vec![("a.rs", "use b::B; struct A(B);"), ("a/b.rs", "use super::A; struct B(A);")], 2),
            (vec![("a.rs", "mod b; use self::b::B; struct A(B);"), ("a/b.rs", "struct B;")], 0),
            // After the last comma of a group stands nothing.
            (vec![("a.rs", "use crate::{\n    b::b,\n};\nstruct A; fn x() { b() }"), back], 2),
            (
                vec![("a.rs", "struct A;"), ("a/b.rs", "use super::{\n    A,\n};\nstruct B(A); fn x() { super::y() }")],
                0,
            ),
            // Through three files.
            (
                vec![
                    ("a.rs", "fn a() { crate::b::b() }"),
                    ("b.rs", "fn b() { crate::c::c() }"),
                    ("c.rs", "fn c() { crate::a::a() }"),
                ],
                3,
            ),
        ] {
            assert_eq!(circles(&files), count, "{files:?}");
        }
    }
}
