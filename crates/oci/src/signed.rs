//! The digest of a schema 1 manifest, whose signature is part of the file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Digest;

#[derive(Deserialize)]
struct Signed {
    #[serde(default)]
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

/// What the signature is about: the first bytes of the file, and the end that follows them.
#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

/// What may stand between the two, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removed {
    #[serde(rename = "signatures")]
    _signatures: Vec<IgnoredAny>,
}

/// The digest by which a registry knows a manifest: that of its bytes, or, for a signed one of schema 1, of the
/// bytes without the signatures (distribution, `manifest/schema1`; JWS in libtrust's form).
pub fn signed_digest(bytes: &[u8]) -> Digest {
    Digest::sha256(&payload(bytes).unwrap_or_else(|| bytes.to_vec()))
}

/// What was signed. Where it begins and ends is said by the file itself, so it is believed only as far as it makes the
/// same document without its signatures; else a file could claim the digest of any other.
fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    let signed: Signed = serde_json::from_slice(bytes).ok()?;
    let headers: Option<Vec<Protected>> = signed.signatures.iter().map(Protected::of).collect();
    let headers = headers?;
    let protected = headers.first().filter(|first| headers.iter().all(|other| other == *first))?;
    let tail = URL_SAFE_NO_PAD.decode(&protected.format_tail).ok()?;
    let (kept, rest) = bytes.split_at_checked(protected.format_length)?;
    let rest = rest.trim_ascii_start();
    let removed = [b"{", rest.strip_prefix(b",").unwrap_or(rest)].concat();
    if tail.trim_ascii() != b"}" || serde_json::from_slice::<Removed>(&removed).is_err() {
        return None;
    }
    let payload = [kept, &tail].concat();
    serde_json::from_slice::<IgnoredAny>(&payload).is_ok().then_some(payload)
}

impl Protected {
    fn of(signature: &Signature) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&signature.protected).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected(length: usize, tail: &str) -> String {
        let tail = URL_SAFE_NO_PAD.encode(tail);
        URL_SAFE_NO_PAD.encode(serde_json::json!({"formatLength": length, "formatTail": tail}).to_string())
    }

    fn signature(protected: &str) -> String {
        format!("{{\"protected\": \"{protected}\"}}")
    }

    /// A text without its last brace and the white space around it, and these.
    fn parts(payload: &str) -> (&str, &str) {
        let end = payload.trim_end().strip_suffix('}').unwrap().trim_end().len();
        payload.split_at(end)
    }

    #[test]
    fn signatures_do_not_count() {
        for payload in
            ["{\n   \"schemaVersion\": 1\n}", "{\"schemaVersion\":1}", "{\n   \"schemaVersion\": 1\n}\n", "{\n}", "{}"]
        {
            let (start, tail) = parts(payload);
            let one = signature(&protected(start.len(), tail));
            let comma = if start == "{" { "" } else { "," };
            for all in [one.clone(), format!("{one}, {one}")] {
                let signed = format!("{start}{comma}\n   \"signatures\": [{all}]{tail}");
                assert_eq!(signed_digest(signed.as_bytes()), Digest::sha256(payload.as_bytes()), "{signed}");
            }
        }
        assert_eq!(signed_digest(b"{}"), Digest::sha256(b"{}"));
        assert_eq!(signed_digest(b"{\"signatures\":[]}"), Digest::sha256(b"{\"signatures\":[]}"));
    }

    #[test]
    fn a_file_cannot_claim_to_be_another() {
        let start = "{\"schemaVersion\":1,\"name\":\"a\"";
        let (length, wanted) = (start.len(), "{\"schemaVersion\":1,\"name\":\"b\"}");
        let whole = |signatures: &str| format!("{start},\"signatures\":[{signatures}]}}");
        let good = signature(&protected(length, "}"));
        let inner = "{\"a\":{\"b\":1";
        for forged in [
            whole(&signature(&protected(0, wanted))),
            whole(&signature(&protected(9999, ""))),
            whole(&signature(&protected(length, ""))),
            whole(&signature(&protected(length, ",\"more\":1}"))),
            whole(&signature(&protected(1, "}"))),
            whole(&signature(&protected(length - 1, "}"))),
            whole(&signature(&protected(length + 1, "}"))),
            whole(&signature("x")),
            whole(&format!("{good},{}", signature(&protected(0, wanted)))),
            whole(&format!("{good},{}", signature(&protected(length, "\n}")))),
            whole(&format!("{good},{{}}")),
            format!("{start},\"signatures\":[{good}],\"more\":1}}"),
            format!("{start},\"more\":1,\"signatures\":[{good}]}}"),
            format!("{start},\"signatures\":[{good}],\"signatures\":[{good}]}}"),
            format!("{inner},\"signatures\":[]}},\"signatures\":[{}]}}", signature(&protected(inner.len(), "}"))),
        ] {
            assert_eq!(signed_digest(forged.as_bytes()), Digest::sha256(forged.as_bytes()), "{forged}");
        }
    }
}
