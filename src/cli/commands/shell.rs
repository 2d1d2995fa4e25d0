//! `hod completions` and `hod man`: made from the same definitions as the help.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::args::{Cli, CompletionsArgs, ManArgs};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::cli::terminal;

pub(in crate::cli) fn completions(_: &Context, args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hod", &mut script);
    terminal::data(&script).map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

pub(in crate::cli) fn man(context: &Context, args: &ManArgs) -> Result<ExitCode, Failure> {
    let render = |command: clap::Command| {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map(|()| page)
    };
    let failed = |error| Failure::of(Kind::Failed, error);
    let Some(folder) = &args.output else {
        terminal::data(&render(Cli::command()).map_err(failed)?).map_err(Failure::output)?;
        return Ok(ExitCode::SUCCESS);
    };
    fs_err::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    context.say(&format!("wrote the pages to {}", folder.display()));
    Ok(ExitCode::SUCCESS)
}
