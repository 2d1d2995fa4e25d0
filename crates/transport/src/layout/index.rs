//! `index.json` of a layout: read for what it lists, written with everything else that it had.

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::{LayoutImage, TransportError};
use hod_oci::{DOCKER_IO, Descriptor, Digest, MediaType, Reference, Tag, check_weight};

/// The annotation that holds an image's name in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which containerd and Docker look for the complete name; the other is often a mere tag then.
const COMPLETE_NAME: &str = "io.containerd.image.name";
/// The annotation in which packages of zarf have it.
const ZARF_NAME: &str = "org.opencontainers.image.base.name";
/// The content of `oci-layout`.
pub(crate) const LAYOUT_FILE: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The index of a layout.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    fields: Map<String, Value>,
    entries: Vec<Value>,
}

/// What an image is called in a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryName {
    own: String,
    complete: Option<String>,
}

impl EntryName {
    /// The name, with what Docker would make of it where it is more than a tag.
    pub(crate) fn of(own: &str) -> Self {
        let complete = Some(own).filter(|own| !is_tag(own)).and_then(completed);
        Self { own: own.to_owned(), complete: complete.map(|name| name.to_string()) }
    }

    /// The same with a complete name that is known, where the name is a part of it.
    pub(crate) fn completed_by(self, complete: Option<&Reference>) -> Self {
        let Some(complete) = complete else { return self };
        let name = complete.to_string();
        let is_tag = complete.tag.as_ref().is_some_and(|tag| tag.as_str() == self.own);
        let is_part = is_tag || name.ends_with(&format!("/{}", self.own));
        if is_part && complete.digest.is_none() { Self { complete: Some(name), ..self } } else { self }
    }

    fn annotate(&self, annotations: &mut Map<String, Value>) {
        annotations.insert(REF_NAME.to_owned(), json!(self.own));
        if let Some(complete) = &self.complete {
            annotations.insert(COMPLETE_NAME.to_owned(), json!(complete));
        }
    }

    /// Whether an entry is called so. Entries may have the same tag and different complete names.
    fn is_of(&self, entry: &Value) -> bool {
        match (&self.complete, complete_name(entry)) {
            (Some(own), Some(other)) => own == other,
            _ => name(entry) == Some(&self.own),
        }
    }
}

/// Whether a name in a layout is a mere tag.
fn is_tag(name: &str) -> bool {
    !name.contains(['/', ':', '@']) && name.parse::<Tag>().is_ok()
}

/// A name with everything filled in, where it is one with a tag.
fn completed(name: &str) -> Option<Reference> {
    let name = name.parse::<Reference>().ok()?.qualified(DOCKER_IO).ok()?;
    Some(name).filter(|name| name.digest.is_none())
}

/// Refuses a layout of another version.
pub(crate) fn check_layout_file(path: &Path, bytes: &[u8]) -> super::super::Result<()> {
    let bad =
        |source: Box<dyn std::error::Error + Send + Sync>| TransportError::LayoutFile { path: path.to_owned(), source };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| bad(error.into()))?;
    match value.get("imageLayoutVersion").and_then(Value::as_str) {
        Some(version) if version.starts_with("1.") => Ok(()),
        found => Err(bad(format!("imageLayoutVersion is {}", found.unwrap_or("missing")).into())),
    }
}

impl Default for Index {
    fn default() -> Self {
        let mut fields = Map::new();
        fields.insert("schemaVersion".to_owned(), json!(2));
        fields.insert("mediaType".to_owned(), json!(MediaType::OciIndex));
        Self { fields, entries: Vec::new() }
    }
}

