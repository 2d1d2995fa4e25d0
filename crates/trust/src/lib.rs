//! Trust in images: `policy.json`, and the signatures of the containers tools.
//!
//! Sources: containers-policy.json(5), containers-registries.d(5), containers-signature(5), RFC 9580.
//!
//! * **For**: ruling on an image by its name and digest before it is taken, and making signatures that skopeo and podman check.
//! * **Must stay true**: a claim is given out only after its signature was verified. What a policy says and this crate does not
//!   understand is an error, never a permission.
//! * **Does not**: fetch signatures or images; bundles have signatures of their own kind, in `hod-bundle`.
//!
//! ```
//! use hod_trust::policy::{Policy, Requirement, Subject};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = br#"{"default": [{"type": "reject"}],
//!     "transports": {"docker": {"quay.io/coreos": [{"type": "insecureAcceptAnything"}]}}}"#;
//! let policy = Policy::parse("policy.json".as_ref(), text)?;
//! let subject = |scope: &str| Subject { transport: "docker", scopes: vec![scope.to_owned()] };
//! assert!(matches!(policy.ruling(&subject("quay.io/coreos")).requirements, [Requirement::Accept]));
//! assert!(matches!(policy.ruling(&subject("quay.io/other")).requirements, [Requirement::Reject]));
//! # Ok(())
//! # }
//! ```

pub mod policy;
pub mod signature;
