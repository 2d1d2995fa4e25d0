//! Arguments about keys and signatures.

use std::path::PathBuf;

use clap::Args;

// The accepted signers of bundles.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct TrustArgs {
    /// Accept only bundles signed with this minisign public key: a file or the key itself; repeatable
    /// [default: all *.pub files in ~/.config/hod/trusted and /etc/hod/trusted, if these directories exist]
    #[arg(long, value_name = "PUB", env = "HOD_KEY", hide_env = true, conflicts_with = "no_key")]
    pub(crate) key: Vec<String>,
    /// Check no signature, even if directories with trusted keys exist
    #[arg(long, env = "HOD_NO_KEY", hide_env = true, value_parser = super::flag())]
    pub(crate) no_key: bool,
    /// File with the detached signature of the bundle [default: the bundle's name with .header.minisig]
    #[arg(long, value_name = "FILE", env = "HOD_SIGNATURE", hide_env = true)]
    pub(crate) signature: Option<PathBuf>,
}

// The passphrase of a secret key.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct PassphraseArgs {
    /// File with the passphrase of the secret key in its first line
    /// [default: `HOD_PASSPHRASE`, else a prompt on the terminal]
    #[arg(long, value_name = "FILE", env = "HOD_PASSPHRASE_FILE", hide_env = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

// `hod keygen`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # create release.key, with a passphrase, and release.pub\n  \
    hod keygen release\n  \
    # without a passphrase, where the file is protected otherwise\n  \
    hod keygen ci --no-passphrase\n  \
    # install the public key on the other side, over a trusted path\n  \
    install -Dm644 release.pub /etc/hod/trusted/release.pub")]
pub(crate) struct KeygenArgs {
    /// Path of the keys: creates NAME.key and NAME.pub, in minisign's format
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
    # create release.tar.header.minisig beside the bundle\n  \
    hod sign release.tar --sign release.key\n  \
    # find and check it there\n  \
    hod verify release.tar --key release.pub")]
pub(crate) struct SignArgs {
    /// Bundle to sign; hod does not change it
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
    /// Secret key, in minisign's format
    #[arg(long, value_name = "KEY", env = "HOD_SIGN", hide_env = true)]
    pub(crate) sign: PathBuf,
    /// File for the signature [default: the bundle's name with .header.minisig]
    #[arg(short, long, env = "HOD_OUTPUT", hide_env = true, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}
