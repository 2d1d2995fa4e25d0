//! Signed messages: a claim together with its signature (RFC 9580, section 10.3).

use std::io::Read as _;
use std::time::SystemTime;

use pgp::composed::{Message, MessageBuilder};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails as _, Password, SigningKey, VerifyingKey};

use super::fingerprint::Fingerprint;
use super::keys::{KeyStanding, PublicKeys, SecretKeys, is_there};
use super::{Claim, SignatureError, SignedClaim};
use hod_io::secret::Secret;

/// More bytes than any signature has, packed or not: one by a key of RSA with 4096 bits has less than 2 KB. Nothing
/// larger is parsed, since anybody may have written it.
const LIMIT: u64 = 64 * 1024;

/// Signs a claim with the key of this fingerprint: the primary key or else a subkey of it that may sign, or this very
/// subkey.
pub fn sign(
    claim: &Claim,
    keys: &SecretKeys,
    fingerprint: &Fingerprint,
    passphrase: Option<&Secret>,
) -> Result<Vec<u8>, SignatureError> {
    let signer = signer(keys, fingerprint)?;
    let password = passphrase.map_or_else(Password::empty, |passphrase| Password::from(passphrase.expose()));
    let hash = match signer.key.hash_alg() {
        HashAlgorithm::Sha384 => HashAlgorithm::Sha384,
        HashAlgorithm::Sha512 => HashAlgorithm::Sha512,
        _ => HashAlgorithm::Sha256,
    };
    let mut message = MessageBuilder::from_bytes("", claim.to_bytes());
    message.sign(signer.key, password, hash);
    message.to_vec(rand::thread_rng()).map_err(|error| {
        tracing::debug!(%error, "signing failed");
        let key = fingerprint.clone();
        if signer.is_locked {
            SignatureError::Passphrase(key)
        } else {
            SignatureError::Key { key, problem: "cannot sign" }
        }
    })
}

/// A secret key that may sign.
struct Signer<'a> {
    key: &'a dyn SigningKey,
    /// True if it needs a passphrase.
    is_locked: bool,
}

/// The secret key that is meant by a fingerprint. One that its owner has given up would make signatures that nobody
/// takes, and what gpg leaves of a primary key that is kept elsewhere makes none.
fn signer<'a>(keys: &'a SecretKeys, wanted: &Fingerprint) -> Result<Signer<'a>, SignatureError> {
    let is = |found: pgp::types::Fingerprint| Fingerprint::from(found) == *wanted;
    let public = keys.public();
    let mut problem = None;
    for key in &keys.keys {
        let is_primary = is(key.primary_key.fingerprint());
        let primary: (&dyn SigningKey, _) = (&key.primary_key, key.primary_key.secret_params());
        let subkeys = key.secret_subkeys.iter().filter(|subkey| is_primary || is(subkey.key.fingerprint()));
        let subkeys = subkeys.map(|subkey| {
            let signing: &dyn SigningKey = &subkey.key;
            (signing, subkey.key.secret_params())
        });
        for (key, secret) in is_primary.then_some(primary).into_iter().chain(subkeys) {
            let found = public.signer(|public| public.fingerprint() == key.fingerprint());
            let standing = found.map_or(KeyStanding::Unbound, |(.., standing)| standing);
            match standing.problem() {
                None if is_there(secret) => return Ok(Signer { key, is_locked: secret.is_encrypted() }),
                other => problem = problem.or(other).or(Some("has no secret part in the given keys")),
            }
        }
    }
    Err(match problem {
        Some(problem) => SignatureError::Key { key: wanted.clone(), problem },
        None => SignatureError::NoKey(wanted.clone()),
    })
}

/// Verifies a signature by one of these keys, and returns what was signed and by whom.
pub fn verify(signature: &[u8], keys: &PublicKeys) -> Result<SignedClaim, SignatureError> {
    let message = |error: pgp::errors::Error| SignatureError::Message(error.to_string());
    if signature.len() as u64 > LIMIT {
        return Err(too_large());
    }
    let (found, _) = Message::from_reader(signature).map_err(message)?;
    let expanded;
    let mut found = match found {
        // gpg compresses what it signs. It is expanded before it is parsed, or it could have packets without end.
        Message::Compressed { reader, is_nested } => {
            let reader = reader.decompress().map_err(|error| SignatureError::Message(error.to_string()))?;
            expanded = limited(&mut Message::Compressed { reader, is_nested })?;
            Message::from_bytes(expanded.as_slice()).map_err(message)?
        }
        found => found,
    };
    match &found {
        Message::Signed { reader, .. } if reader.num_signatures() == 1 => {}
        Message::Signed { .. } => return Err(SignatureError::Invalid("there is more than one")),
        _ => return Err(SignatureError::Message("nothing is signed".to_owned())),
    }
    let content = limited(&mut found)?;
    let packet = if let Message::Signed { reader, .. } = &found { reader.signature(0) } else { None };
    check(packet.ok_or(SignatureError::Invalid("it is cut off"))?)?;
    let made = |key: &dyn VerifyingKey| found.verify(key).is_ok();
    let Some((signer, primary, standing)) = keys.signer(made) else {
        return Err(SignatureError::Unknown);
    };
    let (signer, primary) = (signer.fingerprint().into(), primary.primary_key.fingerprint().into());
    match standing.problem() {
        Some(problem) => Err(SignatureError::Key { key: signer, problem }),
        None => Ok(SignedClaim { claim: Claim::parse(&content)?, signer, primary }),
    }
}

