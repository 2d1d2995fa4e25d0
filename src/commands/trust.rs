//! Keys from files and directories, and passphrases from files, variables and the terminal.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use super::input;
use crate::args::{PassphraseArgs, TrustArgs};
use crate::context::Context;
use crate::failure::{Failure, Kind};
use hod_bundle::{BundleSigner, KEY_LIMIT, KeyError, PublicKey, SIGNATURE_LIMIT, SigningKey, Trust};
use hod_io::secret::Secret;

/// The folder of trusted keys for everybody on this machine.
const SYSTEM_FOLDER: &str = "/etc/hod/trusted";
/// What is added to a bundle's name for a signature beside it.
const SUFFIX: &str = ".header.minisig";

/// Whether the home directory may not be that of the person who trusted keys: under sudo and doas it is often another
/// one, and services and cron jobs may have none.
fn may_be_another_home() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("SUDO_USER") || is_set("DOAS_USER") || !is_set("HOME")
}

/// Whose bundles are wanted: the keys that were named, else those in the folders, else anybody's.
pub(super) fn trust(context: &Context, args: &TrustArgs, bundle: &Path) -> Result<Trust, Failure> {
    if args.no_key {
        return Ok(Trust::default());
    }
    let keys = if args.key.is_empty() {
        let all = folders();
        let folders: Vec<PathBuf> = all.iter().filter(|folder| !is_absent(folder)).cloned().collect();
        if folders.is_empty() && args.signature.is_none() {
            if may_be_another_home() {
                let names: Vec<String> = all.iter().map(|folder| folder.display().to_string()).collect();
                let names = names.join(" and ");
                context.say(&format!(
                    "note: no key is trusted by default, and no signature is checked: {names}: not found"
                ));
            }
            return Ok(Trust::default());
        }
        folder_keys(&folders)?
    } else {
        args.key.iter().map(|key| public_key(key)).collect::<Result<_, _>>()?
    };
    Ok(Trust::keys(keys).with_signature(detached(args, bundle)?))
}

/// The folders whose keys are trusted by default.
fn folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME").map(|home| home.join(".config"));
    let own = variable("XDG_CONFIG_HOME").or(home).map(|folder| folder.join("hod/trusted"));
    own.into_iter().chain([PathBuf::from(SYSTEM_FOLDER)]).collect()
}

/// Whether a folder is known not to be there. One that cannot be looked at may hold keys, so it is read, which fails.
fn is_absent(folder: &Path) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    // The home of a service may be a file, such as /dev/null.
    fs_err::symlink_metadata(folder).is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

/// All keys in some folders. A folder that cannot be read, or without keys, is not the same as none.
fn folder_keys(folders: &[PathBuf]) -> Result<Vec<PublicKey>, Failure> {
    let hint = "name a key with --key, or skip signature checks with --no-key";
    let failed = |error| Failure::of(Kind::Failed, error).hint(hint);
    let mut keys = Vec::new();
    for folder in folders {
        let mut files = Vec::new();
        for entry in fs_err::read_dir(folder).map_err(failed)? {
            files.push(entry.map_err(failed)?.path());
        }
        files.retain(|file| file.extension().is_some_and(|extension| extension == "pub"));
        files.sort();
        for file in files {
            keys.push(key_file(&file)?);
        }
    }
    if keys.is_empty() {
        let names: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let place = if names.is_empty() { "any directory".to_owned() } else { names.join(" or ") };
        return Err(Failure::new(Kind::Usage, format!("no trusted key (*.pub) exists in {place}")).hint(hint));
    }
    Ok(keys)
}

/// A key that was named: its file, or the key itself as `minisign -P` takes it.
fn public_key(text: &str) -> Result<PublicKey, Failure> {
    match PublicKey::parse(text) {
        Ok(key) => Ok(key),
        Err(_) => key_file(Path::new(text)),
    }
}

fn key_file(path: &Path) -> Result<PublicKey, Failure> {
    let text = read_limited(path, KEY_LIMIT).map_err(|error| Failure::of(Kind::Usage, error))?;
    let key = std::str::from_utf8(&text).map_err(|_| KeyError::Public).and_then(PublicKey::parse);
    key.map_err(|error| Failure::new(Kind::Usage, format!("cannot use the key {}", path.display())).because(error))
}

