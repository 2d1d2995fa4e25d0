//! The signer for signatures of the containers tools: a secret key in a file, or gpg with its keyring.
//!
//! hod has no keyring. Secret keys come from a file, or gpg signs with its own; public keys come from a file, or
//! gpg exports them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::{input, trust};
use crate::args::{PassphraseArgs, SigningArgs};
use crate::failure::{Advice, Advise, Failure, Kind};
use crate::terminal;
use hod_image::signing::{Sign, Signing};
use hod_io::secret::Secret;
use hod_oci::Digest;
use hod_trust::signature::{Claim, Fingerprint, NamedKey, SecretKeys, sign as sign_claim};

/// What to do without a key of gpg's.
const SIGN_KEY: &str = "--sign-key with a file that gpg --export-secret-keys has written";
/// What to do without gpg's public keys.
const PUBLIC_KEY_FILE: &str = "--public-key-file with a file that gpg --export has written";

/// gpg did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
enum GpgError {
    #[error("cannot run gpg; hod has no keyring of its own: give {instead}")]
    Start {
        instead: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("gpg: {said}; hod has no keyring of its own: give {instead}")]
    Failed { instead: &'static str, said: String },
}

impl Advise for GpgError {
    fn advice(&self) -> Advice {
        match self {
            Self::Start { source, .. } => source.advice(),
            Self::Failed { .. } => Advice::NONE,
        }
    }
}

/// Signatures as the flags of a copy want them, or `None` where they want none. The key is tried before anything else
/// is done.
pub(super) async fn signing(args: &SigningArgs, identity: Option<&String>) -> Result<Option<Signing>, Failure> {
    let sigstore = [
        (args.sign_by_sigstore.is_some(), "--sign-by-sigstore"),
        (args.sign_by_sigstore_private_key.is_some(), "--sign-by-sigstore-private-key"),
    ];
    if let Some((_, flag)) = sigstore.into_iter().find(|(given, _)| *given) {
        let problem = format!("{flag} creates sigstore signatures, which hod does not support");
        return Err(Failure::new(Kind::Usage, problem).hint(
            "run cosign sign after the copy, use skopeo copy for this step, or sign with an OpenPGP key by --sign-by; hod pack \
             --sign signs bundles; hod pull and hod push copy existing cosign signatures",
        ));
    }
    let Some(name) = &args.sign_by else {
        let stray = [
            (identity.is_some(), "--sign-identity"),
            (args.sign_key.is_some(), "--sign-key"),
            (args.sign_passphrase_file.is_some(), "--sign-passphrase-file"),
        ];
        return match stray.iter().find(|(given, _)| *given) {
            Some((_, flag)) => Err(Failure::new(Kind::Usage, format!("{flag} requires --sign-by"))),
            None => Ok(None),
        };
    };
    let passphrase = PassphraseArgs { passphrase_file: args.sign_passphrase_file.clone() };
    let (sign, _) = signer(name, args.sign_key.as_deref(), &passphrase).await?;
    let signing = Signing::new(sign.clone(), identity.cloned()).map_err(|error| Failure::of(Kind::Usage, error))?;
    let trial = Claim { digest: Digest::sha256(b""), reference: "localhost/trial:1".to_owned() };
    input::blocking(move || sign(&trial).map_err(|error| not_signed(&*error))).await?;
    Ok(Some(signing))
}

/// Whoever has the secret key of that name, and the key's fingerprint.
pub(super) async fn signer(
    name: &str,
    file: Option<&Path>,
    passphrase: &PassphraseArgs,
) -> Result<(Arc<Sign>, Fingerprint), Failure> {
    if let Some(file) = file {
        let (keys, passphrase) = secret_keys(file, passphrase).await?;
        let found = match name.parse() {
            Ok(fingerprint) => fingerprint,
            Err(_) => the_one(name, &keys.named(name), &file.display().to_string())?,
        };
        let fingerprint = found.clone();
        let sign = move |claim: &Claim| Ok(sign_claim(claim, &keys, &fingerprint, passphrase.as_ref())?);
        return Ok((Arc::new(sign), found));
    }
    let found = if let Ok(fingerprint) = name.parse() {
        fingerprint
    } else {
        let named = name.to_owned();
        let keys = input::blocking(move || gpg_named(&named).map_err(|error| Failure::of(Kind::Failed, error)));
        the_one(name, &keys.await?, "gpg's keyring")?
    };
    let (fingerprint, passphrase) = (found.clone(), passphrase.passphrase_file.clone());
    let sign = move |claim: &Claim| Ok(gpg_sign(&fingerprint, passphrase.as_deref(), &claim.to_bytes())?);
    Ok((Arc::new(sign), found))
}

/// The key that is meant by a name. Where several fit, gpg would sign with any of them, and skopeo with none.
fn the_one(name: &str, keys: &[NamedKey], whose: &str) -> Result<Fingerprint, Failure> {
    match keys {
        [key] => Ok(key.fingerprint.clone()),
        [] => {
            let problem = format!("no secret key that can sign matches {name:?} in {whose}");
            Err(Failure::new(Kind::Usage, problem).hint(
                "name a key by its fingerprint, its id, or its owner's mail address; gpg --list-secret-keys lists your keys",
            ))
        }
        several => {
            let problem = format!("{name:?} matches {} secret keys in {whose}", several.len());
            let failure = Failure::new(Kind::Usage, problem).hint("name one key by its fingerprint");
            let line = |key: &NamedKey| format!("{} {}", key.fingerprint, terminal::printable(&key.users.join(", ")));
            Err(several.iter().map(line).fold(failure, Failure::hint))
        }
    }
}

/// The secret keys in gpg's keyring that a name fits and that may sign.
fn gpg_named(name: &str) -> Result<Vec<NamedKey>, GpgError> {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--quiet", "--with-colons", "--list-secret-keys", "--", name]);
    match run(&mut command, &[], SIGN_KEY) {
        Ok(listed) => Ok(listed_keys(&String::from_utf8_lossy(&listed))),
        // So it is where none fits.
        Err(GpgError::Failed { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The keys of a list in the form of `--with-colons` that may sign now (DETAILS in gpg's documentation).
fn listed_keys(list: &str) -> Vec<NamedKey> {
    let mut keys: Vec<NamedKey> = Vec::new();
    // Whether the lines are about a primary key that may sign; of the numbers that follow, its own is the first.
    let (mut usable, mut numbered) = (false, false);
    for line in list.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let field = |number: usize| fields.get(number - 1).copied().unwrap_or_default();
        match field(1) {
            "sec" => {
                usable = !matches!(field(2), "r" | "e" | "i" | "d") && field(12).contains('S');
                numbered = false;
            }
            "fpr" if usable && !numbered => {
                numbered = true;
                if let Ok(fingerprint) = field(10).parse() {
                    keys.push(NamedKey { fingerprint, users: Vec::new() });
                }
            }
            "uid" if usable && numbered => {
                if let Some(key) = keys.last_mut() {
                    key.users.push(field(10).replace("\\x3a", ":"));
                }
            }
            _ => {}
        }
    }
    keys
}

/// The failure of a key that did not sign.
pub(super) fn not_signed(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Failure {
    let failure = Failure::new(Kind::Failed, error.to_string());
    match error.source() {
        Some(cause) => failure.because(std::io::Error::other(cause.to_string())),
        None => failure,
    }
}

async fn secret_keys(file: &Path, args: &PassphraseArgs) -> Result<(SecretKeys, Option<Secret>), Failure> {
    let name = file.display().to_string();
    let bytes = trust::read_limited(file, hod_oci::MANIFEST_LIMIT).map_err(|error| Failure::of(Kind::Usage, error))?;
    let keys = SecretKeys::parse(&bytes, &name).map_err(|error| Failure::of(Kind::Usage, error))?;
    if !keys.is_locked() {
        return Ok((keys, None));
    }
    let passphrase = trust::passphrase(args, move || trust::ask(&format!("Passphrase of {name}: "))).await?;
    Ok((keys, Some(passphrase)))
}

/// Lets gpg sign with a key of its keyring, which never leaves it.
fn gpg_sign(fingerprint: &Fingerprint, passphrase: Option<&Path>, content: &[u8]) -> Result<Vec<u8>, GpgError> {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--quiet", "--local-user", &fingerprint.to_string()]);
    if let Some(file) = passphrase {
        command.args(["--pinentry-mode", "loopback", "--passphrase-file"]).arg(file);
    }
    run(command.arg("--sign"), content, SIGN_KEY)
}

/// The public keys of these fingerprints in gpg's keyring.
pub(super) fn gpg_export(fingerprints: &[Fingerprint]) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--quiet", "--export"]).args(fingerprints.iter().map(ToString::to_string));
    run(&mut command, &[], PUBLIC_KEY_FILE).map_err(|error| Failure::of(Kind::Failed, error))
}

/// Runs gpg and returns what it prints; `instead` is what does without it.
fn run(command: &mut Command, content: &[u8], instead: &'static str) -> Result<Vec<u8>, GpgError> {
    let start = |source| GpgError::Start { instead, source };
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    if let Some(mut stdin) = process.stdin.take() {
        // Where gpg has ended already, its own words say why.
        let _ = stdin.write_all(content);
    }
    let output = process.wait_with_output().map_err(start)?;
    if output.status.success() && !output.stdout.is_empty() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().last().unwrap_or("it has no such key").trim_start_matches("gpg: ").to_owned();
    Err(GpgError::Failed { instead, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_list_are_those_that_may_sign() {
        let list = "sec:u:255:22:D8D6:1795767443:::u:::scSC:::+::ed25519:::0:\n\
            fpr:::::::::EF65EEEB75FF00122937DB74D8D665104D16E78F:\n\
            uid:u::::1::E7D3::A\\x3a B <a@b.example>::::::::::0:\n\
            uid:u::::1::E7D3::a@c.example::::::::::0:\n\
            ssb:u:255:18:AA:1::::::s:::+::cv25519::\n\
            fpr:::::::::0000000000000000000000000000000000000000:\n\
            sec:e:255:22:D8EE:1:::u:::sc:::+::ed25519:::0:\n\
            fpr:::::::::C7680BD4D6016E35E676042CD8EEE33982AD6EB1:\n\
            uid:e::::1::E25B::Old <old@b.example>::::::::::0:\n";
        let found = listed_keys(list);
        let users = vec!["A: B <a@b.example>".to_owned(), "a@c.example".to_owned()];
        let fingerprint = "EF65EEEB75FF00122937DB74D8D665104D16E78F".parse().unwrap();
        assert_eq!(found, [NamedKey { fingerprint, users }]);
        assert!(listed_keys("").is_empty());
    }
}
