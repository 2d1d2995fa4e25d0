//! What can be typed: commands, flags, and the help that explains them.
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
mod lock;
mod manage;
mod on_existing_tag;
mod own_first;
mod plan;
mod push;
mod registry;
mod select;
mod serve;
mod sides;
mod signature;
mod skopeo;
mod switch;
mod sync;
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
pub(super) use on_existing_tag::OnExistingTag;
pub(super) use own_first::OwnFirst;
pub(super) use plan::PlanArgs;
pub(super) use push::{IndexArg, PushArgs};
pub(super) use registry::{RegistryArgs, RetryArgs};
pub(super) use select::SelectArgs;
pub(super) use serve::{AccessLogArg, ServeArgs, TlsArgs};
pub(super) use sides::{DestinationRegistryArgs, SourceRegistryArgs};
pub(super) use signature::{SigningArgs, StandaloneSignArgs, StandaloneVerifyArgs};
pub(super) use skopeo::{SkopeoArgs, TlsVerifyArgs};
pub(super) use switch::parse;
pub(super) use sync::{DestinationKindArg, ImageSyncerArgs, SourceKindArg, SyncArgs};
use time::{duration, limit};
pub(super) use trust::{KeygenArgs, PassphraseArgs, SignArgs, TrustArgs};
pub(super) use unpack_image::UnpackImageArgs;
pub(super) use volumes::{CutArgs, MediaArgs};

