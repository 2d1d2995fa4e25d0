//! Writing one image to a layout.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use fs_err as fs;

use super::{EntryName, Layout};
use crate::TransportError;
use crate::files::{blocking, described, has, holds, is_there};
use crate::landing::PartialFiles;
use crate::scaffold::{Made, Scaffolds};
use hod_engine::endpoint::{LocalFile, Place, Placement, Prefix, Result, Sink, Verified};
use hod_oci::{Descriptor, Digest, Graph, Manifest, Reference, Tag};

/// A layout to write one image to.
#[derive(Debug)]
pub struct LayoutSink {
    layout: Layout,
    place: Place,
    landings: PartialFiles,
    /// What the image will be called there.
    name: Option<EntryName>,
    /// Locked, so that nobody deletes what no image of the index names yet.
    _held: fs::File,
    /// Dropped after the lock: the layout may go with it.
    _scaffolds: Option<Scaffolds>,
}

impl LayoutSink {
    /// A layout that is made where nothing is, as the place for an image; its content may be in a folder of its own.
    pub(crate) fn make(
        path: &Path,
        blobs: Option<&Path>,
        name: Option<&str>,
        made: &mut Made,
    ) -> super::super::Result<Self> {
        let (layout, _lock) = Layout::make(path, made)?;
        made.locked_by(&path.join("blobs"));
        if let Some(blobs) = blobs {
            made.folder(blobs)?;
        }
        layout.with_blobs_in(blobs).sink(name)
    }

    /// The same for an image whose complete name is known, which runtimes then give it.
    #[must_use]
    pub fn completed_by(self, complete: Option<&Reference>) -> Self {
        Self { name: self.name.map(|name| name.completed_by(complete)), ..self }
    }

    /// The same, one of several that were opened together.
    pub(crate) fn within(self, scaffolds: &Scaffolds) -> Self {
        Self { _scaffolds: Some(scaffolds.clone()), ..self }
    }
}

impl Layout {
    /// This layout as the place for an image of that name, or of none.
    ///
    /// # Errors
    /// [`TransportError::Locked`] while another process is alone with the layout to delete from it.
    pub fn sink(&self, name: Option<&str>) -> super::super::Result<LayoutSink> {
        let blobs = self.path().join("blobs");
        fs::create_dir_all(&blobs)?;
        let held = fs::File::open(&blobs)?;
        if !hod_io::fs::try_lock_shared(&held)? {
            return Err(TransportError::Locked(self.path().to_owned()));
        }
        Ok(LayoutSink {
            layout: self.clone(),
            place: Place::local(&self.path().display().to_string(), None),
            landings: PartialFiles::new(&self.blobs)?,
            name: name.map(EntryName::of),
            _held: held,
            _scaffolds: None,
        })
    }

    /// Changes the index: nobody else does in the meantime.
    pub(crate) fn update<T>(
        &self,
        change: impl FnOnce(&mut super::Index) -> super::super::Result<T>,
    ) -> super::super::Result<T> {
        let lock = fs::File::open(self.path().join("oci-layout"))?;
        hod_io::fs::lock(&lock)?;
        let mut index = self.index()?;
        let before = index.bytes();
        let result = change(&mut index)?;
        let after = index.bytes();
        if after != before {
            hod_io::fs::write_atomically(&self.path().join("index.json"), &after)?;
        }
        Ok(result)
    }

    fn check(&self, digest: Digest, manifest: &Manifest) -> super::super::Result<()> {
        for blob in manifest.blobs().filter(|blob| !blob.media_type.is_foreign_layer()) {
            if !is_there(&self.blob(&blob.digest))? {
                let (path, manifest) = (self.path().to_owned(), Box::new(digest));
                return Err(TransportError::Incomplete { path, manifest, digest: blob.digest });
            }
        }
        Ok(())
    }

    /// Writes a manifest as a blob, after the blobs that it names.
    fn write_manifest(&self, landings: &PartialFiles, content: &Descriptor, bytes: Bytes) -> super::super::Result<()> {
        let path = self.blob(&content.digest);
        let (_, bytes) = described(path.clone(), content.digest, bytes)?;
        let manifest = Manifest::parse(&content.media_type, &bytes)
            .map_err(|source| TransportError::Manifest { path: path.clone(), source })?;
        self.check(content.digest, &manifest)?;
        if has(&path, content.size)? && fs::read(&path)? == bytes {
            return Ok(());
        }
        landings.write(&content.digest, &bytes, &path)
    }
}

