//! `hod copy`: one image, or a list, between any two places.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::layers::{Layers, LayersError};
use super::on_failure;
use super::opening::Purpose;
use super::{UsedRegistries, input, opening};
use crate::args::{CopyArgs, FormatArg};
use crate::context::Context;
use crate::documents::{self, FailedName};
use crate::failure::{Advice, Advise, Failure, Kind};
use crate::report::ImageResult;
use crate::{output, report};
use hod_engine::copy::Engine;
use hod_engine::endpoint::{Placement, Sink};
use hod_engine::observe::Event;
use hod_image::batch::{self, OnFailure, Transfer};
use hod_image::convert::Format;
use hod_image::copy_image::{Changes, Choice, CopiedImage, CopyImageError, MultiArch, copy_image};
use hod_image::copy_list::{Base, CopyRequest, ListCopy};
use hod_image::forced::forced;
use hod_image::list::Line;
use hod_image::open::{LocalSettings, OpenError, OpenSink, OpenSource, Places};
use hod_image::places::{PlaceError, check_locked};
use hod_oci::{Digest, MediaType, Platforms, Reference, Version};
use hod_transport::{ArchiveImage, DaemonImage, Location};

/// What a copy is to be like.
#[derive(Clone)]
struct CopySettings {
    engine: Engine,
    from: Arc<Places>,
    to: Arc<Places>,
    format: Option<Format>,
    /// True if a registry gets even what it says that it has.
    force: bool,
    layers: Layers,
    scratch: PathBuf,
    more_names: Vec<String>,
}

/// An image on its way.
struct Task {
    /// Its name in messages.
    label: String,
    from: Location,
    /// Where it is if it is not there.
    or_from: Vec<Location>,
    /// Its complete name, for places that keep it beside another.
    complete: Option<Reference>,
    /// The line of a list that has it on this machine.
    local: Option<Line>,
    /// The image, where it is open already.
    open: Option<OpenSource>,
    to: Location,
    /// The parts of it to copy.
    multi_arch: MultiArch,
    /// The digest that it has to have at its source.
    digest: Option<Digest>,
    /// The digest that it has to have there.
    pinned: Option<Digest>,
}

