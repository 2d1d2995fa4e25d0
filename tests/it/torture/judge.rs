//! Whether what is visible is right: read by rules of its own, not by hod's code.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use hod_oci::Digest;
use serde_json::Value;
use walkdir::WalkDir;

use super::scene::World;
use super::trace::Run;
use crate::support::images::Content;

/// The most memory of any run: what the images take is nothing beside it.
pub const MEMORY: u64 = 256 << 20;

/// Compares with what the world holds.
#[derive(Debug)]
pub struct Judge<'a> {
    folder: &'a Path,
    manifests: BTreeSet<Digest>,
    /// What lacks its revision link in the store that was read. To every reader of a root, such a child of an index is
    /// one that the index does not have there: so it is after a sparse pull, and after a registry has deleted it. Only
    /// `hod verify` tells that from a loss, by what else the repository has.
    unlinked: BTreeSet<Digest>,
}

impl<'a> Judge<'a> {
    /// Over the folder of a try.
    pub fn new(world: &World, folder: &'a Path) -> Self {
        let repositories = folder.join("store/docker/registry/v2/repositories");
        let mut unlinked = BTreeSet::new();
        for (name, repository) in world.content.repositories.iter().filter(|_| repositories.exists()) {
            unlinked.extend(repository.manifests.keys().copied().filter(|digest| {
                let link = format!("{name}/_manifests/revisions/sha256/{}/link", digest.hex());
                fs::read(repositories.join(link)).ok() != Some(digest.to_string().into_bytes())
            }));
        }
        Self { folder, manifests: world.manifests(), unlinked }
    }

    /// A registry root: every tag leads to a manifest of the world, and all below it is there and right.
    pub fn root(&self, name: &str) -> Result<(), String> {
        let root = self.folder.join(name).join("docker/registry/v2");
        let blob =
            |digest: &Digest| fs::read(root.join(format!("blobs/sha256/{}/{}/data", &digest.hex()[..2], digest.hex())));
        for entry in WalkDir::new(root.join("repositories")).into_iter().filter_map(Result::ok) {
            let path = entry.path().to_str().unwrap();
            let Some((repository, _)) =
                path.split_once("/_manifests/tags/").filter(|_| path.ends_with("/current/link"))
            else {
                continue;
            };
            let text = fs::read_to_string(path).unwrap();
            let digest = text.parse().map_err(|_| format!("{path} holds {text:?}"))?;
            self.is_known(path, &digest)?;
            let linked = |digest: &Digest| {
                Path::new(repository).join(format!("_manifests/revisions/sha256/{}/link", digest.hex())).exists()
            };
            self.whole(path, &digest, &|digest, is_manifest| {
                if is_manifest && !linked(digest) {
                    return None;
                }
                blob(digest).ok()
            })?;
        }
        let blobs = WalkDir::new(root.join("blobs")).into_iter().filter_map(Result::ok);
        for entry in blobs.filter(|entry| entry.file_type().is_file()) {
            let hex = entry.path().parent().unwrap().file_name().unwrap().to_str().unwrap();
            if Digest::sha256(&fs::read(entry.path()).unwrap()).hex() != hex {
                return Err(format!("{} holds other bytes", entry.path().display()));
            }
        }
        Ok(())
    }

    /// A layout: every image of its index is one of the world, and whole.
    pub fn layout(&self, name: &str) -> Result<(), String> {
        let folder = self.folder.join(name);
        let Ok(bytes) = fs::read(folder.join("index.json")) else { return Ok(()) };
        let index: Value = serde_json::from_slice(&bytes).map_err(|error| format!("index.json: {error}"))?;
        for image in index["manifests"].as_array().into_iter().flatten() {
            let digest = parsed(image)?;
            self.is_known("index.json", &digest)?;
            let blob = |digest: &Digest, _| fs::read(folder.join("blobs/sha256").join(digest.hex())).ok();
            self.whole("index.json", &digest, &blob)?;
        }
        Ok(())
    }

    /// What a registry holds: as a root. Of what nobody gave a digest for, any manifest is good that is whole.
    pub fn registry(&self, content: &Content, any: bool) -> Result<(), String> {
        for (name, repository) in &content.repositories {
            for (tag, digest) in &repository.tags {
                if !any {
                    self.is_known(&format!("{name}:{tag}"), digest)?;
                }
                self.whole(&format!("{name}:{tag}"), digest, &|digest, is_manifest| {
                    let bytes = if is_manifest {
                        repository.manifests.get(digest).map(|(_, bytes)| bytes)
                    } else {
                        repository.blobs.get(digest)
                    };
                    bytes.map(|bytes| bytes.to_vec())
                })?;
            }
        }
        Ok(())
    }

    /// Whether hod finds nothing wrong.
    pub fn verifies(&self, place: &str) -> Result<(), String> {
        Run::new(self.folder, ["verify", place])
            .end()
            .good()
            .map(drop)
            .map_err(|error| format!("verify {place}: {error}"))
    }

    fn is_known(&self, place: &str, digest: &Digest) -> Result<(), String> {
        // A list of referrers is made where they are.
        if place.contains("sha256-") {
            return Ok(());
        }
        // What came from an image directory was named by nobody: it is whole, or it is not there.
        let known = self.manifests.contains(digest)
            || self.folder.join("directory").exists()
            || self.folder.join("docker.tar").exists();
        if known { Ok(()) } else { Err(format!("{place} leads to {digest}, which nobody has made")) }
    }

    /// Whether a manifest and all below it are there and right.
    fn whole(
        &self,
        place: &str,
        digest: &Digest,
        read: &dyn Fn(&Digest, bool) -> Option<Vec<u8>>,
    ) -> Result<(), String> {
        let right = |digest: &Digest, is_manifest| {
            let bytes = read(digest, is_manifest).ok_or_else(|| format!("{place}: {digest} is not there"))?;
            if Digest::of(digest.algorithm(), &bytes) == *digest {
                Ok(bytes)
            } else {
                Err(format!("{place}: {digest} has other bytes"))
            }
        };
        let bytes = right(digest, true)?;
        let document: Value = serde_json::from_slice(&bytes).map_err(|error| format!("{place}: {digest}: {error}"))?;
        for child in document["manifests"].as_array().into_iter().flatten() {
            let child = parsed(child)?;
            if read(&child, true).is_some() || !self.unlinked.contains(&child) {
                self.whole(place, &child, read)?;
            }
        }
        for blob in document["layers"].as_array().into_iter().flatten().chain(document.get("config")) {
            right(&parsed(blob)?, false)?;
        }
        Ok(())
    }
}

fn parsed(descriptor: &Value) -> Result<Digest, String> {
    let text = descriptor["digest"].as_str().unwrap_or_default();
    text.parse().map_err(|_| format!("{text:?} is no digest"))
}
