//! Selects the children of an index by platform.

use std::fmt;
use std::str::FromStr;

use super::platform::{Platform, PlatformError};
use super::{Descriptor, Digest};

/// Which platforms of an image are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Platforms {
    /// Every child of every index.
    All,
    /// These, each of which the image must have.
    Only(Vec<Platform>),
}

/// `all`, or platforms with commas between them.
impl FromStr for Platforms {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        if text == "all" {
            return Ok(Self::All);
        }
        let mut platforms = text.split(',').map(str::parse).collect::<Result<Vec<Platform>, _>>()?;
        let mut seen = std::collections::HashSet::new();
        platforms.retain(|platform| seen.insert(platform.clone()));
        Ok(Self::Only(platforms))
    }
}

impl fmt::Display for Platforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Only(platforms) => {
                f.write_str(&platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// Platforms that were asked for and that the image does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {} in the image: it has {}", list(absent), list(present))]
pub struct AbsentPlatforms {
    /// The requested platforms that are missing.
    pub absent: Vec<Platform>,
    /// The present platforms.
    pub present: Vec<Platform>,
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "no platform at all".to_owned();
    }
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Platforms {
    /// Adds what another choice wants.
    pub fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Only(own), Self::Only(other)) => {
                for platform in other {
                    if !own.contains(&platform) {
                        own.push(platform);
                    }
                }
            }
            _ => *self = Self::All,
        }
    }

    /// Returns true if a single image, which says it is for `platform`, is all that is wanted.
    pub fn accepts(&self, platform: &Platform) -> Result<(), AbsentPlatforms> {
        match self {
            Self::All => Ok(()),
            Self::Only(wanted) => {
                let absent: Vec<_> = wanted.iter().filter(|wanted| wanted.rank(platform).is_none()).cloned().collect();
                if absent.is_empty() {
                    Ok(())
                } else {
                    Err(AbsentPlatforms { absent, present: vec![platform.clone()] })
                }
            }
        }
    }

    /// The children of an index that are wanted.
    ///
    /// For each platform the best match is taken (several, where they differ only in what is not
    /// compared, such as Windows' versions), with the attestations that describe it. Children
    /// without a platform cannot be judged and are always taken.
    pub fn choose(&self, children: &[Descriptor]) -> PlatformChoice {
        let Self::Only(wanted) = self else {
            return PlatformChoice { positions: (0..children.len()).collect(), ..PlatformChoice::default() };
        };
        let candidates =
            || children.iter().filter_map(|child| child.platform.as_ref()).filter(|platform| !platform.is_unknown());
        let unjudged = |child: &Descriptor| child.platform.is_none() && child.attests().is_none();
        let best: Vec<_> = wanted
            .iter()
            .filter_map(|platform| Some((platform, candidates().filter_map(|other| platform.rank(other)).min()?)))
            .collect();
        let mut chosen: Vec<bool> = children
            .iter()
            .map(|child| match &child.platform {
                Some(platform) => best.iter().any(|(wanted, rank)| wanted.rank(platform) == Some(*rank)),
                None => unjudged(child),
            })
            .collect();
        let digests: Vec<Digest> =
            children.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(child, _)| child.digest).collect();
        for (child, chosen) in children.iter().zip(&mut chosen) {
            *chosen |= child.attests().is_some_and(|subject| digests.contains(&subject));
        }
        let (inner, images): (Vec<_>, Vec<_>) =
            children.iter().filter(|child| unjudged(child)).partition(|child| child.hides_platforms());
        let offer = PlatformOffer {
            wanted: best.iter().map(|(platform, _)| (*platform).clone()).collect(),
            all: candidates().cloned().collect(),
            unjudged: !images.is_empty(),
        };
        let positions =
            chosen.iter().enumerate().filter(|(_, chosen)| **chosen).map(|(position, _)| position).collect();
        PlatformChoice { positions, offer, open: !inner.is_empty() }
    }

    /// Returns true if all that is wanted was found.
    pub fn check(&self, offer: &PlatformOffer) -> Result<(), AbsentPlatforms> {
        let Self::Only(wanted) = self else { return Ok(()) };
        let absent: Vec<_> = wanted.iter().filter(|platform| !offer.wanted.contains(platform)).cloned().collect();
        if absent.is_empty() || offer.unjudged {
            return Ok(());
        }
        let mut present: Vec<Platform> = Vec::new();
        for platform in &offer.all {
            if !present.contains(platform) {
                present.push(platform.clone());
            }
        }
        Err(AbsentPlatforms { absent, present })
    }
}

