//! Holds the code to the layers that `src/lib.rs` draws, and to the house rules that can be read off a file.
//!
//! A module may use only modules to its left in that drawing, and never climbs to the crate's root by `super`. The
//! library neither prints nor exits nor asks the environment; `cli` does. Files open with `//!` and stay short.

mod code;

use std::path::Path;

use fs_err as fs;
use walkdir::WalkDir;

use code::{code_only, used_modules, without_tests};

/// Lines of a file.
const LINES: usize = 600;
/// Lines of a file before its tests.
const LINES_BEFORE_TESTS: usize = 450;

/// Uses that the drawing does not allow, and why they are there.
const EXCEPTIONS: [(&str, &str, &str); 3] = [
    ("observe", "endpoint", "an event says how content was placed"),
    ("observe", "oci", "an event says which content"),
    ("cli", "serve", "a command starts the server"),
];

/// What only `cli` may do.
const FOR_CLI_ONLY: [&str; 14] = [
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

/// The layers, lowest first, each with its modules: from the line with `<` in the documentation of the crate.
fn layers(documentation: &str) -> Vec<Vec<String>> {
    let line = documentation.lines().find(|line| line.starts_with("//!") && line.contains(" < ")).unwrap();
    let names = |layer: &str| layer.split(',').map(|name| name.trim().to_owned()).collect();
    line.trim_start_matches("//!").split(" < ").map(names).collect()
}

/// Everything that is wrong with the imports of a file of the library.
fn import_violations(path: &str, text: &str, layers: &[Vec<String>]) -> Vec<String> {
    let module = top_module(path);
    let layer_of = |name: &str| layers.iter().position(|layer| layer.iter().any(|known| known == name));
    let Some(own) = layer_of(module) else {
        let is_root = matches!(module, "lib" | "main");
        return if is_root { Vec::new() } else { vec![format!("{path}: {module} is in no layer of src/lib.rs")] };
    };
    let depth = Path::new(path.strip_prefix("src/").unwrap_or(path)).components().count();
    let mut violations = Vec::new();
    for used in used_modules(text, depth) {
        let allowed = used == module
            || EXCEPTIONS.iter().any(|(user, exception, _)| (*user, *exception) == (module, &used))
            || layer_of(&used).is_some_and(|layer| layer < own);
        if !allowed {
            violations.push(format!("{path}: {module} uses {used}, which does not stand to its left"));
        }
    }
    violations
}

/// Everything that is wrong with a file besides its imports.
fn house_violations(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if !text.starts_with("//! ") {
        violations.push(format!("{path}: does not open with //!"));
    }
    let (lines, before_tests) = (text.lines().count(), without_tests(text).lines().count());
    if lines > LINES || before_tests > LINES_BEFORE_TESTS {
        violations.push(format!("{path}: {lines} lines, {before_tests} of them before the tests"));
    }
    if path.starts_with("src/") && top_module(path) != "cli" {
        let code = code_only(without_tests(text));
        for forbidden in FOR_CLI_ONLY.iter().filter(|word| contains_word(&code, word)) {
            violations.push(format!("{path}: {forbidden} belongs into src/cli"));
        }
    }
    violations
}

/// `store` for `src/store.rs` and `src/store/read.rs`.
fn top_module(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Whether a word occurs that is not the end of a longer one (`print!` in `eprint!`).
fn contains_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

#[test]
fn the_code_keeps_to_its_layers_and_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let layers = layers(&fs::read_to_string(root.join("src/lib.rs")).unwrap());
    let mut violations = Vec::new();
    let mut files = 0;
    for folder in ["src", "tests"] {
        for entry in WalkDir::new(root.join(folder)).sort_by_file_name() {
            let entry = entry.unwrap();
            if entry.path().extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            files += 1;
            violations.extend(house_violations(path, &text));
            if folder == "src" {
                violations.extend(import_violations(path, &text, &layers));
            }
        }
    }
    assert!(files > 50, "only {files} files were found");
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(path: &str, text: &str) -> usize {
        let drawing = "//! x\n//! oci, fs, observe < endpoint < store, registry < copy < serve, cli\npub mod oci;";
        import_violations(path, text, &layers(drawing)).len()
    }

    #[test]
    fn imports_point_to_the_left() {
        for (path, text, count) in [
            ("src/store.rs", "use crate::oci::Digest;", 0),
            ("src/store/read.rs", "use crate::store::layout;\nfn f() { crate::fs::x() }", 0),
            ("src/store.rs", "use crate::copy::Engine;", 1),
            ("src/store.rs", "use crate::registry::Host;", 1),
            ("src/store.rs", "fn f() { crate::cli::run() }", 1),
            ("src/store.rs", "pub(crate) use crate :: copy::X;", 1),
            ("src/store.rs", "use crate::{oci::{Digest, Tag}, copy, cli::run};", 2),
            ("src/store.rs", "use crate::{\n    oci::Digest,\n    registry::{Host, Client},\n};", 1),
            ("src/store.rs", "use crate::*;", 1),
            ("src/store.rs", "use super::copy::X;", 1),
            ("src/store/read.rs", "use super::layout;", 0),
            ("src/store/read.rs", "use super::super::copy::X;", 1),
            ("src/store.rs", "#[cfg(test)]\nmod tests {\n use super::*; use super::super::copy; }", 1),
            ("src/store.rs", "//! See [`crate::copy`].\n/* crate::cli */ const X: &str = \"crate::cli\";", 0),
            ("src/store.rs", "const X: &str = r#\"\"crate::cli\"#; const Y: char = '\"'; use crate::cli;", 1),
            ("src/observe.rs", "use crate::endpoint::Placed;", 0),
            ("src/fs.rs", "use crate::oci::Digest;", 1),
            ("src/cli/run.rs", "use crate::serve::serve;", 0),
            ("src/serve.rs", "use crate::cli::run;", 1),
            ("src/other.rs", "", 1),
            ("src/lib.rs", "pub use crate::cli::run;", 0),
        ] {
            assert_eq!(imports(path, text), count, "{path}: {text}");
        }
    }

    #[test]
    fn house_rules() {
        let long = format!("//! x\n{}", "\n".repeat(500));
        let tested = format!("//! x\n#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(500));
        for (path, text, count) in [
            ("src/oci/x.rs", "//! x\nfn f() {}", 0),
            ("src/oci/x.rs", "fn f() {}", 1),
            ("tests/it/x.rs", "use x;", 1),
            ("src/oci/x.rs", &*long, 1),
            ("src/oci/x.rs", &*tested, 0),
            ("src/oci/x.rs", &*format!("{tested}{}", "\n".repeat(100)), 1),
            ("src/oci/x.rs", "//! x\nfn f() { println!(\"x\") }", 1),
            ("src/oci/x.rs", "//! x\nfn f() { eprint!(\"print!\") }", 1),
            ("src/oci/x.rs", "//! x\n// println!()\nfn f() { std::env::consts::ARCH; env!(\"X\"); }", 0),
            ("src/oci/x.rs", "//! x\nfn f() { std::env::var_os(\"X\"); std::process::exit(1) }", 2),
            ("src/cli/x.rs", "//! x\nfn f() { println!(\"x\") }", 0),
            ("tests/it/x.rs", "//! x\nfn f() { println!(\"x\") }", 0),
            ("src/oci/x.rs", "//! x\n#[cfg(test)]\nmod tests {\n fn f() { println!(\"x\") }\n}\n", 0),
        ] {
            assert_eq!(house_violations(path, text).len(), count, "{path}: {text}");
        }
    }
}
