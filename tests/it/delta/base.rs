//! A delta names its base: in its header, in listings, and where the base is missing.

use fs_err as fs;
use hod_bundle::{BundleReader, Compression, Content, Contents, Header, OpenBundle, Trust, Writer};
use serde_json::{Value, json};

use super::Releases;
use crate::support::docker_registry::DockerRegistry;
use crate::support::hod::hod;
use crate::support::tree;

/// 2026-05-01, in seconds since 1970.
const MAY: &str = "1777593600";
/// The advice where the base is a bundle.
const ADVICE: &str = "hint: unpack or push may.tar first, and then this bundle; or ask the sender for a whole bundle, packed without --have";

impl Releases {
    fn listed(&self, bundle: &str) -> Value {
        self.run(&["ls", bundle, "--json"], 0).json()
    }

    /// Packs the first release as `may.tar`, made on a known day. Returns its description.
    fn pack_may(&self) -> String {
        let words = ["pack", "--store", "first", "-o", "may.tar"];
        hod(words).in_folder(self.folder.path()).env("SOURCE_DATE_EPOCH", MAY).ok();
        format!("bundle may.tar of 2026-05-01, {}", self.listed("may.tar")["bundle"].as_str().unwrap())
    }

    /// The header of a bundle, as JSON.
    fn header(&self, bundle: &str) -> Value {
        let bytes = fs::read(self.path(bundle)).unwrap();
        serde_json::from_slice(&BundleReader::new(bytes.as_slice()).unwrap().header().to_json()).unwrap()
    }

    /// The header of a delta, as if it did not name its base.
    pub(super) fn header_without_base(&self, bundle: &str) -> Value {
        let mut header = self.header(bundle);
        assert!(header.as_object_mut().unwrap().remove("base").is_some(), "{header}");
        header
    }

    /// Writes a delta as hod wrote it before deltas named their base.
    fn forget_base(&self, bundle: &str, to: &str) {
        let (open, _) = hod_bundle::BundleFiles::One(self.path(bundle)).open(&Trust::default()).unwrap();
        let header = open.header();
        let blobs = header.blobs().iter().map(|blob| Content { digest: blob.digest, size: blob.size }).collect();
        let header = Header::new(Contents {
            mtime: header.mtime(),
            images: header.images().to_vec(),
            blobs,
            requires: header.requires().to_vec(),
            base: Vec::new(),
            repositories: header.repositories().to_vec(),
        });
        write(&open, &header.unwrap(), fs::File::create(self.path(to)).unwrap());
    }
}

