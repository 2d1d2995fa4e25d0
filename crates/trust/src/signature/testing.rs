//! Keys and self-signatures for tests.

use bytes::Bytes;
use pgp::composed::{KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey, SubkeyParamsBuilder};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{KeyFlags, SecretKey, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{
    Duration, EncryptedSecretParams, KeyDetails as _, Password, S2kParams, SecretParams, StringToKey, Tag, Timestamp,
};

/// When keys are made: long ago.
const BEGUN: u32 = 1_600_000_000;

/// What a signature of a key about itself says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Says {
    /// Seconds since the key was made.
    pub(super) at: u32,
    /// Seconds after which the key expires.
    pub(super) expires: Option<u32>,
    /// Whether the key may sign, where that is said.
    pub(super) signs: Option<bool>,
}

/// A key that may sign, with a subkey that may as well.
pub(super) fn key() -> SignedSecretKey {
    let begun = Timestamp::from_secs(BEGUN);
    let subkey = SubkeyParamsBuilder::default().key_type(KeyType::Ed25519).can_sign(true).created_at(begun).build();
    let mut builder = SecretKeyParamsBuilder::default();
    builder.key_type(KeyType::Ed25519).can_certify(true).can_sign(true).created_at(begun);
    builder.primary_user_id("Release <release@site.example>".to_owned()).subkeys(vec![subkey.unwrap()]);
    builder.build().unwrap().generate(rand::thread_rng()).unwrap()
}

/// What gpg leaves of a primary key whose secret it does not have.
pub(super) fn stub(key: &SignedSecretKey) -> SecretKey {
    let s2k = StringToKey::Private { typ: 101, unknown: b"\0GNU\x01"[..].into() };
    let params = S2kParams::Cfb { sym_alg: SymmetricKeyAlgorithm::Plaintext, s2k, iv: Bytes::new() };
    let secret = SecretParams::Encrypted(EncryptedSecretParams::new(Bytes::new(), params));
    SecretKey::new(key.primary_key.public_key().clone(), secret).unwrap()
}

/// The public half.
pub(super) fn public(key: &SignedSecretKey) -> SignedPublicKey {
    key.to_public_key()
}

fn config(key: &SignedSecretKey, kind: SignatureType, says: Says) -> SignatureConfig {
    let mut config = SignatureConfig::from_key(rand::thread_rng(), &key.primary_key, kind).unwrap();
    let mut data = vec![
        SubpacketData::SignatureCreationTime(Timestamp::from_secs(BEGUN + says.at)),
        SubpacketData::IssuerFingerprint(key.primary_key.fingerprint()),
    ];
    data.extend(says.expires.map(|span| SubpacketData::KeyExpirationTime(Duration::from_secs(span))));
    data.extend(says.signs.map(|signs| {
        let mut flags = KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(signs);
        SubpacketData::KeyFlags(flags)
    }));
    config.hashed_subpackets = data.into_iter().map(|data| Subpacket::regular(data).unwrap()).collect();
    config
}

/// A revocation of the primary key.
pub(super) fn revocation(key: &SignedSecretKey) -> Signature {
    about_key(key, SignatureType::KeyRevocation, Says::default())
}

/// A signature about the primary key itself.
pub(super) fn about_key(key: &SignedSecretKey, kind: SignatureType, says: Says) -> Signature {
    config(key, kind, says).sign_key(&key.primary_key, &Password::empty(), key.primary_key.public_key()).unwrap()
}

/// A signature about the primary key and its first user.
pub(super) fn about_user(key: &SignedSecretKey, says: Says) -> Signature {
    let (primary, user) = (&key.primary_key, &key.details.users[0].id);
    let config = config(key, SignatureType::CertPositive, says);
    config.sign_certification(primary, primary.public_key(), &Password::empty(), Tag::UserId, user).unwrap()
}

/// A revocation of the first subkey.
pub(super) fn subkey_revocation(key: &SignedSecretKey) -> Signature {
    let (primary, subkey) = (&key.primary_key, key.secret_subkeys[0].key.public_key());
    let config = config(key, SignatureType::SubkeyRevocation, Says::default());
    config.sign_subkey_binding(primary, primary.public_key(), &Password::empty(), &subkey).unwrap()
}
