//! Signed messages: a claim, packed up with a signature of it (RFC 9580, section 10.3).

use std::io::Read as _;
use std::time::SystemTime;

use pgp::composed::{Message, MessageBuilder};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails as _, Password, SigningKey, VerifyingKey};

use super::keys::{Fingerprint, PublicKeys, SecretKeys, Standing, primary_standing};
use super::{Claim, SignatureError, Signed};
use crate::secret::Secret;

/// More than any claim has.
const LIMIT: u64 = 64 * 1024;

/// Signs a claim with the key of this fingerprint: the primary key, or a subkey that may sign.
pub fn sign(
    claim: &Claim,
    keys: &SecretKeys,
    fingerprint: &Fingerprint,
    passphrase: Option<&Secret>,
) -> Result<Vec<u8>, SignatureError> {
    let signer = signer(keys, fingerprint)?;
    let password = passphrase.map_or_else(Password::empty, |passphrase| Password::from(passphrase.expose()));
    let hash = match signer.hash_alg() {
        HashAlgorithm::Sha384 => HashAlgorithm::Sha384,
        HashAlgorithm::Sha512 => HashAlgorithm::Sha512,
        _ => HashAlgorithm::Sha256,
    };
    let mut message = MessageBuilder::from_bytes("", claim.to_bytes());
    message.sign(signer, password, hash);
    message.to_vec(rand::thread_rng()).map_err(|error| {
        tracing::debug!(%error, "signing failed");
        SignatureError::Passphrase(fingerprint.clone())
    })
}

/// The secret key that is meant by a fingerprint.
fn signer<'a>(keys: &'a SecretKeys, wanted: &Fingerprint) -> Result<&'a dyn SigningKey, SignatureError> {
    let is = |found: pgp::types::Fingerprint| Fingerprint::from(found) == *wanted;
    for key in &keys.keys {
        if let Some(subkey) = key.secret_subkeys.iter().find(|subkey| is(subkey.key.fingerprint())) {
            return Ok(&subkey.key);
        }
        if !is(key.primary_key.fingerprint()) {
            continue;
        }
        let public = key.to_public_key();
        let own = primary_standing(&public);
        let public = PublicKeys { keys: vec![public] };
        let can = |fingerprint: &pgp::types::Fingerprint| {
            public.signers().any(|(key, _, standing)| standing == Standing::Good && key.fingerprint() == *fingerprint)
        };
        if own == Standing::Good {
            return Ok(&key.primary_key);
        }
        let subkey = key.secret_subkeys.iter().find(|subkey| can(&subkey.key.fingerprint()));
        let Some(subkey) = subkey else {
            let problem = own.problem().unwrap_or("cannot sign");
            return Err(SignatureError::Key { key: wanted.clone(), problem });
        };
        return Ok(&subkey.key);
    }
    Err(SignatureError::NoKey(wanted.clone()))
}

/// Verifies a signature by one of these keys, and returns what was signed and by whom.
pub fn verify(signature: &[u8], keys: &PublicKeys) -> Result<Signed, SignatureError> {
    let message = |error: pgp::errors::Error| SignatureError::Message(error.to_string());
    let (found, _) = Message::from_reader(signature).map_err(message)?;
    // gpg compresses what it signs.
    let mut found = if found.is_compressed() { found.decompress().map_err(message)? } else { found };
    let mut content = Vec::new();
    let read = (&mut found).take(LIMIT + 1).read_to_end(&mut content);
    let length = read.map_err(|error| SignatureError::Message(error.to_string()))? as u64;
    if length > LIMIT {
        return Err(SignatureError::Message(format!("it has more than {LIMIT} bytes")));
    }
    let packet = match &found {
        Message::Signed { reader, .. } if reader.num_signatures() == 1 => reader.signature(0),
        Message::Signed { .. } => return Err(SignatureError::Invalid("there is more than one")),
        _ => return Err(SignatureError::Message("nothing is signed".to_owned())),
    };
    check(packet.ok_or(SignatureError::Invalid("it is cut off"))?)?;
    let made = |key: &dyn VerifyingKey| found.verify(key).is_ok();
    let Some((signer, primary, standing)) = keys.signer(made) else {
        return Err(SignatureError::Unknown);
    };
    let (signer, primary) = (signer.fingerprint().into(), primary.primary_key.fingerprint().into());
    match standing.problem() {
        Some(problem) => Err(SignatureError::Key { key: signer, problem }),
        None => Ok(Signed { claim: Claim::parse(&content)?, signer, primary }),
    }
}

/// Refuses kinds of signatures that prove nothing today.
fn check(signature: &Signature) -> Result<(), SignatureError> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err(SignatureError::Invalid("it is not one of a document"));
    }
    let strong = [
        HashAlgorithm::Sha224,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
        HashAlgorithm::Sha3_256,
        HashAlgorithm::Sha3_512,
    ];
    if !signature.hash_alg().is_some_and(|hash| strong.contains(&hash)) {
        return Err(SignatureError::Invalid("its hash can be forged"));
    }
    let over = signature.created().zip(signature.signature_expiration_time()).is_some_and(|(created, span)| {
        span.as_secs() > 0 && SystemTime::from(created) + std::time::Duration::from(span) < SystemTime::now()
    });
    if over { Err(SignatureError::Invalid("it has expired")) } else { Ok(()) }
}
