//! Selects the part of a multi-platform image to copy.

use super::copy_image::CopyImageError;
use super::open::OpenSource;
use hod_engine::copy::{Engine, LoadFilter};
use hod_oci::{AbsentPlatforms, Descriptor, Graph, Node, Platform, Platforms, Version, is_referrers_tag, narrowed};

/// Which part of an image that has several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiArch {
    /// The image of this platform alone, which then is what the name stands for.
    System(Platform),
    /// The same for a platform that somebody asked for: an image that is no index has to be for it.
    Alone(Platform),
    /// All of it; of a store or bundle, all that there is.
    All,
    /// Some platforms, below the index as it is.
    Sparse(Choice),
    /// The index without any of its images.
    IndexOnly,
}

/// Platforms of an image, all of which have to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    platforms: Platforms,
    /// Those that an image has to be for which is no index.
    asked: Option<Platforms>,
}

impl Choice {
    /// Platforms that somebody asked for.
    pub fn asked(platforms: Platforms) -> Self {
        Self { asked: Some(platforms.clone()), platforms }
    }

    /// Platforms that are taken from indexes, while an image that is none is taken as it is.
    pub(crate) const fn of_indexes(platforms: Platforms) -> Self {
        Self { platforms, asked: None }
    }

    fn join(&mut self, other: Self) {
        self.platforms.join(other.platforms);
        match (&mut self.asked, other.asked) {
            (Some(own), Some(other)) => own.join(other),
            (own @ None, other) => *own = other,
            (Some(_), None) => {}
        }
    }
}

impl MultiArch {
    /// Adds what another line of a list wants of the same image.
    pub fn join(&mut self, other: Self) {
        if *self == other {
            return;
        }
        let mut choice = self.clone().choice();
        choice.join(other.choice());
        *self = Self::Sparse(choice);
    }

    fn choice(self) -> Choice {
        match self {
            Self::System(platform) => Choice::of_indexes(Platforms::Only(vec![platform])),
            Self::Alone(platform) => Choice::asked(Platforms::Only(vec![platform])),
            Self::All | Self::IndexOnly => Choice::of_indexes(Platforms::All),
            Self::Sparse(choice) => choice,
        }
    }

    /// The same for a place that holds images of one platform and no indexes: the only one that was asked for.
    #[must_use]
    pub fn for_one(self) -> Self {
        match self {
            Self::Sparse(Choice { platforms: Platforms::Only(only), asked: Some(_) }) if only.len() == 1 => {
                only.into_iter().next().map_or(Self::All, Self::Alone)
            }
            other => other,
        }
    }
}

/// Loads the part of an image that is wanted.
pub(super) async fn load_part(
    engine: &Engine,
    from: &OpenSource,
    multi_arch: &MultiArch,
) -> Result<Graph, CopyImageError> {
    // A list of referrers is for no platform: in the place of the list, one of them would be all that is left.
    let is_list = matches!(&from.version, Version::Tag(tag) if is_referrers_tag(tag));
    let multi_arch = if is_list && matches!(multi_arch, MultiArch::System(_)) { &MultiArch::All } else { multi_arch };
    let choice = multi_arch.clone().choice();
    if let Some(held) = &from.held {
        let graph = Graph::clone(held);
        match multi_arch {
            MultiArch::All => return Ok(graph),
            MultiArch::IndexOnly => return Ok(index_only(graph)),
            MultiArch::Sparse(_) if graph.root.manifest.media_type.is_index() => {
                let (root, offer) = narrowed(graph.root, &choice.platforms)?;
                choice.platforms.check(&offer)?;
                return Ok(Graph { root });
            }
            _ => {}
        }
    }
    let graph = load_chosen(engine, from, choice).await?;
    Ok(match multi_arch {
        MultiArch::System(platform) | MultiArch::Alone(platform) => Graph { root: instance(graph.root, platform)? },
        MultiArch::IndexOnly => index_only(graph),
        MultiArch::All | MultiArch::Sparse(_) => graph,
    })
}

async fn load_chosen(engine: &Engine, from: &OpenSource, choice: Choice) -> Result<Graph, CopyImageError> {
    let Choice { platforms, asked } = choice;
    let all_asked = asked.as_ref() == Some(&platforms);
    let wanted = LoadFilter { version: from.version.clone(), platforms, asked: all_asked };
    let graph = engine.load(&*from.source, None, &wanted).await?;
    if let Some(platforms) = asked.filter(|_| !all_asked && !graph.root.manifest.media_type.is_index()) {
        let version = Version::Digest(graph.root.descriptor.digest);
        engine.load(&*from.source, None, &LoadFilter { version, platforms, asked: true }).await?;
    }
    Ok(graph)
}

fn index_only(mut graph: Graph) -> Graph {
    if graph.root.manifest.media_type.is_index() {
        graph.root.children.clear();
        graph.root.absent = graph.root.manifest.children().to_vec();
    }
    graph
}

/// The image of a platform, from indexes however deep; an image that is no index is itself.
fn instance(node: Node, platform: &Platform) -> Result<Node, AbsentPlatforms> {
    if !node.manifest.media_type.is_index() {
        return Ok(node);
    }
    let descriptors: Vec<Descriptor> = node.children.iter().map(|child| child.descriptor.clone()).collect();
    let wanted = Platforms::Only(vec![platform.clone()]);
    let choice = wanted.choose(&descriptors);
    if !choice.open {
        wanted.check(&choice.offer)?;
    }
    let image = |position: &usize| descriptors.get(*position).is_some_and(|child| child.attests().is_none());
    let absent = || AbsentPlatforms { absent: vec![platform.clone()], present: Vec::new() };
    let position = choice.positions.into_iter().find(image).ok_or_else(absent)?;
    let child = node.children.into_iter().nth(position).ok_or_else(absent)?;
    instance(child, platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Platforms {
        text.parse().unwrap()
    }

    #[test]
    fn what_several_lines_want_comes_together() {
        let amd = MultiArch::System("linux/amd64".parse().unwrap());
        let mut all = amd.clone();
        all.join(amd.clone());
        assert_eq!(all, amd);
        all.join(MultiArch::Sparse(Choice::asked(only("linux/arm64"))));
        // Nobody asked for the system's platform, so an image that is no index need not be for it.
        let (platforms, asked) = (only("linux/amd64,linux/arm64"), Some(only("linux/arm64")));
        assert_eq!(all, MultiArch::Sparse(Choice { platforms, asked }));
        all.join(MultiArch::Sparse(Choice::asked(Platforms::All)));
        assert_eq!(all, MultiArch::Sparse(Choice::asked(Platforms::All)));
    }

    #[test]
    fn a_place_for_one_platform_takes_one() {
        let sparse = |text: &str| MultiArch::Sparse(Choice::asked(only(text)));
        assert_eq!(sparse("linux/arm64").for_one(), MultiArch::Alone("linux/arm64".parse().unwrap()));
        for several in [sparse("linux/arm64,linux/amd64"), sparse("all"), MultiArch::All, MultiArch::IndexOnly] {
            assert_eq!(several.clone().for_one(), several);
        }
    }
}