/// Carries container images across an air gap.
#[derive(Debug, Parser)]
#[command(
    name = "hod",
    version,
    about = "Carries container images across an air gap",
    long_about = "Carries container images across an air gap.\n\n\
        hod pulls the images of a list into a store, which is a registry root that any CNCF registry serves as it is; \
        packs the store into one file; and on the other side unpacks it into a registry root, pushes it into any \
        registry, or serves it.",
    after_help = "EXAMPLES:\n  \
        # fetch the images of a list, and write them to one file\n  \
        hod pull -f images-list.txt --store store\n  \
        hod pack --store store -o release.tar\n  \
        # on the other side: into a registry root, into a registry, or served\n  \
        hod unpack release.tar --root /var/lib/registry\n  \
        hod push release.tar docker://registry.site:5000\n  \
        hod serve release.tar\n\n\
        EXIT STATUS:\n  \
        0    done\n  \
        1    failed\n  \
        2    usage, or a list that does not parse\n  \
        3    some images failed, the rest are done\n  \
        4    corruption or a bad signature\n  \
        5    something that the bundle builds on is not there\n  \
        130  interrupted, run it again to resume",
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
    /// Print one JSON document on standard output instead of text, also when the command fails
    #[arg(long, global = true, env = "HOD_JSON", hide_env = true, value_parser = flag())]
    pub(super) json: bool,
    /// Print errors and results only
    #[arg(short, long, global = true, env = "HOD_QUIET", hide_env = true, value_parser = flag())]
    pub(super) quiet: bool,
    /// Say more about what is done; twice for details
    #[arg(short, long, global = true, action = ArgAction::Count, env = "HOD_VERBOSE", hide_env = true)]
    pub(super) verbose: u8,
    /// Log what the library does, with requests and files; never shows secrets
    #[arg(long, global = true, env = "HOD_DEBUG", hide_env = true, value_parser = flag())]
    pub(super) debug: bool,
    /// Draw no progress bars
    #[arg(long, global = true, env = "HOD_NO_PROGRESS", hide_env = true, value_parser = flag())]
    pub(super) no_progress: bool,
    /// Blobs in motion at the same time [default: 8; at most two a processor to a registry on this machine]
    #[arg(short, long, global = true, value_name = "N", env = "HOD_JOBS", hide_env = true,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// The file with registry credentials, in podman's or docker's format
    #[arg(long, global = true, value_name = "FILE", env = "HOD_AUTHFILE", hide_env = true)]
    pub(super) authfile: Option<PathBuf>,
    /// End the command after this long, such as 90s, 10m or 2h
    #[arg(long, global = true, value_name = "TIME", env = "HOD_COMMAND_TIMEOUT", hide_env = true, value_parser = limit)]
    pub(super) command_timeout: Option<std::time::Duration>,
    /// Give a connection to a registry up when less than 1 KiB moves on it in this time [default: 60s]
    #[arg(long, global = true, value_name = "TIME", env = "HOD_STALL_TIMEOUT", hide_env = true, value_parser = duration)]
    pub(super) stall_timeout: Option<std::time::Duration>,
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
    /// Write a list with the digests of its images, and say what has moved
    Lock(OwnFirst<LockArgs>),
    /// Tell what a pull or pack would take: bytes by image, bundle size, volumes, free space
    Plan(OwnFirst<PlanArgs>),
    /// Write a bundle of the images of a store
    Pack(OwnFirst<PackArgs>),
    /// Fetch images straight into a bundle, without a store
    Bundle(OwnFirst<BundleArgs>),
    /// Merge a bundle into a registry root
    Unpack(OwnFirst<UnpackArgs>),
    /// Push the images of a bundle or store into a registry
    Push(OwnFirst<PushArgs>),
    /// Serve a store or bundles as a registry
    Serve(OwnFirst<ServeArgs>),
    /// Make a store of some images of another, without copying their bytes
    Select(OwnFirst<SelectArgs>),
    /// Give an image of a store or layout more names
    Tag(OwnFirst<TagArgs>),
    /// Make a layout or store without images
    Init(OwnFirst<InitArgs>),
    /// Make an image without layers in a layout
    New(OwnFirst<NewArgs>),
    /// Take images of a store or layout away
    Rm(OwnFirst<RmArgs>),
    /// Delete what nothing in a store or layout refers to
    Gc(OwnFirst<GcArgs>),
    /// Check every byte and link of a store, bundle, image directory or layout
    Verify(OwnFirst<VerifyArgs>),
    /// List the images of a store or bundle
    Ls(OwnFirst<LsArgs>),
    /// List what a store, bundle or registry has, for pack --have at the other side of the gap
    Inventory(OwnFirst<InventoryArgs>),
    /// Tell what differs between two stores, bundles, inventories or locks
    Diff(OwnFirst<DiffArgs>),
    /// Make a pair of keys for signing bundles
    Keygen(OwnFirst<KeygenArgs>),
    /// Sign a bundle that is there already
    Sign(OwnFirst<SignArgs>),
    /// Copy an image, or a list of images, from any place to any other
    Copy(OwnFirst<Box<CopyArgs>>),
    /// Copy all images of a repository, a folder or a file that names them
    Sync(OwnFirst<Box<SyncArgs>>),
    /// Unpack an image to files: a bundle for runc and crun, or the tree alone
    UnpackImage(OwnFirst<UnpackImageArgs>),
    /// Write one layer of an image as an archive, or as files
    Layer(OwnFirst<LayerCommand>),
    /// Tell what an image is
    Inspect(OwnFirst<InspectArgs>),
    /// Tell of which layers an image is made, and how they came to be
    Stat(OwnFirst<StatArgs>),
    /// List the tags of a repository, layout or archive
    ListTags(OwnFirst<ListTagsArgs>),
    /// Delete images from registries and layouts
    Delete(OwnFirst<DeleteArgs>),
    /// Make and change indexes of several platforms
    Index(OwnFirst<IndexArgs>),
    /// Print the digest of a manifest in a file
    ManifestDigest(OwnFirst<ManifestDigestArgs>),
    /// Sign a manifest for the trust policies of the containers tools
    StandaloneSign(OwnFirst<StandaloneSignArgs>),
    /// Verify such a signature
    StandaloneVerify(OwnFirst<StandaloneVerifyArgs>),
    /// Log in to a registry
    Login(OwnFirst<LoginArgs>),
    /// Forget the credentials of a registry
    Logout(OwnFirst<LogoutArgs>),
    /// Print a completion script for a shell
    Completions(OwnFirst<CompletionsArgs>),
    /// Print the manual page, or write one a command into a folder
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
    # once more, what has failed\n  \
    hod pull -f images-list.txt --store store --failed again.txt ||\n      \
    hod pull -f again.txt --store store\n  \
    # from this machine\n  \
    hod pull oci:images docker-archive:saved.tar \\\n      \
    'dir:web as=web:1.0' --store store")]
