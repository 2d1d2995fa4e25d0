//! Volumes: whatever is done to them, `verify` names the file and the place, and nothing else.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use hod_bundle::{BundleFiles, Compression, Trust, VolumeSet, VolumeSize, VolumeWriter};
use hod_engine::observe::{SilentObserver, Stop};
use hod_steps::finding::{Code, Finding, Findings};
use hod_steps::verify_volumes::verify_volumes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::sample::{FORMS, Sample, noise};

/// The length of a volume: blobs of the large sample span several.
const SIZE: u64 = 600_000;

fn cut(bundle: &[u8], size: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut writer =
        VolumeWriter::new(&folder.path().join("r.tar"), VolumeSize::new(size).unwrap(), &Stop::default()).unwrap();
    writer.write_all(bundle).unwrap();
    writer.finish().unwrap();
    folder
}

fn set(folder: &Path) -> VolumeSet {
    match BundleFiles::find(folder, &[]).unwrap() {
        BundleFiles::Volumes(set) => set,
        BundleFiles::One(path) => panic!("{} is one file", path.display()),
    }
}

fn verify(folder: &Path) -> Findings {
    verify_volumes(&set(folder), None, &Trust::default(), &SilentObserver, &Stop::default()).unwrap()
}

fn volume(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("r.tar.{number:03}"))
}

/// The findings about volumes, as code and number of the volume.
fn blamed(found: &Findings) -> Vec<(Code, usize)> {
    let about = |finding: &Finding| {
        let number = finding.path.rsplit_once('.')?.1.parse().ok()?;
        Some((finding.code, number))
    };
    found.findings.iter().filter_map(about).collect()
}

fn of_volume(found: &Findings, number: usize) -> Finding {
    let end = format!("{number:03}");
    found.findings.iter().find(|finding| finding.path.ends_with(&end)).unwrap().clone()
}

fn flip(path: &Path, position: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_beginning_that_cannot_be_read_is_told_once() {
    for form in FORMS {
        let folder = cut(&Sample::large().write(form), SIZE);
        flip(&volume(folder.path(), 1), 0);
        assert_eq!(blamed(&verify(folder.path())), [(Code::VolumeDamaged, 1)]);
        fs::remove_file(folder.path().join("r.tar.sha256")).unwrap();
        assert_eq!(blamed(&verify(folder.path())), [(Code::VolumeDamaged, 1)]);
    }
}

#[test]
fn volumes_are_read_as_one_file() {
    let sample = Sample::large();
    for form in FORMS {
        let bundle = sample.write(form);
        let folder = cut(&bundle, SIZE);
        let found = verify(folder.path());
        assert_eq!(found.findings, []);
        assert_eq!((found.blobs, found.bytes), (sample.bytes.len(), bundle.len() as u64));
        let open = BundleFiles::find(folder.path(), &[]).unwrap().open(&Trust::default()).unwrap().0;
        for (digest, bytes) in &sample.bytes {
            let mut read = Vec::new();
            open.blob(digest).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == *bytes);
        }
        // Without the sums too.
        fs::remove_file(folder.path().join("r.tar.sha256")).unwrap();
        assert_eq!(verify(folder.path()).findings, []);
        let mut all = Vec::new();
        BundleFiles::find(folder.path(), &[]).unwrap().read(None).unwrap().read_to_end(&mut all).unwrap();
        assert!(all == bundle);
    }
}

#[test]
fn the_smallest_volumes_cut_the_header_too() {
    let bundle = Sample::small().write(Compression::None);
    let folder = cut(&bundle, 4096);
    assert_eq!(verify(folder.path()).findings, []);
    fs::remove_file(folder.path().join("r.tar.sha256")).unwrap();
    assert_eq!(verify(folder.path()).findings, []);
}

#[test]
fn missing_volumes_and_what_they_hold() {
    let sample = Sample::large();
    for form in FORMS {
        let bundle = sample.write(form);
        let count = bundle.len().div_ceil(600_000);
        for number in 1..=count {
            let folder = cut(&bundle, SIZE);
            fs::remove_file(volume(folder.path(), number)).unwrap();
            let found = verify(folder.path());
            assert_eq!(blamed(&found), [(Code::VolumeMissing, number)], "{form:?} {number}");
            let error = BundleFiles::find(folder.path(), &[]).unwrap().open(&Trust::default()).unwrap_err().to_string();
            assert!(error.contains(&format!("r.tar.{number:03} is missing")), "{error}");
        }
        // The sums are not needed for it, unless it is the last of a compressed bundle.
        for number in 1..=count {
            let folder = cut(&bundle, SIZE);
            fs::remove_file(volume(folder.path(), number)).unwrap();
            fs::remove_file(folder.path().join("r.tar.sha256")).unwrap();
            let blamed = blamed(&verify(folder.path()));
            if number == count && form != Compression::None {
                assert_eq!(blamed, [(Code::VolumeShort, number - 1)]);
            } else {
                assert_eq!(blamed, [(Code::VolumeMissing, number)], "{form:?} {number}");
            }
        }
    }
}

