//! What is written is read back; what is not the header's is not written.

use hod_bundle::{BundleError, BundleReader, Compression, Content, Header, HeaderError, MemberContent, Writer};
use hod_engine::endpoint::Mismatch;
use hod_oci::{Algorithm, Digest};
use proptest::prelude::*;

use super::sample::{FORMS, Sample, noise, read, words};

#[test]
fn every_blob_comes_back_in_order() {
    let sample = Sample::large();
    for form in FORMS {
        let (blobs, result) = read(&sample.write(form));
        result.unwrap();
        let expected: Vec<_> =
            sample.contents.blobs.iter().map(|blob| (blob.digest, sample.bytes[&blob.digest].clone())).collect();
        assert!(blobs == expected, "{form:?}");
    }
}

#[test]
fn blobs_may_be_passed_over() {
    let sample = Sample::large();
    for form in FORMS {
        let bundle = sample.write(form);
        let mut reader = BundleReader::new(bundle.as_slice()).unwrap();
        let mut count = 0;
        while let Some(mut body) = reader.next_blob().unwrap() {
            let mut some = vec![0; count * 100];
            body.read_checked(&mut some).unwrap();
            count += 1;
        }
        assert_eq!(count, sample.contents.blobs.len());
        reader.finish().unwrap();
        BundleReader::new(bundle.as_slice()).unwrap().finish().unwrap();
    }
}

#[test]
fn the_signature_travels_beside_the_header() {
    let sample = Sample::small();
    for form in FORMS {
        let (bundle, written) = sample.write_signed(Some(b"untrusted comment: x\n"), form);
        let reader = BundleReader::new(bundle.as_slice()).unwrap();
        assert_eq!(reader.signature(), Some(&b"untrusted comment: x\n"[..]));
        assert_eq!(reader.header().id(), written.id);
        assert_eq!(Digest::sha256(&reader.header().to_json()), written.id);
        reader.finish().unwrap();
        assert_eq!(written.bytes, bundle.len() as u64);
    }
    let header = sample.header();
    let large = vec![b'x'; 64 * 1024 + 1];
    let error = Writer::new(Vec::new(), &header, Some(&large), Compression::None).unwrap_err();
    assert!(matches!(error, BundleError::Signature(65_537)));
}

#[test]
fn the_length_of_a_tar_is_known_before() {
    for sample in [Sample::default(), Sample::small(), Sample::large()] {
        for signature in [None, Some(&b"s"[..]), Some(&[b's'; 512][..])] {
            let (bundle, written) = sample.write_signed(signature, Compression::None);
            let length = sample.header().tar_size(signature.map(|bytes| bytes.len() as u64));
            assert_eq!((written.bytes, bundle.len() as u64), (length, length));
        }
    }
}

#[test]
fn members_are_where_the_header_says() {
    let sample = Sample::small();
    let header = sample.header();
    let bundle = sample.write(Compression::None);
    let area = usize::try_from(header.data_area(None)).unwrap();
    let mut links = Vec::new();
    for member in header.members() {
        let head = member.head(header.mtime());
        let start = area + usize::try_from(member.start).unwrap();
        let offset = area + usize::try_from(member.offset).unwrap();
        assert_eq!(bundle[start..offset], head);
        let content = &bundle[offset..offset + usize::try_from(member.size).unwrap()];
        match member.holds {
            MemberContent::Blob(index) => assert_eq!(content, sample.bytes[&header.blobs()[index].digest]),
            MemberContent::Link(digest) => assert_eq!(content, digest.to_string().as_bytes()),
            MemberContent::Folder => assert_eq!(content, b""),
        }
        links.push(member.entry.to_string());
    }
    // Nothing that shows an image comes before anything that the image needs.
    let last = |part: &str| links.iter().rposition(|path| path.contains(part)).unwrap();
    let first = |part: &str| links.iter().position(|path| path.contains(part)).unwrap();
    assert!(last("/blobs/") < first("/_layers"));
    assert!(last("/_layers/sha256") < first("/revisions/sha256"));
    assert!(last("/revisions/sha512") < first("/index/"));
    assert_eq!(first("/current/") + 3, links.len());
}

#[test]
fn the_bytes_do_not_depend_on_threads() {
    let sample = Sample::large();
    let one = sample.write(Compression::Zstd { threads: 1 });
    for threads in [0, 2, 4, 1000] {
        assert!(sample.write(Compression::Zstd { threads }) == one, "{threads}");
    }
}

