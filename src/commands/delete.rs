//! `hod delete`: images of registries, layouts and container storages.

use std::process::ExitCode;

use super::{UsedRegistries, input};
use crate::args::DeleteArgs;
use crate::context::Context;
use crate::documents::{Deleted, DeletedImage, FailedName};
use crate::failure::{Failure, Kind};
use crate::report;
use hod_engine::endpoint::{Fault, Source as _};
use hod_oci::{DOCKER_IO, Reference, Tag};
use hod_registry::{Registries, RegistryError};
use hod_transport::SweepMode;
use hod_transport::{ContainersStorage, Layout, LayoutImage, Location};

pub(crate) async fn run(context: &Context, args: DeleteArgs) -> Result<ExitCode, Failure> {
    // All names first: a bad one stops before anything is gone.
    let parsed: Result<Vec<Location>, _> = args.images.iter().map(|image| image.parse()).collect();
    let images = parsed.map_err(|error| Failure::of(Kind::Usage, error))?;
    let can_go = |image: &&Location| match image {
        Location::Docker(_) | Location::Oci(..) => true,
        Location::ContainersStorage(_) => !args.tag_only,
        _ => false,
    };
    if let Some(other) = images.iter().find(|image| !can_go(image)) {
        let failure = Failure::new(Kind::Usage, format!("{other} cannot be deleted with this command"));
        return Err(failure
            .hint("name images of registries (docker://) or layouts (oci:), or whole images of containers-storage:"));
    }
    let registries = context.registries(&args.registry, &UsedRegistries::of(&images))?;
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for image in &images {
        let result = match image {
            Location::Docker(reference) if args.tag_only => delete_tag(&registries, reference).await,
            Location::Docker(reference) => delete_manifest(context, &registries, reference).await,
            Location::Oci(path, name) => {
                let (path, name, tag_only) = (path.clone(), name.clone(), args.tag_only);
                input::blocking(move || delete_from_layout(&path, name.as_ref(), tag_only)).await
            }
            Location::ContainersStorage(image) => {
                let image = image.clone();
                let failed = |error| Failure::of(Kind::Failed, error);
                input::blocking(move || ContainersStorage::delete(&image).map_err(failed)).await
            }
            _ => continue,
        };
        match result {
            Ok(()) => {
                context.say(&format!("deleted {image}"));
                deleted.push(image);
            }
            Err(failure) => {
                // What a single image failed with is what the command fails with.
                if images.len() > 1 {
                    context.print_failure(&failure);
                }
                failed.push((image, failure));
            }
        }
    }
    report_deleted(context, &deleted, &failed)?;
    end(failed, images.len())
}

fn report_deleted(context: &Context, deleted: &[&Location], failed: &[(&Location, Failure)]) -> Result<(), Failure> {
    let deleted = deleted.iter().map(|image| DeletedImage { name: image.to_string() });
    let failed = failed.iter().map(|(image, failure)| FailedName { causes: failure.lines(), name: image.to_string() });
    context.result(&Deleted { deleted: deleted.collect(), failed: failed.collect() }, "")
}

fn end(mut failed: Vec<(&Location, Failure)>, all: usize) -> Result<ExitCode, Failure> {
    if all == 1
        && let Some((_, failure)) = failed.pop()
    {
        return Err(failure);
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let kind = if failed.len() == all { Kind::Failed } else { Kind::Partial };
    Err(Failure::new(kind, format!("{} of {} not deleted", failed.len(), report::count(all, "image"))))
}

async fn delete_tag(registries: &Registries, reference: &Reference) -> Result<(), Failure> {
    let tag: Tag = match (&reference.tag, reference.digest) {
        (Some(tag), None) => tag.clone(),
        _ => return Err(Failure::new(Kind::Usage, format!("{reference} has a digest: --tag-only requires a tag"))),
    };
    let repository = registries.repository(reference.host.as_deref().unwrap_or(DOCKER_IO), &reference.name);
    repository.delete_tag(&tag).await.map_err(|error| {
        refused(
            error,
            "some registries cannot delete a single tag; without --tag-only, the manifest and all its tags are deleted",
        )
    })
}

/// The failure of a deletion; the hint is for a registry that does not delete such things.
fn refused(error: RegistryError, hint: &str) -> Failure {
    let is_refused = error.fault() == Fault::Rejected;
    let failure = Failure::of(Kind::Failed, error);
    if is_refused { failure.hint(hint) } else { failure }
}

async fn delete_manifest(context: &Context, registries: &Registries, reference: &Reference) -> Result<(), Failure> {
    let repository = registries.repository(reference.host.as_deref().unwrap_or(DOCKER_IO), &reference.name);
    let found = repository.resolve(&reference.version()).await.map_err(|error| Failure::of(Kind::Failed, error))?;
    context.say(&format!("{reference} is {}: every tag with that digest is deleted", found.digest));
    repository.delete(&found.digest).await.map_err(|error| {
        refused(
            error,
            "a CNCF registry needs REGISTRY_STORAGE_DELETE_ENABLED=true to delete; its garbage collection frees the space",
        )
    })?;
    match repository.delete_signatures(&found.digest).await.map_err(|error| Failure::of(Kind::Failed, error))? {
        Some(0) => {}
        Some(removed) => context.say(&format!("{} of it removed", report::count(removed, "signature"))),
        None => context.say("note: its signatures are on a web server and stay there"),
    }
    Ok(())
}

fn delete_from_layout(path: &std::path::Path, name: Option<&LayoutImage>, tag_only: bool) -> Result<(), Failure> {
    let failed = |error| Failure::of(Kind::Failed, error);
    let layout = Layout::open(path).map_err(failed)?;
    let removal = layout.removal().map_err(failed)?;
    layout.untag(&[name.cloned()], &removal).map_err(failed)?;
    if !tag_only {
        layout.sweep(SweepMode::Remove).map_err(failed)?;
    }
    removal.end().map_err(|error| failed(error.into()))
}
