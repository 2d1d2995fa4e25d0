//! The registry client, as flags and environment say to make it.

use std::path::PathBuf;

use crate::cli::args::{RegistryArgs, SkopeoArgs};
use crate::cli::failure::{Failure, Kind};
use crate::registry::{Registries, Settings};
use crate::secret::Secret;

/// Makes the client. Nothing is read or asked before the first request.
pub(in crate::cli) fn registries(
    args: &RegistryArgs,
    skopeo: &SkopeoArgs,
    authfile: Option<PathBuf>,
    jobs: usize,
) -> Result<Registries, Failure> {
    let mut settings = Settings::from_environment(|name| std::env::var_os(name));
    settings.credentials.given = args.credentials();
    settings.credentials.anonymous = args.no_creds;
    if let Some(file) = authfile {
        settings.credentials.authfile = Some(file);
    }
    settings.registry_token = args.registry_token.as_deref().map(Secret::new);
    if let Some(folder) = &args.cert_dir {
        if !folder.is_dir() {
            return Err(Failure::new(Kind::Usage, format!("--cert-dir {} is no folder", folder.display())));
        }
        settings.cert_dir = Some(folder.clone());
    }
    if let Some(file) = &skopeo.registries_conf {
        settings.registries_conf.file = Some(file.clone());
    }
    settings.registries_conf.folder.clone_from(&skopeo.registries_conf_dir);
    if let Some(folder) = skopeo.registries_d.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(Failure::new(Kind::Usage, format!("--registries.d {} is no folder", folder.display())));
    }
    settings.lookaside.folder.clone_from(&skopeo.registries_d);
    settings.tls_verify = args.tls_verify;
    settings.connections = settings.connections.max(jobs * 3);
    Ok(Registries::new(settings))
}
