//! The digest of Docker's first manifest format, whose signature is part of the file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

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
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

/// The digest by which a registry knows a manifest: that of its bytes, or, for a signed one of schema 1, of the
/// bytes without the signatures (distribution, `manifest/schema1`; JWS in libtrust's form).
pub fn signed_digest(bytes: &[u8]) -> Digest {
    Digest::sha256(&payload(bytes).unwrap_or_else(|| bytes.to_vec()))
}

fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    let signed: Signed = serde_json::from_slice(bytes).ok()?;
    let protected = URL_SAFE_NO_PAD.decode(&signed.signatures.first()?.protected).ok()?;
    let protected: Protected = serde_json::from_slice(&protected).ok()?;
    let tail = URL_SAFE_NO_PAD.decode(protected.format_tail).ok()?;
    Some([bytes.get(..protected.format_length)?, &tail].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_do_not_count() {
        let payload = "{\n   \"schemaVersion\": 1\n}";
        let start = payload.strip_suffix("\n}").unwrap();
        let protected = serde_json::json!({"formatLength": start.len(), "formatTail": URL_SAFE_NO_PAD.encode("\n}")});
        let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
        let signed = format!("{start},\n   \"signatures\": [{{\"protected\": \"{protected}\"}}]\n}}");
        assert_eq!(signed_digest(signed.as_bytes()), Digest::sha256(payload.as_bytes()));
        assert_eq!(signed_digest(b"{}"), Digest::sha256(b"{}"));
        let lying = signed.replace(&protected, &URL_SAFE_NO_PAD.encode(r#"{"formatLength":9999,"formatTail":""}"#));
        assert_eq!(signed_digest(lying.as_bytes()), Digest::sha256(lying.as_bytes()));
    }
}
