//! `hod serve`: a registry over a store.

use std::process::ExitCode;
use std::sync::Arc;

use super::input::{self, Target};
use crate::cli::args::ServeArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::cli::terminal;
use crate::serve::{Options, Server};

pub(in crate::cli) async fn run(context: &Context, args: ServeArgs) -> Result<ExitCode, Failure> {
    let Target::Store(store) = input::target(&args.source)? else {
        return Err(Failure::new(Kind::Usage, format!("{} is no store", args.source.display()))
            .hint("unpack the bundle to a folder and serve that"));
    };
    let options = Options { listen: args.listen, ..Options::default() };
    let server = Server::bind(Arc::new(store), options).await.map_err(|error| Failure::of(Kind::Failed, error))?;
    for address in server.addresses() {
        terminal::data(format!("listening on http://{address}\n").as_bytes()).map_err(Failure::output)?;
    }
    context.say("serving, read-only; Ctrl-C ends it");
    let stopped = server.run(crate::cli::interrupted()).await;
    if stopped.cut > 0 {
        context.say(&format!("{} cut off", crate::cli::report::count(stopped.cut, "transfer")));
    }
    Ok(ExitCode::SUCCESS)
}
