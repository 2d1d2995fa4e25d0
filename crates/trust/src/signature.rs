//! Signatures of the containers tools: `OpenPGP` messages that bind a digest to a name.
//!
//! The claim is JSON (containers-signature(5)); every key of it that is not known is an error, since it may have been
//! meant to limit what is signed. A claim is worth nothing before its signature was verified, so only [`verify`] gives
//! one out. Who may sign what is the policy's business.

mod error;
mod fingerprint;
mod key_file;
mod key_name;
mod keys;
mod message;
#[cfg(test)]
mod testing;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use error::SignatureError;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use key_name::NamedKey;
pub use keys::{PublicKeys, SecretKeys};
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
pub struct SignedClaim {
    /// What was signed.
    pub claim: Claim,
    /// The key that signed, which may be a subkey.
    pub signer: Fingerprint,
    /// The primary key to which it belongs.
    pub primary: Fingerprint,
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
