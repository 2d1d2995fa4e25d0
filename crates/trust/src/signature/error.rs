//! The errors of signatures and keys.

use super::fingerprint::{Fingerprint, FingerprintError};

/// A signature that cannot be made or is worth nothing.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The bytes are no `OpenPGP` keys.
    #[error("{0} contains no OpenPGP keys")]
    NoKeys(String),
    /// The bytes are keys and more than that, or parts of keys.
    #[error("{name} is not completely readable: {problem}; export it again with gpg --export")]
    KeyFile {
        /// The file.
        name: String,
        /// What is not understood.
        problem: String,
    },
    /// The key is not among those given.
    #[error("key {0} is not among the given keys")]
    NoKey(Fingerprint),
    /// The key must not sign.
    #[error("the key {key} {problem}")]
    Key {
        /// The key.
        key: Fingerprint,
        /// The reason.
        problem: &'static str,
    },
    /// The passphrase opens no key.
    #[error("cannot use the secret key {0}: check the passphrase")]
    Passphrase(Fingerprint),
    /// The bytes are no signed `OpenPGP` message.
    #[error("this is not a signed OpenPGP message: {0}")]
    Message(String),
    /// No key given has made it.
    #[error("the signature is not by any of the given keys")]
    Unknown,
    /// The signature is not valid.
    #[error("the signature is not valid: {0}")]
    Invalid(&'static str),
    /// What was signed is no claim.
    #[error("the signed content is not a claim about an image")]
    Claim(#[source] serde_json::Error),
    /// What was signed is something else.
    #[error("the signed content has the type {0:?}, not that of an image signature")]
    Type(String),
    /// Not a fingerprint.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
}
