//! What every source and sink owes, asked of all of them: store, layout, directory, archive, registry.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hod_engine::endpoint::{BlobReader, EndpointError, Fault, Placement, Prefix, Sink, Source, Verified};
use hod_oci::{Descriptor, Digest, Graph, Manifest, Node, Reference, Version};
use hod_registry::{Registries, Settings};
use hod_store::Store;
use hod_transport::{
    DaemonTls, DirSink, DirSource, DirTree, DockerArchiveSink, DockerDaemon, Layout, OciArchive, OciArchiveSink,
};
use tempfile::TempDir;

use crate::support::docker_registry::DockerRegistry;
use crate::support::engine::Engine;
use crate::support::images::{Blob, Image, image, layer, random};

/// A place under test, and how to come to it anew.
struct Subject {
    sink: Box<dyn Fn() -> Arc<dyn Sink>>,
    /// `None` where there is nothing that could be opened.
    source: Box<dyn Fn() -> Option<Arc<dyn Source>>>,
    /// Completes what was published, where that is a step of its own.
    finish: Box<dyn Fn()>,
    is_archive: bool,
    _folder: TempDir,
}

fn store() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let store = Store::create(&root).unwrap();
    let name = "a/b".parse().unwrap();
    let repository = move || store.repository(&name);
    let again = repository.clone();
    Subject {
        sink: Box::new(move || Arc::new(repository())),
        source: Box::new(move || Some(Arc::new(again()))),
        finish: Box::new(|| ()),
        is_archive: false,
        _folder: folder,
    }
}

fn layout() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layout");
    let again = path.clone();
    Subject {
        sink: Box::new(move || Arc::new(Layout::create(&path).unwrap().sink(Some("1")).unwrap())),
        source: Box::new(move || Some(Arc::new(Layout::open(&again).ok()?.source()))),
        finish: Box::new(|| ()),
        is_archive: false,
        _folder: folder,
    }
}

fn directory() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory");
    let again = path.clone();
    Subject {
        sink: Box::new(move || Arc::new(DirSink::open(&path).unwrap())),
        source: Box::new(move || Some(Arc::new(DirSource::open(&again).ok()?))),
        finish: Box::new(|| ()),
        is_archive: false,
        _folder: folder,
    }
}

fn directory_of_a_tree() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let tree = DirTree::new(folder.path());
    let path = folder.path().join("a/b:1");
    let again = path.clone();
    Subject {
        sink: Box::new(move || Arc::new(tree.sink(&path).unwrap())),
        source: Box::new(move || Some(Arc::new(DirSource::open(&again).ok()?))),
        finish: Box::new(|| ()),
        is_archive: false,
        _folder: folder,
    }
}

fn archive() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("archive.tar");
    let sink = OciArchiveSink::create(&path, folder.path()).unwrap();
    let whole = sink.clone();
    Subject {
        sink: Box::new(move || Arc::new(sink.named(Some("1")))),
        source: Box::new(move || Some(Arc::new(OciArchive::open(&path).ok()?.source()))),
        finish: Box::new(move || whole.finish().unwrap()),
        is_archive: true,
        _folder: folder,
    }
}

fn registry() -> Subject {
    let registry = DockerRegistry::empty();
    let registries = Registries::new(Settings::default());
    let host = registry.host().to_owned();
    let repository = move || registries.repository(&host, &"a/b".parse().unwrap());
    let again = repository.clone();
    Subject {
        sink: Box::new(move || Arc::new(repository())),
        source: Box::new(move || Some(Arc::new(again()))),
        // The registry ends when this is dropped.
        finish: Box::new(move || {
            let _ = registry.host();
        }),
        is_archive: false,
        _folder: tempfile::tempdir().unwrap(),
    }
}

/// Archives of Docker know no manifests: what comes back has another digest, so they are asked as sinks alone.
fn docker_archive() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let sink = DockerArchiveSink::create(&folder.path().join("archive.tar"), folder.path()).unwrap();
    Subject {
        sink: Box::new(move || Arc::new(sink.clone())),
        source: Box::new(|| None),
        finish: Box::new(|| ()),
        is_archive: true,
        _folder: folder,
    }
}

fn daemon() -> Subject {
    let engine = Engine::podman();
    let folder = tempfile::tempdir().unwrap();
    let daemon = DockerDaemon::new(engine.host().parse().unwrap(), &DaemonTls::default(), folder.path()).unwrap();
    let name: Reference = "localhost/a/b:1".parse().unwrap();
    Subject {
        sink: Box::new(move || Arc::new(daemon.sink(&name))),
        source: Box::new(|| None),
        // The engine ends when this is dropped.
        finish: Box::new(move || {
            let _ = engine.host();
        }),
        is_archive: true,
        _folder: folder,
    }
}