impl Index {
    /// Reads the file's bytes.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> super::super::Result<Self> {
        let bad = |source: Box<dyn std::error::Error + Send + Sync>| TransportError::LayoutFile {
            path: path.to_owned(),
            source,
        };
        check_weight(bytes).map_err(|heavy| bad(heavy.into()))?;
        let mut fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| bad(error.into()))?;
        let entries = match fields.remove("manifests") {
            Some(Value::Array(entries)) => entries,
            // umoci writes null when the last image is gone.
            None | Some(Value::Null) => Vec::new(),
            Some(_) => return Err(bad("its manifests are not a list".into())),
        };
        for entry in &entries {
            Descriptor::deserialize(entry).map_err(|error| bad(error.into()))?;
        }
        Ok(Self { fields, entries })
    }

    /// What goes into the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut fields = self.fields.clone();
        fields.insert("manifests".to_owned(), Value::Array(self.entries.clone()));
        Value::Object(fields).to_string().into_bytes()
    }

    /// The images with their names.
    pub(crate) fn images(&self) -> Vec<(Option<String>, Descriptor)> {
        let read = |entry: &Value| Descriptor::deserialize(entry).ok();
        self.entries.iter().filter_map(|entry| Some((shown_name(entry).map(str::to_owned), read(entry)?))).collect()
    }

    /// Whether that name stands for this image already.
    pub(crate) fn has(&self, image: Option<&EntryName>, root: &Digest) -> bool {
        let digest = root.to_string();
        self.entries.iter().filter(|entry| digest_of(entry) == Some(&digest)).any(|entry| match image {
            Some(EntryName { own, complete }) => {
                name(entry) == Some(own) && complete_name(entry) == complete.as_deref()
            }
            None => name(entry).is_none(),
        })
    }

    /// What tells these images from each other: their complete names, else their positions.
    fn candidates(&self, positions: &[usize]) -> Vec<String> {
        let name = |position: &usize| self.entries.get(*position).and_then(complete_name);
        let is_unique = |name: &&str| self.entries.iter().filter(|it| complete_name(it) == Some(name)).count() == 1;
        let told = |at: &usize| name(at).filter(is_unique).map_or_else(|| format!("@{at}"), str::to_owned);
        positions.iter().map(told).collect()
    }

    /// The positions of the images with this name: as it is written, else by the complete name.
    fn named(&self, wanted: &str) -> Vec<usize> {
        let positions = |is_wanted: &dyn Fn(&Value) -> bool| -> Vec<usize> {
            let entries = self.entries.iter().enumerate();
            entries.filter(|(_, entry)| is_wanted(entry)).map(|(position, _)| position).collect()
        };
        let found = positions(&|entry| name(entry) == Some(wanted) || complete_name(entry) == Some(wanted));
        match completed(wanted).filter(|_| found.is_empty() && !is_tag(wanted)) {
            Some(complete) => positions(&|entry| complete_name(entry).and_then(completed).as_ref() == Some(&complete)),
            None => found,
        }
    }

    /// The image that is meant; without a name there must be exactly one.
    pub(crate) fn find(&self, path: &Path, image: Option<&LayoutImage>) -> super::super::Result<Descriptor> {
        Ok(self.find_named(path, image)?.1)
    }

    /// The same with the name that it has there.
    pub(crate) fn find_named(
        &self,
        path: &Path,
        image: Option<&LayoutImage>,
    ) -> super::super::Result<(Option<String>, Descriptor)> {
        let images = self.images();
        let names = || {
            let name = |(position, (name, _)): (usize, &(Option<String>, Descriptor))| {
                name.clone().unwrap_or_else(|| format!("@{position}"))
            };
            images.iter().enumerate().map(name).collect::<Vec<_>>()
        };
        let found = match image {
            None if images.len() > 1 => {
                return Err(TransportError::Several { path: path.to_owned(), images: names() });
            }
            None => images.first(),
            Some(LayoutImage::Position(position)) => images.get(*position),
            Some(LayoutImage::Digest(digest)) => images.iter().find(|(_, descriptor)| descriptor.digest == *digest),
            Some(LayoutImage::Name(wanted)) => {
                let mut found = self.named(wanted);
                found.retain(|at| images.get(*at).is_some_and(|(_, image)| image.media_type.is_manifest()));
                let first = found.first().and_then(|at| images.get(*at));
                let is_other = |(_, image): &(_, Descriptor)| first.is_some_and(|(_, one)| image.digest != one.digest);
                if found.iter().filter_map(|at| images.get(*at)).any(is_other) {
                    return Err(TransportError::Ambiguous {
                        path: path.to_owned(),
                        image: wanted.to_string(),
                        images: self.candidates(&found),
                    });
                }
                first
            }
        };
        found.cloned().ok_or_else(|| TransportError::Unknown {
            path: PathBuf::from(path),
            image: image.map_or_else(|| "at all".to_owned(), ToString::to_string),
            images: names(),
        })
    }

    /// Lets a name stand for an image; what it stood for stays, without the name.
    pub(crate) fn set(&mut self, image: Option<&EntryName>, root: &Descriptor) {
        let digest = root.digest.to_string();
        if let Some(image) = image {
            self.entries.iter_mut().filter(|entry| image.is_of(entry)).for_each(remove_name);
        }
        let mut entry = json!({ "mediaType": root.media_type, "digest": digest, "size": root.size });
        if let (Some(image), Some(fields)) = (image, entry.as_object_mut()) {
            let mut annotations = Map::new();
            image.annotate(&mut annotations);
            fields.insert("annotations".to_owned(), annotations.into());
        }
        let nameless = |old: &Value| shown_name(old).is_none() && digest_of(old) == Some(&digest);
        match self.entries.iter_mut().find(|old| nameless(old)) {
            Some(old) => {
                if let (Some(old), Some(new)) = (old.as_object_mut(), entry.as_object()) {
                    merge(old, new);
                }
            }
            None => self.entries.push(entry),
        }
        // Twice the same entry, such as after a name came back to its image, says nothing more than once.
        let mut seen = std::collections::HashSet::new();
        self.entries.retain(|entry| seen.insert(entry.to_string()));
    }

    /// Removes every entry with this name; says whether there was one.
    pub(crate) fn remove(&mut self, image: &str) -> bool {
        let taken = self.named(image);
        let mut position = 0..;
        self.entries.retain(|_| position.next().is_none_or(|position| !taken.contains(&position)));
        !taken.is_empty()
    }

    /// Removes the entries of a manifest, whatever their names.
    pub(crate) fn remove_digest(&mut self, digest: &Digest) {
        let digest = digest.to_string();
        self.entries.retain(|entry| digest_of(entry) != Some(&digest));
    }

    /// Gives an image one more name.
    pub(crate) fn add_name(&mut self, found: &Descriptor, image: &str) {
        let image = EntryName::of(image);
        self.entries.retain(|entry| !image.is_of(entry));
        let digest = found.digest.to_string();
        let same = |entry: &&Value| digest_of(entry) == Some(&digest);
        let mut entry = self.entries.iter().find(same).cloned().unwrap_or_else(|| json!(found));
        if let Some(fields) = entry.as_object_mut() {
            let annotations = fields.entry("annotations").or_insert_with(|| json!({}));
            if !annotations.is_object() {
                *annotations = json!({});
            }
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.remove(COMPLETE_NAME);
                image.annotate(annotations);
            }
        }
        self.entries.push(entry);
    }
}

