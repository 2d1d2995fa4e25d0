//! Parses a policy; unknown keys, repeated keys and empty lists of requirements are errors.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{IdentityMatch, KeySource, Policy, PolicyError, Requirement, SignedBy};

impl Policy {
    /// Reads the text of a policy; `path` is for messages.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, PolicyError> {
        let written: Written =
            serde_json::from_slice(text).map_err(|source| PolicyError::Syntax { path: path.to_owned(), source })?;
        written.policy(path).map_err(|problem| PolicyError::Invalid { path: path.to_owned(), problem })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    default: Vec<WrittenRequirement>,
    #[serde(default)]
    transports: Unique<Unique<Vec<WrittenRequirement>>>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum WrittenRequirement {
    InsecureAcceptAnything {},
    Reject {},
    SignedBy {
        key_type: String,
        key_path: Option<PathBuf>,
        key_paths: Option<Vec<PathBuf>>,
        key_data: Option<String>,
        signed_identity: Option<IdentityMatch>,
    },
    #[expect(dead_code, reason = "the keys are known, so that others are not; nothing is made of them")]
    SigstoreSigned {
        key_path: Option<IgnoredAny>,
        key_paths: Option<IgnoredAny>,
        key_data: Option<IgnoredAny>,
        key_datas: Option<IgnoredAny>,
        fulcio: Option<IgnoredAny>,
        pki: Option<IgnoredAny>,
        rekor_public_key_path: Option<IgnoredAny>,
        rekor_public_key_paths: Option<IgnoredAny>,
        rekor_public_key_data: Option<IgnoredAny>,
        rekor_public_key_datas: Option<IgnoredAny>,
        signed_identity: Option<IdentityMatch>,
    },
}

impl Written {
    fn policy(self, path: &Path) -> Result<Policy, String> {
        let mut transports = BTreeMap::new();
        for (transport, written) in self.transports.0 {
            let mut scopes = BTreeMap::new();
            for (scope, list) in written.0 {
                let place = format!("the scope {scope:?} of {transport}");
                check_scope(&transport, &scope).map_err(|problem| format!("{place} {problem}"))?;
                scopes.insert(scope, requirements(list, &place)?);
            }
            transports.insert(transport, scopes);
        }
        Ok(Policy { default: requirements(self.default, "\"default\"")?, transports, path: path.to_owned() })
    }
}

/// Paths have one spelling, or a scope would never be found.
fn check_scope(transport: &str, scope: &str) -> Result<(), &'static str> {
    let path = match transport {
        "dir" | "oci-archive" => scope,
        "oci" => scope.split(':').next().unwrap_or_default(),
        "docker-archive" | "tarball" if !scope.is_empty() => {
            return Err("cannot be: these images have no scope but \"\"");
        }
        _ => return Ok(()),
    };
    match path {
        "" => Ok(()),
        "/" => Err("is written \"\""),
        _ if !path.starts_with('/') => Err("is not an absolute path"),
        _ if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) => {
            Err("is not a path in its shortest form")
        }
        _ => Ok(()),
    }
}

fn requirements(list: Vec<WrittenRequirement>, place: &str) -> Result<Vec<Requirement>, String> {
    if list.is_empty() {
        return Err(format!("{place} has no requirements"));
    }
    list.into_iter().map(|written| requirement(written).map_err(|problem| format!("{place}: {problem}"))).collect()
}

fn requirement(written: WrittenRequirement) -> Result<Requirement, String> {
    Ok(match written {
        WrittenRequirement::InsecureAcceptAnything {} => Requirement::Accept,
        WrittenRequirement::Reject {} => Requirement::Reject,
        WrittenRequirement::SigstoreSigned { .. } => Requirement::SigstoreSigned,
        WrittenRequirement::SignedBy { key_type, key_path, key_paths, key_data, signed_identity } => {
            if key_type != "GPGKeys" {
                return Err(format!("the keyType {key_type:?} is unknown: only GPGKeys is supported"));
            }
            let keys = match (key_path, key_paths, key_data) {
                (Some(path), None, None) => vec![KeySource::File(path)],
                (None, Some(paths), None) if !paths.is_empty() => paths.into_iter().map(KeySource::File).collect(),
                (None, None, Some(data)) => {
                    vec![KeySource::Data(STANDARD.decode(data).map_err(|error| format!("keyData: {error}"))?)]
                }
                _ => return Err("exactly one of keyPath, keyPaths and keyData is required".to_owned()),
            };
            Requirement::SignedBy(SignedBy { keys, identity: signed_identity.unwrap_or_default() })
        }
    })
}

