//! Roots that others can write to: whatever they have put among hod's own files, it leads hod nowhere.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::{chown, symlink};
use hod_oci::Digest;
use hod_store::{Store, StoreError};

use super::{assert_sound, image, layer, noise, write};
use crate::support::hod::hod;
use crate::support::job::text;
use crate::support::skipped::is_root_for;
use crate::support::tree;

/// A root of another user where this process may give files away, and files beside it that are none of its business.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.root()).unwrap();
        fs::create_dir_all(place.precious().join("withdrawn")).unwrap();
        fs::write(place.precious().join("file"), "precious").unwrap();
        fs::write(place.precious().join("withdrawn/file"), "precious").unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(place.root(), Some(4711), Some(4712)).unwrap();
        }
        drop(Store::create(&place.root()).unwrap());
        place
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn precious(&self) -> PathBuf {
        self.folder.path().join("precious")
    }

    /// Puts a link among hod's own files in the place of whatever is there.
    fn link(&self, at: &str, target: &Path) -> PathBuf {
        let link = self.root().join(at);
        match fs::symlink_metadata(&link) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&link).unwrap(),
            Ok(_) => fs::remove_file(&link).unwrap(),
            Err(_) => {}
        }
        symlink(target, &link).unwrap();
        link
    }

    #[track_caller]
    fn assert_untouched(&self, what: &str) {
        assert_eq!(names(&self.precious()), ["file", "withdrawn", "withdrawn/file"], "{what}");
        for file in ["file", "withdrawn/file"] {
            let file = self.precious().join(file);
            assert_eq!(fs::read_to_string(&file).unwrap(), "precious", "{what}");
            assert_eq!(fs::metadata(&file).unwrap().uid(), nix::unistd::geteuid().as_raw(), "{what}");
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    tree::listing(folder).into_keys().collect()
}

fn writers() -> [fn(&Path) -> Result<Store, StoreError>; 2] {
    [Store::create, Store::alone]
}

#[test]
fn a_link_in_the_place_of_a_directory_or_lock_of_hod_is_refused() {
    for at in [".hod", ".hod/staged", ".hod/partial", ".hod/lock"] {
        let place = Place::new();
        let new = place.folder.path().join("new");
        // Within the root, too: what is in there is not hod's own.
        let inside = place.root().join("docker/registry/v2/repositories");
        fs::create_dir(inside.join("app")).unwrap();
        fs::write(inside.join("app/link"), "").unwrap();
        for target in [&place.precious(), &place.precious().join("file"), &new, &inside] {
            let link = place.link(at, target);
            for open in writers() {
                let error = open(&place.root()).unwrap_err().to_string();
                assert!(error.contains(text(&link)), "{at}: {error}");
            }
            place.assert_untouched(at);
            assert!(!new.exists() && inside.join("app/link").exists(), "{at}");
        }
    }
}

#[tokio::test]
async fn what_is_no_directory_in_staged_is_left_alone() {
    for at in ["0", "7", "other"] {
        let place = Place::new();
        let link = place.link(&format!(".hod/staged/{at}"), &place.precious());
        for open in writers() {
            drop(open(&place.root()).unwrap());
        }
        let store = Store::create(&place.root()).unwrap();
        write(&store, "a", &["1"], &image("amd64", &[layer("1"), layer(noise(1, 2_000_000))])).await.unwrap();
        drop(store);
        place.assert_untouched(at);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_sound(&place.root());
    }
}

#[test]
fn links_below_the_directory_of_a_dead_process_go_and_not_what_they_lead_to() {
    let place = Place::new();
    let dead = place.root().join(".hod/staged/7");
    fs::create_dir_all(dead.join("upload-0")).unwrap();
    for at in ["withdrawn", "upload-0/deeper", "upload-1", &format!("sha256-{}", Digest::sha256(b"").hex())] {
        symlink(place.precious(), dead.join(at)).unwrap();
    }
    drop(Store::create(&place.root()).unwrap());
    place.assert_untouched("retired");
    assert_eq!(names(&place.root().join(".hod/partial")), [""; 0]);
    assert!(!dead.exists());
}

#[test]
fn nothing_waits_for_the_other_end_of_a_pipe() {
    for at in [".hod/staged/7", ".hod/lock", ".hod/referrers", ".hod/partial/pipe"] {
        let place = Place::new();
        let pipe = place.root().join(at);
        if pipe.exists() {
            fs::remove_file(&pipe).unwrap();
        }
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let run = hod(["gc", "--store", text(&place.root())]);
        let (output, _) = run.by_way_of(&["sh", "-c", "shift; exec timeout 60 \"$@\"", "sh"]);
        let expected = i32::from(at == ".hod/lock");
        assert_eq!(output.code, Some(expected), "{at}: {}", output.stderr);
    }
}

#[test]
fn a_file_that_has_another_name_elsewhere_is_neither_written_to_nor_given_away() {
    let place = Place::new();
    let (digest, bundle) = (Digest::sha256(b"brick"), Digest::sha256(b"bundle"));
    let names =
        ["lock", "referrers", &format!("partial/sha256-{}", digest.hex()), &format!("partial/bundle-{}", bundle.hex())];
    let elsewhere = |at: &str| place.folder.path().join(at.replace('/', "-"));
    for at in names {
        let name = place.root().join(".hod").join(at);
        let _ = fs::remove_file(&name);
        fs::write(elsewhere(at), "precious").unwrap();
        fs::hard_link(elsewhere(at), name).unwrap();
    }
    let store = Store::create(&place.root()).unwrap();
    drop(store.lock_referrers().unwrap());
    store.add(&digest, b"brick").unwrap();
    store.finish().unwrap();
    store.note_passed(&bundle, 3).unwrap();
    assert_eq!((store.passed(&bundle).unwrap(), store.size(&digest).unwrap()), (3, Some(5)));
    for at in names {
        assert_eq!(fs::read_to_string(elsewhere(at)).unwrap(), "precious", "{at}");
        assert_eq!(fs::metadata(elsewhere(at)).unwrap().uid(), nix::unistd::geteuid().as_raw(), "{at}");
    }
    assert_sound(&place.root());
}

#[test]
fn an_authority_is_kept_in_the_root_itself() {
    let place = Place::new();
    let store = Store::create(&place.root()).unwrap();
    let link = place.link(".hod/tls", &place.precious());
    assert!(store.private("tls").unwrap_err().to_string().contains(text(&link)));
    fs::remove_file(link).unwrap();
    assert_eq!(fs::metadata(store.private("tls").unwrap().path()).unwrap().mode() & 0o777, 0o700);
}

/// The owner of the root swaps a directory of blobs for a link at any moment: what was opened before stays what it was.
#[tokio::test]
async fn content_never_leaves_the_root() {
    let place = Place::new();
    let store = Store::create(&place.root()).unwrap();
    write(&store, "a", &["1"], &image("amd64", &[layer("1")])).await.unwrap();
    let repositories = place.root().join("docker/registry/v2/repositories");
    fs::rename(repositories.join("a/_manifests"), place.folder.path().join("aside")).unwrap();
    symlink(place.precious(), repositories.join("a/_manifests")).unwrap();
    let error = write(&store, "a", &["2"], &image("amd64", &[layer("2")])).await.unwrap_err().to_string();
    assert!(error.contains("leads out of the store"), "{error}");
    assert!(store.remove_tag(&"a".parse().unwrap(), &"1".parse().unwrap()).is_err());
    drop(store);
    place.assert_untouched("a link out");
}

#[test]
fn verify_names_what_does_not_belong_among_hods_own_files() {
    let place = Place::new();
    let own = place.root().join(".hod");
    let digest = Digest::sha256(b"").hex();
    for folder in ["staged/7/withdrawn", "staged/other", "tls"] {
        fs::create_dir_all(own.join(folder)).unwrap();
    }
    for file in [
        &format!("partial/sha256-{digest}"),
        &format!("partial/bundle-{digest}"),
        "partial/other",
        "staged/7/link-0",
        "staged/file",
        "stranger",
        "tls/ca.key",
    ] {
        fs::write(own.join(file), "").unwrap();
    }
    symlink(place.precious(), own.join("staged/7/withdrawn/link")).unwrap();
    symlink(place.precious(), own.join("staged/8")).unwrap();
    nix::unistd::mkfifo(&own.join("staged/9"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = hod(["verify", text(&place.root()), "--json"]).code(4);
    // Nothing is wrong with any blob.
    assert!(output.stderr.contains("hint: hod neither uses nor removes these files"), "{}", output.stderr);
    let output = output.json();
    let found: Vec<_> = output["findings"].as_array().unwrap().iter().map(|it| (&it["code"], &it["path"])).collect();
    let expected =
        ["partial/other", "staged/7/withdrawn/link", "staged/8", "staged/9", "staged/file", "staged/other", "stranger"];
    let paths: Vec<_> = expected.iter().map(|path| format!(".hod/{path}")).collect();
    assert_eq!(found.len(), paths.len(), "{output:#}");
    assert!(
        found.iter().zip(&paths).all(|((code, path), expected)| *code == "foreign-in-hod" && *path == expected),
        "{output:#}"
    );

    let clean = Place::new();
    hod(["verify", text(&clean.root())]).ok();
    clean.link(".hod", &own);
    assert!(hod(["verify", text(&clean.root())]).code(4).text().contains("foreign-in-hod: .hod:"));
}

#[test]
fn directories_that_are_made_belong_to_the_owner_and_those_that_are_there_stay() {
    if !is_root_for("to give files away") {
        return;
    }
    let place = Place::new();
    // One of root's own, which the owner of the root may have moved here.
    fs::create_dir_all(place.root().join("docker/registry/v2/repositories/mine")).unwrap();
    drop(Store::create(&place.root()).unwrap());
    assert_eq!(fs::metadata(place.root().join("docker/registry/v2/repositories/mine")).unwrap().uid(), 0);
    assert_eq!(fs::metadata(place.root().join(".hod/staged")).unwrap().uid(), 4711);
}
