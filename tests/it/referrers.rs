//! Signatures, attestations and other referrers, on their way through pull, pack, unpack and push.
//!
//! cosign is not there to make them, so they are built as its documentation and the OCI specifications describe.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use hod_oci::{Digest, cosign_tags, referrers_tag};

use crate::support::docker_registry::{DockerRegistry, assert_no_garbage};
use crate::support::faulty::{Effect, Faulty, On, Route};
use crate::support::hod::hod;
use crate::support::images::{Blob, Content, Image, artifact, docker_list, image, index, layer};
use crate::support::skopeo;

mod foreign_tag;
mod locked;

/// An image for two platforms, of which one is signed in the old way, with referrers of root, child and referrer.
struct Sample {
    image: Image,
    amd64: Image,
    /// About the index.
    bill: Image,
    /// About the amd64 child.
    scan: Image,
    /// About the bill.
    signed_bill: Image,
    /// A second one about the index.
    note: Image,
    /// Under `sha256-….sig` of the index.
    cosign: Image,
}

fn thing(kind: &str, text: &str, subject: &Image) -> Image {
    artifact(kind, &[Blob::new("text/plain", text.to_owned())], Some(subject))
}

impl Sample {
    fn new() -> Self {
        let amd64 = image("linux/amd64", &[layer(1, 5000)]);
        let image = index(&[amd64.clone(), image("linux/arm64", &[layer(2, 5000)])]);
        let bill = thing("application/spdx+json", "bill", &image);
        let payload = Blob::new("application/vnd.dev.cosign.simplesigning.v1+json", "{\"critical\":{}}");
        Self {
            scan: thing("application/sarif+json", "scan", &amd64),
            signed_bill: thing("application/vnd.dev.cosign.artifact.sig.v1+json", "signature", &bill),
            note: thing("text/note", "note", &image),
            cosign: artifact("", &[payload], None),
            bill,
            image,
            amd64,
        }
    }

    fn subjects(&self) -> [(Digest, Vec<&Image>); 3] {
        [
            (self.image.digest(), vec![&self.bill, &self.note]),
            (self.amd64.digest(), vec![&self.scan]),
            (self.bill.digest(), vec![&self.signed_bill]),
        ]
    }

    fn cosign_tag(&self) -> String {
        cosign_tags(&self.image.digest()).next().unwrap().to_string()
    }

    /// At a registry that lists referrers.
    fn listed(&self) -> Content {
        let mut content = Content::default().with("app:1", &self.image);
        content = content.with(&format!("app:{}", self.cosign_tag()), &self.cosign);
        for (_, referrers) in self.subjects() {
            content = referrers.into_iter().fold(content, |content, referrer| content.with("app", referrer));
        }
        content
    }

    /// At a registry that does not, with indexes under tags.
    fn tagged(&self) -> Content {
        self.subjects().into_iter().fold(self.listed(), |content, (subject, referrers)| {
            let all: Vec<Image> = referrers.into_iter().cloned().collect();
            content.with(&format!("app:{}", referrers_tag(&subject).unwrap()), &index(&all))
        })
    }
}

