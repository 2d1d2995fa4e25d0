//! The command line: commands, flags and their help.
//!
//! This file and its folder define; they decide nothing. What a combination means is worked out in
//! `commands`. Every flag has an environment variable, and the flag wins.

mod bundle;
mod command;
mod copy;
mod delta;
mod encryption;
mod flag;
#[cfg(test)]
mod help;
mod images;
mod images_at;
mod index;
mod installer;
mod layer;
mod listen;
mod lock;
mod manage;
mod meant;
mod on_existing_tag;
mod own_first;
mod plan;
mod push;
#[cfg(test)]
mod reference;
mod registry;
mod select;
mod serve;
mod shape;
mod sides;
mod signature;
mod skopeo;
mod switch;
mod sync;
mod target;
mod time;
mod trust;
mod unpack_image;
mod volumes;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub(super) use bundle::BundleArgs;
pub(super) use copy::{CompressArg, ContentArgs, CopyArgs, FormatArg, LayerArgs};
pub(super) use delta::{DiffArgs, HaveArgs, InventoryArgs};
pub(super) use encryption::EncryptionArgs;
use flag::{flag, truth};
pub(super) use images::ImageArgs;
pub(super) use images_at::{DeleteArgs, InspectArgs, ListTagsArgs, LoginArgs, LogoutArgs, ManifestDigestArgs};
pub(super) use index::{IndexAction, IndexArgs, IndexTarget};
pub(super) use installer::InstallerArgs;
pub(super) use layer::{LayerAction, LayerCommand, LayerExtractArgs};
pub(super) use lock::LockArgs;
pub(super) use manage::{GcArgs, InitArgs, NewArgs, RmArgs, StatArgs, TagArgs};
pub(super) use meant::meant;
pub(super) use on_existing_tag::OnExistingTag;
pub(super) use own_first::OwnFirst;
pub(super) use plan::PlanArgs;
pub(super) use push::{IndexArg, PushArgs};
pub(super) use registry::{RegistryArgs, RetryArgs};
pub(super) use select::SelectArgs;
pub(super) use serve::{AccessLogArg, ServeArgs, TlsArgs};
pub(super) use shape::shown_long;
pub(super) use sides::{DestinationRegistryArgs, SourceRegistryArgs};
pub(super) use signature::{SigningArgs, StandaloneSignArgs, StandaloneVerifyArgs};
pub(super) use skopeo::{SkopeoArgs, TlsVerifyArgs};
pub(super) use switch::parse;
pub(super) use sync::{DestinationKindArg, ImageSyncerArgs, SourceKindArg, SyncArgs};
pub(super) use target::TargetArgs;
use time::{duration, limit};
pub(super) use trust::{KeygenArgs, PassphraseArgs, SignArgs, TrustArgs};
pub(super) use unpack_image::UnpackImageArgs;
pub(super) use volumes::{CutArgs, MediaArgs};

/// Carry container images across an air gap.
#[derive(Debug, Parser)]
#[command(
    name = "hod",
    version,
    about = "Carry container images across an air gap",
    long_about = "Carry container images across an air gap.\n\n\
        Pull the images of a list into a store, and pack the store into one file, the bundle. On the other side, \
        unpack the bundle into a registry root, push it to a registry, or serve it. A store is a registry root: any \
        CNCF registry can serve it.",
    after_help = "EXAMPLES:\n  \
        # fetch the images of a list, and write them to one file\n  \
        hod pull -f images-list.txt --store store\n  \
        hod pack --store store -o release.tar\n  \
        # on the other side: unpack, push or serve the bundle\n  \
        hod unpack release.tar --root /var/lib/registry\n  \
        hod push release.tar docker://registry.site:5000\n  \
        hod serve release.tar\n\n\
        EXIT STATUS:\n  \
        0    done\n  \
        1    failed\n  \
        2    wrong usage, or a list with errors\n  \
        3    some images failed, all others are done\n  \
        4    corrupt data or an invalid signature\n  \
        5    content that the bundle requires is missing\n  \
        130  interrupted; run the command again to resume",
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: GlobalArgs,
    #[command(subcommand)]
    pub(super) command: Command,
}

