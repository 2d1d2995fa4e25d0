//! Parses files with `OpenPGP` keys completely.
//!
//! What is passed over may be the revocation of what is not, so a file that is not understood whole is refused.

use std::io::Read as _;

use pgp::armor::{BlockType, Dearmor};
use pgp::composed::{PublicOrSecret, SignedPublicKeyParser, SignedSecretKeyParser};
use pgp::errors::Error;
use pgp::packet::{Packet, PacketParser, PacketTrait as _, Signature, SignatureType};
use pgp::types::Tag;

use super::SignatureError;

/// What armored blocks begin and end with.
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The keys in a file as gpg exports them, in binary form or as text, however many blocks there are. A revocation
/// certificate counts wherever it was added. `name` is for messages.
pub(super) fn read(bytes: &[u8], name: &str) -> Result<Vec<PublicOrSecret>, SignatureError> {
    let keys = keys(bytes).map_err(|problem| SignatureError::KeyFile { name: name.to_owned(), problem })?;
    if keys.is_empty() { Err(SignatureError::NoKeys(name.to_owned())) } else { Ok(keys) }
}

fn keys(bytes: &[u8]) -> Result<Vec<PublicOrSecret>, String> {
    let mut keys: Vec<Vec<Packet>> = Vec::new();
    let mut revocations = Vec::new();
    for block in blocks(bytes)? {
        let mut is_begun = false;
        for packet in packets(&block)? {
            if matches!(packet, Packet::PublicKey(_) | Packet::SecretKey(_)) {
                keys.push(vec![packet]);
                is_begun = true;
                continue;
            }
            match (packet, keys.last_mut().filter(|_| is_begun)) {
                (Packet::Signature(signature), key)
                    if is_revocation(&signature) && !key.as_ref().is_some_and(|key| is_before_users(key)) =>
                {
                    revocations.push(signature);
                }
                (packet, Some(key)) => key.push(packet),
                (packet, None) => return Err(format!("{} appears before any key", described(packet.tag()))),
            }
        }
    }
    let mut keys: Vec<PublicOrSecret> = keys.into_iter().map(key).collect::<Result<_, _>>()?;
    for revocation in revocations {
        revoke(&mut keys, &revocation)?;
    }
    Ok(keys)
}

/// The bytes of a binary file, or of each armored block of a text.
fn blocks(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return Ok(vec![bytes.to_vec()]);
    }
    let text = String::from_utf8_lossy(bytes);
    let (mut rest, mut blocks) = (&*text, Vec::new());
    while let Some((outside, begun)) = rest.split_once(BEGIN) {
        let (body, ended) = begun.split_once(END).ok_or("its last block has no end")?;
        let (kind, after) = ended.split_once(DASHES).ok_or("its last block has no end")?;
        if !is_text(outside) {
            return Err("it has data other than text between its blocks".to_owned());
        }
        blocks.push(block(&format!("{BEGIN}{body}{END}{kind}{DASHES}\n"))?);
        rest = after;
    }
    if !blocks.is_empty() && !is_text(rest) {
        return Err("it has data other than text after its blocks".to_owned());
    }
    Ok(blocks)
}

/// Returns true if there are only words between blocks, such as what gpg says of a key. Binary keys are none.
fn is_text(text: &str) -> bool {
    text.chars().all(|c| c != char::REPLACEMENT_CHARACTER && (c.is_whitespace() || !c.is_control()))
}

fn block(text: &str) -> Result<Vec<u8>, String> {
    const DAMAGED: &str = "a block of it is damaged or cut off";
    let mut dearmor = Dearmor::new(text.as_bytes());
    dearmor.read_header().map_err(|_| DAMAGED)?;
    match dearmor.typ {
        Some(BlockType::PublicKey | BlockType::PrivateKey | BlockType::File) => {}
        Some(other) => return Err(format!("it has a block of another type ({other})")),
        None => return Err("it has a block without a type".to_owned()),
    }
    let mut bytes = Vec::new();
    dearmor.read_to_end(&mut bytes).map_err(|_| DAMAGED)?;
    Ok(bytes)
}

