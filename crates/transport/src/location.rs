//! Where an image is, as people write it: `transport:rest`, by the grammar of the containers tools.
//!
//! The text is split at its first colon; what follows is the transport's own. Paths of `oci:` and of
//! archives end at their first colon, a path of `dir:` does not end.

mod error;
mod image;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use error::qualified;
pub use error::{LocationError, TRANSPORTS};
pub use image::{ArchiveImage, DaemonImage, LayoutImage, StorageImage, StorageRoot, StoreImage};

use hod_oci::{DOCKER_IO, Reference};

/// A place where an image is or shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `docker://HOST/NAME[:TAG|@DIGEST]`, with the host filled in.
    Docker(Reference),
    /// `dir:PATH`: one image as loose files.
    Dir(PathBuf),
    /// `oci:PATH[:IMAGE]`: an OCI image layout.
    Oci(PathBuf, Option<LayoutImage>),
    /// `oci-archive:FILE[:IMAGE]`: an OCI image layout in a tar file.
    OciArchive(PathBuf, Option<LayoutImage>),
    /// `docker-archive:FILE[:NAME[:TAG]]`: what `docker save` writes.
    DockerArchive(PathBuf, Option<ArchiveImage>),
    /// `docker-daemon:NAME:TAG`, `docker-daemon:NAME@DIGEST` or `docker-daemon:sha256:ID`: what Docker or podman runs from.
    DockerDaemon(DaemonImage),
    /// `containers-storage:[[DRIVER@ROOT+RUNROOT]]NAME[:TAG]`: what podman keeps.
    ContainersStorage(StorageImage),
    /// `tarball:FILE[:FILE…]`: layers as files, to read only; `-` is standard input.
    Tarball(Vec<PathBuf>),
    /// `store:ROOT[:NAME[:TAG|@DIGEST]]`: a registry root.
    Store(PathBuf, Option<StoreImage>),
    /// `bundle:FILE[:NAME[:TAG|@DIGEST]]`.
    Bundle(PathBuf, Option<StoreImage>),
}

impl Location {
    /// The transport's name.
    pub const fn transport(&self) -> &'static str {
        match self {
            Self::Docker(_) => "docker",
            Self::Dir(_) => "dir",
            Self::Oci(..) => "oci",
            Self::OciArchive(..) => "oci-archive",
            Self::DockerArchive(..) => "docker-archive",
            Self::DockerDaemon(_) => "docker-daemon",
            Self::ContainersStorage(_) => "containers-storage",
            Self::Tarball(_) => "tarball",
            Self::Store(..) => "store",
            Self::Bundle(..) => "bundle",
        }
    }

    /// The host of the registry that it is at.
    pub fn registry(&self) -> Option<&str> {
        if let Self::Docker(reference) = self { Some(reference.host.as_deref().unwrap_or(DOCKER_IO)) } else { None }
    }

    /// The file of an archive.
    pub fn archive(&self) -> Option<&Path> {
        match self {
            Self::DockerArchive(path, _) | Self::OciArchive(path, _) => Some(path),
            _ => None,
        }
    }

    /// Whether it holds images of one platform only, and no indexes.
    pub const fn is_for_one_platform(&self) -> bool {
        matches!(self, Self::DockerArchive(..) | Self::DockerDaemon(_) | Self::ContainersStorage(_))
    }

    /// The reference of an image that has one, as `inspect` shows its name: without tag and digest.
    pub fn docker_name(&self) -> Option<String> {
        match self {
            Self::Docker(reference)
            | Self::DockerArchive(_, Some(ArchiveImage::Name(reference)))
            | Self::DockerDaemon(DaemonImage::Name(reference)) => Some(bare(reference)),
            Self::ContainersStorage(image) => image.reference().ok().map(|reference| bare(&reference)),
            _ => None,
        }
    }
}

