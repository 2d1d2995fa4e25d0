//! Who signs for the containers tools: a secret key in a file, or gpg with its own keyring.
//!
//! hod has no keyring. Secret keys come from a file, or gpg signs with its own; public keys come from a file, or
//! gpg exports them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::{input, trust};
use crate::cli::args::{PassphraseArgs, SigningArgs};
use crate::cli::failure::{Failure, Kind};
use crate::oci::Digest;
use crate::pipeline::signing::{Sign, Signing};
use crate::secret::Secret;
use crate::signature::{Claim, Fingerprint, SecretKeys, sign as sign_claim};

/// What to do without a key of gpg's.
const SIGN_KEY: &str = "--sign-key with a file that gpg --export-secret-keys has written";
/// What to do without gpg's public keys.
const PUBLIC_KEY_FILE: &str = "--public-key-file with a file that gpg --export has written";

/// gpg did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
enum GpgError {
    #[error("cannot run gpg; hod has no keyring of its own: give {instead}")]
    Start {
        instead: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("gpg: {said}; hod has no keyring of its own: give {instead}")]
    Failed { instead: &'static str, said: String },
}

/// Signatures as the flags of a copy want them, or `None` where they want none. The key is tried before anything else
/// is done.
pub(super) async fn signing(args: &SigningArgs, identity: Option<&String>) -> Result<Option<Signing>, Failure> {
    if args.sign_by_sigstore.is_some() || args.sign_by_sigstore_private_key.is_some() {
        let failure = Failure::new(Kind::Usage, "hod makes no signatures of sigstore's kind");
        return Err(failure.hint(
            "sign with cosign after the copy, or by an OpenPGP key with --sign-by; signatures of cosign's that are there travel with hod pull and hod push",
        ));
    }
    let Some(fingerprint) = &args.sign_by else {
        let stray = [
            (identity.is_some(), "--sign-identity"),
            (args.sign_key.is_some(), "--sign-key"),
            (args.sign_passphrase_file.is_some(), "--sign-passphrase-file"),
        ];
        return match stray.iter().find(|(given, _)| *given) {
            Some((_, flag)) => Err(Failure::new(Kind::Usage, format!("{flag} means nothing without --sign-by"))),
            None => Ok(None),
        };
    };
    let passphrase = PassphraseArgs { passphrase_file: args.sign_passphrase_file.clone() };
    let sign = signer(fingerprint, args.sign_key.as_deref(), &passphrase).await?;
    let signing = Signing::new(sign.clone(), identity.cloned()).map_err(|error| Failure::of(Kind::Usage, error))?;
    let trial = Claim { digest: Digest::sha256(b""), reference: "localhost/trial:1".to_owned() };
    input::blocking(move || sign(&trial).map_err(|error| not_signed(&*error))).await?;
    Ok(Some(signing))
}

/// Whoever has the secret key of that fingerprint.
pub(super) async fn signer(
    fingerprint: &Fingerprint,
    file: Option<&Path>,
    passphrase: &PassphraseArgs,
) -> Result<Arc<Sign>, Failure> {
    let fingerprint = fingerprint.clone();
    if let Some(file) = file {
        let (keys, passphrase) = secret_keys(file, passphrase).await?;
        return Ok(Arc::new(move |claim| Ok(sign_claim(claim, &keys, &fingerprint, passphrase.as_ref())?)));
    }
    let passphrase = passphrase.passphrase_file.clone();
    Ok(Arc::new(move |claim| Ok(gpg_sign(&fingerprint, passphrase.as_deref(), &claim.to_bytes())?)))
}

/// The failure of a key that did not sign.
pub(super) fn not_signed(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Failure {
    let failure = Failure::new(Kind::Failed, error.to_string());
    match error.source() {
        Some(cause) => failure.because(std::io::Error::other(cause.to_string())),
        None => failure,
    }
}

async fn secret_keys(file: &Path, args: &PassphraseArgs) -> Result<(SecretKeys, Option<Secret>), Failure> {
    let name = file.display().to_string();
    let bytes =
        trust::read_limited(file, crate::oci::MANIFEST_LIMIT).map_err(|error| Failure::of(Kind::Usage, error))?;
    let keys = SecretKeys::parse(&bytes, &name).map_err(|error| Failure::of(Kind::Usage, error))?;
    if !keys.is_locked() {
        return Ok((keys, None));
    }
    let passphrase = trust::passphrase(args, move || trust::ask(&format!("Passphrase of {name}: "))).await?;
    Ok((keys, Some(passphrase)))
}

/// Lets gpg sign with a key of its keyring, which never leaves it.
fn gpg_sign(fingerprint: &Fingerprint, passphrase: Option<&Path>, content: &[u8]) -> Result<Vec<u8>, GpgError> {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--quiet", "--local-user", &fingerprint.to_string()]);
    if let Some(file) = passphrase {
        command.args(["--pinentry-mode", "loopback", "--passphrase-file"]).arg(file);
    }
    run(command.arg("--sign"), content, SIGN_KEY)
}

/// The public keys of these fingerprints in gpg's keyring.
pub(super) fn gpg_export(fingerprints: &[Fingerprint]) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--quiet", "--export"]).args(fingerprints.iter().map(ToString::to_string));
    run(&mut command, &[], PUBLIC_KEY_FILE).map_err(|error| Failure::of(Kind::Failed, error))
}

/// Runs gpg and returns what it prints; `instead` is what does without it.
fn run(command: &mut Command, content: &[u8], instead: &'static str) -> Result<Vec<u8>, GpgError> {
    let start = |source| GpgError::Start { instead, source };
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    if let Some(mut stdin) = process.stdin.take() {
        // Where gpg has ended already, its own words say why.
        let _ = stdin.write_all(content);
    }
    let output = process.wait_with_output().map_err(start)?;
    if output.status.success() && !output.stdout.is_empty() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().last().unwrap_or("it has no such key").trim_start_matches("gpg: ").to_owned();
    Err(GpgError::Failed { instead, said })
}