fn write(from: &OpenBundle, header: &Header, to: fs::File) {
    let mut writer = Writer::new(to, header, None, Compression::None).unwrap();
    while let Some(blob) = writer.next_blob() {
        writer.blob(&blob.digest, &mut from.blob(&blob.digest).unwrap()).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_listing_says_that_it_is_a_delta_and_on_what() {
    let releases = Releases::new();
    let may = releases.pack_may();
    releases.pack("second", "june.tar", &["may.tar"]);
    let text = releases.run(&["ls", "june.tar"], 0).text();
    let last: Vec<&str> = text.lines().rev().take(2).collect();
    assert_eq!(last[0], format!("delta: it builds on {may}"));
    let listed = releases.listed("june.tar");
    let required = listed["required"].as_u64().unwrap();
    assert!(
        required > 2 && last[1].starts_with(&format!("delta: its target must have {required} contents (")),
        "{text}"
    );
    assert!(listed["bytesRequired"].as_u64().unwrap() > 400_000, "{listed}");
    let id = releases.listed("may.tar")["bundle"].clone();
    assert_eq!(listed["base"], json!([{"kind": "bundle", "name": "may.tar", "id": id, "date": "2026-05-01"}]));
    // A bundle that is none says nothing of it.
    let text = releases.run(&["ls", "may.tar"], 0).text();
    let listed = releases.listed("may.tar");
    assert!(!text.contains("delta") && listed.get("base").is_none() && listed["bytesRequired"] == 0, "{text}");
}

#[test]
fn bundles_without_a_delta_keep_their_bytes() {
    let releases = Releases::new();
    let whole = fs::read(releases.path("second.tar")).unwrap();
    assert!(releases.header("second.tar").get("base").is_none());
    // A base that has nothing of it makes no delta.
    releases.run(&["pack", "--store", "first", "gone:1", "-o", "gone.tar"], 0);
    releases.pack("second", "again.tar", &["gone.tar"]);
    assert!(whole == fs::read(releases.path("again.tar")).unwrap());
}

#[test]
fn every_kind_of_base_has_its_name() {
    let releases = Releases::new();
    let site = releases.site("site", &["first.tar"]);
    releases.run(&["inventory", "site", "-o", "site.json"], 0);
    releases.run(&["pack", "--store", "first", "-o", "cut.tar", "--volume-size", "100000"], 0);
    let base_of = |have: &[&str]| {
        releases.pack("second", "delta.tar", have);
        releases.listed("delta.tar")["base"].clone()
    };
    let digest = hod_oci::Digest::sha256(&fs::read(releases.path("site.json")).unwrap());
    let today = base_of(&["site.json"])[0]["date"].clone();
    assert!(today.as_str().unwrap() >= "2024-01-01", "{today}");
    assert_eq!(
        base_of(&["site.json"]),
        json!([{"kind": "inventory", "name": "site.json", "id": digest, "date": today}])
    );
    let store = json!({"kind": "store", "name": "site"});
    assert_eq!(base_of(&["site"]), json!([store]));
    assert_eq!(base_of(&[&format!("{}/.", site.display())]), json!([store]));
    let cut = base_of(&["cut.tar.001"]);
    assert!(cut[0]["name"] == "cut.tar" && cut[0]["kind"] == "bundle" && cut[0]["date"].is_string(), "{cut}");
    let both = base_of(&["first.tar", "site.json"]);
    assert!(both[0]["name"] == "first.tar" && both[1]["name"] == "site.json", "{both}");
    let text = releases.run(&["ls", "delta.tar"], 0).text();
    assert!(text.contains("delta: it builds on content that each of these has: bundle first.tar of "), "{text}");
}

#[test]
fn the_day_of_a_file_is_not_part_of_a_reproducible_delta() {
    let releases = Releases::new();
    let words = ["pack", "--store", "second", "-o", "delta.tar", "--have", "first.tar"];
    let pack = || {
        hod(words).in_folder(releases.folder.path()).env("SOURCE_DATE_EPOCH", MAY).ok();
        fs::read(releases.path("delta.tar")).unwrap()
    };
    let one = pack();
    assert!(releases.listed("delta.tar")["base"][0].get("date").is_none());
    let base = fs::File::options().append(true).open(releases.path("first.tar")).unwrap();
    base.file().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400)).unwrap();
    assert!(one == pack());
    // Without the variable, the day of the file helps people to find it.
    releases.pack("second", "delta.tar", &["first.tar"]);
    assert_eq!(releases.listed("delta.tar")["base"][0]["date"], "1970-01-02");
}

#[test]
fn a_missing_base_is_named_with_what_to_do() {
    let releases = Releases::new();
    let may = releases.pack_may();
    releases.pack("second", "june.tar", &["may.tar"]);
    for dry in [&[][..], &["--dry-run"]] {
        let output = releases.run(&[&["unpack", "june.tar", "--root", "empty"], dry].concat(), 5);
        let named = format!("hint: nothing was written; this bundle is a delta: it builds on {may}");
        assert!(output.stderr.contains(&named) && output.stderr.contains(ADVICE), "{}", output.stderr);
        // A check makes no root.
        assert_eq!(releases.path("empty").exists(), dry.is_empty());
        let _ = fs::remove_dir_all(releases.path("empty"));
    }
    // An inventory is no file that anybody could unpack.
    releases.site("site", &["first.tar"]);
    releases.run(&["inventory", "site", "-o", "site.json"], 0);
    releases.pack("second", "june.tar", &["site.json"]);
    let output = releases.run(&["unpack", "june.tar", "--root", "empty"], 5);
    let advice = "hint: check that this is the root or registry that the inventory site.json describes, and bring the \
                  bundles that it had then; or ask the sender for a whole bundle, packed without --have";
    assert!(output.stderr.contains(advice), "{}", output.stderr);
    // Any of two bundles is enough.
    releases.run(&["pack", "--store", "first", "app:1", "-o", "part.tar"], 0);
    releases.pack("second", "june.tar", &["may.tar", "part.tar"]);
    let output = releases.run(&["unpack", "june.tar", "--root", "empty"], 5);
    assert!(output.stderr.contains("unpack or push may.tar or part.tar first"), "{}", output.stderr);
    releases.site("other", &["part.tar", "june.tar"]);
    // One image of a delta says it, too.
    let output = releases.run(&["copy", "bundle:june.tar:new/tool:2", "dir:copied"], 1);
    assert!(output.stderr.contains(&format!("to its base: {may}: bundle part.tar of ")), "{}", output.stderr);
}