#[test]
fn a_missing_volume_concerns_its_images_alone() {
    let mut sample = Sample::default();
    let manifests = [1, 2].map(|seed| sample.blob(hod_oci::Algorithm::Sha256, &noise(seed, 300)));
    let layers = [3, 4].map(|seed| sample.blob(hod_oci::Algorithm::Sha256, &noise(seed, 900_000)));
    sample.repository("one", &[layers[0]], &[manifests[0]], &["1"]);
    sample.repository("two", &[layers[1]], &[manifests[1]], &["1"]);
    let folder = cut(&sample.write(Compression::None), SIZE);
    fs::remove_file(volume(folder.path(), 3)).unwrap();
    let found = verify(folder.path());
    let finding = of_volume(&found, 3);
    assert_eq!(finding.blobs, [layers[1]]);
    let blob = found.findings.iter().find(|finding| finding.code == Code::BlobMissing).unwrap();
    assert!(blob.path.contains(&layers[1].hex()) && blob.detail.contains("r.tar.003"), "{blob}");
    assert_eq!(blob.images, ["two:1"]);
}

#[test]
fn short_volumes() {
    let sample = Sample::large();
    for form in FORMS {
        let bundle = sample.write(form);
        let count = bundle.len().div_ceil(600_000);
        for number in 1..=count {
            let folder = cut(&bundle, SIZE);
            let path = volume(folder.path(), number);
            let size = fs::metadata(&path).unwrap().len();
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size - 100).unwrap();
            let found = verify(folder.path());
            // The last volume of a compressed bundle has no length that it must have; its sum tells.
            let code =
                if number == count && form != Compression::None { Code::VolumeDamaged } else { Code::VolumeShort };
            assert_eq!(blamed(&found), [(code, number)], "{form:?} {number}");
        }
    }
}

#[test]
fn one_of_two_volumes_is_short() {
    let bundle = Sample::large().write(Compression::None);
    for number in [1, 2] {
        let folder = cut(&bundle, bundle.len() as u64 / 2 + 1000);
        let path = volume(folder.path(), number);
        let size = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size - 5000).unwrap();
        assert_eq!(blamed(&verify(folder.path())), [(Code::VolumeShort, number)]);
    }
}

#[test]
fn volumes_of_another_bundle() {
    let sample = Sample::large();
    let mut other = Sample::large();
    let more = other.blob(hod_oci::Algorithm::Sha256, &noise(99, 1000));
    other.contents.blobs.rotate_right(1);
    let manifest = other.contents.blobs[1].digest;
    other.contents.images.clear();
    other.contents.repositories.clear();
    let layers: Vec<_> = other.bytes.keys().copied().filter(|digest| *digest != manifest && *digest != more).collect();
    other.repository("other", &layers, &[manifest, more], &["1"]);
    for form in FORMS {
        let (bundle, foreign) = (sample.write(form), other.write(form));
        let foreign = cut(&foreign, SIZE);
        let folder = cut(&bundle, SIZE);
        let last = bundle.len().div_ceil(600_000);
        for number in [1, last] {
            let folder = cut(&bundle, SIZE);
            fs::copy(volume(foreign.path(), number), volume(folder.path(), number)).unwrap();
            let found = verify(folder.path());
            let codes = blamed(&found);
            assert_eq!(codes.len(), 1, "{form:?} {number} {codes:?}");
            assert_eq!(codes[0].1, number);
            if form == Compression::None && number == 1 {
                assert_eq!(codes[0].0, Code::VolumeForeign);
            }
        }
        fs::copy(volume(foreign.path(), 1), volume(folder.path(), last + 1)).unwrap();
        assert_eq!(blamed(&verify(folder.path())), [(Code::VolumeForeign, last + 1)]);
    }
}

