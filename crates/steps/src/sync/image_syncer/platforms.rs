//! `--os` and `--arch`: filters the platforms of an index.
//!
//! Unlike a sparse index, what is left names nothing that is not there: the index is written anew, with another digest.

use std::str::FromStr;

use hod_image::index_policy::{FormError, rewritten};
use hod_oci::{Digest, Graph, Node, Platform};

/// Which platforms are wanted. An empty list wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlatformFilter {
    /// Operating systems.
    pub systems: Vec<String>,
    /// Processors.
    pub architectures: Vec<Architecture>,
}

/// A processor: `arm64`, or `arm:v7` for one variant alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    name: String,
    variant: Option<String>,
}

impl FromStr for Architecture {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, variant) = text.split_once(':').map_or((text, None), |(name, variant)| (name, Some(variant)));
        Ok(Self { name: name.to_owned(), variant: variant.map(str::to_owned) })
    }
}

impl PlatformFilter {
    /// Returns true if all platforms are wanted.
    pub const fn is_empty(&self) -> bool {
        self.systems.is_empty() && self.architectures.is_empty()
    }

    fn takes(&self, platform: &Platform) -> bool {
        let system = self.systems.is_empty() || self.systems.iter().any(|system| **system == *platform.os);
        let variant = platform.variant.as_deref();
        let architecture = self.architectures.is_empty()
            || self.architectures.iter().any(|wanted| {
                wanted.name == *platform.architecture
                    && (wanted.variant.is_none() || wanted.variant.as_deref() == variant)
            });
        system && architecture
    }

    /// What is left of an image, or `None` where nothing is. Platforms that nobody tells are taken.
    pub fn apply(&self, graph: &Graph) -> Result<Option<Graph>, FormError> {
        if self.is_empty() {
            return Ok(Some(graph.clone()));
        }
        let Some(root) = self.node(&graph.root) else { return Ok(None) };
        let graph = Graph { root };
        if graph.root.manifest.media_type.is_index() { rewritten(&graph).map(Some) } else { Ok(Some(graph)) }
    }

    fn node(&self, node: &Node) -> Option<Node> {
        if !node.manifest.media_type.is_index() {
            let platform = node.descriptor.platform.as_ref().or(node.platform.as_ref());
            return platform.is_none_or(|platform| self.takes(platform)).then(|| node.clone());
        }
        let images = node.children.iter().filter(|child| child.descriptor.attests().is_none());
        let kept: Vec<Node> = images.filter_map(|child| self.node(child)).collect();
        let digests: Vec<Digest> = kept.iter().map(|child| child.descriptor.digest).collect();
        let statement = |child: &&Node| child.descriptor.attests().is_some_and(|subject| digests.contains(&subject));
        let statements = node.children.iter().filter(statement).cloned();
        let children: Vec<Node> = kept.into_iter().chain(statements).collect();
        if children.is_empty() {
            return None;
        }
        let stays = |digest: &Digest| children.iter().any(|child| child.descriptor.digest == *digest);
        let gone = node.children.iter().filter(|child| !stays(&child.descriptor.digest));
        let absent = node.absent.iter().cloned().chain(gone.map(|child| child.descriptor.clone())).collect();
        Some(Node { children, absent, ..node.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_and_processors_are_asked_for_apart() {
        let takes = |systems: &[&str], architectures: &[&str], platform: &str| {
            let filter = PlatformFilter {
                systems: systems.iter().map(ToString::to_string).collect(),
                architectures: architectures.iter().map(|it| it.parse().unwrap()).collect(),
            };
            filter.takes(&platform.parse().unwrap())
        };
        assert!(takes(&[], &[], "linux/amd64"));
        assert!(takes(&["linux"], &["amd64", "arm:v7"], "linux/amd64"));
        assert!(takes(&["linux"], &["amd64", "arm:v7"], "linux/arm/v7"));
        assert!(!takes(&["linux"], &["amd64", "arm:v7"], "linux/arm/v6"));
        assert!(takes(&[], &["arm"], "linux/arm/v6"));
        assert!(!takes(&["windows"], &[], "linux/amd64"));
    }
}