/// The packets of a block, without those that say nothing of keys.
fn packets(block: &[u8]) -> Result<Vec<Packet>, String> {
    let (mut parser, mut packets) = (PacketParser::new(block), Vec::new());
    while let Some(body) = parser.next_ref() {
        let mut body = body.map_err(|error| format!("it is cut off or damaged: {error}"))?;
        let header = body.packet_header();
        match Packet::from_reader(header, &mut body) {
            Ok(Packet::Marker(_) | Packet::Padding(_) | Packet::Trust(_)) => {}
            Ok(packet) => packets.push(packet),
            // A key may have parts of a later time, such as subkeys that encrypt in a new way.
            Err(error) if is_unsupported(&error) && !matches!(header.tag(), Tag::PublicKey | Tag::SecretKey) => {}
            Err(error) => return Err(format!("{} cannot be read: {}", described(header.tag()), plain(&error))),
        }
    }
    Ok(packets)
}

/// What is wrong, without the marks for programmers around it.
fn plain(error: &Error) -> String {
    match error {
        Error::InvalidPacketContent { source } => source.to_string(),
        error => error.to_string(),
    }
}

fn is_unsupported(error: &Error) -> bool {
    match error {
        Error::Unsupported { .. } => true,
        Error::InvalidPacketContent { source } => matches!(**source, Error::Unsupported { .. }),
        _ => false,
    }
}

fn described(tag: Tag) -> String {
    format!("a packet of type {tag:?}")
}

fn is_revocation(signature: &Signature) -> bool {
    signature.typ() == Some(SignatureType::KeyRevocation)
}

/// Whether all that is there of a key yet is itself and signatures of it, among which revocations have their place.
fn is_before_users(key: &[Packet]) -> bool {
    key.iter().skip(1).all(|packet| matches!(packet, Packet::Signature(_)))
}

/// A key of its packets, each of which must have a place in it.
fn key(packets: Vec<Packet>) -> Result<PublicOrSecret, String> {
    let is_secret = matches!(packets.first(), Some(Packet::SecretKey(_)));
    let packets = packets.into_iter().map(Ok).peekable();
    let (key, mut rest) = if is_secret {
        let mut parser = SignedSecretKeyParser::from_packets(packets);
        (parser.next().map(|key| key.map(PublicOrSecret::Secret)), parser.into_inner())
    } else {
        let mut parser = SignedPublicKeyParser::from_packets(packets);
        (parser.next().map(|key| key.map(PublicOrSecret::Public)), parser.into_inner())
    };
    let key = key.ok_or("it has a truncated key")?.map_err(|error| format!("a key cannot be read: {error}"))?;
    match rest.next() {
        None => Ok(key),
        Some(Ok(packet)) => Err(format!("{} appears where it is not allowed", described(packet.tag()))),
        Some(Err(error)) => Err(format!("a key cannot be read: {error}")),
    }
}

/// Revokes the keys that a revocation is for.
fn revoke(keys: &mut [PublicOrSecret], revocation: &Signature) -> Result<(), String> {
    let mut is_used = false;
    for key in keys {
        let (primary, details) = match key {
            PublicOrSecret::Public(key) => (&key.primary_key, &mut key.details),
            PublicOrSecret::Secret(key) => (key.primary_key.public_key(), &mut key.details),
        };
        if revocation.verify_key(primary).is_ok() {
            details.revocation_signatures.push(revocation.clone());
            is_used = true;
        }
    }
    if is_used { Ok(()) } else { Err("it has a revocation of a key that it does not contain".to_owned()) }
}

#[cfg(test)]
mod tests {
    use pgp::armor;
    use pgp::ser::Serialize;

    use super::super::testing::{key, public, revocation};
    use super::*;

    fn armored(kind: BlockType, packets: &impl Serialize) -> Vec<u8> {
        let mut text = Vec::new();
        armor::write(packets, kind, &mut text, None, true).unwrap();
        text
    }

    fn bytes(of: &impl Serialize) -> Vec<u8> {
        of.to_bytes().unwrap()
    }

    /// A signature as a packet.
    fn packet(signature: &Signature) -> Vec<u8> {
        let mut bytes = Vec::new();
        signature.to_writer_with_header(&mut bytes).unwrap();
        bytes
    }

    struct Raw(Vec<u8>);

