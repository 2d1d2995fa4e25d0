//! `OpenPGP` keys as exported by gpg, and the check of which may sign (RFC 9580, section 10.1).
//!
//! A key counts as far as its owner says so now: by a self-signature that is valid, not expired and not revoked. A
//! subkey counts where primary key and subkey have signed each other.

use std::fmt;
use std::time::SystemTime;

use pgp::composed::{PublicOrSecret, SignedKeyDetails, SignedPublicKey, SignedPublicSubKey, SignedSecretKey};
use pgp::packet::{KeyFlags, Signature, SignatureType};
use pgp::types::{KeyDetails as _, S2kParams, SecretParams, StringToKey, Tag, VerifyingKey};

use super::{SignatureError, key_file};

/// Public keys.
#[derive(Debug, Clone, Default)]
pub struct PublicKeys {
    pub(super) keys: Vec<SignedPublicKey>,
}

/// Secret keys, still locked by their passphrases.
pub struct SecretKeys {
    pub(super) keys: Vec<SignedSecretKey>,
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKeys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl PublicKeys {
    /// Adds the keys in a file as gpg exports them, in binary form or as text; `name` is for messages.
    pub fn add(&mut self, bytes: &[u8], name: &str) -> Result<(), SignatureError> {
        self.keys.extend(key_file::read(bytes, name)?.into_iter().map(|key| match key {
            PublicOrSecret::Public(key) => key,
            PublicOrSecret::Secret(key) => key.to_public_key(),
        }));
        Ok(())
    }

    /// The keys that may sign, each with the primary key that it belongs to.
    pub(super) fn signers(&self) -> impl Iterator<Item = (&dyn VerifyingKey, &SignedPublicKey, KeyStanding)> {
        self.keys.iter().flat_map(|key| {
            let own = primary_standing(key);
            let primary: (&dyn VerifyingKey, _, _) = (&key.primary_key, key, own);
            let subkeys = key.public_subkeys.iter().map(move |subkey| {
                let standing = if matches!(own, KeyStanding::Good | KeyStanding::NotForThis) {
                    subkey_standing(key, subkey)
                } else {
                    own
                };
                let verifying: &dyn VerifyingKey = &subkey.key;
                (verifying, key, standing)
            });
            std::iter::once(primary).chain(subkeys)
        })
    }

    /// The key that is such, of all copies of it the one that counts: what one of them revokes is revoked, and what
    /// one of them knows to be good, such as a newer one, is good.
    pub(super) fn signer(
        &self,
        is: impl Fn(&dyn VerifyingKey) -> bool,
    ) -> Option<(&dyn VerifyingKey, &SignedPublicKey, KeyStanding)> {
        let copies: Vec<_> = self.signers().filter(|(key, ..)| is(*key)).collect();
        let of_standing = |wanted| copies.iter().find(|(.., standing)| *standing == wanted);
        let (key, primary, standing) =
            *of_standing(KeyStanding::Revoked).or(of_standing(KeyStanding::Good)).or(copies.first())?;
        // A copy from before the subkey was made knows nothing of it, and may still revoke its primary key.
        let fingerprints: Vec<_> = copies.iter().map(|(_, primary, _)| primary.primary_key.fingerprint()).collect();
        let is_revoked = self.keys.iter().any(|key| {
            fingerprints.contains(&key.primary_key.fingerprint()) && primary_standing(key) == KeyStanding::Revoked
        });
        Some((key, primary, if is_revoked { KeyStanding::Revoked } else { standing }))
    }
}

impl SecretKeys {
    /// The secret keys in a file as gpg exports them, in binary form or as text; `name` is for messages.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, SignatureError> {
        let secret = |key| match key {
            PublicOrSecret::Secret(key) => Some(key),
            PublicOrSecret::Public(_) => None,
        };
        let keys: Vec<_> = key_file::read(bytes, name)?.into_iter().filter_map(secret).collect();
        if keys.is_empty() { Err(SignatureError::NoKeys(name.to_owned())) } else { Ok(Self { keys }) }
    }