/// `host/name`.
fn bare(reference: &Reference) -> String {
    Reference { tag: None, digest: None, ..reference.clone() }.to_string()
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let (transport, rest) = text.split_once(':').ok_or_else(|| LocationError::NoTransport(text.to_owned()))?;
        let image = |rest| path_and_image(text, rest);
        Ok(match transport {
            "docker" => Self::Docker(docker(text, rest)?),
            "dir" => Self::Dir(path(text, rest)?),
            "oci" => {
                let (path, image) = image(rest)?;
                Self::Oci(path, image.map(|image| LayoutImage::parse(text, image)).transpose()?)
            }
            "oci-archive" => {
                let (path, image) = image(rest)?;
                Self::OciArchive(path, image.map(|image| LayoutImage::parse(text, image)).transpose()?)
            }
            "docker-archive" => {
                let (path, image) = image(rest)?;
                Self::DockerArchive(path, image.map(|image| ArchiveImage::parse(text, image)).transpose()?)
            }
            "docker-daemon" => Self::DockerDaemon(DaemonImage::parse(text, rest)?),
            "containers-storage" => Self::ContainersStorage(StorageImage::parse(text, rest)?),
            "tarball" => Self::Tarball(rest.split(':').map(|file| path(text, file)).collect::<Result<_, _>>()?),
            "store" => {
                let (path, image) = image(rest)?;
                Self::Store(path, image.map(|image| store_image(text, image)).transpose()?)
            }
            "bundle" => {
                let (path, image) = image(rest)?;
                Self::Bundle(path, image.map(|image| store_image(text, image)).transpose()?)
            }
            other => return Err(unknown(text, other)),
        })
    }
}

/// What is wrong with a transport that is not ours.
fn unknown(text: &str, transport: &str) -> LocationError {
    let instead = match transport {
        "sif" => "convert the Singularity image to an oci-archive first, with apptainer or skopeo",
        "ostree" => "check the commit out and create a tarball of it",
        "atomic" => "name the registry itself, with docker://",
        _ => return LocationError::Transport { text: text.to_owned(), transport: transport.to_owned() },
    };
    LocationError::NotSupported { transport: transport.to_owned(), instead }
}

fn docker(text: &str, rest: &str) -> Result<Reference, LocationError> {
    let name = rest.strip_prefix("//").ok_or_else(|| LocationError::Slashes(text.to_owned()))?;
    qualified(text, name)
}

fn path(text: &str, rest: &str) -> Result<PathBuf, LocationError> {
    if rest.is_empty() { Err(LocationError::Path(text.to_owned())) } else { Ok(rest.into()) }
}

fn path_and_image<'a>(text: &str, rest: &'a str) -> Result<(PathBuf, Option<&'a str>), LocationError> {
    let (before, image) = rest.split_once(':').map_or((rest, None), |(path, image)| (path, Some(image)));
    Ok((path(text, before)?, image.filter(|image| !image.is_empty())))
}

