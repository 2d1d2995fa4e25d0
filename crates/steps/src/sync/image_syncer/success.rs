//! `--output-success-images`: writes the copied images as a file for `--images`.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::super::document::Language;
use super::super::run::SyncedImage;
use hod_transport::Location;

/// The file: each source with its destinations, in the order of the run.
pub fn success_file(images: &[SyncedImage], language: Language) -> String {
    let name = |location: &Location| location.to_string().trim_start_matches("docker://").to_owned();
    let pairs = images.iter().map(|image| (name(&image.task.from.location), name(&image.task.to.location)));
    let mut order: Vec<(String, Vec<String>)> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (source, destination) in pairs {
        let position = *known.entry(source.clone()).or_insert(order.len());
        match order.get_mut(position) {
            Some((_, destinations)) => destinations.push(destination),
            None => order.push((source, vec![destination])),
        }
    }
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match language {
        // A string of JSON is one of YAML.
        Language::Yaml => order.iter().fold(String::new(), |mut text, (source, destinations)| {
            let _ = writeln!(text, "{}:", quoted(source));
            for destination in destinations {
                let _ = writeln!(text, "  - {}", quoted(destination));
            }
            text
        }),
        Language::Json => {
            let entries = order.iter().map(|(source, destinations)| {
                let destinations: Vec<String> = destinations.iter().map(|it| quoted(it)).collect();
                format!("  {}: [{}]", quoted(source), destinations.join(", "))
            });
            let entries: Vec<String> = entries.collect();
            if entries.is_empty() { "{}\n".to_owned() } else { format!("{{\n{}\n}}\n", entries.join(",\n")) }
        }
    }
}