    impl Serialize for Raw {
        fn to_writer<W: std::io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
            writer.write_all(&self.0)?;
            Ok(())
        }

        fn write_len(&self) -> usize {
            self.0.len()
        }
    }

    /// How many keys there are, and how many revocations of them.
    fn counts(file: &[u8]) -> Result<(usize, usize), String> {
        let keys = read(file, "keys").map_err(|error| error.to_string())?;
        let revocations = |key: &PublicOrSecret| match key {
            PublicOrSecret::Public(key) => key.details.revocation_signatures.len(),
            PublicOrSecret::Secret(key) => key.details.revocation_signatures.len(),
        };
        Ok((keys.len(), keys.iter().map(revocations).sum()))
    }

    #[test]
    fn all_of_a_file_is_read() {
        let (a, b) = (key(), key());
        let (first, second) = (public(&a), public(&b));
        let revocation = packet(&revocation(&b));
        let [one, two] = [&first, &second].map(|key| armored(BlockType::PublicKey, key));
        let certificate = armored(BlockType::PublicKey, &Raw(revocation.clone()));
        let unended = two.trim_ascii_end().to_vec();
        for (file, found) in [
            (one.clone(), (1, 0)),
            ([&one[..], &two[..]].concat(), (2, 0)),
            ([&unended[..], &one[..]].concat(), (2, 0)),
            ([b"pub ed25519\r\n\n", &one[..], b"and another\n", &two[..], b"\nthe end"].concat(), (2, 0)),
            ([bytes(&first), bytes(&second)].concat(), (2, 0)),
            ([&two[..], &certificate[..]].concat(), (1, 1)),
            ([&certificate[..], &two[..]].concat(), (1, 1)),
            ([&two[..], &one[..], &certificate[..]].concat(), (2, 1)),
            ([&two[..], &two[..], &certificate[..]].concat(), (2, 2)),
            ([bytes(&second), revocation.clone()].concat(), (1, 1)),
            ([bytes(&second), bytes(&first), revocation.clone()].concat(), (2, 1)),
            ([armored(BlockType::PrivateKey, &b), certificate.clone()].concat(), (1, 1)),
        ] {
            assert_eq!(counts(&file), Ok(found), "{}", String::from_utf8_lossy(&file));
        }
    }

    #[test]
    fn a_file_that_is_not_understood_whole_is_refused() {
        let (a, b) = (key(), key());
        let (first, second) = (public(&a), public(&b));
        let revocation = packet(&revocation(&b));
        let [one, two] = [&first, &second].map(|key| armored(BlockType::PublicKey, key));
        let certificate = armored(BlockType::PublicKey, &Raw(revocation.clone()));
        let user = &bytes(&first.details)[..];
        let literal = [0xcb, 0x07, b'b', 0, 0, 0, 0, 0, b'x'];
        let message = String::from_utf8(one.clone()).unwrap().replace("PUBLIC KEY BLOCK", "MESSAGE");
        let short = bytes(&second);
        for (file, says) in [
            ([&one[..], &certificate[..]].concat(), "of a key that it does not contain"),
            ([bytes(&first), revocation].concat(), "of a key that it does not contain"),
            ([&one[..], &bytes(&second)[..]].concat(), "data other than text"),
            ([&bytes(&second)[..], &one[..]].concat(), "cut off or damaged"),
            ([&one[..], b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"].concat(), "no end"),
            ([&two[..two.len() / 2], &one[..]].concat(), "damaged"),
            ([&one[..], message.as_bytes()].concat(), "another type (PGP MESSAGE)"),
            ([&bytes(&first)[..], &literal].concat(), "LiteralData appears where it is not allowed"),
            ([&literal[..], &bytes(&first)].concat(), "LiteralData appears before any key"),
            (user.to_vec(), "appears before any key"),
            ([bytes(&first), short[..short.len() - 3].to_vec()].concat(), "keys is not completely readable"),
            (b"not a key".to_vec(), "keys contains no OpenPGP keys"),
            (Vec::new(), "keys contains no OpenPGP keys"),
        ] {
            let problem = counts(&file).unwrap_err();
            assert!(problem.contains(says), "{says}: {problem}");
        }
    }
}
