//! Single blobs of a bundle at rest.

use std::io::{Read as _, Seek as _, SeekFrom};

use fs_err as fs;
use hod_bundle::{BundleError, Compression, Kind, OpenBundle};
use hod_oci::{Algorithm, Digest};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use proptest::prelude::*;

use super::sample::{FORMS, Sample, noise};

fn stored(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn open(bytes: &[u8]) -> Result<OpenBundle, BundleError> {
    let (_folder, path) = stored(bytes);
    OpenBundle::open(&path)
}

#[test]
fn every_blob_alone_and_every_part_of_it() {
    let sample = Sample::large();
    for form in FORMS {
        for signature in [None, Some(&b"signature"[..])] {
            let bundle = open(&sample.write_signed(signature, form).0).unwrap();
            assert_eq!(bundle.signature(), signature);
            assert_eq!(bundle.header().id(), sample.header().id());
            for (digest, bytes) in sample.bytes.iter().rev() {
                let mut blob = bundle.blob(digest).unwrap();
                let mut found = Vec::new();
                blob.read_to_end(&mut found).unwrap();
                assert!(found == *bytes);
                let half = bytes.len() / 2;
                found.clear();
                blob.seek(SeekFrom::Start(half as u64)).unwrap();
                blob.read_to_end(&mut found).unwrap();
                assert!(found == bytes[half..]);
                assert_eq!(
                    blob.seek(SeekFrom::End(-i64::try_from(half).unwrap())).unwrap(),
                    (bytes.len() - half) as u64
                );
            }
            assert!(bundle.blob(&Digest::sha256(b"no such")).is_none());
        }
    }
}

/// Read once, a large blob comes past the page cache, with another file where the bundle was or with none.
#[test]
fn once_is_the_same() {
    let mut sample = Sample::large();
    let huge = sample.blob(Algorithm::Sha256, &noise(99, 9_000_001));
    let manifest = sample.contents.blobs[0].digest;
    sample.repository("huge", &[huge], &[manifest], &["1"]);
    for form in FORMS {
        let (folder, path) = stored(&sample.write(form));
        let file = fs::File::open(&path).unwrap();
        file.sync_all().unwrap();
        let bundle = OpenBundle::open(&path).unwrap();
        for (round, start) in [0, 1, 4096, 5_000_001].into_iter().enumerate() {
            posix_fadvise(file.file(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
            match round {
                2 => fs::rename(&path, folder.path().join("moved")).unwrap(),
                3 => fs::write(&path, vec![7; 30_000_000]).unwrap(),
                _ => {}
            }
            for (digest, bytes) in &sample.bytes {
                let start = bytes.len().min(start);
                let mut blob = bundle.blob(digest).unwrap();
                blob.seek(SeekFrom::Start(start as u64)).unwrap();
                let mut found = Vec::new();
                blob.once().read_to_end(&mut found).unwrap();
                assert!(found == bytes[start..], "{digest} from {start}");
            }
        }
    }
}

#[test]
fn nothing_else_is_read() {
    let sample = Sample::large();
    let header = sample.header();
    let small = header.blobs()[1];
    let tar = sample.write(Compression::None);
    let bundle = open(&tar).unwrap();
    assert_eq!(bundle.bytes_read(), 4 + header.data_area(None) + 512);
    let before = bundle.bytes_read();
    std::io::copy(&mut bundle.blob(&small.digest).unwrap(), &mut std::io::sink()).unwrap();
    assert_eq!(bundle.bytes_read() - before, small.size);

    let zstd = sample.write(Compression::Zstd { threads: 1 });
    let bundle = open(&zstd).unwrap();
    assert!(bundle.bytes_read() < 1 << 20, "{}", bundle.bytes_read());
    for blob in header.blobs() {
        let before = bundle.bytes_read();
        std::io::copy(&mut bundle.blob(&blob.digest).unwrap(), &mut std::io::sink()).unwrap();
        let read = bundle.bytes_read() - before;
        // The frames that it touches, and no more: its own, and what shares the first and the last.
        assert!(read <= blob.size + (2 << 20), "{} for {}", read, blob.size);
    }
}

#[test]
fn a_cut_file_is_noticed_without_reading_it() {
    let sample = Sample::large();
    let header = sample.header();
    let tar = sample.write(Compression::None);
    for end in [tar.len() - 1, tar.len() - 1024, tar.len() / 2] {
        let BundleError::Truncated { offset, member } = open(&tar[..end]).unwrap_err() else { panic!("{end}") };
        assert_eq!(offset, end as u64);
        assert!(!member.is_empty());
    }
    assert!(
        matches!(open(&[&tar[..], b"x"].concat()).unwrap_err(), BundleError::Trailing { offset } if offset == header.tar_size(None))
    );
    open(&[&tar[..], &[0; 9216]].concat()).unwrap();
    let zstd = sample.write(Compression::Zstd { threads: 1 });
    for end in [5, 100, zstd.len() / 2, zstd.len() - 1] {
        assert!(matches!(open(&zstd[..end]).unwrap_err(), BundleError::SeekTable(_)));
    }
    assert!(matches!(open(b"").unwrap_err(), BundleError::NotABundle(Kind::Empty)));
    assert!(matches!(OpenBundle::open("no/such".as_ref()).unwrap_err(), BundleError::Read(_)));
}

#[test]
fn a_table_that_lies_is_refused() {
    let bundle = Sample::large().write(Compression::Zstd { threads: 1 });
    let footer = bundle.len() - 9;
    let count = u32::from_le_bytes(bundle[footer..footer + 4].try_into().unwrap()) as usize;
    let table = footer - count * 8 - 8;
    for position in table..bundle.len() {
        let mut bundle = bundle.clone();
        bundle[position] ^= 1;
        let error = open(&bundle).unwrap_err();
        let expected = matches!(error, BundleError::SeekTable(_) | BundleError::Size { .. } | BundleError::Zstd { .. });
        assert!(expected, "{position}: {error:?}");
    }
    // Lengths moved from one frame to the next add up, and are still wrong.
    let mut shifted = bundle.clone();
    shifted[table + 8] = shifted[table + 8].wrapping_add(1);
    shifted[table + 16] = shifted[table + 16].wrapping_sub(1);
    if shifted[table + 8] != 0 && shifted[table + 16] != 255 {
        assert!(open(&shifted).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changes_anywhere_never_panic(position in any::<prop::sample::Index>(), bit in 0..8_u8, zstd in any::<bool>()) {
        thread_local!(static BUNDLES: [Vec<u8>; 2] = FORMS.map(|form| Sample::small().write(form)));
        let mut bytes = BUNDLES.with(|bundles| bundles[usize::from(zstd)].clone());
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        if let Ok(bundle) = open(&bytes) {
            for blob in bundle.header().blobs() {
                let mut found = Vec::new();
                if bundle.blob(&blob.digest).unwrap().read_to_end(&mut found).is_ok() {
                    prop_assert_eq!(found.len() as u64, blob.size);
                }
            }
        }
    }
}

/// Pushes one image out of a bundle of all fixtures, and tells how many bytes of the file that took.
async fn push_one(path: &std::path::Path, name: &str) -> (u64, u64) {
    use hod_engine::copy::{Engine, Limits, RetryPolicy};
    use hod_image::contents::ContentsReader;
    use hod_image::index_policy::IndexPolicy;
    use hod_steps::push;
    use std::sync::Arc;

    let registry = crate::support::docker_registry::DockerRegistry::empty();
    let bundle = OpenBundle::open(path).unwrap();
    let (repository, tag) = name.split_once(':').unwrap();
    let stored =
        hod_image::list::StoredName { repository: repository.parse().unwrap(), tag: Some(tag.parse().unwrap()) };
    let held = ContentsReader::new(&bundle).image(&stored, None).unwrap();
    let size = held.graph.size();
    let source = Arc::new(bundle.source("the bundle", &held.name.repository));
    let registries = hod_registry::Registries::new(hod_registry::Settings::default());
    let options = push::PushOptions {
        destination: registry.host().parse().unwrap(),
        index: IndexPolicy::Auto,
        on_failure: hod_image::batch::OnFailure::KeepGoing,
        force: false,
    };
    let retry = RetryPolicy { times: 0, delay: std::time::Duration::ZERO };
    let engine = Engine::new(Limits::for_jobs(4), retry, Arc::new(hod_engine::observe::SilentObserver));
    let receipt = push::push(&engine, &registries, vec![push::OutboundImage { held, source }], &options).await;
    assert_eq!((receipt.images.len(), receipt.failed.len()), (1, 0));
    (bundle.bytes_read(), size)
}

#[tokio::test]
#[ignore = "needs the tools that scripts/test installs"]
async fn one_image_out_of_many_costs_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::support::fixtures::root().to_str().unwrap();
    for (name, slack) in [("all.tar", 64 << 10), ("all.tar.zst", 3 << 20), ("cut.tar", 64 << 10)] {
        let mut words = vec!["pack", "--store", store, "-o", name];
        if name == "cut.tar" {
            words.extend(["--volume-size", "200000"]);
        }
        crate::support::hod::hod(words).in_folder(folder.path()).ok();
        let (read, size) = push_one(&folder.path().join(name), "edge/sensor:1.0").await;
        println!("{name}: {read} bytes read for an image of {size}");
        assert!(read >= size / 2 && read < size + slack, "{name}: {read} bytes for an image of {size}");
    }
}