// Flags of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that stands for itself")]
pub(super) struct GlobalArgs {
    /// Print one JSON document on standard output instead of text, even when the command fails
    #[arg(long, global = true, env = "HOD_JSON", hide_env = true, value_parser = flag())]
    pub(super) json: bool,
    /// Print only errors and results
    #[arg(short, long, global = true, env = "HOD_QUIET", hide_env = true, value_parser = flag())]
    pub(super) quiet: bool,
    /// Print more details; repeat for even more
    #[arg(short, long, global = true, action = ArgAction::Count, env = "HOD_VERBOSE", hide_env = true)]
    pub(super) verbose: u8,
    /// Log requests and file operations, without secrets
    #[arg(long, global = true, env = "HOD_DEBUG", hide_env = true, value_parser = flag())]
    pub(super) debug: bool,
    /// Show no progress bars
    #[arg(long, global = true, env = "HOD_NO_PROGRESS", hide_env = true, value_parser = flag())]
    pub(super) no_progress: bool,
    /// Maximum parallel blob transfers [default: 8; to a registry on this machine at most 2 per processor]
    #[arg(short, long, global = true, value_name = "N", env = "HOD_JOBS", hide_env = true,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// File with registry credentials, in the format of podman or docker
    #[arg(long, global = true, value_name = "FILE", env = "HOD_AUTHFILE", hide_env = true)]
    pub(super) authfile: Option<PathBuf>,
    /// Stop the command after this time, such as 90s, 10m or 2h
    #[arg(long, global = true, value_name = "TIME", env = "HOD_COMMAND_TIMEOUT", hide_env = true, value_parser = limit)]
    pub(super) command_timeout: Option<std::time::Duration>,
    /// Close a registry connection that transfers less than 1 KiB in this time [default: 60s]
    #[arg(long, global = true, value_name = "TIME", env = "HOD_STALL_TIMEOUT", hide_env = true, value_parser = duration)]
    pub(super) stall_timeout: Option<std::time::Duration>,
    /// Continue on a file system without locks; no other process may then use the same place
    #[arg(long, global = true, env = "HOD_NO_LOCKS", hide_env = true, value_parser = flag())]
    pub(super) no_locks: bool,
    #[command(flatten)]
    pub(super) skopeo: SkopeoArgs,
    #[command(flatten)]
    pub(super) registries: TlsVerifyArgs,
}

// The commands, in the order of the job.
#[derive(Debug, Subcommand)]
// The flags of a command are defined only when it is the one that runs: defining all takes longer than all else at start.
#[command(defer = true)]
pub(super) enum Command {
    /// Fetch images from registries into a store
    Pull(OwnFirst<PullArgs>),
    /// Write a list with the digests of its images, and show moved tags
    Lock(OwnFirst<LockArgs>),
    /// Show sizes and free space before a pull or pack
    Plan(OwnFirst<PlanArgs>),
    /// Write the images of a store to a bundle
    Pack(OwnFirst<PackArgs>),
    /// Fetch images straight into a bundle, without a store
    Bundle(OwnFirst<BundleArgs>),
    /// Merge a bundle into a registry root
    Unpack(OwnFirst<UnpackArgs>),
    /// Push the images of a bundle or store to a registry
    Push(OwnFirst<PushArgs>),
    /// Serve a store or bundles as a registry
    Serve(OwnFirst<ServeArgs>),
    /// Create a store from images of another store, without copying blobs
    Select(OwnFirst<SelectArgs>),
    /// Add tags to an image
    Tag(OwnFirst<TagArgs>),
    /// Create an empty layout or store
    Init(OwnFirst<InitArgs>),
    /// Create an image without layers in a layout
    New(OwnFirst<NewArgs>),
    /// Remove images from a store or layout
    Rm(OwnFirst<RmArgs>),
    /// Delete unreferenced blobs and manifests
    Gc(OwnFirst<GcArgs>),
    /// Check every byte and link of a store, bundle, image directory or layout
    Verify(OwnFirst<VerifyArgs>),
    /// List the images of a store or bundle
    Ls(OwnFirst<LsArgs>),
    /// List the digests of a store, bundle or registry, for hod pack --have
    Inventory(OwnFirst<InventoryArgs>),
    /// Show the differences between two stores, bundles, inventories or locks
    Diff(OwnFirst<DiffArgs>),
    /// Create a key pair for signing bundles
    Keygen(OwnFirst<KeygenArgs>),
    /// Sign an existing bundle
    Sign(OwnFirst<SignArgs>),
    /// Copy an image, or a list of images, between any two places
    Copy(OwnFirst<Box<CopyArgs>>),
    /// Copy all images of a repository, a directory or a YAML file
    Sync(OwnFirst<Box<SyncArgs>>),
    /// Unpack an image to files: a runtime bundle for runc and crun, or the root file system only
    UnpackImage(OwnFirst<UnpackImageArgs>),
    /// Extract one layer of an image as an archive or as files
    Layer(OwnFirst<LayerCommand>),
    /// Show an image's metadata
    Inspect(OwnFirst<InspectArgs>),
    /// Show an image's layers and history
    Stat(OwnFirst<StatArgs>),
    /// List the tags of a repository, layout or archive
    ListTags(OwnFirst<ListTagsArgs>),
    /// Delete images from registries and layouts
    Delete(OwnFirst<DeleteArgs>),
    /// Create and edit multi-platform indexes
    Index(OwnFirst<IndexArgs>),
    /// Print the digest of a manifest file
    ManifestDigest(OwnFirst<ManifestDigestArgs>),
    /// Sign a manifest file with a PGP key, for the trust policies of the containers tools
    StandaloneSign(OwnFirst<StandaloneSignArgs>),
    /// Verify the PGP signature of a manifest file
    StandaloneVerify(OwnFirst<StandaloneVerifyArgs>),
    /// Log in to a registry
    Login(OwnFirst<LoginArgs>),
    /// Remove the credentials of a registry
    Logout(OwnFirst<LogoutArgs>),
    /// Print a shell completion script
    Completions(OwnFirst<CompletionsArgs>),
    /// Print the manual page, or write one page per command
    Man(OwnFirst<ManArgs>),
}

