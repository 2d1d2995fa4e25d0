//! Arguments of `hod copy`, with skopeo's names.

use std::path::PathBuf;

use clap::Args;

use super::{
    DestinationRegistryArgs, EncryptionArgs, RetryArgs, SigningArgs, SourceRegistryArgs, TlsVerifyArgs, TrustArgs,
};
use hod_image::convert::Format;
use hod_image::copy_image::MultiArch;
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
    # layers are shared by hard links\n  \
    hod copy --file images-list.txt store:store oci:images\n  \
    hod copy bundle:release.tar:web:1.0 docker-archive:web.tar:web:1.0 &&\n      \
    docker load -i web.tar\n  \
    hod copy bundle:release.tar:web:1.0 docker-daemon:web:1.0\n  \
    hod copy --sign-by FINGERPRINT oci:images:web:1.0 \\\n      \
    docker://registry.site:5000/web:1.0\n  \
    hod copy --format oci --dest-compress-format zstd \\\n      \
    store:store:web:1.0 oci:small:web:1.0")]
pub(crate) struct CopyArgs {
    /// Where the image is; with --file, where all of them are
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Where it goes; with --file, where all of them go
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: String,
    /// Copy the images of this list, one a line; - for standard input
    #[arg(long, env = "HOD_FILE", hide_env = true, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// Only the images of this group (a ##NAME line) of the list; repeatable
    #[arg(long, env = "HOD_GROUP", hide_env = true, value_name = "NAME", requires = "file")]
    pub(crate) group: Vec<String>,
    /// Copy images alone where the list says what belongs to them: hod copy leaves that behind
    #[arg(long, env = "HOD_NO_REFERRERS", hide_env = true, value_parser = super::flag())]
    pub(crate) no_referrers: bool,
    /// Copy these platforms below the index as it is; OS/ARCH[/VARIANT], repeatable, or with commas.
    /// In a list, a line's own platform= counts for more than this, --all and --multi-arch
    #[arg(long, env = "HOD_PLATFORM", hide_env = true, value_name = "PLATFORM", conflicts_with_all = ["all", "multi_arch"])]
    pub(crate) platform: Vec<Platforms>,
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    /// Where oci: at the source keeps its blobs, as ALGORITHM/HEX
    #[arg(long, value_name = "DIR", env = "HOD_SRC_SHARED_BLOB_DIR", hide_env = true)]
    pub(crate) src_shared_blob_dir: Option<PathBuf>,
    /// Where oci: at the destination keeps its blobs, as ALGORITHM/HEX
    #[arg(long, value_name = "DIR", env = "HOD_DEST_SHARED_BLOB_DIR", hide_env = true)]
    pub(crate) dest_shared_blob_dir: Option<PathBuf>,
    /// Write the digest of the copied image to this file
    #[arg(long, env = "HOD_DIGESTFILE", hide_env = true, value_name = "FILE", conflicts_with = "file")]
    pub(crate) digestfile: Option<PathBuf>,
    /// One more name for the image in a docker-archive or a daemon; repeatable, or with commas
    #[arg(
        long,
        env = "HOD_ADDITIONAL_TAG",
        hide_env = true,
        value_name = "NAME[:TAG]",
        conflicts_with = "file",
        value_delimiter = ','
    )]
    pub(crate) additional_tag: Vec<String>,
    /// Blobs in motion at the same time, in place of --jobs; 0 leaves it at that
    #[arg(long, env = "HOD_IMAGE_PARALLEL_COPIES", hide_env = true, value_name = "N",
        value_parser = clap::value_parser!(u16).range(0..=256))]
    pub(crate) image_parallel_copies: Option<u16>,
    /// Stop at the first image of the list that fails
    #[arg(long, env = "HOD_FAIL_FAST", hide_env = true, value_parser = super::flag())]
    pub(crate) fail_fast: bool,
    #[command(flatten)]
    pub(crate) layers: LayerArgs,
    #[command(flatten)]
    pub(crate) signing: SigningArgs,
    /// The name to sign for [default: the one that the image gets]
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

