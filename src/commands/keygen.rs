//! `hod keygen`: a key pair in minisign's format.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{input, trust};
use crate::args::KeygenArgs;
use crate::context::Context;
use crate::documents::KeyPair;
use crate::failure::{Failure, Kind};
use crate::report;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use hod_bundle::SigningKey;

pub(crate) async fn run(context: &Context, args: KeygenArgs) -> Result<ExitCode, Failure> {
    let (secret, public) = (with_suffix(&args.name, ".key"), with_suffix(&args.name, ".pub"));
    for path in [&secret, &public] {
        if path.exists() {
            return Err(exists(path));
        }
    }
    let passphrase = if args.no_passphrase { None } else { Some(trust::new_passphrase(&args.passphrase).await?) };
    let made = input::blocking(move || Ok(SigningKey::generate(passphrase.as_ref()))).await?;
    let (text, key) = made.map_err(|error| Failure::of(Kind::Usage, error))?;
    create(&secret, text.expose(), 0o600)?;
    create(&public, &key.to_text(), 0o644).inspect_err(|_| {
        // One without the other is of no use.
        let _ = fs_err::remove_file(&secret);
    })?;
    let id = key.id().to_string();
    let lines = format!("{}\n{}\n", secret.display(), public.display());
    let document = KeyPair { key: id.clone(), public: report::path(&public), secret: report::path(&secret) };
    context.result(&document, &lines)?;
    context.summary(&format!(
        "created the key {id}: keep {} secret, and distribute {}",
        secret.display(),
        public.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn with_suffix(name: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(name);
    path.push(suffix);
    path.into()
}

/// Writes a file that must not exist; a key that is overwritten is lost for good.
fn create(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let mut options = fs_err::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| {
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.inspect_err(|_| {
            // Half a key would be in the way of the next try.
            let _ = fs_err::remove_file(path);
        })
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::of(Kind::Failed, error),
    })
}

fn exists(path: &Path) -> Failure {
    Failure::new(Kind::Usage, format!("{} already exists, and hod does not overwrite keys", path.display()))
}
