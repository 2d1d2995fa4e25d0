//! The schemas of the documents: `docs/schema/` has what the types give. `HOD_UPDATE=1` writes it anew.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use crate::generated::assert_current;

use super::{
    Bundled, Collected, Copied, Deleted, DigestText, FailedRun, KeyPair, Locked, LoggedRequest, Login, Logout, Manual,
    NewPlace, OneDigest, Packed, Planned, Pulled, PushPreview, Pushed, Removed, Selected, Serving, SignedBundle,
    SignedManifest, Synced, Tagged, Tags, UnpackPreview, Unpacked, UnpackedImage, VerifiedManifest, WrittenConfig,
    WrittenIndex, WrittenInventory,
};

impl JsonSchema for DigestText {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$" })
    }
}

/// What one of several forms of a command prints.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum Either<A, B> {
    One(A),
    Other(B),
}

/// Documents whose types belong to the library. Every document of these commands that a test reads is compared with
/// these.
mod library {
    use hod_steps::finding;

    use super::{BTreeMap, Cow, DigestText, JsonSchema, Schema, SchemaGenerator, Serialize, Value, json_schema};

    /// What `hod verify` found.
    #[derive(Serialize, JsonSchema)]
    pub(super) struct Verification {
        blobs: u64,
        bytes: u64,
        links: u64,
        images: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        signed: Option<super::super::Signer>,
        findings: Vec<Finding>,
    }

    /// Something that is wrong.
    #[derive(Serialize, JsonSchema)]
    struct Finding {
        code: Code,
        path: String,
        detail: String,
        /// The images that it concerns.
        images: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        blobs: Vec<DigestText>,
        /// Ranges of bytes: the first, and the one after the last.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        ranges: Vec<(u64, u64)>,
    }

    /// The code of a finding.
    #[derive(Serialize)]
    struct Code;

    impl JsonSchema for Code {
        fn schema_name() -> Cow<'static, str> {
            "Code".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            let names: Vec<_> = finding::Code::ALL.iter().map(|code| code.name()).collect();
            json_schema!({ "type": "string", "enum": names })
        }
    }

    /// The images of a store or bundle.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Listing {
        /// The id of a bundle.
        #[serde(skip_serializing_if = "Option::is_none")]
        bundle: Option<DigestText>,
        images: Vec<ListedImage>,
        bytes_unique: u64,
        bytes_of_images: u64,
        /// How many contents a bundle requires and does not have.
        required: u64,
        bytes_required: u64,
        /// The bases of a delta, where it names them.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        base: Vec<DeltaBase>,
    }

    /// What has the content that a delta leaves out.
    #[derive(Serialize, JsonSchema)]
    struct DeltaBase {
        kind: DeltaBaseKind,
        name: String,
        /// The id of a bundle, or the digest of an inventory.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<DigestText>,
        /// The day on which it was made, as `2026-12-01`.
        #[serde(skip_serializing_if = "Option::is_none")]
        date: Option<String>,
    }

    /// The kind of a base.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum DeltaBaseKind {
        Bundle,
        Inventory,
        Store,
    }

    /// An image of a store or bundle.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    struct ListedImage {
        name: String,
        digest: DigestText,
        media_type: String,
        platforms: Vec<String>,
        size: u64,
        /// The size of what no other image has.
        unique: u64,
        group: Option<String>,
        source: Option<String>,
    }

    /// What differs between two places.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Difference {
        added: Vec<Change>,
        removed: Vec<Change>,
        moved: Vec<Change>,
        unchanged: u64,
        bytes_added: u64,
        bytes_removed: u64,
    }

    /// An image that differs.
    #[derive(Serialize, JsonSchema)]
    struct Change {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<DigestText>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<DigestText>,
        bytes: Option<u64>,
    }

    /// The contents of a place, as `--have` reads them.
    #[derive(Serialize, JsonSchema)]
    #[serde(untagged)]
    #[allow(dead_code, reason = "only its schema is used")]
    pub(super) enum Inventory {
        /// Every content.
        Full { format: String, version: u64, images: Vec<InventoryImage>, contents: Vec<(DigestText, u64)> },
        /// Manifests alone.
        Minimal { format: String, version: u64, complete: Vec<DigestText>, alone: Vec<DigestText> },
    }

    /// An image, with positions in the list of contents.
    #[derive(Serialize, JsonSchema)]
    pub(super) struct InventoryImage {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
        digest: DigestText,
        contents: Vec<u32>,
    }

    /// An image, in skopeo's words.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct Inspection {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
        digest: DigestText,
        repo_tags: Vec<String>,
        created: Option<String>,
        docker_version: String,
        labels: Option<BTreeMap<String, String>>,
        architecture: String,
        os: String,
        layers: Vec<DigestText>,
        layers_data: Vec<LayerData>,
        env: Option<Vec<String>>,
    }

    /// A layer, in skopeo's words.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "PascalCase")]
    struct LayerData {
        #[serde(rename = "MIMEType")]
        mime_type: String,
        digest: DigestText,
        size: u64,
        annotations: Option<BTreeMap<String, String>>,
    }

    /// The layers of an image, in umoci's words.
    #[derive(Serialize, JsonSchema)]
    pub(super) struct Stat {
        history: Vec<Step>,
    }

    /// A step of the build.
    #[derive(Serialize, JsonSchema)]
    struct Step {
        /// The descriptor of the layer.
        layer: Option<BTreeMap<String, Value>>,
        diff_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        created: Option<String>,
        #[serde(skip_serializing_if = "String::is_empty")]
        created_by: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        author: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        comment: String,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        empty_layer: bool,
    }

    /// The config of an image, as the OCI image specification has it.
    #[derive(Serialize, JsonSchema)]
    pub(super) struct ImageConfig {
        #[serde(skip_serializing_if = "Option::is_none")]
        created: Option<String>,
        #[serde(skip_serializing_if = "String::is_empty")]
        author: String,
        architecture: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        variant: String,
        os: String,
        #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
        os_version: String,
        #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
        os_features: Vec<String>,
        config: BTreeMap<String, Value>,
        rootfs: BTreeMap<String, Value>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        history: Vec<BTreeMap<String, Value>>,
    }

    /// An index or manifest list, as it is.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct ImageIndex {
        schema_version: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        media_type: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        artifact_type: Option<String>,
        manifests: Vec<BTreeMap<String, Value>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<BTreeMap<String, Value>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<BTreeMap<String, String>>,
    }
}

fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

/// The schemas, by command; `error` is what any of them prints that fails as a whole.
fn schemas() -> [(&'static str, Schema); 36] {
    [
        ("bundle", schema_of::<Bundled>()),
        ("copy", schema_of::<Copied>()),
        ("delete", schema_of::<Deleted>()),
        ("diff", schema_of::<library::Difference>()),
        ("error", schema_of::<FailedRun>()),
        ("gc", schema_of::<Collected<'_>>()),
        ("index", schema_of::<Either<WrittenIndex, library::ImageIndex>>()),
        ("init", schema_of::<NewPlace>()),
        ("inspect", schema_of::<Either<library::Inspection, library::ImageConfig>>()),
        ("inventory", schema_of::<Either<WrittenInventory, library::Inventory>>()),
        ("keygen", schema_of::<KeyPair>()),
        ("layer", schema_of::<UnpackedImage>()),
        ("list-tags", schema_of::<Tags>()),
        ("lock", schema_of::<Locked>()),
        ("login", schema_of::<Login<'_>>()),
        ("logout", schema_of::<Logout<'_>>()),
        ("ls", schema_of::<library::Listing>()),
        ("man", schema_of::<Manual>()),
        ("manifest-digest", schema_of::<OneDigest>()),
        ("new", schema_of::<OneDigest>()),
        ("pack", schema_of::<Either<Packed, Planned>>()),
        ("plan", schema_of::<Planned>()),
        ("pull", schema_of::<Either<Pulled, Planned>>()),
        ("push", schema_of::<Either<Pushed, PushPreview>>()),
        ("rm", schema_of::<Removed>()),
        ("select", schema_of::<Selected>()),
        ("serve", schema_of::<Either<Serving<'_>, LoggedRequest<'_>>>()),
        ("sign", schema_of::<SignedBundle>()),
        ("standalone-sign", schema_of::<SignedManifest>()),
        ("standalone-verify", schema_of::<VerifiedManifest>()),
        ("stat", schema_of::<library::Stat>()),
        ("sync", schema_of::<Synced>()),
        ("tag", schema_of::<Tagged<'_>>()),
        ("unpack", schema_of::<Either<Unpacked, UnpackPreview>>()),
        ("unpack-image", schema_of::<Either<UnpackedImage, WrittenConfig>>()),
        ("verify", schema_of::<library::Verification>()),
    ]
}

#[test]
fn schemas_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    for (name, schema) in schemas() {
        assert_current(&format!("docs/schema/{name}.json"), &format!("{:#}\n", schema.to_value()));
    }
    let files = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let known = schemas().map(|(name, _)| format!("{name}.json"));
    assert_eq!(files.collect::<BTreeSet<_>>(), BTreeSet::from(known));
}