fn store_image(text: &str, image: &str) -> Result<StoreImage, LocationError> {
    image.parse().map_err(|source| LocationError::Reference { text: text.to_owned(), source })
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, path: &PathBuf, image: Option<&dyn fmt::Display>| {
            write!(f, "{}:{}", self.transport(), path.display())?;
            image.map_or(Ok(()), |image| write!(f, ":{image}"))
        };
        match self {
            Self::Docker(reference) => write!(f, "docker://{reference}"),
            Self::Dir(path) => named(f, path, None),
            Self::Oci(path, image) | Self::OciArchive(path, image) => {
                named(f, path, image.as_ref().map(|image| image as &dyn fmt::Display))
            }
            Self::DockerArchive(path, image) => named(f, path, image.as_ref().map(|image| image as &dyn fmt::Display)),
            Self::DockerDaemon(image) => write!(f, "docker-daemon:{image}"),
            Self::ContainersStorage(image) => write!(f, "containers-storage:{image}"),
            Self::Tarball(files) => {
                f.write_str("tarball")?;
                files.iter().try_for_each(|file| write!(f, ":{}", file.display()))
            }
            Self::Store(path, image) | Self::Bundle(path, image) => {
                named(f, path, image.as_ref().map(|image| image as &dyn fmt::Display))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Location {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn means_what_the_containers_tools_mean() {
        let name = |name: &str| Some(LayoutImage::Name(name.into()));
        assert_eq!(parsed("docker://alpine").to_string(), "docker://docker.io/library/alpine:latest");
        assert_eq!(parsed("docker://h.io:5000/a/b:1").docker_name().unwrap(), "h.io:5000/a/b");
        assert_eq!(parsed("dir:pause:3.3"), Location::Dir("pause:3.3".into()));
        assert_eq!(parsed("oci:images"), Location::Oci("images".into(), None));
        assert_eq!(parsed("oci:alpine:latest"), Location::Oci("alpine".into(), name("latest")));
        assert_eq!(parsed("oci:oci:alpine:latest"), Location::Oci("oci".into(), name("alpine:latest")));
        assert_eq!(parsed("oci:l:quay.io/a/b:1"), Location::Oci("l".into(), name("quay.io/a/b:1")));
        assert_eq!(parsed("oci:l:@2"), Location::Oci("l".into(), Some(LayoutImage::Position(2))));
        assert_eq!(parsed("oci-archive:f.tar:x"), Location::OciArchive("f.tar".into(), name("x")));
        assert_eq!(
            parsed("docker-archive:f.tar:alpine").to_string(),
            "docker-archive:f.tar:docker.io/library/alpine:latest"
        );
        assert_eq!(parsed("store:/srv/root:a/b:1").to_string(), "store:/srv/root:a/b:1");
        assert_eq!(parsed("store:/srv/root"), Location::Store("/srv/root".into(), None));
        assert_eq!(parsed("bundle:x.tar:127.0.0.1-5000/x:1").to_string(), "bundle:x.tar:127.0.0.1-5000/x:1");
        assert_eq!(
            parsed("tarball:a.tar:b/c.tgz:-"),
            Location::Tarball(vec!["a.tar".into(), "b/c.tgz".into(), "-".into()])
        );
    }

    #[test]
    fn a_daemon_has_no_default_tag() {
        let id = format!("docker-daemon:sha256:{}", "1".repeat(64));
        assert!(matches!(parsed(&id), Location::DockerDaemon(DaemonImage::Id(_))));
        assert_eq!(parsed("docker-daemon:web:1").to_string(), "docker-daemon:docker.io/library/web:1");
        assert_eq!(parsed("docker-daemon:h.io/web:1").docker_name().unwrap(), "h.io/web");
        let digest = format!("docker-daemon:h.io/web@sha256:{}", "1".repeat(64));
        assert_eq!(parsed(&digest).to_string(), digest);
        for bad in ["web", "sha256:latest", "sha256:1", "", "web:1@sha256:0", "UPPER:1"] {
            assert!(format!("docker-daemon:{bad}").parse::<Location>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_storage_may_be_told_whole() {
        let storage = |text: &str| match parsed(&format!("containers-storage:{text}")) {
            Location::ContainersStorage(image) => image,
            other => panic!("{other}"),
        };
        let whole = storage("[vfs@/root dir+/run/x:vfs.a=b,vfs.c=d]localhost/web");
        let root = whole.root.clone().unwrap();
        assert_eq!(
            (root.driver.as_deref(), root.graph.to_str(), root.run.as_deref()),
            (Some("vfs"), Some("/root dir"), Some("/run/x".as_ref()))
        );
        assert_eq!(root.options, ["vfs.a=b".into(), "vfs.c=d".into()]);
        assert_eq!(whole.to_string(), "[vfs@/root dir+/run/x:vfs.a=b,vfs.c=d]localhost/web");
        assert_eq!(whole.reference().unwrap().to_string(), "localhost/web:latest");
        assert_eq!(storage("[/r]a:1").root.unwrap().graph.to_str(), Some("/r"));
        assert_eq!(storage("web").reference().unwrap().to_string(), "docker.io/library/web:latest");
        assert_eq!(storage("web:1").wanted(), "docker.io/library/web:1");
        assert_eq!(storage("web:1@abcdef").wanted(), "abcdef");
        assert_eq!(storage("@abcdef").wanted(), "abcdef");
        for bad in ["", "[vfs@/r", "[vfs@]a", "[+x]a", "@", "@ab/c", "A:1", "-x"] {
            assert!(format!("containers-storage:{bad}").parse::<Location>().is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_and_says_why() {
        let error = |text: &str| text.parse::<Location>().unwrap_err().to_string();
        assert!(error("alpine").contains("no transport"));
        assert!(error("docker:alpine").contains("docker://NAME"));
        assert!(error("flatpak:x").contains("hod supports bundle, containers-storage, dir, docker"));
        for other in ["sif", "ostree", "atomic"] {
            assert!(error(&format!("{other}:x")).contains("not supported: "), "{other}");
        }
        assert!(error("tarball:a::b").contains("no path"));
        assert!(error("dir:").contains("no path"));
        assert!(error("oci::x").contains("no path"));
        assert!(error("oci:l:a b").contains("layouts allow"));
        assert!(error("oci:l:a//b").contains("layouts allow"));
        assert!(error("oci:l:@x").contains("position"));
        assert!(error(&format!("docker-archive:f:a@sha256:{}", "0".repeat(64))).contains("digest"));
        assert!(error("docker://UPPER").contains("no valid image name"));
        assert!(error("store:r:UPPER").contains("no valid image name"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_reads_back_what_it_prints(
            text in r"(docker|dir|oci|oci-archive|docker-archive|docker-daemon|containers-storage|tarball|store|bundle):[a-z0-9.:/@_+\[\]-]{0,40}",
        ) {
            if let Ok(location) = text.parse::<Location>() {
                proptest::prop_assert_eq!(location.to_string().parse::<Location>(), Ok(location));
            }
        }
    }
}
