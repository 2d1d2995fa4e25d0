//! Signatures over the header of a bundle, in the format of minisign.
//!
//! What is signed are the bytes of `hod/bundle.json`, which decide all others. Texts of keys and
//! signatures come from media and are checked for form before any cryptography sees them.

use std::fmt;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::Header;
use super::error::TrustError;
use super::key_id::KeyId;
use hod_io::secret::Secret;

/// The longest text of a key that is read, in bytes.
pub const KEY_LIMIT: u64 = 4096;
/// The longest signature that is read, in bytes; comments are all that can be long.
const TEXT_LIMIT: usize = 16 * 1024;
/// Algorithm, key number, Ed25519 public key.
const PUBLIC_BYTES: usize = 2 + 8 + 32;
/// Three algorithms, salt, two limits, key number, secret and public key, checksum.
const SECRET_BYTES: usize = 6 + 32 + 16 + 8 + 64 + 32;
/// Algorithm, key number, Ed25519 signature.
const SIGNATURE_BYTES: usize = 2 + 8 + 64;
/// The Ed25519 signature over the first one and the trusted comment.
const GLOBAL_BYTES: usize = 64;
/// What a signature says that is signed by nobody; the number of the key follows.
const UNTRUSTED: &str = "signature from minisign secret key ";
/// The longest passphrase that minisign takes, in bytes.
const PASSPHRASE_LIMIT: usize = 1024;

/// A text that is no key, or a key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not the text of a public key.
    #[error("not a minisign public key")]
    Public,
    /// Not the text of a secret key.
    #[error("not a minisign secret key")]
    Secret,
    /// The key is encrypted, and there is no passphrase.
    #[error("the secret key is encrypted: a passphrase is required")]
    Locked,
    /// The passphrase does not open the key.
    #[error("wrong passphrase for the secret key")]
    Passphrase,
    /// A passphrase that minisign would refuse.
    #[error("a passphrase must have 1 to {PASSPHRASE_LIMIT} bytes")]
    Length,
    /// Making a key or a signature failed.
    #[error("cannot get random numbers from the system: {0}")]
    Random(String),
}

/// A key that signatures are checked with.
#[derive(Clone)]
pub struct PublicKey {
    key: minisign::PublicKey,
    id: KeyId,
}

