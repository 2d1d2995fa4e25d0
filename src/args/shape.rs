//! How the definitions are shown: commands in groups, no options that a command does not heed, and variables in the
//! long help.

use std::fmt::Write as _;

use clap::{Arg, Command};

/// The commands by what one does with them.
pub(super) const GROUPS: [(&str, &[&str]); 6] = [
    ("Carry", &["pull", "lock", "plan", "pack", "bundle", "unpack", "push", "serve"]),
    ("Look", &["ls", "verify", "inventory", "diff", "inspect", "stat", "list-tags", "manifest-digest"]),
    ("Edit", &["select", "tag", "rm", "gc", "init", "new", "index", "delete"]),
    ("Copy", &["copy", "sync", "unpack-image", "layer"]),
    ("Trust", &["keygen", "sign", "standalone-sign", "standalone-verify", "login", "logout"]),
    ("Shell", &["completions", "man", "help"]),
];

/// Options for registries and what comes from them.
const OF_REGISTRIES: &[&str] = &[
    "authfile",
    "stall_timeout",
    "override_arch",
    "override_os",
    "override_variant",
    "insecure_policy",
    "policy",
    "require_signed",
    "registries_d",
];

/// The options in common that each of these commands takes and does not heed.
const UNHEEDED: [(&[&str], &[&[&str]]); 4] = [
    (
        &[
            "ls",
            "diff",
            "tag",
            "rm",
            "init",
            "new",
            "completions",
            "man",
            "manifest-digest",
            "keygen",
            "standalone-sign",
            "standalone-verify",
        ],
        &[OF_REGISTRIES, &["jobs", "tmpdir", "no_progress"]],
    ),
    (&["pack", "unpack", "serve", "select", "gc", "sign"], &[OF_REGISTRIES, &["jobs", "tmpdir"]]),
    (&["verify"], &[OF_REGISTRIES, &["jobs"]]),
    (
        &["login", "logout"],
        &[
            &["override_arch", "override_os", "override_variant", "insecure_policy", "policy", "require_signed"],
            &["registries_d", "jobs", "tmpdir", "no_progress"],
        ],
    ),
];

/// The whole of the definitions as they are shown, with what is deferred.
pub(super) fn shown(mut whole: Command) -> Command {
    whole.build();
    whole.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        let unheeded: Vec<&str> =
            UNHEEDED.iter().filter(|(of, _)| of.contains(&&*name)).flat_map(|(_, lists)| lists.concat()).collect();
        hidden(command, &unheeded)
    })
}

fn hidden(command: Command, unheeded: &[&str]) -> Command {
    let hide = |option: Arg| if unheeded.contains(&option.get_id().as_str()) { option.hide(true) } else { option };
    command.mut_args(hide).mut_subcommands(|command| hidden(command, unheeded))
}

/// The same for `--help`: options with their variables.
pub(crate) fn shown_long(whole: Command) -> Command {
    with_variables(shown(whole))
}

fn with_variables(command: Command) -> Command {
    command.mut_args(|option| option.hide_env(false).hide_env_values(true)).mut_subcommands(with_variables)
}

/// The same for the help of hod itself, which lists its commands in groups.
pub(super) fn in_groups(whole: Command) -> Command {
    let list = list(&whole);
    let template = format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{list}\n{{all-args}}{{after-help}}");
    whole
        .help_template(template)
        .override_usage("hod [OPTIONS] <COMMAND>")
        .mut_subcommands(|command| command.hide(true))
}

/// The list fits into a terminal of the usual width.
const COLUMNS: usize = 80;

fn list(whole: &Command) -> String {
    let width = GROUPS.iter().flat_map(|(_, names)| *names).map(|name| name.len()).max().unwrap_or_default();
    let mut list = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(list, "\n{title}:");
        for name in names {
            let about = whole.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            let mut line = format!("  {name:width$} ");
            for word in about.unwrap_or_default().split(' ') {
                if line.len() + word.len() >= COLUMNS {
                    let _ = writeln!(list, "{line}");
                    line = format!("  {:width$} ", "");
                }
                let _ = write!(line, " {word}");
            }
            let _ = writeln!(list, "{line}");
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn every_command_is_in_one_group() {
        let mut whole = Cli::command();
        whole.build();
        let mut all: Vec<&str> = whole.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        all.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, all);
        assert!(list(&whole).lines().all(|line| line.chars().count() <= COLUMNS));
    }

    #[test]
    fn unheeded_options_are_taken_and_not_shown() {
        let shown = shown(Cli::command());
        for (commands, lists) in UNHEEDED {
            for name in commands {
                let command = shown.find_subcommand(name).unwrap();
                for id in lists.concat() {
                    let option = command.get_arguments().find(|option| option.get_id() == id);
                    assert!(option.is_some_and(Arg::is_hide_set), "{name} {id}");
                }
            }
        }
        let pull = shown.find_subcommand("pull").unwrap();
        assert!(!pull.get_arguments().any(|option| option.get_id() == "authfile" && option.is_hide_set()));
        let words = ["hod", "ls", "store", "--authfile", "x", "-j", "3"].map(std::ffi::OsString::from);
        assert_eq!(super::super::parse(words).unwrap().global.jobs, Some(3));
    }
}
