//! Holds the code to the drawing in `docs/architecture.md`, and to the house rules that can be read off a file.
//!
//! A crate uses only crates to its left in that drawing. The crates neither print nor exit nor ask the environment; the
//! command in `src/` does. Files open with `//!` and stay short.

mod circles;
mod code;
mod surface;

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use walkdir::WalkDir;

use circles::Crate;
use code::{code_only, without_tests};
use surface::SourceFile;

/// Lines of a file.
const LINES: usize = 600;
/// Lines of a file before its tests.
const LINES_BEFORE_TESTS: usize = 450;

/// What only the command may do.
const FOR_THE_COMMAND_ONLY: [&str; 14] = [
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "dbg!",
    "stdout()",
    "stderr()",
    "process::exit",
    "env::var",
    "env::args",
    "env::current_dir",
    "env::home_dir",
    "env::set_var",
    "env::remove_var",
];

/// The layers of crates, lowest first: from the line with `<` in the page.
fn layers(page: &str) -> Vec<Vec<&str>> {
    let line = page.lines().find(|line| line.contains(" < ")).unwrap();
    line.split(" < ").map(|layer| layer.split(',').map(str::trim).collect()).collect()
}

/// The crates of hod that a manifest names, for the crate or for its tests.
fn used_crates(manifest: &str) -> impl Iterator<Item = &str> {
    let lines = manifest.lines().filter_map(|line| line.strip_prefix("hod-"));
    lines.map(|line| line.split(['.', ' ']).next().unwrap_or_default())
}

/// Everything that is wrong with what a crate uses.
fn layer_violations(name: &str, manifest: &str, layers: &[Vec<&str>]) -> Vec<String> {
    let layer_of = |name: &str| layers.iter().position(|layer| layer.contains(&name));
    let Some(own) = layer_of(name) else { return vec![format!("{name} is not in the drawing")] };
    let above = used_crates(manifest).filter(|used| layer_of(used).is_none_or(|layer| layer >= own));
    above.map(|used| format!("{name} uses {used}, which does not stand to its left")).collect()
}

/// Everything that is wrong with a file.
fn house_violations(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if !text.starts_with("//! ") {
        violations.push(format!("{path}: does not open with //!"));
    }
    let (lines, before_tests) = (text.lines().count(), without_tests(text).lines().count());
    if lines > LINES || before_tests > LINES_BEFORE_TESTS {
        violations.push(format!("{path}: {lines} lines, {before_tests} of them before the tests"));
    }
    if path.starts_with("crates/") {
        let code = code_only(without_tests(text));
        for forbidden in FOR_THE_COMMAND_ONLY.iter().filter(|word| contains_word(&code, word)) {
            violations.push(format!("{path}: {forbidden} belongs into the command"));
        }
    }
    violations
}

