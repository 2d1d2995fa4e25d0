//! `hod index`: multi-platform indexes of images from any place.

use std::process::ExitCode;
use std::sync::Arc;

use super::opening::{self, Purpose};
use super::{UsedRegistries, input};
use crate::args::{FormatArg, IndexAction, IndexArgs, IndexTarget};
use crate::context::Context;
use crate::documents::WrittenIndex;
use crate::failure::{Failure, Kind};
use crate::{go_json, report};
use hod_engine::copy::Engine;
use hod_engine::endpoint::Placement;
use hod_image::index::{IndexBuilder, IndexOptions};
use hod_image::inspect::raw;
use hod_image::open::{OpenSource, Places};
use hod_oci::{Platform, Platforms};
use hod_transport::Location;

pub(crate) async fn run(context: &Context, args: IndexArgs) -> Result<ExitCode, Failure> {
    let (target, add_to) = match &args.action {
        IndexAction::Inspect(target) => return show(context, target).await,
        IndexAction::Create(target) => (target, false),
        IndexAction::Add(target) | IndexAction::Remove(target) => (target, true),
    };
    if target.images.is_empty() {
        return Err(Failure::new(Kind::Usage, "no images are named").hint("name the images after the index"));
    }
    let index = opening::location(&target.index)?;
    if let Location::Bundle(..) = index {
        return Err(Failure::new(Kind::Failed, format!("cannot write {index}: use hod pack to write a bundle")));
    }
    let images = match args.action {
        IndexAction::Remove(_) => Vec::new(),
        _ => target.images.iter().map(|image| source(image)).collect::<Result<Vec<_>, _>>()?,
    };
    let purpose = Purpose::Take(&target.trust);
    let sides = Sides::new(context, target, index, (images.iter().map(|(image, _)| image), purpose)).await?;
    let mut assembly = IndexBuilder::default();
    assembly.replace = target.replace;
    if add_to {
        let there = opening::open(&sides.to, &sides.index).await?;
        sides.add(&mut assembly, &there, &Platforms::All, None).await?;
    }
    if let IndexAction::Remove(_) = args.action {
        for image in &target.images {
            assembly.remove(image).map_err(|error| Failure::of(Kind::Failed, error))?;
        }
    }
    for (location, platform) in images {
        let image = opening::open(&sides.from, &location).await?;
        sides.add(&mut assembly, &image, &platforms(target), platform).await?;
    }
    write(context, target, &sides, assembly).await
}

/// The two ends of the work.
struct Sides {
    engine: Engine,
    from: Arc<Places>,
    to: Arc<Places>,
    index: Location,
}

impl Sides {
    /// The two ends; images of bundles among the locations may be opened then.
    async fn new<'a>(
        context: &Context,
        target: &IndexTarget,
        index: Location,
        (locations, purpose): (impl Iterator<Item = &'a Location>, Purpose<'_>),
    ) -> Result<Self, Failure> {
        let locations: Vec<&Location> = locations.collect();
        let sources = UsedRegistries::of(locations.iter().copied()).side("src-");
        let from = context.registries_with(&target.from.registry(), &sources, target.from.authfile.clone())?;
        let destination = UsedRegistries::of([&index]).side("dest-");
        let to = context.registries_with(&target.to.registry(), &destination, target.to.authfile.clone())?;
        let from = Places::new(from)
            .with_local(context.local(target.from.daemon_host.as_ref(), &target.from.registry())?)
            .admitting(super::admission::admission(context)?);
        Ok(Self {
            engine: context.engine(&target.retry),
            from: Arc::new(opening::with_bundles(context, from, locations, purpose).await?),
            to: Arc::new(
                Places::new(to).with_local(context.local(target.to.daemon_host.as_ref(), &target.to.registry())?),
            ),
            index,
        })
    }

    async fn add(
        &self,
        assembly: &mut IndexBuilder,
        image: &OpenSource,
        platforms: &Platforms,
        platform: Option<Platform>,
    ) -> Result<(), Failure> {
        let added = assembly.add(&self.engine, image, platforms, platform).await;
        added.map_err(|error| Failure::of(Kind::Failed, error))
    }
}

/// `transport:place[=OS/ARCH[/VARIANT]]`.
fn source(text: &str) -> Result<(Location, Option<Platform>), Failure> {
    let usage = |error| Failure::of(Kind::Usage, error);
    let (place, platform) =
        match text.rsplit_once('=').and_then(|(place, platform)| Some((place, platform.parse().ok()?))) {
            Some((place, platform)) => (place, Some(platform)),
            None => (text, None),
        };
    Ok((place.parse().map_err(usage)?, platform))
}

fn platforms(target: &IndexTarget) -> Platforms {
    if target.platform.is_empty() || target.platform.contains(&Platforms::All) {
        return Platforms::All;
    }
    let only = target.platform.iter().filter_map(|platforms| match platforms {
        Platforms::Only(some) => Some(some.clone()),
        Platforms::All => None,
    });
    Platforms::Only(only.flatten().collect())
}

async fn write(
    context: &Context,
    target: &IndexTarget,
    sides: &Sides,
    assembly: IndexBuilder,
) -> Result<ExitCode, Failure> {
    let mut options = IndexOptions { format: target.format.map(FormatArg::format), ..IndexOptions::default() };
    for annotation in &target.annotation {
        let (key, value) = annotation.split_once('=').ok_or_else(|| {
            Failure::new(Kind::Usage, format!("{annotation:?} is not an annotation"))
                .hint("write --annotation KEY=VALUE")
        })?;
        options.annotations.insert(key.to_owned(), value.to_owned());
    }
    let (graph, source) = assembly.finish(&options).map_err(|error| Failure::of(Kind::Failed, error))?;
    let digest = graph.root.descriptor.digest;
    let (places, location) = (sides.to.clone(), sides.index.clone());
    let sink =
        input::blocking(move || places.sink(&location).map_err(|error| Failure::of(Kind::Failed, error))).await?;
    let copied = sides.engine.copy(source, sink.sink, Arc::new(graph), &sink.tags).await;
    let copied = copied.map_err(|error| Failure::of(Kind::Failed, error))?;
    let places = sides.to.clone();
    input::blocking(move || places.finish().map_err(|error| Failure::of(Kind::Failed, error))).await?;
    let written = copied.bytes(Placement::Written);
    context.summary(&format!("{} written", report::bytes(written)));
    context.result(&WrittenIndex { bytes_written: written, digest: digest.into() }, &format!("{digest}\n"))?;
    Ok(ExitCode::SUCCESS)
}

async fn show(context: &Context, target: &IndexTarget) -> Result<ExitCode, Failure> {
    let index = opening::location(&target.index)?;
    let sides = Sides::new(context, target, index.clone(), ([&index].into_iter(), Purpose::Look)).await?;
    let image = opening::open(&sides.from, &sides.index).await?;
    let (digest, bytes) = raw(&sides.engine, &image).await.map_err(|error| Failure::of(Kind::Failed, error))?;
    let value: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(Kind::Failed, "cannot read the index").because(error))?;
    if value.get("manifests").is_none() {
        return Err(Failure::new(
            Kind::Failed,
            format!("{} ({digest}) is an image of one platform, not an index", sides.index),
        ));
    }
    let text = go_json::to_string(&value, "    ")?;
    context.data(format!("{text}\n").as_bytes())
}
