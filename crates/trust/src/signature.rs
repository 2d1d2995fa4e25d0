//! Signatures of the containers tools: an `OpenPGP` message that claims a digest to be that of a name.
//!
//! The claim is JSON (containers-signature(5)); every key of it that is not known is an error, since it may have been
//! meant to limit what is signed. A claim is worth nothing before its signature was verified, so only [`verify`] gives
//! one out. Who may sign what is the policy's business.

mod key_file;
mod key_name;
mod keys;
mod message;
#[cfg(test)]
mod testing;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use key_name::NamedKey;
pub use keys::{Fingerprint, PublicKeys, SecretKeys};
pub use message::{sign, verify};

use hod_oci::Digest;

/// What the type of a claim is always called.
const TYPE: &str = "atomic container signature";

/// What a signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The name that it has.
    pub reference: String,
}

/// A claim and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What was signed.
    pub claim: Claim,
    /// The key that signed, which may be a subkey.
    pub signer: Fingerprint,
    /// The primary key to which it belongs.
    pub primary: Fingerprint,
}

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
    #[error("{0:?} is no fingerprint: write 40 or 64 hex digits")]
    Fingerprint(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    critical: Critical,
    #[serde(default)]
    optional: Option<Optional>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: Digest,
}

/// Here unknown keys are allowed.
#[derive(Serialize, Deserialize)]
struct Optional {
    creator: Option<String>,
    timestamp: Option<i64>,
}

impl Claim {
    /// The bytes to be signed now.
    pub fn to_bytes(&self) -> Vec<u8> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let written = Written {
            critical: Critical {
                identity: Identity { docker_reference: self.reference.clone() },
                image: Image { docker_manifest_digest: self.digest },
                kind: TYPE.to_owned(),
            },
            optional: Some(Optional {
                creator: Some(concat!("hod ", env!("CARGO_PKG_VERSION")).to_owned()),
                timestamp: i64::try_from(now.as_secs()).ok(),
            }),
        };
        serde_json::to_vec(&written).unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let written: Written = serde_json::from_slice(bytes).map_err(SignatureError::Claim)?;
        if written.critical.kind != TYPE {
            return Err(SignatureError::Type(written.critical.kind));
        }
        let Critical { identity, image, .. } = written.critical;
        Ok(Self { digest: image.docker_manifest_digest, reference: identity.docker_reference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_strictly() {
        let claim = Claim { digest: Digest::sha256(b"x"), reference: "r.example/a:1".to_owned() };
        let text = String::from_utf8(claim.to_bytes()).unwrap();
        assert_eq!(Claim::parse(text.as_bytes()).unwrap(), claim);
        for (from, to) in [
            ("\"critical\":{", "\"critical\":{\"limit\":1,"),
            ("\"identity\":{", "\"identity\":{\"x\":1,"),
            ("\"image\":{", "\"image\":{\"x\":1,"),
            ("{\"critical\"", "{\"more\":1,\"critical\""),
            ("sha256:", "sha256"),
            ("atomic container", "another"),
            ("\"creator\":\"", "\"creator\":1,\"c\":\""),
            ("\"timestamp\":", "\"timestamp\":\"x\",\"t\":"),
            ("\"type\":", "\"type\":\"x\",\"type\":"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Claim::parse(text.replace(from, to).as_bytes()).is_err(), "{to}");
        }
        let more = text.replace("\"optional\":{", "\"optional\":{\"anything\":[1],");
        assert_eq!(Claim::parse(more.as_bytes()).unwrap(), claim);
    }
}