/// Whether a word occurs that is not the end of a longer one (`print!` in `eprint!`).
fn contains_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn crates_use_what_stands_to_their_left() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let layers = layers(&page);
    let mut violations = Vec::new();
    let mut crates = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        violations.extend(layer_violations(&name, &fs::read_to_string(path.join("Cargo.toml")).unwrap(), &layers));
        if !page.contains(&format!("| `crates/{name}` |")) {
            violations.push(format!("{name} has no row in the table"));
        }
        crates.push(name);
    }
    let drawn = layers.iter().flatten().filter(|name| !crates.iter().any(|known| known == *name));
    violations.extend(drawn.map(|name| format!("there is no crate {name}")));
    assert!(crates.len() > 10, "only {crates:?} were found");
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// The errors of places become errors of the engine, which do not say of which type they were. The command knows these
/// types by a list, and what to do about each.
#[test]
fn the_command_knows_all_errors_of_places() {
    let list = fs::read_to_string(root().join("src/failure/endpoint.rs")).unwrap();
    let mut unknown = Vec::new();
    let mut found = 0;
    for path in rust_files(&["crates"]) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let code = code_only(without_tests(&text));
        let into = code.split("From<").skip(1).filter_map(|rest| rest.split_once("> for EndpointError"));
        let into = into.map(|(name, _)| name).filter(|name| !name.contains(['>', '\n']));
        // `EndpointError::new(Fault::Full, LayerError::Write { … })`
        let new = code.split("EndpointError::new(Fault::").skip(1).filter_map(|rest| rest.split_once(", "));
        let new = new.filter_map(|(_, cause)| cause.split_once("::")).map(|(name, _)| name);
        let new = new.filter(|name| name.ends_with("Error") && name.chars().all(char::is_alphanumeric));
        for name in into.chain(new) {
            found += 1;
            if !list.contains(&format!("known::<{name}>")) {
                unknown.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(found > 4, "only {found} errors were found");
    assert!(unknown.is_empty(), "\n{}\n", unknown.join("\n"));
}

/// The Rust files below some directories, by their paths in the repository.
fn rust_files(directories: &[&str]) -> Vec<String> {
    let entries = directories.iter().flat_map(|directory| WalkDir::new(root().join(directory)).sort_by_file_name());
    let paths = entries.map(|entry| entry.unwrap().path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
    let files: Vec<String> = paths.filter(|path| Path::new(path).extension().is_some_and(|end| end == "rs")).collect();
    assert!(files.len() > 5, "only {files:?} were found");
    files
}

#[test]
fn files_keep_to_the_house_rules() {
    let violations = rust_files(&["src", "crates", "tests"]).into_iter().flat_map(|path| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        house_violations(&path, &text)
    });
    let violations: Vec<String> = violations.collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut crates: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for path in rust_files(&["src", "crates"]) {
        let (name, inside) = match path.strip_prefix("crates/") {
            Some(rest) => rest.split_once("/src/").unwrap(),
            None => ("hod", path.strip_prefix("src/").unwrap()),
        };
        let text = fs::read_to_string(root().join(&path)).unwrap();
        // Those use the crate as others do.
        if inside != "main.rs" && !inside.ends_with("testing.rs") {
            crates.entry(name.to_owned()).or_default().push((inside.to_owned(), text));
        }
    }
    let circles = crates.iter().flat_map(|(name, files)| {
        let found = Crate::new(files.iter().map(|(path, text)| (path.as_str(), text.as_str()))).circles();
        found.into_iter().map(move |arrow| format!("{name}: {arrow}"))
    });
    let circles: Vec<String> = circles.collect();
    assert!(crates.len() > 10, "only {:?} were found", crates.keys());
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn what_is_public_is_used_by_another_crate() {
    let texts = rust_files(&["src", "crates", "tests"]).into_iter().map(|path| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        (path, text)
    });
    let texts: Vec<(String, String)> = texts.collect();
    let files = texts.iter().map(|(path, text)| {
        let owner = path.strip_prefix("crates/").unwrap_or(path).split('/').next().unwrap_or_default();
        SourceFile { owner, path, text }
    });
    let unused = surface::unused(&files.collect::<Vec<_>>());
    assert!(unused.is_empty(), "\n{}\n", unused.join("\n"));
}

#[test]
fn endpoints_need_few_methods() {
    let code = code_only(&fs::read_to_string(root().join("crates/engine/src/endpoint.rs")).unwrap());
    for (name, expected) in [
        ("Source", vec!["place", "manifest", "open"]),
        ("Sink", vec!["place", "published", "contains", "put", "publish"]),
    ] {
        let body = code.split(&format!("pub trait {name}")).nth(1).unwrap().split("\n}").next().unwrap();
        let methods = body.split(" fn ").skip(1);
        // What has a default ends its head with a brace.
        let needed = methods.filter(|method| method.find(';').is_some_and(|end| !method[..end].contains('{')));
        let needed: Vec<&str> = needed.map(|method| method.split('(').next().unwrap()).collect();
        assert_eq!(needed, expected, "the core of {name}");
    }
}

#[test]
fn parameters_of_public_functions_say_what_they_are() {
    let unclear = rust_files(&["crates"]).into_iter().flat_map(|path| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let unclear = surface::unclear_parameters(&code_only(without_tests(&text)));
        unclear.into_iter().map(move |parameter| format!("{path}: {parameter}")).collect::<Vec<_>>()
    });
    let unclear: Vec<String> = unclear.collect();
    assert!(unclear.is_empty(), "\n{}\n", unclear.join("\n"));
}

#[test]
fn every_word_of_the_glossary_is_in_the_code() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let glossary = page.split("## The words").nth(1).unwrap().split("\n## ").next().unwrap();
    let names: Vec<&str> = glossary.split('`').filter(|code| code.contains("::")).collect();
    assert!(names.len() >= 30, "{names:?}");
    for name in names {
        let (owner, name) = name.split_once("::").unwrap();
        let sources = format!("crates/{owner}/src");
        let defines = |path: &String| {
            let text = fs::read_to_string(root().join(path)).unwrap();
            let is_module = path == &format!("{sources}/{name}.rs");
            is_module
                || ["struct", "enum", "trait"].iter().any(|kind| {
                    let definition = format!("pub {kind} {name}");
                    text.match_indices(&definition)
                        .any(|(at, _)| !text[at + definition.len()..].starts_with(char::is_alphanumeric))
                })
        };
        assert!(rust_files(&[&sources]).iter().any(defines), "{owner}::{name} is not defined");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_point_to_the_left() {
        let drawing = layers("x\noci, io < engine < store, registry");
        for (name, manifest, count) in [
            ("oci", "[dependencies]\nbytes.workspace = true\n", 0),
            ("engine", "[dependencies]\nhod-io.workspace = true\nhod-oci = { path = \"../oci\" }\n", 0),
            ("engine", "hod-engine.workspace = true\n", 1),
            ("engine", "[dev-dependencies]\nhod-store = { workspace = true, features = [\"testing\"] }\n", 1),
            ("store", "hod-engine.workspace = true\nhod-registry.workspace = true\n", 1),
            ("store", "hod-other.workspace = true\n", 1),
            ("other", "", 1),
        ] {
            assert_eq!(layer_violations(name, manifest, &drawing).len(), count, "{name}: {manifest}");
        }
    }

    #[test]
    fn house_rules() {
        let long = format!("//! x\n{}", "\n".repeat(500));
        let tested = format!("//! x\n#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(500));
        for (path, text, count) in [
            ("crates/oci/src/x.rs", "//! x\nfn f() {}", 0),
            ("crates/oci/src/x.rs", "fn f() {}", 1),
            ("tests/it/x.rs", "use x;", 1),
            ("crates/oci/src/x.rs", &*long, 1),
            ("crates/oci/src/x.rs", &*tested, 0),
            ("crates/oci/src/x.rs", &*format!("{tested}{}", "\n".repeat(100)), 1),
            ("crates/oci/src/x.rs", "//! x\nfn f() { println!(\"x\") }", 1),
            ("crates/oci/src/x.rs", "//! x\nfn f() { eprint!(\"print!\") }", 1),
            ("crates/oci/src/x.rs", "//! x\n// println!()\nfn f() { std::env::consts::ARCH; env!(\"X\"); }", 0),
            ("crates/oci/src/x.rs", "//! x\nfn f() { std::env::var_os(\"X\"); std::process::exit(1) }", 2),
            ("src/x.rs", "//! x\nfn f() { println!(\"x\") }", 0),
            ("tests/it/x.rs", "//! x\nfn f() { println!(\"x\") }", 0),
            ("crates/oci/src/x.rs", "//! x\n#[cfg(test)]\nmod tests {\n fn f() { println!(\"x\") }\n}\n", 0),
        ] {
            assert_eq!(house_violations(path, text).len(), count, "{path}: {text}");
        }
    }
}