/// A map in which no key is repeated.
struct Unique<T>(BTreeMap<String, T>);

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Unique<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut found = BTreeMap::new();
                while let Some((key, value)) = access.next_entry::<String, T>()? {
                    if found.contains_key(&key) {
                        return Err(A::Error::custom(format!("the key {key:?} is repeated")));
                    }
                    found.insert(key, value);
                }
                Ok(Unique(found))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::*;

    const ACCEPT: &str = r#"[{"type":"insecureAcceptAnything"}]"#;

    fn parse(text: &str) -> Result<Policy, String> {
        Policy::parse(Path::new("p.json"), text.as_bytes()).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error}: {cause}")
        })
    }

    #[test]
    fn the_narrowest_scope_rules() {
        let scope = |name: &str| format!(r#""{name}":[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"/{name}"}}]"#);
        let scopes = ["h:5000/a/b:1", "h:5000/a", "*.example", ""].map(scope).join(",");
        let policy = parse(&format!(
            r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker":{{{scopes}}},"nonsense":{{"x":{ACCEPT}}}}}}}"#
        ))
        .unwrap();
        let key = |transport, scopes: &[&str]| {
            let subject = Subject { transport, scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect() };
            let ruling = policy.ruling(&subject);
            match ruling.requirements {
                [Requirement::SignedBy(SignedBy { keys, .. })] => format!("{keys:?}"),
                [other] => format!("{other:?} by {:?}", ruling.scope),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(key("docker", &["h:5000/a/b:1", "h:5000/a/b", "h:5000/a"]), r#"[File("/h:5000/a/b:1")]"#);
        assert_eq!(key("docker", &["h:5000/a/c:1", "h:5000/a/c", "h:5000/a", "h:5000"]), r#"[File("/h:5000/a")]"#);
        assert_eq!(key("docker", &["x.example/a", "*.example"]), r#"[File("/*.example")]"#);
        assert_eq!(key("docker", &["quay.io/a"]), r#"[File("/")]"#);
        assert_eq!(key("dir", &["/x"]), "Reject by None");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let default = |rest: &str| format!(r#"{{"default":[{{{rest}}}]}}"#);
        let signed = |rest: &str| default(&format!(r#""type":"signedBy","keyType":"GPGKeys",{rest}"#));
        let scope = |transport: &str, scope: &str| {
            format!(r#"{{"default":{ACCEPT},"transports":{{"{transport}":{{"{scope}":{ACCEPT}}}}}}}"#)
        };
        for (text, says) in [
            ("{".to_owned(), "EOF"),
            ("{}".to_owned(), "missing field `default`"),
            (format!(r#"{{"default":{ACCEPT},"defaults":{ACCEPT}}}"#), "unknown field `defaults`"),
            (format!(r#"{{"default":{ACCEPT},"default":{ACCEPT}}}"#), "duplicate field"),
            (format!(r#"{{"default":{ACCEPT},"transports":{{"a":{{}},"a":{{}}}}}}"#), r#"the key "a" is repeated"#),
            (r#"{"default":[]}"#.to_owned(), "has no requirements"),
            (default(r#""type":"accept""#), "unknown variant"),
            (default(r#""type":"reject","keyPath":"x""#), "unknown field `keyPath`"),
            (default(r#""type":"insecureAcceptAnything","x":1"#), "unknown field `x`"),
            (default(r#""type":"signedBy","keyType":"X509","keyPath":"x""#), "is unknown: only GPGKeys"),
            (signed(r#""keyPath":"x","keyData":"eA==""#), "exactly one of"),
            (signed(r#""keyPaths":[]"#), "exactly one of"),
            (signed(r#""keyData":"%""#), "keyData: "),
            (signed(r#""keyPath":"x","signedIdentity":{"type":"matchAll"}"#), "unknown variant"),
            (signed(r#""keyPath":"x","signedIdentity":{"type":"exactReference"}"#), "dockerReference"),
            (default(r#""type":"sigstoreSigned","keyPatth":"x""#), "unknown field"),
            (scope("dir", "a"), "is not an absolute path"),
            (scope("dir", "/"), r#"is written """#),
            (scope("oci", "/a/../b:x"), "shortest form"),
            (scope("docker-archive", "/a"), "no scope but"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(says) && error.starts_with("p.json"), "{text}: {error}");
        }
        for text in [scope("dir", "/a/b"), scope("oci", "/a:x"), scope("docker", ""), scope("later", "any thing")] {
            parse(&text).unwrap();
        }
    }
}
