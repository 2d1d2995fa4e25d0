//! Arguments about keys and signatures.

use std::path::PathBuf;

use clap::Args;

// Whose bundles are wanted.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct TrustArgs {
    /// Take only a bundle that is signed with this minisign key: a file or the key itself; repeatable
    /// [default: the *.pub in ~/.config/hod/trusted and /etc/hod/trusted, where these folders exist]
    #[arg(long, value_name = "PUB", env = "HOD_KEY", hide_env = true, conflicts_with = "no_key")]
    pub(crate) key: Vec<String>,
    /// Look at no signature, even if there are folders with trusted keys
    #[arg(long, env = "HOD_NO_KEY", hide_env = true, value_parser = super::flag())]
    pub(crate) no_key: bool,
    /// The signature of the bundle, where it is not in it [default: the bundle's name with .header.minisig]
    #[arg(long, value_name = "FILE", env = "HOD_SIGNATURE", hide_env = true)]
    pub(crate) signature: Option<PathBuf>,
}

// How a secret key is opened.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct PassphraseArgs {
    /// A file whose first line is the passphrase of the secret key
    /// [default: `HOD_PASSPHRASE`, else asked for on the terminal]
    #[arg(long, value_name = "FILE", env = "HOD_PASSPHRASE_FILE", hide_env = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

// `hod keygen`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # release.key, which asks for a passphrase, and release.pub\n  \
    hod keygen release\n  \
    # for a machine that protects the file by other means\n  \
    hod keygen ci --no-passphrase\n  \
    # on the other side, by a way that you trust\n  \
    install -Dm644 release.pub /etc/hod/trusted/release.pub")]
pub(crate) struct KeygenArgs {
    /// Where the keys go: NAME.key and NAME.pub, in minisign's format
    #[arg(value_name = "NAME")]
    pub(crate) name: PathBuf,
    /// Do not encrypt the secret key
    #[arg(long, env = "HOD_NO_PASSPHRASE", hide_env = true, value_parser = super::flag(),
        conflicts_with = "passphrase_file")]
    pub(crate) no_passphrase: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

// `hod sign`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # release.tar.header.minisig, beside the bundle\n  \
    hod sign release.tar --sign release.key\n  \
    # finds it there\n  \
    hod verify release.tar --key release.pub")]
pub(crate) struct SignArgs {
    /// The bundle, which is not changed
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// The secret key, in minisign's format
    #[arg(long, value_name = "KEY", env = "HOD_SIGN", hide_env = true)]
    pub(crate) sign: PathBuf,
    /// Where the signature goes [default: the bundle's name with .header.minisig]
    #[arg(short, long, env = "HOD_OUTPUT", hide_env = true, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}
