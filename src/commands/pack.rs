//! `hod pack`: packs a store, or the images of a list, into one file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{epoch, holding, input, trust};
use crate::args::PackArgs;
use crate::context::Context;
use crate::documents::Packed;
use crate::failure::{Failure, Kind};
use crate::installer::{self, HashingWriter, Installer};
use crate::{output, report};
use hod_bundle::volumes::CutVolumes;
use hod_bundle::{BundleError, BundleSummary, Compression, Header, VolumeSize, VolumeWriter};
use hod_engine::observe::{Observer, Stop};
use hod_image::contents::StoredImage;
use hod_io::fs::ResumedFile;
use hod_oci::Digest;
use hod_steps::pack::{self, PackError, Selection};
use hod_steps::room::require_room;
use hod_store::{Store, StoreError};

pub(crate) async fn run(context: &Context, mut args: PackArgs) -> Result<ExitCode, Failure> {
    let target = output::bundle(&args.output, args.cut.volume_size.is_none())?;
    if args.dry_run {
        return super::plan::pack(context, &args).await;
    }
    // What the user typed says how the bundle is compressed.
    let compression = compression(&args.output)?;
    args.output = target;
    let store = input::store(&args.store)?;
    let images = input::chosen(context, &store, &args.images).await?;
    if images.is_empty() {
        return Err(Failure::new(Kind::Failed, format!("{} has no images to pack", args.store.display())));
    }
    let base = input::blocking({
        let (have, near) = (args.have.have.clone(), store.clone());
        move || holding::base(&have, &near)
    })
    .await?;
    let header = Arc::new(pack::delta(&images, epoch::source_date_epoch()?, &base).map_err(failure)?);
    let binary = installer_binary(&args)?;
    let key = match &args.sign {
        Some(path) => Some(trust::signing_key(path, &args.passphrase).await?),
        None => None,
    };
    let signature = key.as_ref().map(|key| key.sign(&header)).transpose();
    let signature = signature.map_err(|error| Failure::of(Kind::Failed, error))?;
    let count = images.len();
    let left_out: u64 = header.requires().iter().map(|content| content.size).sum();
    let job = Job {
        store,
        images,
        header: header.clone(),
        signature,
        summed: binary.is_some(),
        compression,
        output: args.output.clone(),
        volumes: args.cut.volume_size,
        observer: context.observer(),
        stop: context.stop.clone(),
    };
    let Done { written, volumes, sum, kept } = input::blocking(move || job.run()).await?;
    if let Some(binary) = binary {
        let sums = installer::bundle_sums(&args.output, sum, volumes.as_ref().map(|volumes| &*volumes.sums))?;
        let installer = Installer {
            bundle: &args.output,
            header: &header,
            sums,
            volumes: volumes.as_ref().map(|volumes| volumes.files.len()),
            key: key.as_ref(),
            made_by: args.installer.made_by.as_deref(),
            made_on: report::day(epoch::now()?),
        };
        installer.write(&binary)?;
    }
    let document = Packed {
        blobs: header.blobs().len(),
        bundle: written.id.into(),
        bytes: written.bytes,
        bytes_kept: kept,
        bytes_left_out: left_out,
        file: report::path(&args.output),
        images: count,
        requires: header.requires().len(),
        seconds: context.seconds(),
        sums: volumes.as_ref().map(|volumes| report::path(&volumes.sums)),
        volumes: volumes.as_ref().map(|volumes| volumes.files.iter().map(|file| report::path(file)).collect()),
    };
    if context.is_text() {
        context.summary(&format!(
            "{} with {} in {}: {} in {}",
            report::count(header.image_count(), "image"),
            report::count(header.blobs().len(), "blob"),
            place(&args.output, volumes.as_ref()),
            report::bytes(written.bytes),
            report::time(context.begun.elapsed()),
        ));
        if kept > 0 {
            context.summary(&format!("{} of it reused from an interrupted run", report::bytes(kept)));
        }
        if !header.requires().is_empty() {
            let requires = report::count(header.requires().len(), "content");
            context.summary(&format!("{requires} of {} left out, which the target must have", report::bytes(left_out)));
        }
    } else {
        context.result(&document, "")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the bundle is, in words.
fn place(output: &Path, volumes: Option<&CutVolumes>) -> String {
    let count = volumes.map(|volumes| volumes.files.len());
    count.map_or_else(String::new, |count| format!("{} of ", report::count(count, "volume")))
        + &output.display().to_string()
}

/// The program that goes beside the bundle, where that was asked for. It is looked at before the work begins.
fn installer_binary(args: &PackArgs) -> Result<Option<Vec<u8>>, Failure> {
    if !args.installer.with_installer {
        return Ok(None);
    }
    if args.output == Path::new("-") {
        return Err(Failure::new(Kind::Usage, "--with-installer requires a file as output, not standard output"));
    }
    if args.installer.made_by.as_ref().is_some_and(|text| text.chars().any(char::is_control)) {
        return Err(Failure::new(Kind::Usage, "--made-by must be one line of text"));
    }
    installer::static_binary(args.installer.installer_binary.as_deref()).map(Some)
}

pub(super) fn compression(output: &Path) -> Result<Compression, Failure> {
    let name = output.to_string_lossy();
    if name == "-" || name.ends_with(".tar") {
        Ok(Compression::None)
    } else if name.ends_with(".tar.zst") || name.ends_with(".tzst") {
        Ok(Compression::Zstd { threads: std::thread::available_parallelism().map_or(1, usize::from) })
    } else {
        Err(Failure::new(Kind::Usage, format!("the name {name} does not show the format of the bundle"))
            .hint("name the bundle *.tar, or *.tar.zst to compress it"))
    }
}

fn failure(error: PackError) -> Failure {
    let kind = match &error {
        PackError::Blob { .. } | PackError::Store(StoreError::Absent { .. }) => Kind::Corrupt,
        PackError::Stopped => return Failure::interrupted(true),
        _ => Kind::Failed,
    };
    let failure = Failure::of(kind, error);
    if kind == Kind::Corrupt {
        return failure.hint("nothing was written; check the store with hod verify, and pull the damaged images again");
    }
    failure
}

/// What the thread that writes needs.
struct Job {
    store: Store,
    images: Vec<StoredImage>,
    header: Arc<Header>,
    signature: Option<Vec<u8>>,
    /// True if the sum of the file is wanted.
    summed: bool,
    compression: Compression,
    output: PathBuf,
    volumes: Option<VolumeSize>,
    observer: Arc<dyn Observer>,
    stop: Stop,
}

/// The result of writing a bundle.
struct Done {
    written: BundleSummary,
    volumes: Option<CutVolumes>,
    /// The SHA-256 of the file, where it was wanted.
    sum: Option<Digest>,
    /// Bytes that an interrupted run had written.
    kept: u64,
}

impl Job {
    fn run(self) -> Result<Done, Failure> {
        if let Some(size) = self.volumes {
            return self.write_volumes(size);
        }
        self.run_whole()
    }

    fn write_volumes(&self, size: VolumeSize) -> Result<Done, Failure> {
        if self.output == Path::new("-") {
            return Err(Failure::new(Kind::Usage, "--volume-size requires a file as output, not standard output"));
        }
        let failed = |error| match error {
            BundleError::Volume(_) => Failure::of(Kind::Usage, error),
            error => Failure::of(Kind::Failed, error),
        };
        if let Some(length) = self.length() {
            size.check(length).map_err(|error| failed(error.into()))?;
        }
        let writer = VolumeWriter::new(&self.output, size, &self.stop).map_err(failed)?;
        self.require_room(writer.left_behind())?;
        let (volumes, written) = self.write(writer)?;
        let volumes = volumes.finish().map_err(failed)?;
        Ok(Done { written, kept: volumes.kept, volumes: Some(volumes), sum: None })
    }

    fn run_whole(&self) -> Result<Done, Failure> {
        if self.output == Path::new("-") {
            return self.stream(output::binary()?);
        }
        if let Some(file) = output::stream(&self.output).map_err(|error| Failure::of(Kind::Failed, error))? {
            return self.stream(file);
        }
        let partial = hod_io::fs::partial_of(&self.output);
        let file = hod_io::fs::claim(&partial).map_err(|error| Failure::of(Kind::Failed, error))?;
        let there = file.metadata().map_or(0, |file| hod_io::fs::bytes_on_disk(&file));
        let remove = |is_useless: bool| {
            if is_useless {
                let _ = fs_err::remove_file(&partial);
            }
        };
        self.require_room(there).inspect_err(|_| remove(there == 0))?;
        // The next run goes on with what one that was stopped has written.
        self.write_file(file).inspect_err(|_| remove(!self.stop.is_requested()))
    }

    /// Writes to somebody who reads.
    fn stream(&self, out: impl Write + Send + 'static) -> Result<Done, Failure> {
        let (mut out, written) = self.write(out)?;
        out.flush().map_err(|error| Failure::of(Kind::Failed, error))?;
        Ok(Done { written, volumes: None, sum: None, kept: 0 })
    }

    /// The length of the bundle, where that is known before: how well content compresses is not.
    fn length(&self) -> Option<u64> {
        let signature = self.signature.as_ref().map(|signature| signature.len() as u64);
        (self.compression == Compression::None).then(|| self.header.tar_size(signature))
    }

    /// Refuses what does not fit. `there` is what an interrupted run has left.
    fn require_room(&self, there: u64) -> Result<(), Failure> {
        let Some(length) = self.length() else { return Ok(()) };
        let required =
            require_room("the bundle needs", hod_io::fs::folder_of(&self.output), length.saturating_sub(there));
        required.map_err(|error| Failure::of(Kind::Failed, error))
    }

    /// Writes beside the place of the bundle; it gets its name when it is whole and on the disk.
    fn write_file(&self, file: fs_err::File) -> Result<Done, Failure> {
        let failed = |error| Failure::of(Kind::Failed, error);
        let file = ResumedFile::new(file).map_err(failed)?;
        let (file, written, sum) = if self.summed {
            let (summed, written) = self.write(HashingWriter::new(file))?;
            let (file, sum) = summed.finish();
            (file, written, Some(sum))
        } else {
            let (file, written) = self.write(file)?;
            (file, written, None)
        };
        let kept = file.kept();
        let file = file.into_file().map_err(failed)?;
        hod_io::fs::publish(&file, &self.output).map_err(failed)?;
        Ok(Done { written, volumes: None, sum, kept })
    }

    fn write<W: Write + Send + 'static>(&self, out: W) -> Result<(W, BundleSummary), Failure> {
        let selection = Selection { store: &self.store, images: &self.images, header: &self.header };
        let (signature, observer) = (self.signature.as_deref(), &*self.observer);
        pack::pack(selection, signature, out, self.compression, observer, &self.stop).map_err(failure)
    }
}
