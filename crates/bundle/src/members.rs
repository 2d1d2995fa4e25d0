//! All members of a bundle after its header, with their positions: the layout that the header implies.
//!
//! ```text
//! hod/bundle.json [hod/bundle.json.minisig] │ data… │ folders… │ layers… │ revisions… │ tags/index… │ tags/current… │ end
//!                                           └─ the data area begins: offset 0
//! ```

use super::Header;
use super::layout::{HEADER_NAME, SIGNATURE_NAME, data_head_length};
use super::ustar::{self, BLOCK_SIZE, END, Type, padded};
use hod_oci::Digest;
use hod_store::{Entry, Links};

/// What a member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberContent {
    /// The blob with this index in the header.
    Blob(usize),
    /// The text of a digest.
    Link(Digest),
    /// Nothing: a folder.
    Folder,
}

impl MemberContent {
    /// The content of a folder or link, which the header alone decides; empty for a blob.
    pub fn text(&self) -> String {
        match self {
            Self::Link(digest) => digest.to_string(),
            Self::Blob(_) | Self::Folder => String::new(),
        }
    }

    /// The length of that text.
    fn text_length(&self) -> u64 {
        match self {
            Self::Link(digest) => digest.text_length() as u64,
            Self::Blob(_) | Self::Folder => 0,
        }
    }
}

/// A member of a bundle after its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it is in a registry root.
    pub entry: Entry,
    /// What it holds.
    pub holds: MemberContent,
    /// Position of its tar header from the start of the data area.
    pub start: u64,
    /// Position of its content from the start of the data area.
    pub offset: u64,
    /// The length of its content in bytes.
    pub size: u64,
}

impl Member {
    /// The position after its content and what fills the last block.
    pub const fn end(&self) -> u64 {
        self.offset + padded(self.size)
    }

    /// Its tar header, with the extended header where it has one.
    pub fn head(&self, mtime: u64) -> Vec<u8> {
        let kind = if self.entry.is_folder() { Type::Folder } else { Type::File };
        ustar::head(&tar_path(&self.entry), kind, self.size, mtime)
    }
}

/// The tar header of the bundle's header.
pub(super) fn header_head(size: u64, mtime: u64) -> Vec<u8> {
    ustar::head(HEADER_NAME, Type::File, size, mtime)
}

/// The tar header of the signature.
pub(super) fn signature_head(size: u64, mtime: u64) -> Vec<u8> {
    ustar::head(SIGNATURE_NAME, Type::File, size, mtime)
}

/// The folders and links of all repositories: by kind, and within a kind by repository.
fn links(repositories: &[Links]) -> impl Iterator<Item = (Entry, MemberContent)> {
    type Kind = fn(&Entry) -> bool;
    let kinds: [Kind; 4] = [
        |entry| matches!(entry, Entry::Layer(..)),
        |entry| matches!(entry, Entry::Revision(..)),
        |entry| matches!(entry, Entry::TagIndex(..)),
        |entry| matches!(entry, Entry::TagCurrent(..)),
    ];
    let folders = repositories.iter().flat_map(Links::folders).map(|entry| (entry, MemberContent::Folder));
    let files = kinds.into_iter().flat_map(move |is_kind| {
        let files = repositories.iter().flat_map(Links::files);
        files.filter(move |(entry, _)| is_kind(entry)).map(|(entry, digest)| (entry, MemberContent::Link(digest)))
    });
    folders.chain(files)
}

impl Header {
    /// Every member of the bundle after its header and signature, in order.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        let blobs = (0..self.blobs().len()).filter_map(|index| self.blob_member(index));
        blobs.chain(self.link_members())
    }

    /// The member of the blob with this index.
    pub(super) fn blob_member(&self, index: usize) -> Option<Member> {
        let blob = self.blobs().get(index)?;
        Some(Member {
            entry: Entry::Data(blob.digest),
            holds: MemberContent::Blob(index),
            start: blob.offset - data_head_length(&blob.digest),
            offset: blob.offset,
            size: blob.size,
        })
    }

    /// The members after the last blob.
    pub(super) fn link_members(&self) -> impl Iterator<Item = Member> {
        let mut start = self.blobs().last().map_or(0, |blob| blob.offset + padded(blob.size));
        links(self.repositories()).map(move |(entry, holds)| {
            let size = holds.text_length();
            let offset = start + ustar::head_length(&tar_path(&entry));
            let member = Member { entry, holds, start, offset, size };
            start = member.end();
            member
        })
    }

    /// Where the data area begins in the tar stream, with a signature of that many bytes or none.
    pub fn data_area(&self, signature: Option<u64>) -> u64 {
        let length = BLOCK_SIZE + padded(self.json_length());
        length + signature.map_or(0, |size| BLOCK_SIZE + padded(size))
    }

    /// The length of the tar stream, with a signature of that many bytes or none.
    pub fn tar_size(&self, signature: Option<u64>) -> u64 {
        let blobs = self.blobs().last().map_or(0, |blob| blob.offset + padded(blob.size));
        let area = self.link_members().last().map_or(blobs, |member| member.end());
        self.data_area(signature) + area + END.len() as u64
    }
}

/// The path as it stands in the tar: that of a folder ends with a slash.
fn tar_path(entry: &Entry) -> String {
    if entry.is_folder() { format!("{entry}/") } else { entry.to_string() }
}
