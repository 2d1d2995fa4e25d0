//! One layer on top of those below it (OCI image-spec, `layer.md`).
//!
//! A whiteout takes away what lower layers have, and nothing of its own layer, wherever in the archive it stands.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use super::UnpackedTree;
use super::error::{LayerError, shown};
use super::members::Members;
use super::rootfs::{Rootfs, components};
use super::write::{EntryOptions, EntryWriter};
use hod_oci::{Digest, Hasher, MediaType};

/// What the names of whiteouts begin with.
const WHITEOUT: &[u8] = b".wh.";
/// The whiteout of all that lower layers have in a folder.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What the names of other files of aufs begin with, which mean nothing here.
const OF_AUFS: &[u8] = b".wh..wh.";

/// Unpacks a layer, which may be compressed, checks that it is what the config says, and adds to what was made.
pub(super) fn apply(
    rootfs: &mut Rootfs,
    input: impl Read,
    diff_id: &Digest,
    how: &EntryOptions,
    made: &mut UnpackedTree,
) -> Result<(), LayerError> {
    let mut content = HashingReader::new(input, diff_id)?;
    let mut members = Members::new(&mut content);
    rootfs.notes.begin_layer();
    let mut maker = EntryWriter::new(rootfs, &mut made.left_out, how);
    while let Some(member) = members.next()? {
        made.entries += 1;
        let name = member.path.strip_suffix(b"/").unwrap_or(&member.path);
        let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let hidden = name.strip_prefix(WHITEOUT).filter(|_| !how.keep_whiteouts);
        if let Some(hidden) = hidden {
            if name == OPAQUE {
                opaque(&mut maker, &member.path)?;
            } else if !name.starts_with(OF_AUFS) {
                whiteout(&mut maker, &member.path, hidden)?;
            }
        } else {
            maker.make(member, &mut members)?;
            maker.rootfs.notes.check()?;
        }
    }
    // What follows the end of the archive counts for the digest, too.
    io::copy(&mut content, &mut io::sink()).map_err(LayerError::Read)?;
    content.check(diff_id)
}

/// Writes a layer, which may be compressed, as it is without, and checks that it is what the config says.
pub(super) fn expand(input: impl Read, diff_id: &Digest, output: &mut dyn Write) -> Result<(), LayerError> {
    let mut content = HashingReader::new(input, diff_id)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = content.read(&mut buffer).map_err(LayerError::Read)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        output.write_all(bytes).map_err(LayerError::Output)?;
    }
    output.flush().map_err(LayerError::Output)?;
    content.check(diff_id)
}

/// Returns true if a layer of this type can be unpacked.
pub(super) fn check_media_type(media_type: &MediaType) -> Result<(), LayerError> {
    const KNOWN: [&str; 4] = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ];
    let text = media_type.as_str();
    // The bytes say the rest.
    if text.is_empty() {
        return Ok(());
    }
    let rest = KNOWN.iter().find_map(|known| text.strip_prefix(known));
    match rest {
        Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd") => Ok(()),
        _ => Err(LayerError::MediaType(text.to_owned())),
    }
}

/// The bytes of a layer that may be compressed, by what they begin with (RFC 1952; RFC 8878, section 3.1.1).
fn expanded<'a>(head: &[u8], input: BufReader<impl Read + 'a>) -> Result<Box<dyn Read + 'a>, LayerError> {
    Ok(match head {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        // The second is a frame that decoders pass over.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(input).map_err(LayerError::Read)?)
        }
        _ => Box::new(input),
    })
}

/// Hides all that lower layers have in the folder of an opaque whiteout.
fn opaque(maker: &mut EntryWriter<'_>, path: &[u8]) -> Result<(), LayerError> {
    let mut above = components(path)?;
    above.pop();
    let Some(place) = maker.rootfs.find(&above, false)? else { return Ok(()) };
    if maker.rootfs.notes.is_new(place.key) {
        return Ok(());
    }
    let emptied = maker.rootfs.empty((&place.folder, place.key), Some(&maker.written));
    emptied.map(drop).map_err(|error| LayerError::Write { path: shown(path), source: error.into() })
}

fn whiteout(maker: &mut EntryWriter<'_>, path: &[u8], hidden: &[u8]) -> Result<(), LayerError> {
    let mut above = components(path)?;
    above.pop();
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(LayerError::Entry { path: shown(path), problem: "it is a whiteout without a file name" });
    }
    let Some(place) = maker.rootfs.find(&above, false)? else { return Ok(()) };
    if maker.rootfs.notes.is_new(place.key) {
        return Ok(());
    }
    let removed = maker.rootfs.remove((&place.folder, place.key), hidden, Some(&maker.written));
    removed.map(drop).map_err(|error| LayerError::Write { path: shown(path), source: error.into() })
}

/// The expanded bytes of a layer, which are hashed on their way.
struct HashingReader<'a> {
    hasher: Hasher,
    input: Box<dyn Read + 'a>,
}

impl<'a> HashingReader<'a> {
    fn new(input: impl Read + 'a, diff_id: &Digest) -> Result<Self, LayerError> {
        let mut input = BufReader::with_capacity(128 * 1024, input);
        let head = input.fill_buf().map_err(LayerError::Read)?.to_vec();
        Ok(Self { hasher: Hasher::new(diff_id.algorithm()), input: expanded(&head, input)? })
    }

    fn check(self, diff_id: &Digest) -> Result<(), LayerError> {
        let found = self.hasher.finish();
        if found == *diff_id { Ok(()) } else { Err(LayerError::DiffId { expected: *diff_id, found }) }
    }
}

impl Read for HashingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
