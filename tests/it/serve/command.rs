//! `hod serve` as a command: over stores and bundles, with its flags, and within systemd's conventions.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use fs_err as fs;
use hod_bundle::{Compression, Content, Contents, Header, OpenBundle, Writer};
use hod_oci::Digest;

use super::{busybox_layer, manifest, stored};
use crate::support::hod::hod;
use crate::support::page::blocks;
use crate::support::raw::{self, Request};
use crate::support::tls::Certificates;
use crate::support::{fixtures, skopeo, tree};

/// A running `hod serve`, which is killed in the end.
pub struct Served {
    process: Child,
    output: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
    pub host: String,
    scheme: String,
}

impl Served {
    /// Serves on any free port.
    pub fn start<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hod"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::of(command.stdin(Stdio::null()))
    }

    fn of(command: &mut Command) -> Self {
        let home = env!("CARGO_TARGET_TMPDIR");
        let mut process = command.env("HOME", home).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut errors = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let Some((scheme, host)) = line.trim().strip_prefix("listening on ").and_then(|url| url.split_once("://"))
        else {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            panic!("{line}{text}");
        };
        let (scheme, host) = (scheme.to_owned(), host.to_owned());
        Self { process, output, errors, host, scheme }
    }

    /// Asks it to stop and returns what it has said on standard error.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut text = String::new();
        self.errors.read_to_string(&mut text).unwrap();
        (self.process.wait().unwrap().code(), text)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Packs images of the fixtures into a bundle.
fn pack(file: &Path, more: &[&str]) {
    let mut arguments = vec!["pack", "--store", fixtures::root().to_str().unwrap(), "-o", file.to_str().unwrap()];
    arguments.extend(more);
    hod(arguments).ok();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_bundle_is_served_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["all.tar", "all.tar.zst"] {
        let bundle = folder.path().join(name);
        pack(&bundle, &[]);
        let served = Served::start([&bundle]);
        assert_eq!(served.scheme, "http");
        for (image, root) in fixtures::names() {
            assert_eq!(skopeo::manifest(&format!("{}/{image}", served.host)), stored(&root), "{name}: {image}");
        }
        let image = format!("docker://{}/base/busybox:1.35", served.host);
        let copy = tempfile::tempdir().unwrap();
        skopeo::copy_all(&image, &format!("dir:{}", copy.path().display()));
        let layer = busybox_layer();
        let target = format!("/v2/base/busybox/blobs/{layer}");
        let part = Request::get(&target).header("Range", "bytes=100-299").send(&served.host);
        assert_eq!((part.status, &*part.body), (206, &stored(&layer)[100..300]));
        assert_eq!(raw::get(&served.host, &format!("/v2/base/klibc/blobs/{layer}")).status, 404);
        assert_eq!(raw::get(&served.host, "/v2/base/none/tags/list").status, 404);
        let tags = raw::get(&served.host, "/v2/base/busybox/tags/list").json();
        assert_eq!(tags["tags"], serde_json::json!(["1.35", "latest"]));
        assert_eq!(raw::get(&served.host, "/v2/_catalog").json()["repositories"].as_array().unwrap().len(), {
            let names: std::collections::BTreeSet<_> =
                fixtures::names().into_iter().map(|(name, _)| name.rsplit_once(':').unwrap().0.to_owned()).collect();
            names.len()
        });
        for (image, root) in fixtures::names() {
            let Some(subject) = manifest(&root).subject else { continue };
            let name = image.rsplit_once(':').unwrap().0;
            let list = raw::get(&served.host, &format!("/v2/{name}/referrers/{}", subject.digest)).json();
            assert!(list["manifests"].to_string().contains(&root.to_string()));
        }
        assert_eq!(Request::new("POST", "/v2/a/blobs/uploads/").send(&served.host).status, 405);
    }
}

