//! Tests of the help of every command.

use std::collections::BTreeMap;

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;
use super::shape::shown;

/// The whole of the definitions, with what is deferred, and without what clap adds to show help.
pub(super) fn definitions() -> Command {
    shown(Cli::command().disable_help_subcommand(true))
}

/// Every command, those below others among them, with its whole name.
fn commands() -> Vec<(String, Command)> {
    fn collect(above: &str, command: &Command, found: &mut Vec<(String, Command)>) {
        let name = format!("{above}{}", command.get_name());
        let below = format!("{name} ");
        found.push((name, command.clone()));
        command.get_subcommands().for_each(|command| collect(&below, command, found));
    }
    let mut found = Vec::new();
    collect("", &definitions(), &mut found);
    found
}

/// What the help of a command says of an argument.
fn said(command: &str, argument: &str) -> String {
    let whole = definitions();
    let command = whole.find_subcommand(command).unwrap();
    let argument = command.get_arguments().find(|known| known.get_id() == argument).unwrap();
    argument.get_help().unwrap().to_string()
}

#[test]
fn platforms_have_the_default_of_their_command() {
    for (command, of_this_machine, all) in [
        ("pull", true, false),
        ("lock", true, false),
        ("bundle", true, false),
        ("plan", true, true),
        ("pack", false, true),
        ("push", false, true),
        ("select", false, true),
    ] {
        let help = said(command, "platform");
        assert!(help.starts_with("Platforms of multi-platform images"), "{command}: {help}");
        assert_eq!(help.contains("linux on this machine's architecture"), of_this_machine, "{command}: {help}");
        assert_eq!(help.contains("all present platforms"), all, "{command}: {help}");
    }
}

#[test]
fn places_are_offered_to_those_who_may_name_them() {
    for command in ["pull", "plan", "lock", "bundle", "pack", "push", "select"] {
        let help = said(command, "images");
        assert!(help.starts_with("Images, such as"), "{command}: {help}");
        let may = ["pull", "plan", "lock", "bundle"].contains(&command);
        assert_eq!(help.contains("places"), may, "{command}: {help}");
    }
}

/// Options of a command itself that stand under the heading of a group, as they are about the same.
const OWN_WITH_A_GROUP: [(&str, &str, &str); 2] =
    [("hod pack", "sign", "Trust"), ("hod copy", "sign_identity", "Signatures")];
/// Groups with one heading in common.
const SHARED: [[&str; 2]; 3] =
    [["RegistryArgs", "RetryArgs"], ["TrustArgs", "PassphraseArgs"], ["CutArgs", "MediaArgs"]];

/// The groups of a command that others have too, each with its options. What is in none is the command's own.
fn groups(command: &Command) -> Vec<(String, Vec<&Arg>)> {
    let of = |group: &clap::ArgGroup| {
        let members: Vec<_> = group.get_args().collect();
        options(command).filter(|option| members.contains(&option.get_id())).collect()
    };
    // The first is that of the command.
    command.get_groups().skip(1).map(|group| (group.get_id().to_string(), of(group))).collect()
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_positional())
}

#[test]
fn options_stand_under_the_heading_of_their_group() {
    // What each group is called, and where it was seen first.
    let mut headings: BTreeMap<String, (Option<String>, String)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, command) in commands().iter().skip(1) {
        let groups = groups(command);
        for (group, options) in &groups {
            for option in options {
                let heading = option.get_help_heading().map(ToOwned::to_owned);
                let first = headings.entry(group.clone()).or_insert((heading.clone(), name.clone()));
                if heading != first.0 {
                    wrong.push(format!("{name} --{}: {heading:?}, and {group} is {first:?}", option.get_id()));
                }
            }
        }
        for own in options(command).filter(|option| !option.is_global_set()) {
            let id = own.get_id().as_str();
            let grouped = groups.iter().any(|(_, options)| options.iter().any(|option| option.get_id() == id));
            let heading = own.get_help_heading();
            let meant = OWN_WITH_A_GROUP.iter().find(|(of, option, _)| of == name && *option == id);
            if !grouped && heading != meant.map(|(.., heading)| *heading) {
                wrong.push(format!("{name} --{id}: {heading:?}"));
            }
        }
    }
    for (group, (heading, _)) in &headings {
        for (other, (its, _)) in headings.range(group.clone()..).skip(1) {
            let shared = SHARED.iter().any(|pair| pair.contains(&&**group) && pair.contains(&&**other));
            if heading.is_some() && heading == its && !shared {
                wrong.push(format!("{group} and {other}: {heading:?}"));
            }
        }
    }
    assert!(headings.len() > 15, "{headings:#?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_argument_is_explained() {
    let mut silent = Vec::new();
    for (name, command) in commands() {
        let arguments = command.get_arguments();
        let without = arguments.filter(|argument| argument.get_help().is_none_or(|help| help.to_string().is_empty()));
        silent.extend(without.map(|argument| format!("{name} {argument}")));
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

/// A terminal has 80 columns, of which a page of the manual leaves 71, and a command that is wrapped cannot be copied.
#[test]
fn examples_fit_into_a_line() {
    let mut wrong = Vec::new();
    for (name, command) in commands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if !help.contains("EXAMPLES:\n  hod ") && !help.contains("EXAMPLES:\n  # ") {
            wrong.push(format!("{name} has no examples"));
        }
        wrong.extend(help.lines().filter(|line| line.chars().count() > 72).map(|line| format!("{name}: {line}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
