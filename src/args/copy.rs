//! Arguments of `hod copy`, with skopeo's names.

use std::path::PathBuf;

use clap::Args;

use super::{
    DestinationRegistryArgs, EncryptionArgs, RetryArgs, SigningArgs, SourceRegistryArgs, TlsVerifyArgs, TrustArgs,
};
use hod_image::convert::Format;
use hod_image::copy_image::MultiArch;
use hod_image::resolve::NameStyle;
use hod_oci::{Platform, Platforms};
use hod_transport::Compression;

// `hod copy`.
#[derive(Debug, Args)]
#[command(after_help = "PLACES:\n  \
    docker://HOST/NAME[:TAG|@DIGEST]\n  \
    dir:PATH\n  \
    oci:PATH[:IMAGE]\n  \
    oci-archive:FILE[:IMAGE]\n  \
    docker-archive:FILE[:NAME[:TAG]]\n  \
    docker-daemon:NAME:TAG\n  \
    containers-storage:[[…]]NAME:TAG\n  \
    tarball:FILE[:FILE…]\n  \
    store:DIR[:NAME[:TAG|@DIGEST]]\n  \
    bundle:FILE[:NAME[:TAG|@DIGEST]]\n\n\
    EXAMPLES:\n  \
    hod copy docker://alpine:3.20 oci:images:alpine:3.20\n  \
    hod copy --all store:store:web:1.0 docker://registry.site:5000/web:1.0\n  \
    # share blobs by hard links\n  \
    hod copy --file images-list.txt store:store oci:images\n  \
    hod copy bundle:release.tar:web:1.0 docker-archive:web.tar:web:1.0 &&\n      \
    docker load -i web.tar\n  \
    hod copy bundle:release.tar:web:1.0 docker-daemon:web:1.0\n  \
    hod copy --sign-by FINGERPRINT oci:images:web:1.0 \\\n      \
    docker://registry.site:5000/web:1.0\n  \
    hod copy --format oci --dest-compress-format zstd \\\n      \
    store:store:web:1.0 oci:small:web:1.0")]
pub(crate) struct CopyArgs {
    /// Source image; with --file, the place that has all images of the list
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Destination image; with --file, the place for all images of the list
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: String,
    /// Copy the images of this list, one per line; - for standard input
    #[arg(long, env = "HOD_FILE", hide_env = true, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// Copy only this group of the list, which a ##NAME line opens; repeatable
    #[arg(long, env = "HOD_GROUP", hide_env = true, value_name = "NAME", requires = "file")]
    pub(crate) group: Vec<String>,
    /// Names of the images of the list at the destination; docker-archive and docker-daemon have complete names
    #[arg(long, value_name = "STYLE", default_value = "as-listed", value_parser = super::images::names(), env = "HOD_NAMES", hide_env = true)]
    pub(crate) names: NameStyle,
    /// Ignore referrers that the list names; hod copy copies no referrers
    #[arg(long, env = "HOD_NO_REFERRERS", hide_env = true, value_parser = super::flag())]
    pub(crate) no_referrers: bool,
    /// Copy the unchanged index with these platforms only, as OS/ARCH[/VARIANT]; repeatable or comma-separated.
    /// A platform= option in the list overrides this flag, --all and --multi-arch
    #[arg(long, env = "HOD_PLATFORM", hide_env = true, value_name = "PLATFORM", conflicts_with_all = ["all", "multi_arch"])]
    pub(crate) platform: Vec<Platforms>,
    /// Shared blob directory of an oci: source, with blobs as ALGORITHM/HEX
    #[arg(long, value_name = "DIR", env = "HOD_SRC_SHARED_BLOB_DIR", hide_env = true)]
    pub(crate) src_shared_blob_dir: Option<PathBuf>,
    /// Shared blob directory of an oci: destination, with blobs as ALGORITHM/HEX
    #[arg(long, value_name = "DIR", env = "HOD_DEST_SHARED_BLOB_DIR", hide_env = true)]
    pub(crate) dest_shared_blob_dir: Option<PathBuf>,
    /// Write the digest of the copied image to this file
    #[arg(long, env = "HOD_DIGESTFILE", hide_env = true, value_name = "FILE", conflicts_with = "file")]
    pub(crate) digestfile: Option<PathBuf>,
    /// Add this name to the image in a docker-archive or daemon; repeatable or comma-separated
    #[arg(
        long,
        env = "HOD_ADDITIONAL_TAG",
        hide_env = true,
        value_name = "NAME[:TAG]",
        conflicts_with = "file",
        value_delimiter = ','
    )]
    pub(crate) additional_tag: Vec<String>,
    /// Maximum parallel blob transfers, instead of --jobs; 0 means --jobs
    #[arg(long, env = "HOD_IMAGE_PARALLEL_COPIES", hide_env = true, value_name = "N",
        value_parser = clap::value_parser!(u16).range(0..=256))]
    pub(crate) image_parallel_copies: Option<u16>,
    /// Stop at the first image of the list that fails
    #[arg(long, env = "HOD_FAIL_FAST", hide_env = true, value_parser = super::flag())]
    pub(crate) fail_fast: bool,
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    #[command(flatten)]
    pub(crate) layers: LayerArgs,
    #[command(flatten)]
    pub(crate) signing: SigningArgs,
    /// Name to sign for [default: the name at the destination]
    #[arg(long, value_name = "NAME", env = "HOD_SIGN_IDENTITY", hide_env = true, help_heading = "Signatures")]
    pub(crate) sign_identity: Option<String>,
    #[command(flatten)]
    pub(crate) from: SourceRegistryArgs,
    #[command(flatten)]
    pub(crate) to: DestinationRegistryArgs,
    #[command(flatten)]
    pub(crate) both: TlsVerifyArgs,
    #[command(flatten)]
    pub(crate) encryption: EncryptionArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}