/// Which children of an index are wanted, as far as the index itself tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlatformChoice {
    /// Their positions, in the order of the index.
    pub positions: Vec<usize>,
    /// What there is of the platforms that were asked for.
    pub offer: PlatformOffer,
    /// True if indexes within it may have more.
    pub open: bool,
}

/// What an index, with those within it, has of the platforms that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlatformOffer {
    wanted: Vec<Platform>,
    all: Vec<Platform>,
    unjudged: bool,
}

impl PlatformOffer {
    /// Adds what an index within the index has.
    pub fn add(&mut self, inner: Self) {
        self.wanted.extend(inner.wanted);
        self.all.extend(inner.all);
        self.unjudged |= inner.unjudged;
    }

    /// Returns true if nothing that is wanted is there.
    pub const fn is_empty(&self) -> bool {
        self.wanted.is_empty() && !self.unjudged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MediaType;

    fn child(platform: &str) -> Descriptor {
        let mut child = Descriptor::of(MediaType::OciManifest, platform.as_bytes());
        child.platform = (!platform.is_empty()).then(|| platform.parse().unwrap());
        child
    }

    fn choose(wanted: &str, children: &[&str]) -> Result<Vec<usize>, AbsentPlatforms> {
        let children: Vec<_> = children.iter().map(|platform| child(platform)).collect();
        let wanted = Platforms::Only(wanted.split(',').map(|platform| platform.parse().unwrap()).collect());
        let choice = wanted.choose(&children);
        wanted.check(&choice.offer).map(|()| choice.positions)
    }

    #[test]
    fn names_are_normalised() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/amd64/v3", "linux/amd64/v3"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn variants_fall_back_to_older_ones() {
        let arms = ["linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm64"];
        assert_eq!(choose("linux/arm/v7", &arms), Ok(vec![2]));
        assert_eq!(choose("linux/arm/v6", &arms), Ok(vec![1]));
        assert_eq!(choose("linux/arm/v8", &arms), Ok(vec![2]));
        assert_eq!(choose("linux/arm64/v8", &arms), Ok(vec![3]));
        assert_eq!(choose("linux/amd64/v2", &arms), Ok(vec![0]));
        assert_eq!(choose("linux/amd64,linux/arm64", &arms), Ok(vec![0, 3]));
        assert!(choose("linux/amd64", &["linux/amd64/v2"]).is_err());
    }

    #[test]
    fn absent_platforms_are_named() {
        let error = choose("linux/s390x,linux/amd64", &["linux/amd64", "linux/arm64"]).unwrap_err();
        assert_eq!(error.to_string(), "no linux/s390x in the image: it has linux/amd64, linux/arm64");
    }

    #[test]
    fn attestations_follow_their_image() {
        let attestation = |of: &Descriptor| {
            let mut child = child("unknown/unknown");
            child.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
            child.annotations.insert("vnd.docker.reference.digest".into(), of.digest.to_string().into());
            child
        };
        let (amd64, arm64) = (child("linux/amd64"), child("linux/arm64"));
        let children = [attestation(&arm64), amd64.clone(), arm64.clone(), attestation(&amd64)];
        let wanted = Platforms::Only(vec!["linux/amd64".parse().unwrap()]);
        assert_eq!(wanted.choose(&children).positions, [1, 3]);
        assert_eq!(Platforms::All.choose(&children).positions, [0, 1, 2, 3]);
    }

    #[test]
    fn indexes_within_are_asked_too() {
        let inner = Descriptor::of(MediaType::OciIndex, b"inner");
        let wanted: Platforms = "linux/amd64,linux/arm64".parse().unwrap();
        let mut choice = wanted.choose(&[inner, child("linux/arm64"), child("linux/s390x")]);
        assert!(choice.open && choice.positions == [0, 1]);
        assert_eq!(
            wanted.check(&choice.offer).unwrap_err().to_string(),
            "no linux/amd64 in the image: it has linux/arm64, linux/s390x"
        );
        assert!(wanted.choose(&[child("linux/s390x")]).offer.is_empty());
        choice.offer.add(wanted.choose(&[child("linux/amd64")]).offer);
        assert_eq!(wanted.check(&choice.offer), Ok(()));
    }

    #[test]
    fn children_without_a_platform_are_taken() {
        assert_eq!(choose("linux/amd64", &["", "linux/arm64"]), Ok(vec![0]));
    }
}