#[test]
fn only_the_blob_whose_turn_it_is_is_written() {
    let sample = Sample::small();
    let header = sample.header();
    let (first, second) = (header.blobs()[0].digest, header.blobs()[1].digest);
    for form in FORMS {
        let writer = || Writer::new(Vec::new(), &header, None, form).unwrap();
        let blob = |digest: &Digest, bytes: &[u8]| writer().blob(digest, &mut &*bytes).unwrap_err();
        let good = sample.bytes[&first].as_slice();
        assert!(matches!(blob(&second, b"{}"), BundleError::Order { turn: 1, .. }));
        assert!(
            matches!(blob(&first, &good[1..]), BundleError::Content(error) if matches!(*error, Mismatch::Short { .. }))
        );
        let long = [good, b"x"].concat();
        assert!(matches!(blob(&first, &long), BundleError::Content(error) if matches!(*error, Mismatch::Long { .. })));
        let wrong = vec![b'x'; good.len()];
        let error = blob(&first, &wrong);
        assert!(words(&error).contains(&first.to_string()), "{error}");
        assert!(matches!(error, BundleError::Content(error) if matches!(*error, Mismatch::Digest { .. })));
        assert!(matches!(writer().finish(), Err(BundleError::Unfinished(digest)) if digest == first));
    }
}

#[test]
fn a_bundle_of_nothing() {
    for form in FORMS {
        let (blobs, result) = read(&Sample::default().write(form));
        result.unwrap();
        assert!(blobs.is_empty());
    }
}

#[test]
fn headers_must_be_consistent() {
    let good = Sample::small();
    let broken = |change: &dyn Fn(&mut Sample)| {
        let mut sample = good.clone();
        change(&mut sample);
        Header::new(sample.contents).unwrap_err()
    };
    let stray = Digest::sha256(b"stray");
    let other = Content { digest: stray, size: 5 };
    assert!(matches!(broken(&|s| s.contents.repositories[0].layers.push(stray)), HeaderError::Absent { .. }));
    assert!(matches!(broken(&|s| s.contents.repositories[0].revisions.push(stray)), HeaderError::Absent { .. }));
    assert!(matches!(broken(&|s| s.contents.repositories[0].tags[0].digest = stray), HeaderError::Image { .. }));
    assert!(matches!(broken(&|s| s.contents.images[0].digest = stray), HeaderError::Image { .. }));
    assert!(matches!(broken(&|s| s.contents.images[0].name = "no/such".parse().unwrap()), HeaderError::Image { .. }));
    assert!(matches!(broken(&|s| s.contents.images[0].tag = Some("no".parse().unwrap())), HeaderError::Image { .. }));
    assert!(matches!(broken(&|s| s.contents.images[0].media_type = "x".into()), HeaderError::Image { .. }));
    assert!(matches!(broken(&|s| s.contents.images[0].group = Some("\x1b[2J".into())), HeaderError::Text { .. }));
    assert!(matches!(broken(&|s| s.contents.blobs.push(other)), HeaderError::Unused(_)));
    assert!(matches!(broken(&|s| s.contents.requires.push(other)), HeaderError::Unused(_)));
    assert!(matches!(broken(&|s| s.contents.blobs[0].size = u64::MAX), HeaderError::Overflow));
    assert!(matches!(broken(&|s| s.contents.mtime = 1 << 33), HeaderError::Time(_)));
    let (blob, image) = (good.contents.blobs[1], good.contents.images[0].clone());
    let links = good.contents.repositories[0].clone();
    let twice: [&dyn Fn(&mut Sample); 8] = [
        &|s| s.contents.blobs.push(blob),
        &|s| s.contents.requires.push(blob),
        &|s| s.contents.requires = vec![other, other],
        &|s| s.contents.images.push(image.clone()),
        &|s| s.contents.repositories.push(links.clone()),
        &|s| s.contents.repositories[0].layers.push(links.layers[0]),
        &|s| s.contents.repositories[0].revisions.push(links.revisions[0]),
        &|s| s.contents.repositories[0].tags.push(links.tags[0].clone()),
    ];
    for change in twice {
        assert!(matches!(broken(change), HeaderError::Duplicate { .. }));
    }
}

