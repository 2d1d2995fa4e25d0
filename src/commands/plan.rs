//! `hod plan`, and `--dry-run` of pull and pack: sizes and free space.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use futures_util::StreamExt as _;

use super::resolving::RequestedImages;
use super::{epoch, holding, input, pack};
use crate::args::{PackArgs, PlanArgs, PullArgs, RegistryArgs};
use crate::context::Context;
use crate::documents::{FailedLine, Planned};
use crate::failure::{Failure, Kind};
use crate::report::{self, Align};
use hod_bundle::{BundleError, Compression, VolumeSize};
use hod_engine::copy::Engine;
use hod_image::base::Base;
use hod_image::contents::StoredImage;
use hod_image::gathered::in_store;
use hod_image::open::LocalSettings;
use hod_image::resolve::{Failed, ResolvedImage};
use hod_steps::bundle::describe;
use hod_steps::pack::delta;
use hod_steps::plan::{BundleForm, Plan, PlannedBundle, Space};
use hod_store::{Store, StoreError};

/// What is planned besides the images.
struct Wanted {
    store: Option<PathBuf>,
    have: Vec<PathBuf>,
    volumes: Option<VolumeSize>,
    signed: bool,
}

pub(crate) async fn run(context: &Context, args: PlanArgs) -> Result<ExitCode, Failure> {
    let named = !args.images.file.is_empty() || !args.images.images.is_empty();
    let wanted = Wanted { store: args.store, have: args.have.have, volumes: args.cut.volume_size, signed: false };
    if args.output.is_some() || !named {
        return plan_pack(context, &args.images, wanted, args.output.as_deref()).await;
    }
    let engine = context.engine(&args.retry);
    let local = context.local(None, &args.registry)?;
    plan_pull(context, &args.images, wanted, (&engine, &args.registry), local).await
}

/// `hod pull --dry-run`.
pub(super) async fn pull(context: &Context, args: &PullArgs) -> Result<ExitCode, Failure> {
    let wanted = Wanted { store: Some(args.store.clone()), have: Vec::new(), volumes: None, signed: false };
    let engine = context.engine(&args.retry);
    let local = context.local(args.daemon_host.as_ref(), &args.registry)?;
    plan_pull(context, &args.images, wanted, (&engine, &args.registry), local).await
}

/// `hod pack --dry-run`.
pub(super) async fn pack(context: &Context, args: &PackArgs) -> Result<ExitCode, Failure> {
    let (store, have) = (Some(args.store.clone()), args.have.have.clone());
    let wanted = Wanted { store, have, volumes: args.cut.volume_size, signed: args.sign.is_some() };
    plan_pack(context, &args.images, wanted, Some(&args.output)).await
}

async fn plan_pull(
    context: &Context,
    images: &crate::args::ImageArgs,
    wanted: Wanted,
    (engine, registry): (&Engine, &RegistryArgs),
    local: LocalSettings,
) -> Result<ExitCode, Failure> {
    let admission = super::admission::admission(context)?;
    let named = input::images_and_places(context, images)?;
    let registries = context.registries(registry, &input::concerned(images, &named.images))?;
    let named = RequestedImages::open(context, named, &registries, local, Some(admission)).await?;
    let options = input::resolve_options(images, false);
    // A store that is not there yet is made by the pull, and not by its plan.
    let store = match wanted.store.as_deref().map(Store::open) {
        None | Some(Err(StoreError::NoRoot(_))) => None,
        Some(store) => Some(store.map_err(|error| Failure::of(Kind::Failed, error))?),
    };
    let (resolution, _) = named.resolve(engine, &registries, store.as_ref(), &options).await;
    let described = futures_util::stream::iter(resolution.images).map(|image| describe(engine, image));
    let described: Vec<Result<ResolvedImage, _>> = described.buffered(engine.limits().lookups).collect().await;
    let described: Vec<ResolvedImage> =
        described.into_iter().collect::<Result<_, _>>().map_err(|error| Failure::of(Kind::Failed, error))?;
    let images = in_store(&described, &options.from).map_err(|error| Failure::of(Kind::Failed, error))?;
    let plan = if images.is_empty() {
        Plan::default()
    } else {
        input::blocking(move || make(&images, store.as_ref(), &wanted, false, None)).await?
    };
    finish(context, &plan, &resolution.failed)
}

async fn plan_pack(
    context: &Context,
    images: &crate::args::ImageArgs,
    wanted: Wanted,
    output: Option<&Path>,
) -> Result<ExitCode, Failure> {
    let missing = || Failure::new(Kind::Usage, "name a store with --store, or images to look up in a registry");
    let store = input::store(wanted.store.as_deref().ok_or_else(missing)?)?;
    let compression = output.map_or(Ok(Compression::None), pack::compression)?;
    let exact = compression == Compression::None;
    let images = input::chosen(context, &store, images).await?;
    let file = output.filter(|output| *output != Path::new("-")).map(hod_io::fs::behind_links).transpose();
    let file = file.map_err(|error| Failure::of(Kind::Failed, error))?;
    let plan = input::blocking(move || make(&images, Some(&store), &wanted, exact, file.as_deref())).await?;
    finish(context, &plan, &[])
}

