//! Names as clients of mirrors ask for them: found under whichever name the store holds them.
//!
//! containerd asks a mirror for `library/alpine` and adds `?ns=docker.io`; Docker asks for the same
//! without the addition. A store may hold that as `alpine`, as `library/alpine`, or with the registry's
//! host in front, depending on how its list was pulled.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::repositories::{BlobReader, Repositories};
use hod_engine::endpoint::Result;
use hod_oci::{Digest, RepositoryName, Tag, host_component};

/// Docker's official images are in there; people leave it out.
const LIBRARY: &str = "library/";

/// Repositories that are found under several names.
pub(super) struct Mirror {
    repositories: Arc<dyn Repositories>,
    host: Option<String>,
}

impl Mirror {
    /// Finds images of the registry at `host`, or of any where that is not told.
    pub(super) fn new(repositories: Arc<dyn Repositories>, host: Option<&str>) -> Self {
        Self { repositories, host: host.map(host_component) }
    }

    /// The names under which a repository may be stored, the most exact one first.
    fn names_of(&self, name: &RepositoryName) -> Vec<RepositoryName> {
        let text = name.as_str();
        let of_docker = self.host.as_deref().is_none_or(|host| host == "docker.io");
        let short = text.strip_prefix(LIBRARY).filter(|short| of_docker && !short.contains('/'));
        let long = (of_docker && !text.contains('/')).then(|| format!("{LIBRARY}{text}"));
        let own: Vec<&str> = [Some(text), short, long.as_deref()].into_iter().flatten().collect();
        let with_host = self.host.iter().flat_map(|host| own.iter().map(move |name| format!("{host}/{name}")));
        let all = with_host.chain(own.iter().map(|name| (*name).to_owned()));
        all.filter_map(|name| name.parse().ok()).collect()
    }

    fn first<T>(
        &self,
        name: &RepositoryName,
        look: impl Fn(&RepositoryName) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        for name in self.names_of(name) {
            if let Some(found) = look(&name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl Repositories for Mirror {
    fn names(&self) -> Result<Vec<RepositoryName>> {
        self.repositories.names()
    }

    fn tags(&self, name: &RepositoryName) -> Result<Option<Vec<Tag>>> {
        self.first(name, |name| self.repositories.tags(name))
    }

    fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        self.first(name, |name| self.repositories.tag(name, tag))
    }

    fn manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Bytes>> {
        self.first(name, |name| self.repositories.manifest(name, digest))
    }

    fn manifests(&self, name: &RepositoryName) -> Result<Vec<Digest>> {
        let found = self.first(name, |name| {
            let digests = self.repositories.manifests(name)?;
            Ok((!digests.is_empty()).then_some(digests))
        });
        found.map(Option::unwrap_or_default)
    }

    fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        self.first(name, |name| self.repositories.blob(name, digest))
    }

    fn open(&self, name: &RepositoryName, digest: &Digest, offset: u64) -> Result<BlobReader> {
        let holder = self.first(name, |name| Ok(self.repositories.blob(name, digest)?.map(|_| name.clone())))?;
        self.repositories.open(holder.as_ref().unwrap_or(name), digest, offset)
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        self.repositories.place(digest)
    }

    fn group(&self, name: &RepositoryName, tag: &Tag) -> Option<&str> {
        self.names_of(name).iter().find_map(|name| self.repositories.group(name, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_store::Store;

    fn names(host: Option<&str>, name: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::new(Arc::new(Store::create(folder.path()).unwrap()), host);
        mirror.names_of(&name.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_most_exact_name_is_first() {
        assert_eq!(
            names(Some("docker.io"), "library/alpine"),
            ["docker.io/library/alpine", "docker.io/alpine", "library/alpine", "alpine"]
        );
        assert_eq!(names(Some("quay.io"), "coreos/etcd"), ["quay.io/coreos/etcd", "coreos/etcd"]);
        assert_eq!(names(Some("Host:5000"), "library/x"), ["host-5000/library/x", "library/x"]);
        assert_eq!(names(None, "library/alpine"), ["library/alpine", "alpine"]);
        assert_eq!(names(None, "alpine"), ["alpine", "library/alpine"]);
        assert_eq!(names(None, "library/a/b"), ["library/a/b"]);
        assert_eq!(names(Some("../x"), "a"), ["a"]);
    }
}
