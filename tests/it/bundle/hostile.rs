//! Archives made to harm: whatever the header does not imply is refused, by name and position.

use hod_bundle::{BundleError, Compression};
use tar::{EntryType, Header};

use super::sample::{Sample, compressed, read, words};

/// Writes the checksum as POSIX has it: six digits, zero, blank.
fn set_checksum(head: &mut Header) {
    head.set_cksum();
    let sum = head.cksum().unwrap();
    head.as_old_mut().cksum.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A field and how it is changed.
type Change = (&'static str, fn(&mut Header));

/// A member that somebody slipped in.
pub(crate) fn member(kind: EntryType, path: &[u8], link: &[u8], content: &[u8]) -> Vec<u8> {
    let mut head = Header::new_ustar();
    head.set_entry_type(kind);
    head.set_mode(0o644);
    head.set_uid(0);
    head.set_gid(0);
    head.set_mtime(0);
    head.set_size(content.len() as u64);
    head.set_device_major(0).unwrap();
    head.set_device_minor(0).unwrap();
    let fields = head.as_ustar_mut().unwrap();
    fields.name[..path.len()].copy_from_slice(path);
    fields.linkname[..link.len()].copy_from_slice(link);
    set_checksum(&mut head);
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Reads a bundle that is not what its header says, in both forms, and returns what was said.
fn refusal(tar: &[u8]) -> String {
    let [plain, zstd] = [tar.to_vec(), compressed(tar)].map(|bundle| {
        let (_, result) = read(&bundle);
        let error = result.unwrap_err();
        assert!(!matches!(error, BundleError::Read(_)), "{error:?}");
        words(&error)
    });
    assert_eq!(plain, zstd);
    plain
}

/// The positions in the tar stream at which a member begins, and the end.
fn positions(sample: &Sample) -> Vec<usize> {
    let header = sample.header();
    let area = header.data_area(None);
    let starts = header.members().map(|member| usize::try_from(area + member.start).unwrap());
    starts.chain([usize::try_from(header.tar_size(None)).unwrap() - 1024]).collect()
}

#[test]
fn the_helper_makes_readable_bundles() {
    let bundle = Sample::large().write(Compression::None);
    read(&compressed(&bundle)).1.unwrap();
}

#[test]
fn members_that_are_not_listed() {
    let sample = Sample::small();
    let bundle = sample.write(Compression::None);
    let file = EntryType::Regular;
    let long = [&b"a/"[..], &[b'x'; 90]].concat();
    let link = b"docker/registry/v2/repositories/library/alpine/_manifests/tags/x/current/link";
    let foreign: Vec<(&str, Vec<u8>)> = vec![
        ("\"/etc/passwd\"", member(file, b"/etc/passwd", b"", b"x")),
        ("../", member(file, b"../../etc/passwd", b"", b"x")),
        ("/../", member(file, b"docker/registry/v2/../../../x", b"", b"x")),
        ("symbolic link", member(EntryType::Symlink, b"docker", b"/etc", b"")),
        ("hard link", member(EntryType::Link, b"docker/x", b"/etc/passwd", b"")),
        ("device", member(EntryType::Char, b"docker/x", b"", b"")),
        ("device", member(EntryType::Block, b"docker/x", b"", b"")),
        ("pipe", member(EntryType::Fifo, b"docker/x", b"", b"")),
        ("type '7'", member(EntryType::Continuous, b"docker/x", b"", b"")),
        ("sparse", member(EntryType::GNUSparse, b"docker/x", b"", b"")),
        ("GNU tar", member(EntryType::GNULongName, b"././@LongLink", b"", &long)),
        ("GNU tar", member(EntryType::GNULongLink, b"././@LongLink", b"", &long)),
        ("PAX", member(EntryType::XHeader, b"hod/pax", b"", b"18 path=../../x\n")),
        ("PAX", member(EntryType::XGlobalHeader, b"pax_global_header", b"", b"18 path=../../x\n")),
        ("directory", member(EntryType::Directory, b"docker/registry/v2/repositories/library/evil/_layers/", b"", b"")),
        ("_hod.json", member(file, b"docker/registry/v2/repositories/_hod.json", b"", b"{}")),
        ("tags/x/current/link", member(file, link, b"", &[b'0'; 71])),
        ("hod/bundle.json", member(file, b"hod/bundle.json", b"", b"{}")),
        ("minisig", member(file, b"hod/bundle.json.minisig.2", b"", b"x")),
        ("the end of the archive", vec![0; 1024]),
        ("not a tar header", vec![7; 512]),
    ];
    for position in positions(&sample) {
        for (words, member) in &foreign {
            // Zeros before the end are the end.
            if position == bundle.len() - 1024 && member.iter().all(|byte| *byte == 0) {
                continue;
            }
            let mut tar = bundle.clone();
            tar.splice(position..position, member.iter().copied());
            let said = refusal(&tar);
            assert!(said.contains(words), "{said}");
            assert!(said.contains(&format!("byte {position} ")), "{said}");
        }
    }
}

#[test]
fn zeros_before_the_end_are_the_end() {
    let bundle = Sample::small().write(Compression::None);
    let zeros = [&bundle[..], &[0; 1024]].concat();
    read(&zeros).1.unwrap();
    assert!(read(&compressed(&zeros)).1.is_ok());
}

#[test]
fn every_member_must_be_there_once_and_in_its_place() {
    let sample = Sample::small();
    let bundle = sample.write(Compression::None);
    let positions = positions(&sample);
    for pair in positions.windows(2) {
        let member = bundle[pair[0]..pair[1]].to_vec();
        let mut twice = bundle.clone();
        twice.splice(pair[1]..pair[1], member.iter().copied());
        refusal(&twice);
        let mut never = bundle.clone();
        never.drain(pair[0]..pair[1]);
        refusal(&never);
    }
    for triple in positions.windows(3) {
        let (before, after) = bundle.split_at(triple[0]);
        let (one, after) = after.split_at(triple[1] - triple[0]);
        let (two, after) = after.split_at(triple[2] - triple[1]);
        refusal(&[before, two, one, after].concat());
    }
}

#[test]
fn every_field_of_every_head_counts() {
    let sample = Sample::small();
    let bundle = sample.write(Compression::None);
    for position in [vec![0], positions(&sample)].concat() {
        let changes: &[Change] = &[
            ("mode", |head| head.set_mode(0o4755)),
            ("uid", |head| head.set_uid(1000)),
            ("gid", |head| head.set_gid(1000)),
            ("mtime", |head| head.set_mtime(1)),
            ("size", |head| head.set_size(head.size().unwrap() + 512)),
            ("type", |head| head.set_entry_type(EntryType::Symlink)),
            ("link", |head| head.set_link_name("/etc").unwrap()),
            ("user", |head| head.as_ustar_mut().unwrap().uname[0] = b'r'),
            ("device", |head| head.as_ustar_mut().unwrap().set_device_major(1)),
        ];
        if position == bundle.len() - 1024 {
            continue;
        }
        for (field, change) in changes {
            let mut head = Header::new_ustar();
            head.as_mut_bytes().copy_from_slice(&bundle[position..position + 512]);
            change(&mut head);
            set_checksum(&mut head);
            let mut tar = bundle.clone();
            tar[position..position + 512].copy_from_slice(head.as_bytes());
            let said = refusal(&tar);
            assert!(said.contains(&format!("byte {position} ")) || position == 0, "{field}: {said}");
        }
    }
}

#[test]
fn links_hold_their_digest_and_nothing_else() {
    let sample = Sample::small();
    let header = sample.header();
    let bundle = sample.write(Compression::None);
    let area = header.data_area(None);
    for member in header.members().filter(|member| matches!(member.holds, hod_bundle::MemberContent::Link(_))) {
        let start = usize::try_from(area + member.offset).unwrap();
        let size = usize::try_from(member.size).unwrap();
        for position in [start, start + size - 1, start + size, start + 511] {
            let mut tar = bundle.clone();
            tar[position] = if position < start + size { b'0' } else { b'\n' };
            if tar == bundle {
                continue;
            }
            assert!(refusal(&tar).contains(&member.entry.to_string()));
        }
    }
}

#[test]
fn names_that_would_stop_a_garbage_collection() {
    let json = String::from_utf8(Sample::small().header().to_json()).unwrap();
    for (from, to) in [
        ("library/alpine", "library/ALPINE"),
        ("library/alpine", "min/a@sha256"),
        ("library/alpine", "_uploads/alpin"),
        ("library/alpine", "../../../../.."),
        ("library/alpine", "/etc/passwd/xy"),
        ("library/alpine", "library//alpin"),
        ("\"3.14\"", "\"../x\""),
        ("\"3.14\"", "\"a/bc\""),
        ("\"3.14\"", "\"\""),
        ("sha256:44136fa3", "sha256:../../.."),
        ("sha256:44136fa3", "sha256:44136FA3"),
        ("sha512:", "sha1:"),
    ] {
        assert!(json.contains(from), "{from}");
        let json = json.replace(from, to);
        let tar = [member(EntryType::Regular, b"hod/bundle.json", b"", json.as_bytes()), vec![0; 1024]].concat();
        assert!(refusal(&tar).contains("bundle.json"), "{to}");
    }
}

#[test]
fn claims_of_size_cost_nothing() {
    let mut head = member(EntryType::Regular, b"hod/bundle.json", b"", b"");
    for (size, words) in
        [("00002000000", "within hod/bundle.json"), ("77777777777", "the limit is"), ("0000000000x", "the limit is")]
    {
        head[124..135].copy_from_slice(size.as_bytes());
        let mut header = Header::new_ustar();
        header.as_mut_bytes().copy_from_slice(&head[..512]);
        set_checksum(&mut header);
        let said = refusal(header.as_bytes());
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_header_of_another_time_than_its_member() {
    let sample = Sample::small();
    let mut later = sample.clone();
    later.contents.mtime = 1;
    let json = later.header().to_json();
    let tar = [member(EntryType::Regular, b"hod/bundle.json", b"", &json), vec![0; 1024]].concat();
    assert!(refusal(&tar).contains("time"));
}

#[test]
fn signatures_are_bounded() {
    let sample = Sample::small();
    let bundle = sample.write(Compression::None);
    let area = usize::try_from(sample.header().data_area(None)).unwrap();
    let insert = |size: usize| {
        let mut tar = bundle.clone();
        let member = member(EntryType::Regular, b"hod/bundle.json.minisig", b"", &vec![b'x'; size]);
        tar.splice(area..area, member);
        tar
    };
    read(&insert(64 * 1024)).1.unwrap();
    assert!(refusal(&insert(64 * 1024 + 1)).contains("minisig"));
}

#[test]
fn a_bomb_is_not_expanded() {
    let mut compressor = zstd::bulk::Compressor::new(19).unwrap();
    compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true)).unwrap();
    let bomb = compressor.compress(&vec![0; 64 << 20]).unwrap();
    assert!(bomb.len() < 100_000);
    assert!(matches!(read(&bomb).1.unwrap_err(), BundleError::ForeignCompression));
}
