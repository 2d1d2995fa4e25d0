//! `docker-daemon:`, with podman's service and Docker's daemon at the other end and skopeo as the judge.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use serde_json::Value;

use crate::support::engine::{Engine, run};
use crate::support::fixtures;
use crate::support::hod::{Hod, hod};
use crate::support::skopeo::skopeo;
use crate::support::tls::Certificates;

const WEB: &str = "docker-daemon:web:1.0";

fn fixture(name: &str) -> String {
    format!("oci:{}:{name}", fixtures::folder().join("images").display())
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path.as_ref()).unwrap()).unwrap()
}

/// The config of the fixture for this platform, as bytes.
fn config(image: &str) -> Vec<u8> {
    skopeo(["--override-arch", "amd64", "inspect", "--raw", "--config", image])
}

/// Everything that is asked of an engine; starting one takes seconds.
fn takes_images_and_gives_them_back(engine: &Engine) {
    let host = engine.host();
    let folder = tempfile::tempdir().unwrap();
    let to = |image: &str| hod(["--override-arch", "amd64", "copy", "--json", "--dest-daemon-host", &host, image, WEB]);
    assert_eq!(to(&fixture("web:1.0")).ok().json()["images"][0]["unchanged"], false);
    let config = config(&fixture("web:1.0"));
    assert_eq!(skopeo(["inspect", "--daemon-host", &host, "--config", "--raw", WEB]), config);
    assert_eq!(to(&fixture("web:1.0")).ok().json()["images"][0]["unchanged"], true, "it is sent once");
    assert_eq!(to(&fixture("web:1.1")).ok().json()["images"][0]["unchanged"], false, "the name moves");
    to(&fixture("web:1.0")).ok();

    has_several_names(&host, &to, &config);

    // By name from the variable that Docker's tools read, and by id.
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let place = |path: &Path| format!("dir:{}", path.display());
    hod(["copy", WEB, &place(&ours)]).env("DOCKER_HOST", &host).ok();
    skopeo(["copy", "--src-daemon-host", &host, WEB, &place(&theirs)]);
    let (ours, theirs) = (json(ours.join("manifest.json")), json(theirs.join("manifest.json")));
    assert_eq!(ours["config"]["digest"], theirs["config"]["digest"]);
    let digests = |manifest: &Value| -> Vec<Value> {
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].clone()).collect()
    };
    assert_eq!(digests(&ours), digests(&theirs));
    let id = format!("docker-daemon:{}", ours["config"]["digest"].as_str().unwrap());
    let by_id = hod(["inspect", "--daemon-host", &host, "--config", "--raw", &id]).ok();
    assert_eq!(by_id.stdout, config);
    let inspected = hod(["inspect", "--daemon-host", &host, WEB]).ok().json();
    assert_eq!(inspected["Name"], "docker.io/library/web");

    // What skopeo has put there.
    skopeo([
        "--override-arch",
        "amd64",
        "copy",
        "--dest-daemon-host",
        &host,
        &fixture("web:1.1"),
        "docker-daemon:a/b:2",
    ]);
    let archive = format!("docker-archive:{}", folder.path().join("a.tar").display());
    hod(["copy", "--src-daemon-host", &host, "docker-daemon:a/b:2", &archive]).ok();
    assert_eq!(skopeo(["inspect", "--config", "--raw", &archive]), self::config(&fixture("web:1.1")));

    refuses(&host, folder.path());
}

/// An image under several names, which is sent again as soon as one of them is something else.
fn has_several_names(host: &str, to: &impl Fn(&str) -> Hod, config: &[u8]) {
    let unchanged = || {
        let more = ["--additional-tag", "web:stable", "--additional-tag=quay.io/x/web:2"];
        to(&fixture("web:1.0")).args(more).ok().json()["images"][0]["unchanged"].clone()
    };
    assert_eq!(unchanged(), false);
    for name in ["web:1.0", "web:stable", "quay.io/x/web:2"] {
        let image = format!("docker-daemon:{name}");
        assert_eq!(skopeo(["inspect", "--daemon-host", host, "--config", "--raw", &image]), config, "{name}");
    }
    assert_eq!(unchanged(), true);
    let bad = to(&fixture("web:1.0")).args(["--additional-tag", "Web:stable"]).code(1);
    assert!(bad.stderr.contains("--additional-tag is not valid"), "{}", bad.stderr);
}

