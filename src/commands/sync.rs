//! `hod sync`: copies all images of a source to a destination, as skopeo does.

mod beginning;
mod image_syncer;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{UsedRegistries, input};
use crate::args::{DestinationKindArg, FormatArg, SourceKindArg, SyncArgs};
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::{report as text, terminal};
use hod_engine::copy::Engine;
use hod_image::open::Places;
use hod_oci::{DOCKER_IO, Reference};
use hod_steps::sync::destination::{Naming, Plan, Target};
use hod_steps::sync::image_syncer::platforms::PlatformFilter;
use hod_steps::sync::run::{SyncOptions, sync};
use hod_steps::sync::source::{Request, origins};
use hod_steps::sync::source_file::SourceFile;
use hod_steps::sync::{Origin, directory};
use hod_transport::DirTree;

use super::on_failure;
use beginning::{checked, configuration};
use report::{Outcome, finish};

/// What a source is, before anything is asked.
enum SourceRequest {
    /// A directory with images.
    Directory(PathBuf),
    /// Registries, and what is wanted of each.
    File(SourceFile),
    /// A repository, or an image there.
    Repository(Reference),
}

/// What a source turned out to be.
#[derive(Default)]
struct SourceContent {
    origins: Vec<Origin>,
    /// Entries and repositories that failed, each of which was reported.
    failed: usize,
}

pub(crate) async fn run(context: &Context, args: SyncArgs) -> Result<ExitCode, Failure> {
    if args.image_syncer.image_syncer {
        return image_syncer::run(context, &args).await;
    }
    if let Some(flag) = args.image_syncer.stray() {
        return Err(Failure::new(Kind::Usage, format!("{flag} requires --image-syncer")));
    }
    let target = target(&args)?;
    let wanted = wanted(context, &args).await?;
    let sources = wanted.concerned().side("src-");
    let from = context.registries_with(&args.from.registry(), &sources, args.from.authfile.clone())?;
    let to = context.registries_with(&args.to.registry(), &concerned(&target), args.to.authfile.clone())?;
    let from = Arc::new(Places::new(from).admitting(super::admission::admission(context)?));
    let signing = super::signing::signing(&args.signing, None).await?;
    if signing.is_some() && matches!(target, Target::Directory(_)) {
        let failure = Failure::new(Kind::Usage, "--sign-by signs for a name, and image directories have none");
        return Err(failure.hint("sign each image with hod copy --sign-by --sign-identity"));
    }
    let to = Places::new(to).with_signing(signing);
    let to = Arc::new(if args.content.remove_signatures { to.without_signatures() } else { to });
    let engine = context.engine(&args.retry);
    let found = find(context, &engine, &args, wanted, from).await?;
    let naming = Naming { scoped: args.scoped, suffix: args.append_suffix.clone() };
    let mut plan = Plan::default();
    for origin in &found.origins {
        plan.add(origin, &target, &naming, &to);
    }
    let tasks = checked(context, plan)?;
    let sources = found.origins.len();
    let mut outcome = Outcome { sources, failed_before: found.failed, ..Outcome::default() };
    if args.dry_run {
        outcome.planned = tasks;
    } else {
        let tree = match &target {
            Target::Directory(folder) => Some(DirTree::new(folder)),
            Target::Registry(_) => None,
        };
        let options = SyncOptions {
            multi_arch: args.content.part(context.platform()?),
            format: args.content.format.map(FormatArg::format),
            on_failure: on_failure(!args.keep_going),
            tree,
            filter: PlatformFilter::default(),
            force: args.content.force,
            passes: 0,
        };
        outcome.receipt = sync(&engine, tasks, &options).await;
    }
    finish(context, &outcome, args.digestfile.as_deref()).await
}

/// Where images go. From folder to folder is a job for `cp`.
fn target(args: &SyncArgs) -> Result<Target, Failure> {
    let destination = args.destination.clone().unwrap_or_default();
    if destination.is_empty() {
        return Err(Failure::new(Kind::Usage, "the destination is empty"));
    }
    if destination.contains("://") {
        let failure = Failure::new(Kind::Usage, format!("{destination:?} has a transport prefix"));
        return Err(
            failure.hint("--dest already names the transport: write the plain name, such as registry.site:5000/mirror")
        );
    }
    match (args.src, args.dest) {
        (Some(SourceKindArg::Dir), Some(DestinationKindArg::Dir)) => {
            let failure = Failure::new(Kind::Usage, "hod sync does not copy from a directory to a directory");
            Err(failure.hint("use cp, or hod copy for single images"))
        }
        (_, Some(DestinationKindArg::Dir)) => Ok(Target::Directory(PathBuf::from(destination))),
        _ => Ok(Target::Registry(destination)),
    }
}

/// The registry of a destination.
fn concerned(target: &Target) -> UsedRegistries {
    let Target::Registry(destination) = target else { return UsedRegistries::default() };
    let host = destination.split('/').next().unwrap_or_default();
    let reference = format!("{host}/x").parse::<Reference>().ok();
    let host = reference.and_then(|reference| reference.host).unwrap_or_else(|| DOCKER_IO.into());
    UsedRegistries::new([&*host]).side("dest-")
}

