//! Secrets that cannot be printed.

use std::borrow::Cow;
use std::fmt;

/// A password, token or key. Its `Debug` and `Display` show that there is one and no more.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// As much of a URL as is shown: a server may send one of hundreds of KiB.
const LONGEST: usize = 400;

/// A URL without what may be secret in it: user info, and the query that storage services sign.
pub fn redacted(url: &url::Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if url.query().is_some() {
        url.set_query(Some("…"));
    }
    let text = url.as_str().replace("%E2%80%A6", "…");
    if text.chars().nth(LONGEST).is_none() {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// Text without the passwords of addresses in it, such as `me:secret@host`, which somebody may have typed where none
/// belongs. A digest behind a name and a tag stays.
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return text.into();
    }
    let ends_word = |letter: char| letter.is_whitespace() || "\"'`<>".contains(letter);
    text.split_inclusive(ends_word).map(without_password).collect::<String>().into()
}

/// The transports in whose places an `@` may stand.
const LOCAL: [&str; 9] = [
    "bundle",
    "containers-storage",
    "dir",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
    "store",
    "tarball",
];

/// The same of one word.
fn without_password(word: &str) -> Cow<'_, str> {
    let start = word.find("://").map_or(0, |scheme| scheme + 3);
    let address = word.get(start..).unwrap_or_default();
    let is_digest = |text: &str| {
        let hex = |digits: &str| digits.chars().take_while(char::is_ascii_hexdigit).count();
        text.split_once(':').is_some_and(|(_, digits)| hex(digits) >= 32)
    };
    let signs = address.rmatch_indices('@').map(|(at, _)| address.split_at(at));
    let user_info = signs.into_iter().find(|(_, behind)| !is_digest(behind.get(1..).unwrap_or_default()));
    let Some((user, password, behind)) = user_info.and_then(|(before, behind)| {
        let (user, password) = before.split_once(':')?;
        Some((user, password, behind))
    }) else {
        return word.into();
    };
    // Neither a path nor an image by its number, as in `docker-archive:FILE:@0`. Other text may follow the word.
    let host = behind.get(1..).and_then(|behind| behind.split('/').next()).unwrap_or_default();
    let host = host.trim_end_matches(|letter: char| !letter.is_alphanumeric() && letter != ']');
    let is_address = start > 0 || host.contains(['.', ':']);
    // A registry may have a name without a dot, and an option of a list may stand before the user, as in `as=me:…@h/x`.
    let is_place = || LOCAL.contains(&user.rsplit('=').next().unwrap_or(user));
    let is_name = host.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if (is_address || (is_name && !is_place())) && !user.starts_with(['/', '.']) && !password.starts_with(['/', '.']) {
        return format!("{}{user}:…{behind}", word.get(..start).unwrap_or_default()).into();
    }
    word.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "<secret> <secret>");
        let url = url::Url::parse("https://me:hunter2@s3.example/blob?X-Amz-Signature=hunter2").unwrap();
        assert_eq!(redacted(&url), "https://s3.example/blob?…");
        let long = url::Url::parse(&format!("https://s3.example/{}", "x".repeat(100_000))).unwrap();
        assert_eq!(redacted(&long).chars().count(), LONGEST + 1);
    }

    #[test]
    fn passwords_of_addresses_do_not_print() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (typed, shown) in [
            ("argument 1: me:hunter2@h.example/x: no", "argument 1: me:…@h.example/x: no"),
            ("to docker://me:hunter2@registry/x, no", "to docker://me:…@registry/x, no"),
            ("\"docker://me:hun/t@er2@h:5000/x:1\" is", "\"docker://me:…@h:5000/x:1\" is"),
            ("alpine as=me:hunter2@h/y: no", "alpine as=me:…@h/y: no"),
            ("{\"me:hunter2@registry\": []}", "{\"me:…@registry\": []}"),
            ("referrers=me:hunter2@localhost,x", "referrers=me:…@localhost,x"),
            (&format!("me:hunter2@h.example/app:1@{digest}"), &format!("me:…@h.example/app:1@{digest}")),
        ] {
            assert_eq!(without_passwords(typed), shown);
        }
        for kept in [
            &format!("list:3: h:5000/app:1@{digest}, and oci:dir:name@{digest}"),
            "a mail to me@example: no",
            "/media/a:b@c/list.txt: not there",
            "docker-archive:saved.tar:@0: no, nor oci:dir:@12, nor dir:/media/me@h.example/x",
            "oci:layout:me@h, store:root:app@latest or containers-storage:[overlay@/root+/run]app:1",
            "docker://me@h/x",
            "nobody",
        ] {
            assert_eq!(without_passwords(kept), kept);
        }
    }
}
