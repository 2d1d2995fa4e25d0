//! The bundle: a registry root as one tar stream, with a header that authenticates the rest.
//!
//! `docs/bundle-format.md` is the specification.
//!
//! * **For**: writing and reading bundles, at rest and in pipes, compressed, signed and in volumes.
//! * **Must stay true**: the header decides every other byte of the tar stream; what is to be written, and what a reader
//!   accepts, is computed from it by [`Header::members`] and nowhere else. A reader never hands out the last bytes of a blob
//!   before its digest was found right. Memory does not grow with the size of the blobs, only with the length of the header.
//! * **Does not**: know registries. Of the store, it has the links that the header lists.
//!
//! Everything is synchronous: one thread reads or writes a bundle, and only compression has threads of its own.
//!
//! ```
//! use std::io::Read as _;
//!
//! use hod_bundle::{BundleReader, Compression, Content, Contents, Header, Writer};
//! use hod_oci::Digest;
//! use hod_store::Links;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let digest = Digest::sha256(b"layer");
//! let blobs = vec![Content { digest, size: 5 }];
//! let repositories = vec![Links { layers: vec![digest], ..Links::none("library/app".parse()?) }];
//! let header = Header::new(Contents { blobs, repositories, ..Contents::default() })?;
//! let mut writer = Writer::new(Vec::new(), &header, None, Compression::None)?;
//! writer.blob(&digest, &mut &b"layer"[..])?;
//! let (bundle, _) = writer.finish()?;
//!
//! let mut reader = BundleReader::new(&bundle[..])?;
//! let mut content = String::new();
//! reader.next_blob()?.expect("the bundle has a blob").read_to_string(&mut content)?;
//! assert_eq!(content, "layer");
//! reader.finish()?;
//! # Ok(())
//! # }
//! ```

mod compress;
mod contents;
mod delta_base;
mod error;
mod expand;
mod frame;
pub mod frames;
mod header;
mod in_place;
mod key_id;
mod kind;
mod layout;
mod members;
mod open;
mod raw_frame;
mod reader;
mod rules;
mod seek_table;
mod signature;
mod sink;
mod source;
mod tape;
mod trace;
mod ustar;
pub mod volumes;
mod writer;

pub use contents::{Blob, Content, Contents, Image};
pub use delta_base::{DeltaBase, DeltaBaseKind};
use error::Result;
pub use error::{BundleError, HeaderError, TrustError};
pub use header::{FORMAT, Header, VERSION};
pub use in_place::InPlace;
pub use key_id::KeyId;
pub use kind::Kind;
pub use layout::{HEADER_LIMIT, HEADER_NAME, SIGNATURE_NAME};
pub use members::{Member, MemberContent};
pub use open::{OpenBlob, OpenBundle, RandomAccess};
pub use reader::{BegunBundle, BlobBody, BundleReader};
pub use rules::is_text;
pub use signature::{BundleSigner, KEY_LIMIT, KeyError, PublicKey, SigningKey, Trust, signature_length};
pub use sink::{BundleSink, Done};
pub use source::{BundleSource, LeftOutBlob};
pub use tape::SIGNATURE_LIMIT;
pub use volumes::{BundleFiles, VolumeError, VolumeSet, VolumeSize, VolumeWriter};
pub use writer::{BundleSummary, Compression, Writer};