impl SourceRequest {
    /// The registries that are asked as the command line says.
    fn concerned(&self) -> UsedRegistries {
        match self {
            Self::Directory(_) => UsedRegistries::default(),
            Self::Repository(reference) => UsedRegistries::new(reference.host.as_deref()),
            Self::File(file) => {
                let others = file.registries.iter().filter(|registry| registry.access.credentials.is_none());
                let repositories = others.flat_map(|registry| &registry.repositories);
                UsedRegistries::new(repositories.filter_map(|(repository, _)| repository.host.as_deref()))
            }
        }
    }
}

/// Reads what the source is.
async fn wanted(context: &Context, args: &SyncArgs) -> Result<SourceRequest, Failure> {
    let source = args.source.clone().unwrap_or_default();
    match args.src {
        Some(SourceKindArg::Dir) => Ok(SourceRequest::Directory(PathBuf::from(source))),
        Some(SourceKindArg::Yaml) => source_file(context, args, Path::new(&source)).await.map(SourceRequest::File),
        Some(SourceKindArg::Docker) | None => {
            let reference = source.parse::<Reference>().map_err(|error| Failure::of(Kind::Usage, error))?;
            let named = reference.tag.is_some() || reference.digest.is_some();
            let qualified = reference.qualified(DOCKER_IO).map_err(|error| Failure::of(Kind::Usage, error))?;
            Ok(SourceRequest::Repository(if named { qualified } else { Reference { tag: None, ..qualified } }))
        }
    }
}

async fn find(
    context: &Context,
    engine: &Engine,
    args: &SyncArgs,
    wanted: SourceRequest,
    places: Arc<Places>,
) -> Result<SourceContent, Failure> {
    let source = args.source.clone().unwrap_or_default();
    let found = match wanted {
        SourceRequest::Directory(folder) => {
            let images =
                input::blocking(move || directory::images(&folder).map_err(|error| Failure::of(Kind::Failed, error)));
            let origin = Origin { name: source.clone(), images: images.await?, places };
            SourceContent { origins: vec![origin], failed: 0 }
        }
        SourceRequest::File(file) => return find_in_file(context, engine, args, file, &places).await,
        SourceRequest::Repository(reference) => {
            listed(context, engine, vec![Request::of(&reference, places)], args.keep_going).await?
        }
    };
    if found.failed == 0 && found.origins.iter().all(|origin| origin.images.is_empty()) {
        return Err(Failure::new(Kind::Failed, format!("{source} contains no images")));
    }
    Ok(found)
}

/// Reads a YAML file. A bad entry ends the command before anything is asked, unless the user wants to go on.
async fn source_file(context: &Context, args: &SyncArgs, path: &Path) -> Result<SourceFile, Failure> {
    let name = path.display().to_string();
    let file = SourceFile::parse(&configuration(path).await?).map_err(|error| {
        Failure::new(Kind::Usage, format!("{name} is not a valid source file of hod sync")).because(error)
    })?;
    for warning in &file.warnings {
        context.say(&format!("note: {name}: {}", terminal::printable(warning)));
    }
    for error in &file.problems {
        context.print_error(&format!("{name}: {}", error.entry), &error.problem);
    }
    if !file.problems.is_empty() && !args.keep_going {
        let message = format!("{} of {name} cannot be used", text::count(file.problems.len(), "part"));
        return Err(Failure::new(Kind::Usage, message).hint("no image was resolved; --keep-going skips such entries"));
    }
    Ok(file)
}

/// What the YAML file asks for.
async fn find_in_file(
    context: &Context,
    engine: &Engine,
    args: &SyncArgs,
    file: SourceFile,
    places: &Arc<Places>,
) -> Result<SourceContent, Failure> {
    let name = args.source.clone().unwrap_or_default();
    let mut requests = Vec::new();
    for registry in file.registries {
        if let Some(folder) = registry.access.cert_dir.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(Failure::new(Kind::Usage, format!("{name}: cert-dir {} is not a directory", folder.display())));
        }
        let own = Arc::new(places.with_access(&registry.access, &name));
        let of_registry = registry.repositories.into_iter();
        requests.extend(of_registry.map(|(repository, choice)| Request { repository, choice, places: own.clone() }));
    }
    if requests.is_empty() && file.problems.is_empty() {
        return Err(Failure::new(Kind::Usage, format!("{name} names no images")));
    }
    let mut found = listed(context, engine, requests, args.keep_going).await?;
    found.failed += file.problems.len();
    Ok(found)
}

/// The images of repositories. A repository that has none of what is wanted is worth a line.
async fn listed(
    context: &Context,
    engine: &Engine,
    requests: Vec<Request>,
    keep_going: bool,
) -> Result<SourceContent, Failure> {
    let mut found = SourceContent::default();
    for result in origins(engine, requests).await {
        match result {
            Ok(origin) => {
                if origin.images.is_empty() {
                    context.say(&format!("note: {} has none of the requested tags", origin.name));
                }
                found.origins.push(origin);
            }
            Err(error) if keep_going => {
                context.print_failure(&Failure::of(Kind::Failed, error));
                found.failed += 1;
            }
            Err(error) => return Err(Failure::of(Kind::Failed, error)),
        }
    }
    Ok(found)
}
