//! Writing images to an archive that `docker load` reads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use fs_err as fs;

use super::output::Output;
use super::{DockerItem, diff_ids, qualified};
use crate::archive::{NewTar, TarStream};
use crate::files::blocking;
use crate::layer::expand;
use crate::{ArchiveImage, TransportError};
use hod_engine::endpoint::{Place, Placement, Result, Sink, Verified};
use hod_oci::{Descriptor, Digest, Graph, Manifest, ManifestKind, Reference, Tag};

/// An archive to write images to. Clones are the same archive.
#[derive(Debug, Clone)]
pub struct DockerArchiveSink {
    path: PathBuf,
    place: Place,
    names: Vec<String>,
    /// Where layers are expanded.
    scratch: PathBuf,
    /// Locked where it may take its time, and never by the async threads.
    output: Arc<Mutex<Output>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    items: Vec<DockerItem>,
    /// The digest of each layer before compression.
    layers: HashMap<Digest, Digest>,
    configs: HashMap<Digest, Bytes>,
    /// Layers in the order in which they go into the archive, whichever comes first.
    order: VecDeque<Digest>,
    /// Expanded layers that wait for their turn.
    waiting: HashMap<Digest, fs::File>,
    /// Members that are in the archive.
    written: HashSet<String>,
}

impl DockerArchiveSink {
    /// Begins an archive. There must be no file of that name, or an empty one, or a pipe, and then the archive is made
    /// in `scratch`.
    pub fn create(path: &Path, scratch: &Path) -> crate::Result<Self> {
        let tar = NewTar::create(path, scratch)?;
        let scratch = tar.folder().to_owned();
        Ok(Self::new(path, Output::File(tar), scratch))
    }

    /// Begins an archive of one image that goes to a reader. Messages call it `path`, layers are expanded in `scratch`.
    pub(crate) fn stream(path: &Path, name: &Reference, tar: TarStream, scratch: &Path) -> Self {
        Self { names: vec![name.to_string()], ..Self::new(path, Output::Stream(tar), scratch.to_owned()) }
    }

    fn new(path: &Path, output: Output, scratch: PathBuf) -> Self {
        Self {
            path: path.to_owned(),
            place: Place::local(&path.display().to_string(), None),
            names: Vec::new(),
            scratch,
            output: Arc::new(Mutex::new(output)),
            state: Arc::default(),
        }
    }

    /// The same archive, for an image of that name.
    pub fn named(&self, image: Option<&ArchiveImage>) -> crate::Result<Self> {
        let names = match image {
            None => Vec::new(),
            Some(ArchiveImage::Name(reference)) => vec![reference.to_string()],
            Some(ArchiveImage::Position(_)) => return Err(unsupported("an image at a position".to_owned())),
        };
        Ok(Self { names, ..self.clone() })
    }

    /// The same image with more names.
    pub fn with_names(mut self, names: &[String]) -> crate::Result<Self> {
        for name in names {
            let reference = qualified(name).filter(|reference| reference.digest.is_none());
            let reference = reference.ok_or_else(|| unsupported(format!("the name {name:?}")))?;
            self.names.push(reference.to_string());
        }
        Ok(self)
    }

