//! Names of keys: fingerprint, key ID, mail address or name, as gpg accepts them.

use pgp::types::KeyDetails as _;

use super::fingerprint::Fingerprint;
use super::keys::{KeyStanding, SecretKeys};

/// A secret key that a name fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedKey {
    /// The fingerprint of the primary key.
    pub fingerprint: Fingerprint,
    /// Whose it is, in the owner's words.
    pub users: Vec<String>,
}

impl SecretKeys {
    /// The keys that a name fits and that may sign.
    pub fn named(&self, name: &str) -> Vec<NamedKey> {
        let public = self.public();
        let mut found = Vec::new();
        for key in &public.keys {
            let primary = Fingerprint::from(key.fingerprint());
            let of_key = || public.signers().filter(|(_, owner, _)| owner.primary_key == key.primary_key);
            let numbers: Vec<Fingerprint> = of_key().map(|(key, ..)| key.fingerprint().into()).collect();
            let users: Vec<String> =
                key.details.users.iter().map(|user| String::from_utf8_lossy(user.id.id()).into_owned()).collect();
            let is_new = !found.iter().any(|known: &NamedKey| known.fingerprint == primary);
            if is_new && of_key().any(|(.., standing)| standing == KeyStanding::Good) && fits(name, &numbers, &users) {
                found.push(NamedKey { fingerprint: primary, users });
            }
        }
        found
    }
}

/// Returns true if a name is that of the key with these numbers and users.
fn fits(name: &str, numbers: &[Fingerprint], users: &[String]) -> bool {
    if let Some(digits) = number(name) {
        return numbers.iter().any(|fingerprint| {
            let whole = fingerprint.to_string();
            // The id of a key is the end of its fingerprint, and of those of the latest kind the beginning.
            if whole.len() == 40 { whole.ends_with(&digits) } else { whole.starts_with(&digits) }
        });
    }
    let lower = |text: &str| text.to_lowercase();
    let contains = |text: &str, part: &str| !part.is_empty() && lower(text).contains(&lower(part));
    users.iter().any(|user| match name.chars().next() {
        Some('=') => user == &name[1..],
        Some('<') => lower(mail(user)) == lower(mail(name)),
        Some('@') => contains(mail(user), &name[1..]),
        Some('*') => contains(user, &name[1..]),
        _ => contains(user, name),
    })
}

/// The digits of a name that is a number: a key id, short or long, or a fingerprint.
fn number(name: &str) -> Option<String> {
    let digits = name.strip_prefix("0x").unwrap_or(name).replace(' ', "").to_ascii_uppercase();
    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit()) && matches!(digits.len(), 8 | 16 | 40 | 64);
    is_number.then_some(digits)
}

/// The mail address of a user.
fn mail(user: &str) -> &str {
    let inner = user.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(user, |(mail, _)| mail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_gpg() {
        let fingerprint: Fingerprint = "EF65EEEB75FF00122937DB74D8D665104D16E78F".parse().unwrap();
        let latest: Fingerprint = "0123456789ABCDEF".repeat(4).parse().unwrap();
        let users = ["Release (site) <release@site.example>".to_owned(), "ops@site.example".to_owned()];
        for (name, expected) in [
            ("EF65EEEB75FF00122937DB74D8D665104D16E78F", true),
            ("D8D665104D16E78F", true),
            ("0x4d16e78f", true),
            ("EF65EEEB", false),
            ("0123456789abcdef", true),
            ("release@site.example", true),
            ("<release@site.example>", true),
            ("<ops@SITE.example>", true),
            ("<site.example>", false),
            ("@site", true),
            ("@Release (", false),
            ("*elease (s", true),
            ("release", true),
            ("=Release (site) <release@site.example>", true),
            ("=Release", false),
            ("nobody", false),
            ("", false),
            ("@", false),
            ("*", false),
        ] {
            assert_eq!(fits(name, &[fingerprint.clone(), latest.clone()], &users), expected, "{name:?}");
        }
    }
}
