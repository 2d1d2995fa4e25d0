//! Content digests, in the strict form that registries accept.
//!
//! A digest that exists is well formed: the algorithm is known, the hex is lower case and has
//! the right length. It is `Copy` and holds no heap, since a run handles tens of thousands.

mod hasher;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use hasher::Hasher;

/// The hash functions of the OCI image specification that registries implement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, the one that every registry computes.
    Sha256,
    /// SHA-384, allowed by the registries' digest grammar.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Digest {
    /// The digest with this hash.
    pub fn of_sha256(hash: [u8; 32]) -> Self {
        let mut bytes = [0; 64];
        bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self { algorithm: Algorithm::Sha256, bytes }
    }

    /// The hash, where it is by SHA-256.
    pub fn sha256_bytes(&self) -> Option<[u8; 32]> {
        let hash = self.bytes.first_chunk::<32>()?;
        (self.algorithm == Algorithm::Sha256).then_some(*hash)
    }
}

impl Algorithm {
    /// All algorithms, in the order of their names.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of the hash in bytes; its hex form is twice as long.
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm of that name, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// The length of an algorithm's name with the colon, the same for all of them.
const PREFIX: usize = "sha256:".len();
/// The longest text of a digest.
const TEXT_LIMIT: usize = PREFIX + 128;

/// The digest of some content: `sha256:` and 64 hex digits, or one of its longer siblings.
///
/// The grammar is go-digest's, which the registries use: lower-case hex of the exact length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// The hash, followed by zeros where the algorithm's is shorter.
    bytes: [u8; 64],
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon between algorithm and hex.
    #[error("{0:?} is not a digest: expected sha256:<64 hex digits>")]
    Shape(String),
    /// The part before the colon is not an algorithm that registries accept.
    #[error("{0:?} is not a digest algorithm that registries accept: use sha256, sha384 or sha512")]
    Algorithm(String),
    /// The part after the colon has the wrong length or a character that is no lower-case hex digit.
    #[error("{text:?} is not a digest: {algorithm} needs exactly {expected} lower-case hex digits")]
    Hex {
        /// The text as given.
        text: String,
        /// The algorithm it named.
        algorithm: &'static str,
        /// How many digits that algorithm has.
        expected: usize,
    },
}

impl Digest {
    /// The hash function.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash as lower-case hex, without the algorithm.
    pub fn hex(&self) -> String {
        self.text_in(&mut [0; TEXT_LIMIT]).split_at(PREFIX).1.to_owned()
    }

    /// The length of its text, which is all ASCII.
    pub const fn text_length(&self) -> usize {
        PREFIX + self.algorithm.size() * 2
    }

    /// Its text, in memory that is there: headers, paths and requests are made of thousands of these.
    fn text_in<'a>(&self, memory: &'a mut [u8; TEXT_LIMIT]) -> &'a str {
        let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
        let (prefix, hex) = memory.split_at_mut(PREFIX);
        for (place, letter) in prefix.iter_mut().zip(self.algorithm.name().bytes().chain([b':'])) {
            *place = letter;
        }
        for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(self.bytes).take(self.algorithm.size()) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        let text = memory.get(..self.text_length()).map(std::str::from_utf8);
        text.and_then(Result::ok).unwrap_or_default()
    }

    /// The digest from an algorithm and its hex, as they stand in a path of a registry root.
    pub fn from_parts(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        let error = || DigestError::Hex {
            text: format!("{}:{hex}", algorithm.name()),
            algorithm: algorithm.name(),
            expected: algorithm.size() * 2,
        };
        if hex.len() != algorithm.size() * 2 {
            return Err(error());
        }
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 64];
        for (byte, [high, low]) in bytes.iter_mut().zip(hex.as_bytes().as_chunks().0) {
            let (Some(high), Some(low)) = (nibble(*high), nibble(*low)) else { return Err(error()) };
            *byte = high << 4 | low;
        }
        Ok(Self { algorithm, bytes })
    }

    /// The first twelve hex digits, enough for a person to tell digests apart.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text_in(&mut [0; TEXT_LIMIT]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or_else(|| DigestError::Shape(text.to_owned()))?;
        let algorithm = Algorithm::from_name(name).ok_or_else(|| DigestError::Algorithm(name.to_owned()))?;
        Self::from_parts(algorithm, hex)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text_in(&mut [0; TEXT_LIMIT]))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_digest_of_nothing() {
        let empty = Digest::sha256(b"");
        assert_eq!(empty.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(empty.to_string().parse(), Ok(empty));
        assert_eq!(empty.short(), "e3b0c44298fc");
    }

    #[test]
    fn reads_every_algorithm_back() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"brick");
            assert_eq!(digest.hex().len(), algorithm.size() * 2);
            assert_eq!(digest.to_string(), format!("{}:{}", algorithm.name(), digest.hex()));
            assert_eq!(digest.to_string().len(), digest.text_length());
            assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{digest}\""));
            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }

    #[test]
    fn refuses_what_registries_refuse() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in [
            String::new(),
            hex.to_owned(),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{hex}\n"),
            format!("sha256:{hex}00"),
            format!("sha512:{hex}"),
            format!("md5:{hex}"),
            format!("SHA256:{hex}"),
            "sha256:".to_owned(),
            format!("sha256:é{}", hex.get(2..).unwrap()),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?} was accepted");
        }
    }
}
