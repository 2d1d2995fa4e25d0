//! Arguments for `OpenPGP` signatures in the format of the containers tools.

use std::path::PathBuf;

use clap::Args;

use super::PassphraseArgs;

// `hod standalone-sign`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # fetch the manifest, and sign it with a key of gpg's keyring\n  \
    hod inspect --raw docker://registry.site:5000/web:1.0 > manifest.json\n  \
    hod standalone-sign manifest.json registry.site:5000/web:1.0 \\\n      \
    FINGERPRINT -o web.signature\n  \
    # sign it with a key file\n  \
    hod standalone-sign manifest.json registry.site:5000/web:1.0 \\\n      \
    FINGERPRINT --sign-key secret.asc -o web.signature")]
pub(crate) struct StandaloneSignArgs {
    /// File with the manifest
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// Name of the image, to include in the signature
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: String,
    /// Key: its fingerprint, its ID, or a mail address that matches exactly one key
    #[arg(value_name = "FINGERPRINT")]
    pub(crate) fingerprint: String,
    /// File for the signature
    #[arg(short, long, value_name = "FILE", env = "HOD_OUTPUT", hide_env = true)]
    pub(crate) output: PathBuf,
    /// File with the secret key, as written by gpg --export-secret-keys [default: gpg signs with its keyring]
    #[arg(long, value_name = "FILE", env = "HOD_SIGN_KEY", hide_env = true)]
    pub(crate) sign_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

// `hod standalone-verify`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    hod standalone-verify manifest.json registry.site:5000/web:1.0 \\\n      \
    FINGERPRINT web.signature --public-key-file release.asc\n  \
    hod standalone-verify manifest.json registry.site:5000/web:1.0 \\\n      \
    any web.signature --public-key-file release.asc")]
pub(crate) struct StandaloneVerifyArgs {
    /// File with the manifest
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// Name of the image that the signature must contain
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: String,
    /// Fingerprints of accepted keys, comma-separated; any accepts all keys of --public-key-file
    #[arg(value_name = "FINGERPRINTS")]
    pub(crate) fingerprints: String,
    /// File with the signature
    #[arg(value_name = "SIGNATURE")]
    pub(crate) signature: PathBuf,
    /// File with public keys, as written by gpg --export [default: gpg's keyring]
    #[arg(long, value_name = "FILE", env = "HOD_PUBLIC_KEY_FILE", hide_env = true)]
    pub(crate) public_key_file: Option<PathBuf>,
}

// Signing of copied images.
#[derive(Debug, Args)]
#[command(next_help_heading = "Signatures")]
#[expect(clippy::struct_field_names, reason = "skopeo's flags, with its names")]
pub(crate) struct SigningArgs {
    /// Sign each copied manifest with the key of this fingerprint, ID or mail address; the destination must be dir: or a
    /// registry with a lookaside
    #[arg(long, value_name = "FINGERPRINT", env = "HOD_SIGN_BY", hide_env = true)]
    pub(crate) sign_by: Option<String>,
    /// File with the secret key, as written by gpg --export-secret-keys [default: gpg signs with its keyring]
    #[arg(long, value_name = "FILE", env = "HOD_SIGN_KEY", hide_env = true)]
    pub(crate) sign_key: Option<PathBuf>,
    /// File with the passphrase of the secret key in its first line
    #[arg(long, value_name = "FILE", env = "HOD_SIGN_PASSPHRASE_FILE", hide_env = true)]
    pub(crate) sign_passphrase_file: Option<PathBuf>,
    /// Not supported: hod does not create sigstore signatures
    #[arg(long, value_name = "FILE", env = "HOD_SIGN_BY_SIGSTORE", hide_env = true, hide = true)]
    pub(crate) sign_by_sigstore: Option<PathBuf>,
    /// Not supported: hod does not create sigstore signatures
    #[arg(long, value_name = "FILE", env = "HOD_SIGN_BY_SIGSTORE_PRIVATE_KEY", hide_env = true, hide = true)]
    pub(crate) sign_by_sigstore_private_key: Option<PathBuf>,
}