#[async_trait]
impl Sink for LayoutSink {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, graph: &Graph, _: &[Tag]) -> Result<bool> {
        let (layout, name, root) = (self.layout.clone(), self.name.clone(), graph.root.descriptor.digest);
        let manifests = graph.manifests().into_iter().map(|node| &node.descriptor);
        let all: Vec<(Digest, u64)> =
            graph.blobs().into_iter().chain(manifests).map(|it| (it.digest, it.size)).collect();
        blocking(move || {
            if !layout.index()?.has(name.as_ref(), &root) {
                return Ok(false);
            }
            for (digest, size) in &all {
                if !has(&layout.blob(digest), *size)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        holds(content, self.layout.blob(&content.digest)).await
    }

    async fn link(&self, content: &Descriptor, file: LocalFile) -> Result<Option<Placement>> {
        let place = self.layout.blob(&content.digest);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        self.landings.link(content, file, &place).await
    }

    async fn prefix(&self, content: &Descriptor) -> Result<Prefix> {
        self.landings.prefix(content).await
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        if content.media_type.is_manifest() {
            let bytes = body.collect().await?;
            let (layout, landings, content) = (self.layout.clone(), self.landings.clone(), content.clone());
            blocking(move || layout.write_manifest(&landings, &content, bytes)).await?;
            return Ok(Placement::Written);
        }
        self.landings.receive(content, &self.layout.blob(&content.digest), body).await
    }

    async fn publish(&self, root: &Descriptor, bytes: Bytes, _: &[Tag]) -> Result<()> {
        let (layout, name, root) = (self.layout.clone(), self.name.clone(), root.clone());
        let landings = self.landings.clone();
        blocking(move || {
            layout.write_manifest(&landings, &root, bytes)?;
            // Before the image is there: whoever finds it has nothing more to do.
            landings.tidy_landed(|digest| layout.blob(digest).exists())?;
            for folder in fs::read_dir(&layout.blobs)? {
                let folder = folder?;
                if folder.file_type()?.is_dir() {
                    hod_io::fs::sync_directory(&folder.path())?;
                }
            }
            layout.update(|index| {
                index.set(name.as_ref(), &root);
                Ok(())
            })
        })
        .await
    }
}

impl Scaffolds {
    /// A layout to write an image of that name to, with its content in `blobs` where that is a folder of its own.
    pub fn layout(&self, path: &Path, blobs: Option<&Path>, name: Option<&str>) -> crate::Result<LayoutSink> {
        let mut made = Made::at(path);
        let sink = LayoutSink::make(path, blobs, name, &mut made);
        self.note(made);
        Ok(sink?.within(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

    #[tokio::test]
    async fn a_manifest_that_two_processes_write_leaves_one_file() {
        let folder = tempfile::tempdir().unwrap();
        Layout::create(folder.path()).unwrap();
        let sink = Layout::open(folder.path()).unwrap().sink(None).unwrap();
        let digest = Digest::sha256(EMPTY);
        let root = Descriptor::new("application/vnd.oci.image.index.v1+json".into(), digest, EMPTY.len() as u64);
        // One has finished; the other was killed while it wrote.
        sink.landings.write(&digest, EMPTY, &sink.layout.blob(&digest)).unwrap();
        sink.landings.write(&digest, EMPTY, &folder.path().join("oci-layout/no/folder")).unwrap_err();
        let left = sink.landings.folder().child(format!(".sha256-{}.partial", digest.hex()));
        fs::write(left.path(), &EMPTY[..9]).unwrap();
        sink.publish(&root, Bytes::from_static(EMPTY), &[]).await.unwrap();
        assert!(!left.path().exists());
        let blobs = fs::read_dir(folder.path().join("blobs/sha256")).unwrap();
        assert_eq!(
            blobs.map(|file| file.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>(),
            [digest.hex()]
        );
    }
}
