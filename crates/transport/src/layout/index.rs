//! `index.json` of a layout: read for what it lists, written with everything else that it had.

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::{LayoutImage, TransportError};
use hod_oci::{Descriptor, Digest, MediaType, check_weight};

/// The annotation that holds an image's name in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The content of `oci-layout`.
pub(crate) const LAYOUT_FILE: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The index of a layout.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    fields: Map<String, Value>,
    entries: Vec<Value>,
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
        self.entries.iter().filter_map(|entry| Some((name(entry).map(str::to_owned), read(entry)?))).collect()
    }

    /// The image that is meant; without a name there must be exactly one.
    pub(crate) fn find(&self, path: &Path, image: Option<&LayoutImage>) -> super::super::Result<Descriptor> {
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
            Some(LayoutImage::Name(wanted)) => images
                .iter()
                .find(|(name, descriptor)| name.as_deref() == Some(&**wanted) && descriptor.media_type.is_manifest()),
        };
        found.map(|(_, descriptor)| descriptor.clone()).ok_or_else(|| TransportError::Unknown {
            path: PathBuf::from(path),
            image: image.map_or_else(|| "at all".to_owned(), ToString::to_string),
            images: names(),
        })
    }

    /// Lets a name stand for an image; what it stood for stays, without the name.
    pub(crate) fn set(&mut self, image: Option<&str>, root: &Descriptor) {
        let digest = root.digest.to_string();
        if let Some(image) = image {
            self.entries.iter_mut().filter(|entry| name(entry) == Some(image)).for_each(remove_name);
        }
        let mut entry = json!({ "mediaType": root.media_type, "digest": digest, "size": root.size });
        if let (Some(image), Some(fields)) = (image, entry.as_object_mut()) {
            fields.insert("annotations".to_owned(), json!({ REF_NAME: image }));
        }
        let nameless = |old: &Value| name(old).is_none() && old.get("digest").and_then(Value::as_str) == Some(&digest);
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
        let before = self.entries.len();
        self.entries.retain(|entry| name(entry) != Some(image));
        self.entries.len() < before
    }

    /// Removes the entries of a manifest, whatever their names.
    pub(crate) fn remove_digest(&mut self, digest: &Digest) {
        let digest = digest.to_string();
        self.entries.retain(|entry| entry.get("digest").and_then(Value::as_str) != Some(&digest));
    }

    /// Gives an image one more name.
    pub(crate) fn add_name(&mut self, found: &Descriptor, image: &str) {
        self.entries.retain(|entry| name(entry) != Some(image));
        let digest = found.digest.to_string();
        let same = |entry: &&Value| entry.get("digest").and_then(Value::as_str) == Some(&digest);
        let mut entry = self.entries.iter().find(same).cloned().unwrap_or_else(|| json!(found));
        if let Some(fields) = entry.as_object_mut() {
            let annotations = fields.entry("annotations").or_insert_with(|| json!({}));
            if !annotations.is_object() {
                *annotations = json!({});
            }
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(REF_NAME.to_owned(), json!(image));
            }
        }
        self.entries.push(entry);
    }
}

fn name(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(REF_NAME)?.as_str()
}

fn remove_name(entry: &mut Value) {
    let Some(fields) = entry.as_object_mut() else { return };
    let Some(annotations) = fields.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    annotations.remove(REF_NAME);
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
        index.set(Some("a"), &root("1"));
        index.set(Some("a"), &root("22"));
        assert_eq!(names(&index), [(None, 1), (some("a"), 2)]);
        index.set(Some("b"), &root("1"));
        assert_eq!(names(&index), [(some("b"), 1), (some("a"), 2)]);
        index.set(None, &root("22"));
        assert_eq!(names(&index), [(some("b"), 1), (some("a"), 2), (None, 2)]);
        index.set(Some("a"), &root("22"));
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
        index.set(Some("a"), &root("22"));
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
        index.set(Some("b"), &root("22"));
        assert!(index.find(path, None).unwrap_err().to_string().contains("name one of @0, b"));
        assert_eq!(index.find(path, Some(&LayoutImage::Name("b".into()))).unwrap().size, 2);
        assert_eq!(index.find(path, Some(&LayoutImage::Position(0))).unwrap().size, 1);
        assert!(index.find(path, Some(&LayoutImage::Position(2))).is_err());
    }
}