fn make(
    images: &[StoredImage],
    store: Option<&Store>,
    wanted: &Wanted,
    exact: bool,
    output: Option<&Path>,
) -> Result<Plan, Failure> {
    let failed = |error| Failure::of(Kind::Failed, error);
    let base = match store {
        Some(store) => holding::base(&wanted.have, store)?,
        None if wanted.have.is_empty() => Base::default(),
        None => {
            return Err(Failure::new(Kind::Usage, "--have needs the store that is packed from: name it with --store"));
        }
    };
    let header = delta(images, epoch::source_date_epoch()?, &base).map_err(|error| Failure::of(Kind::Failed, error))?;
    let lacking = |digest: &_, size| match store {
        None => Ok(Some(0)),
        Some(store) if store.has(digest, size)? => Ok(None),
        Some(store) => store.kept(digest, size).map(Some),
    };
    let mut plan = Plan::new(images, &header, lacking).map_err(failed)?;
    let bundle = PlannedBundle::new(&header, BundleForm { signed: wanted.signed, exact, volumes: wanted.volumes });
    if let Some(size) = wanted.volumes.filter(|_| exact) {
        size.check(bundle.bytes).map_err(|error| Failure::of(Kind::Usage, BundleError::from(error)))?;
    }
    if let Some(path) = wanted.store.as_deref().filter(|_| plan.to_fetch.count > 0) {
        plan.space.extend(space("store", path, plan.to_fetch.bytes.saturating_sub(plan.kept.bytes)));
    }
    if let Some(path) = output {
        let folder = hod_io::fs::folder_of(path);
        plan.space.extend(space("bundle", folder, bundle.bytes));
    }
    plan.bundle = Some(bundle);
    Ok(plan)
}

/// The room where a folder is or would be made.
fn space(what: &'static str, path: &Path, needed: u64) -> Option<Space> {
    let folder = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let free = hod_io::fs::free_space(folder).ok()?;
    Some(Space { what, path: report::path(path), needed, free })
}

fn finish(context: &Context, plan: &Plan, missing: &[Failed]) -> Result<ExitCode, Failure> {
    let document = Planned::new(plan, missing.iter().map(FailedLine::from).collect());
    context.close();
    // Where nothing can be had, a table without lines says nothing.
    if !context.is_text() || !plan.images.is_empty() || missing.is_empty() {
        context.result(&document, &text(plan))?;
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    context.print_errors(missing.iter().map(|Failed { line, error, .. }| (line.label(), error)));
    let kind = Kind::of_lines(missing, !plan.images.is_empty());
    Err(Failure::new(kind, format!("{} cannot be fetched", report::count(missing.len(), "image"))))
}

fn text(plan: &Plan) -> String {
    let head = [
        ("IMAGE", Align::Left),
        ("PLATFORMS", Align::Left),
        ("SIZE", Align::Right),
        ("SHARED", Align::Right),
        ("WITHOUT IT", Align::Right),
        ("TO FETCH", Align::Right),
    ];
    let row = |image: &hod_steps::plan::PlannedImage| {
        vec![
            image.name.clone(),
            crate::terminal::printable(&image.platforms.join(",")),
            report::bytes(image.size),
            report::bytes(image.shared),
            format!("{} less", report::bytes(image.marginal)),
            report::bytes(image.to_fetch.saturating_sub(image.kept)),
        ]
    };
    let kept = match plan.kept.bytes {
        0 => String::new(),
        kept => format!(" · {} kept from an interrupted run", report::bytes(kept)),
    };
    let mut text = report::table(&head, &plan.images.iter().map(row).collect::<Vec<_>>());
    let _ = writeln!(
        text,
        "\n{}: {} unique of {} in all · {} there already{kept} · {} to fetch",
        report::count(plan.images.len(), "image"),
        report::bytes(plan.bytes_unique),
        report::bytes(plan.bytes_of_images),
        report::bytes(plan.already_there.bytes),
        report::bytes(plan.to_fetch.bytes.saturating_sub(plan.kept.bytes)),
    );
    if let Some(bundle) = &plan.bundle {
        let about = if bundle.exact { "" } else { "about " };
        let volumes = bundle
            .volumes
            .map(|count| format!(" in {}", report::count(usize::try_from(count).unwrap_or(usize::MAX), "volume")));
        let _ = writeln!(
            text,
            "bundle: {about}{} ({} bytes){} · {} left out · unpacks to {}",
            report::bytes(bundle.bytes),
            bundle.bytes,
            volumes.unwrap_or_default(),
            report::bytes(plan.left_out.bytes),
            report::bytes(bundle.bytes_unpacked),
        );
    }
    for space in &plan.space {
        let enough = if space.needed <= space.free { "" } else { ": NOT ENOUGH" };
        let (needed, free) = (report::bytes(space.needed), report::bytes(space.free));
        let _ = writeln!(text, "{} at {}: {needed} needed, {free} free{enough}", space.what, space.path);
    }
    text
}
