//! Finds the machine's trust policy, and notes a missing one.

use std::path::PathBuf;
use std::sync::Arc;

use crate::context::Context;
use crate::failure::{Failure, Kind};
use hod_image::admission::Admission;
use hod_trust::policy::Policy;

/// The policy that flags, environment or files ask for. Without any, everything is accepted, since hosts
/// behind an air gap rarely have one.
pub(crate) fn admission(context: &Context) -> Result<Arc<Admission>, Failure> {
    let args = context.skopeo();
    let failed = |error| Failure::of(Kind::Failed, error);
    let policy = match args.policy.clone().or_else(|| variable("CONTAINERS_POLICY_JSON")) {
        _ if args.insecure_policy && args.require_signed => {
            return Err(Failure::new(Kind::Usage, "--insecure-policy and --require-signed exclude each other"));
        }
        _ if args.insecure_policy => Policy::accept_anything(),
        Some(path) => Policy::read(&path).map_err(failed)?,
        None => Policy::find(&files()).map_err(failed)?.unwrap_or_else(|| {
            if context.is_verbose() {
                context.say("note: no trust policy (policy.json) exists: images from anywhere are accepted");
            }
            Policy::accept_anything()
        }),
    };
    let admission = Admission::new(policy);
    Ok(Arc::new(if args.require_signed { admission.of_signed() } else { admission }))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where a policy may be, best first.
fn files() -> Vec<PathBuf> {
    let user = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    let folders = user.into_iter().chain(["/etc".into(), "/usr/share".into()]);
    folders.map(|folder: PathBuf| folder.join("containers/policy.json")).collect()
}
