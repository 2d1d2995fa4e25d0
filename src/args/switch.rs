//! Boolean flags: `--all`, and also `--all=true` and `--all=false`, as Go programs accept them.
//!
//! Help and messages show such a flag without a value. Only a command line that does give one to it is read once more,
//! by a definition in which all of them take values. So is one with what seems to contradict itself: of a flag that
//! stands there twice the last counts, and what is typed counts more than a variable of the environment that
//! contradicts it.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{
    Arg, ArgAction, ArgMatches, Args as _, Command, CommandFactory as _, FromArgMatches as _, Id, Parser as _,
    Subcommand as _,
};

use super::flag::FlagValue;
use super::shape::{in_groups, shown, shown_long};
use super::{Cli, GlobalArgs};

/// Reads a command line.
///
/// # Errors
/// What clap says, with the help where that was asked for.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(read) = by_its_command_alone(&arguments) {
        return Ok(read);
    }
    match Cli::try_parse_from(&arguments) {
        Err(error) if is_help(&error) => Err(help(&arguments).unwrap_or(error)),
        Err(error) if error.kind() == ErrorKind::TooManyValues => again(&arguments, with_values),
        Err(error) if error.kind() == ErrorKind::ArgumentConflict => match again(&arguments, |command| command) {
            Err(error) if error.kind() == ErrorKind::TooManyValues => again(&arguments, with_values),
            read => read,
        },
        Err(error) if error.kind() == ErrorKind::InvalidSubcommand => {
            let Some(arguments) = help_of_help(&arguments) else { return Err(error) };
            help(&arguments).map_or_else(|| Cli::try_parse_from(&arguments), Err)
        }
        read => read,
    }
}

fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
}

/// The help that a command line asks for, as it is shown; that of `help` itself is as clap has it.
fn help(arguments: &[OsString]) -> Option<clap::Error> {
    if arguments.iter().filter(|word| *word == "help").count() > 1 {
        return None;
    }
    let is_long = arguments.iter().any(|word| word == "--help" || word == "help");
    let definitions = if is_long { shown_long(Cli::command()) } else { shown(Cli::command()) };
    in_groups(definitions).try_get_matches_from(arguments).err()
}

/// Reads a command line that begins with the name of a command and is right.
///
/// clap gives each of the commands that it knows a copy of all flags that they have in common, which takes longer than
/// to read the command line. So it is told of none but the one that runs; what there is to say about a line that is
/// wrong is left to the whole definition.
fn by_its_command_alone(arguments: &[OsString]) -> Option<Cli> {
    let command = alone(arguments.get(1)?.to_str()?)?;
    Cli::from_arg_matches(&command.try_get_matches_from(arguments).ok()?).ok()
}

/// The definition with one command.
fn alone(name: &str) -> Option<Command> {
    let all = super::Command::augment_subcommands(Command::new("hod"));
    Some(GlobalArgs::augment_args(Command::new("hod")).subcommand(all.find_subcommand(name)?.clone()))
}

/// The same command line as clap knows it, if it asks for help behind `help`, which stands for itself there.
fn help_of_help(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let help = arguments.iter().skip(1).position(|word| word == "help")? + 1;
    let is_asking = |word: &OsString| word == "--help" || word == "-h";
    let (before, behind) = arguments.split_at(help + 1);
    let named: Vec<OsString> = behind.iter().filter(|word| !is_asking(word)).cloned().collect();
    if named.len() == behind.len() {
        return None;
    }
    let named = if named.is_empty() { vec!["help".into()] } else { named };
    Some([before, &named].concat())
}

