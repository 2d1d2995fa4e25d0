//! Small files that become large in memory: whatever a stranger sends, no command takes more than it may.

use std::path::Path;

use fs_err as fs;
use hod_oci::Digest;
use serde_json::json;

use crate::bundle::sample::compressed;
use crate::support::hod::hod;
use crate::support::images::{Blob, image};

/// The most memory of any command with any input.
const MOST: u64 = 256 * 1024 * 1024;
/// As long as a manifest or config may be.
const MANIFEST: usize = 4 * 1024 * 1024;

/// Runs to some end of its own within the memory that it may take, and says something of `says`.
#[track_caller]
fn bounded(folder: &Path, what: &str, words: &[&str], input: &[u8], says: &[&str]) {
    let (output, peak) = hod(words).in_folder(folder).input(input).measured();
    println!("{:>4} MiB: {what}, {words:?}: {}", peak >> 20, output.stderr.lines().next().unwrap_or_default());
    assert!(output.code.is_some_and(|code| code < 6), "{what}, {words:?}: {:?} {}", output.code, output.stderr);
    assert!(peak < MOST, "{what}, {words:?}: {peak} bytes of memory");
    let said = output.text() + &output.stderr;
    assert!(says.is_empty() || says.iter().any(|says| said.contains(says)), "{what}, {words:?}: {}", output.stderr);
}

/// A unit many times between two texts, of so many bytes in all.
fn filled(before: &str, unit: &str, after: &str, size: usize) -> Vec<u8> {
    let count = (size - before.len() - after.len()) / (unit.len() + 1);
    [before.as_bytes(), vec![unit; count].join(",").as_bytes(), after.as_bytes()].concat()
}

/// The same with a number in each unit.
fn numbered(before: &str, unit: impl Fn(usize) -> String, after: &str, size: usize) -> Vec<u8> {
    let mut text = before.to_owned();
    for number in 0.. {
        let unit = unit(number);
        if text.len() + unit.len() + after.len() + 1 > size {
            break;
        }
        if number > 0 {
            text.push(',');
        }
        text += &unit;
    }
    (text + after).into_bytes()
}

/// A tar whose header claims that many bytes and has them.
fn with_header(json: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path("hod/bundle.json").unwrap();
    header.set_mode(0o644);
    header.set_size(json.len() as u64);
    header.set_mtime(0);
    let mut block = *header.as_bytes();
    // In the form that bundles have: seven digits, and all fields.
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[329..337].copy_from_slice(b"0000000\0");
    block[337..345].copy_from_slice(b"0000000\0");
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = json.len().next_multiple_of(512) - json.len();
    [&block[..], json, &vec![0; padding + 1024]].concat()
}

