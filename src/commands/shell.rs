//! `hod completions` and `hod man`: generated from the definitions of the help.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::args::{Cli, CompletionsArgs, ManArgs, shown_long};
use crate::context::Context;
use crate::documents::Manual;
use crate::failure::{Failure, Kind};
use crate::{report, terminal};

pub(crate) fn completions(_: &Context, args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut with_actions(Cli::command()), "hod", &mut script);
    terminal::data(&script).map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// The definitions with all that is below `help`. What clap puts there by itself is what is known before commands define
/// their own, so actions are missing.
fn with_actions(mut whole: clap::Command) -> clap::Command {
    whole.build();
    let with_actions = |command: &&clap::Command| command.get_name() != "help" && command.has_subcommands();
    let parents: Vec<clap::Command> = whole.get_subcommands().filter(with_actions).cloned().collect();
    parents.iter().fold(whole, |whole, parent| {
        let actions = parent.get_subcommands().filter(|action| action.get_name() != "help").map(|action| {
            // clap wants names that live as long as the process, which ends when the script is printed.
            let name: &'static str = action.get_name().to_owned().leak();
            let about = action.get_about().cloned().unwrap_or_default();
            let whole_name = format!("hod help {} {name}", parent.get_name());
            let action = clap::Command::new(name).about(about).bin_name(whole_name).disable_help_subcommand(true);
            let mut action = action.disable_help_flag(true).disable_version_flag(true);
            action.build();
            action
        });
        whole.mut_subcommand("help", |help| help.mut_subcommand(parent.get_name(), |known| known.subcommands(actions)))
    })
}

pub(crate) fn man(context: &Context, args: &ManArgs) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::of(Kind::Failed, error);
    // `hod help` is explained by what it prints.
    let whole = shown_long(Cli::command().disable_help_subcommand(true));
    let Some(folder) = &args.output else {
        terminal::data(&page(whole).map_err(failed)?).map_err(Failure::output)?;
        return Ok(ExitCode::SUCCESS);
    };
    fs_err::create_dir_all(folder).map_err(failed)?;
    let pages = write_pages(&whole, folder).map_err(failed)?;
    context.summary(&format!("wrote the pages to {}", folder.display()));
    context.result(&Manual { folder: report::path(folder), pages }, "")?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command, and those of the commands below it; tells how many.
fn write_pages(command: &clap::Command, folder: &Path) -> io::Result<usize> {
    let mut pages = 1;
    for below in command.get_subcommands() {
        pages += write_pages(below, folder)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    fs_err::write(folder.join(format!("{name}.1")), page(command.clone())?)?;
    Ok(pages)
}

/// The page of a command. What stands after its options has its own headings there and is set as it is; `clap_mangen`
/// would make one text of it and call that "EXTRA".
fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut page = Vec::new();
    Man::new(command.after_help(None)).render(&mut page)?;
    let mut sections = Roff::new();
    for line in after.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("  "), line.strip_suffix(':')) {
            (None, Some(heading)) => sections.control("SH", [heading]).control("nf", []),
            (text, _) => sections.text([roman(text.unwrap_or(line))]),
        };
    }
    sections.to_writer(&mut page)?;
    Ok(page)
}