#[test]
fn sums_that_are_wrong() {
    let bundle = Sample::large().write(Compression::None);
    let folder = cut(&bundle, SIZE);
    let sums = folder.path().join("r.tar.sha256");
    let text = fs::read_to_string(&sums).unwrap();
    let digit = if text.starts_with('0') { "1" } else { "0" };
    fs::write(&sums, format!("{digit}{}", &text[1..])).unwrap();
    assert_eq!(blamed(&verify(folder.path())), [(Code::VolumeSumMismatch, 1)]);
    fs::write(&sums, "no sums").unwrap();
    let error = BundleFiles::find(folder.path(), &[]).unwrap_err().to_string();
    assert!(error.ends_with("is not in the format of sha256sum: line 1"), "{error}");
}

/// The volumes in `fixtures/volumes`, with one of them replaced.
fn with_damage(name: &str, number: usize) -> Findings {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/volumes");
    let folder = tempfile::tempdir().unwrap();
    for part in ["001", "002", "003", "sha256"] {
        fs::copy(fixtures.join(format!("v1.tar.{part}")), folder.path().join(format!("v1.tar.{part}"))).unwrap();
    }
    if number > 0 {
        fs::copy(fixtures.join(name), folder.path().join(format!("v1.tar.{number:03}"))).unwrap();
    }
    verify(folder.path())
}

#[test]
fn the_damaged_examples() {
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bundles/v1.tar")).unwrap();
    assert_eq!(with_damage("", 0).findings, []);
    let folder = cut(&whole, 16_384);
    for number in 1..=3 {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/volumes/v1.tar.{number:03}"));
        assert_eq!(fs::read(volume(folder.path(), number)).unwrap(), fs::read(golden).unwrap());
    }
    let found = with_damage("damaged.002", 2);
    assert_eq!(blamed(&found), [(Code::VolumeDamaged, 2)]);
    assert_eq!(of_volume(&found, 2).ranges, [(1000, 1000)]);
    assert_eq!(blamed(&with_damage("short.002", 2)), [(Code::VolumeShort, 2)]);
    assert_eq!(blamed(&with_damage("foreign.002", 2)), [(Code::VolumeForeign, 2)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    #[ignore = "takes long"]
    fn a_flipped_bit_is_found_where_it_is(
        position in any::<prop::sample::Index>(), zstd in any::<bool>(), sums in any::<bool>(),
    ) {
        thread_local!(static BUNDLES: [Vec<u8>; 2] = FORMS.map(|form| Sample::large().write(form)));
        let bundle = BUNDLES.with(|bundles| bundles[usize::from(zstd)].clone());
        let folder = cut(&bundle, SIZE);
        let position = position.index(bundle.len());
        let size = usize::try_from(SIZE).unwrap();
        let (number, inside) = (position / size + 1, position % size);
        flip(&volume(folder.path(), number), inside);
        if !sums {
            fs::remove_file(folder.path().join("r.tar.sha256")).unwrap();
        }
        let found = verify(folder.path());
        let blamed = blamed(&found);
        prop_assert!(blamed.iter().any(|(_, blamed)| *blamed == number), "{number}: {blamed:?}");
        if sums {
            prop_assert_eq!(blamed.len(), 1, "{:?}", found.findings);
        }
        let finding = of_volume(&found, number);
        let inside = inside as u64;
        let hit = finding.ranges.iter().any(|(first, last)| (*first..=*last).contains(&inside));
        // Where the header or the table is hit, the sum alone is known to be wrong.
        let header = Sample::large().header().data_area(None);
        let table = bundle.len() - 400;
        prop_assert!(hit || (number == 1 && inside < header) || (zstd && position > table), "{inside}: {finding}");
    }

    #[test]
    fn whatever_volumes_hold_nothing_panics(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..4), sums in any::<Option<Vec<u8>>>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        for (number, part) in (1..).zip(&parts) {
            fs::write(volume(folder.path(), number), part).unwrap();
        }
        if let Some(sums) = sums {
            fs::write(folder.path().join("r.tar.sha256"), sums).unwrap();
        }
        if let Ok(files) = BundleFiles::find(folder.path(), &[]) {
            prop_assert!(files.open(&Trust::default()).is_err());
            if let BundleFiles::Volumes(set) = files {
                prop_assert!(!verify_volumes(&set, None, &Trust::default(), &SilentObserver, &Stop::default()).unwrap().findings.is_empty());
            }
        }
    }
}
