//! Signatures of the containers tools: what hod signs skopeo and gpg verify, and the other way round; `signedBy` in a
//! trust policy, lookasides, and signatures beside image directories.

mod written;

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::support::docker_registry::DockerRegistry;
use crate::support::fixtures;
use crate::support::hod::{Hod, Output, hod};
use crate::support::{job, skopeo};

const REFERENCE: &str = "registry.example/web:1.0";

/// A keyring of gpg's with one key, and files around it.
pub struct Keyring {
    folder: tempfile::TempDir,
    pub fingerprint: String,
}

impl Keyring {
    /// Makes a key of this kind, without a passphrase unless one is given.
    pub fn new(kind: &str, usage: &str, passphrase: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("k").tempdir().unwrap();
        let home = folder.path().join("gnupg");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let mut keyring = Self { folder, fingerprint: String::new() };
        let user = "Release <release@site.example>";
        keyring.gpg(&["--passphrase", passphrase, "--quick-generate-key", user, kind, usage, "never"]);
        let listed = String::from_utf8(keyring.gpg(&["--list-keys", "--with-colons"])).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.trim_end_matches(':').rsplit(':').next().unwrap().clone_into(&mut keyring.fingerprint);
        fs::write(keyring.public(), keyring.gpg(&["--armor", "--export"])).unwrap();
        let secret = keyring.gpg(&["--passphrase", passphrase, "--armor", "--export-secret-keys"]);
        fs::write(keyring.path("secret.asc"), secret).unwrap();
        fs::write(keyring.path("passphrase"), format!("{passphrase}\n")).unwrap();
        keyring
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn public(&self) -> PathBuf {
        self.path("public.asc")
    }

    pub fn home(&self) -> PathBuf {
        self.path("gnupg")
    }

    pub fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--homedir"]).arg(self.home());
        let output = command.args(arguments).output().expect("gpg does not start: scripts/test installs it");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub fn skopeo(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("skopeo").args(arguments).env("GNUPGHOME", self.home()).output().unwrap()
    }

    pub fn hod(&self, arguments: &[&str]) -> Hod {
        hod(arguments).env("GNUPGHOME", self.home())
    }

    /// A manifest in a file.
    pub fn manifest(&self) -> String {
        let path = self.path("manifest.json");
        let image = format!("oci:{}:web:1.0", fixtures::folder().join("images").display());
        fs::write(&path, skopeo::skopeo(["inspect", "--raw", &image])).unwrap();
        path.display().to_string()
    }

    fn verify(&self, reference: &str, fingerprint: &str, signature: &Path) -> Output {
        let arguments = ["standalone-verify", &self.manifest(), reference, fingerprint, job::text(signature)];
        self.hod(&arguments).args(["--public-key-file".as_ref(), self.public().as_os_str()]).run()
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        // The agent that gpg has started for this home.
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.home()).status();
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn skopeo_verifies_what_hod_signs_and_hod_what_skopeo_signs() {
    for (kind, usage) in [("rsa2048", "sign"), ("ed25519", "sign"), ("nistp256", "sign")] {
        let keys = Keyring::new(kind, usage, "");
        let manifest = keys.manifest();
        let (ours, by_gpg, theirs) = (keys.path("ours"), keys.path("by-gpg"), keys.path("theirs"));
        let sign = ["standalone-sign", &manifest, REFERENCE, &keys.fingerprint, "-o"];
        keys.hod(&sign).arg(&ours).arg("--sign-key").arg(keys.path("secret.asc")).ok();
        keys.hod(&sign).arg(&by_gpg).ok();
        let signed = keys.skopeo(&[&sign[..], &[job::text(&theirs)]].concat());
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        let digest = fixtures::digest("web:1.0");
        for signature in [&ours, &by_gpg, &theirs] {
            let check = ["standalone-verify", &manifest, REFERENCE, &keys.fingerprint, job::text(signature)];
            let judged = keys.skopeo(&check);
            assert!(judged.status.success(), "{kind} {signature:?}: {}", String::from_utf8_lossy(&judged.stderr));
            for who in [keys.fingerprint.as_str(), "any"] {
                let found = keys.verify(REFERENCE, who, signature);
                let expected = format!("Signature verified using fingerprint {}, digest {digest}\n", keys.fingerprint);
                assert_eq!((found.code, found.text()), (Some(0), expected), "{kind}: {}", found.stderr);
            }
            // Without a file, gpg says what its keyring has.
            keys.hod(&check).ok();
        }
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_passphrase_opens_the_key_and_a_subkey_may_sign() {
    let keys = Keyring::new("rsa2048", "cert", "open sesame");
    let fingerprint = keys.fingerprint.clone();
    keys.gpg(&["--passphrase", "open sesame", "--quick-add-key", &fingerprint, "ed25519", "sign", "never"]);
    fs::write(keys.public(), keys.gpg(&["--export"])).unwrap();
    let secret = keys.gpg(&["--passphrase", "open sesame", "--export-secret-keys"]);
    fs::write(keys.path("secret.asc"), secret).unwrap();
    let (manifest, output) = (keys.manifest(), keys.path("signature"));
    let sign = || {
        let fixed = ["standalone-sign", &manifest, REFERENCE, &fingerprint, "-o", job::text(&output), "--sign-key"];
        keys.hod(&fixed).arg(keys.path("secret.asc"))
    };
    let locked = sign().code(2);
    assert!(locked.stderr.contains("--passphrase-file"), "{}", locked.stderr);
    fs::write(keys.path("wrong"), "wrong\n").unwrap();
    let wrong = sign().arg("--passphrase-file").arg(keys.path("wrong")).code(1);
    assert!(wrong.stderr.contains("check the passphrase"), "{}", wrong.stderr);
    assert!(!output.exists());
    sign().arg("--passphrase-file").arg(keys.path("passphrase")).ok();
    let found = keys.verify(REFERENCE, &fingerprint, &output);
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    // gpg is asked too: it must hold the subkey's signature for good.
    let checked = keys.gpg(&["--decrypt", job::text(&output)]);
    assert!(String::from_utf8(checked).unwrap().contains("atomic container signature"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_subkey_signs_for_a_primary_key_that_is_kept_elsewhere() {
    let keys = Keyring::new("ed25519", "sign", "");
    let fingerprint = keys.fingerprint.clone();
    keys.gpg(&["--passphrase", "", "--quick-add-key", &fingerprint, "ed25519", "sign", "never"]);
    fs::write(keys.public(), keys.gpg(&["--export"])).unwrap();
    fs::write(keys.path("secret.asc"), keys.gpg(&["--passphrase", "", "--export-secret-subkeys"])).unwrap();
    let (manifest, output) = (keys.manifest(), keys.path("signature"));
    let sign = ["standalone-sign", &manifest, REFERENCE, &fingerprint, "-o", job::text(&output), "--sign-key"];
    keys.hod(&sign).arg(keys.path("secret.asc")).ok();
    let found = keys.verify(REFERENCE, &fingerprint, &output);
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert!(!found.text().contains(&fingerprint), "by the subkey: {}", found.text());
    let checked = keys.gpg(&["--decrypt", job::text(&output)]);
    assert!(String::from_utf8(checked).unwrap().contains("atomic container signature"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn signatures_that_do_not_count_are_refused() {
    let keys = Keyring::new("ed25519", "sign", "");
    let stranger = Keyring::new("ed25519", "sign", "");
    let (manifest, good) = (keys.manifest(), keys.path("good"));
    let sign = ["standalone-sign", &manifest, REFERENCE, &keys.fingerprint, "-o", job::text(&good)];
    keys.hod(&sign).ok();
    let says = |output: Output, text: &str| {
        assert_eq!(output.code, Some(4), "{}", output.stderr);
        assert!(output.stderr.contains(text), "{text}: {}", output.stderr);
    };
    says(keys.verify("registry.example/web:1.1", "any", &good), "not for \"registry.example/web:1.1\"");
    says(keys.verify(REFERENCE, &stranger.fingerprint, &good), "is not one of the given keys");
    says(stranger.verify(REFERENCE, "any", &good), "not by any of the given keys");
    let bytes = fs::read(&good).unwrap();
    let bad = keys.path("bad");
    for position in [bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[position] ^= 1;
        fs::write(&bad, changed).unwrap();
        assert_eq!(keys.verify(REFERENCE, "any", &bad).code, Some(4), "byte {position}");
    }
    for text in [&b""[..], b"nothing", &bytes[..bytes.len() / 2]] {
        fs::write(&bad, text).unwrap();
        assert_eq!(keys.verify(REFERENCE, "any", &bad).code, Some(4));
    }
    fs::write(keys.path("text"), "not a claim").unwrap();
    fs::write(&bad, keys.gpg(&["--sign", "--output", "-", job::text(&keys.path("text"))])).unwrap();
    says(keys.verify(REFERENCE, "any", &bad), "not a claim about an image");
    keys.hod(&["standalone-verify", &manifest, REFERENCE, "any", job::text(&good)]).code(2);
    keys.hod(&["standalone-verify", &manifest, REFERENCE, "ABCD", job::text(&good)]).code(2);
    // Another manifest under the same name.
    let other = keys.path("other.json");
    fs::write(&other, fs::read_to_string(&manifest).unwrap() + "\n").unwrap();
    let arguments = ["standalone-verify", job::text(&other), REFERENCE, &keys.fingerprint, job::text(&good)];
    says(keys.hod(&arguments).run(), "and the manifest is");
    // A key that its owner has revoked proves nothing.
    let home = keys.home().join("openpgp-revocs.d").join(format!("{}.rev", keys.fingerprint));
    let revocation = fs::read_to_string(home).unwrap().replace(":-----BEGIN", "-----BEGIN");
    fs::write(keys.path("revocation"), &revocation).unwrap();
    let own = fs::read(keys.public()).unwrap();
    let with = |files: &[&[u8]]| {
        fs::write(keys.public(), files.concat()).unwrap();
        keys.verify(REFERENCE, "any", &good)
    };
    let other = fs::read(stranger.public()).unwrap();
    assert_eq!(with(&[&other, &own]).code, Some(0), "both keys of the file count");
    says(with(&[&own, &other, revocation.as_bytes()]), "is revoked");
    let whole = with(&[&own, b"\x99"]);
    assert_eq!(whole.code, Some(2), "{}", whole.stderr);
    assert!(whole.stderr.contains("is not completely readable"), "{}", whole.stderr);
    keys.gpg(&["--import", job::text(&keys.path("revocation"))]);
    let revoked = keys.gpg(&["--export", "--armor"]);
    for files in [&[&revoked[..]][..], &[&own, &revoked], &[&revoked, &own]] {
        says(with(files), "is revoked");
    }
}

/// A registry with an image, and its signatures in a folder as skopeo writes them.
struct Signed {
    keys: Keyring,
    registry: DockerRegistry,
}

impl Signed {
    fn new() -> Self {
        let signed =
            Self { keys: Keyring::new("rsa2048", "sign", ""), registry: DockerRegistry::options().deletes().start() };
        signed.configure(&format!("file://{}", signed.keys.path("lookaside").display()));
        let from = format!("oci:{}:web:1.0", fixtures::folder().join("images").display());
        let to = signed.image("web:1.0");
        let registries = signed.keys.path("registries.d");
        let arguments = ["--insecure-policy", "--registries.d", job::text(&registries), "copy", "--all"];
        let by = ["--sign-by", &signed.keys.fingerprint, "--dest-tls-verify=false", &from, &to];
        let output = signed.keys.skopeo(&[&arguments[..], &by[..]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        skopeo::copy_all(&from, &signed.image("unsigned:1.0"));
        signed
    }

    fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.registry.host())
    }

    /// Says where signatures are.
    fn configure(&self, url: &str) {
        let folder = self.keys.path("registries.d");
        fs::create_dir_all(&folder).unwrap();
        let text = format!("docker:\n  {}:\n    lookaside: {url}\n", self.registry.host());
        fs::write(folder.join("site.yaml"), text).unwrap();
    }

    fn policy(&self, more: &str) -> PathBuf {
        let path = self.keys.path("policy.json");
        let key = self.keys.public();
        let requirement = format!(r#"[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{}"{more}}}]"#, key.display());
        fs::write(&path, format!(r#"{{"default":{requirement}}}"#)).unwrap();
        path
    }

    /// Copies under the policy with both tools, which must agree; says whether they do it.
    #[track_caller]
    fn copies(&self, more: &str, arguments: &[&str], from: &str) -> bool {
        let (policy, registries) = (self.policy(more), self.keys.path("registries.d"));
        let out = tempfile::tempdir().unwrap();
        let to = |name: &str| format!("dir:{}", out.path().join(name).display());
        let global = ["--policy", job::text(&policy), "--registries.d", job::text(&registries), "copy"];
        let common = [&global[..], arguments].concat();
        let theirs = self.keys.skopeo(&[&common[..], &["--src-tls-verify=false", from, &to("theirs")]].concat());
        let ours = hod(&common).args([from, &to("ours")]).run();
        let said = format!("{from} {more}\n{}\n{}", String::from_utf8_lossy(&theirs.stderr), ours.stderr);
        assert_eq!(ours.code == Some(0), theirs.status.success(), "{said}");
        if ours.code == Some(0) {
            crate::support::tree::assert_same(&out.path().join("theirs"), &out.path().join("ours"));
        }
        ours.code == Some(0)
    }
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn signed_by_is_what_skopeo_makes_of_it() {
    let site = Signed::new();
    let (web, unsigned) = (site.image("web:1.0"), site.image("unsigned:1.0"));
    let by_digest = format!("{}@{}", site.image("web"), fixtures::digest("web:1.0"));
    let identity = |text: &str| format!(r#","signedIdentity":{{{text}}}"#);
    let host = site.registry.host();
    for arguments in [&[][..], &["--all"]] {
        assert!(site.copies("", arguments, &web));
        assert!(!site.copies("", arguments, &unsigned));
    }
    assert!(site.copies("", &["--all"], &by_digest));
    for (rule, image, good) in [
        (r#""type":"matchExact""#.to_owned(), &web, true),
        (r#""type":"matchExact""#.to_owned(), &by_digest, false),
        (r#""type":"matchRepository""#.to_owned(), &by_digest, true),
        (format!(r#""type":"exactReference","dockerReference":"{host}/web:1.0""#), &web, true),
        (format!(r#""type":"exactReference","dockerReference":"{host}/web:1.1""#), &web, false),
        (format!(r#""type":"exactRepository","dockerRepository":"{host}/web""#), &web, true),
        (format!(r#""type":"exactRepository","dockerRepository":"{host}/other""#), &web, false),
        (format!(r#""type":"remapIdentity","prefix":"{host}/web","signedPrefix":"{host}/web""#), &web, true),
        (format!(r#""type":"remapIdentity","prefix":"{host}","signedPrefix":"elsewhere.example""#), &web, false),
    ] {
        assert_eq!(site.copies(&identity(&rule), &["--all"], image), good, "{rule}");
    }
    // Somebody else's key.
    let stranger = Keyring::new("rsa2048", "sign", "");
    let own = fs::read(site.keys.public()).unwrap();
    fs::copy(stranger.public(), site.keys.public()).unwrap();
    assert!(!site.copies("", &["--all"], &web));
    fs::write(site.keys.public(), own).unwrap();
    // A pull and a bundle are held to it as well.
    let (policy, registries, store) = (site.policy(""), site.keys.path("registries.d"), site.keys.path("store"));
    let global = ["--policy", job::text(&policy), "--registries.d", job::text(&registries), "--from", host];
    let pulled = hod(["pull", "web:1.0", "unsigned:1.0", "--store", job::text(&store)]).args(global).code(3);
    assert!(pulled.stderr.contains("has no signature"), "{}", pulled.stderr);
    assert_eq!(job::names(&store), ["web:1.0"]);
    // So is what was locked, whose name has the digest beside the tag.
    let lock = site.keys.path("web.lock");
    hod(["lock", "web:1.0", "--from", host, "-o", job::text(&lock)]).ok();
    let locked = site.keys.path("locked");
    hod(["pull", "-f", job::text(&lock), "--store", job::text(&locked)]).args(global).ok();
    assert_eq!(job::names(&locked), ["web:1.0"]);
    let bundle = site.keys.path("b.tar");
    hod(["bundle", "web:1.0", "--require-signed", "-o", job::text(&bundle)]).args(global).ok();
    hod(["bundle", "unsigned:1.0", "-o", job::text(&site.keys.path("c.tar"))]).args(global).code(1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn signatures_travel_with_directories() {
    let site = Signed::new();
    let (registries, out) = (site.keys.path("registries.d"), tempfile::tempdir().unwrap());
    let to = |name: &str| format!("dir:{}", out.path().join(name).display());
    let copy = |arguments: &[&str]| hod(["--registries.d", job::text(&registries), "copy"]).args(arguments);
    copy(&["--all", &site.image("web:1.0"), &to("first")]).ok();
    copy(&["--all", &to("first"), &to("second")]).ok();
    crate::support::tree::assert_same(&out.path().join("first"), &out.path().join("second"));
    let names = fs::read_dir(out.path().join("second")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut signatures: Vec<String> = names.filter(|name| name.contains("signature-")).collect();
    signatures.sort();
    assert_eq!(signatures.len(), 3, "one for the index and one for each image: {signatures:?}");
    assert_eq!(signatures[2], "signature-1");
    let arguments = ["standalone-verify", "manifest.json", &site.image("web:1.0")[9..], &site.keys.fingerprint];
    let checked = site.keys.hod(&arguments).arg("signature-1").in_folder(&out.path().join("second")).ok();
    assert!(checked.text().starts_with("Signature verified"), "{}", checked.text());
    // A directory is held to a policy by the signatures beside it; its name is in the policy, since it has none.
    let repository = format!("{}/web", site.registry.host());
    let rule = format!(r#","signedIdentity":{{"type":"exactRepository","dockerRepository":"{repository}"}}"#);
    assert!(site.copies(&rule, &["--all"], &to("second")));
    assert!(!site.copies("", &["--all"], &to("second")));
    // What cannot keep them says so; what is told to leave them does.
    let left = copy(&["--all", &to("first"), &format!("oci:{}:web:1.0", out.path().join("oci").display())]).ok();
    assert!(left.stderr.contains("3 signatures of"), "{}", left.stderr);
    let bare = copy(&["--all", "--remove-signatures", &to("first"), &to("second")]).ok();
    assert!(!bare.stderr.contains("signature"), "{}", bare.stderr);
    copy(&["--all", "--remove-signatures", &to("first"), &to("third")]).ok();
    assert!(!out.path().join("third/signature-1").exists());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_lookaside_may_be_a_web_server() {
    let site = Signed::new();
    let server = WebServer::over(&site.keys.path("lookaside"));
    site.configure(&format!("http://{}", server.host));
    assert!(site.copies("", &["--all"], &site.image("web:1.0")));
    site.configure(&format!("http://{}/empty", server.host));
    assert!(!site.copies("", &["--all"], &site.image("web:1.0")));
}

/// A web server over a folder.
struct WebServer {
    process: std::process::Child,
    host: String,
}

impl WebServer {
    fn over(folder: &Path) -> Self {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let process = Command::new("busybox").args(["httpd", "-f", "-p", &host, "-h"]).arg(folder).spawn();
        let process = process.expect("busybox does not start: scripts/test installs it");
        let server = Self { process, host };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while std::net::TcpStream::connect(&server.host).is_err() {
            assert!(std::time::Instant::now() < end, "busybox does not listen");
            std::thread::yield_now();
        }
        server
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