// `hod pull`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod pull -f images-list.txt --store store\n  \
    hod pull alpine:3.20 quay.io/coreos/etcd:v3.5 --store store \\\n      \
    --platform linux/amd64,linux/arm64\n  \
    hod pull -f images-list.txt --from mirror.example:5000 \\\n      \
    --store store --lock release.lock\n  \
    # retry only the images that failed\n  \
    hod pull -f images-list.txt --store store --failed again.txt ||\n      \
    hod pull -f again.txt --store store\n  \
    # images of places on this machine\n  \
    hod pull oci:images docker-archive:saved.tar \\\n      \
    'dir:web as=web:1.0' --store store")]
#[command(mut_arg("images", |images| images.help(images::IMAGES_OR_PLACES)))]
pub(super) struct PullArgs {
    /// Store to pull into: a registry root, created if missing
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    pub(super) store: PathBuf,
    /// Write the list with the resolved digests to this file
    #[arg(long, value_name = "FILE", env = "HOD_LOCK", hide_env = true)]
    pub(super) lock: Option<PathBuf>,
    /// Write the lines that failed to this file, as a list for a retry
    #[arg(long, value_name = "FILE", env = "HOD_FAILED", hide_env = true)]
    pub(super) failed: Option<PathBuf>,
    /// Stop at the first image that fails
    #[arg(long, env = "HOD_FAIL_FAST", hide_env = true, value_parser = flag())]
    pub(super) fail_fast: bool,
    /// Continue when an image fails (default)
    #[arg(long, env = "HOD_KEEP_GOING", hide_env = true, value_parser = flag(), conflicts_with = "fail_fast")]
    pub(super) keep_going: bool,
    /// Show what would be fetched, as hod plan does, and write nothing
    #[arg(long, env = "HOD_DRY_RUN", hide_env = true, value_parser = flag())]
    pub(super) dry_run: bool,
    /// Daemon for docker-daemon images: `unix:///PATH`, `tcp://HOST:PORT` or `ssh://HOST`
    /// [default: `DOCKER_HOST`, else `unix:///var/run/docker.sock`]
    #[arg(long, value_name = "HOST", env = "HOD_DAEMON_HOST", hide_env = true)]
    pub(super) daemon_host: Option<String>,
    #[command(flatten)]
    pub(super) images: ImageArgs,
    #[command(flatten)]
    pub(super) registry: RegistryArgs,
    #[command(flatten)]
    pub(super) retry: RetryArgs,
}

