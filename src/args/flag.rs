//! The values of boolean flags.

use std::ffi::OsStr;

use clap::builder::{BoolValueParser, FalseyValueParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, Command};

/// Reads a flag's environment variable: anything but nothing, 0, no, off and false sets it.
pub(crate) fn flag() -> FalseyValueParser {
    FalseyValueParser::new()
}

/// Reads a truth value.
pub(crate) const fn truth() -> FlagValue {
    FlagValue { lenient: false }
}

/// What stands behind a flag: a truth value in the words of Go's `strconv.ParseBool`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlagValue {
    /// Whether the environment may say anything at all, and sets the flag with it unless it clearly says no.
    pub(super) lenient: bool,
}

impl TypedValueParser for FlagValue {
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