/// What the index under a tag names, at a registry.
fn named(host: &str, subject: &Digest) -> BTreeSet<Digest> {
    let bytes = skopeo::manifest(&format!("{host}/app:{}", referrers_tag(subject).unwrap()));
    let index: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Checks by Debian's registry and by skopeo that a root has everything.
#[track_caller]
fn assert_complete(root: &Path, sample: &Sample) {
    let registry = DockerRegistry::over(root);
    assert_registry_complete(registry.host(), sample);
    drop(registry);
    assert_no_garbage(root);
}

#[track_caller]
fn assert_registry_complete(host: &str, sample: &Sample) {
    for (subject, referrers) in sample.subjects() {
        let expected: BTreeSet<Digest> = referrers.iter().map(|referrer| referrer.digest()).collect();
        assert_eq!(named(host, &subject), expected);
        for referrer in referrers {
            let folder = tempfile::tempdir().unwrap();
            let from = format!("docker://{host}/app@{}", referrer.digest());
            skopeo::copy_all(&from, &format!("dir:{}", folder.path().display()));
        }
    }
    assert_eq!(skopeo::digest(&format!("{host}/app:{}", sample.cosign_tag())), sample.cosign.digest());
}

fn pull(host: &str, store: &Path) -> crate::support::hod::Hod {
    let store = store.to_str().unwrap();
    hod(["pull", "app:1", "--from", host, "--store", store, "--platform", "linux/amd64"])
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn pull_follows_everything_from_both_kinds_of_registry() {
    let sample = Sample::new();
    for registry in [
        Faulty::new(sample.listed()).lists_referrers(1).start(),
        Faulty::new(sample.tagged()).start(),
        Faulty::new(sample.tagged()).lists_referrers(10).start(),
    ] {
        let store = tempfile::tempdir().unwrap();
        pull(registry.host(), store.path()).ok();
        assert_complete(store.path(), &sample);
        let again = pull(registry.host(), store.path()).arg("--json").ok().json();
        assert_eq!(again["bytesFetched"], 0, "{again}");
        hod(["verify", store.path().to_str().unwrap()]).ok();
        let bare = tempfile::tempdir().unwrap();
        pull(registry.host(), bare.path()).arg("--no-referrers").ok();
        let tags = fs::read_dir(bare.path().join("docker/registry/v2/repositories/app/_manifests/tags")).unwrap();
        assert_eq!(tags.count(), 1);
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_that_lists_no_tags_is_asked_for_each() {
    let sample = Sample::new();
    let registry = Faulty::new(sample.tagged()).start();
    registry.fault(On::matching(|seen| matches!(seen.route, Route::Tags(_))), Effect::Status(403));
    let store = tempfile::tempdir().unwrap();
    pull(registry.host(), store.path()).ok();
    assert_complete(store.path(), &sample);
}

/// What registries answer that have no API for referrers, besides 404.
fn no_lists() -> Vec<Effect> {
    let statuses = [400, 401, 403, 405, 406, 410, 500, 501, 502].map(Effect::Status);
    let bodies = ["<html>hello</html>", "{}", "", "[]"].map(|body| Effect::Body(body.into()));
    statuses.into_iter().chain(bodies).chain([Effect::Bare(204)]).collect()
}

fn on_referrers() -> On {
    On::matching(|seen| matches!(seen.route, Route::Referrers(..)))
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn where_the_api_gives_no_list_the_tags_are_used_and_that_is_said_once() {
    let sample = Sample::new();
    for effect in no_lists() {
        let content = sample.tagged().with("other:1", &sample.note);
        let registry = Faulty::new(content).lists_referrers(10).fault(on_referrers(), effect.clone()).start();
        let store = tempfile::tempdir().unwrap();
        let output = pull(registry.host(), store.path()).args(["other:1", "--retry-times=0"]).ok();
        let notes = output.stderr.matches("gives no list of referrers, so their tags are used").count();
        assert_eq!(notes, 1, "{effect:?}: {}", output.stderr);
        assert_complete(store.path(), &sample);
        // Who insists on the API gets nothing.
        let strict = tempfile::tempdir().unwrap();
        let output = pull(registry.host(), strict.path()).args(["--retry-times=0", "--referrers=required"]).code(1);
        assert!(output.stderr.contains("cannot list the referrers of"), "{effect:?}: {}", output.stderr);
        assert!(!strict.path().join("docker/registry/v2/repositories/app").exists(), "visible without its signatures");
        // A push that finds the referrer there asks for the list, too.
        for _ in 0..2 {
            let to = format!("docker://{}/copy", registry.host());
            hod(["push", store.path().to_str().unwrap(), &to, "--retry-times=0"]).ok();
        }
    }
}

/// GitLab takes the tag of a list for the digest of its subject.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_registry_that_takes_such_a_tag_for_a_digest_keeps_lists_all_the_same() {
    let sample = Sample::new();
    let index = index(&[sample.amd64.clone(), image("linux/arm64", &[layer(2, 5000)])]);
    let unsigned = Faulty::new(Content::default().with("app:1", &index)).takes_tags_for_digests();
    let unsigned =
        unsigned.fault(On::matching(|seen| matches!(seen.route, Route::Tags(_))), Effect::Status(403)).start();
    let folder = tempfile::tempdir().unwrap();
    let words = ["pull", "app:1", "--from", unsigned.host(), "--store", "s", "--all-platforms", "--lock", "app.lock"];
    hod(words).in_folder(folder.path()).ok();
    let lock = fs::read_to_string(folder.path().join("app.lock")).unwrap();
    assert!(lock.trim_end().ends_with("referrers=none"), "children are no referrers: {lock}");

    let source = Faulty::new(sample.tagged()).start();
    let store = tempfile::tempdir().unwrap();
    pull(source.host(), store.path()).ok();
    let target = Faulty::new(Content::default()).takes_tags_for_digests().start();
    for _ in 0..2 {
        hod(["push", store.path().to_str().unwrap(), &format!("docker://{}", target.host()), "--index", "sparse"]).ok();
        assert_registry_complete(target.host(), &sample);
    }
}

/// Of the tags of a repository, one may be that of a list: it stays the list that it is.
#[test]
fn sync_and_copy_for_one_platform_keep_lists_of_referrers() {
    let sample = Sample::new();
    let tag = referrers_tag(&sample.image.digest()).unwrap();
    let expected = sample.tagged().repositories["app"].tags[tag.as_str()];
    let source = Faulty::new(sample.tagged()).start();
    let target = Faulty::new(Content::default()).start();
    let sync = hod(["sync", "--src", "docker", "--dest", "docker", "--keep-going", &format!("{}/app", source.host())]);
    sync.arg(format!("{}/m", target.host())).ok();
    assert_eq!(target.content().repositories["m/app"].tags[tag.as_str()], expected);
    let (from, to) = (format!("docker://{}/app:{tag}", source.host()), format!("docker://{}/one:{tag}", target.host()));
    hod(["copy", &from, &to]).ok();
    assert_eq!(target.content().repositories["one"].tags[tag.as_str()], expected);
}

#[test]
fn what_a_list_names_and_the_registry_lacks_is_an_error() {
    let sample = Sample::new();
    // The tag of the list cannot be read.
    let registry = Faulty::new(sample.tagged()).start();
    let tag = referrers_tag(&sample.image.digest()).unwrap();
    registry.fault(On::manifest(tag.as_str()), Effect::Status(500));
    let store = tempfile::tempdir().unwrap();
    let output = pull(registry.host(), store.path()).arg("--retry-times=0").code(1);
    assert!(output.stderr.contains("--no-referrers"), "{}", output.stderr);
    assert!(!store.path().join("docker/registry/v2/repositories/app").exists(), "visible without its signatures");
    // A referrer that is listed and cannot be had.
    let registry = Faulty::new(sample.tagged()).start();
    registry.fault(On::manifest(&sample.scan.digest().to_string()), Effect::Status(404));
    let store = tempfile::tempdir().unwrap();
    pull(registry.host(), store.path()).code(1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_index_of_dockers_type_is_carried_with_its_entries() {
    let sample = Sample::new();
    // Listed by nobody but the index, since its subject is another.
    let old = thing("text/old", "old", &sample.amd64);
    let tag = referrers_tag(&sample.image.digest()).unwrap();
    let list = docker_list(std::slice::from_ref(&old));
    let content = sample.listed().with(&format!("app:{tag}"), &list);
    let registry = Faulty::new(content.clone()).lists_referrers(10).start();
    let without = Faulty::new(Content::default().with("app:1", &sample.image).with(&format!("app:{tag}"), &list));
    let expected = [&sample.bill, &sample.note, &old].map(Image::digest);
    for (source, expected) in [(registry, &expected[..]), (without.start(), &expected[2..])] {
        let folder = tempfile::tempdir().unwrap();
        pull(source.host(), &folder.path().join("store")).ok();
        let served = DockerRegistry::over(&folder.path().join("store"));
        assert_eq!(named(served.host(), &sample.image.digest()), expected.iter().copied().collect());
        let target = DockerRegistry::empty();
        hod(["push", "store", &format!("docker://{}", target.host())]).in_folder(folder.path()).ok();
        assert_eq!(named(target.host(), &sample.image.digest()), expected.iter().copied().collect());
    }
}

#[test]
fn where_there_is_nothing_two_requests_find_that_out() {
    let plain = image("linux/amd64", &[layer(1, 100)]);
    let content = Content::default().with("app:1", &plain).with("app:2", &plain).with("other:1", &plain);
    let registry = Faulty::new(content).start();
    let requests = |more: &[&str]| {
        let (store, before) = (tempfile::tempdir().unwrap(), registry.requests().len());
        let store = store.path().to_str().unwrap();
        let words = ["pull", "app:1", "app:2", "other:1", "--from", registry.host(), "--store", store, "-j", "1"];
        hod(words.iter().chain(more)).ok();
        registry.requests().len() - before
    };
    let (with, without) = (requests(&[]), requests(&["--no-referrers"]));
    // The tags of two repositories, and whether the host lists referrers; images at the same moment may both ask.
    assert!(with >= without + 3 && with <= without + 2 * 3, "{with} and {without}");
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn bundles_carry_referrers_and_merge_into_what_is_there() {
    let sample = Sample::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Two sites, each of which knows of one of the two referrers of the index.
    for (name, without) in [("a", &sample.note), ("b", &sample.bill)] {
        let mut content = sample.listed();
        content.repositories.get_mut("app").unwrap().manifests.remove(&without.digest());
        let registry = Faulty::new(content).lists_referrers(10).start();
        pull(registry.host(), &path(name)).ok();
        let output = format!("{name}.tar");
        hod(["pack", "app:1", "--store", name, "-o", &output]).in_folder(folder.path()).ok();
    }
    for (root, order) in [("one", ["a.tar", "b.tar"]), ("two", ["b.tar", "a.tar"])] {
        for bundle in order {
            let words = ["unpack", bundle, "--root", root, "--on-existing-tag", "error"];
            hod(words).in_folder(folder.path()).ok();
        }
        assert_complete(&path(root), &sample);
    }
    let link = |root: &str| {
        let tag = referrers_tag(&sample.image.digest()).unwrap();
        let repository = path(root).join("docker/registry/v2/repositories/app");
        fs::read_to_string(repository.join(format!("_manifests/tags/{tag}/current/link"))).unwrap()
    };
    assert_eq!(link("one"), link("two"), "the order decides nothing");
    // Without them the bundle has the image alone.
    hod(["pack", "app:1", "--store", "a", "-o", "bare.tar", "--no-referrers"]).in_folder(folder.path()).ok();
    let listed = hod(["ls", "bare.tar", "--json"]).in_folder(folder.path()).ok().json();
    assert_eq!(listed["images"].as_array().unwrap().len(), 1);
    hod(["pack", "--store", "a", "-o", "bare2.tar", "--no-referrers"]).in_folder(folder.path()).ok();
    assert_eq!(fs::read(path("bare.tar")).unwrap().len(), fs::read(path("bare2.tar")).unwrap().len());
}

#[test]
fn push_leaves_the_list_to_registries_that_keep_one() {
    let sample = Sample::new();
    let source = Faulty::new(sample.tagged()).start();
    let folder = tempfile::tempdir().unwrap();
    pull(source.host(), &folder.path().join("store")).ok();
    hod(["pack", "--store", "store", "-o", "all.tar"]).in_folder(folder.path()).ok();
    let bundle = fs::read(folder.path().join("all.tar")).unwrap();
    for from in ["store", "all.tar", "-"] {
        let target = Faulty::new(Content::default()).lists_referrers(10).start();
        let to = format!("docker://{}", target.host());
        for _ in 0..2 {
            hod(["push", from, &to]).in_folder(folder.path()).input(bundle.clone()).ok();
            let app = target.content().repositories["app"].clone();
            let indexes: Vec<_> = app.tags.keys().filter(|tag| tag.len() == "sha256-".len() + 64).collect();
            assert!(indexes.is_empty(), "{from}: {indexes:?}");
            for (_, referrers) in sample.subjects() {
                assert!(referrers.iter().all(|referrer| app.manifests.contains_key(&referrer.digest())), "{from}");
            }
            assert_eq!(app.tags[&sample.cosign_tag()], sample.cosign.digest());
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn referrers_and_lists_that_a_registry_has_lost_come_again_by_force() {
    let sample = Sample::new();
    let source = Faulty::new(sample.tagged()).start();
    let folder = tempfile::tempdir().unwrap();
    pull(source.host(), &folder.path().join("store")).ok();
    let registry = DockerRegistry::empty();
    let to = format!("docker://{}", registry.host());
    hod(["push", "store", &to]).in_folder(folder.path()).ok();
    let list = skopeo::digest(&format!("{}/app:{}", registry.host(), referrers_tag(&sample.image.digest()).unwrap()));
    for lost in [list, sample.bill.digest()] {
        fs::remove_file(crate::support::job::blob_path(registry.root(), &lost)).unwrap();
    }
    hod(["push", "store", &to, "--force"]).in_folder(folder.path()).ok();
    assert_registry_complete(registry.host(), &sample);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn push_merges_the_list_where_it_has_to_keep_one() {
    let sample = Sample::new();
    let source = Faulty::new(sample.tagged()).start();
    let folder = tempfile::tempdir().unwrap();
    pull(source.host(), &folder.path().join("store")).ok();
    hod(["pack", "--store", "store", "-o", "all.tar"]).in_folder(folder.path()).ok();
    let bundle = fs::read(folder.path().join("all.tar")).unwrap();
    // Somebody has put another referrer there before.
    let theirs = thing("text/theirs", "theirs", &sample.image);
    let tag = referrers_tag(&sample.image.digest()).unwrap();
    let before = Content::default().with(&format!("app:{tag}"), &index(std::slice::from_ref(&theirs)));
    for from in ["store", "all.tar", "-"] {
        let root = tempfile::tempdir().unwrap();
        before.write_root(root.path());
        let target = DockerRegistry::over(root.path());
        let to = format!("docker://{}", target.host());
        for _ in 0..2 {
            hod(["push", from, &to, "--index", "child"]).in_folder(folder.path()).input(bundle.clone()).ok();
            let found = named(target.host(), &sample.image.digest());
            let expected = [&sample.bill, &sample.note, &theirs].map(Image::digest);
            assert_eq!(found, expected.into_iter().collect(), "{from}");
            assert_eq!(named(target.host(), &sample.bill.digest()), [sample.signed_bill.digest()].into());
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_list_that_names_a_referrer_keeps_its_bytes() {
    let sample = Sample::new();
    // A referrer with a tag of its own, which whoever lists it describes in other words than hod.
    let content = sample.tagged().with("app:bill", &sample.bill);
    let source = Faulty::new(content.clone()).start();
    let folder = tempfile::tempdir().unwrap();
    let words = ["pull", "app:1", "app:bill", "--from", source.host(), "--store", "store", "--all-platforms"];
    hod(words).in_folder(folder.path()).ok();
    let tag = referrers_tag(&sample.image.digest()).unwrap();
    let expected = content.repositories["app"].tags[tag.as_str()];
    let target = DockerRegistry::empty();
    let to = format!("docker://{}", target.host());
    for more in [&[][..], &["app:bill"], &["app:bill", "--no-referrers"]] {
        hod([&["push", "store", &to], more].concat()).in_folder(folder.path()).ok();
        assert_eq!(skopeo::digest(&format!("{}/app:{tag}", target.host())), expected, "{more:?}");
    }
}
