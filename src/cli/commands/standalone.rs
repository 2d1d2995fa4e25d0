//! `hod standalone-sign` and `standalone-verify`: signatures of the containers tools, as files.
//!
//! hod has no keyring. Secret keys come from a file, or gpg signs with its own; public keys come from a file, or
//! gpg exports them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use serde_json::json;

use super::{input, trust};
use crate::cli::args::{PassphraseArgs, StandaloneSignArgs, StandaloneVerifyArgs};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::oci::{DOCKER_IO, Reference, signed_digest};
use crate::secret::Secret;
use crate::signature::{Claim, Fingerprint, PublicKeys, SecretKeys, sign as sign_claim, verify as verify_signature};

pub(in crate::cli) async fn sign(context: &Context, args: StandaloneSignArgs) -> Result<ExitCode, Failure> {
    let _: Reference = args.reference.parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let digest = signed_digest(&read(&args.manifest)?);
    let claim = Claim { digest, reference: args.reference };
    let fingerprint = args.fingerprint;
    let signature = if let Some(file) = &args.sign_key {
        let (keys, passphrase) = secret_keys(file, &args.passphrase).await?;
        let (claim, fingerprint) = (claim.clone(), fingerprint.clone());
        input::blocking(move || {
            let signed = sign_claim(&claim, &keys, &fingerprint, passphrase.as_ref());
            signed.map_err(|error| Failure::of(Kind::Failed, error))
        })
        .await?
    } else {
        let (claim, fingerprint) = (claim.to_bytes(), fingerprint.clone());
        let passphrase = args.passphrase.passphrase_file.clone();
        input::blocking(move || gpg_sign(&fingerprint, passphrase.as_deref(), &claim)).await?
    };
    crate::fs::write_atomically(&args.output, &signature).map_err(|error| Failure::of(Kind::Failed, error))?;
    if context.is_text() {
        return Ok(ExitCode::SUCCESS);
    }
    let document = json!({
        "digest": claim.digest, "reference": claim.reference,
        "fingerprint": fingerprint.to_string(), "signature": args.output,
    });
    context.result(&document, "")?;
    Ok(ExitCode::SUCCESS)
}

pub(in crate::cli) async fn verify(context: &Context, args: StandaloneVerifyArgs) -> Result<ExitCode, Failure> {
    let fingerprints = match args.fingerprints.as_str() {
        "any" => None,
        list => {
            let list: Result<Vec<Fingerprint>, _> = list.split(',').map(str::parse).collect();
            Some(list.map_err(|error| Failure::of(Kind::Usage, error))?)
        }
    };
    let mut keys = PublicKeys::default();
    let refused = |error| Failure::of(Kind::Usage, error);
    match (&args.public_key_file, &fingerprints) {
        (Some(file), _) => keys.add(&read(file)?, &file.display().to_string()).map_err(refused)?,
        (None, Some(fingerprints)) => {
            let wanted = fingerprints.clone();
            let exported = input::blocking(move || gpg_export(&wanted)).await?;
            keys.add(&exported, "gpg's keyring").map_err(refused)?;
        }
        (None, None) => {
            return Err(Failure::new(Kind::Usage, "any needs --public-key-file, which says whose signatures count"));
        }
    }
    let expected: Reference = args.reference.parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let (manifest, signature) = (read(&args.manifest)?, read(&args.signature)?);
    let bad = || Failure::new(Kind::Corrupt, format!("the signature {} does not count", args.signature.display()));
    let signed = input::blocking(move || Ok(verify_signature(&signature, &keys))).await?;
    let signed = signed.map_err(|error| bad().because(error))?;
    let wrong =
        |problem: String| Failure::new(Kind::Corrupt, format!("the signature {} {problem}", args.signature.display()));
    let allowed = fingerprints.is_none_or(|all| all.contains(&signed.signer) || all.contains(&signed.primary));
    if !allowed {
        return Err(wrong(format!("is by {}, which is none of the keys given", signed.signer)));
    }
    let (digest, claim) = (signed_digest(&manifest), signed.claim);
    if claim.digest != digest {
        return Err(wrong(format!("is for {}, and the manifest is {digest}", claim.digest)));
    }
    if !is_same(&expected, &claim.reference) {
        return Err(wrong(format!("is for {:?}, not for {:?}", claim.reference, args.reference)));
    }
    let document = json!({ "fingerprint": signed.signer.to_string(), "digest": digest, "reference": claim.reference });
    let text = format!("Signature verified using fingerprint {}, digest {digest}\n", signed.signer);
    context.result(&document, &text)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a name in a signature is the one expected, however short either is written.
fn is_same(expected: &Reference, signed: &str) -> bool {
    let Ok(signed) = signed.parse::<Reference>() else { return false };
    let same_name = match (expected.in_registry(DOCKER_IO), signed.in_registry(DOCKER_IO)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    same_name && (&expected.tag, &expected.digest) == (&signed.tag, &signed.digest)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    trust::read_limited(path, crate::oci::MANIFEST_LIMIT).map_err(|error| Failure::of(Kind::Usage, error))
}

async fn secret_keys(file: &Path, args: &PassphraseArgs) -> Result<(SecretKeys, Option<Secret>), Failure> {
    let name = file.display().to_string();
    let keys = SecretKeys::parse(&read(file)?, &name).map_err(|error| Failure::of(Kind::Usage, error))?;
    if !keys.is_locked() {
        return Ok((keys, None));
    }
    let passphrase = trust::passphrase(args, move || trust::ask(&format!("Passphrase of {name}: "))).await?;
    Ok((keys, Some(passphrase)))
}

/// Lets gpg sign with a key of its keyring, which never leaves it.
fn gpg_sign(fingerprint: &Fingerprint, passphrase: Option<&Path>, content: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--quiet", "--local-user", &fingerprint.to_string()]);
    if let Some(file) = passphrase {
        command.args(["--pinentry-mode", "loopback", "--passphrase-file"]).arg(file);
    }
    run(command.arg("--sign"), content, "--sign-key with a file that gpg --export-secret-keys has written")
}

/// The public keys of these fingerprints in gpg's keyring.
fn gpg_export(fingerprints: &[Fingerprint]) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--quiet", "--export"]).args(fingerprints.iter().map(ToString::to_string));
    run(&mut command, &[], "--public-key-file with a file that gpg --export has written")
}

/// Runs gpg and returns what it prints; `instead` is what does without it.
fn run(command: &mut Command, content: &[u8], instead: &str) -> Result<Vec<u8>, Failure> {
    let hint = format!("hod has no keyring of its own: give {instead}");
    let failed = |error: std::io::Error| Failure::new(Kind::Failed, "cannot run gpg").because(error).hint(hint.clone());
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = process.stdin.take() {
        // Where gpg has ended already, its own words say why.
        let _ = stdin.write_all(content);
    }
    let output = process.wait_with_output().map_err(failed)?;
    if output.status.success() && !output.stdout.is_empty() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().last().unwrap_or("it has no such key");
    Err(Failure::new(Kind::Failed, format!("gpg: {}", said.trim_start_matches("gpg: "))).hint(hint))
}
