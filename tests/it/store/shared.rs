//! Several writers of one root: threads, stores, and those that come after an interruption.

use bytes::Bytes;
use futures_util::StreamExt as _;
use hod_engine::endpoint::{EndpointError, Fault, LocalFile, Placement, Prefix, Sink as _, Verified};
use hod_store::{Attempt, Links, Store, TagLink};
use tokio::sync::oneshot;

use super::{Content, assert_sound, image, layer, noise, repository, rest, unfinished, write};

fn none(content: &Content) -> Prefix {
    Prefix::none(content.digest().algorithm())
}

/// A body of which the first half comes at once, and then an error.
fn broken(content: &Content, prefix: Prefix, error: EndpointError) -> Verified {
    let from = usize::try_from(prefix.length()).unwrap();
    let half = content.bytes.slice(from..from.midpoint(content.bytes.len()));
    let chunks = futures_util::stream::iter([Ok(half), Err(error)]);
    Verified::new(&content.descriptor, prefix, chunks.boxed())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_stores_waits_for_the_first() {
    let root = tempfile::tempdir().unwrap();
    let content = layer(noise(1, 3_000_000));
    let stores = [Store::create(root.path()).unwrap(), Store::create(root.path()).unwrap()];
    let sinks = [repository(&stores[0], "a"), repository(&stores[1], "b")];

    let (go, wait) = oneshot::channel::<()>();
    let (half, rest) = (content.bytes.slice(..1_500_000), content.bytes.slice(1_500_000..));
    let (begun, has_begun) = oneshot::channel();
    let body = futures_util::stream::once(async move {
        begun.send(()).unwrap();
        Ok(half)
    })
    .chain(futures_util::stream::once(async move {
        wait.await.unwrap();
        Ok(rest)
    }));
    let first = Verified::new(&content.descriptor, none(&content), body.boxed());
    let descriptor = content.descriptor.clone();
    let [first_sink, second_sink] = sinks;
    let first = tokio::spawn(async move { first_sink.put(&descriptor, first).await });
    has_begun.await.unwrap();
    assert!(matches!(stores[1].try_ingest(&content.digest(), 3_000_000).unwrap(), Attempt::Busy));

    let (descriptor, never) = (content.descriptor.clone(), futures_util::stream::pending().boxed());
    let body = Verified::new(&descriptor, none(&content), never);
    let second = tokio::spawn(async move { second_sink.put(&descriptor, body).await });
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), Placement::Written);
    assert_eq!(second.await.unwrap().unwrap(), Placement::AlreadyThere);
    assert_sound(root.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_images_at_once() {
    let root = tempfile::tempdir().unwrap();
    let stores = [Store::create(root.path()).unwrap(), Store::create(root.path()).unwrap()];
    let shared = layer(noise(1, 2_000_000));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40_usize {
        let store = stores[number % 2].clone();
        let image = image("amd64", &[shared.clone(), layer(format!("layer {}", number / 2))]);
        tasks
            .spawn(async move { write(&store, &format!("app{}", number % 7), &[&format!("v{number}")], &image).await });
    }
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            Ok(()) => {}
            // The answer to a race for the same unfinished content, after which the engine tries again.
            Err(error) => assert_eq!(error.fault(), Fault::Busy(None), "{error}"),
        }
    }
    drop(stores);
    assert_sound(root.path());
    assert_eq!(unfinished(root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn an_interrupted_put_is_resumed_by_another_store() {
    for size in [100_000, 5_000_000] {
        let root = tempfile::tempdir().unwrap();
        let content = layer(noise(1, size));
        let store = Store::create(root.path()).unwrap();
        let cut = EndpointError::new(Fault::Unreachable, "cable cut");
        let sink = repository(&store, "a");
        let error = sink.put(&content.descriptor, broken(&content, none(&content), cut)).await.unwrap_err();
        assert_eq!(error.to_string(), "cable cut");
        assert!(store.size(&content.digest()).unwrap().is_none());

        let sink = repository(&Store::create(root.path()).unwrap(), "b");
        let prefix = sink.prefix(&content.descriptor).await.unwrap();
        assert_eq!(prefix.length(), size as u64 / 2);
        assert_eq!(sink.put(&content.descriptor, rest(&content, prefix)).await.unwrap(), Placement::Written);
    }
}

#[tokio::test]
async fn wrong_bytes_are_thrown_away() {
    let root = tempfile::tempdir().unwrap();
    let (content, other) = (layer(noise(1, 2_000_000)), layer(noise(2, 2_000_000)));
    let store = Store::create(root.path()).unwrap();
    let sink = repository(&store, "a");
    let lie = futures_util::stream::once(async move { Ok(other.bytes) }).boxed();
    let body = Verified::new(&content.descriptor, none(&content), lie);
    let error = sink.put(&content.descriptor, body).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Corrupt);
    assert_eq!(unfinished(root.path()), Vec::<String>::new());
    assert!(!store.has(&content.digest(), 2_000_000).unwrap());
}

#[tokio::test]
async fn a_kept_prefix_of_wrong_bytes_is_thrown_away() {
    let root = tempfile::tempdir().unwrap();
    let content = layer(noise(1, 2_000_000));
    let store = Store::create(root.path()).unwrap();
    let partial = root.path().join(".hod/partial").join(content.digest().to_string().replace(':', "-"));
    let sink = repository(&store, "a");

    // Too long, or complete and wrong: nothing of it can be used.
    for size in [2_000_001, 2_000_000] {
        fs_err::write(&partial, vec![0; size]).unwrap();
        assert_eq!(sink.prefix(&content.descriptor).await.unwrap().length(), 0, "{size}");
    }
    // Wrong at its beginning: found out at the end, and then gone.
    fs_err::write(&partial, [0; 1000]).unwrap();
    let prefix = sink.prefix(&content.descriptor).await.unwrap();
    assert_eq!(prefix.length(), 1000);
    let error = sink.put(&content.descriptor, rest(&content, prefix)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Corrupt);
    let prefix = sink.prefix(&content.descriptor).await.unwrap();
    assert_eq!(prefix.length(), 0);
    assert_eq!(sink.put(&content.descriptor, rest(&content, prefix)).await.unwrap(), Placement::Written);
}

#[tokio::test]
async fn a_prefix_that_another_store_continued_is_not_trusted() {
    let root = tempfile::tempdir().unwrap();
    let content = layer(noise(1, 2_000_000));
    let cut = || EndpointError::new(Fault::Unreachable, "cable cut");
    let stores = [Store::create(root.path()).unwrap(), Store::create(root.path()).unwrap()];
    let [first, second] = [repository(&stores[0], "a"), repository(&stores[1], "a")];
    first.put(&content.descriptor, broken(&content, none(&content), cut())).await.unwrap_err();

    let prefix = first.prefix(&content.descriptor).await.unwrap();
    let other = second.prefix(&content.descriptor).await.unwrap();
    second.put(&content.descriptor, broken(&content, other, cut())).await.unwrap_err();
    let error = first.put(&content.descriptor, rest(&content, prefix)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Busy(None), "{error}");

    let prefix = first.prefix(&content.descriptor).await.unwrap();
    assert_eq!(prefix.length(), 1_500_000);
    first.put(&content.descriptor, rest(&content, prefix)).await.unwrap();
    let content = stores[0].open_blob(&content.digest()).unwrap();
    assert_eq!(content.metadata().unwrap().len(), 2_000_000);
    assert_sound(root.path());
}

#[tokio::test]
async fn somebody_elses_file_is_never_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (root, theirs) = (folder.path().join("root"), folder.path().join("theirs"));
    let content = layer(noise(1, 100_000));
    fs_err::write(&theirs, &content.bytes).unwrap();
    let store = Store::create(&root).unwrap();
    let file = LocalFile::new(fs_err::File::open(&theirs).unwrap());
    assert_eq!(store.link_in(&content.digest(), 100_000, &file).unwrap(), Some(Placement::Linked));
    // It ends before the commit; then they do with their file what they like.
    drop(store);
    assert_eq!(unfinished(&root), Vec::<String>::new());
    fs_err::OpenOptions::new().write(true).open(&theirs).unwrap().set_len(1000).unwrap();

    let sink = repository(&Store::create(&root).unwrap(), "a");
    let prefix = sink.prefix(&content.descriptor).await.unwrap();
    assert_eq!(prefix.length(), 0);
    assert_eq!(sink.put(&content.descriptor, rest(&content, prefix)).await.unwrap(), Placement::Written);
    assert_eq!(fs_err::read(&theirs).unwrap(), content.bytes[..1000]);
}

