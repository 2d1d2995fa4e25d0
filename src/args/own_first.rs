//! The order of help: a command's own options come before the common options.

use clap::{ArgMatches, Args, Command, FromArgMatches, Id};

/// A command's own arguments. clap hands the common ones down before a command that is deferred defines its own, and
/// help has headings in the order in which it meets them.
#[derive(Debug)]
pub(crate) struct OwnFirst<T>(pub(crate) T);

impl<T> OwnFirst<T> {
    /// Moves behind the others what was there before `define` ran.
    fn defined(command: Command, define: impl FnOnce(Command) -> Command) -> Command {
        let common: Vec<Id> = command.get_arguments().map(|argument| argument.get_id().clone()).collect();
        // To change an argument is to move it to the end.
        common.iter().fold(define(command), |command, id| command.mut_arg(id, |argument| argument))
    }
}

impl<T: Args> Args for OwnFirst<T> {
    fn group_id() -> Option<Id> {
        T::group_id()
    }

    fn augment_args(command: Command) -> Command {
        Self::defined(command, T::augment_args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::defined(command, T::augment_args_for_update)
    }
}

impl<T: FromArgMatches> FromArgMatches for OwnFirst<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}