/// The content of a message, which is not larger than that of any signature.
fn limited(found: &mut Message<'_>) -> Result<Vec<u8>, SignatureError> {
    let mut content = Vec::new();
    let read = found.take(LIMIT + 1).read_to_end(&mut content);
    let length = read.map_err(|error| SignatureError::Message(error.to_string()))? as u64;
    if length > LIMIT { Err(too_large()) } else { Ok(content) }
}

fn too_large() -> SignatureError {
    SignatureError::Message(format!("it has more than {LIMIT} bytes"))
}

/// Refuses kinds of signatures that prove nothing today.
fn check(signature: &Signature) -> Result<(), SignatureError> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err(SignatureError::Invalid("it is not a document signature"));
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
        return Err(SignatureError::Invalid("its hash algorithm is insecure"));
    }
    let over = signature.created().zip(signature.signature_expiration_time()).is_some_and(|(created, span)| {
        span.as_secs() > 0 && SystemTime::from(created) + std::time::Duration::from(span) < SystemTime::now()
    });
    if over { Err(SignatureError::Invalid("it has expired")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use pgp::composed::SignedSecretKey;

    use super::super::testing::{key, public, revocation, stub, subkey_revocation};
    use super::*;
    use hod_oci::Digest;

    /// The start of a signature that a great many follow.
    const ONE_PASS: [u8; 15] = [0xc4, 13, 3, 0, 8, 27, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn compressed(content: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(content).unwrap();
        let packed = packed.finish().unwrap();
        let length = u32::try_from(packed.len() + 1).unwrap();
        [&[0xc8, 0xff][..], &length.to_be_bytes(), &[2], &packed].concat()
    }

    #[test]
    fn what_is_too_large_is_not_parsed() {
        let key = key();
        let keys = PublicKeys { keys: vec![public(&key)] };
        let claim = Claim { digest: Digest::sha256(b"x"), reference: "r.example/a:1".to_owned() };
        let by = pgp::types::KeyDetails::fingerprint(&key.primary_key).into();
        let good = sign(&claim, &SecretKeys { keys: vec![key] }, &by, None).unwrap();
        assert!(good.len() < 2048, "{}", good.len());
        for signature in [good.clone(), compressed(&good)] {
            assert_eq!(verify(&signature, &keys).unwrap().claim, claim);
        }
        let bomb = compressed(&ONE_PASS.repeat(1_000_000));
        assert!((bomb.len() as u64) < LIMIT);
        let large = "it has more than 65536 bytes";
        for (signature, says) in [
            (bomb, large),
            (ONE_PASS.repeat(5000), large),
            (compressed(&good.repeat(200)), large),
            ([&ONE_PASS[..], &good].concat(), "there is more than one"),
            (compressed(&[&ONE_PASS[..], &good].concat()), "there is more than one"),
            (compressed(&compressed(&good)), "nothing is signed"),
            ([compressed(&good), good.clone()].concat(), "trailing"),
        ] {
            let problem = verify(&signature, &keys).unwrap_err().to_string();
            assert!(problem.contains(says), "{says}: {problem}");
        }
    }

    #[test]
    fn only_a_key_that_is_there_and_may_sign_is_taken() {
        let claim = Claim { digest: Digest::sha256(b"x"), reference: "r.example/a:1".to_owned() };
        let whole = key();
        let primary = Fingerprint::from(whole.primary_key.fingerprint());
        let subkey = Fingerprint::from(whole.secret_subkeys[0].key.fingerprint());
        let half = SignedSecretKey { primary_key: stub(&whole), ..whole.clone() };
        let old = |key: &SignedSecretKey| {
            let mut key = key.clone();
            key.secret_subkeys[0].signatures.push(subkey_revocation(&whole));
            key
        };
        let mut revoked = whole.clone();
        revoked.details.revocation_signatures.push(revocation(&whole));
        let public = PublicKeys { keys: vec![public(&whole)] };
        let signed = |keys: &[&SignedSecretKey], by: &Fingerprint| {
            let keys = SecretKeys { keys: keys.iter().map(|key| (*key).clone()).collect() };
            assert!(!keys.is_locked());
            let signature = sign(&claim, &keys, by, None).map_err(|error| error.to_string())?;
            Ok(verify(&signature, &public).unwrap().signer)
        };
        let problem = |key: &Fingerprint, problem: &str| Err(format!("the key {key} {problem}"));
        let absent = "has no secret part in the given keys";
        for (keys, by, found) in [
            (vec![&whole], &primary, Ok(primary.clone())),
            (vec![&whole], &subkey, Ok(subkey.clone())),
            (vec![&half], &primary, Ok(subkey.clone())),
            (vec![&half, &whole], &primary, Ok(subkey.clone())),
            (vec![&old(&whole)], &primary, Ok(primary.clone())),
            (vec![&old(&whole)], &subkey, problem(&subkey, "is revoked")),
            (vec![&whole, &old(&whole)], &subkey, problem(&subkey, "is revoked")),
            (vec![&old(&half)], &primary, problem(&primary, absent)),
            (vec![&revoked], &subkey, problem(&subkey, "is revoked")),
            (vec![&revoked], &primary, problem(&primary, "is revoked")),
        ] {
            assert_eq!(signed(&keys, by), found);
        }
    }
}
