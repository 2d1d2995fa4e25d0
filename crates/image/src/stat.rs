//! The layers and history of an image, as `umoci stat` shows them.

use serde::{Deserialize, Serialize};

use super::inspect::{History, InspectedImage};
use hod_oci::Descriptor;

/// The history of an image with its layers.
#[derive(Debug, Clone, Serialize)]
pub struct Stat {
    /// The steps, first to last.
    pub history: Vec<Step>,
}

/// A step of an image's making.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// The layer that it made; none where it changed the config alone.
    pub layer: Option<Descriptor>,
    /// The digest of the layer when it is not compressed; empty where there is none.
    pub diff_id: String,
    #[serde(flatten)]
    history: History,
}

impl Step {
    /// When, in the words of the config.
    pub fn created(&self) -> Option<&str> {
        self.history.created.as_deref()
    }

    /// By which command.
    pub fn created_by(&self) -> &str {
        &self.history.created_by
    }

    /// What was said of it.
    pub fn comment(&self) -> &str {
        &self.history.comment
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    history: Option<Vec<History>>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RootFs {
    diff_ids: Vec<String>,
}

impl Stat {
    /// Joins the history of the config with the layers of the manifest.
    ///
    /// A history need not be there, and need not know all layers: those that it does not know follow at the end.
    pub fn of(image: &InspectedImage) -> Self {
        // A config that is no image's, such as a chart's, has nothing of this.
        let config: Config = serde_json::from_slice(&image.config).unwrap_or_default();
        let mut diff_ids = config.rootfs.diff_ids.into_iter();
        let mut layers = image.instance.root.manifest.blobs().skip(1).cloned();
        let mut steps = Vec::new();
        for history in config.history.unwrap_or_default() {
            let layer = if history.empty_layer { None } else { layers.next() };
            let diff_id = if history.empty_layer { None } else { diff_ids.next() };
            steps.push(Step { layer, diff_id: diff_id.unwrap_or_default(), history });
        }
        steps.extend(layers.map(|layer| Step {
            layer: Some(layer),
            diff_id: diff_ids.next().unwrap_or_default(),
            history: History::default(),
        }));
        Self { history: steps }
    }
}
