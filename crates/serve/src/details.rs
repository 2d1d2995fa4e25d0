//! Details from an image's config and manifest: settings, history, layers, files.

use serde_json::Value;

use super::image::{read_config, read_manifest};
use super::repositories::Repositories;
use hod_oci::{Digest, Manifest, RepositoryName};

/// The most lines of a table; a config of 4 MiB may have thousands.
const LINES: usize = 400;
/// The most characters of a text.
const LETTERS: usize = 2000;
/// The name of a file of an artifact.
const TITLE: &str = "org.opencontainers.image.title";
const CREATED: &str = "org.opencontainers.image.created";

/// A setting or label with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
}

/// A step of the history, or a layer that the history does not name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The command or the name of the file.
    pub(super) text: String,
    pub(super) created: String,
    /// The layer that it made; a step may change only the config.
    pub(super) layer: Option<Layer>,
}

/// A layer of an image, or a file of an artifact.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    /// True if it is here.
    pub(super) is_here: bool,
}

/// The details of one manifest.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// When it was created, as the config or the manifest says.
    pub(super) created: Option<String>,
    pub(super) settings: Vec<Setting>,
    pub(super) steps: Vec<Step>,
    /// How many lines were left out of the history.
    pub(super) left_out: usize,
}

impl Details {
    /// Reads the details of an image; nothing of what cannot be read.
    pub(super) fn read(repositories: &dyn Repositories, name: &RepositoryName, digest: &Digest) -> Self {
        let Some((_, manifest)) = read_manifest(repositories, name, digest) else { return Self::default() };
        let config = manifest.config().and_then(|config| read_config(repositories, name, config));
        let config: Value = config.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let mut details = Self {
            created: created(&manifest, &config),
            settings: settings(&manifest, &config),
            steps: steps(&manifest, &config, |digest| repositories.blob(name, digest).ok().flatten().is_some()),
            left_out: 0,
        };
        details.left_out = details.steps.len().saturating_sub(LINES);
        details.steps.truncate(LINES);
        details.settings.truncate(LINES);
        details
    }
}

/// When an image was created.
pub(super) fn read_created(repositories: &dyn Repositories, name: &RepositoryName, digest: &Digest) -> Option<String> {
    let (_, manifest) = read_manifest(repositories, name, digest)?;
    let config = manifest.config().and_then(|config| read_config(repositories, name, config));
    created(&manifest, &config.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

fn created(manifest: &Manifest, config: &Value) -> Option<String> {
    let own = config["created"].as_str().or_else(|| manifest.annotations.get(CREATED).map(|created| &**created));
    own.filter(|created| !created.is_empty()).map(time)
}

/// A time as RFC 3339 writes it, to the minute.
fn time(text: &str) -> String {
    let zone = text
        .get(16..)
        .unwrap_or_default()
        .trim_start_matches(|letter: char| letter.is_ascii_digit() || ":.".contains(letter));
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) if text.is_ascii() => {
            format!("{day} {minute} {}", if zone == "Z" { "UTC" } else { zone }).trim().to_owned()
        }
        _ => shortened(text),
    }
}

fn settings(manifest: &Manifest, config: &Value) -> Vec<Setting> {
    let run = &config["config"];
    let mut settings = Vec::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            settings.push(Setting { name: shortened(name), value: shortened(&value) });
        }
    };
    // A chart's config is its Chart.yaml.
    for (name, key) in [("Chart", "name"), ("Version", "version"), ("App version", "appVersion")] {
        if config["apiVersion"].is_string() {
            add(name, text(&config[key]));
        }
    }
    add("Description", text(&config["description"]));
    add("Author", text(&config["author"]));
    for (name, key) in [
        ("Entrypoint", "Entrypoint"),
        ("Command", "Cmd"),
        ("Working directory", "WorkingDir"),
        ("User", "User"),
        ("Ports", "ExposedPorts"),
        ("Volumes", "Volumes"),
        ("Stop signal", "StopSignal"),
    ] {
        add(name, text(&run[key]));
    }
    for variable in run["Env"].as_array().into_iter().flatten().take(LINES) {
        add("Environment", text(variable));
    }
    let labels = run["Labels"].as_object().into_iter().flatten();
    for (name, value) in labels.take(LINES) {
        add(&format!("Label {name}"), text(value));
    }
    for (name, value) in manifest.annotations.iter().take(LINES) {
        add(&format!("Annotation {name}"), value.to_string());
    }
    settings
}