/// Writes a bundle again, without a blob that it requires from then on.
fn leave_out(from: &Path, to: &Path, digest: &Digest) {
    let bundle = OpenBundle::open(from).unwrap();
    let header = bundle.header();
    let all: Vec<Content> =
        header.blobs().iter().map(|blob| Content { digest: blob.digest, size: blob.size }).collect();
    let (requires, blobs): (Vec<Content>, Vec<Content>) = all.iter().partition(|content| content.digest == *digest);
    let position = |old: &u32| {
        let content = all[usize::try_from(*old).unwrap()];
        let found = blobs.iter().chain(&requires).position(|known| *known == content);
        u32::try_from(found.unwrap()).unwrap()
    };
    let mut images = header.images().to_vec();
    for image in &mut images {
        image.contents = image.contents.iter().map(position).collect();
    }
    let repositories = header.repositories().to_vec();
    let header = Header::new(Contents { images, blobs, requires, repositories, ..Contents::default() }).unwrap();
    let mut writer = Writer::new(fs::File::create(to).unwrap(), &header, None, Compression::None).unwrap();
    while let Some(blob) = writer.next_blob() {
        writer.blob(&blob.digest, &mut bundle.blob(&blob.digest).unwrap()).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn volumes_are_served_where_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    pack(&folder.path().join("all.tar"), &["--volume-size", "300000"]);
    assert!(fs::read_dir(folder.path()).unwrap().count() > 3);
    let served = Served::start([folder.path(), Path::new("--verify")]);
    let image = format!("docker://{}/base/busybox:1.35", served.host);
    let copy = tempfile::tempdir().unwrap();
    skopeo::copy_all(&image, &format!("dir:{}", copy.path().display()));
    let layer = busybox_layer();
    assert_eq!(raw::get(&served.host, &format!("/v2/base/busybox/blobs/{layer}")).body, stored(&layer));
}

/// Every command of docs/serve.md, in a folder with what it names; only the port is another.
#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_commands_of_the_documentation_serve() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::new();
    pack(&folder.path().join("release.tar.zst"), &[]);
    tree::copy(fixtures::root(), &folder.path().join("store"));
    fs::copy(certificates.server_certificate(), folder.path().join("server.crt")).unwrap();
    fs::copy(certificates.server_key(), folder.path().join("server.key")).unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_hod")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut commands = 0;
    for script in blocks("docs/serve.md", "sh") {
        let script = script.replace("127.0.0.1:5000", "127.0.0.1:0");
        // The shell becomes the server, so that it is what ends in the end.
        let script = format!("set -e\n{}", script.replace("hod serve", "exec hod serve"));
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(folder.path()).env("PATH", &path).stdin(Stdio::null());
        let served = Served::of(&mut command);
        if served.scheme == "http" {
            let expected = if script.contains("--htpasswd") { 401 } else { 200 };
            assert_eq!(raw::get(&served.host, "/v2/").status, expected, "{script}");
        }
        assert_eq!(served.stop().0, Some(0), "{script}");
        commands += 1;
    }
    assert!(commands >= 6);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_base_and_its_delta_are_served_together() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (all, base, delta) = (file("all.tar"), file("base.tar.zst"), file("delta.tar"));
    let layer = busybox_layer();
    pack(&all, &[]);
    pack(&base, &["base/busybox:1.35"]);
    leave_out(&all, &delta, &layer);
    let both = Served::start([&base, &delta]);
    for (image, root) in fixtures::names() {
        assert_eq!(skopeo::manifest(&format!("{}/{image}", both.host)), stored(&root), "{image}");
    }
    assert_eq!(raw::get(&both.host, &format!("/v2/base/busybox/blobs/{layer}")).body, stored(&layer));
    let (code, said) = both.stop();
    assert_eq!((code, said.contains("of these bundles")), (Some(0), false), "{said}");

    let alone = Served::start([&delta]);
    assert_eq!(raw::get(&alone.host, &format!("/v2/base/busybox/blobs/{layer}")).status, 404);
    let (_, said) = alone.stop();
    assert!(said.contains("1 blob of these bundles is missing"), "{said}");
}

