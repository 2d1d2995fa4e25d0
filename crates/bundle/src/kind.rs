//! Recognizes files that are not bundles, so that the error names their format.

use std::fmt;

use super::ustar::{self, BLOCK};

/// A guess at what some bytes are, from the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing at all.
    Empty,
    /// A gzip stream.
    Gzip,
    /// An xz stream.
    Xz,
    /// A bzip2 stream.
    Bzip2,
    /// A zip archive.
    Zip,
    /// What `docker save` writes.
    DockerArchive,
    /// A tar of an OCI layout, as newer `docker save` and `oci-archive:` write it.
    OciArchive,
    /// A tar of a registry root, without a header.
    RootArchive,
    /// A tar of something else.
    Tar,
    /// A JSON document.
    Json,
    /// Zeros only: a file whose blocks were allocated and never written.
    Zeros,
    /// None of these.
    Unknown,
}

impl Kind {
    /// What the beginning of a file looks like: its first block, and those of a tar that say nothing, as the folder in
    /// which everything is.
    pub fn of(mut first: &[u8]) -> Self {
        while let Some(block) = first.get(..BLOCK).filter(|block| ustar::is_header(block)) {
            let kind = Self::of_member(&ustar::path(block));
            let length = ustar::size(block).unwrap_or_default().next_multiple_of(BLOCK as u64);
            let rest = usize::try_from(length).ok().and_then(|length| first.get(BLOCK.checked_add(length)?..));
            match rest.filter(|rest| kind == Self::Tar && rest.get(..BLOCK).is_some_and(ustar::is_header)) {
                Some(rest) => first = rest,
                None => return kind,
            }
        }
        Self::of_block(first)
    }

    fn of_block(first: &[u8]) -> Self {
        match first {
            [] => Self::Empty,
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Self::Xz,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [b'P', b'K', 3 | 5, ..] => Self::Zip,
            [b'{' | b'[', ..] => Self::Json,
            block if block.iter().all(|byte| *byte == 0) => Self::Zeros,
            _ => Self::Unknown,
        }
    }

    fn of_member(path: &str) -> Self {
        let path = path.trim_start_matches("./");
        let (first, below) = path.split_once('/').unwrap_or((path, ""));
        let is_hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match first {
            "oci-layout" | "index.json" | "blobs" => Self::OciArchive,
            "docker" => Self::RootArchive,
            _ if below.starts_with("docker/registry/") => Self::RootArchive,
            "manifest.json" | "repositories" => Self::DockerArchive,
            first if is_hex(first.trim_end_matches(".json").trim_end_matches(".tar")) => Self::DockerArchive,
            _ => Self::Tar,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::Gzip => "a gzip file",
            Self::Xz => "an xz file",
            Self::Bzip2 => "a bzip2 file",
            Self::Zip => "a zip archive",
            Self::DockerArchive => "a docker save archive",
            Self::OciArchive => "an OCI layout archive",
            Self::RootArchive => "a tar archive of a registry root without a bundle header",
            Self::Tar => "a tar archive of something else",
            Self::Json => "a JSON document",
            Self::Zeros => "a file that contains only zeros",
            Self::Unknown => "unknown file format, or a volume other than the first",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ustar::{Type, head};
    use super::*;

    #[test]
    fn looks_at_the_first_block() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let member = |path: &str| Kind::of(&head(path, Type::File, 1, 0));
        assert_eq!(member(&format!("{hex}.json")), Kind::DockerArchive);
        assert_eq!(member(&format!("{hex}/VERSION")), Kind::DockerArchive);
        assert_eq!(member("./oci-layout"), Kind::OciArchive);
        assert_eq!(member("blobs/sha256/x"), Kind::OciArchive);
        assert_eq!(member("docker/registry/v2/x"), Kind::RootArchive);
        assert_eq!(member("etc/passwd"), Kind::Tar);
        assert_eq!(member("root/docker/registry/v2/"), Kind::RootArchive);
        let several =
            |paths: &[&str]| Kind::of(&paths.iter().flat_map(|path| head(path, Type::File, 0, 0)).collect::<Vec<_>>());
        assert_eq!(several(&["./", "./docker/", "./docker/registry/"]), Kind::RootArchive);
        assert_eq!(several(&["root/", "root/docker/", "root/docker/registry/"]), Kind::RootArchive);
        assert_eq!(several(&["./", "./index.json"]), Kind::OciArchive);
        assert_eq!(several(&["./", "./etc/"]), Kind::Tar);
        assert_eq!(Kind::of(b""), Kind::Empty);
        assert_eq!(Kind::of(&[0x1f, 0x8b, 8]), Kind::Gzip);
        assert_eq!(Kind::of(b"{\"a\":1}"), Kind::Json);
        assert_eq!(Kind::of(&[0; 512]), Kind::Zeros);
        assert_eq!(Kind::of(&[7; 512]), Kind::Unknown);
    }
}