#[test]
fn serving_a_delta_without_its_base_names_it() {
    let releases = Releases::new();
    let may = releases.pack_may();
    releases.pack("second", "june.tar", &["may.tar"]);
    for (bundles, is_whole) in [(&["june.tar"][..], false), (&["may.tar", "june.tar"], true)] {
        let words = [&["serve", "--listen", "127.0.0.1:0"][..], bundles].concat();
        let mut serving = hod(words).in_folder(releases.folder.path()).spawn();
        serving.until_printed("listening on");
        let said = serving.kill().stderr;
        assert_eq!(said.contains(&format!("note: june.tar is a delta: it builds on {may}")), !is_whole, "{said}");
    }
}

#[test]
fn deltas_that_do_not_name_their_base_are_read() {
    let releases = Releases::new();
    releases.pack("second", "june.tar", &["first.tar"]);
    releases.forget_base("june.tar", "old.tar");
    let text = releases.run(&["ls", "old.tar"], 0).text();
    assert!(text.ends_with("\ndelta: it does not name the bundle that it builds on\n"), "{text}");
    assert!(releases.listed("old.tar").get("base").is_none());
    let output = releases.run(&["unpack", "old.tar", "--root", "empty"], 5);
    let advice = "hint: unpack or push the bundle that this one builds on first; or ask the sender for a whole bundle";
    assert!(output.stderr.contains(advice), "{}", output.stderr);
    releases.site("site", &["first.tar", "old.tar"]);
    releases.run(&["verify", "old.tar"], 0);
}

#[test]
fn a_dry_run_of_unpack_checks_and_writes_nothing() {
    let releases = Releases::new();
    releases.pack("second", "june.tar", &["first.tar"]);
    let site = releases.site("site", &["first.tar"]);
    let before = tree::listing(&site);
    let found = releases.run(&["unpack", "june.tar", "--root", "site", "--dry-run", "--json"], 0).json();
    assert_eq!(tree::listing(&site), before);
    assert_eq!((&found["dryRun"], &found["images"], &found["signed"]), (&json!(true), &json!(3), &Value::Null));
    assert_eq!(found["bundle"], releases.listed("june.tar")["bundle"]);
    assert!(found["bytesFree"].as_u64().unwrap() > 0, "{found}");
    let changes: Vec<_> = found["tags"].as_array().unwrap().iter().map(|tag| (&tag["name"], &tag["change"])).collect();
    let expected = [("app:1", "moved"), ("new/tool:2", "new"), ("stays:1", "unchanged")];
    assert!(
        changes.iter().map(|(name, change)| (name.as_str().unwrap(), change.as_str().unwrap())).eq(expected),
        "{found}"
    );
    let written = releases.run(&["unpack", "june.tar", "--root", "site", "--json"], 0).json()["written"].clone();
    assert_eq!(found["toWrite"], written);
    // A root that does not exist gets everything, and is not made.
    let output = releases.run(&["unpack", "first.tar", "--root", "none/such", "--dry-run"], 0);
    assert!(output.stderr.contains("3 images can be unpacked to none/such: "), "{}", output.stderr);
    assert!(!releases.path("none").exists());
    releases.run(&["unpack", "second.tar", "--root", "site", "--dry-run", "--on-existing-tag", "error"], 0);
    releases.run(&["unpack", "first.tar", "--root", "site", "--dry-run", "--on-existing-tag", "error"], 1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_dry_run_of_push_checks_and_sends_nothing() {
    let releases = Releases::new();
    let may = releases.pack_may();
    releases.pack("second", "june.tar", &["may.tar"]);
    let registry = DockerRegistry::empty();
    let destination = format!("docker://{}/team", registry.host());
    for dry in [&[][..], &["--dry-run"]] {
        let output = releases.run(&[&["push", "june.tar", &destination], dry].concat(), 5);
        assert!(output.stderr.contains(&may) && output.stderr.contains(ADVICE), "{}", output.stderr);
    }
    let found = releases.run(&["push", "may.tar", &destination, "--dry-run", "--json"], 0).json();
    assert_eq!((&found["dryRun"], found["images"].as_array().unwrap().len()), (&json!(true), 3));
    assert!(!registry.root().join("docker/registry/v2/repositories").exists());
    releases.run(&["push", "may.tar", &destination], 0);
    let output = releases.run(&["push", "june.tar", &destination, "--dry-run"], 0);
    assert!(
        output.stderr.contains(&format!("3 images can be pushed to {destination}; nothing was sent")),
        "{}",
        output.stderr
    );
    let bundle = fs::read(releases.path("june.tar")).unwrap();
    hod(["push", "-", &destination, "--dry-run"]).input(bundle).code(2);
}
