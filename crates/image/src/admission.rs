//! Applies the machine's trust policy to an image, before anything is copied.
//!
//! Names are ruled on at once; signatures when the manifests are known. What cannot be verified is refused. Only
//! sources are asked about, never destinations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hod_engine::endpoint::{EndpointError, Source};
use hod_oci::{DOCKER_IO, Digest, Graph, Reference, Version};
use hod_transport::{DaemonImage, Location};
use hod_trust::policy::{KeySource, Policy, Requirement, SignedBy, Subject, docker_scopes};
use hod_trust::signature::{self, PublicKeys, SignatureError};

/// A policy, and how strictly it is taken.
#[derive(Debug, Clone)]
pub struct Admission {
    policy: Arc<Policy>,
    /// True if an image needs a signature, whatever the policy says.
    require_signed: bool,
}

/// The errors of an image that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The policy says so.
    #[error("{image} is refused by the trust policy {path} ({scope})")]
    Rejected {
        /// The image.
        image: String,
        /// The policy's file.
        path: PathBuf,
        /// The part of the policy that says so.
        scope: String,
    },
    /// A signature is wanted and the policy asks for none.
    #[error("{image} is refused: a signature is required, but the trust policy {path} names no key ({scope})")]
    Unsigned {
        /// The image.
        image: String,
        /// The policy's file.
        path: PathBuf,
        /// The part of the policy that counts.
        scope: String,
    },
    /// A kind of signature that is not verified here.
    #[error(
        "{image} is refused: the trust policy {path} requires a sigstore signature ({scope}), which hod cannot verify"
    )]
    Sigstore {
        /// The image.
        image: String,
        /// The policy's file.
        path: PathBuf,
        /// The part of the policy that says so.
        scope: String,
    },
    /// The keys cannot be read.
    #[error("cannot read the keys that the trust policy {path} names")]
    Keys {
        /// The policy's file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The keys are none.
    #[error("cannot use the keys that the trust policy {path} names")]
    NoKeys {
        /// The policy's file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: SignatureError,
    },
    /// The signatures cannot be had.
    #[error("cannot get the signatures of {image}")]
    Signatures {
        /// The image.
        image: String,
        /// The reason.
        #[source]
        source: EndpointError,
    },
    /// No signature that counts.
    #[error("{image} is refused by the trust policy {path}: {manifest} has {problem}")]
    NotSigned {
        /// The image.
        image: String,
        /// The policy's file.
        path: PathBuf,
        /// The manifest.
        manifest: Box<Digest>,
        /// The signatures that it has instead.
        problem: String,
    },
}

/// What an image still has to show once its manifests are known.
#[derive(Debug, Clone)]
pub struct PendingAdmission {
    image: String,
    reference: Option<Reference>,
    path: PathBuf,
    required: Vec<SignedBy>,
}

impl Admission {
    /// Admits what the policy accepts.
    pub fn new(policy: Policy) -> Self {
        Self { policy: Arc::new(policy), require_signed: false }
    }

    /// The same, which refuses images without a signature even if the policy accepts them.
    #[must_use]
    pub fn of_signed(self) -> Self {
        Self { require_signed: true, ..self }
    }

    /// Rules on the name of an image; what is returned is to be asked about its manifests.
    pub fn rule(&self, location: &Location) -> Result<PendingAdmission, AdmissionError> {
        let ruling = self.policy.ruling(&subject(location));
        let (image, path) = (location.to_string(), ruling.path.to_owned());
        let scope = ruling
            .scope
            .map_or_else(|| "default rule".to_owned(), |scope| format!("rule for {}:{scope}", location.transport()));
        let mut required = Vec::new();
        for requirement in ruling.requirements {
            match requirement {
                Requirement::Accept => {}
                Requirement::Reject => return Err(AdmissionError::Rejected { image, path, scope }),
                Requirement::SigstoreSigned => return Err(AdmissionError::Sigstore { image, path, scope }),
                Requirement::SignedBy(signed) => required.push(signed.clone()),
            }
        }
        if required.is_empty() && self.require_signed {
            return Err(AdmissionError::Unsigned { image, path, scope });
        }
        let reference = match location {
            Location::Docker(reference) => Some(reference.clone()),
            _ => None,
        };
        Ok(PendingAdmission { image, reference, path, required })
    }
}

