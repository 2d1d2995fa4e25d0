//! Arguments for signatures of the containers tools.

use std::path::PathBuf;

use clap::Args;

use super::PassphraseArgs;

// `hod standalone-sign`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  \
    # the manifest to sign\n  \
    hod inspect --raw docker://registry.site:5000/web:1.0 > manifest.json\n  \
    hod standalone-sign manifest.json registry.site:5000/web:1.0 \\\n      \
    FINGERPRINT -o web.signature\n  \
    hod standalone-sign manifest.json registry.site:5000/web:1.0 \\\n      \
    FINGERPRINT --sign-key secret.asc -o web.signature")]
pub(crate) struct StandaloneSignArgs {
    /// A file with the manifest
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// The name that the image is to have
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: String,
    /// The key: its fingerprint, or what gpg takes as well, such as its id or a mail address that fits one key alone
    #[arg(value_name = "FINGERPRINT")]
    pub(crate) fingerprint: String,
    /// Where the signature goes
    #[arg(short, long, value_name = "FILE", env = "HOD_OUTPUT", hide_env = true)]
    pub(crate) output: PathBuf,
    /// A file with the secret key, as gpg --export-secret-keys writes it [default: gpg signs with its own keyring]
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
    /// A file with the manifest
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// The name that the signature must be for
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: String,
    /// Fingerprints of the keys that may have signed, with commas; any for all of --public-key-file
    #[arg(value_name = "FINGERPRINTS")]
    pub(crate) fingerprints: String,
    /// A file with the signature
    #[arg(value_name = "SIGNATURE")]
    pub(crate) signature: PathBuf,
    /// A file with public keys, as gpg --export writes it [default: gpg's keyring]
    #[arg(long, value_name = "FILE", env = "HOD_PUBLIC_KEY_FILE", hide_env = true)]
    pub(crate) public_key_file: Option<PathBuf>,
}

// Signing what is copied.
#[derive(Debug, Args)]
#[command(next_help_heading = "Signatures")]
#[expect(clippy::struct_field_names, reason = "skopeo's flags, with its names")]
pub(crate) struct SigningArgs {
    /// Sign each manifest that is copied with the key of this fingerprint, id or mail address; for dir: and registries
    /// with a lookaside
    #[arg(long, value_name = "FINGERPRINT", env = "HOD_SIGN_BY", hide_env = true)]
    pub(crate) sign_by: Option<String>,
    /// A file with that key, as gpg --export-secret-keys writes it [default: gpg signs with its own keyring]
    #[arg(long, value_name = "FILE", env = "HOD_SIGN_KEY", hide_env = true)]
    pub(crate) sign_key: Option<PathBuf>,
    /// A file whose first line is the passphrase of that key
    #[arg(long, value_name = "FILE", env = "HOD_SIGN_PASSPHRASE_FILE", hide_env = true)]
    pub(crate) sign_passphrase_file: Option<PathBuf>,
    /// Known from skopeo, and refused: hod makes no signatures of this kind
    #[arg(long, value_name = "FILE", env = "HOD_SIGN_BY_SIGSTORE", hide_env = true, hide = true)]
    pub(crate) sign_by_sigstore: Option<PathBuf>,
    /// Known from skopeo, and refused: hod makes no signatures of this kind
    #[arg(long, value_name = "FILE", env = "HOD_SIGN_BY_SIGSTORE_PRIVATE_KEY", hide_env = true, hide = true)]
    pub(crate) sign_by_sigstore_private_key: Option<PathBuf>,
}