#[test]
fn what_is_required_may_be_elsewhere() {
    let mut sample = Sample::small();
    let left_out = sample.contents.blobs.pop().unwrap();
    sample.contents.requires.push(left_out);
    for form in FORMS {
        let bundle = sample.write(form);
        let (blobs, result) = read(&bundle);
        result.unwrap();
        assert_eq!(blobs.len(), 4);
        assert_eq!(BundleReader::new(bundle.as_slice()).unwrap().header().requires(), [left_out]);
    }
}

#[test]
fn headers_are_read_in_one_form_only() {
    let header = Sample::small().header();
    let json = String::from_utf8(header.to_json()).unwrap();
    assert_eq!(Header::parse(json.as_bytes()).unwrap().to_json(), header.to_json());
    let changed = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        words(&Header::parse(json.replacen(from, to, 1).as_bytes()).unwrap_err())
    };
    assert!(changed("hod-bundle", "tarball").contains("tarball"));
    assert!(changed("\"version\":1", "\"version\":2").contains("newer hod"));
    assert!(changed("\"version\":1", "\"version\":2,\"novelty\":[]").contains("newer hod"));
    assert!(changed("verbatim", "gunzipped").contains("newer hod"));
    assert!(changed("\"mtime\":0", "\"mtime\":0,\"novelty\":0").contains("novelty"));
    assert!(changed("\"os\":\"linux\"", "\"os\":\"linux\",\"novelty\":0").contains("form"));
    assert!(changed("\"mtime\":0", "\"mtime\":0,\"mtime\":0").contains("duplicate"));
    assert!(changed("\"mtime\":0", "\"mtime\": 0").contains("form"));
    assert!(changed("\"offset\":512", "\"offset\":513").contains("expected 512"));
    assert!(changed("library/alpine", "library/../x").contains("not allowed"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_layout_comes_back(
        sizes in prop::collection::vec(prop_oneof![0..3_usize, 500..530_usize, 0..5000_usize, 1_048_000..1_050_000_usize], 1..8),
        uses in prop::collection::vec((0..4_usize, any::<bool>()), 8),
        tags in prop::collection::vec("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", 0..3),
        mtime in 0..0o777_7777_7777_u64,
        threads in 1..4_usize,
        buffer in 1..70_000_usize,
    ) {
        let mut sample = Sample::default();
        sample.contents.mtime = mtime;
        let names = ["a", "library/b", "c/d/e", &format!("long/{}/{}", "x".repeat(120), "y".repeat(125))].map(str::to_owned);
        let mut layers = vec![Vec::new(); names.len()];
        let mut revisions = vec![Vec::new(); names.len()];
        for (index, size) in sizes.iter().enumerate() {
            let algorithm = Algorithm::ALL[index % 3];
            let digest = sample.blob(algorithm, &noise(index as u64, *size));
            let (name, is_layer) = uses[index];
            let list = if is_layer { &mut layers[name] } else { &mut revisions[name] };
            if !list.contains(&digest) {
                list.push(digest);
            }
        }
        let mut tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
        for (name, (layers, revisions)) in names.iter().zip(layers.iter().zip(&revisions)) {
            match revisions.last() {
                Some(_) => sample.repository(name, layers, revisions, &tags),
                None => sample.contents.repositories.push(hod_store::Links {
                    layers: layers.clone(),
                    ..hod_store::Links::none(name.parse().unwrap())
                }),
            }
        }
        let header = sample.header();
        prop_assert_eq!(Header::parse(&header.to_json()).unwrap().id(), header.id());
        for form in [Compression::None, Compression::Zstd { threads }] {
            let bundle = sample.write(form);
            let mut reader = BundleReader::new(bundle.as_slice()).unwrap();
            for blob in &sample.contents.blobs {
                let mut body = reader.next_blob().unwrap().unwrap();
                let mut bytes = Vec::new();
                let mut some = vec![0; buffer];
                loop {
                    let count = body.read_checked(&mut some).unwrap();
                    if count == 0 {
                        break;
                    }
                    bytes.extend_from_slice(&some[..count]);
                }
                prop_assert_eq!(body.digest(), &blob.digest);
                prop_assert!(bytes == sample.bytes[&blob.digest]);
            }
            prop_assert!(reader.next_blob().unwrap().is_none());
            reader.finish().unwrap();
        }
    }
}
