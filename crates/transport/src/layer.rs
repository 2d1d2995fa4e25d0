//! Layers on their way through a compression: what docker archives need expanded, and what is asked for by flags.
//!
//! The same layer compressed the same way gives the same bytes on every machine: no time, no name, one thread.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task;

use super::archive::{Part, expanded, hash, scratch};
use super::compression::Compression;
use hod_engine::endpoint::{BlobReader, EndpointError, Fault, Result, Verified};
use hod_oci::{Algorithm, Digest, Hasher};

/// Chunks that wait to be worked on.
const QUEUE: usize = 16;

/// A layer that was made of another, in a nameless file that is gone with this value.
#[derive(Debug)]
pub struct RecodedLayer {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// How it is compressed.
    pub compression: Compression,
    file: Arc<fs::File>,
}

impl RecodedLayer {
    /// The bytes from `offset` on.
    pub fn stream(&self, offset: u64) -> BlobReader {
        Part::of(&self.file, offset, self.size.saturating_sub(offset)).stream()
    }
}

/// Compresses a layer in another way, in a nameless file of the folder `scratch`. `None` where it is so already.
pub async fn recode(
    body: Verified,
    to: Compression,
    level: Option<u8>,
    scratch_folder: &Path,
) -> Result<Option<RecodedLayer>> {
    let folder = scratch_folder.to_owned();
    through(body, move |mut chunks| {
        let from = chunks.compression();
        if from == to {
            return Ok(None);
        }
        let mut out = Hashing::new(&folder)?;
        let mut plain = expanded(from, chunks)?;
        match to {
            Compression::None => {
                io::copy(&mut plain, &mut out)?;
            }
            Compression::Gzip => {
                let level =
                    level.map_or_else(flate2::Compression::default, |level| flate2::Compression::new(level.into()));
                let mut encoder = flate2::write::GzEncoder::new(&mut out, level);
                io::copy(&mut plain, &mut encoder)?;
                encoder.finish()?;
            }
            Compression::Zstd => {
                let level = level.map_or(zstd::DEFAULT_COMPRESSION_LEVEL, i32::from);
                let mut encoder = zstd::stream::write::Encoder::new(&mut out, level)?;
                encoder.include_checksum(true)?;
                io::copy(&mut plain, &mut encoder)?;
                encoder.finish()?;
            }
        }
        let Hashing { file, hasher, length } = out;
        Ok(Some(RecodedLayer { digest: hasher.finish(), size: length, compression: to, file: Arc::new(file) }))
    })
    .await
}

/// Keeps a layer as it is in a nameless file of the folder `scratch`, with the digest of what it expands to.
pub async fn keep(body: Verified, scratch_folder: &Path) -> Result<(RecodedLayer, Digest)> {
    let folder = scratch_folder.to_owned();
    through(body, move |mut chunks| {
        let compression = chunks.compression();
        let mut out = Hashing::new(&folder)?;
        io::copy(&mut chunks, &mut out)?;
        let Hashing { file, hasher, length } = out;
        let file = Arc::new(file);
        let (diff, _) = hash(expanded(compression, Part::of(&file, 0, length))?)?;
        Ok((RecodedLayer { digest: hasher.finish(), size: length, compression, file }, diff))
    })
    .await
}

/// Expands a layer to a nameless file, and hashes what comes out.
pub(super) async fn expand(body: Verified, folder: PathBuf) -> Result<(fs::File, Digest)> {
    through(body, move |mut chunks| {
        let compression = chunks.compression();
        let mut out = Hashing::new(&folder)?;
        io::copy(&mut expanded(compression, chunks)?, &mut out)?;
        Ok((out.file, out.hasher.finish()))
    })
    .await
}