fn refuses(host: &str, folder: &Path) {
    let missing = hod(["inspect", "--daemon-host", host, "docker-daemon:nothing:1"]).code(1);
    assert!(missing.stderr.contains(&format!("the daemon at {host} cannot export the image: ")), "{}", missing.stderr);
    let by_digest = format!("docker-daemon:web@sha256:{}", "0".repeat(64));
    let read_only = hod(["copy", "--dest-daemon-host", host, &fixture("web:1.0"), &by_digest]).code(1);
    assert!(read_only.stderr.contains("write docker-daemon:NAME:TAG"), "{}", read_only.stderr);
    let several =
        hod(["copy", "--all", "--dest-daemon-host", host, &fixture("web:1.0"), "docker-daemon:all:1"]).code(1);
    assert!(several.stderr.contains("choose one"), "{}", several.stderr);

    // A layer that breaks off leaves nothing: what the daemon was sent is no archive.
    let damaged = folder.join("damaged");
    skopeo(["--override-arch", "amd64", "copy", &fixture("web:1.0"), &format!("dir:{}", damaged.display())]);
    let largest = fs::read_dir(&damaged).unwrap().map(|entry| entry.unwrap());
    let largest = largest.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().path();
    let bytes = fs::read(&largest).unwrap();
    fs::write(&largest, &bytes[..bytes.len() - 1]).unwrap();
    let from = format!("dir:{}", damaged.display());
    hod(["copy", "--dest-daemon-host", host, &from, "docker-daemon:damaged:1"]).code(4);
    hod(["inspect", "--daemon-host", host, "docker-daemon:damaged:1"]).code(1);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn podman_takes_images_and_gives_them_back() {
    takes_images_and_gives_them_back(&Engine::podman());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn docker_takes_images_and_gives_them_back() {
    takes_images_and_gives_them_back(&Engine::docker());
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn docker_is_spoken_to_with_tls() {
    let certificates = Certificates::new();
    let engine = Engine::docker_with_tls(&certificates);
    let (folder, port) = (certificates.docker_folder(), engine.port());
    let host = format!("tcp://127.0.0.1:{port}");
    let to = |host: &str, image: &str| {
        hod(["--override-arch", "amd64", "copy", "--dest-daemon-host", host, &fixture("web:1.0"), image])
    };
    let folder = folder.to_str().unwrap();
    to(&host, WEB).args(["--dest-cert-dir", folder]).ok();
    let config = config(&fixture("web:1.0"));
    let theirs = ["inspect", "--cert-dir", folder, "--daemon-host", &host, "--config", "--raw", WEB];
    assert_eq!(skopeo(theirs), config);
    assert_eq!(hod(theirs).ok().stdout, config);

    // The variables of Docker's tools; with DOCKER_TLS_VERIFY alone the files are in the home.
    let inspect = || hod(["inspect", "--config", "--raw", WEB]);
    let by_variables =
        inspect().env("DOCKER_HOST", &host).env("DOCKER_CERT_PATH", folder).env("DOCKER_TLS_VERIFY", "1");
    assert_eq!(by_variables.ok().stdout, config);
    let at_home = inspect().env("DOCKER_HOST", &host).env("DOCKER_TLS_VERIFY", "1");
    std::os::unix::fs::symlink(folder, at_home.home().join(".docker")).unwrap();
    assert_eq!(at_home.ok().stdout, config);

    // Without the authority, without a certificate, without TLS.
    let https = format!("https://127.0.0.1:{port}");
    let unknown = inspect().env("HOD_DAEMON_HOST", &https).code(1);
    assert!(
        unknown.stderr.contains(&format!("the TLS connection to the daemon at {https} failed")),
        "{}",
        unknown.stderr
    );
    let nobody = tempfile::tempdir().unwrap();
    fs::copy(certificates.authority(), nobody.path().join("ca.pem")).unwrap();
    let refused = inspect().env("DOCKER_HOST", &https).env("DOCKER_CERT_PATH", nobody.path()).code(1);
    assert!(refused.stderr.contains("ertificate"), "{}", refused.stderr);
    let plain = inspect().env("DOCKER_HOST", format!("http://127.0.0.1:{port}")).code(1);
    assert!(plain.stderr.contains("HTTP request to an HTTPS server"), "{}", plain.stderr);
    // Any authority will do where the user says so.
    fs::copy(certificates.server_certificate(), certificates.docker_folder().join("ca.pem")).unwrap();
    let other = || inspect().args(["--cert-dir", folder, "--daemon-host", &host]);
    other().code(1);
    assert_eq!(other().arg("--tls-verify=false").ok().stdout, config);
}

/// `ssh` that reaches this machine alone, by an `sshd` of its own; the folder goes in front of `PATH`.
fn ssh_to_this_machine(folder: &Path) -> std::ffi::OsString {
    for name in ["host", "client"] {
        let mut command = Command::new("ssh-keygen");
        run(command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name)));
    }
    fs::copy(folder.join("client.pub"), folder.join("authorized")).unwrap();
    let at = folder.display();
    let server = format!(
        "HostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
         PasswordAuthentication no\nPidFile none\n"
    );
    fs::write(folder.join("server.conf"), server).unwrap();
    let client = format!(
        "Host *\n IdentityFile {at}/client\n StrictHostKeyChecking no\n UserKnownHostsFile {at}/known\n LogLevel ERROR\n \
         BatchMode yes\n ProxyCommand /usr/sbin/sshd -i -f {at}/server.conf\n"
    );
    fs::write(folder.join("client.conf"), client).unwrap();
    // Written by another process: had this one the file open, a fork elsewhere could keep it busy.
    let script = format!("#!/bin/sh\nexec /usr/bin/ssh -F {at}/client.conf \"$@\"\n");
    let mut shell = Command::new("sh");
    run(shell.args(["-c", r#"printf %s "$1" > "$0" && chmod 755 "$0""#]).arg(folder.join("ssh")).arg(script));
    // Where sshd puts what has no rights.
    fs::create_dir_all("/run/sshd").unwrap();
    let before = std::env::var_os("PATH").unwrap();
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&before))).unwrap()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn docker_is_reached_by_ssh() {
    let engine = Engine::docker();
    let folder = tempfile::tempdir().unwrap();
    let path = ssh_to_this_machine(folder.path());
    let user = run(Command::new("id").arg("-un"));
    let host = format!("ssh://{}@somewhere{}", user.trim(), engine.host().trim_start_matches("unix://"));
    let to = ["--override-arch", "amd64", "copy", "--dest-daemon-host", &host, &fixture("web:1.0"), WEB];
    hod(to).env("PATH", &path).ok();
    let config = config(&fixture("web:1.0"));
    assert_eq!(skopeo(["inspect", "--daemon-host", &engine.host(), "--config", "--raw", WEB]), config);
    let back = hod(["inspect", "--config", "--raw", WEB]).env("PATH", &path).env("DOCKER_HOST", &host).ok();
    assert_eq!(back.stdout, config);
    // What docker at the other end says is shown.
    let nowhere = format!("ssh://{}@somewhere/nowhere.sock", user.trim());
    let failed = hod(["inspect", WEB]).env("PATH", &path).env("DOCKER_HOST", &nowhere).code(1);
    assert!(failed.stderr.contains(&format!("cannot reach the daemon at {nowhere}: ")), "{}", failed.stderr);
    assert!(failed.stderr.contains("/nowhere.sock"), "{}", failed.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_list_goes_to_a_daemon() {
    let engine = Engine::podman();
    let store = fixtures::copy();
    let from = format!("store:{}", store.path().display());
    let list = hod(["--override-arch", "amd64", "copy", "--file", "-", &from, "docker-daemon:"]);
    list.env("HOD_DEST_DAEMON_HOST", engine.host()).input("web:1.0\nbase/busybox:1.35\n").ok();
    for image in ["docker-daemon:web:1.0", "docker-daemon:base/busybox:1.35"] {
        skopeo(["inspect", "--daemon-host", &engine.host(), image]);
    }
}

#[test]
fn the_words_of_a_daemon_are_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    // It says that it has no such image, then that it has no room, before it has read the archive.
    std::thread::spawn(move || {
        for answer in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 500 No\r\nContent-Length: 34\r\nConnection: close\r\n\r\n{\"message\":\"no space left for it\"}",
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let failed =
        hod(["--override-arch", "amd64", "copy", "--dest-daemon-host", &host, &fixture("web:1.0"), WEB]).code(1);
    let says = format!("the daemon at {host} cannot import the image: no space left for it");
    assert!(failed.stderr.contains(&says), "{}", failed.stderr);
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn a_daemon_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}", folder.path().join("none.sock").display());
    let failed = hod(["inspect", WEB]).env("HOD_DAEMON_HOST", &socket).code(1);
    assert!(failed.stderr.contains(&format!("cannot connect to the daemon at {socket}")), "{}", failed.stderr);
    assert!(failed.stderr.contains("No such file or directory"), "{}", failed.stderr);
    let pipe = hod(["inspect", WEB]).env("DOCKER_HOST", "npipe:////./pipe/docker_engine").code(1);
    assert!(pipe.stderr.contains("is not a supported address of a daemon"), "{}", pipe.stderr);
    let ssh = hod(["inspect", WEB]).env("DOCKER_HOST", "ssh://nobody@127.0.0.1:1").code(1);
    assert!(ssh.stderr.contains("cannot reach the daemon at ssh://nobody@127.0.0.1:1: "), "{}", ssh.stderr);
}
