//! `hod inspect`: the metadata of an image, in skopeo's format.

mod values;

use std::process::ExitCode;
use std::sync::Arc;

use super::opening::{self, Purpose};
use crate::args::InspectArgs;
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::go_json;
use crate::template::{Template, Value, is_json};
use hod_engine::endpoint::Fault;
use hod_image::inspect::{Inspection, inspect, raw};
use hod_oci::DOCKER_IO;
use hod_registry::{Registries, RegistryError};
use hod_transport::Location;

pub(crate) async fn run(context: &Context, args: InspectArgs) -> Result<ExitCode, Failure> {
    let template = args.format.as_deref().filter(|text| !is_json(text)).map(Template::parse).transpose();
    let template = template.map_err(|error| Failure::of(Kind::Usage, error))?;
    let location = opening::location(&args.image)?;
    let places = opening::places(context, &location, args.daemon_host.as_ref(), &args.registry)?;
    let places = Arc::new(opening::with_bundles(context, places, [&location], Purpose::Look).await?);
    let source = opening::open(&places, &location).await?;
    let engine = context.engine(&args.retry);
    let failed = |error| Failure::new(Kind::Failed, format!("cannot inspect {location}")).because(error);

    if args.raw && !args.config {
        let (_, bytes) = raw(&engine, &source).await.map_err(failed)?;
        return context.data(&bytes);
    }
    let found = inspect(&engine, &source, &context.platform()?).await.map_err(failed)?;
    if args.raw {
        return context.data(&found.config);
    }
    if args.config {
        return print(context, &found.oci_config(), values::of_config, template.as_ref());
    }
    let tags = if args.no_tags { Vec::new() } else { repo_tags(context, places.registries(), &location).await? };
    let fields: Inspection = found.fields(location.docker_name(), tags);
    print(context, &fields, values::of_image, template.as_ref())
}

/// Prints a document, or what a template makes of its value.
fn print<T: serde::Serialize>(
    context: &Context,
    document: &T,
    value: impl Fn(&T) -> Result<Value, Failure>,
    template: Option<&Template>,
) -> Result<ExitCode, Failure> {
    let Some(template) = template else {
        let text = go_json::to_string(document, "    ")?;
        return context.data(format!("{text}\n").as_bytes());
    };
    let text = template.line(&value(document)?).map_err(|error| Failure::of(Kind::Usage, error))?;
    context.data(text.as_bytes())
}

/// All tags of the repository. A registry that lets nobody list them is no reason to fail.
async fn repo_tags(context: &Context, registries: &Registries, location: &Location) -> Result<Vec<String>, Failure> {
    let Location::Docker(reference) = location else { return Ok(Vec::new()) };
    let host = reference.host.as_deref().unwrap_or(DOCKER_IO);
    match registries.source(host, &reference.name).tags().await {
        Ok(tags) => Ok(tags.iter().map(ToString::to_string).collect()),
        Err(error) if may_be_missing(&error) => {
            context.say(&format!("note: the registry does not list the tags: {error}"));
            Ok(Vec::new())
        }
        Err(error) => Err(Failure::of(Kind::Failed, error)),
    }
}

fn may_be_missing(error: &RegistryError) -> bool {
    matches!(error.fault(), Fault::Denied | Fault::Missing)
}