/// Gives a body to work that blocks. A body that is not what it should be is the failure, whatever the work says.
async fn through<T, W>(mut body: Verified, work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce(Chunks) -> io::Result<T> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel::<Bytes>(QUEUE);
    let work = task::spawn_blocking(move || work(Chunks { receiver, current: Bytes::new() }));
    let mut failed = None;
    while let Some(chunk) = body.next().await {
        match chunk {
            // Whoever works may be at the end already, or have failed and say why; the body is checked all the same.
            Ok(chunk) => drop(sender.send(chunk).await),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let done = work.await.map_err(|stopped| EndpointError::new(Fault::Other, stopped))?;
    match failed {
        Some(error) => Err(error),
        None => Ok(done?),
    }
}

/// Chunks from a channel as something to read.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Chunks {
    /// Waits for the next chunk that is not empty.
    fn fill(&mut self) {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk,
                None => return,
            }
        }
    }

    /// How what comes is compressed.
    fn compression(&mut self) -> Compression {
        self.fill();
        // A first chunk of fewer bytes than any magic number has is joined by the next.
        while self.current.len() < 4 {
            let Some(next) = self.receiver.blocking_recv() else { break };
            self.current = [std::mem::take(&mut self.current), next].concat().into();
        }
        Compression::of(&self.current)
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill();
        let count = self.current.len().min(buffer.len());
        let chunk = self.current.split_to(count);
        buffer.get_mut(..count).unwrap_or_default().copy_from_slice(&chunk);
        Ok(count)
    }
}

struct Hashing {
    file: fs::File,
    hasher: Hasher,
    length: u64,
}

impl Hashing {
    fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: scratch(folder)?, hasher: Hasher::new(Algorithm::Sha256), length: 0 })
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_oci::{Descriptor, MediaType};

    async fn recoded(bytes: &[u8], to: Compression, level: Option<u8>) -> Option<(Vec<u8>, RecodedLayer)> {
        let content = Descriptor::of(MediaType::parse("x"), bytes);
        let body = Verified::bytes(&content, Bytes::copy_from_slice(bytes));
        let made = recode(body, to, level, &std::env::temp_dir()).await.unwrap()?;
        let mut all = Vec::new();
        let mut stream = made.stream(0);
        while let Some(chunk) = stream.next().await {
            all.extend_from_slice(&chunk.unwrap());
        }
        Some((all, made))
    }

    #[tokio::test]
    async fn there_and_back_again() {
        let plain: Vec<u8> = (0..300_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        for to in [Compression::Gzip, Compression::Zstd] {
            let (bytes, made) = recoded(&plain, to, None).await.unwrap();
            assert_eq!((made.digest, made.size), (Digest::sha256(&bytes), bytes.len() as u64));
            assert_eq!(Compression::of(&bytes), to);
            assert_eq!(recoded(&plain, to, None).await.unwrap().0, bytes, "twice the same");
            assert_ne!(recoded(&plain, to, Some(9)).await.unwrap().0, bytes, "the level matters");
            assert!(recoded(&bytes, to, None).await.is_none(), "it is so already");
            assert_eq!(recoded(&bytes, Compression::None, None).await.unwrap().0, plain);
            let tail: Vec<u8> = made.stream(10).map(|chunk| chunk.unwrap().to_vec()).collect::<Vec<_>>().await.concat();
            assert_eq!(tail, bytes[10..]);
        }
        assert!(recoded(&[], Compression::None, None).await.is_none());
    }

    #[test]
    fn types_say_how_layers_are_compressed() {
        let of = |text: &str| Compression::of_layer(&MediaType::parse(text));
        assert_eq!(of("application/vnd.oci.image.layer.v1.tar+zstd"), Some(Compression::Zstd));
        assert_eq!(of("application/vnd.docker.image.rootfs.diff.tar"), Some(Compression::None));
        assert_eq!(of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), None);
        assert_eq!(of("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), None);
        assert_eq!(of("application/vnd.cncf.helm.chart.content.v1.tar+gzip"), None);
        for text in ["application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"] {
            for to in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let changed = to.layer_type(&MediaType::parse(text));
                assert_eq!(Compression::of_layer(&changed), Some(to));
                assert_eq!(
                    changed.as_str().starts_with("application/vnd.oci."),
                    text.starts_with("application/vnd.oci.")
                );
            }
        }
    }
}