#[command(mut_arg("images", |images| images.help(images::IMAGES_OR_PLACES)))]
pub(super) struct PullArgs {
    /// The store: a registry root, made if it is not there
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    pub(super) store: PathBuf,
    /// Write the list with the digests that its names had
    #[arg(long, value_name = "FILE", env = "HOD_LOCK", hide_env = true)]
    pub(super) lock: Option<PathBuf>,
    /// Write the lines that failed, as a list to try again
    #[arg(long, value_name = "FILE", env = "HOD_FAILED", hide_env = true)]
    pub(super) failed: Option<PathBuf>,
    /// Stop at the first image that fails
    #[arg(long, env = "HOD_FAIL_FAST", hide_env = true, value_parser = flag())]
    pub(super) fail_fast: bool,
    /// Go on when an image fails; this is the default
    #[arg(long, env = "HOD_KEEP_GOING", hide_env = true, value_parser = flag(), conflicts_with = "fail_fast")]
    pub(super) keep_going: bool,
    /// Tell what would be fetched, as hod plan does, and write nothing
    #[arg(long, env = "HOD_DRY_RUN", hide_env = true, value_parser = flag())]
    pub(super) dry_run: bool,
    /// The daemon of docker-daemon images: `unix:///PATH`, `tcp://HOST:PORT` or `ssh://HOST`
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
    # what the site does not have yet\n  \
    hod pack --store store --have site.json -o update.tar\n  \
    hod pack --store store -o /media/stick/release.tar --volume-size fat32\n  \
    hod pack --store store -o /media/stick/release.tar \\\n      \
    --with-installer --installer-binary hod-static\n  \
    hod pack --store store -o - |\n      \
    ssh site hod unpack - --root /var/lib/registry")]
#[command(mut_arg("images", |images| images.help(images::IMAGES_THERE)))]
#[command(mut_arg("platform", |platform| platform.help(images::PLATFORMS_THERE)))]
pub(super) struct PackArgs {
    /// The store to pack from
    #[arg(long, value_name = "DIR", env = "HOD_STORE", hide_env = true)]
    pub(super) store: PathBuf,
    /// The bundle: .tar as it is, .tar.zst compressed, - for standard output
    #[arg(short, long, value_name = "FILE", env = "HOD_OUTPUT", hide_env = true)]
    pub(super) output: PathBuf,
    /// Tell how large the bundle would be, as hod plan does, and write nothing
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
    # volumes in two places\n  \
    hod unpack /media/one/release.tar.001 --from-dir /media/two \\\n      \
    --root /var/lib/registry")]
pub(super) struct UnpackArgs {
    /// The bundle, its first volume, a folder with its volumes, or - for standard input
    #[arg(value_name = "BUNDLE")]
    pub(super) bundle: PathBuf,
    /// The registry root, which may be in use
    #[arg(long, value_name = "DIR", env = "HOD_ROOT", hide_env = true)]
    pub(super) root: PathBuf,
    /// What to do with a tag that points elsewhere
    #[arg(long, value_name = "WHAT", default_value = "overwrite", env = "HOD_ON_EXISTING_TAG", hide_env = true)]
    pub(super) on_existing_tag: OnExistingTag,
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
    # and that its owner has signed it\n  \
    hod verify release.tar --key release.pub\n  \
    # the volumes of a bundle\n  \
    hod verify /media/stick\n  \
    # all images of a layout; oci:images:web:1.0 is one\n  \
    hod verify oci:images\n  \
    # an image directory, or a tree of them\n  \
    hod verify dir:web\n  \
    hod verify /var/lib/registry --json | jq '.findings[].code'")]
pub(super) struct VerifyArgs {
    /// A store or registry root, a bundle or its volumes, - for a bundle on standard input, dir:PATH, oci:PATH[:IMAGE]
    /// or oci-archive:FILE[:IMAGE]
    #[arg(value_name = "TARGET")]
    pub(super) target: PathBuf,
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
    /// A store or registry root, a bundle, or - for a bundle on standard input
    #[arg(value_name = "TARGET")]
    pub(super) target: PathBuf,
}

// `hod completions`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  hod completions bash > /etc/bash_completion.d/hod")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: clap_complete::Shell,
}

// `hod man`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  hod man | man -l -\n  hod man --output /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// A folder for one page a command
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
