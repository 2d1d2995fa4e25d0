//! What `hod inspect` makes of configs of every kind, with skopeo as the judge.

use std::path::Path;

use fs_err as fs;
use hod::oci::Digest;
use serde_json::json;

use crate::support::hod::hod;
use crate::support::skopeo::skopeo;

/// Configs that others write, and what nobody should.
const CONFIGS: [&str; 5] = [
    r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":null},"history":null,"config":null}"#,
    r#"{"architecture":"amd64","os":"linux","author":null,"rootfs":{"type":"layers","diff_ids":[]},"history":[],
        "config":{"User":null,"Env":[],"Labels":{},"ExposedPorts":{},"Volumes":null,"Cmd":[]}}"#,
    r#"{"architecture":"arm64","os":"linux","variant":"v8","os.version":"1","os.features":["a","b"],
        "created":"2020-01-01T00:00:00+02:00","author":"me",
        "config":{"User":"nobody","Env":["A=1","B=2"],"Labels":{"org.x":"1","Upper":"2"},"Cmd":["sh"],
                  "ExposedPorts":{"80/tcp":{}},"ArgsEscaped":true},
        "history":[{"created":null,"comment":"x"},{"created":"2020-01-01T00:00:00Z","created_by":"RUN <a>","empty_layer":true}]}"#,
    r#"{"os.features":[]}"#,
    "{}",
];

/// An image without layers that has this config, as a `dir:`.
fn image(folder: &Path, config: &str) -> String {
    let digest = Digest::sha256(config.as_bytes());
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(digest.hex()), config).unwrap();
    fs::write(folder.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    let media_type = "application/vnd.oci.image.config.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": media_type, "digest": digest, "size": config.len() },
        "layers": [],
    });
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    format!("dir:{}", folder.display())
}

fn theirs(arguments: &[&str]) -> String {
    String::from_utf8(skopeo(arguments)).unwrap()
}

#[test]
fn null_is_nothing_and_takes_nothing_with_it() {
    let folder = tempfile::tempdir().unwrap();
    for (number, config) in CONFIGS.iter().enumerate() {
        let image = image(&folder.path().join(number.to_string()), config);
        let ours = hod(["inspect", "--config", &image]).ok().text();
        assert_eq!(ours, theirs(&["inspect", "--config", &image]), "{config}");
        // Debian's version does not have the field.
        let ours = hod(["inspect", &image]).ok().text().replace("    \"LayersData\": [],\n", "");
        assert_eq!(ours, theirs(&["inspect", &image]), "{config}");
    }
}
