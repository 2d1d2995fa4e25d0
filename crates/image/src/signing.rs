//! Signs copied images, for the trust policies of the containers tools.
//!
//! Whoever gives the key decides how it signs: with a file, or by another program. Each manifest that is copied gets a
//! signature of its own, since each is asked for one by itself.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use hod_oci::{DOCKER_IO, Digest, Reference};
use hod_transport::Location;
use hod_trust::signature::Claim;

/// Makes a signature of a claim. May block, and is called on threads that may.
pub type Sign = dyn Fn(&Claim) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> + Send + Sync;

/// The errors of signing.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A name that says too little.
    #[error("{0:?} is not a valid name to sign: write the full name, such as registry.site:5000/web:1.0")]
    Identity(String),
    /// A place that gives images no names.
    #[error("{0} has no name to sign: give one with --sign-identity")]
    NoIdentity(Box<Location>),
    /// A place without room.
    #[error("{0} cannot store signatures: use dir: or a registry with a lookaside")]
    NoRoom(Box<Location>),
    /// A registry whose lookaside is not configured, or not on this machine.
    #[error(
        "no directory is configured for the signatures of {0}: set lookaside-staging to a directory in registries.d"
    )]
    NoLookaside(Box<Location>),
    /// The key did not sign.
    #[error("cannot sign {digest} for {reference}")]
    Sign {
        /// The manifest.
        digest: Digest,
        /// The name.
        reference: String,
        /// The reason.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A thread died, which is a defect of hod.
    #[error("a thread of hod ended unexpectedly")]
    Thread(#[source] tokio::task::JoinError),
}

/// The signer.
#[derive(Clone)]
pub struct Signing {
    sign: Arc<Sign>,
    identity: Option<String>,
}

impl Signing {
    /// Signatures for the names that images get, or for `identity` whatever they are called.
    pub fn new(sign: Arc<Sign>, identity: Option<String>) -> Result<Self, SigningError> {
        if let Some(name) = &identity {
            let reference = name.parse::<Reference>().ok();
            let is_full = |it: &Reference| it.host.is_some() && (it.tag.is_some() || it.digest.is_some());
            if !reference.as_ref().is_some_and(is_full) {
                return Err(SigningError::Identity(name.clone()));
            }
        }
        Ok(Self { sign, identity })
    }

    /// Signatures for one image, which goes to that place.
    pub(super) fn of(&self, location: &Location) -> Result<SignAs, SigningError> {
        let own = match location {
            // The containers tools take a tag or a digest, and signatures are compared with the tag.
            Location::Docker(reference) => reference.qualified(DOCKER_IO).ok().map(|reference| {
                let digest = if reference.tag.is_some() { None } else { reference.digest };
                Reference { digest, ..reference }.to_string()
            }),
            Location::Dir(_) => None,
            _ => return Err(SigningError::NoRoom(Box::new(location.clone()))),
        };
        let reference = self.identity.clone().or(own);
        let reference = reference.ok_or_else(|| SigningError::NoIdentity(Box::new(location.clone())))?;
        Ok(SignAs { sign: self.sign.clone(), reference })
    }
}

/// Who signs, and for which name.
#[derive(Clone)]
pub struct SignAs {
    sign: Arc<Sign>,
    reference: String,
}

impl SignAs {
    /// A signature of a manifest.
    pub(super) async fn sign(&self, digest: Digest) -> Result<Bytes, SigningError> {
        let (sign, reference) = (self.sign.clone(), self.reference.clone());
        let claim = Claim { digest, reference: reference.clone() };
        let made = tokio::task::spawn_blocking(move || sign(&claim)).await.map_err(SigningError::Thread)?;
        made.map(Bytes::from).map_err(|source| SigningError::Sign { digest, reference, source })
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl fmt::Debug for SignAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignAs").field("reference", &self.reference).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_signed_in_full() {
        let sign: Arc<Sign> = Arc::new(|claim| Ok(claim.reference.clone().into_bytes()));
        let signing = |identity: Option<&str>| Signing::new(sign.clone(), identity.map(str::to_owned));
        for bad in ["web:1.0", "r.example/web", "", "r.example/Web:1"] {
            assert!(matches!(signing(Some(bad)), Err(SigningError::Identity(_))), "{bad}");
        }
        let name = |identity: Option<&str>, location: &str| {
            signing(identity).unwrap().of(&location.parse().unwrap()).map(|signs| signs.reference)
        };
        assert_eq!(name(None, "docker://r.example/web").unwrap(), "r.example/web:latest");
        assert_eq!(name(None, "docker://web:1").unwrap(), "docker.io/library/web:1");
        let hash = Digest::sha256(b"");
        assert_eq!(name(None, &format!("docker://r.example/web:1@{hash}")).unwrap(), "r.example/web:1");
        assert_eq!(name(None, &format!("docker://r.example/web@{hash}")).unwrap(), format!("r.example/web@{hash}"));
        assert_eq!(name(Some("r.example/x:1"), "docker://web:1").unwrap(), "r.example/x:1");
        assert_eq!(name(Some("r.example/x:1"), "dir:x").unwrap(), "r.example/x:1");
        assert!(matches!(name(None, "dir:x"), Err(SigningError::NoIdentity(_))));
        assert!(matches!(name(Some("r.example/x:1"), "oci:x"), Err(SigningError::NoRoom(_))));
    }
}