/// The signature beside the bundle, if there is one.
fn detached(args: &TrustArgs, bundle: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let (path, must) = match &args.signature {
        Some(path) => (path.clone(), true),
        None if bundle == Path::new("-") => return Ok(None),
        None => (beside(bundle), false),
    };
    match read_limited(&path, SIGNATURE_LIMIT) {
        Ok(signature) => Ok(Some(signature)),
        Err(error) if !must && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::of(Kind::Failed, error)),
    }
}

/// Where a signature beside a bundle lies. It is not `NAME.minisig`, which would be one over the whole file.
pub(super) fn beside(bundle: &Path) -> PathBuf {
    let mut name = bundle.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// Says who has signed a bundle, where that was looked at.
pub(super) fn say(context: &Context, signed: Option<&BundleSigner>) {
    if let Some(signed) = signed {
        context.summary(&format!("signed with {}: {}", signed.key, crate::terminal::printable(&signed.comment)));
    }
}

/// Reads a secret key and opens it.
pub(super) async fn signing_key(path: &Path, args: &PassphraseArgs) -> Result<SigningKey, Failure> {
    let what = format!("cannot use the secret key {}", path.display());
    let text = read_limited(path, KEY_LIMIT).map_err(|error| Failure::of(Kind::Usage, error))?;
    let failed = |error: KeyError| Failure::new(Kind::Usage, what.clone()).because(error);
    let text = String::from_utf8(text).map(Secret::from).map_err(|_| failed(KeyError::Secret))?;
    let passphrase = if SigningKey::is_encrypted(&text).map_err(failed)? {
        let prompt = format!("Passphrase of {}: ", path.display());
        Some(passphrase(args, move || ask(&prompt)).await?)
    } else {
        None
    };
    let key = input::blocking(move || Ok(SigningKey::parse(&text, passphrase.as_ref()))).await?;
    key.map_err(failed)
}

/// A new passphrase: on a terminal it is asked for twice.
pub(super) async fn new_passphrase(args: &PassphraseArgs) -> Result<Secret, Failure> {
    passphrase(args, || {
        let first = ask("New passphrase: ")?;
        if ask("Repeat passphrase: ")? == first {
            Ok(first)
        } else {
            Err(Failure::new(Kind::Usage, "the two passphrases differ: no key was created"))
        }
    })
    .await
}

/// A passphrase: from the file, else the environment, else the terminal.
pub(super) async fn passphrase(
    args: &PassphraseArgs,
    ask: impl FnOnce() -> Result<Secret, Failure> + Send + 'static,
) -> Result<Secret, Failure> {
    if let Some(file) = &args.passphrase_file {
        let bytes = read_limited(file, KEY_LIMIT).map_err(|error| Failure::of(Kind::Usage, error))?;
        let text = String::from_utf8_lossy(&bytes);
        return Ok(Secret::new(text.lines().next().unwrap_or_default()));
    }
    if let Ok(text) = std::env::var("HOD_PASSPHRASE") {
        return Ok(Secret::new(text));
    }
    input::blocking(ask).await
}

/// Asks on the terminal, which does not show what is typed.
pub(super) fn ask(prompt: &str) -> Result<Secret, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Kind::Usage, "the passphrase is required, and there is no terminal for a prompt")
            .hint("set --passphrase-file or the variable HOD_PASSPHRASE"));
    }
    match rpassword::prompt_password(prompt) {
        Ok(text) => Ok(Secret::from(text)),
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Err(Failure::interrupted(false)),
        Err(error) => Err(Failure::new(Kind::Failed, "cannot prompt for the passphrase").because(error)),
    }
}

/// Reads a small file; what is larger is not what it should be.
pub(super) fn read_limited(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let problem = format!("{} has more than {limit} bytes, the limit for a key or signature", path.display());
        return Err(std::io::Error::other(problem));
    }
    Ok(bytes)
}
