//! Every JSON document that a test has hod print is compared with its schema in `docs/schema/`.
//!
//! The check knows what these schemas use, and is stricter than they are: a member that the schema does not name is an
//! error.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hod_oci::Digest;
use serde_json::Value;

/// Compares what a run with these arguments has printed with the schema of its command. Runs that print text or data
/// are left out.
#[track_caller]
pub fn check(arguments: &[OsString], variables: &[(String, OsString)], stdout: &[u8]) {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let by_variable = variables.iter().any(|(name, value)| name == "HOD_JSON" && value == "1");
    if !(words.contains(&"--json") || by_variable) || is_data(&words) {
        return;
    }
    let Ok(document) = serde_json::from_slice::<Value>(stdout) else { return };
    let command = words.iter().find(|word| !word.starts_with('-') && file(word).exists());
    let command = command.unwrap_or_else(|| panic!("docs/schema has no schema for {words:?}"));
    let kind = if document.get("error").is_some() { "error" } else { command };
    let schema: Value = serde_json::from_slice(&fs::read(file(kind)).unwrap()).unwrap();
    if let Err(problem) = fits(&document, &schema, &schema) {
        panic!("{words:?} is not as in docs/schema/{kind}.json: {problem}\n{document:#}");
    }
}

/// Whether a command line asks for an image's own bytes, which may be JSON, too.
fn is_data(words: &[&str]) -> bool {
    let has = |pair: [&str; 2]| words.windows(2).any(|words| words == pair);
    words.contains(&"--raw") || has(["--config-only", "-"])
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema").join(format!("{name}.json"))
}

/// What is wrong with a value, with the path to it.
fn fits(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    if schema == &Value::Bool(true) {
        return Ok(());
    }
    let keywords = schema.as_object().ok_or_else(|| format!("{schema} is no schema"))?;
    for (keyword, wanted) in keywords {
        let is_right = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "format" => true,
            "$ref" => {
                let name = wanted.as_str().and_then(|path| path.strip_prefix("#/$defs/")).unwrap_or_default();
                fits(value, &root["$defs"][name], root).map(|()| true)?
            }
            "anyOf" | "oneOf" => {
                let forms = wanted.as_array().into_iter().flatten();
                let problems: Vec<String> = forms.clone().filter_map(|form| fits(value, form, root).err()).collect();
                if problems.len() == forms.count() {
                    return Err(problems.join("; or "));
                }
                true
            }
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|name| has_type(value, name)),
                name => has_type(value, name),
            },
            "enum" => wanted.as_array().is_some_and(|values| values.contains(value)),
            "const" => wanted == value,
            "minimum" => value.as_f64().is_none_or(|number| Some(number) >= wanted.as_f64()),
            "maximum" => value.as_f64().is_none_or(|number| Some(number) <= wanted.as_f64()),
            "minItems" => value.as_array().is_none_or(|items| Some(items.len() as u64) >= wanted.as_u64()),
            "maxItems" => value.as_array().is_none_or(|items| Some(items.len() as u64) <= wanted.as_u64()),
            // The only pattern is that of digests.
            "pattern" if wanted.as_str().is_some_and(|pattern| pattern.starts_with("^(sha256:")) => {
                value.as_str().is_none_or(|text| text.parse::<Digest>().is_ok())
            }
            "required" => {
                let names = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
                let missing: Vec<&str> = names.filter(|name| value.get(name).is_none()).collect();
                if value.is_object() && !missing.is_empty() {
                    return Err(format!("without {}", missing.join(", ")));
                }
                true
            }
            "properties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    let known = wanted.get(name).ok_or_else(|| format!("{name}: unknown"))?;
                    fits(value, known, root).map_err(|problem| format!("{name}: {problem}"))?;
                }
                true
            }
            "additionalProperties" => {
                let mut members = value.as_object().into_iter().flatten();
                members.try_for_each(|(_, value)| fits(value, wanted, root)).map(|()| true)?
            }
            "items" => {
                let mut items = value.as_array().into_iter().flatten();
                items.try_for_each(|item| fits(item, wanted, root)).map(|()| true)?
            }
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten();
                let mut pairs = items.zip(wanted.as_array().into_iter().flatten());
                pairs.try_for_each(|(item, wanted)| fits(item, wanted, root)).map(|()| true)?
            }
            other => panic!("this check does not know the keyword {other}"),
        };
        if !is_right {
            return Err(format!("{keyword} is not {wanted}"));
        }
    }
    Ok(())
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        other => panic!("this check does not know the type {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_is_found() {
        let root = json!({
            "$defs": { "Name": { "type": "string", "enum": ["a", "b"] } },
            "type": "object",
            "properties": {
                "name": { "$ref": "#/$defs/Name" },
                "size": { "type": ["integer", "null"], "minimum": 0 },
                "pairs": { "type": "array", "items": { "type": "array", "prefixItems": [{ "type": "integer" }] } },
            },
            "required": ["name"],
        });
        for good in [json!({ "name": "a" }), json!({ "name": "b", "size": null, "pairs": [[1, "x"]] })] {
            assert_eq!(fits(&good, &root, &root), Ok(()), "{good}");
        }
        for bad in [
            json!([]),
            json!({}),
            json!({ "name": "c" }),
            json!({ "name": "a", "size": -1 }),
            json!({ "name": "a", "size": 0.5 }),
            json!({ "name": "a", "pairs": [["x"]] }),
            json!({ "name": "a", "other": 1 }),
        ] {
            assert!(fits(&bad, &root, &root).is_err(), "{bad}");
        }
    }
}