    /// Returns true if any of them needs a passphrase.
    pub fn is_locked(&self) -> bool {
        let is_locked = |secret: &SecretParams| secret.is_encrypted() && is_there(secret);
        let subkeys =
            |key: &SignedSecretKey| key.secret_subkeys.iter().any(|subkey| is_locked(subkey.key.secret_params()));
        self.keys.iter().any(|key| is_locked(key.primary_key.secret_params()) || subkeys(key))
    }

    /// Their public halves.
    pub(super) fn public(&self) -> PublicKeys {
        PublicKeys { keys: self.keys.iter().map(SignedSecretKey::to_public_key).collect() }
    }
}

/// Returns true if there is a secret at all. gpg writes a stub for one that it does not have, or that is on a card.
pub(super) fn is_there(secret: &SecretParams) -> bool {
    let SecretParams::Encrypted(encrypted) = secret else { return true };
    !matches!(
        encrypted.string_to_key_params(),
        S2kParams::Cfb { s2k: StringToKey::Private { .. }, .. }
            | S2kParams::MalleableCfb { s2k: StringToKey::Private { .. }, .. }
    )
}

/// Whether a key may sign, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyStanding {
    /// It may.
    Good,
    /// It is for something else.
    NotForThis,
    /// Its time is over.
    Expired,
    /// Nothing shows that it is the owner's.
    Unbound,
    /// Its owner has revoked it.
    Revoked,
}

impl KeyStanding {
    /// Why it may not, if that is so.
    pub(super) const fn problem(self) -> Option<&'static str> {
        match self {
            Self::Good => None,
            Self::Revoked => Some("is revoked"),
            Self::Expired => Some("has expired"),
            Self::NotForThis => Some("is not for signing"),
            Self::Unbound => Some("has no valid signature of its owner"),
        }
    }
}

/// The standing of a primary key.
pub(super) fn primary_standing(key: &SignedPublicKey) -> KeyStanding {
    details_standing(&key.primary_key, &key.details)
}

fn details_standing(key: &pgp::packet::PublicKey, details: &SignedKeyDetails) -> KeyStanding {
    if details.revocation_signatures.iter().any(|revocation| revocation.verify_key(key).is_ok()) {
        return KeyStanding::Revoked;
    }
    let direct = details.direct_signatures.iter().filter(|signature| signature.verify_key(key).is_ok());
    let users = details.users.iter().flat_map(|user| {
        let valid = move |signature: &&Signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && signature.verify_certification(key, Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(valid)
    });
    // Each kind may leave out what the other says, such as when the key expires, so the newer does not undo the older.
    let kinds = [newest(direct), newest(users)];
    let standings = kinds.into_iter().flatten().map(|signature| by_binding(key, signature));
    standings.max().unwrap_or(KeyStanding::Unbound)
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created().map(pgp::types::Timestamp::as_secs))
}

fn subkey_standing(key: &SignedPublicKey, subkey: &SignedPublicSubKey) -> KeyStanding {
    let (primary, own) = (&key.primary_key, &subkey.key);
    let valid: Vec<&Signature> =
        subkey.signatures.iter().filter(|signature| signature.verify_subkey_binding(primary, own).is_ok()).collect();
    if valid.iter().any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation)) {
        return KeyStanding::Revoked;
    }
    let Some(newest) = newest(valid.into_iter()) else { return KeyStanding::Unbound };
    match by_binding(own, newest) {
        // A key that signs must say itself that it belongs there, or it could be claimed by anybody.
        KeyStanding::Good => match newest.embedded_signature() {
            Some(back) if back.verify_primary_key_binding(own, primary).is_ok() => KeyStanding::Good,
            _ => KeyStanding::Unbound,
        },
        other => other,
    }
}

