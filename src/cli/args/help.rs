//! What the help of every command has to be.

use clap::CommandFactory as _;

use super::Cli;

/// The whole of the definitions, with what is deferred, and without what clap adds to show help.
pub(super) fn definitions() -> clap::Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
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
        assert!(help.starts_with("Platforms to take"), "{command}: {help}");
        assert_eq!(help.contains("linux on this machine's architecture"), of_this_machine, "{command}: {help}");
        assert_eq!(help.contains("all that are there"), all, "{command}: {help}");
    }
}

#[test]
fn places_are_offered_to_those_who_may_name_them() {
    for command in ["pull", "plan", "lock", "bundle", "pack", "push", "select"] {
        let help = said(command, "images");
        assert!(help.starts_with("Images, such as"), "{command}: {help}");
        assert_eq!(help.contains("places"), ["pull", "plan"].contains(&command), "{command}: {help}");
    }
}