    /// What the image is called in it.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Completes the archive, which is there from now on. Blocks.
    pub fn finish(&self) -> crate::Result<()> {
        let mut output = self.output();
        // Those behind a layer that has not come.
        let order = std::mem::take(&mut self.lock().order);
        order.into_iter().try_for_each(|digest| self.append(&mut output, digest))?;
        let list = serde_json::to_vec(&self.lock().items).map_err(io::Error::from)?;
        output.member("manifest.json", &list)?;
        output.finish()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an expanded layer, and appends all layers whose turn it is.
    fn take(&self, digest: Digest, diff: Digest, layer: fs::File) -> crate::Result<()> {
        let mut output = self.output();
        {
            let mut state = self.lock();
            state.layers.insert(digest, diff);
            state.waiting.insert(digest, layer);
            if !state.order.contains(&digest) {
                state.order.push_back(digest);
            }
        }
        loop {
            let mut state = self.lock();
            let Some(next) = state.order.front().copied().filter(|next| state.layers.contains_key(next)) else {
                return Ok(());
            };
            state.order.pop_front();
            drop(state);
            self.append(&mut output, next)?;
        }
    }

    /// Appends a layer that waits, unless the archive has it.
    fn append(&self, output: &mut Output, digest: Digest) -> crate::Result<()> {
        let (mut layer, name) = {
            let mut state = self.lock();
            let found = state.waiting.remove(&digest).zip(state.layers.get(&digest));
            let Some((layer, diff)) = found else { return Ok(()) };
            let name = format!("{}.tar", diff.hex());
            if !state.written.insert(name.clone()) {
                return Ok(());
            }
            (layer, name)
        };
        output.file(&name, &mut layer)
    }

    fn list(&self, root: &Descriptor, bytes: &[u8]) -> crate::Result<()> {
        let unusable = |source| TransportError::Manifest { path: self.path.clone(), source };
        let manifest = Manifest::parse(&root.media_type, bytes).map_err(unusable)?;
        let ManifestKind::Image { config, layers } = &manifest.kind else {
            return Err(unsupported("an image of several platforms: choose one".to_owned()));
        };
        let incomplete = |digest| {
            let (path, manifest) = (self.path.clone(), Box::new(root.digest));
            TransportError::Incomplete { path, manifest, digest }
        };
        let mut output = self.output();
        let mut state = self.lock();
        let bytes = state.configs.get(&config.digest).cloned().ok_or_else(|| incomplete(config.digest))?;
        let ids = diff_ids(&bytes).map_err(|_| unsupported("an artifact that is not an image".to_owned()))?;
        let mut found = Vec::new();
        for layer in layers {
            if layer.media_type.is_foreign_layer() && !state.layers.contains_key(&layer.digest) {
                return Err(unsupported(format!(
                    "an image whose layer {} is stored elsewhere; oci:, stores and registries support such layers",
                    layer.digest
                )));
            }
            found.push(state.layers.get(&layer.digest).copied().ok_or_else(|| incomplete(layer.digest))?);
        }
        if let Some((wanted, found)) = ids.iter().zip(&found).find(|(wanted, found)| wanted != found) {
            let path = self.path.join(format!("{}.tar", found.hex()));
            return Err(TransportError::Corrupt { path, expected: Box::new(*wanted), found: Box::new(*found) });
        }
        if ids.len() != found.len() {
            return Err(unsupported(format!("an image of {} layers whose config names {}", found.len(), ids.len())));
        }
        // The image's id, which is by SHA-256 however its manifest names the config.
        let name = format!("{}.json", Digest::sha256(&bytes).hex());
        if let Some(item) = state.items.iter_mut().find(|item| item.config == name) {
            let new = self.names.iter().filter(|name| !item.repo_tags.contains(name)).cloned().collect::<Vec<_>>();
            item.repo_tags.extend(new);
            return Ok(());
        }
        let layers = found.iter().map(|diff| format!("{}.tar", diff.hex())).collect();
        state.items.push(DockerItem { config: name.clone(), repo_tags: self.names.clone(), layers });
        drop(state);
        output.member(&name, &bytes)
    }
}

fn unsupported(what: String) -> TransportError {
    TransportError::Unsupported { kind: "a docker archive", what }
}

#[async_trait]
impl Sink for DockerArchiveSink {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn published(&self, graph: &Graph, _: &[Tag]) -> Result<bool> {
        if graph.root.manifest.media_type.is_index() {
            return Err(unsupported("an image of several platforms: choose one".to_owned()).into());
        }
        self.lock().order.extend(graph.root.manifest.blobs().skip(1).map(|layer| layer.digest));
        Ok(false)
    }

    fn holds_foreign_layers(&self) -> bool {
        true
    }

    async fn contains(&self, content: &Descriptor) -> Result<bool> {
        let state = self.lock();
        Ok(state.layers.contains_key(&content.digest) || state.configs.contains_key(&content.digest))
    }

    async fn put(&self, content: &Descriptor, body: Verified) -> Result<Placement> {
        if content.media_type.is_image_config() {
            if content.size > hod_oci::MANIFEST_LIMIT {
                return Err(unsupported(format!("a config of {} bytes", content.size)).into());
            }
            let bytes = body.collect().await?;
            self.lock().configs.insert(content.digest, bytes);
            return Ok(Placement::Written);
        }
        if content.media_type.is_manifest() {
            return Err(unsupported("an image of several platforms: choose one".to_owned()).into());
        }
        let (layer, diff) = expand(body, self.scratch.clone()).await?;
        let (this, digest) = (self.clone(), content.digest);
        blocking(move || this.take(digest, diff, layer)).await?;
        Ok(Placement::Written)
    }

    /// Lists the image; the archive itself is there after [`DockerArchiveSink::finish`].
    async fn publish(&self, root: &Descriptor, bytes: Bytes, _: &[Tag]) -> Result<()> {
        let (this, root) = (self.clone(), root.clone());
        blocking(move || this.list(&root, &bytes)).await
    }
}
