//! Errors of trust policies, and of signatures of images.

use super::advice::without_advice;
use super::{Advice, Advise, endpoint};
use hod_image::admission::AdmissionError;
use hod_image::signing::SigningError;
use hod_trust::policy::PolicyError;
use hod_trust::signature::{FingerprintError, SignatureError};

impl Advise for AdmissionError {
    fn advice(&self) -> Advice {
        match self {
            Self::Keys { source, .. } => source.advice(),
            Self::NoKeys { source, .. } => source.advice(),
            Self::Signatures { source, .. } => source.advice(),
            Self::Rejected { .. } | Self::Unsigned { .. } | Self::Sigstore { .. } | Self::NotSigned { .. } => {
                Advice::NONE
            }
        }
    }
}

impl Advise for SigningError {
    fn advice(&self) -> Advice {
        match self {
            Self::Sign { source, .. } => endpoint::of_cause(&**source),
            Self::Identity(_) | Self::NoIdentity(_) | Self::NoRoom(_) | Self::NoLookaside(_) | Self::Thread(_) => {
                Advice::NONE
            }
        }
    }
}

impl Advise for PolicyError {
    fn advice(&self) -> Advice {
        match self {
            Self::Read(error) => error.advice(),
            Self::Syntax { .. } | Self::Invalid { .. } => Advice::NONE,
        }
    }
}

without_advice! {
    SignatureError {
        NoKeys, KeyFile, NoKey, Key, Passphrase, Message, Unknown, Invalid, Claim, Type, Fingerprint,
    }
}

without_advice! { FingerprintError }
