//! Reduces a graph to some of its platforms.

use super::{Descriptor, Digest, Node, PlatformOffer, Platforms};

/// The index has the platform, and what it is was not pulled.
#[derive(Debug, thiserror::Error)]
#[error("{child} ({platform}) of the image is missing")]
pub struct NotPulledError {
    /// The child manifest.
    pub child: Digest,
    /// Its platform.
    pub platform: String,
}

/// The same manifest with only those children that were asked for, all of which must be there; and
/// what they offer. As where images are loaded, an index within that has nothing of it is left out.
pub fn narrowed(mut node: Node, platforms: &Platforms) -> Result<(Node, PlatformOffer), NotPulledError> {
    let choice = platforms.choose(node.manifest.children());
    let chosen: Vec<Descriptor> =
        choice.positions.into_iter().filter_map(|position| node.manifest.children().get(position).cloned()).collect();
    let mut offer = choice.offer;
    let mut held = std::mem::take(&mut node.children);
    for wanted in chosen {
        let may_be_useless = wanted.hides_platforms() && *platforms != Platforms::All;
        let position = held.iter().position(|child| child.descriptor.digest == wanted.digest);
        let Some(position) = position else {
            if may_be_useless {
                continue;
            }
            let platform = wanted.platform.map_or_else(|| "no platform".to_owned(), |platform| platform.to_string());
            return Err(NotPulledError { child: wanted.digest, platform });
        };
        let (child, inner) = narrowed(held.remove(position), platforms)?;
        let useless = may_be_useless && inner.is_empty();
        offer.add(inner);
        if useless {
            node.absent.push(child.descriptor);
        } else {
            node.children.push(child);
        }
    }
    node.absent.extend(held.into_iter().map(|child| child.descriptor));
    Ok((node, offer))
}
