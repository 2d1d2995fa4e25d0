//! Bundles that are cut or changed: an error, never a panic, never a wrong blob.

use std::io::Read as _;

use hod_bundle::{BundleError, BundleReader, Compression, Kind, OpenBundle, RandomAccess, Trust};
use hod_oci::{Algorithm, Digest};
use proptest::prelude::*;

use super::sample::{FORMS, Sample, read, words};
use crate::support::hod::hod;

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
    assert_eq!(error.to_string(), "not a bundle: a docker save archive");
    assert!(matches!(check(b"\x1f\x8b\x08").unwrap_err(), BundleError::NotABundle(Kind::Gzip)));
    assert!(matches!(check(b"{}").unwrap_err(), BundleError::NotABundle(Kind::Json)));
    let foreign = zstd::stream::encode_all(Sample::small().write(Compression::None).as_slice(), 3).unwrap();
    assert!(matches!(check(&foreign).unwrap_err(), BundleError::ForeignCompression));
}

#[test]
#[ignore = "takes long"]
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

/// Bytes in memory as a file at rest.
struct AtRest(Vec<u8>);

impl RandomAccess for AtRest {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// The same for a bundle that is opened at its end.
fn check_at_rest(bundle: &[u8]) -> Result<Digest, BundleError> {
    let (bundle, _) = OpenBundle::over(Box::new(AtRest(bundle.to_vec())), &Trust::default())?;
    let mut reader: BundleReader<&[u8]> = BundleReader::at_rest(&bundle);
    while let Some(mut body) = reader.next_blob()? {
        let (digest, mut bytes) = (*body.digest(), Vec::new());
        body.read_to_end(&mut bytes)?;
        assert_eq!(Digest::of(digest.algorithm(), &bytes), digest);
    }
    Ok(reader.finish()?.id())
}

/// What may have become of a bundle on its way: each with what was done to it.
fn faults(bundle: &[u8], position: usize) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![(format!("cut at {position}"), bundle[..position].to_vec())];
    let mut less = bundle.to_vec();
    less.remove(position);
    all.push((format!("without byte {position}"), less));
    for byte in [0, 0xff, b'{'] {
        let mut more = bundle.to_vec();
        more.insert(position, byte);
        all.push((format!("{byte:#x} before byte {position}"), more));
    }
    for bit in 0..8 {
        let mut flipped = bundle.to_vec();
        flipped[position] ^= 1 << bit;
        all.push((format!("bit {bit} of byte {position}"), flipped));
    }
    all
}

#[test]
#[ignore = "takes long"]
fn each_single_fault_is_damage_and_nothing_else() {
    let mut frames = Sample::small();
    let flat = frames.blob(Algorithm::Sha256, &vec![b'x'; 1_100_000]);
    let manifest = frames.contents.blobs[0].digest;
    frames.repository("flat", &[flat], &[manifest], &["1"]);
    for (sample, form, all) in
        [(Sample::small(), FORMS[1], true), (frames, FORMS[1], false), (Sample::small(), FORMS[0], false)]
    {
        let (bundle, id) = (sample.write(form), sample.header().id());
        // Of the others both ends, which tell what a file is.
        let is_looked_at = |position: &usize| all || *position < 520 || *position + 40 > bundle.len();
        for position in (0..bundle.len()).filter(is_looked_at) {
            for (what, faulty) in faults(&bundle, position) {
                for (read, result) in [("a stream", check(&faulty)), ("a file", check_at_rest(&faulty))] {
                    match result {
                        // Bits that mean nothing, and zeros behind a tar.
                        Ok(found) => assert_eq!(found, id, "{what} of {read}"),
                        Err(BundleError::NotABundle(Kind::Empty)) => assert!(faulty.is_empty(), "{what} of {read}"),
                        Err(BundleError::NotABundle(_) | BundleError::ForeignCompression | BundleError::Read(_)) => {
                            panic!("{what} of {read} is not known as damage")
                        }
                        Err(_) => {}
                    }
                }
            }
        }
    }
}

#[test]
fn damage_ends_with_its_exit_code_whoever_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar.zst");
    let bundle = Sample::small().write(FORMS[1]);
    for position in [0, 3, 4, 5, bundle.len() - 1] {
        for (what, faulty) in faults(&bundle, position).into_iter().filter(|(what, _)| !what.starts_with("bit 4")) {
            if faulty.is_empty() || check(&faulty).is_ok() {
                continue;
            }
            fs_err::write(&path, &faulty).unwrap();
            for words in [&["unpack", "x.tar.zst", "--root", "root"][..], &["unpack", "-", "--root", "root"]] {
                let output = hod(words).in_folder(folder.path()).input(&*faulty).run();
                assert_eq!(output.code, Some(4), "{what}, {words:?}: {}", output.stderr);
                assert!(!output.stderr.contains("not compressed by hod"), "{what}, {words:?}: {}", output.stderr);
            }
        }
        let (what, faulty) = faults(&bundle, position).remove(1);
        fs_err::write(&path, faulty).unwrap();
        for command in ["verify", "ls"] {
            let output = hod([command, "x.tar.zst"]).in_folder(folder.path()).run();
            assert_eq!(output.code, Some(4), "{what}, {command}: {}", output.stderr);
        }
    }
    // What never was a bundle is not called a damaged one.
    let foreign = zstd::encode_all(&*Sample::small().write(FORMS[0]), 3).unwrap();
    fs_err::write(&path, foreign).unwrap();
    for command in ["verify", "ls"] {
        let output = hod([command, "x.tar.zst"]).in_folder(folder.path()).run();
        assert!(
            format!("{}{}", output.text(), output.stderr).contains("not compressed by hod"),
            "{command}: {}",
            output.stderr
        );
    }
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
