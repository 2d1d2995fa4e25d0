//! Debian's skopeo, as a judge of what registries and layouts hold.

use std::ffi::OsStr;
use std::process::Command;

use hod_oci::Digest;

/// Runs skopeo and returns its stdout as bytes; stops the test where it fails.
///
/// `--insecure-policy` is given; options of the subcommand such as `--src-tls-verify=false` are not.
#[track_caller]
pub fn skopeo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut command = skopeo_command();
    command.args(arguments);
    let output = command.output().expect("skopeo does not start: scripts/test installs it");
    assert!(
        output.status.success(),
        "{command:?} failed, {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// skopeo with nobody's credentials and certificates.
fn skopeo_command() -> Command {
    let mut command = Command::new("skopeo");
    let nobody = concat!(env!("CARGO_TARGET_TMPDIR"), "/nobody");
    command.env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR").env("HOME", nobody).arg("--insecure-policy");
    command
}

/// The bytes of the manifest or index at `host/name:tag` or `host/name@digest`, over plain HTTP.
#[track_caller]
pub fn manifest(image: &str) -> Vec<u8> {
    skopeo(["inspect", "--tls-verify=false", "--raw", &format!("docker://{image}")])
}

/// The digest of what `host/name:tag` stands for, over plain HTTP.
#[track_caller]
pub fn digest(image: &str) -> Digest {
    Digest::sha256(&manifest(image))
}

/// Copies an image with all its platforms; registries are asked over plain HTTP.
///
/// skopeo checks each blob on the way. Version 1.9 drops `artifactType` from the descriptors of an
/// index, so bytes are to be compared with [`manifest`], and it refuses nested indexes.
#[track_caller]
pub fn copy_all(from: &str, to: &str) {
    skopeo(["copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::fixtures;

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn reads_the_layout_of_the_fixtures() {
        let image = format!("oci:{}:base/busybox:1.35", fixtures::folder().join("images").display());
        let raw = skopeo(["inspect", "--raw", &image]);
        assert_eq!(Digest::sha256(&raw), fixtures::digest("base/busybox:1.35"));
    }

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    #[should_panic(expected = "failed")]
    fn fails_loudly() {
        skopeo(["inspect", "oci:/nowhere:1"]);
    }
}
