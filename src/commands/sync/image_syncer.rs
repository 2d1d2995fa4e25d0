//! `hod sync --image-syncer`: copies images by image-syncer's configuration files.

use std::path::Path;
use std::process::ExitCode;

use super::beginning::{checked, configuration};
use super::report::{Outcome, finish};

use crate::args::{ImageSyncerArgs, SyncArgs};
use crate::commands::UsedRegistries;
use crate::commands::admission::admission;
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::{output, report};
use hod_engine::copy::Engine;
use hod_image::batch::OnFailure;
use hod_image::copy_image::MultiArch;
use hod_image::open::Places;
use hod_steps::sync::destination::Plan;
use hod_steps::sync::document::Language;
use hod_steps::sync::image_syncer::platforms::PlatformFilter;
use hod_steps::sync::image_syncer::success::success_file;
use hod_steps::sync::image_syncer::{Configuration, ConfigurationError, RegistryAccess};
use hod_steps::sync::run::{SyncOptions, sync};
use hod_steps::sync::source::origins;

/// What the files came to.
struct Planned {
    plan: Plan,
    sources: usize,
    failed: usize,
}

pub(super) async fn run(context: &Context, args: &SyncArgs) -> Result<ExitCode, Failure> {
    let own = &args.image_syncer;
    let configuration = read(context, own).await?;
    let rules = configuration.rules.iter();
    let repositories =
        rules.flat_map(|rule| rule.destinations.iter().map(|to| &to.repository).chain([&rule.repository]));
    let concerned = UsedRegistries::new(repositories.filter_map(|repository| repository.host.as_deref())).side("src-");
    let registries = context.registries_with(&args.from.registry(), &concerned, args.from.authfile.clone())?;
    let engine = context.engine_with(own.proc, &args.retry);
    let places = Places::new(registries).admitting(admission(context)?);
    let mut reach = RegistryAccess::new(&configuration.auth, &places);
    let Planned { plan, sources, failed } = plan(context, &engine, &configuration, &mut reach).await;
    let tasks = checked(context, plan)?;
    let mut outcome = Outcome { sources, failed_before: failed, ..Outcome::default() };
    if args.dry_run {
        outcome.planned = tasks;
    } else {
        let options = SyncOptions {
            multi_arch: MultiArch::All,
            format: None,
            on_failure: OnFailure::KeepGoing,
            tree: None,
            filter: PlatformFilter { systems: own.os.clone(), architectures: own.arch.clone() },
            force: args.content.force,
            passes: usize::from(own.retries),
        };
        outcome.receipt = sync(&engine, tasks, &options).await;
    }
    if let Some(path) = own.output_success_images.as_ref().filter(|_| !args.dry_run) {
        let text = success_file(&outcome.receipt.images, own.output_images_format.language());
        output::write(path, text.into_bytes()).await?;
    }
    finish(context, &outcome, args.digestfile.as_deref()).await
}

/// Reads the files. A rule that cannot be meant ends it before anything is asked.
async fn read(context: &Context, args: &ImageSyncerArgs) -> Result<Configuration, Failure> {
    let mut configuration = Configuration::default();
    let variables = |name: &str| std::env::var(name).ok();
    let files = [
        (&args.auth, Configuration::add_auth as Add),
        (&args.images, Configuration::add_images as Add),
        (&args.config, Configuration::add_both as Add),
    ];
    for (path, add) in files {
        let Some(path) = path else { continue };
        let text = self::configuration(path).await?;
        add(&mut configuration, language(path)?, &text, &variables).map_err(|error| {
            let message = format!("{} is not a valid configuration file of image-syncer", path.display());
            Failure::new(Kind::Usage, message).because(error)
        })?;
        if configuration.relaxed {
            let name = path.display();
            context.say(&format!(
                "note: {name}: comments and trailing commas are not valid JSON, and image-syncer refuses them"
            ));
            configuration.relaxed = false;
        }
    }
    for error in &configuration.problems {
        context.print_error(&error.rule, &error.problem);
    }
    if !configuration.problems.is_empty() {
        let message = format!("{} cannot be used", report::count(configuration.problems.len(), "rule"));
        return Err(Failure::new(Kind::Usage, message)
            .hint("no image was resolved; correct these rules and run the same command again"));
    }
    if configuration.rules.is_empty() {
        let failure = Failure::new(Kind::Usage, "no images are named");
        return Err(failure.hint("list sources and destinations in the file of --images or --config"));
    }
    Ok(configuration)
}

/// How a file is added to what is known.
type Add = for<'a> fn(
    &mut Configuration,
    Language,
    &str,
    &(dyn Fn(&str) -> Option<String> + 'a),
) -> Result<(), ConfigurationError>;

fn language(path: &Path) -> Result<Language, Failure> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Ok(Language::Json),
        Some("yaml" | "yml") => Ok(Language::Yaml),
        _ => {
            let problem = format!("{} is neither .json nor .yaml nor .yml", path.display());
            Err(Failure::new(Kind::Usage, problem))
        }
    }
}

/// Asks for tags, and gives every image a place. A source that cannot be listed hides no other.
async fn plan(
    context: &Context,
    engine: &Engine,
    configuration: &Configuration,
    reach: &mut RegistryAccess<'_>,
) -> Planned {
    let requests = configuration.rules.iter().map(|rule| reach.request(rule)).collect();
    let mut planned = Planned { plan: Plan::default(), sources: 0, failed: 0 };
    for (rule, result) in configuration.rules.iter().zip(origins(engine, requests).await) {
        match result {
            Ok(origin) => {
                if origin.images.is_empty() {
                    context.say(&format!("note: {} has none of the requested tags", rule.source));
                }
                planned.sources += 1;
                reach.plan(&mut planned.plan, rule, &origin);
            }
            Err(error) => {
                context.print_failure(&Failure::of(Kind::Failed, error));
                planned.failed += 1;
            }
        }
    }
    planned
}
