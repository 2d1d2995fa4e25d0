//! What can be wrong with signatures and their keys.

use super::fingerprint::{Fingerprint, FingerprintError};

/// A signature that cannot be made or is worth nothing.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The bytes are no `OpenPGP` keys.
    #[error("{0} holds no OpenPGP keys")]
    NoKeys(String),
    /// The bytes are keys and more than that, or parts of keys.
    #[error("{name} is not understood whole: {problem}; write it anew with gpg --export")]
    KeyFile {
        /// The file.
        name: String,
        /// What is not understood.
        problem: String,
    },
    /// The key is not among those given.
    #[error("there is no key {0} among those given")]
    NoKey(Fingerprint),
    /// The key must not sign.
    #[error("the key {key} {problem}")]
    Key {
        /// The key.
        key: Fingerprint,
        /// Why not.
        problem: &'static str,
    },
    /// The passphrase opens no key.
    #[error("the secret key {0} cannot be used: is the passphrase right?")]
    Passphrase(Fingerprint),
    /// The bytes are no signed `OpenPGP` message.
    #[error("this is not a signed OpenPGP message: {0}")]
    Message(String),
    /// No key given has made it.
    #[error("the signature is by none of the keys given")]
    Unknown,
    /// The signature is not valid.
    #[error("the signature is not valid: {0}")]
    Invalid(&'static str),
    /// What was signed is no claim.
    #[error("what was signed is no claim about an image")]
    Claim(#[source] serde_json::Error),
    /// What was signed is something else.
    #[error("what was signed is of the type {0:?}, not an image")]
    Type(String),
    /// Not a fingerprint.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
}
