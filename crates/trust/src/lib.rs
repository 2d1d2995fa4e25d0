//! Whose images are taken: `policy.json`, and the signatures of the containers tools.

pub mod policy;
pub mod signature;
