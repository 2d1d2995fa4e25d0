//! The header: the blobs of a bundle, their positions, and the images that they belong to.
//!
//! A header that exists is consistent (see `rules`), and its bytes are the only ones that read as
//! it: [`Header::parse`] refuses any other spelling of the same values. So its SHA-256 names the bundle.

use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::contents::{Blob, Content, Contents, Image};
use super::delta_base::DeltaBase;
use super::layout::{HEADER_LIMIT, data_head_length};
use super::ustar::{TIME_LIMIT, padded};
use super::{HeaderError, rules};
use hod_oci::{Algorithm, Digest, Hasher, RepositoryName, is_companion_tag};
use hod_store::Links;

/// The name of the format.
pub const FORMAT: &str = "hod-bundle";

/// The version of the format that is written and read.
pub const VERSION: u64 = 1;

/// The one encoding of blobs: the bytes as they are.
const VERBATIM: &str = "verbatim";

/// A header of a bundle.
#[derive(Debug, Clone)]
pub struct Header {
    mtime: u64,
    images: Vec<Image>,
    blobs: Vec<Blob>,
    requires: Vec<Content>,
    base: Vec<DeltaBase>,
    repositories: Vec<Links>,
    positions: rules::Positions,
    /// Bytes of the member `hod/bundle.json`, which are written anew when they are wanted: they are as many as
    /// everything else here together.
    length: u64,
    id: Digest,
}

/// The header as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u64,
    mtime: u64,
    images: Vec<Image>,
    blobs: Vec<ReadBlob>,
    requires: Vec<Content>,
    #[serde(default)]
    base: Vec<DeltaBase>,
    repositories: Vec<Links>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadBlob {
    digest: Digest,
    size: u64,
    offset: u64,
    encoding: Encoding,
}

/// The name of an encoding; the one that is known takes no memory of its own.
enum Encoding {
    Verbatim,
    Other(Box<str>),
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Ok(if name == VERBATIM { Self::Verbatim } else { Self::Other(name.into()) })
    }
}

/// Just enough to tell a newer header from a damaged one.
#[derive(Deserialize)]
struct Preface {
    format: String,
    version: u64,
}

impl Header {
    /// The header of a bundle with these contents. Repositories and tags are put in the order of their names.
    pub fn new(mut contents: Contents) -> Result<Self, HeaderError> {
        contents.repositories.sort_by(|one, other| one.name.cmp(&other.name));
        contents.repositories.iter_mut().for_each(|links| links.tags.sort());
        let mut offset = 0_u64;
        let mut place = |content: &Content| {
            let start = offset.checked_add(data_head_length(&content.digest))?;
            offset = start.checked_add(padded(content.size)).filter(|end| i64::try_from(*end).is_ok())?;
            Some(Blob { digest: content.digest, size: content.size, offset: start })
        };
        let mut blobs = Vec::with_capacity(contents.blobs.len());
        for content in &contents.blobs {
            blobs.push(place(content).ok_or(HeaderError::Overflow)?);
        }
        Self::build(contents, blobs)
    }

    /// Reads a header. The bytes must be exactly those that [`Header::to_json`] gives.
    pub fn parse(json: &[u8]) -> Result<Self, HeaderError> {
        let length = json.len() as u64;
        if length > HEADER_LIMIT {
            return Err(HeaderError::Large(length));
        }
        let document = serde_json::from_slice(json);
        let preface = match &document {
            Ok(Document { format, version, .. }) => Preface { format: format.clone(), version: *version },
            Err(_) => serde_json::from_slice(json).map_err(HeaderError::Json)?,
        };
        match (preface.format.as_str(), preface.version) {
            (FORMAT, VERSION) => {}
            (FORMAT, version) => return Err(HeaderError::Newer(version)),
            (format, _) => return Err(HeaderError::Format(format.to_owned())),
        }
        let header = Self::from_document(document.map_err(HeaderError::Json)?)?;
        if header.id == Digest::sha256(json) { Ok(header) } else { Err(HeaderError::Form) }
    }

    fn from_document(document: Document) -> Result<Self, HeaderError> {
        let mut offset = 0_u64;
        let mut blobs = Vec::with_capacity(document.blobs.len());
        for ReadBlob { digest, size, offset: stated, encoding } in document.blobs {
            if let Encoding::Other(encoding) = encoding {
                return Err(HeaderError::Encoding { digest, encoding: encoding.into() });
            }
            let expected = offset.checked_add(data_head_length(&digest)).ok_or(HeaderError::Overflow)?;
            if stated != expected {
                return Err(HeaderError::Offset { digest, stated, expected });
            }
            offset = expected.checked_add(padded(size)).ok_or(HeaderError::Overflow)?;
            blobs.push(Blob { digest, size, offset: stated });
        }
        if i64::try_from(offset).is_err() {
            return Err(HeaderError::Overflow);
        }
        let Document { mtime, images, requires, base, repositories, .. } = document;
        Self::build(Contents { mtime, images, blobs: Vec::new(), requires, base, repositories }, blobs)
    }

