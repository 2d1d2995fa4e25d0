//! What a server that may write has beside what every server has.

use std::sync::Arc;

use super::referrers::ReferrerCache;
use super::uploads::Uploads;
use hod_store::Store;

/// A store that clients push to.
pub(super) struct PushStore {
    pub(super) store: Store,
    pub(super) uploads: Uploads,
    /// Whether an index may come without some of its children.
    pub(super) sparse: bool,
    /// What the manifests of the store are about.
    pub(super) referrers: Arc<ReferrerCache>,
}
