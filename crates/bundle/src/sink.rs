//! One repository of a bundle that is being written, as a sink for the copy engine.
//!
//! What belongs to which repository stands in the header already; all that comes here are the bytes.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::InPlace;
use hod_engine::endpoint::{EndpointError, Fault, Place, Placement, Prefix, Result, Sink, Verified, blocking};
use hod_oci::{Descriptor, Digest, Graph, Hasher, RepositoryName, Tag};

/// Bytes that are gathered before they are written, or read at a time.
const CHUNK: usize = 512 * 1024;
/// Bytes of a blob after which its progress is noted.
const NOTE: u64 = 16 * 1024 * 1024;

/// A repository of a bundle that is being filled.
#[derive(Debug)]
pub struct BundleSink {
    bundle: InPlace,
    place: Place,
    /// Blobs of this run that are whole, shared by all repositories.
    done: Done,
}

/// Blobs that are whole and verified.
pub type Done = std::sync::Arc<std::sync::Mutex<std::collections::HashSet<Digest>>>;

impl BundleSink {
    /// A repository of `bundle`. `label` is what the bundle is called in messages.
    pub fn new(bundle: &InPlace, label: &str, name: &RepositoryName, done: &Done) -> Self {
        Self { bundle: bundle.clone(), place: Place::local(label, Some(name)), done: done.clone() }
    }

    fn is_done(&self, digest: &Digest) -> bool {
        self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(digest)
    }

    fn mark_done(&self, digest: &Digest) {
        self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(*digest);
    }

    /// Writes the body to its place; what came of one that breaks off is kept, unless it is wrong.
    async fn receive(&self, content: &Descriptor, mut body: Verified) -> Result<()> {
        let digest = content.digest;
        let start = body.start();
        let mut stretch = self.bundle.stretch(&digest, start, body.remaining()).map_err(EndpointError::io)?;
        let begin = stretch.position() - start;
        let mut noted = start;
        let (mut gathered, mut length) = (Vec::new(), 0);
        loop {
            let (ended, problem) = match body.next().await {
                Some(Ok(chunk)) => {
                    length += chunk.len();
                    gathered.push(chunk);
                    (false, None)
                }
                Some(Err(error)) if error.fault() == Fault::Corrupt => {
                    self.note(digest, 0).await?;
                    return Err(error);
                }
                Some(Err(error)) => (true, Some(error)),
                None => (true, None),
            };
            if length >= CHUNK || ended {
                let chunks: Vec<Bytes> = std::mem::take(&mut gathered);
                length = 0;
                stretch = blocking(move || {
                    chunks.iter().try_for_each(|chunk| stretch.append(chunk))?;
                    if ended {
                        stretch.flush()?;
                    }
                    Ok::<_, std::io::Error>(stretch)
                })
                .await?;
            }
            let written = stretch.position() - begin;
            if ended || written - noted >= NOTE {
                self.note(digest, written).await?;
                noted = written;
            }
            if ended {
                return problem.map_or(Ok(()), Err);
            }
        }
    }

    async fn note(&self, digest: Digest, length: u64) -> Result<()> {
        let bundle = self.bundle.clone();
        blocking(move || bundle.note(&digest, length)).await
    }
}

#[async_trait]
impl Sink for BundleSink {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, _: &Graph, _: &[Tag]) -> Result<bool> {
        Ok(false)
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        Ok(self.is_done(&content.digest))
    }

    async fn adopt(&self, content: &Descriptor, _: Option<&RepositoryName>) -> Result<Option<Placement>> {
        Ok(self.is_done(&content.digest).then_some(Placement::Linked))
    }

    async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        let (bundle, digest, size) = (self.bundle.clone(), content.digest, content.size);
        blocking(move || {
            let claimed = bundle.claimed(&digest);
            let mut hasher = Hasher::new(digest.algorithm());
            let mut buffer = vec![0; CHUNK];
            let mut offset = 0;
            while offset < claimed {
                let length = usize::try_from(claimed - offset).unwrap_or(CHUNK).min(CHUNK);
                let bytes = buffer.get_mut(..length).unwrap_or_default();
                bundle.read_at(&digest, bytes, offset)?;
                hasher.update(bytes);
                offset += length as u64;
            }
            // A whole blob with another hash is no beginning of the right one.
            if claimed == size && hasher.clone().finish() != digest {
                return Ok::<_, std::io::Error>(Prefix::none(digest.algorithm()));
            }
            Ok(Prefix::new(claimed, hasher))
        })
        .await
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        let (digest, found) = (content.digest, content.size);
        if let Some(room) = self.bundle.header().blob(&digest).map(|blob| blob.size).filter(|room| *room != found) {
            let problem = format!(
                "{digest} has {found} bytes, and its manifest says {room}, for which the bundle has room: pull the image \
                 into a store first, and pack that"
            );
            return Err(EndpointError::new(Fault::Rejected, problem));
        }
        let resumed_whole = body.remaining() == 0 && content.size > 0;
        self.receive(content, body).await?;
        self.mark_done(&content.digest);
        Ok(if resumed_whole { Placement::AlreadyThere } else { Placement::Written })
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, _: &[Tag]) -> Result<()> {
        if !self.is_done(&root.digest) {
            self.put(root, Verified::bytes(root, bytes)).await?;
        }
        Ok(())
    }
}