impl PublicKey {
    /// Reads a public key: the two lines of a `.pub` file, or its second line alone.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let encoded = match lines.as_slice() {
            [key] => key,
            [comment, key] if comment.starts_with("untrusted comment:") => key,
            _ => return Err(KeyError::Public),
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::Public)?;
        if bytes.len() != PUBLIC_BYTES || !bytes.starts_with(b"Ed") {
            return Err(KeyError::Public);
        }
        let key = minisign::PublicKey::from_bytes(&bytes).map_err(|_| KeyError::Public)?;
        let id = key_id(&bytes).ok_or(KeyError::Public)?;
        Ok(Self { key, id })
    }

    /// The number of the key.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The text of a `.pub` file.
    pub fn to_text(&self) -> String {
        format!("untrusted comment: minisign public key {}\n{}\n", self.id, self.key.to_base64())
    }

    /// Returns true if a signature over these bytes was made with this key.
    fn accepts(&self, signature: &minisign::SignatureBox, signed: &[u8]) -> bool {
        minisign::verify(&self.key, signature, Cursor::new(signed), true, false, true).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

/// The length of the signature that any key makes over a header, in bytes.
pub fn signature_length(header: &Header) -> u64 {
    let untrusted = "untrusted comment: ".len() + UNTRUSTED.len() + 16;
    let trusted = "trusted comment: ".len() + comment(header).len();
    let encoded = |bytes: usize| bytes.div_ceil(3) * 4;
    // Four lines, each with its end.
    (untrusted + encoded(SIGNATURE_BYTES) + trusted + encoded(GLOBAL_BYTES) + 4) as u64
}

/// What is written and signed beside the header.
fn comment(header: &Header) -> String {
    format!("hod bundle {}", header.id())
}

/// A key that signs.
pub struct SigningKey {
    key: minisign::SecretKey,
    public: PublicKey,
}

impl SigningKey {
    /// Returns true if the text is that of a secret key that needs a passphrase.
    pub fn is_encrypted(text: &Secret) -> Result<bool, KeyError> {
        // The second algorithm is that of the passphrase: scrypt, or none.
        Ok(secret_bytes(text)?.get(2..4) != Some(&[0, 0]))
    }

    /// Reads a secret key.
    pub fn parse(text: &Secret, passphrase: Option<&Secret>) -> Result<Self, KeyError> {
        let key = match (Self::is_encrypted(text)?, passphrase) {
            // minisign leaves the checksum of a plain key empty, so there is none to compare.
            (false, _) => minisign::SecretKey::from_bytes(&secret_bytes(text)?).map_err(|_| KeyError::Secret)?,
            (true, None) => return Err(KeyError::Locked),
            (true, Some(passphrase)) => {
                let passphrase = checked(passphrase)?.to_owned();
                let key = minisign::SecretKeyBox::from(text.expose().to_owned());
                key.into_secret_key(Some(passphrase)).map_err(|_| KeyError::Passphrase)?
            }
        };
        Self::of(key)
    }

    fn of(key: minisign::SecretKey) -> Result<Self, KeyError> {
        let public = minisign::PublicKey::from_secret_key(&key).map_err(|_| KeyError::Secret)?;
        let id = key_id(&public.to_bytes()).ok_or(KeyError::Secret)?;
        Ok(Self { key, public: PublicKey { key: public, id } })
    }

    /// Makes a new key: the text of its file, encrypted where there is a passphrase, and its public half.
    pub fn generate(passphrase: Option<&Secret>) -> Result<(Secret, PublicKey), KeyError> {
        let random = |error: minisign::PError| KeyError::Random(error.to_string());
        let (pair, comment) = match passphrase {
            Some(passphrase) => {
                let passphrase = checked(passphrase)?.to_owned();
                let pair = minisign::KeyPair::generate_encrypted_keypair(Some(passphrase)).map_err(random)?;
                (pair, "minisign encrypted secret key")
            }
            None => {
                (minisign::KeyPair::generate_unencrypted_keypair().map_err(random)?, "minisign unencrypted secret key")
            }
        };
        let id = key_id(&pair.pk.to_bytes()).ok_or(KeyError::Public)?;
        let text = pair.sk.to_box(Some(comment)).map_err(random)?.into_string();
        Ok((Secret::new(text), PublicKey { key: pair.pk, id }))
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the header of a bundle: the bytes of the member `hod/bundle.json.minisig`.
    ///
    /// Each call gives other bytes, since Ed25519 is used with a random part as minisign's library does.
    pub fn sign(&self, header: &Header) -> Result<Vec<u8>, KeyError> {
        self.sign_bytes(&header.to_json(), &comment(header))
    }

    /// Signs any bytes; the comment is signed too.
    pub fn sign_bytes(&self, bytes: &[u8], comment: &str) -> Result<Vec<u8>, KeyError> {
        let untrusted = format!("{UNTRUSTED}{}", self.public.id);
        let signed =
            minisign::sign(Some(&self.public.key), &self.key, Cursor::new(bytes), Some(comment), Some(&untrusted));
        Ok(signed.map_err(|error| KeyError::Random(error.to_string()))?.into_string().into_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id)
    }
}

/// Whose bundles are wanted: by default anybody's, signed or not.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The keys of which one must have signed.
    keys: Option<Vec<PublicKey>>,
    /// A signature that lies beside the bundle.
    detached: Option<Vec<u8>>,
}

/// Who vouches for a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleSigner {
    /// The key.
    pub key: KeyId,
    /// What the signer has written, and signed too.
    pub comment: String,
}

impl Trust {
    /// Wants bundles that are signed with one of these keys.
    pub const fn keys(keys: Vec<PublicKey>) -> Self {
        Self { keys: Some(keys), detached: None }
    }

    /// The same, where a signature lies beside the bundle.
    #[must_use]
    pub fn with_signature(mut self, signature: Option<Vec<u8>>) -> Self {
        self.detached = signature;
        self
    }