    /// A header of these contents, whose blobs are placed.
    fn build(contents: Contents, blobs: Vec<Blob>) -> Result<Self, HeaderError> {
        let Contents { mtime, images, requires, base, repositories, .. } = contents;
        if mtime > TIME_LIMIT {
            return Err(HeaderError::Time(mtime));
        }
        let positions = rules::Positions::new(&blobs)?;
        rules::check((&blobs, &positions), &requires, &repositories)?;
        rules::check_images(&images, &repositories)?;
        rules::check_bases(&base, &requires)?;
        let id = Digest::sha256(b"");
        let mut header = Self { mtime, images, blobs, requires, base, repositories, positions, length: 0, id };
        header.images.iter().try_for_each(|image| header.check_contents(image))?;
        let mut summed = DigestWriter { hasher: Hasher::new(Algorithm::Sha256), length: 0 };
        let mut out = BufWriter::new(&mut summed);
        header.write_json(&mut out).map_err(HeaderError::Json)?;
        // A sum takes what is left in the buffer without fail.
        drop(out);
        if summed.length > HEADER_LIMIT {
            return Err(HeaderError::Large(summed.length));
        }
        (header.length, header.id) = (summed.length, summed.hasher.finish());
        Ok(header)
    }

    /// Checks that an image's contents are there, once each, its root among them.
    fn check_contents(&self, image: &Image) -> Result<(), HeaderError> {
        let problem = |problem| HeaderError::Image { name: image.label(), digest: image.digest, problem };
        let mut has_root = false;
        for position in &image.contents {
            let content = self.content(*position).ok_or_else(|| problem("one of its contents is not in the header"))?;
            has_root |= content.digest == image.digest;
        }
        let mut sorted = image.contents.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(problem("one of its contents is listed twice"));
        }
        if has_root { Ok(()) } else { Err(problem("its contents do not include that manifest")) }
    }

    /// Writes the bytes of the member `hod/bundle.json`.
    pub(super) fn write_json(&self, out: &mut impl Write) -> Result<(), serde_json::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            format: &'a str,
            version: u64,
            mtime: u64,
            images: &'a [Image],
            #[serde(serialize_with = "write_blobs")]
            blobs: &'a [Blob],
            requires: &'a [Content],
            #[serde(skip_serializing_if = "<[DeltaBase]>::is_empty")]
            base: &'a [DeltaBase],
            repositories: &'a [Links],
        }
        let written = Written {
            format: FORMAT,
            version: VERSION,
            mtime: self.mtime,
            images: &self.images,
            blobs: &self.blobs,
            requires: &self.requires,
            base: &self.base,
            repositories: &self.repositories,
        };
        serde_json::to_writer(out, &written)
    }

    /// The bytes of the member `hod/bundle.json`, for who needs them at one place.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(usize::try_from(self.length).unwrap_or_default());
        // It has been written once, when this value was made, and memory takes everything.
        let written = self.write_json(&mut json);
        debug_assert!(written.is_ok(), "{written:?}");
        json
    }

    /// How many these bytes are.
    pub(crate) const fn json_length(&self) -> u64 {
        self.length
    }

    /// The SHA-256 of the header's bytes, which names the bundle.
    pub const fn id(&self) -> Digest {
        self.id
    }

    /// The time of all members, in seconds since 1970.
    pub const fn mtime(&self) -> u64 {
        self.mtime
    }

    /// The images.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The number of images, without what belongs to others by its tag.
    pub fn image_count(&self) -> usize {
        self.images.iter().filter(|image| !image.tag.as_ref().is_some_and(is_companion_tag)).count()
    }

    /// The blobs, in the order in which they lie in the bundle.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// The blob with this digest, if the bundle holds it.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.blobs.get(self.positions.find(&self.blobs, digest)?)
    }

    /// What an image consists of, in the order of its list.
    pub fn contents_of<'a>(&'a self, image: &'a Image) -> impl Iterator<Item = Content> + 'a {
        image.contents.iter().filter_map(|position| self.content(*position))
    }

    /// A blob, or where the position is beyond them, something required.
    fn content(&self, position: u32) -> Option<Content> {
        let position = usize::try_from(position).ok()?;
        match self.blobs.get(position) {
            Some(blob) => Some(Content { digest: blob.digest, size: blob.size }),
            None => self.requires.get(position.checked_sub(self.blobs.len())?).copied(),
        }
    }

    /// What the bundle leaves out and its target must have.
    pub fn requires(&self) -> &[Content] {
        &self.requires
    }

    /// What has the content that the bundle requires: any of these. Older deltas do not say it.
    pub fn base(&self) -> &[DeltaBase] {
        &self.base
    }

    /// The links of all repositories, in the order of their names.
    pub fn repositories(&self) -> &[Links] {
        &self.repositories
    }

    /// The links of one repository, if the bundle has it.
    pub fn repository(&self, name: &RepositoryName) -> Option<&Links> {
        let position = self.repositories.binary_search_by(|links| links.name.cmp(name)).ok()?;
        self.repositories.get(position)
    }
}

fn write_blobs<S: Serializer>(blobs: &[Blob], out: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written<'a> {
        digest: &'a Digest,
        size: u64,
        offset: u64,
        encoding: &'a str,
    }
    fn written(Blob { digest, size, offset }: &Blob) -> Written<'_> {
        Written { digest, size: *size, offset: *offset, encoding: VERBATIM }
    }
    out.collect_seq(blobs.iter().map(written))
}

/// Tells the digest and the number of bytes that are written, and keeps none.
struct DigestWriter {
    hasher: Hasher,
    length: u64,
}

impl Write for DigestWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
