//! The pages under `docs/`: the table of contents has all of them, and their links, commands and messages are right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fs_err as fs;
use walkdir::WalkDir;

use crate::support::hod::hod;
use crate::support::page::blocks;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files of the repository, by their paths in it.
fn pages() -> Vec<PathBuf> {
    let entries = [("", 1), ("docs", 3), (".github", 1)]
        .into_iter()
        .flat_map(|(directory, depth)| WalkDir::new(root().join(directory)).max_depth(depth));
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().into_path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    assert!(pages.len() > 20, "{pages:?}");
    pages
}

/// A page without its blocks of code.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    text.split("```").step_by(2).collect()
}

/// Where the links of a page lead.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

/// The anchors of a page, as GitHub and mdbook make them of its headings.
fn anchors(page: &Path) -> BTreeSet<String> {
    let prose = prose(page);
    let headings =
        prose.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|character| character.is_alphanumeric() || matches!(character, '-' | '_')).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    for page in pages() {
        let prose = prose(&page);
        for link in links(&prose).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            if !target.exists() || !anchor.is_empty() && !anchors(&target).contains(anchor) {
                broken.push(format!("{}: {link}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(count > 50, "only {count} links were found");
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn the_table_of_contents_has_every_page_once() {
    let summary = prose(&root().join("docs/SUMMARY.md"));
    let mut listed: Vec<&str> = links(&summary).filter(|link| *link != "../README.md").collect();
    listed.sort_unstable();
    let mut pages: Vec<String> = pages()
        .iter()
        .filter_map(|page| Some(page.strip_prefix(root().join("docs")).ok()?.to_str()?.to_owned()))
        .collect();
    pages.retain(|page| page != "SUMMARY.md");
    pages.sort_unstable();
    assert_eq!(listed, pages);
}

/// The name of a page, for messages.
fn name(page: &Path) -> String {
    page.strip_prefix(root()).unwrap().display().to_string()
}

/// The calls of hod on a page: in its blocks of shell commands and in words that are code.
fn calls(page: &Path) -> Vec<String> {
    let script = blocks(page, "sh").concat().replace("\\\n", " ");
    let prose = prose(page);
    let code = prose.split('`').skip(1).step_by(2).map(str::to_owned);
    let parts: Vec<String> =
        script.lines().map(str::to_owned).chain(code).map(|line| line.replace("\\|", "/")).collect();
    let calls = parts.iter().flat_map(|line| line.split([';', '|', '&', '#', '>'])).map(str::trim);
    calls.filter(|call| call.starts_with("hod ")).map(str::to_owned).collect()
}

/// What `--help` prints for a command, asked for once.
#[derive(Debug, Default)]
struct HelpTexts {
    texts: BTreeMap<Vec<String>, Option<String>>,
}

impl HelpTexts {
    /// The help of a command; `None` where hod has no such command.
    fn of(&mut self, words: &[&str]) -> Option<&str> {
        let key: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let text = self.texts.entry(key).or_insert_with(|| {
            let output = hod(words).arg("--help").run();
            let text = String::from_utf8(output.stdout).unwrap();
            // `hod CODE --help` of a word that is no command is the help of hod itself, or an error.
            let usage = format!("Usage: hod {}", words.join(" "));
            (output.code == Some(0) && text.contains(usage.trim())).then_some(text)
        });
        text.as_deref()
    }

    /// What is wrong with a call: an unknown command, or flags that it does not have.
    fn wrong(&mut self, call: &str) -> Vec<String> {
        let words: Vec<&str> = call.split_whitespace().skip(1).collect();
        let is_name =
            |word: &&&str| word.starts_with(char::is_lowercase) && word.chars().all(|c| c.is_alphabetic() || c == '-');
        let Some(first) = words.iter().find(is_name) else { return Vec::new() };
        let second = words.iter().skip_while(|word| *word != first).nth(1).filter(is_name);
        let nested = second.map(|second| vec![*first, *second]).filter(|words| self.of(words).is_some());
        let command = nested.unwrap_or_else(|| vec![*first]);
        let Some(help) = self.of(&command).map(str::to_owned) else { return vec![format!("{first} is no command")] };
        let flags = words.iter().filter(|word| word.starts_with("--") && word.len() > 2);
        let flags = flags.map(|flag| flag.split(['=', '[']).next().unwrap().trim_end_matches([',', '.', '`', ']']));
        let knows = |flag: &&str| {
            help.match_indices(*flag)
                .any(|(at, _)| !help[at + flag.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '-'))
        };
        flags.filter(|flag| !knows(flag)).map(|flag| format!("{} has no {flag}", command.join(" "))).collect()
    }
}

#[test]
fn every_command_and_flag_of_the_pages_exists() {
    let mut help = HelpTexts::default();
    let mut wrong = Vec::new();
    let mut count = 0;
    // The lines of the page for skopeo's users are run, flags that --help does not list among them.
    for page in pages().iter().filter(|page| !page.ends_with("coming-from-skopeo.md")) {
        for call in calls(page) {
            count += 1;
            wrong.extend(help.wrong(&call).into_iter().map(|what| format!("{}: {call}: {what}", name(page))));
        }
    }
    assert!(count > 200, "only {count} calls were found");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(!help.wrong("hod pull --stroe store").is_empty() && !help.wrong("hod fly").is_empty());
}

/// The sources of hod as one text, with strings that are broken over lines put together.
fn sources() -> String {
    let entries = ["src", "crates"].into_iter().flat_map(|directory| WalkDir::new(root().join(directory)));
    let paths = entries.map(|entry| entry.unwrap().into_path());
    let texts = paths.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let text: String = texts.map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start())
}

#[test]
fn the_messages_of_troubleshooting_are_those_of_the_code() {
    let text = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let sources = sources();
    let messages: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("### `")).filter_map(|line| line.split('`').next()).collect();
    assert!(messages.len() >= 20, "{messages:?}");
    let unknown = messages.iter().filter(|message| {
        // An ellipsis stands for what differs from case to case.
        message.split('…').map(str::trim).filter(|part| part.len() > 3).any(|part| !sources.contains(part))
    });
    let unknown: Vec<&&str> = unknown.collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn every_variable_of_the_pages_is_read() {
    let sources = sources();
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (at, _) in text.match_indices("HOD_") {
            let end = text[at..].find(|c: char| !c.is_ascii_uppercase() && !matches!(c, '_' | '0'..='9'));
            let variable = &text[at..at + end.unwrap_or(text.len() - at)];
            count += 1;
            // `HOD_…` alone means all of them. Those of one side of a copy are put together from two parts.
            let both_sides = variable.replace("_SRC_", "_").replace("_DEST_", "_");
            let is_known = |name: &str| sources.contains(&format!("\"{name}\""));
            let is_read = matches!(variable, "HOD_" | "HOD_UPDATE") || is_known(variable) || is_known(&both_sides);
            assert!(is_read, "{}: {variable}", name(&page));
        }
    }
    assert!(count > 20, "only {count} variables were found");
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let help = String::from_utf8(hod(["--help"]).ok().stdout).unwrap();
    let printed = help.split("EXIT STATUS:").nth(1).unwrap();
    let printed: Vec<u8> = printed.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    let page = fs::read_to_string(root().join("docs/exit-codes.md")).unwrap();
    let listed: Vec<u8> =
        page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    assert_eq!(listed, printed);
}