impl PendingAdmission {
    /// Checks the manifests of an image, each by signatures of its own, as the containers tools do.
    pub async fn check(&self, source: &dyn Source, graph: &Graph) -> Result<(), AdmissionError> {
        if self.required.is_empty() {
            return Ok(());
        }
        let mut wanted = Vec::with_capacity(self.required.len());
        for signed in &self.required {
            wanted.push((keys(&signed.keys, &self.path)?, &signed.identity));
        }
        for node in graph.manifests() {
            let manifest = node.descriptor.digest;
            let signatures = source.signatures(&manifest).await;
            let signatures =
                signatures.map_err(|source| AdmissionError::Signatures { image: self.image.clone(), source })?;
            for (keys, identity) in &wanted {
                let mut problems = Vec::new();
                let accepted = signatures.iter().any(|signature| match signature::verify(signature, keys) {
                    Ok(signed) if signed.claim.digest != manifest => {
                        problems.push(format!("a signature for {}", signed.claim.digest));
                        false
                    }
                    Ok(signed) if !identity.fits(self.reference.as_ref(), &signed.claim.reference) => {
                        problems.push(format!("a signature for the name {}", signed.claim.reference));
                        false
                    }
                    Ok(_) => true,
                    Err(error) => {
                        problems.push(format!("an invalid signature: {error}"));
                        false
                    }
                });
                if !accepted {
                    let problem = if problems.is_empty() { "no signature".to_owned() } else { problems.join("; ") };
                    let (image, path) = (self.image.clone(), self.path.clone());
                    return Err(AdmissionError::NotSigned { image, path, manifest: Box::new(manifest), problem });
                }
            }
        }
        Ok(())
    }
}

fn keys(sources: &[KeySource], path: &Path) -> Result<PublicKeys, AdmissionError> {
    let mut keys = PublicKeys::default();
    for source in sources {
        let (name, bytes) = match source {
            KeySource::File(file) => {
                let bytes = fs_err::read(file);
                (
                    file.display().to_string(),
                    bytes.map_err(|source| AdmissionError::Keys { path: path.to_owned(), source })?,
                )
            }
            KeySource::Data(data) => ("keyData".to_owned(), data.clone()),
        };
        keys.add(&bytes, &name).map_err(|source| AdmissionError::NoKeys { path: path.to_owned(), source })?;
    }
    Ok(keys)
}

/// An image as policies know it. Archives of `docker save` have names that anybody could write, and ids and files have
/// none, so only the transport counts for them.
fn subject(location: &Location) -> Subject {
    let scopes = match location {
        Location::Docker(reference) | Location::DockerDaemon(DaemonImage::Name(reference)) => {
            // A line of a lock has both, and the policy may have been written for either.
            let digest = reference.digest.map(Version::Digest);
            let versions: Vec<Version> = digest.into_iter().chain(reference.stored_tag().map(Version::Tag)).collect();
            docker_scopes(reference.host.as_deref().unwrap_or(DOCKER_IO), &reference.name, &versions)
        }
        Location::Dir(path)
        | Location::Oci(path, _)
        | Location::OciArchive(path, _)
        | Location::Store(path, _)
        | Location::Bundle(path, _) => path_scopes(path),
        Location::DockerArchive(..)
        | Location::DockerDaemon(DaemonImage::Id(_))
        | Location::ContainersStorage(_)
        | Location::Tarball(_) => Vec::new(),
    };
    Subject { transport: location.transport(), scopes }
}

/// A path without symbolic links, then the folders above it.
fn path_scopes(path: &Path) -> Vec<String> {
    let whole = path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    whole.ancestors().filter(|above| above.parent().is_some()).map(|above| above.display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(location: &str) -> String {
        let found = subject(&location.parse().unwrap());
        format!("{} {}", found.transport, found.scopes.join(" "))
    }

    #[test]
    fn a_tag_beside_a_digest_is_a_scope_too() {
        let digest = Digest::sha256(b"");
        let rule = |scope: &str, image: &str| {
            let accept = r#"[{"type":"insecureAcceptAnything"}]"#;
            let text =
                format!(r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker":{{"{scope}":{accept}}}}}}}"#);
            let policy = Policy::parse(Path::new("policy.json"), text.as_bytes()).unwrap();
            Admission::new(policy).rule(&Location::Docker(image.parse().unwrap())).is_ok()
        };
        let (tagged, pinned) = ("r.example/web:1.0".to_owned(), format!("r.example/web@{digest}"));
        let locked = format!("{tagged}@{digest}");
        assert!(rule(&tagged, &locked) && rule(&pinned, &locked));
        assert!(!rule("r.example/web:1.1", &locked) && !rule(&tagged, &pinned) && !rule(&pinned, &tagged));
    }

    #[test]
    fn images_have_scopes() {
        assert_eq!(
            scopes("docker://a.b.example:5000/x/y:1"),
            "docker a.b.example:5000/x/y:1 a.b.example:5000/x/y a.b.example:5000/x a.b.example:5000 *.b.example *.example"
        );
        assert_eq!(
            scopes("docker://alpine"),
            "docker docker.io/library/alpine:latest docker.io/library/alpine docker.io/library docker.io *.io"
        );
        assert_eq!(scopes("dir:/nowhere/a/b"), "dir /nowhere/a/b /nowhere/a /nowhere");
        assert_eq!(scopes("oci:/nowhere/a:b"), "oci /nowhere/a /nowhere");
        assert_eq!(scopes("docker-archive:/nowhere/a:b:1"), "docker-archive ");
    }
}