macro_rules! sinks_alone {
    ($($(#[$needs:meta])* $place:ident),*) => {
        $(mod $place {
            macro_rules! case {
                ($case:ident) => {
                    #[tokio::test(flavor = "multi_thread")]
                    $(#[$needs])*
                    async fn $case() {
                        super::$case(&super::$place()).await;
                    }
                };
            }
            case!(nothing_is_there_before_it_is_published);
            case!(wrong_bytes_leave_nothing);
            case!(too_few_and_too_many_bytes_leave_nothing);
            case!(a_body_that_breaks_off_can_be_sent_again);
            case!(a_manifest_waits_for_what_it_names);
        })*
    };
}

sinks_alone!(
    docker_archive,
    #[ignore = "needs the tools that scripts/test installs"]
    daemon
);

macro_rules! conformance {
    ($($(#[$needs:meta])* $place:ident),*) => {
        $(mod $place {
            macro_rules! case {
                ($case:ident) => {
                    #[tokio::test(flavor = "multi_thread")]
                    $(#[$needs])*
                    async fn $case() {
                        super::$case(&super::$place()).await;
                    }
                };
            }
            case!(nothing_is_there_before_it_is_published);
            case!(what_is_published_is_there_from_any_offset);
            case!(wrong_bytes_leave_nothing);
            case!(too_few_and_too_many_bytes_leave_nothing);
            case!(a_body_that_breaks_off_can_be_sent_again);
            case!(two_may_bring_the_same_content);
            case!(a_manifest_waits_for_what_it_names);
            case!(what_is_not_there_is_missing);
        })*
    };
}

conformance!(
    store,
    layout,
    directory,
    directory_of_a_tree,
    archive,
    #[ignore = "needs the tools that scripts/test installs"]
    registry
);

fn sample() -> Image {
    image("linux/amd64", &[layer(1, 200_000), layer(2, 10)])
}

fn graph(image: &Image) -> Graph {
    let manifest = Manifest::parse(&image.descriptor.media_type, &image.bytes).unwrap();
    let (descriptor, bytes) = (image.descriptor.clone(), image.bytes.clone());
    Graph { root: Node::new(descriptor, bytes, manifest, Vec::new(), Vec::new()) }
}

async fn put(sink: &dyn Sink, blob: &Blob) -> Placement {
    sink.put(&blob.descriptor, Verified::bytes(&blob.descriptor, blob.bytes.clone())).await.unwrap()
}

async fn publish(sink: &dyn Sink, image: &Image) -> Result<(), EndpointError> {
    sink.publish(&image.descriptor, image.bytes.clone(), &["1".parse().unwrap()]).await
}

async fn read(source: &dyn Source, content: &Descriptor, offset: u64) -> Result<Vec<u8>, EndpointError> {
    let chunks: Vec<Bytes> = source.open(content, offset).await?.try_collect().await?;
    Ok(chunks.concat())
}

/// Bytes that come in small pieces, and end with an error if there is one.
fn pieces(bytes: &[u8], end: Option<Fault>) -> BlobReader {
    let chunks: Vec<_> = bytes.chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let end = end.map(|fault| Err(EndpointError::new(fault, "cut")));
    stream::iter(chunks.into_iter().chain(end)).boxed()
}

fn body(blob: &Blob, bytes: &[u8], end: Option<Fault>) -> Verified {
    Verified::new(&blob.descriptor, Prefix::none(blob.digest().algorithm()), pieces(bytes, end))
}

async fn nothing_is_there_before_it_is_published(subject: &Subject) {
    let image = sample();
    let sink = (subject.sink)();
    for blob in &image.blobs {
        assert_eq!(put(&*sink, blob).await, Placement::Written);
        assert!(sink.contains(&blob.descriptor).await.unwrap(), "what was put is known to the sink");
    }
    assert!(!sink.published(&graph(&image), &["1".parse().unwrap()]).await.unwrap());
    if let Some(source) = (subject.source)() {
        let error = source.manifest(&Version::Digest(image.digest())).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Missing, "{error}");
    }
}

async fn what_is_published_is_there_from_any_offset(subject: &Subject) {
    let image = sample();
    let sink = (subject.sink)();
    for blob in &image.blobs {
        put(&*sink, blob).await;
    }
    publish(&*sink, &image).await.unwrap();
    (subject.finish)();
    let source = (subject.source)().unwrap();
    let version = Version::Digest(image.digest());
    let (descriptor, bytes) = source.manifest(&version).await.unwrap();
    assert_eq!((descriptor.digest, descriptor.size, &bytes), (image.digest(), bytes.len() as u64, &image.bytes));
    assert_eq!(descriptor.media_type, image.descriptor.media_type);
    assert_eq!(source.resolve(&version).await.unwrap().digest, image.digest());
    for blob in &image.blobs {
        let size = blob.descriptor.size;
        for offset in [0, 1, size / 2, size - 1, size] {
            let found = read(&*source, &blob.descriptor, offset).await.unwrap();
            assert!(found == blob.bytes[usize::try_from(offset).unwrap()..], "{} from {offset}", blob.digest());
        }
    }
    if !subject.is_archive {
        let sink = (subject.sink)();
        assert!(sink.published(&graph(&image), &["1".parse().unwrap()]).await.unwrap());
        assert!(sink.contains(&image.blobs[0].descriptor).await.unwrap());
        publish(&*sink, &image).await.unwrap();
    }
    for file in [source.file(&image.blobs[1].descriptor).await.unwrap()].into_iter().flatten() {
        assert_eq!(Digest::sha256(&std::fs::read(file.path()).unwrap()), image.blobs[1].digest());
    }
}

async fn wrong_bytes_leave_nothing(subject: &Subject) {
    let blob = layer(1, 100_000);
    let mut wrong = blob.bytes.to_vec();
    wrong[50_000] ^= 1;
    let sink = (subject.sink)();
    let error = sink.put(&blob.descriptor, body(&blob, &wrong, None)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Corrupt, "{error}");
    assert!(!sink.contains(&blob.descriptor).await.unwrap());
    assert!(!(subject.sink)().contains(&blob.descriptor).await.unwrap());
    assert_eq!(sink.prefix(&blob.descriptor).await.unwrap().length(), 0, "wrong bytes were kept");
    assert_eq!(put(&*sink, &blob).await, Placement::Written);
}

async fn too_few_and_too_many_bytes_leave_nothing(subject: &Subject) {
    let blob = layer(1, 100_000);
    let longer = [&blob.bytes[..], b"!"].concat();
    let sink = (subject.sink)();
    for bytes in [&blob.bytes[..50_000], &blob.bytes[..0], &longer] {
        let error = sink.put(&blob.descriptor, body(&blob, bytes, None)).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Corrupt, "{error}");
        assert!(!sink.contains(&blob.descriptor).await.unwrap(), "after {} bytes", bytes.len());
    }
    assert_eq!(put(&*sink, &blob).await, Placement::Written);
    assert!(sink.contains(&blob.descriptor).await.unwrap());
}

async fn a_body_that_breaks_off_can_be_sent_again(subject: &Subject) {
    let blob = layer(1, 1_500_000);
    let sink = (subject.sink)();
    let cut = body(&blob, &blob.bytes[..1_000_000], Some(Fault::Unreachable));
    let error = sink.put(&blob.descriptor, cut).await.unwrap_err();
    assert!(!sink.contains(&blob.descriptor).await.unwrap(), "{error}");
    let prefix = sink.prefix(&blob.descriptor).await.unwrap();
    let rest = &blob.bytes[usize::try_from(prefix.length()).unwrap()..];
    let body = Verified::new(&blob.descriptor, prefix, pieces(rest, None));
    assert_eq!(sink.put(&blob.descriptor, body).await.unwrap(), Placement::Written);
    assert!(sink.contains(&blob.descriptor).await.unwrap());
}

async fn two_may_bring_the_same_content(subject: &Subject) {
    let blob = layer(1, 3_000_000);
    let image = image("linux/amd64", std::slice::from_ref(&blob));
    let sinks = [(subject.sink)(), (subject.sink)()];
    let bring = |sink: Arc<dyn Sink>| {
        let blob = blob.clone();
        tokio::spawn(async move { sink.put(&blob.descriptor, body(&blob, &blob.bytes, None)).await.unwrap() })
    };
    let (first, second) = (bring(sinks[0].clone()), bring(sinks[1].clone()));
    let placed = [first.await.unwrap(), second.await.unwrap()];
    assert!(placed.iter().all(|placed| matches!(placed, Placement::Written | Placement::AlreadyThere)), "{placed:?}");
    put(&*sinks[0], &image.blobs[0]).await;
    publish(&*sinks[0], &image).await.unwrap();
    (subject.finish)();
    let source = (subject.source)().unwrap();
    assert!(read(&*source, &blob.descriptor, 0).await.unwrap() == blob.bytes, "{placed:?}");
}

async fn a_manifest_waits_for_what_it_names(subject: &Subject) {
    let image = sample();
    let sink = (subject.sink)();
    put(&*sink, &image.blobs[0]).await;
    let error = publish(&*sink, &image).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Incomplete, "{error}");
    if let Some(source) = (subject.source)() {
        assert_eq!(source.manifest(&Version::Digest(image.digest())).await.unwrap_err().fault(), Fault::Missing);
    }
    let other = Bytes::from_static(b"{}");
    let wrong = sink.publish(&image.descriptor, other, &["1".parse().unwrap()]).await;
    assert!(wrong.is_err(), "bytes that are not the manifest were published");
}

async fn what_is_not_there_is_missing(subject: &Subject) {
    let image = sample();
    let sink = (subject.sink)();
    for blob in &image.blobs {
        put(&*sink, blob).await;
    }
    publish(&*sink, &image).await.unwrap();
    (subject.finish)();
    let source = (subject.source)().unwrap();
    let absent = Descriptor::of("application/octet-stream".into(), &random(9, 10));
    assert_eq!(read(&*source, &absent, 0).await.unwrap_err().fault(), Fault::Missing);
    assert_eq!(source.manifest(&Version::Digest(absent.digest)).await.unwrap_err().fault(), Fault::Missing);
    assert_eq!(source.resolve(&Version::Digest(absent.digest)).await.unwrap_err().fault(), Fault::Missing);
}
