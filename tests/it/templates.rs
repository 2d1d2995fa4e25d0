//! What `hod inspect` makes of configs of every kind, and of `--format`, with skopeo as the judge.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hod_oci::Digest;
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

fn is_refused_by_skopeo(arguments: &[&str]) -> bool {
    !Command::new("skopeo").args(arguments).output().unwrap().status.success()
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
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

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn templates_see_the_structs_that_skopeo_shows_them() {
    let folder = tempfile::tempdir().unwrap();
    for (number, config) in CONFIGS.iter().enumerate() {
        let image = image(&folder.path().join(number.to_string()), config);
        for template in [
            "{{.OS}}/{{.Architecture}}{{.Variant}} {{.RootFS.DiffIDs}} {{.RootFS.Type}} {{.Author}}",
            "{{.Created}} {{.Config.Cmd}} {{.Config.Env}} {{.History}} {{.OSVersion}} {{.OSFeatures}}",
            "{{range .History}}{{.CreatedBy}},{{.Created}},{{.Comment}},{{.EmptyLayer}};{{else}}none{{end}}",
            "{{.Config.ExposedPorts}} {{.Config.Volumes}} {{.Config.Entrypoint}} {{.Config.User}}",
            "{{.Config.Labels}} {{.Config.Labels.Upper}} {{.Config.Labels.none}} {{index .Config.Labels \"org.x\"}}",
            "{{len .Config.Labels}}{{if .Config}}x{{end}}{{if .Config.Env}}y{{end}}{{if .Variant}}z{{end}}",
            "{{.}}",
        ] {
            let arguments = ["inspect", "--config", "--format", template, &image];
            assert_eq!(hod(arguments).ok().text(), theirs(&arguments), "{template} of {config}");
        }
        for template in [
            "Name: {{.Name}} Tag: {{.Tag}} {{.DockerVersion}}",
            "{{.Labels}} {{.Env}} {{.Layers}} {{.RepoTags}} {{.Created}}",
            "{{.Labels.Upper}} {{.Labels.none}} {{len .Env}} {{index .Labels \"none\"}}",
        ] {
            let arguments = ["inspect", "--format", template, &image];
            assert_eq!(hod(arguments).ok().text(), theirs(&arguments), "{template} of {config}");
        }
    }
    let image = image(&folder.path().join("2"), CONFIGS[2]);
    for template in ["{{.Nope}}", "{{.os}}", "{{.Config.Nope}}", "{{range .History}}{{.created}}{{end}}", "{{.Name}}"] {
        let arguments = ["inspect", "--config", "--format", template, &image];
        assert!(hod(arguments).code(2).stderr.contains("field ."), "{template}");
        assert!(is_refused_by_skopeo(&arguments), "{template}");
    }
    // Later versions of skopeo have `json` for parts, too: with the names and the order of the document.
    let of = |template: &str| hod(["inspect", "--config", "--format", template, &image]).ok().text();
    assert_eq!(of("{{json .Config.Env}} {{json .RootFS}}"), "[\"A=1\",\"B=2\"] {\"type\":\"\",\"diff_ids\":null}\n");
    assert!(of("{{json .Config}}").starts_with("{\"User\":\"nobody\",\"ExposedPorts\":{\"80/tcp\":{}},\"Env\":"));
}

#[test]
#[ignore = "needs the tools that scripts/test installs"]
fn the_format_json_is_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path(), CONFIGS[2]);
    for format in ["json", " json ", "{{json .}}", "{{ json . }}", "{{json}}"] {
        for kind in [["inspect", "--config"], ["inspect", "--no-tags"]] {
            let arguments = [&kind[..], &["--format", format, &image]].concat();
            let ours = hod(&arguments).ok().text().replace("    \"LayersData\": [],\n", "");
            assert_eq!(ours, theirs(&arguments), "{format}");
        }
    }
}
