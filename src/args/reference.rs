//! Holds `docs/commands.md`, the reference of all commands, to the definitions that it is generated from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::help::definitions;
use crate::generated::assert_current;

const COMMON: &str = "Common options";

#[test]
fn the_reference_is_what_the_help_says() {
    assert_current("docs/commands.md", &page(&definitions()));
}

#[test]
fn every_variable_is_in_one_table() {
    const PAGE: &str = "docs/environment.md";
    const TITLE: &str = "## The variables of all flags\n\n";
    let found = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let (before, behind) = found.split_once(TITLE).unwrap();
    let (_, after) = behind.split_once("\n## ").unwrap();
    assert_current(PAGE, &format!("{before}{TITLE}{}\n## {after}", variables(&definitions())));
}

/// The variables with their flags and commands.
fn variables(whole: &Command) -> String {
    let mut rows: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut open = vec![(whole, "all".to_owned())];
    while let Some((command, name)) = open.pop() {
        for option in command.get_arguments().filter(|option| option.is_global_set() == (name == "all")) {
            let (Some(variable), Some(long)) = (option.get_env(), option.get_long()) else { continue };
            let row = (variable.to_string_lossy().into_owned(), format!("--{long}"));
            let commands = rows.entry(row).or_default();
            commands.extend((!commands.contains(&name)).then(|| name.clone()));
        }
        open.extend(command.get_subcommands().map(|below| {
            let name = if name == "all" { below.get_name().to_owned() } else { format!("{name} {}", below.get_name()) };
            (below, name)
        }));
    }
    let mut table = String::from("| variable | flag | commands |\n| --- | --- | --- |\n");
    for ((variable, flag), mut commands) in rows {
        commands.sort();
        let _ = writeln!(table, "| `{variable}` | `{flag}` | {} |", commands.join(", "));
    }
    table
}

fn page(whole: &Command) -> String {
    let mut page = String::from(
        "# Commands\n\n\
        The text of `--help`, for all commands. Every option has an environment variable; an option on the command \
        line overrides its variable. `hod COMMAND -h` prints a summary.\n\n",
    );
    for command in whole.get_subcommands() {
        let _ = writeln!(page, "* [`hod {}`](#{}): {}", command.get_name(), anchor(command), about(command));
    }
    let _ = write!(page, "\n## {COMMON}\n");
    write_table(&mut page, whole, &|option| option.is_global_set());
    page.push_str(&sections_after(whole));
    for command in whole.get_subcommands() {
        write_command(&mut page, command);
    }
    page
}

fn anchor(command: &Command) -> String {
    bin_name(command).replace(' ', "-")
}

fn bin_name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn write_command(page: &mut String, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let _ = write!(page, "\n## {}\n\n{}.\n\n```text\n{usage}\n```\n", bin_name(command), about(command));
    for action in command.get_subcommands() {
        let _ = write!(page, "\n* [`{}`](#{}): {}", bin_name(action), anchor(action), about(action));
    }
    if command.has_subcommands() {
        page.push('\n');
    }
    write_section(page, command, "Arguments", &Arg::is_positional);
    let own = |option: &Arg| !option.is_positional() && !option.is_global_set() && option.get_id() != "help";
    for heading in headings(command, &own) {
        let of_heading = |option: &Arg| own(option) && option.get_help_heading() == heading;
        write_section(page, command, heading.unwrap_or("Options"), &of_heading);
    }
    let _ = writeln!(page, "\nThe [common options](#common-options) apply, too.");
    page.push_str(&sections_after(command));
    command.get_subcommands().for_each(|action| write_command(page, action));
}

/// The headings of options, in the order of the help.
fn headings<'a>(command: &'a Command, is_meant: &dyn Fn(&Arg) -> bool) -> Vec<Option<&'a str>> {
    let mut headings = Vec::new();
    for option in command.get_arguments().filter(|option| !option.is_hide_set() && is_meant(option)) {
        if !headings.contains(&option.get_help_heading()) {
            headings.push(option.get_help_heading());
        }
    }
    headings
}

fn write_section(page: &mut String, command: &Command, title: &str, is_meant: &dyn Fn(&Arg) -> bool) {
    if command.get_arguments().any(|argument| !argument.is_hide_set() && is_meant(argument)) {
        let _ = write!(page, "\n**{title}**\n");
        write_table(page, command, is_meant);
    }
}

fn write_table(page: &mut String, command: &Command, is_meant: &dyn Fn(&Arg) -> bool) {
    let rows: Vec<&Arg> = command.get_arguments().filter(|row| !row.is_hide_set() && is_meant(row)).collect();
    let is_positional = rows.iter().all(|row| row.is_positional());
    page.push_str(if is_positional {
        "\n| argument | |\n| --- | --- |\n"
    } else {
        "\n| option | variable | |\n| --- | --- | --- |\n"
    });
    for argument in rows {
        let help = escaped(&explained(argument));
        let _ = if is_positional {
            writeln!(page, "| {} | {help} |", code(&argument.to_string()))
        } else {
            let variable = argument.get_env().map(|variable| code(&variable.to_string_lossy())).unwrap_or_default();
            writeln!(page, "| {} | {variable} | {help} |", code(&written(argument)))
        };
    }
}

/// An option as it is typed: `-j, --jobs <N>`.
fn written(option: &Arg) -> String {
    let short = option.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let long = option.get_long().unwrap_or_default();
    let names = option.get_value_names().unwrap_or_default();
    let values: Vec<String> = names.iter().map(|name| format!("<{name}>")).collect();
    let value = match option.get_action() {
        action if !action.takes_values() => String::new(),
        _ if option.is_require_equals_set() => format!("[={}]", values.join(" ")),
        _ => format!(" {}", values.join(" ")),
    };
    let again = if matches!(option.get_action(), ArgAction::Count) { "..." } else { "" };
    format!("{short}--{long}{value}{again}")
}

/// The help of an argument with its default and its values.
fn explained(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ");
    let defaults = argument.get_default_values();
    if !defaults.is_empty() && argument.get_action().takes_values() && !argument.is_hide_default_value_set() {
        let defaults: Vec<_> = defaults.iter().map(|value| value.to_string_lossy()).collect();
        let _ = write!(text, " [default: {}]", defaults.join(","));
    }
    for value in argument.get_possible_values().iter().filter(|_| argument.get_action().takes_values()) {
        let help = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
        let _ = write!(text, "<br>`{}`{help}", value.get_name());
    }
    text
}

/// What stands after the options: examples, places, exit codes.
fn sections_after(command: &Command) -> String {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut sections = String::new();
    for section in after.split("\n\n").filter(|section| !section.is_empty()) {
        let (title, lines) = section.split_once(":\n").unwrap();
        let (title, language) = if title == "EXAMPLES" { ("Examples", "sh") } else { (title, "text") };
        let title = format!("{}{}", &title[..1], title[1..].to_lowercase());
        let lines: Vec<&str> = lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        let _ = write!(sections, "\n**{title}**\n\n```{language}\n{}\n```\n", lines.join("\n"));
    }
    sections
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// Text of a help for a cell of a table.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for (position, part) in text.split('`').enumerate() {
        if position > 0 {
            escaped.push('`');
        }
        let is_code = position % 2 == 1;
        let part = part.replace('|', "\\|");
        escaped.push_str(&if is_code { part } else { part.replace('*', "\\*").replace('[', "\\[") });
    }
    escaped
}
