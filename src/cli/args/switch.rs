//! Flags that say yes or no: `--all`, and also `--all=true` and `--all=false`, as Go's programs take them.
//!
//! Help and messages show such a flag without a value. Only a command line that does give one to it is read once more,
//! by a definition in which all of them take values.

use std::ffi::{OsStr, OsString};

use clap::builder::{BoolValueParser, FalseyValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command, CommandFactory as _, FromArgMatches as _, Parser as _};

use super::Cli;

/// What stands behind a flag: a truth value in the words of Go's `strconv.ParseBool`.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Truth {
    /// Whether the environment may say anything at all, and sets the flag with it unless it clearly says no.
    lenient: bool,
}

/// Reads a truth value.
pub(in crate::cli) const fn truth() -> Truth {
    Truth { lenient: false }
}

/// Reads a command line.
///
/// # Errors
/// What clap says, with the help where that was asked for.
pub(in crate::cli) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match Cli::try_parse_from(&arguments) {
        Err(error) if error.kind() == ErrorKind::TooManyValues => {
            let mut command = Cli::command();
            // What is deferred is defined now, to be changed.
            command.build();
            let mut command = with_values(command);
            let mut matches = command.try_get_matches_from_mut(&arguments)?;
            Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
        }
        read => read,
    }
}

/// The same command and those below it, with flags that take a value.
fn with_values(command: Command) -> Command {
    command.mut_args(with_value).mut_subcommands(with_values)
}

fn with_value(flag: Arg) -> Arg {
    if !matches!(flag.get_action(), ArgAction::SetTrue) {
        return flag;
    }
    let flag = flag.action(ArgAction::Set).value_parser(Truth { lenient: true }).value_name("BOOL");
    flag.num_args(0..=1).require_equals(true).default_missing_value("true").default_value("false")
}

impl TypedValueParser for Truth {
    type Value = bool;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<bool, clap::Error> {
        match value.to_str() {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            _ => BoolValueParser::new().parse_ref(command, flag, value),
        }
    }

    fn parse_ref_(
        &self,
        command: &Command,
        flag: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<bool, clap::Error> {
        match source {
            ValueSource::EnvVariable if self.lenient => FalseyValueParser::new().parse_ref(command, flag, value),
            _ => self.parse_ref(command, flag, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Command as Chosen;

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
    fn a_value_says_what_it_says() {
        let copy = |words: &[&str]| match read(words).unwrap().command {
            Chosen::Copy(args) => (args.content.all, args.content.remove_signatures),
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