/// Reads a command line by another definition.
fn again(arguments: &[OsString], change: impl Fn(Command) -> Command) -> Result<Cli, clap::Error> {
    let definition = || {
        let mut command = Cli::command();
        // What is deferred is defined now, to be changed.
        command.build();
        change(last_counts(command))
    };
    let typed = typed_alone(definition()).try_get_matches_from(arguments)?;
    let mut command = without_contradictions(definition(), &typed);
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The same command and those below it, where the last of a flag counts.
fn last_counts(command: Command) -> Command {
    command.args_override_self(true).mut_subcommands(last_counts)
}

/// The same command and those below it, without variables and without complaints.
fn typed_alone(command: Command) -> Command {
    command.ignore_errors(true).mut_args(without_variable).mut_subcommands(typed_alone)
}

fn without_variable(flag: Arg) -> Arg {
    flag.env(Resettable::Reset)
}

/// The command without the variables that contradict what was typed.
fn without_contradictions(command: Command, typed: &ArgMatches) -> Command {
    let is_typed = |flag: &&Arg| {
        let id = flag.get_id().as_str();
        typed.try_contains_id(id).unwrap_or_default() && typed.value_source(id) == Some(ValueSource::CommandLine)
    };
    let contradicted: Vec<Id> = {
        let all = || command.get_arguments();
        let by_typed = all().filter(is_typed).flat_map(|flag| command.get_arg_conflicts_with(flag));
        let of_typed = all().filter(|flag| command.get_arg_conflicts_with(flag).iter().any(is_typed));
        by_typed.chain(of_typed).filter(|flag| !is_typed(flag)).map(|flag| flag.get_id().clone()).collect()
    };
    // All are passed through: to change one alone moves it, and what was built knows the others by their positions.
    let change = |flag: Arg| if contradicted.contains(flag.get_id()) { without_variable(flag) } else { flag };
    command.mut_args(change).mut_subcommands(|command| match typed.subcommand() {
        Some((name, below)) if name == command.get_name() => without_contradictions(command, below),
        _ => command,
    })
}

/// The same command and those below it, with flags that take a value.
fn with_values(command: Command) -> Command {
    command.mut_args(with_value).mut_subcommands(with_values)
}

fn with_value(flag: Arg) -> Arg {
    if !matches!(flag.get_action(), ArgAction::SetTrue) {
        return flag;
    }
    let flag = flag.action(ArgAction::Set).value_parser(FlagValue { lenient: true }).value_name("BOOL");
    flag.num_args(0..=1).require_equals(true).default_missing_value("true").default_value("false")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command as Chosen, OwnFirst};

    fn read(words: &[&str]) -> Result<Cli, clap::Error> {
        parse(std::iter::once("hod").chain(words.iter().copied()).map(OsString::from))
    }

    /// The commands that skopeo has too, with what they need besides flags.
    const COMMANDS: [(&str, &[&str]); 7] = [
        ("copy", &["dir:a", "dir:b"]),
        ("sync", &["--src=dir", "--dest=docker", "a", "b"]),
        ("inspect", &["dir:a"]),
        ("delete", &["docker://a"]),
        ("list-tags", &["docker://a"]),
        ("login", &["a"]),
        ("logout", &["a"]),
    ];

    /// What the definition alone says against a flag's values.
    fn refused(flag: &str, words: &[&str]) -> Option<String> {
        let kinds = [ErrorKind::TooManyValues, ErrorKind::InvalidValue, ErrorKind::ValueValidation];
        let error = read(words).err().filter(|error| kinds.contains(&error.kind()))?;
        Some(format!("{flag} {words:?}: {error}"))
    }

    #[test]
    fn every_flag_that_says_yes_or_no_takes_a_value_as_in_go() {
        let (mut wrong, mut seen) = (Vec::new(), 0);
        let mut whole = Cli::command();
        whole.build();
        for (name, rest) in COMMANDS {
            let command = whole.find_subcommand(name).unwrap();
            for argument in
                command.get_arguments().filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
            {
                let is_bool = argument.get_value_parser().type_id() == std::any::TypeId::of::<bool>();
                let Some(flag) = argument.get_long().filter(|_| is_bool) else { continue };
                seen += 1;
                for value in ["", "=true", "=false", "=1", "=F"] {
                    let typed = format!("--{flag}{value}");
                    let words: Vec<&str> = [&[name, &typed], rest].concat();
                    wrong.extend(refused(flag, &words));
                }
                let typed = format!("--{flag}=flase");
                let words: Vec<&str> = [&[name, &typed], rest].concat();
                if refused(flag, &words).is_none() {
                    wrong.push(format!("{words:?} is taken"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(seen > 60, "only {seen} flags were tried");
    }

    #[test]
    fn a_command_alone_is_what_it_is_among_all() {
        let mut whole = Cli::command();
        whole.build();
        for command in whole.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let name = command.get_name().to_owned();
            let mut alone = alone(&name).unwrap();
            alone.build();
            let alone = alone.find_subcommand_mut(&name).unwrap().render_long_help().to_string();
            // Only the whole definition has a width.
            let words = |help: &str| help.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&alone), words(&command.render_long_help().to_string()), "{name}");
        }
        let by_alone = |words: &[&str]| {
            let words: Vec<OsString> = ["hod"].iter().chain(words).map(OsString::from).collect();
            by_its_command_alone(&words)
        };
        let pulled = by_alone(&["pull", "--store", "a", "x", "-j", "3", "-vv"]).unwrap();
        assert_eq!((pulled.global.jobs, pulled.global.verbose), (Some(3), 2));
        assert!(matches!(pulled.command, Chosen::Pull(_)));
        for other in [&["-q", "pull", "--store", "a", "x"] as &[_], &["pull"], &["help"], &["pull", "--help"], &[]] {
            assert!(by_alone(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn the_last_of_a_flag_counts() {
        let words =
            ["-q", "copy", "-q", "-q", "-a", "--all", "--retry-times", "1", "--retry-times", "2", "dir:a", "dir:b"];
        let copied = read(&words).unwrap();
        let Chosen::Copy(OwnFirst(args)) = copied.command else { panic!("not a copy") };
        assert!(copied.global.quiet && args.content.all);
        let words =
            ["copy", "--src-tls-verify=true", "--src-tls-verify=false", "--all", "--all=false", "dir:a", "dir:b"];
        let Chosen::Copy(OwnFirst(args)) = read(&words).unwrap().command else { panic!("not a copy") };
        assert_eq!((args.from.registry().tls_verify, args.content.all), (Some(false), false));
        // What is a list stays one.
        let words = ["pull", "--store", "a", "--store", "b", "-f", "x", "-f", "y"];
        let Chosen::Pull(OwnFirst(args)) = read(&words).unwrap().command else { panic!("not a pull") };
        assert_eq!((args.store.to_str(), args.images.file.len()), (Some("b"), 2));
        let words = ["copy", "--additional-tag", "a:1,b:1", "--additional-tag", "c:1", "dir:a", "docker-archive:b"];
        let Chosen::Copy(OwnFirst(args)) = read(&words).unwrap().command else { panic!("not a copy") };
        assert_eq!(args.additional_tag, ["a:1", "b:1", "c:1"]);
        // What contradicts itself still does.
        let kind = |words: &[&str]| read(words).unwrap_err().kind();
        assert_eq!(kind(&["pull", "--store", "a", "x", "--fail-fast", "--keep-going"]), ErrorKind::ArgumentConflict);
        assert_eq!(kind(&["pull", "--store", "a", "--store", "b", "--nonsense"]), ErrorKind::UnknownArgument);
        for time in ["0", "0s"] {
            let limit = read(&["--command-timeout", time, "ls", "x"]).unwrap().global.command_timeout;
            assert_eq!(limit, Some(std::time::Duration::ZERO));
        }
    }

    #[test]
    fn a_value_says_what_it_says() {
        let copy = |words: &[&str]| match read(words).unwrap().command {
            Chosen::Copy(OwnFirst(args)) => (args.content.all, args.content.remove_signatures),
            other => panic!("{other:?}"),
        };
        assert_eq!(copy(&["copy", "--all=true", "--remove-signatures=false", "dir:a", "dir:b"]), (true, false));
        assert_eq!(copy(&["copy", "-a", "--remove-signatures=T", "dir:a", "dir:b"]), (true, true));
        let quiet = read(&["--quiet=false", "--debug=true", "copy", "dir:a", "--json=1", "dir:b"]).unwrap().global;
        assert_eq!((quiet.quiet, quiet.debug, quiet.json), (false, true, true));
    }

    #[test]
    fn messages_and_help_are_those_without_values() {
        let help = read(&["copy", "--help"]).unwrap_err().to_string();
        assert!(help.contains("-a, --all\n") || help.contains("-a, --all "), "{help}");
        let conflict = read(&["copy", "--all", "--multi-arch=all", "dir:a", "dir:b"]).unwrap_err().to_string();
        assert!(conflict.contains("'--all' cannot be used"), "{conflict}");
        let wrong = read(&["copy", "--all=flase", "dir:a", "dir:b"]).unwrap_err().to_string();
        assert!(wrong.contains("invalid value 'flase' for '--all[=<BOOL>]'"), "{wrong}");
    }
}