#[test]
fn what_is_kept_is_known_without_reading_it() {
    let root = tempfile::tempdir().unwrap();
    let content = layer(noise(1, 100_000));
    let store = Store::create(root.path()).unwrap();
    assert_eq!(store.kept(&content.digest(), 100_000).unwrap(), 0);
    let mut ingest = store.ingest(&content.digest(), 100_000).unwrap().unwrap();
    ingest.write(&content.bytes[..70_000]).unwrap();
    drop(ingest);
    for store in [store, Store::open(root.path()).unwrap()] {
        assert_eq!(store.kept(&content.digest(), 100_000).unwrap(), 70_000);
        assert_eq!(store.kept(&content.digest(), 50_000).unwrap(), 50_000);
        assert_eq!(store.kept(&layer("other").digest(), 5).unwrap(), 0);
    }
    // Who is killed leaves complete content in its own folder. What is somebody else's file too will not be kept.
    let killed = root.path().join(".hod/staged/7");
    fs_err::create_dir_all(&killed).unwrap();
    let (own, shared) = (layer("own"), layer("shared"));
    for content in [&own, &shared] {
        fs_err::write(killed.join(content.digest().to_string().replace(':', "-")), &content.bytes).unwrap();
    }
    let name = shared.digest().to_string().replace(':', "-");
    fs_err::hard_link(killed.join(&name), root.path().join("theirs")).unwrap();
    let kept = |store: &Store, content: &Content| store.kept(&content.digest(), content.bytes.len() as u64).unwrap();
    let reader = Store::open(root.path()).unwrap();
    assert_eq!((kept(&reader, &own), kept(&reader, &shared)), (own.bytes.len() as u64, 0));
    let writer = Store::create(root.path()).unwrap();
    assert_eq!((kept(&writer, &own), kept(&writer, &shared)), (own.bytes.len() as u64, 0));
    assert!(!killed.exists());
}

