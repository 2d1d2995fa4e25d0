//! `hod list-tags`: the tags of a repository, layout or archive, in skopeo's format.

use std::process::ExitCode;

use super::{UsedRegistries, input};
use crate::args::ListTagsArgs;
use crate::context::Context;
use crate::documents::Tags;
use crate::failure::{Failure, Kind};
use crate::go_json;
use hod_oci::{DOCKER_IO, Reference};
use hod_transport::{DockerArchive, Layout, Location, OciArchive};

pub(crate) async fn run(context: &Context, args: ListTagsArgs) -> Result<ExitCode, Failure> {
    let tags = if let Some(name) = args.place.strip_prefix("docker://") {
        registry_tags(context, &args, name).await?
    } else {
        let location: Location = args.place.parse().map_err(|error| Failure::of(Kind::Usage, error))?;
        input::blocking(move || local_tags(&location)).await?
    };
    let text = go_json::to_string(&tags, "    ")?;
    context.data(format!("{text}\n").as_bytes())
}

async fn registry_tags(context: &Context, args: &ListTagsArgs, name: &str) -> Result<Tags, Failure> {
    let usage = |error| Failure::of(Kind::Usage, error);
    let reference: Reference = name.parse().map_err(usage)?;
    if reference.tag.is_some() || reference.digest.is_some() {
        return Err(Failure::new(
            Kind::Usage,
            format!("docker://{name} has a tag or digest: name the repository alone"),
        ));
    }
    let (host, name) = reference.in_registry(DOCKER_IO).map_err(|error| Failure::of(Kind::Usage, error))?;
    let registries = context.registries(&args.registry, &UsedRegistries::new([&*host]))?;
    let found = registries.source(&host, &name).tags().await.map_err(|error| Failure::of(Kind::Failed, error))?;
    Ok(Tags { repository: Some(format!("{host}/{name}")), tags: found.iter().map(ToString::to_string).collect() })
}

fn local_tags(location: &Location) -> Result<Tags, Failure> {
    let failed = |error| Failure::of(Kind::Failed, error);
    let named = |images: Vec<(Option<String>, _)>| images.into_iter().filter_map(|(name, _)| name).collect();
    let (repository, tags) = match location {
        Location::Oci(path, None) => (None, named(Layout::open(path).and_then(|it| it.images()).map_err(failed)?)),
        Location::OciArchive(path, None) => (None, named(OciArchive::open(path).map_err(failed)?.images())),
        Location::DockerArchive(path, None) => {
            let archive = DockerArchive::open(path).map_err(failed)?;
            (None, archive.items().iter().flat_map(|item| item.repo_tags.clone()).collect())
        }
        Location::Store(root, Some(image)) if image.tag.is_none() && image.digest.is_none() => {
            let tags = input::store(root)?.tags(&image.repository).map_err(|error| Failure::of(Kind::Failed, error))?;
            (Some(image.repository.to_string()), tags.iter().map(ToString::to_string).collect())
        }
        other => {
            let problem = format!("cannot list the tags of {other}");
            return Err(Failure::new(Kind::Usage, problem).hint(
                "name a repository without a tag, such as docker://HOST/NAME or store:DIR:NAME, or a layout or an archive",
            ));
        }
    };
    Ok(Tags { repository, tags })
}
