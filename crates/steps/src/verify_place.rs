//! Checks image directories and OCI layouts: every manifest, config and layer of their images against the descriptor that
//! names it.
//!
//! Each file is read once, whatever uses it. What no image uses is not read: `hod gc` deletes it from a layout. A child
//! that an index names and that is nowhere is no damage, as in a store.

mod error;
mod images;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::runtime::Handle;

pub use error::VerifyPlaceError;

use self::error::told;
use self::images::{Image, Listed, list};
use super::finding::{Code, Finding, Findings};
use super::processors::{WorkQueue, on_all_processors};
use hod_engine::endpoint::{Fault, Source};
use hod_engine::observe::{Event, Observer, Stop};
use hod_oci::{Descriptor, Digest, Hasher, Manifest, MediaType, Version};
use hod_transport::Location;

/// Checks the images of a place, or the one that it names. Reads only; damage is a finding.
///
/// Must be called on a thread of a runtime that may block. `scratch` is where a compressed archive is expanded.
///
/// # Errors
/// Where the place is not there, is none of its kind, or is of a transport that is not checked.
pub fn verify_place(
    place: &Location,
    scratch: &Path,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<Findings, VerifyPlaceError> {
    let Listed { images, findings } = list(place, scratch)?;
    let runtime = Handle::current();
    let mut seen = Seen { findings, ..Seen::default() };
    for image in &images {
        if stop.is_requested() {
            break;
        }
        seen.follow(image, &runtime);
    }
    let Seen { contents, manifests, mut findings, users } = seen;
    let sizes: u64 = contents.keys().map(|(_, size)| *size).sum();
    observer.on(&Event::Step { name: "verify", images: 0, bytes: sizes });
    let mut queue: Vec<((String, u64), Content)> = contents.into_iter().collect();
    queue.sort_by_key(|((_, size), _)| std::cmp::Reverse(*size));
    findings.extend(on_all_processors(&queue, stop, |taken: WorkQueue<'_, ((String, u64), Content)>, found| {
        for ((path, _), content) in taken {
            if let Some((code, detail)) = runtime.block_on(content.check(observer, stop)) {
                found(Finding::new(code, path.clone(), detail));
            }
        }
    }));
    for finding in &mut findings {
        finding.images = users.get(&finding.path).into_iter().flatten().cloned().collect();
    }
    findings.sort();
    findings.dedup();
    let read = manifests.values().flatten();
    Ok(Findings {
        blobs: queue.len() + read.clone().count(),
        bytes: sizes + read.map(|(_, size)| *size).sum::<u64>(),
        images: images.len(),
        findings,
        ..Findings::default()
    })
}

/// What the images of a place are made of.
#[derive(Default)]
struct Seen {
    /// Configs and layers by their paths, and by their lengths where manifests do not agree.
    contents: BTreeMap<(String, u64), Content>,
    /// Manifests and their lengths by their paths; nothing where one cannot be used.
    manifests: HashMap<String, Option<(Arc<Manifest>, u64)>>,
    findings: Vec<Finding>,
    /// The images that use what is at a path.
    users: HashMap<String, BTreeSet<String>>,
}

/// A config or layer.
struct Content {
    source: Arc<dyn Source>,
    descriptor: Descriptor,
    /// What names it.
    named_by: String,
    /// True if it may be absent, as all that an index names.
    optional: bool,
}

impl Seen {
    /// Takes note of everything below the root of an image.
    fn follow(&mut self, image: &Image, runtime: &Handle) {
        let mut visited = HashSet::new();
        let mut open = vec![(image.root.clone(), None)];
        while let Some((descriptor, parent)) = open.pop() {
            if !visited.insert(descriptor.digest) {
                continue;
            }
            if !descriptor.media_type.is_manifest() {
                self.content(image, &descriptor, parent.as_ref(), parent.is_some());
                continue;
            }
            let Some(manifest) = self.manifest(image, &descriptor, parent.as_ref(), runtime) else { continue };
            for blob in manifest.blobs().filter(|blob| !blob.media_type.is_foreign_layer()) {
                self.content(image, blob, Some(&descriptor.digest), false);
            }
            open.extend(manifest.children().iter().map(|child| (child.clone(), Some(descriptor.digest))));
        }
    }

    fn uses(&mut self, image: &Image, path: &str) {
        self.users.entry(path.to_owned()).or_default().insert(image.name.clone());
    }

    fn content(&mut self, image: &Image, descriptor: &Descriptor, parent: Option<&Digest>, optional: bool) {
        let path = image.files.path_of(descriptor);
        self.uses(image, &path);
        let content = self.contents.entry((path, descriptor.size)).or_insert_with(|| Content {
            source: image.source.clone(),
            descriptor: descriptor.clone(),
            named_by: named_by(parent),
            optional,
        });
        content.optional &= optional;
    }

