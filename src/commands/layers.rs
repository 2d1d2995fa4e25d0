//! `--dest-compress…`: selects the layers to recompress for a destination.

use std::path::Path;
use std::sync::Arc;

use crate::args::{CompressArg, LayerArgs};
use crate::context::Context;
use crate::failure::{Failure, Kind, without_advice};
use hod_image::open::OpenSource;
use hod_image::recompress::{LayerChoice, Recompressor};
use hod_transport::{Compression, Location};

/// What is to become of layers.
#[derive(Clone)]
pub(super) struct Layers {
    /// The requested value.
    asked: Option<Arc<Recompressor>>,
    /// True if it was asked for by a flag that is for `dir:` alone.
    for_directories: bool,
    /// True if layers that are compressed in another way are changed too, where a place would keep them.
    force: bool,
    /// For registries, where nothing was asked for.
    gzip: Arc<Recompressor>,
    preserve: bool,
}

/// Flags that a place does not know.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayersError {
    #[error(
        "--dest-compress and --dest-decompress require a dir: destination; for other places, use --dest-compress-format"
    )]
    ForDirectories,
    #[error("{0} stores layers in its own format: --dest-compress-format has no effect there")]
    OwnWay(&'static str),
}

without_advice! {
    LayersError { ForDirectories, OwnWay }
}

impl Layers {
    /// What the flags ask for, with temporary files in the folder `scratch`.
    pub(super) fn new(context: &Context, args: &LayerArgs, preserve: bool, scratch: &Path) -> Result<Self, Failure> {
        if args.dest_compress_format.is_some_and(CompressArg::is_chunked) {
            context.say("note: zstd:chunked is treated as zstd: hod writes no table of contents into layers");
        }
        let to = match args.dest_compress_format {
            Some(format) => Some(format.compression()),
            None if args.dest_compress => Some(Compression::Gzip),
            None if args.dest_decompress => Some(Compression::None),
            None => None,
        };
        let level = args.dest_compress_level;
        let levels = to.unwrap_or(Compression::Gzip).levels();
        if let Some(level) = level.filter(|level| !levels.contains(level)) {
            let name = to.unwrap_or(Compression::Gzip).name();
            let problem = format!("{name} has no level {level}: it has {} to {}", levels.start(), levels.end());
            return Err(Failure::new(Kind::Usage, problem));
        }
        Ok(Self {
            asked: to.map(|to| Arc::new(Recompressor::new(to, level, scratch))),
            for_directories: args.dest_compress || args.dest_decompress,
            force: args.dest_force_compress_format || args.dest_decompress,
            gzip: Arc::new(Recompressor::new(Compression::Gzip, level, scratch)),
            preserve,
        })
    }

    /// Returns true if no digest may change.
    pub(super) const fn preserve(&self) -> bool {
        self.preserve
    }

    /// Refuses flags that mean nothing at a place.
    pub(super) fn check(&self, to: &Location) -> Result<(), LayersError> {
        match to {
            _ if self.asked.is_none() => Ok(()),
            Location::Dir(_) => Ok(()),
            _ if self.for_directories => Err(LayersError::ForDirectories),
            Location::DockerArchive(..) | Location::DockerDaemon(_) | Location::ContainersStorage(_) => {
                Err(LayersError::OwnWay(to.transport()))
            }
            _ => Ok(()),
        }
    }

    /// What is changed of an image from a source on its way to a place.
    pub(super) fn change(&self, from: &OpenSource, to: &Location) -> Option<(Arc<Recompressor>, LayerChoice)> {
        match &self.asked {
            Some(asked) if matches!(to, Location::Dir(_)) && !self.force => {
                Some((asked.clone(), LayerChoice::Uncompressed))
            }
            Some(asked) => Some((asked.clone(), LayerChoice::Others)),
            None if from.made_up && !self.preserve && matches!(to, Location::Docker(_)) => {
                Some((self.gzip.clone(), LayerChoice::Uncompressed))
            }
            None => None,
        }
    }

    /// What is said of layers that were changed.
    pub(super) fn note(&self, to: &Location) -> String {
        match self.asked.as_ref().map(|asked| asked.to()) {
            Some(Compression::None) => "decompressed, as requested".to_owned(),
            Some(to) => format!("compressed with {}, as requested", to.name()),
            None => format!(
                "compressed with gzip for {to}: they were uncompressed; --preserve-digests keeps them uncompressed"
            ),
        }
    }
}