#[test]
#[ignore = "takes long"]
fn headers_of_bundles() {
    let folder = tempfile::tempdir().unwrap();
    let digest = Digest::sha256(b"");
    let image = format!(
        r#"{{"format":"hod-bundle","version":1,"mtime":0,"images":[{{"name":"a","digest":"{digest}","mediaType":"application/vnd.oci.image.manifest.v1+json","contents":["#
    );
    let platforms = image.clone() + r#"],"platforms":["#;
    let end = r#"],"platforms":[]}],"blobs":[],"requires":[],"repositories":[]}"#;
    let platforms_end = r#"]}],"blobs":[],"requires":[],"repositories":[]}"#;
    let mib = 1024 * 1024;
    let features = format!(r#"{{"os":"","architecture":"","os.features":[{}]}}"#, vec![r#""""#; 1000].join(","));
    for (what, json, says) in [
        ("positions", filled(&image, "0", end, 32 * mib), "bundle.json"),
        ("platforms", filled(&platforms, r#"{"os":"","architecture":""}"#, platforms_end, 32 * mib), "bundle.json"),
        ("features", filled(&platforms, &features, platforms_end, 32 * mib), "bundle.json"),
        ("digests", filled(&image.replace(r#""images":[{"#, r#""requires":[{"#), "1", end, 32 * mib), "bundle.json"),
        ("longer than any", filled(&image, "0", end, 250 * mib), "the limit is 33554432"),
    ] {
        let tar = with_header(&json);
        drop(json);
        if what != "longer than any" {
            fs::write(folder.path().join("x.tar"), &tar).unwrap();
            for words in [&["ls", "x.tar"][..], &["unpack", "x.tar", "--root", "root"], &["verify", "x.tar"]] {
                bounded(folder.path(), what, words, b"", &[says]);
            }
        }
        let bundle = compressed(&tar);
        assert!(bundle.len() < 64 * 1024, "{what}: {} bytes", bundle.len());
        fs::write(folder.path().join("x.tar.zst"), &bundle).unwrap();
        let dense = "compressed bytes of a bundle";
        for words in [&["ls", "x.tar.zst"][..], &["unpack", "x.tar.zst", "--root", "root"], &["verify", "x.tar.zst"]] {
            bounded(folder.path(), what, words, b"", &[says, dense]);
        }
        bounded(folder.path(), what, &["unpack", "-", "--root", "root"], &bundle, &[says, dense]);
    }
}

/// A layer, compressed, of what is written to it.
fn layer(write: impl FnOnce(&mut dyn std::io::Write)) -> Blob {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut hasher = hod_oci::Hasher::new(hod_oci::Algorithm::Sha256);
    struct Both<'a, W>(&'a mut W, &'a mut hod_oci::Hasher);
    impl<W: std::io::Write> std::io::Write for Both<'_, W> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.update(bytes);
            self.0.write_all(bytes).map(|()| bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    write(&mut Both(&mut gzip, &mut hasher));
    let bytes = gzip.finish().unwrap();
    Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", bytes).with_diff(hasher.finish())
}

/// The blocks of an entry whose path is in an extended header.
fn entry(kind: u8, path: &str, link: &str) -> Vec<u8> {
    let mut blocks = Vec::new();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_entry_type(tar::EntryType::new(kind));
    if !link.is_empty() {
        header.set_link_name(link).unwrap();
    }
    header.set_size(0);
    let record = format!(" path={path}\n");
    let length = (1..10).find(|digits| (record.len() + digits).to_string().len() == *digits).unwrap() + record.len();
    let record = format!("{length}{record}");
    let mut extended = tar::Header::new_ustar();
    extended.set_entry_type(tar::EntryType::XHeader);
    extended.set_size(record.len() as u64);
    extended.set_cksum();
    header.set_cksum();
    blocks.extend_from_slice(extended.as_bytes());
    blocks.extend_from_slice(record.as_bytes());
    blocks.resize(blocks.len().next_multiple_of(512), 0);
    blocks.extend_from_slice(header.as_bytes());
    blocks
}

#[test]
#[ignore = "takes long"]
fn layers_that_expand_to_many_entries() {
    let folder = tempfile::tempdir().unwrap();
    let unpacks = |what: &str, layers: &[Blob]| {
        let _ = fs::remove_dir_all(folder.path().join("layout"));
        image("linux/amd64", layers).write_layout(&folder.path().join("layout"));
        bounded(folder.path(), what, &["unpack-image", "oci:layout", what], b"", &[]);
        let _ = fs::remove_dir_all(folder.path().join(what));
    };
    let deep = vec!["d".repeat(250); 15].join("/");
    let folders = layer(|out| out.write_all(&entry(b'5', &deep, "")).unwrap());
    // Long paths of files that are one file.
    let links = layer(|out| {
        out.write_all(&entry(b'0', "file", "")).unwrap();
        for number in 0..60_000 {
            out.write_all(&entry(b'1', &format!("{deep}/{number:0200}"), "file")).unwrap();
        }
    });
    assert!(links.bytes.len() < 8_000_000, "{} bytes", links.bytes.len());
    // All of them in one directory, which the next layer empties.
    let opaque = layer(|out| out.write_all(&entry(b'0', &format!("{deep}/.wh..wh..opq"), "")).unwrap());
    unpacks("links", &[folders.clone(), links.clone(), opaque]);
    let whiteouts = layer(|out| {
        for number in 0..60_000 {
            out.write_all(&entry(b'0', &format!("{deep}/.wh.{number:0200}"), "")).unwrap();
        }
    });
    unpacks("whiteouts", &[folders, links, whiteouts]);
}

/// A layout of an image with this manifest and config, or with another index.
fn layout(folder: &Path, manifest: &[u8], config: &[u8], index: Option<&[u8]>) {
    let layout = folder.join("layout");
    let _ = fs::remove_dir_all(&layout);
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    for bytes in [manifest, config] {
        fs::write(layout.join("blobs/sha256").join(Digest::sha256(bytes).hex()), bytes).unwrap();
    }
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let root = json!({ "mediaType": media_type, "digest": Digest::sha256(manifest), "size": manifest.len() });
    let own = json!({ "schemaVersion": 2, "manifests": [root] }).to_string();
    fs::write(layout.join("index.json"), index.unwrap_or(own.as_bytes())).unwrap();
}

fn manifest_of(config: &[u8], more: &str) -> String {
    let media_type = "application/vnd.oci.image.config.v1+json";
    let config = json!({ "mediaType": media_type, "digest": Digest::sha256(config), "size": config.len() });
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{more}}}"#)
}

#[test]
#[ignore = "takes long"]
fn manifests_configs_and_indexes_of_many_values() {
    let folder = tempfile::tempdir().unwrap();
    let digest = Digest::sha256(b"");
    let descriptor = format!(r#"{{"mediaType":"","digest":"{digest}","size":0}}"#);
    let annotation = |number: usize| format!(r#""{number:x}":"""#);
    let more =
        |before: &str, unit: &str, after: &str| String::from_utf8(filled(before, unit, after, MANIFEST - 600)).unwrap();
    let subject = format!(r#","subject":{{"mediaType":"","digest":"{digest}","size":1,"#);
    for (what, manifest) in [
        ("objects", manifest_of(b"{}", &more(r#","x":["#, r#"{"":0}"#, "]"))),
        ("urls", manifest_of(b"{}", &more(&format!(r#"{subject}"urls":["#), r#""""#, "]}"))),
        ("layers", manifest_of(b"{}", "").replace("[]", &more("[", &descriptor, "]"))),
        ("deep", manifest_of(b"{}", &format!(r#","x":{}{}"#, "[".repeat(1_900_000), "]".repeat(1_900_000)))),
        (
            "annotations",
            manifest_of(
                b"{}",
                std::str::from_utf8(&numbered(r#","annotations":{"#, annotation, "}", MANIFEST - 600)).unwrap(),
            ),
        ),
    ] {
        layout(folder.path(), manifest.as_bytes(), b"{}", None);
        fs::write(folder.path().join("m.json"), &manifest).unwrap();
        bounded(folder.path(), what, &["manifest-digest", "m.json"], b"", &[]);
        for words in [
            &["inspect", "oci:layout"][..],
            &["verify", "oci:layout"],
            &["copy", "oci:layout", &format!("dir:{what}")],
            &["copy", "--format", "v2s2", "oci:layout", &format!("dir:{what}-v2s2")],
            &["pull", "oci:layout as=a:1", "--store", &format!("{what}-store")],
        ] {
            bounded(folder.path(), what, words, b"", &[]);
        }
    }
    let head = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"#;
    for (what, config) in [
        ("objects", filled(&format!(r#"{head}"x":["#), r#"{"":0}"#, "]}", MANIFEST)),
        ("env", filled(&format!(r#"{head}"config":{{"Env":["#), r#""""#, "]}}", MANIFEST)),
        ("history", filled(&format!(r#"{head}"history":["#), "{}", "]}", MANIFEST)),
        ("labels", numbered(&format!(r#"{head}"config":{{"Labels":{{"#), annotation, "}}}", MANIFEST)),
    ] {
        layout(folder.path(), manifest_of(&config, "").as_bytes(), &config, None);
        for words in [
            &["inspect", "oci:layout"][..],
            &["inspect", "--config", "oci:layout"],
            &["inspect", "--format", "{{.Labels}}", "oci:layout"],
            &["stat", "oci:layout"],
            &["unpack-image", "oci:layout", &format!("tree-{what}")],
            &["copy", "oci:layout", &format!("docker-archive:{what}.tar:a:1")],
            &["pull", "oci:layout as=a:1", "--store", &format!("{what}-store")],
        ] {
            bounded(folder.path(), what, words, b"", &[]);
        }
    }
    for (what, unit) in [("objects", r#"{"":0}"#), ("descriptors", &*descriptor)] {
        let index = filled(r#"{"schemaVersion":2,"manifests":["#, unit, "]}", MANIFEST);
        layout(folder.path(), &index, b"{}", Some(&index));
        for words in [
            &["inspect", "oci:layout"][..],
            &["list-tags", "oci:layout"],
            &["verify", "oci:layout"],
            &["copy", "oci:layout", "dir:x"],
        ] {
            bounded(folder.path(), what, words, b"", &[]);
        }
    }
    for (what, unit) in [
        ("objects", r#"{"":0}"#),
        ("items", r#"{"Config":"","RepoTags":[],"Layers":[]}"#),
        ("names", r#"{"Config":"","RepoTags":["a:1","a:1"],"Layers":["","",""]}"#),
    ] {
        let list = filled("[", unit, "]", MANIFEST);
        let mut tar = tar::Builder::new(fs::File::create(folder.path().join("d.tar")).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(list.len() as u64);
        tar.append_data(&mut header, "manifest.json", &*list).unwrap();
        tar.finish().unwrap();
        for words in [&["inspect", "docker-archive:d.tar"][..], &["list-tags", "docker-archive:d.tar"]] {
            bounded(folder.path(), what, words, b"", &[]);
        }
    }
}

#[test]
#[ignore = "takes long"]
fn lists_inventories_and_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let digest = Digest::sha256(b"");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let pull = ["pull", "-f", "list", "--store", "store", "--from", "127.0.0.1:1"];
    for (what, line) in [("images", "a\n"), ("bad lines", "/\n"), ("blank lines", "\n"), ("groups", "##g\n")] {
        write("list", line.repeat(30_000_000 / line.len()).as_bytes());
        bounded(folder.path(), what, &pull, b"", &["more than 100000 lines"]);
    }
    write("list", format!("a {}", "platform=linux/amd64,".repeat(1_000_000)).as_bytes());
    bounded(folder.path(), "options", &pull, b"", &[]);
    let positions =
        format!(r#"{{"format":"hod-inventory","version":1,"images":[{{"name":"a","digest":"{digest}","contents":["#);
    write("inventory", &filled(&positions, "0", r#"]}],"contents":[]}"#, 32 * 1024 * 1024));
    bounded(folder.path(), "positions", &["diff", "inventory", "inventory"], b"", &[]);
    let complete = r#"{"format":"hod-inventory","version":1,"complete":["#;
    write("inventory", &filled(complete, &format!("\"{digest}\""), r#"],"alone":[]}"#, 32 * 1024 * 1024));
    bounded(folder.path(), "digests", &["diff", "inventory", "inventory"], b"", &[]);

    let nine = |name: char| format!("[{}]", vec![format!("*{name}"); 9].join(","));
    let bomb: String = ('b'..='j')
        .zip('a'..='i')
        .map(|(name, before)| format!("{name}: &{name} {}\n", nine(before)))
        .collect::<Vec<_>>()
        .concat();
    let names: String = (0..100_000).map(|number| format!("    {number:x}: []\n")).collect::<Vec<_>>().concat();
    for (what, text) in [
        ("aliases", format!("a: &a [\"x\",\"x\"]\n{bomb}")),
        ("deep", format!("a: {}", "[".repeat(2_000_000))),
        ("names", format!("\"127.0.0.1:1\":\n  images:\n{names}")),
        ("flow", format!("\"127.0.0.1:1\":\n  images:\n    a: [{}]\n", vec!["x"; 1_000_000].join(","))),
        ("long", "x".repeat(100_000_000)),
    ] {
        write("sync.yaml", text.as_bytes());
        // What is asked of a registry that refuses is not what this is about.
        let words =
            ["sync", "--src", "yaml", "--dest", "dir", "sync.yaml", "out", "--retry-times=0", "--command-timeout=20s"];
        bounded(folder.path(), what, &words, b"", &[]);
    }
    let registry = "docker://127.0.0.1:1/a";
    for (what, text) in [
        ("registries", "[[registry]]\nlocation=\"a\"\n".repeat(1_000_000)),
        ("deep", format!("a={}", "[".repeat(1_000_000))),
    ] {
        write("registries.conf", text.as_bytes());
        let path = folder.path().join("registries.conf");
        let run = hod(["inspect", registry]).env("CONTAINERS_REGISTRIES_CONF", path);
        let (output, peak) = run.measured();
        assert!(output.code.is_some() && peak < MOST, "{what}: {peak} bytes, {}", output.stderr);
    }
    for (what, unit) in [("objects", r#"{"":0}"#), ("rules", r#"{"type":"insecureAcceptAnything"}"#)] {
        write("policy.json", &filled(r#"{"default":["#, unit, "]}", 60_000_000));
        bounded(folder.path(), what, &["copy", "--policy", "policy.json", "oci:x", "dir:y"], b"", &[]);
        write("auth.json", &filled(r#"{"x":["#, unit, "]}", 60_000_000));
        bounded(folder.path(), what, &["inspect", "--authfile", "auth.json", registry], b"", &[]);
    }
}