    /// Reads a manifest, unless that was done before.
    fn manifest(
        &mut self,
        image: &Image,
        descriptor: &Descriptor,
        parent: Option<&Digest>,
        runtime: &Handle,
    ) -> Option<Arc<Manifest>> {
        let path = image.files.path_of(descriptor);
        self.uses(image, &path);
        if let Some(known) = self.manifests.get(&path) {
            return known.as_ref().map(|(manifest, _)| manifest.clone());
        }
        let read = self.read(image, descriptor, parent, runtime).unwrap_or_else(|(code, detail)| {
            self.findings.push(Finding::new(code, path.clone(), detail));
            None
        });
        let manifest = read.map(|manifest| (Arc::new(manifest), descriptor.size));
        self.manifests.entry(path).or_insert(manifest).as_ref().map(|(manifest, _)| manifest.clone())
    }

    /// The manifest, or nothing if it may be missing.
    fn read(
        &mut self,
        image: &Image,
        descriptor: &Descriptor,
        parent: Option<&Digest>,
        runtime: &Handle,
    ) -> Result<Option<Manifest>, (Code, String)> {
        let error = match runtime.block_on(image.source.manifest(&Version::Digest(descriptor.digest))) {
            Ok((found, bytes)) => {
                if found.size != descriptor.size {
                    let detail = other_size(found.size, &named_by(parent), descriptor.size);
                    self.findings.push(Finding::new(Code::DeclaredSizeWrong, image.files.path_of(descriptor), detail));
                }
                let manifest = Manifest::parse(&found.media_type, &bytes);
                return manifest.map(Some).map_err(|error| (Code::ManifestInvalid, told(&error)));
            }
            Err(error) => error,
        };
        match error.fault() {
            // What of an index is not there is a platform that nobody chose.
            Fault::Missing if parent.is_some() => Ok(None),
            Fault::Missing => Err((Code::BlobMissing, format!("{} names it", named_by(parent)))),
            Fault::Rejected if self.first_format(image, &descriptor.digest, runtime) => Ok(None),
            Fault::Rejected => Err((Code::ManifestInvalid, told(&error))),
            _ => Err((Code::BlobDigestMismatch, told(&error))),
        }
    }

    /// Takes note of the layers of a manifest in Docker's first format; says whether it is one.
    fn first_format(&mut self, image: &Image, manifest: &Digest, runtime: &Handle) -> bool {
        match runtime.block_on(image.source.first_format(&Version::Digest(*manifest))) {
            Ok(Some(first)) => {
                for layer in first.manifest.layers.iter().filter(|layer| !layer.is_empty) {
                    let size = first.sizes.get(&layer.blob).copied().unwrap_or_default();
                    let descriptor = Descriptor::new(MediaType::parse("application/octet-stream"), layer.blob, size);
                    self.content(image, &descriptor, Some(manifest), false);
                }
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.findings.push(Finding::new(Code::BlobMissing, image.files.path_of(&image.root), told(&error)));
                true
            }
        }
    }
}

impl Content {
    /// Hashes the content; says what is wrong with it.
    async fn check(&self, observer: &dyn Observer, stop: &Stop) -> Option<(Code, String)> {
        // Of a manifest's length and its digest, the digest decides.
        let size = self.source.size(&self.descriptor).await.ok().flatten().unwrap_or(self.descriptor.size);
        let wrong_size = (size != self.descriptor.size).then(|| other_size(size, &self.named_by, self.descriptor.size));
        let descriptor = Descriptor { size, ..self.descriptor.clone() };
        let mut stream = match self.source.open(&descriptor, 0).await {
            Ok(stream) => stream,
            Err(error) if error.fault() == Fault::Missing => {
                let detail = format!("{} needs it", self.named_by);
                return (!self.optional).then_some((Code::BlobMissing, detail));
            }
            // Before the first byte the length is all that can be wrong.
            Err(error) if error.fault() == Fault::Corrupt => {
                return Some((Code::BlobSizeMismatch, told(&error)));
            }
            Err(error) => return Some((Code::BlobDigestMismatch, told(&error))),
        };
        let digest = &self.descriptor.digest;
        let mut hasher = Hasher::new(digest.algorithm());
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => {
                    hasher.update(&chunk);
                    observer.on(&Event::Moved { digest, bytes: chunk.len() as u64 });
                }
                Err(error) => return Some((Code::BlobDigestMismatch, told(&error))),
            }
            if stop.is_requested() {
                return None;
            }
        }
        let found = hasher.finish();
        match wrong_size {
            Some(detail) if found == *digest => Some((Code::DeclaredSizeWrong, detail)),
            Some(detail) => Some((Code::BlobSizeMismatch, detail)),
            None => {
                (found != *digest).then(|| (Code::BlobDigestMismatch, format!("the bytes have the digest {found}")))
            }
        }
    }
}

fn other_size(size: u64, named_by: &str, declared: u64) -> String {
    format!("it has {size} bytes, and {named_by} says {declared}")
}

/// What names some content, as findings have it.
fn named_by(manifest: Option<&Digest>) -> String {
    manifest.map_or_else(|| "index.json".to_owned(), ToString::to_string)
}