#[test]
fn finish_keeps_blobs_without_links() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create(root.path()).unwrap();
    for bytes in [Bytes::new(), Bytes::from_static(b"brick"), noise(1, 1_500_000).into()] {
        let content = layer(bytes);
        let mut ingest = store.ingest(&content.digest(), content.descriptor.size).unwrap().unwrap();
        ingest.write(&content.bytes).unwrap();
        ingest.commit().unwrap();
        assert!(store.has(&content.digest(), content.descriptor.size).unwrap());
        assert!(store.ingest(&content.digest(), content.descriptor.size).unwrap().is_none());
    }
    store.finish().unwrap();
    assert_eq!(unfinished(root.path()), Vec::<String>::new());
    assert_eq!(store.walk().map(Result::unwrap).filter(|found| found.entry.is_some()).count(), 3);
    assert_sound(root.path());
}

#[test]
fn a_link_to_nothing_is_refused_and_the_rest_of_the_round_is_not() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create(root.path()).unwrap();
    let links = |digest| {
        let tags = vec![TagLink { name: "1".parse().unwrap(), digest }];
        [Links { layers: vec![digest], tags, ..Links::none("a".parse().unwrap()) }]
    };
    let absent = layer("absent").digest();
    let error = store.commit(&links(absent)).unwrap_err();
    assert_eq!(error.fault(), Fault::Incomplete, "{error}");
    assert_eq!(unfinished(root.path()), Vec::<String>::new());

    let present = layer("present");
    let mut ingest = store.ingest(&present.digest(), present.descriptor.size).unwrap().unwrap();
    ingest.write(&present.bytes).unwrap();
    ingest.commit().unwrap();
    assert_eq!(store.commit(&links(present.digest())).unwrap().links, 3);
    assert_eq!(store.commit(&links(present.digest())).unwrap().links, 0);
}

#[test]
fn a_damaged_link_is_an_error_to_readers_and_repaired_by_writers() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::create(root.path()).unwrap();
    let content = layer("content");
    let mut ingest = store.ingest(&content.digest(), content.descriptor.size).unwrap().unwrap();
    ingest.write(&content.bytes).unwrap();
    ingest.commit().unwrap();
    let (name, tag) = ("a".parse().unwrap(), "1".parse().unwrap());
    let links = [Links {
        layers: vec![content.digest()],
        tags: vec![TagLink { name: "1".parse().unwrap(), digest: content.digest() }],
        ..Links::none("a".parse().unwrap())
    }];
    store.commit(&links).unwrap();
    let path = hod_store::Entry::TagCurrent("a".parse().unwrap(), "1".parse().unwrap()).under(root.path());
    fs_err::write(&path, "").unwrap();
    let error = store.tag(&name, &tag).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(store.commit(&links).unwrap().links, 1);
    assert_eq!(store.tag(&name, &tag).unwrap(), Some(content.digest()));
}
