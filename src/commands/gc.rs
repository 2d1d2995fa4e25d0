//! `hod gc`: deletes unreferenced content of a store or layout.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{input, named};
use crate::args::GcArgs;
use crate::context::Context;
use crate::documents;
use crate::failure::{Failure, Kind};
use crate::report;
use hod_oci::Digest;
use hod_steps::gc::{Garbage, GcError, UntaggedPolicy};
use hod_steps::reach::ReachError;
use hod_store::{Store, StoreError};
use hod_transport::SweepMode;
use hod_transport::{Layout, Location};

/// What is or would be deleted, for people and programs.
#[derive(Default)]
struct Collected {
    tags: Vec<String>,
    manifests: Vec<String>,
    blobs: Vec<(Digest, u64)>,
    /// Bytes of blobs that have a name elsewhere too.
    shared: u64,
    unfinished: (usize, u64),
}

pub(crate) async fn run(context: &Context, args: GcArgs) -> Result<ExitCode, Failure> {
    let place = place(&args)?;
    let dry_run = args.dry_run;
    let untagged = if args.untagged { UntaggedPolicy::Delete } else { UntaggedPolicy::Keep };
    let (collected, alone) = match place {
        Place::Layout(path) => input::blocking(move || in_layout(&path, dry_run)).await?,
        Place::Store(root) if dry_run => input::blocking(move || look(&root, untagged)).await?,
        Place::Store(root) => {
            context.say(&format!(
                "note: a registry that serves {} must accept no pushes during this command, and needs a restart after it",
                root.display()
            ));
            let (observer, stop) = (context.observer(), context.stop.clone());
            input::blocking(move || {
                let store = named::alone(&root)?;
                let garbage = Garbage::find(&store, untagged).map_err(failure)?;
                garbage.delete(&store, &*observer, &stop).map_err(failure)?;
                Ok((Collected::of(&garbage), true))
            })
            .await?
        }
    };
    if !alone {
        context.say("note: other processes may be writing there: their files may be counted");
    }
    context.result(&collected.document(dry_run), &collected.lines())?;
    context.summary(&collected.summary(dry_run));
    Ok(ExitCode::SUCCESS)
}

enum Place {
    Store(PathBuf),
    Layout(PathBuf),
}

fn place(args: &GcArgs) -> Result<Place, Failure> {
    let path = args.target.path();
    let Some(text) = path.to_str().filter(|text| text.starts_with("oci:") || text.starts_with("store:")) else {
        return Ok(Place::Store(path.to_owned()));
    };
    match text.parse().map_err(|error| Failure::of(Kind::Usage, error))? {
        Location::Oci(path, None) => Ok(Place::Layout(path)),
        Location::Store(root, None) => Ok(Place::Store(root)),
        other => {
            let failure = Failure::new(Kind::Usage, format!("{other} is one image: name the whole place"));
            Err(failure.hint("to remove images, use hod rm"))
        }
    }
}

/// What would be deleted, and whether others could not write while it was looked for. Nothing is written.
fn look(root: &Path, untagged: UntaggedPolicy) -> Result<(Collected, bool), Failure> {
    let store = Store::open(root).map_err(|error| Failure::of(Kind::Failed, error))?;
    let still = store.hold_still();
    let garbage = Garbage::find(&store, untagged).map_err(failure)?;
    Ok((Collected::of(&garbage), still.is_some()))
}

fn in_layout(path: &Path, dry_run: bool) -> Result<(Collected, bool), Failure> {
    let layout = Layout::open(path).map_err(named::layout_failure)?;
    let swept =
        layout.sweep(if dry_run { SweepMode::DryRun } else { SweepMode::Remove }).map_err(named::layout_failure)?;
    let alone = swept.alone;
    Ok((Collected { blobs: swept.blobs, unfinished: swept.unfinished, ..Collected::default() }, alone))
}

fn failure(error: GcError) -> Failure {
    match error {
        GcError::Stopped => Failure::interrupted(true),
        // What cannot be read may be whole.
        GcError::Reach(ReachError::Store(StoreError::Io(_))) => {
            Failure::of(Kind::Failed, error).hint("nothing was deleted")
        }
        GcError::Reach(_) => {
            Failure::of(Kind::Corrupt, error).hint("nothing was deleted; find the damage with hod verify")
        }
        error @ GcError::Store(_) => Failure::of(Kind::Failed, error),
    }
}

impl Collected {
    fn of(garbage: &Garbage) -> Self {
        Self {
            tags: garbage.tags.iter().map(|(name, tag, _)| format!("{name}:{tag}")).collect(),
            manifests: garbage.revisions.iter().map(|(name, digest)| format!("{name}@{digest}")).collect(),
            blobs: garbage.blobs.iter().map(|blob| (blob.digest, blob.size)).collect(),
            shared: garbage.blobs.iter().filter(|blob| blob.shared).map(|blob| blob.size).sum(),
            unfinished: garbage.unfinished,
        }
    }

    fn bytes(&self) -> u64 {
        self.blobs.iter().map(|(_, size)| size).sum::<u64>() + self.unfinished.1
    }

    fn lines(&self) -> String {
        let tags = self.tags.iter().map(|name| format!("tag  {name}\n"));
        let manifests = self.manifests.iter().map(|name| format!("manifest  {name}\n"));
        let blobs = self.blobs.iter().map(|(digest, size)| format!("blob  {digest}  {}\n", report::bytes(*size)));
        tags.chain(manifests).chain(blobs).collect()
    }

    fn summary(&self, dry_run: bool) -> String {
        let mut text = format!(
            "{} in {}{}, {} and {} {}",
            report::bytes(self.bytes()),
            report::count(self.blobs.len(), "blob"),
            if self.unfinished.0 > 0 {
                format!(" and {} of interrupted runs", report::count(self.unfinished.0, "file"))
            } else {
                String::new()
            },
            report::count(self.tags.len(), "tag"),
            report::count(self.manifests.len(), "manifest"),
            if dry_run { "would be deleted" } else { "deleted" },
        );
        if self.shared > 0 {
            let shared = report::bytes(self.shared);
            text.extend(["\n", &shared, " of it has hard links elsewhere, and is not freed"]);
        }
        text
    }

    fn document(&self, dry_run: bool) -> documents::Collected<'_> {
        let blob = |(digest, size): &(Digest, u64)| documents::CollectedBlob { digest: (*digest).into(), size: *size };
        documents::Collected {
            blobs: self.blobs.iter().map(blob).collect(),
            bytes: self.bytes(),
            bytes_freed: self.bytes() - self.shared,
            dry_run,
            manifests: &self.manifests,
            tags: &self.tags,
            unfinished: self.unfinished.into(),
        }
    }
}