// `hod pack`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod pack --store store -o release.tar\n  \
    hod pack --store store -f images-list.txt --group base -o base.tar.zst\n  \
    hod pack --store store -o release.tar --sign release.key\n  \
    # only content that the site is missing\n  \
    hod pack --store store --have site.json -o update.tar\n  \
    hod pack --store store -o /media/stick/release.tar --volume-size fat32\n  \
    hod pack --store store -o /media/stick/release.tar \\\n      \
    --with-installer --installer-binary hod-static\n  \
    hod pack --store store -o - |\n      \
    ssh site hod unpack - --root /var/lib/registry")]
#[command(mut_arg("images", |images| images.help(images::IMAGES_THERE)))]
#[command(mut_arg("platform", |platform| platform.help(images::PLATFORMS_THERE)))]
pub(super) struct PackArgs {
    /// Store to pack from
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    pub(super) store: PathBuf,
    /// Bundle to write: .tar (uncompressed), .tar.zst (compressed), or - for standard output
    #[arg(short, long, value_name = "FILE", env = "HOD_OUTPUT", hide_env = true)]
    pub(super) output: PathBuf,
    /// Show the size of the bundle, as hod plan does, and write nothing
    #[arg(long, env = "HOD_DRY_RUN", hide_env = true, value_parser = flag())]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) have: HaveArgs,
    #[command(flatten)]
    pub(super) images: ImageArgs,
    /// Sign the bundle with this secret key, in minisign's format
    #[arg(long, value_name = "KEY", env = "HOD_SIGN", hide_env = true, help_heading = "Trust")]
    pub(super) sign: Option<PathBuf>,
    #[command(flatten)]
    pub(super) passphrase: PassphraseArgs,
    #[command(flatten)]
    pub(super) cut: CutArgs,
    #[command(flatten)]
    pub(super) installer: InstallerArgs,
}

// `hod unpack`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod unpack release.tar.zst --root /var/lib/registry\n  \
    zstd -dc release.tar.zst | hod unpack - --root /var/lib/registry\n  \
    hod unpack release.tar --root /var/lib/registry \\\n      \
    --on-existing-tag error\n  \
    hod unpack release.tar --root /var/lib/registry --key release.pub\n  \
    # volumes in two directories\n  \
    hod unpack /media/one/release.tar.001 --from-dir /media/two \\\n      \
    --root /var/lib/registry")]
pub(super) struct UnpackArgs {
    /// Bundle, its first volume, a directory with its volumes, or - for standard input
    #[arg(value_name = "BUNDLE")]
    pub(super) bundle: PathBuf,
    /// Registry root to merge into; a registry may be serving it
    #[arg(long, value_name = "DIR", env = "HOD_ROOT", hide_env = true)]
    pub(super) root: PathBuf,
    /// Action for an existing tag that points to another image
    #[arg(long, value_name = "WHAT", default_value = "overwrite", env = "HOD_ON_EXISTING_TAG", hide_env = true)]
    pub(super) on_existing_tag: OnExistingTag,
    /// Check the signature, the base of a delta, tags and free space, and write nothing
    #[arg(long, env = "HOD_DRY_RUN", hide_env = true, value_parser = flag())]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) trust: TrustArgs,
    #[command(flatten)]
    pub(super) media: MediaArgs,
}

// `hod verify`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod verify store\n  \
    hod verify release.tar.zst\n  \
    # check its signature, too\n  \
    hod verify release.tar --key release.pub\n  \
    # a directory with the volumes of a bundle\n  \
    hod verify /media/stick\n  \
    # all images of a layout; oci:images:web:1.0 checks one\n  \
    hod verify oci:images\n  \
    # an image directory, or a tree of image directories\n  \
    hod verify dir:web\n  \
    hod verify /var/lib/registry --json | jq '.findings[].code'")]
#[command(mut_arg("target", |target| target.help("Store, registry root, bundle or its volumes, dir:PATH, \
    oci:PATH[:IMAGE] or oci-archive:FILE[:IMAGE]; - for a bundle on standard input")))]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Fail also when there are only warnings
    #[arg(long, env = "HOD_STRICT", hide_env = true, value_parser = flag())]
    pub(super) strict: bool,
    #[command(flatten)]
    pub(super) trust: TrustArgs,
    #[command(flatten)]
    pub(super) media: MediaArgs,
}

// `hod ls`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod ls store\n  \
    hod ls release.tar --json | jq -r '.images[] | .name + \" \" + .digest'")]
pub(super) struct LsArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

