//! Bundles that are cut or changed: an error, never a panic, never a wrong blob.

use hod::bundle::{BundleError, Compression, Kind};
use hod::oci::Digest;
use proptest::prelude::*;

use super::sample::{FORMS, Sample, read, words};

/// Reads a damaged bundle. What comes out of it must be right even so.
fn check(bundle: &[u8]) -> Result<Digest, BundleError> {
    let (blobs, result) = read(bundle);
    for (digest, bytes) in blobs {
        assert_eq!(Digest::of(digest.algorithm(), &bytes), digest);
    }
    result
}

#[test]
fn every_cut_is_noticed() {
    let sample = Sample::small();
    for form in FORMS {
        let bundle = sample.write(form);
        for end in (0..bundle.len()).step_by(if form == Compression::None { 64 } else { 1 }) {
            let error = check(&bundle[..end]).unwrap_err();
            match error {
                BundleError::Truncated { offset, member } => {
                    assert_eq!(offset, end as u64, "{member}");
                    assert!(!member.is_empty(), "{end}");
                }
                BundleError::NotABundle(Kind::Empty) => assert_eq!(end, 0),
                // Fewer bytes than a magic number.
                BundleError::NotABundle(Kind::Unknown) => assert!(end < 4),
                other => panic!("{end}: {other:?}"),
            }
        }
        check(&bundle).unwrap();
    }
}

#[test]
fn a_cut_names_the_member() {
    let sample = Sample::small();
    let header = sample.header();
    let bundle = sample.write(Compression::None);
    let area = header.data_area(None);
    for member in header.members() {
        for end in
            [area + member.start, area + member.offset - 1, area + (member.offset + member.size).min(member.end() - 1)]
        {
            let error = check(&bundle[..usize::try_from(end).unwrap()]).unwrap_err();
            let BundleError::Truncated { offset, member: name } = error else { panic!("{error:?}") };
            assert_eq!((offset, name), (end, member.entry.to_string()));
        }
    }
}

#[test]
fn changed_bytes_of_a_tar_are_noticed() {
    let bundle = Sample::small().write(Compression::None);
    let id = Sample::small().header().id();
    // A step that no length of a block is a multiple of meets every column of a tar header.
    for position in (0..bundle.len()).step_by(13) {
        let mut bundle = bundle.clone();
        bundle[position] ^= 1 << (position % 8);
        match check(&bundle) {
            Err(error) => assert!(!words(&error).is_empty()),
            // A letter of the header's texts makes it the header of another bundle.
            Ok(changed) => assert_ne!(changed, id, "byte {position}"),
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused_and_zeros_bounded() {
    let sample = Sample::small();
    for form in FORMS {
        let bundle = sample.write(form);
        for tail in [&b"x"[..], &[&[0; 512][..], b"x"].concat(), &bundle] {
            let error = check(&[&bundle, tail].concat()).unwrap_err();
            assert!(matches!(error, BundleError::Trailing { .. } | BundleError::Zstd { .. }), "{error:?}");
        }
    }
    let bundle = sample.write(Compression::None);
    check(&[&bundle[..], &[0; 10_240]].concat()).unwrap();
    let error = check(&[&bundle[..], &vec![0; 3 << 20]].concat()).unwrap_err();
    assert!(matches!(error, BundleError::Trailing { .. }));
}

#[test]
fn says_what_else_a_file_is() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut head = tar::Header::new_ustar();
    head.set_size(0);
    head.set_cksum();
    archive.append_data(&mut head, "manifest.json", &b""[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let error = check(&archive).unwrap_err();
    assert_eq!(error.to_string(), "this is no bundle but an archive of docker save");
    assert!(matches!(check(b"\x1f\x8b\x08").unwrap_err(), BundleError::NotABundle(Kind::Gzip)));
    assert!(matches!(check(b"{}").unwrap_err(), BundleError::NotABundle(Kind::Json)));
    let foreign = zstd::stream::encode_all(Sample::small().write(Compression::None).as_slice(), 3).unwrap();
    assert!(matches!(check(&foreign).unwrap_err(), BundleError::ForeignCompression));
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
        let error = check(&bundle).unwrap_err();
        assert!(matches!(error, BundleError::SeekTable(_) | BundleError::Zstd { .. }), "{error:?}");
    }
    assert!(matches!(check(&bundle[..table]).unwrap_err(), BundleError::Truncated { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changes_anywhere_never_yield_a_wrong_blob(
        position in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        cut in any::<prop::sample::Index>(),
        zstd in any::<bool>(),
    ) {
        thread_local!(static BUNDLES: [Vec<u8>; 2] = FORMS.map(|form| Sample::small().write(form)));
        let mut bundle = BUNDLES.with(|bundles| bundles[usize::from(zstd)].clone());
        let position = position.index(bundle.len());
        bundle[position] ^= 1 << bit;
        let changed = check(&bundle);
        // zstd has bits that mean nothing, such as how large a window could be.
        prop_assert!(zstd || changed.ok() != Some(Sample::small().header().id()));
        let _ = check(&bundle[..cut.index(bundle.len())]);
    }

    #[test]
    fn other_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000), zstd in any::<bool>()) {
        let start: &[u8] = if zstd { &[0x28, 0xB5, 0x2F, 0xFD] } else { &[] };
        prop_assert!(check(&[start, &bytes].concat()).is_err());
    }
}