fn name(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(REF_NAME)?.as_str()
}

fn complete_name(entry: &Value) -> Option<&str> {
    let annotations = entry.get("annotations")?;
    let of_zarf = || annotations.get(ZARF_NAME).filter(|_| annotations.get(REF_NAME).is_none());
    annotations.get(COMPLETE_NAME).or_else(of_zarf)?.as_str()
}

/// The name of an entry that says most: a mere tag, or a digest, says less than the complete name.
fn shown_name(entry: &Value) -> Option<&str> {
    let says_all = |name: &&str| !is_tag(name) && !name.starts_with('@');
    name(entry).filter(says_all).or_else(|| complete_name(entry)).or_else(|| name(entry))
}

fn digest_of(entry: &Value) -> Option<&str> {
    entry.get("digest")?.as_str()
}

fn remove_name(entry: &mut Value) {
    let Some(fields) = entry.as_object_mut() else { return };
    let Some(annotations) = fields.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    annotations.remove(REF_NAME);
    annotations.remove(COMPLETE_NAME);
    if annotations.is_empty() {
        fields.remove("annotations");
    }
}

/// Takes over fields, and of annotations each one.
fn merge(old: &mut Map<String, Value>, new: &Map<String, Value>) {
    for (key, value) in new {
        match (old.get_mut(key).and_then(Value::as_object_mut), value.as_object()) {
            (Some(old), Some(new)) => merge(old, new),
            _ => {
                old.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Descriptor {
        Descriptor::of(MediaType::OciManifest, text.as_bytes())
    }

    fn names(index: &Index) -> Vec<(Option<String>, u64)> {
        index.images().into_iter().map(|(name, descriptor)| (name, descriptor.size)).collect()
    }

    #[test]
    fn a_name_moves_and_its_old_image_stays() {
        let mut index = Index::default();
        let some = |name: &str| Some(name.to_owned());
        index.set(Some(&EntryName::of("a")), &root("1"));
        index.set(Some(&EntryName::of("a")), &root("22"));
        assert_eq!(names(&index), [(None, 1), (some("a"), 2)]);
        index.set(Some(&EntryName::of("b")), &root("1"));
        assert_eq!(names(&index), [(some("b"), 1), (some("a"), 2)]);
        index.set(None, &root("22"));
        assert_eq!(names(&index), [(some("b"), 1), (some("a"), 2), (None, 2)]);
        index.set(Some(&EntryName::of("a")), &root("22"));
        assert_eq!(names(&index), [(some("b"), 1), (some("a"), 2), (None, 2)]);
        assert!(index.remove("a"));
        assert!(!index.remove("a"));
        assert_eq!(names(&index), [(some("b"), 1), (None, 2)]);
    }

    #[test]
    fn what_others_wrote_stays() {
        let text = format!(
            r#"{{"schemaVersion":2,"annotations":{{"x":"y"}},"manifests":[{{"mediaType":"{}","digest":"{}","size":1,"platform":{{"os":"linux","architecture":"arm"}},"annotations":{{"k":"v","{REF_NAME}":"a"}},"data":"eA=="}}]}}"#,
            MediaType::OciManifest,
            root("1").digest,
        );
        let mut index = Index::parse("index.json".as_ref(), text.as_bytes()).unwrap();
        index.add_name(&root("1"), "b");
        index.set(Some(&EntryName::of("a")), &root("22"));
        let written: Value = serde_json::from_slice(&index.bytes()).unwrap();
        assert_eq!(written["annotations"]["x"], "y");
        assert_eq!(written["manifests"][0]["annotations"], json!({"k": "v"}));
        assert_eq!(written["manifests"][1]["annotations"], json!({"k": "v", REF_NAME: "b"}));
        assert_eq!(written["manifests"][1]["data"], "eA==");
        assert_eq!(written["manifests"][1]["platform"]["architecture"], "arm");
        let empty = Index::parse("index.json".as_ref(), br#"{"schemaVersion":2,"manifests":null}"#).unwrap();
        assert!(String::from_utf8(empty.bytes()).unwrap().contains(r#""manifests":[]"#));
        assert!(Index::parse("index.json".as_ref(), br#"{"manifests":[{}]}"#).is_err());
    }

    #[test]
    fn one_image_needs_no_name() {
        let mut index = Index::default();
        let path = Path::new("layout");
        assert!(index.find(path, None).unwrap_err().to_string().contains("contains no image"));
        index.set(None, &root("1"));
        assert_eq!(index.find(path, None).unwrap().size, 1);
        index.set(Some(&EntryName::of("b")), &root("22"));
        assert!(index.find(path, None).unwrap_err().to_string().contains("name one of @0, b"));
        assert_eq!(index.find(path, Some(&LayoutImage::Name("b".into()))).unwrap().size, 2);
        assert_eq!(index.find(path, Some(&LayoutImage::Position(0))).unwrap().size, 1);
        assert!(index.find(path, Some(&LayoutImage::Position(2))).is_err());
    }
}