/// The errors of an image that was not copied.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Copy(#[from] CopyImageError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Layers(#[from] LayersError),
    #[error("--additional-tag requires a docker-archive or docker-daemon destination: other places store one name")]
    MoreNames,
    #[error("a name of --additional-tag is not valid")]
    Names(#[source] hod_transport::TransportError),
    #[error("a thread of hod ended unexpectedly")]
    Thread(#[source] tokio::task::JoinError),
}

impl Advise for TaskError {
    fn advice(&self) -> Advice {
        match self {
            Self::Open(error) => error.advice(),
            Self::Copy(error) => error.advice(),
            Self::Place(error) => error.advice(),
            Self::Layers(error) => error.advice(),
            Self::Names(error) => error.advice(),
            Self::MoreNames | Self::Thread(_) => Advice::NONE,
        }
    }
}

/// What became of all.
#[derive(Default)]
struct Outcome {
    copied: Vec<(Task, CopiedImage)>,
    failed: Vec<(String, TaskError)>,
    stopped: bool,
    /// Archives that are not there, because images of theirs are not.
    unwritten: Vec<PathBuf>,
}

pub(crate) async fn run(context: &Context, args: CopyArgs) -> Result<ExitCode, Failure> {
    if let Some((flag, does)) = args.encryption.given() {
        let failure = Failure::new(Kind::Usage, format!("{flag} {does} in skopeo; hod does not support this"));
        return Err(failure.hint(
            "use skopeo for this step with an oci: layout on its other side, and hod from there; hod copies layers that \
             are already encrypted as they are",
        ));
    }
    let mut tasks = tasks(context, &args)?;
    let sources = UsedRegistries::of(tasks.iter().map(|task| &task.from)).side("src-");
    let from = context.registries_with(&args.from.registry(), &sources, args.from.authfile.clone())?;
    let destinations = UsedRegistries::of(tasks.iter().map(|task| &task.to)).side("dest-");
    let to = context.registries_with(&args.to.registry(), &destinations, args.to.authfile.clone())?;
    let shared = |local, folder: &Option<PathBuf>| LocalSettings { shared_blobs: folder.clone(), ..local };
    let here = shared(context.local(args.from.daemon_host.as_ref(), &args.from.registry())?, &args.src_shared_blob_dir);
    let there = shared(context.local(args.to.daemon_host.as_ref(), &args.to.registry())?, &args.dest_shared_blob_dir);
    let layers = Layers::new(context, &args.layers, args.content.preserve_digests, &here.scratch)?;
    let scratch = here.scratch.clone();
    let from = Places::new(from).with_local(here).admitting(super::admission::admission(context)?);
    let sources = tasks.iter().map(|task| &task.from);
    let from = Arc::new(opening::with_bundles(context, from, sources, Purpose::Take(&args.trust)).await?);
    open_local(context, &from, &mut tasks).await?;
    let signing = super::signing::signing(&args.signing, args.sign_identity.as_ref()).await?;
    let to = Places::new(to).with_local(there).with_signing(signing);
    let manner = CopySettings {
        engine: context.engine_with(args.image_parallel_copies.filter(|copies| *copies > 0), &args.retry),
        from,
        to: Arc::new(if args.content.remove_signatures { to.without_signatures() } else { to }),
        format: args.content.format.map(FormatArg::format),
        force: args.content.force,
        layers,
        scratch,
        more_names: args.additional_tag.clone(),
    };
    let many = !args.file.is_empty();
    let on_failure = if many { on_failure(args.fail_fast) } else { OnFailure::Return };
    let mut outcome = copy_all(&manner, tasks, on_failure).await;
    if outcome.failed.is_empty() {
        let places = manner.to.clone();
        input::blocking(move || places.finish().map_err(|error| Failure::of(Kind::Failed, error))).await?;
    } else {
        outcome.unwritten = manner.to.unfinished();
    }
    // What an archive would have held is nowhere.
    let copied = if outcome.unwritten.is_empty() { 0 } else { std::mem::take(&mut outcome.copied).len() };
    if let (Some(path), Some((_, image))) = (&args.digestfile, outcome.copied.first()) {
        let problem = || format!("the image is copied, but its digest cannot be written to {}", path.display());
        let written = output::try_write(path, image.digest.to_string().into_bytes()).await;
        written.map_err(|error| Failure::new(Kind::Failed, problem()).because(error))?;
    }
    report_copy(context, &manner, &outcome, many)?;
    end(context, outcome, many, copied)
}

/// The complete name that a source gives its image.
fn complete(from: &Location) -> Option<Reference> {
    match from {
        Location::Docker(name)
        | Location::DockerArchive(_, Some(ArchiveImage::Name(name)))
        | Location::DockerDaemon(DaemonImage::Name(name)) => Some(name.clone()),
        Location::ContainersStorage(image) => image.reference().ok(),
        _ => None,
    }
}

/// The digest that a destination names.
fn pinned(to: &Location) -> Option<Digest> {
    match to {
        Location::Docker(reference) => reference.digest,
        Location::Store(_, image) => image.as_ref()?.digest,
        _ => None,
    }
}

fn tasks(context: &Context, args: &CopyArgs) -> Result<Vec<Task>, Failure> {
    let usage = |error| Failure::of(Kind::Usage, error);
    if args.file.is_empty() {
        let from: Location = args.source.parse().map_err(usage)?;
        let to: Location = args.destination.parse().map_err(usage)?;
        let (label, pinned, multi_arch) = (from.to_string(), pinned(&to), multi_arch(context, args)?);
        return Ok(vec![Task {
            label,
            pinned,
            or_from: Vec::new(),
            complete: complete(&from),
            from,
            local: None,
            open: None,
            to,
            multi_arch,
            digest: None,
        }]);
    }
    let base = |text: &str| text.parse::<Base>().map_err(|error| Failure::of(Kind::Usage, error));
    let (from, to) = (base(&args.source)?, base(&args.destination)?);
    let list = input::image_list(context, &args.file, &[], &args.group)?;
    let copy =
        ListCopy { from, to, part: multi_arch(context, args)?, referrers: !args.no_referrers, names: args.names };
    let images = copy.requests(&list.lines).map_err(|bad| {
        for (line, error) in &bad {
            context.print_error(&format!("{}: {}", line.origin, line.text), error);
        }
        Failure::new(Kind::Usage, format!("{} of the list cannot be copied", report::count(bad.len(), "line")))
            .hint("no image was resolved; correct these lines and run the same command again")
    })?;
    let is_as_listed = copy.from == Base::Registries;
    // The digest of a line is that of its source, of which a part may be copied.
    let task = |CopyRequest { line, from, or_from, complete, to, multi_arch, digest }| {
        let label = line.text.to_string();
        let local = Some(line).filter(|line| line.place.is_some() && is_as_listed);
        Task { label, from, or_from, complete: Some(complete), local, open: None, to, multi_arch, digest, pinned: None }
    };
    Ok(images.into_iter().map(task).collect())
}

/// Opens the images that a list has on this machine; one that cannot be used ends the command before it has begun.
async fn open_local(context: &Context, places: &Arc<Places>, tasks: &mut [Task]) -> Result<(), Failure> {
    let mut local: Vec<&mut Task> = tasks.iter_mut().filter(|task| task.local.is_some()).collect();
    let asked: Vec<_> = local.iter_mut().filter_map(|task| task.local.take()).map(input::asked_of).collect();
    // A place has one image in a list, since it has one name.
    let found = input::open_places(context, places, &asked).await?;
    for (task, found) in local.into_iter().zip(found) {
        let (location, open) = found.into_source();
        (task.from, task.open) = (location, Some(open));
    }
    Ok(())
}

fn multi_arch(context: &Context, args: &CopyArgs) -> Result<MultiArch, Failure> {
    if !args.platform.is_empty() {
        let only = args.platform.iter().filter_map(|platforms| match platforms {
            Platforms::Only(some) => Some(some.clone()),
            Platforms::All => None,
        });
        let all = args.platform.contains(&Platforms::All);
        let choice = || Choice::asked(Platforms::Only(only.flatten().collect()));
        return Ok(if all { MultiArch::All } else { MultiArch::Sparse(choice()) });
    }
    Ok(args.content.part(context.platform()?))
}

async fn copy_all(manner: &CopySettings, tasks: Vec<Task>, on_failure: OnFailure) -> Outcome {
    manner.engine.observer().on(&Event::Step { name: "copy", images: tasks.len(), bytes: 0 });
    let copied = batch::run(
        &manner.engine,
        tasks,
        on_failure,
        |task: &Task| task.label.clone(),
        |image| async move {
            let result = async {
                let image = copy_one(manner, &image).await?;
                let transfer = Transfer::new(image.digest, &image.copied, &image.foreign);
                Ok((image, Some(transfer)))
            }
            .await;
            (image, result)
        },
    )
    .await;
    let failed = copied.failed.into_iter().map(|(task, error)| (task.label, error)).collect();
    Outcome { copied: copied.done, failed, stopped: copied.stopped_early, unwritten: Vec::new() }
}

async fn copy_one(manner: &CopySettings, task: &Task) -> Result<CopiedImage, TaskError> {
    manner.layers.check(&task.to)?;
    let (this, from, to, digest) = (manner.clone(), task.from.clone(), task.to.clone(), task.digest);
    let (open, or_from, complete) = (task.open.clone(), task.or_from.clone(), task.complete.clone());
    // The source first: nothing is made for an image that is not there.
    let opened = tokio::task::spawn_blocking(move || {
        let source = open.map_or_else(|| first_source(&this.from, &from, &or_from), Ok)?;
        if let Version::Digest(found) = source.version {
            check_locked(&from, digest, found)?;
        }
        let sink = if this.more_names.is_empty() {
            this.to.sink_called(&to, complete.as_ref())?
        } else {
            more_names(&this, &to)?
        };
        Ok::<_, TaskError>((source, sink))
    });
    let (source, mut sink) = opened.await.map_err(TaskError::Thread)??;
    if manner.force {
        sink.sink = forced(sink.sink);
    }
    let changes = Changes {
        format: manner.format,
        layers: manner.layers.change(&source, &task.to),
        preserve: manner.layers.preserve(),
        pinned: task.pinned,
        scratch: manner.scratch.clone(),
    };
    let is_for_one = task.to.is_for_one_platform();
    let multi_arch = if is_for_one { task.multi_arch.clone().for_one() } else { task.multi_arch.clone() };
    Ok(copy_image(&manner.engine, &source, &sink, &multi_arch, changes).await?)
}

/// The image at the first of these locations that has it; without any, the first is what is missing.
fn first_source(places: &Places, from: &Location, or_from: &[Location]) -> Result<OpenSource, OpenError> {
    places.source(from).or_else(|error| {
        let mut others = or_from.iter().filter(|_| error.is_absent()).map(|other| places.source(other));
        let found = others.find(|found| !found.as_ref().is_err_and(OpenError::is_absent));
        found.unwrap_or(Err(error))
    })
}

fn more_names(manner: &CopySettings, to: &Location) -> Result<OpenSink, TaskError> {
    let sink: Arc<dyn Sink> = match to {
        Location::DockerArchive(path, image) => {
            let archive = manner.to.docker_archive(to, path)?;
            let named = archive.named(image.as_ref()).and_then(|archive| archive.with_names(&manner.more_names));
            Arc::new(named.map_err(TaskError::Names)?)
        }
        Location::DockerDaemon(image) => {
            let daemon = manner.to.daemon_sink(to, image)?;
            Arc::new(daemon.with_names(&manner.more_names).map_err(TaskError::Names)?)
        }
        _ => return Err(TaskError::MoreNames),
    };
    Ok(OpenSink { sink, tags: Vec::new(), signatures: true, signing: manner.to.signing(to)? })
}

fn report_copy(context: &Context, manner: &CopySettings, outcome: &Outcome, many: bool) -> Result<(), Failure> {
    context.close();
    if context.is_text() && !outcome.failed.is_empty() && (!many || !outcome.unwritten.is_empty()) {
        return Ok(());
    }
    let sum = |placed| outcome.copied.iter().map(|(_, image)| image.copied.bytes(placed)).sum::<u64>();
    for (task, image) in outcome.copied.iter().filter(|(_, image)| image.recompressed > 0) {
        let layers = report::count(image.recompressed, "layer");
        context.say(&format!("note: {layers} of {} {}", task.label, manner.layers.note(&task.to)));
    }
    let is_docker = |image: &CopiedImage| matches!(image.media_type, MediaType::DockerManifest | MediaType::DockerList);
    let is_layout = |to: &Location| matches!(to, Location::Oci(..) | Location::OciArchive(..));
    let docker = outcome.copied.iter().filter(|(task, image)| is_layout(&task.to) && is_docker(image)).count();
    if docker > 0 {
        context.say(&format!(
            "note: {} with Docker's media types in an OCI layout: umoci, podman before 5 and skopeo before 1.14 need \
             --format oci, which gives new digests",
            report::count(docker, "image")
        ));
    }
    let document = documents::Copied {
        bytes_already_there: sum(Placement::AlreadyThere),
        bytes_linked: sum(Placement::Linked),
        bytes_mounted: sum(Placement::Mounted),
        bytes_reflinked: sum(Placement::Cloned),
        bytes_written: sum(Placement::Written),
        failed: outcome.failed.iter().map(FailedName::from).collect(),
        images: outcome.copied.iter().map(|(task, image)| describe(task, image)).collect(),
        seconds: context.seconds(),
    };
    if context.is_text() {
        for (task, image) in outcome.copied.iter().filter(|(_, image)| image.digest != image.source_digest) {
            context.say(&format!("note: {} has a new digest: {} → {}", task.label, image.source_digest, image.digest));
        }
        for (task, image) in outcome.copied.iter().filter(|(_, image)| image.signatures_left > 0) {
            let left = report::count(image.signatures_left, "signature");
            context.say(&format!("note: {left} of {} not copied: {} cannot store them", task.label, task.to));
        }
        let unchanged = outcome.copied.iter().filter(|(_, image)| image.copied.unchanged).count();
        let mut parts = vec![format!("{} written", report::bytes(sum(Placement::Written)))];
        for (placed, word) in
            [(Placement::Linked, "linked"), (Placement::Cloned, "reflinked"), (Placement::Mounted, "mounted")]
        {
            if sum(placed) > 0 {
                parts.push(format!("{} {word}", report::bytes(sum(placed))));
            }
        }
        let result = |(task, image): &(Task, CopiedImage)| ImageResult {
            name: format!("{} → {}", task.from, task.to),
            digest: image.digest,
            change: report::change(image.copied.unchanged),
        };
        context.result(&document, &context.image_lines(outcome.copied.iter().map(result)))?;
        context.summary(&format!(
            "{} copied, {unchanged} unchanged · {}, in {}",
            report::count(outcome.copied.len() - unchanged, "image"),
            parts.join(", "),
            report::time(context.begun.elapsed()),
        ));
        return Ok(());
    }
    context.result(&document, "")
}

fn describe(task: &Task, image: &CopiedImage) -> documents::CopiedImage {
    documents::CopiedImage {
        destination: task.to.to_string(),
        digest: image.digest.into(),
        layers_recompressed: image.recompressed,
        signatures: image.signatures,
        signatures_left: image.signatures_left,
        source: task.from.to_string(),
        source_digest: image.source_digest.into(),
        unchanged: image.copied.unchanged,
    }
}

fn end(context: &Context, mut outcome: Outcome, many: bool, lost: usize) -> Result<ExitCode, Failure> {
    if !many && let Some((label, error)) = outcome.failed.pop() {
        return Err(Failure::new(Kind::Failed, format!("cannot copy {label}")).because(error));
    }
    if outcome.failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    context.print_errors(outcome.failed.iter().map(|(name, error)| (name, error)));
    let all = outcome.copied.len() + outcome.failed.len() + lost;
    let message = format!("{} of {} not copied", outcome.failed.len(), report::count(all, "image"));
    if let Some(archive) = outcome.unwritten.first() {
        let failure = Failure::new(Kind::Failed, format!("{message}, and {} not written", archive.display()));
        return Err(failure
            .hint("an archive is written only if all its images are copied: remove the failed ones from the list"));
    }
    let others_done = !outcome.copied.is_empty() && !outcome.stopped;
    let kind = Kind::of_images(outcome.failed.iter().map(|(_, error)| error), others_done);
    Err(Failure::new(kind, message))
}