// What is copied of images, and what is changed of it.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that stands for itself")]
pub(crate) struct ContentArgs {
    /// Copy all platforms of an image, and its index
    #[arg(short, long, env = "HOD_ALL", hide_env = true, value_parser = super::flag(), conflicts_with = "multi_arch")]
    pub(crate) all: bool,
    /// What to copy of an image with several platforms [default: system]
    #[arg(long, env = "HOD_MULTI_ARCH", hide_env = true, value_name = "WHAT")]
    pub(crate) multi_arch: Option<MultiArchArg>,
    /// Convert the manifests to this format; configs and layers stay as they are
    #[arg(
        short,
        long,
        env = "HOD_FORMAT",
        hide_env = true,
        value_name = "FORMAT",
        conflicts_with = "preserve_digests"
    )]
    pub(crate) format: Option<FormatArg>,
    /// Never change a digest; hod does so only where a flag asks for it or the destination cannot hold the image
    #[arg(long, env = "HOD_PRESERVE_DIGESTS", hide_env = true, value_parser = super::flag())]
    pub(crate) preserve_digests: bool,
    /// Leave signatures behind; the places that keep them are registries with a lookaside, and dir
    #[arg(long, env = "HOD_REMOVE_SIGNATURES", hide_env = true, value_parser = super::flag())]
    pub(crate) remove_signatures: bool,
    /// Ask a registry for each layer and send each manifest again, though its tag is right: mends one that has lost some
    #[arg(long, env = "HOD_FORCE", hide_env = true, value_parser = super::flag())]
    pub(crate) force: bool,
}

impl ContentArgs {
    /// What is copied of an image with several platforms; `system` is the one that it is copied for.
    pub(crate) fn part(&self, system: Platform) -> MultiArch {
        match self.multi_arch {
            _ if self.all => MultiArch::All,
            Some(MultiArchArg::All) => MultiArch::All,
            Some(MultiArchArg::IndexOnly) => MultiArch::IndexOnly,
            Some(MultiArchArg::System) | None => MultiArch::System(system),
        }
    }
}

// How layers are compressed at the destination.
#[derive(Debug, Args)]
#[command(next_help_heading = "Layers")]
#[expect(clippy::struct_excessive_bools, clippy::struct_field_names, reason = "skopeo's flags, with its names")]
pub(crate) struct LayerArgs {
    /// Compress layers in this way, with new digests; dir: keeps those that are compressed already
    #[arg(
        long,
        value_name = "FORMAT",
        conflicts_with = "preserve_digests",
        env = "HOD_DEST_COMPRESS_FORMAT",
        hide_env = true
    )]
    pub(crate) dest_compress_format: Option<CompressArg>,
    /// How hard to compress: gzip from 1 to 9, zstd from 1 to 22
    #[arg(long, value_name = "LEVEL", env = "HOD_DEST_COMPRESS_LEVEL", hide_env = true)]
    pub(crate) dest_compress_level: Option<u8>,
    /// With dir:, compress layers anew that are compressed in another way
    #[arg(long, requires = "dest_compress_format", env = "HOD_DEST_FORCE_COMPRESS_FORMAT", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_force_compress_format: bool,
    /// With dir:, compress layers that are not, by gzip unless --dest-compress-format says otherwise
    #[arg(long, conflicts_with_all = ["dest_decompress", "preserve_digests"], env = "HOD_DEST_COMPRESS", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_compress: bool,
    /// With dir:, expand layers
    #[arg(long, conflicts_with_all = ["dest_compress_format", "dest_compress_level", "preserve_digests"], env = "HOD_DEST_DECOMPRESS", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_decompress: bool,
    /// Know the digest of a layer before it is sent, so that none is sent which is there; this is what hod does anyway
    #[arg(long, env = "HOD_DEST_PRECOMPUTE_DIGESTS", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_precompute_digests: bool,
    /// Leave uncompressed layers in oci: as they are; this is what hod does anyway
    #[arg(long, env = "HOD_DEST_OCI_ACCEPT_UNCOMPRESSED_LAYERS", hide_env = true, value_parser = super::flag())]
    pub(crate) dest_oci_accept_uncompressed_layers: bool,
}

/// How to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CompressArg {
    /// RFC 1952, which everything reads
    Gzip,
    /// RFC 8878, in OCI manifests only
    Zstd,
    /// Taken as zstd: hod writes no table of files
    #[value(name = "zstd:chunked")]
    ZstdChunked,
}

impl CompressArg {
    /// Whether more is asked for than hod does.
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

/// What is copied of an image with several platforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum MultiArchArg {
    /// The image for this machine, or the one that --override-arch and its like choose
    System,
    /// The index and all images
    All,
    /// The index without its images
    IndexOnly,
}

/// The format of manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FormatArg {
    /// OCI image-spec
    Oci,
    /// Docker version 2, schema 2
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