/// The standing of a key by the signature that binds it.
fn by_binding(key: &impl VerifyingKey, binding: &Signature) -> KeyStanding {
    let is_over = |begun: pgp::types::Timestamp, span: Option<pgp::types::Duration>| {
        span.filter(|span| span.as_secs() > 0)
            .is_some_and(|span| SystemTime::from(begun) + std::time::Duration::from(span) < SystemTime::now())
    };
    if is_over(key.created_at(), binding.key_expiration_time())
        || binding.created().is_some_and(|created| is_over(created, binding.signature_expiration_time()))
    {
        return KeyStanding::Expired;
    }
    let flags = binding.key_flags();
    if flags == KeyFlags::default() || flags.sign() { KeyStanding::Good } else { KeyStanding::NotForThis }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Says, about_key, about_user, key, public, revocation, subkey_revocation};
    use super::*;

    /// The standing of the primary key and of its subkey, by all of these copies.
    fn standings(copies: &[&SignedPublicKey]) -> [KeyStanding; 2] {
        let keys = PublicKeys { keys: copies.iter().map(|copy| (*copy).clone()).collect() };
        let whole = copies.iter().find(|copy| !copy.public_subkeys.is_empty()).unwrap();
        let fingerprints = [whole.primary_key.fingerprint(), whole.public_subkeys[0].key.fingerprint()];
        fingerprints.map(|wanted| keys.signer(|key| key.fingerprint() == wanted).unwrap().2)
    }

    #[test]
    fn of_several_copies_the_worst_revokes_and_the_best_counts() {
        use KeyStanding::{Expired, Good, Revoked};
        let secret = key();
        let good = public(&secret);
        let (mut revoked, mut expired, mut half, mut bare) = (good.clone(), good.clone(), good.clone(), good.clone());
        revoked.details.revocation_signatures.push(revocation(&secret));
        expired.details.users[0].signatures = vec![about_user(&secret, Says { expires: Some(9), ..Says::default() })];
        half.public_subkeys[0].signatures.push(subkey_revocation(&secret));
        bare.public_subkeys.clear();
        bare.details.revocation_signatures.push(revocation(&secret));
        for (copies, standing) in [
            (vec![&good], [Good, Good]),
            (vec![&good, &revoked], [Revoked, Revoked]),
            (vec![&good, &expired], [Good, Good]),
            (vec![&good, &half], [Good, Revoked]),
            (vec![&good, &bare], [Revoked, Revoked]),
            (vec![&expired, &expired], [Expired, Expired]),
            (vec![&expired, &revoked], [Revoked, Revoked]),
        ] {
            assert_eq!(standings(&copies), standing);
            assert_eq!(standings(&copies.into_iter().rev().collect::<Vec<_>>()), standing);
        }
    }

    #[test]
    fn users_and_the_key_itself_both_say_whether_it_may_sign() {
        use KeyStanding::{Expired, Good, NotForThis};
        let secret = key();
        let at = |at| Says { at, ..Says::default() };
        let over = |says| Says { expires: Some(9), ..says };
        let flag = |says, signs| Says { signs: Some(signs), ..says };
        let never = flag(at(0), false);
        for (direct, user, standing) in [
            (vec![], vec![at(0)], Good),
            (vec![], vec![over(at(0)), at(1)], Good),
            (vec![], vec![over(at(1)), at(0)], Expired),
            (vec![at(1)], vec![over(at(0))], Expired),
            (vec![over(at(0))], vec![at(1)], Expired),
            (vec![over(at(0)), at(1)], vec![at(2)], Good),
            (vec![at(1)], vec![never], NotForThis),
            (vec![never], vec![flag(at(1), true)], NotForThis),
            (vec![never], vec![over(at(1))], Expired),
            (vec![flag(at(0), true)], vec![flag(at(1), true)], Good),
        ] {
            let mut key = public(&secret);
            let signed = |says: &Says| about_key(&secret, SignatureType::Key, *says);
            key.details.direct_signatures = direct.iter().map(signed).collect();
            key.details.users[0].signatures = user.iter().map(|says| about_user(&secret, *says)).collect();
            assert_eq!(primary_standing(&key), standing, "{direct:?} {user:?}");
        }
    }
}
