//! The values for templates of `inspect`: skopeo's Go structs, with the names of their fields.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::failure::{Failure, Kind};
use crate::template::{Struct, Value};
use hod_image::inspect::{History, ImageConfig, Inspection, LayerData, RootFs, RunConfig};

/// The image, as `inspect` tells of it.
pub(super) fn of_image(image: &Inspection) -> Result<Value, Failure> {
    let layers = image.layers_data.iter().map(of_layer).collect::<Result<_, _>>()?;
    let fields = vec![
        ("Name", Value::text(image.name.as_deref().unwrap_or_default())),
        ("Tag", Value::text(image.tag.as_deref().unwrap_or_default())),
        ("Digest", Value::text(&image.digest)),
        ("RepoTags", Value::texts(&image.repo_tags)),
        ("Created", Value::time(image.created.as_ref())),
        ("DockerVersion", Value::text(&image.docker_version)),
        ("Labels", Value::map(image.labels.iter().flatten())),
        ("Architecture", Value::text(&image.architecture)),
        ("Os", Value::text(&image.os)),
        ("Layers", Value::texts(&image.layers)),
        ("LayersData", Value::List(layers)),
        ("Env", Value::texts(image.env.iter().flatten())),
    ];
    with_fields(image, fields)
}

fn of_layer(layer: &LayerData) -> Result<Value, Failure> {
    let fields = vec![
        ("MIMEType", Value::text(&layer.mime_type)),
        ("Digest", Value::text(&layer.digest)),
        ("Size", Value::Number(layer.size.into())),
        ("Annotations", Value::map(layer.annotations.iter().flatten())),
    ];
    with_fields(layer, fields)
}

/// The config, as `inspect --config` tells of it.
pub(super) fn of_config(config: &ImageConfig) -> Result<Value, Failure> {
    let history = config.history.iter().map(of_step).collect::<Result<_, _>>()?;
    let fields = vec![
        ("Created", Value::time(config.created.as_ref())),
        ("Author", Value::text(&config.author)),
        ("Architecture", Value::text(&config.architecture)),
        ("Variant", Value::text(&config.variant)),
        ("OS", Value::text(&config.os)),
        ("OSVersion", Value::text(&config.os_version)),
        ("OSFeatures", Value::texts(&config.os_features)),
        ("Config", of_run_config(&config.config)?),
        ("RootFS", of_rootfs(&config.rootfs)?),
        ("History", Value::List(history)),
    ];
    with_fields(config, fields)
}

fn of_run_config(config: &RunConfig) -> Result<Value, Failure> {
    let nothing = || Value::Struct(Struct { fields: Vec::new(), json: "{}".to_owned() });
    // All that these maps say is what their keys are.
    let keys = |map: &BTreeMap<String, _>| Value::Map(map.keys().map(|key| (key.clone(), nothing())).collect());
    let fields = vec![
        ("User", Value::text(&config.user)),
        ("ExposedPorts", keys(&config.exposed_ports)),
        ("Env", Value::texts(config.env.iter().flatten())),
        ("Entrypoint", Value::texts(&config.entrypoint)),
        ("Cmd", Value::texts(&config.cmd)),
        ("Volumes", keys(&config.volumes)),
        ("WorkingDir", Value::text(&config.working_dir)),
        ("Labels", Value::map(config.labels.iter().flatten())),
        ("StopSignal", Value::text(&config.stop_signal)),
        ("ArgsEscaped", Value::Bool(config.args_escaped)),
    ];
    with_fields(config, fields)
}

fn of_rootfs(rootfs: &RootFs) -> Result<Value, Failure> {
    let fields = vec![("Type", Value::text(&rootfs.kind)), ("DiffIDs", Value::texts(rootfs.diff_ids.iter().flatten()))];
    with_fields(rootfs, fields)
}

fn of_step(step: &History) -> Result<Value, Failure> {
    let fields = vec![
        ("Created", Value::time(step.created.as_ref())),
        ("CreatedBy", Value::text(&step.created_by)),
        ("Author", Value::text(&step.author)),
        ("Comment", Value::text(&step.comment)),
        ("EmptyLayer", Value::Bool(step.empty_layer)),
    ];
    with_fields(step, fields)
}

fn with_fields(of: &impl Serialize, fields: Vec<(&'static str, Value)>) -> Result<Value, Failure> {
    let json =
        serde_json::to_string(of).map_err(|error| Failure::new(Kind::Failed, "cannot write JSON").because(error))?;
    Ok(Value::Struct(Struct { fields, json }))
}
