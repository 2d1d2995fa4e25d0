//! Writing on where an interrupted run of the same work has stopped.
//!
//! Whoever makes the same bytes again compares them with what is there, and writes from the first block on that is not
//! the same. So nothing is taken on trust: what a crash has lost, what another version made, or somebody else's file
//! under that name is written over.

use std::io::{self, Seek as _, SeekFrom, Write};

use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;

use super::DirectFile;

/// A file that is written from its beginning to its end, and keeps what it holds for as long as that is the same.
#[derive(Debug)]
pub struct ResumedFile {
    file: DirectFile,
    /// Where the next bytes are compared, until they have differed once.
    compared: Option<Vec<u8>>,
    kept: u64,
}

impl ResumedFile {
    /// Takes a file that can be read, too.
    pub fn new(mut file: fs::File) -> io::Result<Self> {
        if file.metadata()?.len() > 0 {
            return Ok(Self { file: DirectFile::plain(file), compared: Some(Vec::new()), kept: 0 });
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file: DirectFile::new(file), compared: None, kept: 0 })
    }

    /// Bytes that were there and are not written again.
    pub const fn kept(&self) -> u64 {
        self.kept
    }

    /// The file, with nothing behind what was written.
    pub fn into_file(mut self) -> io::Result<fs::File> {
        if self.compared.is_some() {
            self.begin()?;
        }
        self.file.into_file()
    }

    /// Whether these bytes are what comes next in the file. What cannot be read is not.
    fn is_there(&mut self, bytes: &[u8]) -> bool {
        let Some(buffer) = &mut self.compared else { return false };
        buffer.resize(bytes.len(), 0);
        self.file.file().read_exact_at(buffer, self.kept).is_ok() && buffer == bytes
    }

    /// Writes from here on.
    fn begin(&mut self) -> io::Result<()> {
        self.compared = None;
        self.file.file().set_len(self.kept)?;
        self.file.seek(self.kept)?;
        self.file.begin_direct();
        Ok(())
    }
}

impl Write for ResumedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_there(bytes) {
            self.kept += bytes.len() as u64;
            return Ok(bytes.len());
        }
        if self.compared.is_some() {
            self.begin()?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{ALIGNMENT, Block};
    use super::*;

    /// Writes `content` in blocks over what is at `path`; says how many bytes were kept.
    fn write(path: &Path, content: &[u8], block: usize) -> u64 {
        let file = super::super::claim(path).unwrap();
        let mut file = ResumedFile::new(file).unwrap();
        for piece in content.chunks(block) {
            let mut aligned = Block::new(block);
            aligned.take(piece);
            file.write_all(aligned.filled()).unwrap();
        }
        let kept = file.kept();
        file.into_file().unwrap();
        assert!(fs::read(path).unwrap() == content);
        kept
    }

    #[test]
    fn what_is_the_same_is_kept_and_all_else_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let length = content.len();
        for block in [16 * ALIGNMENT, 5000] {
            let (whole, blocks) = (length as u64, |count: usize| (count * block) as u64);
            let _ = fs::remove_file(&path);
            assert_eq!(write(&path, &content, block), 0);
            assert_eq!(write(&path, &content, block), whole);
            // Longer, shorter, other, and with a hole such as a crash leaves.
            fs::write(&path, [&content[..], b"more"].concat()).unwrap();
            assert_eq!(write(&path, &content, block), whole);
            fs::write(&path, &content[..2 * block + 7]).unwrap();
            assert_eq!(write(&path, &content, block), blocks(2));
            let mut other = content.clone();
            other[3 * block + 1] ^= 1;
            fs::write(&path, &other).unwrap();
            assert_eq!(write(&path, &content, block), blocks(3));
            other[0] ^= 1;
            fs::write(&path, &other).unwrap();
            assert_eq!(write(&path, &content, block), 0);
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(blocks(1)).unwrap();
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(whole).unwrap();
            assert_eq!(write(&path, &content, block), blocks(1));
        }
        assert_eq!(write(&path, b"", 10), 0);
    }
}
