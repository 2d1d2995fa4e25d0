//! The fingerprint of a key.

use std::fmt;
use std::str::FromStr;

/// The fingerprint of a key, as hex digits in capitals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a fingerprint: write 40 or 64 hex digits")]
pub struct FingerprintError(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = text.replace(' ', "").to_ascii_uppercase();
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_hex && matches!(digits.len(), 40 | 64) {
            Ok(Self(digits))
        } else {
            Err(FingerprintError(text.to_owned()))
        }
    }
}

impl From<pgp::types::Fingerprint> for Fingerprint {
    fn from(found: pgp::types::Fingerprint) -> Self {
        Self(found.to_string().to_ascii_uppercase())
    }
}
