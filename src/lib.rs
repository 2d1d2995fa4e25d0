//! The command line: the only code that prints, reads the environment, or picks exit codes.
//!
//! [`run`] reads the arguments, starts the runtime, lets the command do its work, and turns what
//! comes back into text and an exit code. Data goes to standard output, all else to standard error.

mod args;
mod commands;
mod context;
mod delta;
mod documents;
mod failure;
#[cfg(test)]
mod generated;
mod go_json;
mod installer;
mod log;
mod output;
mod progress;
mod report;
mod signals;
mod stdout;
mod template;
mod terminal;

use std::process::ExitCode;
use std::time::Duration;

use args::{Cli, Command, OwnFirst};
use context::Context;
use failure::{Failure, Kind};

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let cli = match args::parse(arguments.iter().cloned()) {
        Ok(cli) => cli,
        Err(error) => return terminal::usage(&error, args::meant(&arguments, &error)),
    };
    let log = cli.command.log();
    let opened = log.map_or(Ok(()), terminal::log_to);
    let context = Context::new(&cli, log.is_some());
    if let Err(error) = opened {
        let failure = Failure::new(Kind::Usage, "cannot write the log").because(error);
        context.fail(&failure);
        return failure.kind().exit_code();
    }
    let result = block_on(&context, cli);
    context.close();
    match result {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            context.fail(&failure);
            failure.kind().exit_code()
        }
    }
}

/// Runs the command on a runtime of its own, until it is done, interrupted or out of time.
fn block_on(context: &Context, cli: Cli) -> Result<ExitCode, Failure> {
    let (serves, goes_on) = (matches!(cli.command, Command::Serve(_)), cli.command.goes_on());
    // The runtime would panic.
    std::thread::Builder::new().spawn(|| {}).map_err(|error| {
        Failure::new(Kind::Failed, "cannot start a thread").because(error).hint(
            "the kernel, a limit on processes, or the seccomp rules of a container runtime refuse it: an older \
             runtime has to be updated, since it refuses clone3",
        )
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // An upload holds one as long as its client takes, and others must not wait for that.
        .max_blocking_threads(if serves { 512 } else { 64 })
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Failed, "cannot start the runtime").because(error))?;
    let timeout = cli.global.command_timeout.filter(|limit| !limit.is_zero());
    let result = runtime.block_on(async {
        // Before anything is begun that a signal could not end well. A server ends by itself, when transfers have ended.
        let signals = if serves { Vec::new() } else { signals::listen() };
        tokio::select! {
            biased;
            result = dispatch(context, cli.command) => result,
            () = signals::received(signals) => Err(Failure::interrupted(goes_on)),
            () = elapsed(timeout) => Err(Failure::timed_out(goes_on)),
        }
    });
    // Work on threads that cannot be dropped is told to stop, and has a moment to clean up.
    context.stop.request();
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

async fn dispatch(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Plan(OwnFirst(args)) => commands::plan::run(context, args).await,
        Command::Pull(OwnFirst(args)) => commands::pull::run(context, args).await,
        Command::Lock(OwnFirst(args)) => commands::lock::run(context, args).await,
        Command::Pack(OwnFirst(args)) => commands::pack::run(context, args).await,
        Command::Bundle(OwnFirst(args)) => commands::bundle::run(context, args).await,
        Command::Unpack(OwnFirst(args)) => commands::unpack::run(context, args).await,
        Command::Push(OwnFirst(args)) => commands::push::run(context, args).await,
        Command::Serve(OwnFirst(args)) => commands::serve::run(context, args).await,
        Command::Select(OwnFirst(args)) => commands::select::run(context, args).await,
        Command::Tag(OwnFirst(args)) => commands::tag::run(context, args).await,
        Command::Rm(OwnFirst(args)) => commands::rm::run(context, args).await,
        Command::Gc(OwnFirst(args)) => commands::gc::run(context, args).await,
        Command::Stat(OwnFirst(args)) => commands::stat::run(context, args).await,
        Command::Verify(OwnFirst(args)) => commands::verify::run(context, args).await,
        Command::Ls(OwnFirst(args)) => commands::ls::run(context, args).await,
        Command::Inventory(OwnFirst(args)) => commands::inventory::run(context, args).await,
        Command::Diff(OwnFirst(args)) => commands::diff::run(context, args).await,
        Command::Keygen(OwnFirst(args)) => commands::keygen::run(context, args).await,
        Command::Sign(OwnFirst(args)) => commands::sign::run(context, args).await,
        Command::Copy(OwnFirst(args)) => commands::copy::run(context, *args).await,
        Command::Sync(OwnFirst(args)) => commands::sync::run(context, *args).await,
        Command::UnpackImage(OwnFirst(args)) => commands::unpack_image::run(context, args).await,
        Command::Layer(OwnFirst(args)) => commands::layer::run(context, args).await,
        Command::Init(OwnFirst(args)) => commands::init::init(context, args).await,
        Command::New(OwnFirst(args)) => commands::init::new(context, args).await,
        Command::Inspect(OwnFirst(args)) => commands::inspect::run(context, args).await,
        Command::ListTags(OwnFirst(args)) => commands::list_tags::run(context, args).await,
        Command::Delete(OwnFirst(args)) => commands::delete::run(context, args).await,
        Command::Index(OwnFirst(args)) => commands::index::run(context, args).await,
        Command::ManifestDigest(OwnFirst(args)) => commands::manifest_digest::run(context, args).await,
        Command::StandaloneSign(OwnFirst(args)) => commands::standalone::sign(context, args).await,
        Command::StandaloneVerify(OwnFirst(args)) => commands::standalone::verify(context, args).await,
        Command::Login(OwnFirst(args)) => commands::login::login(context, args).await,
        Command::Logout(OwnFirst(args)) => commands::login::logout(context, args).await,
        Command::Completions(OwnFirst(args)) => commands::shell::completions(context, &args),
        Command::Man(OwnFirst(args)) => commands::shell::man(context, &args),
    }
}

async fn elapsed(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}
