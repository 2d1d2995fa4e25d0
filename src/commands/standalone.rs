//! `hod standalone-sign` and `standalone-verify`: signature files of the containers tools.

use std::path::Path;
use std::process::ExitCode;

use super::{input, signing, trust};
use crate::args::{StandaloneSignArgs, StandaloneVerifyArgs};
use crate::context::Context;
use crate::documents::{SignedManifest, VerifiedManifest};
use crate::failure::{Failure, Kind};
use crate::{output, report};
use hod_oci::{DOCKER_IO, Reference, signed_digest};
use hod_trust::signature::{Claim, Fingerprint, PublicKeys, verify as verify_signature};

pub(crate) async fn sign(context: &Context, args: StandaloneSignArgs) -> Result<ExitCode, Failure> {
    let _: Reference = args.reference.parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let digest = signed_digest(&read(&args.manifest)?);
    let claim = Claim { digest, reference: args.reference };
    let (sign, fingerprint) = signing::signer(&args.fingerprint, args.sign_key.as_deref(), &args.passphrase).await?;
    let signed = claim.clone();
    let signature = input::blocking(move || sign(&signed).map_err(|error| signing::not_signed(&*error))).await?;
    output::write(&args.output, signature).await?;
    if context.is_text() {
        return Ok(ExitCode::SUCCESS);
    }
    let document = SignedManifest {
        digest: claim.digest.into(),
        fingerprint: fingerprint.to_string(),
        reference: claim.reference,
        signature: report::path(&args.output),
    };
    context.result(&document, "")?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn verify(context: &Context, args: StandaloneVerifyArgs) -> Result<ExitCode, Failure> {
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
            let exported = input::blocking(move || signing::gpg_export(&wanted)).await?;
            keys.add(&exported, "gpg's keyring").map_err(refused)?;
        }
        (None, None) => {
            return Err(Failure::new(Kind::Usage, "any requires --public-key-file, which has the accepted keys"));
        }
    }
    let expected: Reference = args.reference.parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let (manifest, signature) = (read(&args.manifest)?, read(&args.signature)?);
    let bad = || Failure::new(Kind::Corrupt, format!("the signature {} is not accepted", args.signature.display()));
    let signed = input::blocking(move || Ok(verify_signature(&signature, &keys))).await?;
    let signed = signed.map_err(|error| bad().because(error))?;
    let wrong =
        |problem: String| Failure::new(Kind::Corrupt, format!("the signature {} {problem}", args.signature.display()));
    let allowed = fingerprints.is_none_or(|all| all.contains(&signed.signer) || all.contains(&signed.primary));
    if !allowed {
        return Err(wrong(format!("is by {}, which is not one of the given keys", signed.signer)));
    }
    let (digest, claim) = (signed_digest(&manifest), signed.claim);
    if claim.digest != digest {
        return Err(wrong(format!("is for {}, and the manifest is {digest}", claim.digest)));
    }
    if !is_same(&expected, &claim.reference) {
        return Err(wrong(format!("is for {:?}, not for {:?}", claim.reference, args.reference)));
    }
    let document =
        VerifiedManifest { digest: digest.into(), fingerprint: signed.signer.to_string(), reference: claim.reference };
    let text = format!("Signature verified using fingerprint {}, digest {digest}\n", signed.signer);
    context.result(&document, &text)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns true if a name in a signature is the one expected, however short either is written.
fn is_same(expected: &Reference, signed: &str) -> bool {
    let Ok(signed) = signed.parse::<Reference>() else { return false };
    let same_name = match (expected.in_registry(DOCKER_IO), signed.in_registry(DOCKER_IO)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    same_name && (&expected.tag, &expected.digest) == (&signed.tag, &signed.digest)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    trust::read_limited(path, hod_oci::MANIFEST_LIMIT).map_err(|error| Failure::of(Kind::Usage, error))
}
