//! The policies for an index with missing children.
//!
//! A registry root takes it as it is. Many registries do not: they want every child of an index
//! that is pushed to them. Then there is a choice between another digest and no push at all, and
//! that choice is the user's.

use bytes::Bytes;

use hod_oci::{Descriptor, Digest, Graph, Manifest, ManifestKind, MediaType, Node};

/// How an index goes whose children are not all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexPolicy {
    /// As it is; where the registry refuses it, as a child or a new index.
    #[default]
    Auto,
    /// As it is, or not at all.
    Sparse,
    /// Only with all of its children.
    Full,
    /// As a new index of the children that are there.
    Rewrite,
    /// As its only child.
    Child,
}

/// The errors of converting a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// None of its children are there.
    #[error("no platform of the index is present")]
    Empty,
    /// There is not exactly one image in the index.
    #[error("the index has {0} images, so no single image can replace it: use --index rewrite")]
    Several(usize),
    /// The index is not what it was when it was read, which cannot be.
    #[error("cannot rewrite the index: {0}")]
    Json(String),
}

/// The images in a graph that a machine could run: children that are no attestations.
fn images(node: &Node) -> Vec<&Node> {
    if node.manifest.children().is_empty() {
        return vec![node];
    }
    node.children.iter().filter(|child| child.descriptor.attests().is_none()).flat_map(images).collect()
}

/// The one image in an index, to be pushed in its place.
pub fn only_child(graph: &Graph) -> Result<Graph, FormError> {
    match images(&graph.root).as_slice() {
        [] => Err(FormError::Empty),
        [child] => Ok(Graph { root: (*child).clone() }),
        children => Err(FormError::Several(children.len())),
    }
}

/// A new index of the children that are there.
pub fn rewritten(graph: &Graph) -> Result<Graph, FormError> {
    let root = rewrite(&graph.root)?;
    if root.children.is_empty() { Err(FormError::Empty) } else { Ok(Graph { root }) }
}

fn rewrite(node: &Node) -> Result<Node, FormError> {
    let sparse = !node.absent.is_empty() || node.children.iter().any(|child| !child.manifest.children().is_empty());
    if node.manifest.children().is_empty() || !sparse {
        return Ok(node.clone());
    }
    let children = node.children.iter().map(rewrite).collect::<Result<Vec<_>, _>>()?;
    let json = |error: serde_json::Error| FormError::Json(error.to_string());
    let mut document: serde_json::Value = serde_json::from_slice(&node.bytes).map_err(json)?;
    let listed = document.get_mut("manifests").and_then(serde_json::Value::as_array_mut);
    let listed = listed.ok_or_else(|| FormError::Json("it has no manifests".to_owned()))?;
    listed.retain_mut(|entry| {
        let digest: Option<Digest> = entry.get("digest").and_then(|it| it.as_str()).and_then(|it| it.parse().ok());
        let position = node.children.iter().position(|child| Some(child.descriptor.digest) == digest);
        let Some(child) = position.and_then(|position| children.get(position)) else { return false };
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("digest".to_owned(), child.descriptor.digest.to_string().into());
            entry.insert("size".to_owned(), child.descriptor.size.into());
        }
        true
    });
    let bytes = Bytes::from(serde_json::to_vec(&document).map_err(json)?);
    let media_type: MediaType = node.manifest.media_type.clone();
    let manifest = Manifest {
        kind: ManifestKind::Index { manifests: children.iter().map(|child| child.descriptor.clone()).collect() },
        ..(*node.manifest).clone()
    };
    let platform = node.descriptor.platform.clone();
    let descriptor = Descriptor { platform, ..Descriptor::of(media_type, &bytes) };
    Ok(Node::new(descriptor, bytes, manifest, children, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> Node {
        let config = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;
        let bytes = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"annotations":{{"name":"{name}"}}}}"#);
        node(&bytes, Vec::new(), Vec::new())
    }

    fn node(text: &str, children: Vec<Node>, absent: Vec<Descriptor>) -> Node {
        let bytes = Bytes::from(text.to_owned());
        let manifest = Manifest::parse(&MediaType::Other("".into()), &bytes).unwrap();
        let descriptor = Descriptor::of(manifest.media_type.clone(), &bytes);
        Node::new(descriptor, bytes, manifest, children, absent)
    }

    fn index(held: &[Node], all: &[&Node]) -> Graph {
        let entries: Vec<_> = all
            .iter()
            .map(|child| {
                format!(
                    r#"{{"mediaType":"{}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"amd64"}}}}"#,
                    child.descriptor.media_type, child.descriptor.digest, child.descriptor.size
                )
            })
            .collect();
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}],"annotations":{{"keep":"me"}}}}"#,
            MediaType::OciIndex,
            entries.join(",")
        );
        let has = |child: &&&Node| !held.iter().any(|held| held.descriptor.digest == child.descriptor.digest);
        let absent = all.iter().filter(has).map(|child| child.descriptor.clone()).collect();
        Graph { root: node(&text, held.to_vec(), absent) }
    }

    #[test]
    fn a_new_index_names_what_is_there_and_keeps_the_rest() {
        let (a, b, c) = (image("a"), image("b"), image("c"));
        let graph = index(&[a.clone(), c.clone()], &[&a, &b, &c]);
        let new = rewritten(&graph).unwrap();
        assert_ne!(new.root.descriptor.digest, graph.root.descriptor.digest);
        assert!(new.root.absent.is_empty());
        let read = Manifest::parse(&MediaType::OciIndex, &new.root.bytes).unwrap();
        let digests: Vec<_> = read.children().iter().map(|child| child.digest).collect();
        assert_eq!(digests, [a.descriptor.digest, c.descriptor.digest]);
        assert!(read.children().iter().all(|child| child.platform.is_some()));
        assert_eq!(read.annotations.get("keep").map(|value| &**value), Some("me"));
        assert_eq!(new.root.descriptor, Descriptor::of(MediaType::OciIndex, &new.root.bytes));
    }

    #[test]
    fn a_full_index_stays_as_it_is() {
        let (a, b) = (image("a"), image("b"));
        let graph = index(&[a.clone(), b.clone()], &[&a, &b]);
        assert_eq!(rewritten(&graph).unwrap().root.bytes, graph.root.bytes);
    }

    #[test]
    fn one_child_can_stand_for_the_index() {
        let (a, b) = (image("a"), image("b"));
        let graph = index(std::slice::from_ref(&a), &[&a, &b]);
        assert_eq!(only_child(&graph).unwrap().root.descriptor.digest, a.descriptor.digest);
        assert_eq!(only_child(&index(&[], &[&a, &b])).unwrap_err(), FormError::Empty);
        assert_eq!(only_child(&index(&[a.clone(), b.clone()], &[&a, &b])).unwrap_err(), FormError::Several(2));
    }
}