// The parts of images to copy, and the changes to them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Image content")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that stands for itself")]
pub(crate) struct ContentArgs {
    /// Copy the index and all platforms of an image
    #[arg(short, long, env = "HOD_ALL", hide_env = true, value_parser = super::flag(), conflicts_with = "multi_arch")]
    pub(crate) all: bool,
    /// Part of a multi-platform image to copy [default: system]
    #[arg(long, env = "HOD_MULTI_ARCH", hide_env = true, value_name = "WHAT")]
    pub(crate) multi_arch: Option<MultiArchArg>,
    /// Convert manifests to this format; configs and layers do not change
    #[arg(
        short,
        long,
        env = "HOD_FORMAT",
        hide_env = true,
        value_name = "FORMAT",
        conflicts_with = "preserve_digests"
    )]
    pub(crate) format: Option<FormatArg>,
    /// Fail instead of changing a digest, as other flags or the destination may require
    #[arg(long, env = "HOD_PRESERVE_DIGESTS", hide_env = true, value_parser = super::flag())]
    pub(crate) preserve_digests: bool,
    /// Copy no signatures; only dir: and registries with a lookaside keep signatures
    #[arg(long, env = "HOD_REMOVE_SIGNATURES", hide_env = true, value_parser = super::flag())]
    pub(crate) remove_signatures: bool,
    /// Send each layer and manifest again, even if the registry reports it as present; repairs a registry that lost content
    #[arg(long, env = "HOD_FORCE", hide_env = true, value_parser = super::flag())]
    pub(crate) force: bool,
}

impl ContentArgs {
    /// The part of a multi-platform image to copy; `system` is the platform of this machine or of a flag.
    pub(crate) fn part(&self, system: Platform) -> MultiArch {
        match self.multi_arch {
            _ if self.all => MultiArch::All,
            Some(MultiArchArg::All) => MultiArch::All,
            Some(MultiArchArg::IndexOnly) => MultiArch::IndexOnly,
            Some(MultiArchArg::System) | None => MultiArch::System(system),
        }
    }
}

// The compression of layers at the destination.
#[derive(Debug, Args)]
#[command(next_help_heading = "Layers")]
#[expect(clippy::struct_excessive_bools, clippy::struct_field_names, reason = "skopeo's flags, with its names")]
pub(crate) struct LayerArgs {
    /// Compress layers in this format, with new digests; dir: keeps layers that are already compressed
    #[arg(
        long,
        value_name = "FORMAT",
        conflicts_with = "preserve_digests",
        env = "HOD_DEST_COMPRESS_FORMAT",
        hide_env = true
    )]
    pub(crate) dest_compress_format: Option<CompressArg>,
    /// Compression level: 1 to 9 for gzip, 1 to 22 for zstd
    #[arg(long, value_name = "LEVEL", env = "HOD_DEST_COMPRESS_LEVEL", hide_env = true)]
    pub(crate) dest_compress_level: Option<u8>,
    /// With dir:, recompress layers of another compression format
    #[arg(long, requires = "dest_compress_format", env = "HOD_DEST_FORCE_COMPRESS_FORMAT", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_force_compress_format: bool,
    /// With dir:, compress uncompressed layers, with gzip unless --dest-compress-format is given
    #[arg(long, conflicts_with_all = ["dest_decompress", "preserve_digests"], env = "HOD_DEST_COMPRESS", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_compress: bool,
    /// With dir:, decompress layers
    #[arg(long, conflicts_with_all = ["dest_compress_format", "dest_compress_level", "preserve_digests"], env = "HOD_DEST_DECOMPRESS", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_decompress: bool,
    /// Compute the digests of layers before sending them, to skip existing layers; hod always does this
    #[arg(long, env = "HOD_DEST_PRECOMPUTE_DIGESTS", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_precompute_digests: bool,
    /// Keep uncompressed layers in oci: uncompressed; hod always does this
    #[arg(long, env = "HOD_DEST_OCI_ACCEPT_UNCOMPRESSED_LAYERS", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_oci_accept_uncompressed_layers: bool,
}

/// A compression format of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CompressArg {
    /// gzip (RFC 1952), which every tool reads
    Gzip,
    /// zstd (RFC 8878), only with OCI manifests
    Zstd,
    /// Same as zstd: hod writes no table of contents
    #[value(name = "zstd:chunked")]
    ZstdChunked,
}

impl CompressArg {
    /// Checks for a format of which hod supports only a part.
    pub(crate) const fn is_chunked(self) -> bool {
        matches!(self, Self::ZstdChunked)
    }

    pub(crate) const fn compression(self) -> Compression {
        match self {
            Self::Gzip => Compression::Gzip,
            Self::Zstd | Self::ZstdChunked => Compression::Zstd,
        }
    }
}

/// The part of a multi-platform image to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum MultiArchArg {
    /// The image for this machine, or for the platform of the --override flags
    System,
    /// The index and all images
    All,
    /// The index without its images
    IndexOnly,
}

/// The format of manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FormatArg {
    /// OCI image specification
    Oci,
    /// Docker image manifest version 2, schema 2
    V2s2,
}

impl FormatArg {
    pub(crate) const fn format(self) -> Format {
        match self {
            Self::Oci => Format::Oci,
            Self::V2s2 => Format::Docker,
        }
    }
}