// `hod completions`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  hod completions bash > /etc/bash_completion.d/hod")]
pub(super) struct CompletionsArgs {
    /// Shell that the script is for
    #[arg(value_name = "SHELL")]
    pub(super) shell: clap_complete::Shell,
}

// `hod man`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  hod man | man -l -\n  hod man --output /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Directory for the pages, one per command
    #[arg(short, long, value_name = "DIR", env = "HOD_MAN_OUTPUT", hide_env = true)]
    pub(super) output: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory as _;

    use super::help::definitions;
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    /// Documentation (`///`) of arguments would take the place of what is said of the command, so they have comments.
    #[test]
    fn every_command_says_what_it_does() {
        for (listed, whole) in Cli::command().get_subcommands().zip(definitions().get_subcommands()) {
            let said = |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
            assert_eq!(said(listed), said(whole));
            assert!(!said(whole).is_empty() && !said(whole).starts_with("`hod"), "{}", whole.get_name());
        }
    }

    /// Flags without a variable, and why.
    const WITHOUT_VARIABLE: [(&str, &str, &str); 3] = [
        ("", "help", "it does nothing but print"),
        ("", "version", "it does nothing but print"),
        ("hod logout", "all", "a variable that is meant for hod copy --all must not remove credentials"),
    ];
    /// Flags whose variable has another name, and why.
    const OTHER_VARIABLE: [(&str, &str, &str, &str); 5] = [
        ("hod inspect", "format", "HOD_TEMPLATE", "elsewhere --format is a format of manifests"),
        ("hod inspect", "config", "HOD_INSPECT_CONFIG", "hod sync --config is a file"),
        ("hod lock", "output", "HOD_LOCK", "it is what hod pull --lock writes"),
        ("hod man", "output", "HOD_MAN_OUTPUT", "elsewhere --output is a file"),
        ("hod sync", "log", "HOD_LOG_FILE", "HOD_LOG says what the library logs"),
    ];

    /// Every flag of a command and those below it that has not the variable that it should have.
    fn without_variable(above: &str, command: &clap::Command, found: &mut Vec<String>) {
        let name = format!("{above}{}", command.get_name());
        for argument in command.get_arguments() {
            let Some(flag) = argument.get_long() else { continue };
            if WITHOUT_VARIABLE.iter().any(|(of, without, _)| (of.is_empty() || *of == name) && *without == flag) {
                continue;
            }
            let other = OTHER_VARIABLE.iter().find(|(of, long, ..)| *of == name && *long == flag);
            let expected = other.map_or_else(
                || format!("HOD_{}", flag.replace(['-', '.'], "_").to_uppercase()),
                |(_, _, variable, _)| (*variable).to_owned(),
            );
            let variable = argument.get_env().map(|variable| variable.to_string_lossy().into_owned());
            if variable.as_deref() != Some(&expected) {
                found.push(format!("{name} --{flag} has {variable:?}, not {expected}"));
            }
        }
        let above = format!("{name} ");
        command.get_subcommands().for_each(|below| without_variable(&above, below, found));
    }

    #[test]
    fn every_flag_has_a_variable_of_its_name() {
        let mut found = Vec::new();
        without_variable("", &definitions(), &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }

    /// What each variable means to each flag that has it: a switch, or a value of that name.
    fn meanings(above: &str, command: &clap::Command, found: &mut BTreeMap<String, BTreeMap<String, String>>) {
        let name = format!("{above}{}", command.get_name());
        for argument in command.get_arguments() {
            let (Some(flag), Some(variable)) = (argument.get_long(), argument.get_env()) else { continue };
            let names = argument.get_value_names().unwrap_or_default();
            let takes = argument.get_action().takes_values();
            let meaning =
                if takes { names.iter().map(clap::builder::Str::as_str).collect() } else { "switch".to_owned() };
            let of = found.entry(variable.to_string_lossy().into_owned()).or_default();
            of.entry(meaning).or_insert_with(|| format!("{name} --{flag}"));
        }
        let above = format!("{name} ");
        command.get_subcommands().for_each(|below| meanings(&above, below, found));
    }

    #[test]
    fn a_variable_means_one_thing() {
        let mut found = BTreeMap::new();
        meanings("", &definitions(), &mut found);
        found.retain(|_, meanings| meanings.len() > 1);
        assert!(found.is_empty(), "{found:#?}");
    }
}