    /// Checks the signature in a bundle over the bytes of its header, and the one beside it: one of them must be by a
    /// trusted key.
    ///
    /// `None` where everybody is trusted.
    pub fn check(&self, header: &[u8], embedded: Option<&[u8]>) -> Result<Option<BundleSigner>, TrustError> {
        let Some(keys) = &self.keys else { return Ok(None) };
        if keys.is_empty() {
            return Err(TrustError::NoKeys);
        }
        let numbers: Vec<String> = keys.iter().map(|key| key.id.to_string()).collect();
        let trusted = numbers.join(", ");
        let mut refused = None;
        for signature in embedded.into_iter().chain(self.detached.as_deref()) {
            match check_one(keys, signature, header, &trusted) {
                Ok(signed) => return Ok(Some(signed)),
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        Err(refused.unwrap_or(TrustError::Unsigned { trusted }))
    }
}

fn check_one(keys: &[PublicKey], signature: &[u8], signed: &[u8], trusted: &str) -> Result<BundleSigner, TrustError> {
    let (signature, key) = parse_signature(signature)?;
    let mut named = keys.iter().filter(|known| known.id == key).peekable();
    if named.peek().is_none() {
        return Err(TrustError::Unknown { key, trusted: trusted.to_owned() });
    }
    if !named.any(|known| known.accepts(&signature, signed)) {
        return Err(TrustError::Wrong { key });
    }
    Ok(BundleSigner { key, comment: signature.trusted_comment().unwrap_or_default() })
}

/// Reads a signature, whose form must be exactly that which minisign writes.
fn parse_signature(text: &[u8]) -> Result<(minisign::SignatureBox, KeyId), TrustError> {
    let damaged = TrustError::Damaged;
    if text.len() > TEXT_LIMIT {
        return Err(damaged("it is too long"));
    }
    let text = std::str::from_utf8(text).map_err(|_| damaged("it is not text"))?;
    let lines: Vec<&str> = text.lines().collect();
    let &[untrusted, encoded, trusted, global] = lines.as_slice() else {
        return Err(damaged("it does not have four lines"));
    };
    if !untrusted.starts_with("untrusted comment: ") || !trusted.starts_with("trusted comment: ") {
        return Err(damaged("its comments are missing"));
    }
    if text.contains(|character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t')) {
        return Err(damaged("it has control characters"));
    }
    let decode = |line: &str, length: usize| STANDARD.decode(line.trim()).ok().filter(|bytes| bytes.len() == length);
    let bytes = decode(encoded, SIGNATURE_BYTES).ok_or_else(|| damaged("its second line is not a signature"))?;
    decode(global, GLOBAL_BYTES).ok_or_else(|| damaged("its fourth line is not a signature"))?;
    let key = key_id(&bytes).ok_or_else(|| damaged("it names no key"))?;
    let signature =
        minisign::SignatureBox::from_string(text).map_err(|_| damaged("its algorithm or format is unknown"))?;
    Ok((signature, key))
}

/// The number of the key, which follows the algorithm in keys and signatures.
fn key_id(bytes: &[u8]) -> Option<KeyId> {
    bytes.get(2..10)?.try_into().ok().map(KeyId)
}

fn secret_bytes(text: &Secret) -> Result<Vec<u8>, KeyError> {
    let encoded = text.expose().lines().nth(1).unwrap_or_default();
    let bytes = STANDARD.decode(encoded.trim()).map_err(|_| KeyError::Secret)?;
    if bytes.len() == SECRET_BYTES && bytes.starts_with(b"Ed") { Ok(bytes) } else { Err(KeyError::Secret) }
}

fn checked(passphrase: &Secret) -> Result<&str, KeyError> {
    let text = passphrase.expose();
    if text.is_empty() || text.len() > PASSPHRASE_LIMIT { Err(KeyError::Length) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::super::Contents;
    use super::*;

    fn header(mtime: u64) -> Header {
        Header::new(Contents { mtime, ..Contents::default() }).unwrap()
    }

    fn pair() -> (SigningKey, PublicKey) {
        let (text, public) = SigningKey::generate(None).unwrap();
        (SigningKey::parse(&text, None).unwrap(), public)
    }

    fn check(keys: &[&PublicKey], header: &Header, signatures: &[&[u8]]) -> Result<Option<BundleSigner>, TrustError> {
        let trust = Trust::keys(keys.iter().map(|key| (*key).clone()).collect());
        let detached = signatures.get(1).map(|signature| signature.to_vec());
        trust.with_signature(detached).check(&header.to_json(), signatures.first().copied())
    }

    #[test]
    fn only_trusted_keys_count() {
        let ((ours, public), (theirs, other)) = (pair(), pair());
        let signature = ours.sign(&header(1)).unwrap();
        let signed = check(&[&other, &public], &header(1), &[&signature]).unwrap().unwrap();
        assert_eq!((signed.key, signed.comment), (public.id(), format!("hod bundle {}", header(1).id())));
        assert!(matches!(check(&[&public], &header(2), &[&signature]), Err(TrustError::Wrong { .. })));
        assert!(matches!(check(&[&other], &header(1), &[&signature]), Err(TrustError::Unknown { .. })));
        assert!(matches!(check(&[&public], &header(1), &[]), Err(TrustError::Unsigned { .. })));
        assert_eq!(check(&[], &header(1), &[&signature]), Err(TrustError::NoKeys));
        assert_eq!(Trust::default().check(&header(1).to_json(), None), Ok(None));
        let resigned = theirs.sign(&header(1)).unwrap();
        assert!(check(&[&public], &header(1), &[&resigned]).is_err());
        assert!(check(&[&public], &header(1), &[&resigned, &signature]).is_ok());
    }

    #[test]
    fn a_key_of_the_same_number_is_no_match() {
        let ((ours, public), (_, other)) = (pair(), pair());
        let signature = ours.sign(&header(1)).unwrap();
        let forged = PublicKey { id: public.id(), ..other };
        assert!(matches!(check(&[&forged], &header(1), &[&signature]), Err(TrustError::Wrong { .. })));
        assert!(check(&[&forged, &public], &header(1), &[&signature]).is_ok());
    }

    #[test]
    fn passphrases_open_keys() {
        let passphrase = Secret::new("correct horse");
        let (text, public) = SigningKey::generate(Some(&passphrase)).unwrap();
        assert!(SigningKey::is_encrypted(&text).unwrap());
        assert!(matches!(SigningKey::parse(&text, None), Err(KeyError::Locked)));
        assert!(matches!(SigningKey::parse(&text, Some(&Secret::new("battery"))), Err(KeyError::Passphrase)));
        assert!(matches!(SigningKey::parse(&text, Some(&Secret::new(""))), Err(KeyError::Length)));
        let key = SigningKey::parse(&text, Some(&passphrase)).unwrap();
        assert_eq!(key.public().id(), public.id());
        assert!(!format!("{key:?} {text:?}").contains("correct"));
        assert_eq!(PublicKey::parse(&public.to_text()).unwrap().id(), public.id());
    }

    #[test]
    fn texts_that_are_no_keys() {
        let (_, public) = pair();
        let text = public.to_text();
        let line = text.lines().nth(1).unwrap();
        assert!(PublicKey::parse(line).is_ok());
        for bad in
            ["", "x", &line[..54], &format!("{line}\n{line}"), &format!("a\n{line}"), &line.replacen('R', "S", 1)]
        {
            assert!(PublicKey::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for bad in ["", "a\nb", &text] {
            assert!(SigningKey::is_encrypted(&Secret::new(bad)).is_err(), "{bad:?} was accepted");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_change_of_a_signature_is_accepted(at in 0_usize..400, byte: u8) {
            let ((ours, public), header) = (pair(), header(1));
            let mut signature = ours.sign(&header).unwrap();
            // The first line is not signed, and says so.
            let start = signature.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let at = start + at % (signature.len() - start - 1);
            proptest::prop_assume!(signature[at] != byte);
            let blank = |byte: u8| byte.is_ascii_whitespace();
            proptest::prop_assume!(!blank(signature[at]) && !blank(byte));
            signature[at] = byte;
            proptest::prop_assert!(check(&[&public], &header, &[&signature]).is_err());
        }

        #[test]
        fn no_cut_signature_is_accepted(length in 0_usize..400) {
            let ((ours, public), header) = (pair(), header(1));
            let signature = ours.sign(&header).unwrap();
            let cut = &signature[..length % (signature.len() - 1)];
            proptest::prop_assert!(check(&[&public], &header, &[cut]).is_err());
        }

        #[test]
        fn garbage_is_refused_and_never_panics(lines in proptest::collection::vec("[A-Za-z0-9+/=: ]{0,120}", 0..6)) {
            let (_, public) = pair();
            let text = lines.join("\n");
            proptest::prop_assert!(check(&[&public], &header(1), &[text.as_bytes()]).is_err());
            let _ = PublicKey::parse(&text);
            let _ = SigningKey::parse(&Secret::new(text), Some(&Secret::new("x")));
        }
    }
}