#[test]
fn damage_in_a_bundle_breaks_the_transfer_or_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("all.tar");
    pack(&bundle, &["base/busybox:1.35"]);
    let mut bytes = fs::read(&bundle).unwrap();
    let layer = busybox_layer();
    let content = stored(&layer);
    let at = bytes.windows(64).position(|window| window == &content[..64]).unwrap();
    bytes[at + content.len() / 2] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let served = Served::start([&bundle]);
    let response = raw::get(&served.host, &format!("/v2/base/busybox/blobs/{layer}"));
    assert!(response.status == 500 || response.body.len() < content.len());
    let again = raw::get(&served.host, &format!("/v2/base/busybox/blobs/{layer}"));
    assert!(again.status == 500 && String::from_utf8(again.body).unwrap().contains("damaged"));
    let (_, said) = served.stop();
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("a blob is damaged")).collect();
    assert_eq!(warnings.len(), 1, "{said}");
    assert!(warnings[0].contains(&layer.to_string()) && warnings[0].contains(bundle.to_str().unwrap()), "{said}");
    hod([Path::new("serve"), &bundle, Path::new("--verify")]).code(4);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_store_is_made_and_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("new");
    let served = Served::start([root.to_str().unwrap(), "--writable", "--allow-delete", "--access-log", "json"]);
    let source = Served::start([fixtures::root()]);
    let [from, to] = [&source.host, &served.host].map(|host| format!("docker://{host}/base/busybox:1.35"));
    skopeo::copy_all(&from, &to);
    let digest = fixtures::digest("base/busybox:1.35");
    assert_eq!(skopeo::manifest(&format!("{}/base/busybox:1.35", served.host)), stored(&digest));
    assert_eq!(Request::new("DELETE", "/v2/base/busybox/manifests/1.35").send(&served.host).status, 202);
    let (code, said) = served.stop();
    assert_eq!(code, Some(0), "{said}");
    let last = said.lines().rfind(|line| line.starts_with('{')).unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["method"], &last["status"]), (&"DELETE".into(), &202.into()));
    hod([Path::new("verify"), &root]).ok();
    hod([Path::new("serve"), &root, Path::new("--allow-delete")]).code(2);
    hod([Path::new("serve"), &root, &root, Path::new("--writable")]).code(2);
}

#[test]
fn a_stop_lets_a_transfer_end() {
    let folder = tempfile::tempdir().unwrap();
    let content = vec![1; 32 << 20];
    let digest = Digest::sha256(&content);
    super::serving::plant_blob(folder.path(), "a", &digest, &content);
    let served = Served::start([folder.path()]);
    let mut stream = std::net::TcpStream::connect(&served.host).unwrap();
    std::io::Write::write_all(&mut stream, format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).unwrap();
    let stopping = std::thread::spawn(move || served.stop());
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&content));
    assert_eq!(stopping.join().unwrap().0, Some(0));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn an_authority_is_printed_for_clients_to_trust() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let mut served =
        Served::start([root.to_str().unwrap(), "--writable", "--tls-self-signed", "--tls-name", "registry.site"]);
    assert_eq!(served.scheme, "https");
    let mut authority = String::new();
    while !authority.contains("END CERTIFICATE") {
        assert!(served.output.read_line(&mut authority).unwrap() > 0, "{authority}");
    }
    let authority = &authority[authority.find("-----BEGIN").unwrap()..];
    let file = folder.path().join("ca.crt");
    fs::write(&file, authority).unwrap();
    let url = format!("https://{}/v2/", served.host);
    let curl = Command::new("curl").args(["-sSf", "--cacert"]).arg(&file).arg(&url).output().unwrap();
    assert!(curl.status.success(), "{curl:?}");
    assert_eq!(fs::read_to_string(root.join(".hod/tls/ca.crt")).unwrap(), authority);
}

#[test]
fn systemd_hands_over_a_socket_and_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let path = folder.path().join("notify");
    let notified = UnixDatagram::bind(&path).unwrap();
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" serve \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_hod")]).arg(fixtures::root());
    let served = Served::of(command.stdin(OwnedFd::from(socket)).env("NOTIFY_SOCKET", &path));
    assert_eq!(served.host, address.to_string());
    let mut text = [0; 64];
    let count = notified.recv(&mut text).unwrap();
    assert_eq!(&text[..count], b"READY=1");
    assert_eq!(raw::get(&served.host, "/v2/").status, 200);
    assert_eq!(served.stop().0, Some(0));
    let count = notified.recv(&mut text).unwrap();
    assert_eq!(&text[..count], b"STOPPING=1");
}
