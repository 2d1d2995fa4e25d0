//! Errors of the vocabulary: names, references, platforms, manifests.

use super::advice::without_advice;
use hod_oci::{
    AbsentPlatforms, DigestError, GraphError, ManifestError, MergeError, NameError, NotPulledError, PlatformError,
    ReferenceError,
};

without_advice! {
    DigestError { Shape, Algorithm, Hex }
    GraphError { Manifest, Wide, Heavy, Deep }
    ManifestError {
        Large, Heavy, Json, Schema1, SchemaVersion, MediaType, Mismatch, Unmarked, Ambiguous, Missing,
    }
    MergeError { Incoming, Existing }
    NameError { Empty, UpperCase, Component, Long, Tag }
    ReferenceError { Scheme, Host, ImageId, Name, Digest }
}

without_advice! { AbsentPlatforms, NotPulledError, PlatformError }