/// A value as people read it: lists as shells write them, and of objects the names.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(words) => words.iter().map(word).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => fields.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn word(value: &Value) -> String {
    match value.as_str() {
        Some(word) if !word.is_empty() && !word.contains(char::is_whitespace) => word.to_owned(),
        _ => value.to_string(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{} \u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

/// Joins the history of the config with the layers of the manifest, as `hod layers` does. Layers that the history does
/// not name follow at the end.
fn steps(manifest: &Manifest, config: &Value, is_here: impl Fn(&Digest) -> bool) -> Vec<Step> {
    let mut layers = manifest.blobs().skip(1);
    let layer = |layer: &hod_oci::Descriptor| Layer {
        digest: layer.digest,
        bytes: layer.size,
        is_here: is_here(&layer.digest),
    };
    let mut steps = Vec::new();
    for entry in config["history"].as_array().into_iter().flatten() {
        let is_empty = entry["empty_layer"].as_bool().unwrap_or_default();
        let made = if is_empty { None } else { layers.next() };
        let command = text(&entry["created_by"]);
        let command = if command.is_empty() { text(&entry["comment"]) } else { command };
        steps.push(Step {
            text: shortened(command.trim()),
            created: entry["created"].as_str().map(time).unwrap_or_default(),
            layer: made.map(layer),
        });
    }
    steps.extend(layers.map(|found| {
        let name = found.annotations.get(TITLE).map_or(found.media_type.as_str(), |title| &**title);
        Step { text: shortened(name), created: String::new(), layer: Some(layer(found)) }
    }));
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use hod_oci::MediaType;

    fn manifest(layers: usize) -> Manifest {
        let blob = |text: &str| json!({"mediaType": "x/y", "digest": Digest::sha256(text.as_bytes()), "size": 3});
        let layers: Vec<Value> = (0..layers).map(|layer| blob(&layer.to_string())).collect();
        let text = json!({"schemaVersion": 2, "config": blob("config"), "layers": layers}).to_string();
        Manifest::parse(&MediaType::OciManifest, text.as_bytes()).unwrap()
    }

    #[test]
    fn history_and_layers_are_joined() {
        let config = json!({"history": [
            {"created": "2026-03-01T10:20:30.123Z", "created_by": "ADD rootfs"},
            {"created_by": "ENV A=1", "empty_layer": true},
            {"comment": "by hand"},
        ]});
        let found = steps(&manifest(3), &config, |digest| *digest != Digest::sha256(b"1"));
        let found: Vec<_> = found
            .iter()
            .map(|step| (step.text.as_str(), step.created.as_str(), step.layer.as_ref().map(|layer| layer.is_here)))
            .collect();
        assert_eq!(
            found,
            [
                ("ADD rootfs", "2026-03-01 10:20 UTC", Some(true)),
                ("ENV A=1", "", None),
                ("by hand", "", Some(false)),
                ("x/y", "", Some(true))
            ]
        );
        assert_eq!(steps(&manifest(2), &Value::Null, |_| true).len(), 2);
    }

    #[test]
    fn settings_are_lines_of_text() {
        let config = json!({
            "author": "Ann",
            "config": {"Cmd": ["sh", "-c", "a b"], "ExposedPorts": {"80/tcp": {}}, "Env": ["A=1"], "User": null, "Labels": {"l": "v"}},
        });
        let found = settings(&manifest(0), &config);
        let found: Vec<_> = found.iter().map(|setting| format!("{}={}", setting.name, setting.value)).collect();
        assert_eq!(found, ["Author=Ann", "Command=sh -c \"a b\"", "Ports=80/tcp", "Environment=A=1", "Label l=v"]);
        assert!(settings(&manifest(0), &json!([1])).is_empty());
        let long = shortened(&"\u{e4}".repeat(3000));
        assert_eq!(long.chars().count(), LETTERS + 2);
        assert_eq!(time("2026-03-01T10:20:30.5+02:00"), "2026-03-01 10:20 +02:00");
        assert_eq!(time("yesterday"), "yesterday");
    }
}
