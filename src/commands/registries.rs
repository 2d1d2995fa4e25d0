//! Creates the registry client from flags and environment.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::args::{RegistryArgs, SkopeoArgs};
use crate::failure::{Failure, Kind};
use hod_io::secret::Secret;
use hod_registry::{Registries, Settings};
use hod_transport::Location;

/// The registries that a command, or one side of it, deals with: credentials without a registry's name are for the
/// only one, or for the one of `--from`. Given to all, they would reach whoever is named in a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct UsedRegistries {
    hosts: BTreeSet<Box<str>>,
    /// The host of `--from`.
    main: Option<Box<str>>,
    /// What the flags' names begin with.
    prefix: &'static str,
}

impl UsedRegistries {
    /// These registries.
    pub(crate) fn new<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase().into()).collect();
        Self { hosts, ..Self::default() }
    }

    /// The registries among these places.
    pub(crate) fn of<'a>(places: impl IntoIterator<Item = &'a Location>) -> Self {
        Self::new(places.into_iter().filter_map(Location::registry))
    }

    /// The same, with the host of `--from`, where that was given.
    pub(crate) fn with_main(self, main: Option<&str>) -> Self {
        Self { main: main.map(Into::into), ..self }
    }

    /// The same as one side of a command, whose flags begin with `prefix`.
    pub(crate) fn side(self, prefix: &'static str) -> Self {
        Self { prefix, ..self }
    }

    /// The registry that credentials without a registry's name are for.
    fn owner(&self, flag: &str) -> Result<Option<Box<str>>, Failure> {
        if self.hosts.len() <= 1 {
            return Ok(self.hosts.first().or(self.main.as_ref()).cloned());
        }
        if let Some(main) = &self.main {
            return Ok(Some(main.clone()));
        }
        let (flag, some) = (format!("--{}{flag}", self.prefix), self.hosts.iter().take(NAMED));
        let some = some.map(|host| &**host).collect::<Vec<_>>().join(", ");
        let more = if self.hosts.len() > NAMED { ", …" } else { "" };
        let message = format!("{flag} does not say which of {} registries it is for: {some}{more}", self.hosts.len());
        let hint = format!("write --{}creds HOST=USER:PASSWORD for each registry, or use hod login", self.prefix);
        Err(Failure::new(Kind::Usage, message).hint(hint))
    }
}

/// How many registries a message names.
const NAMED: usize = 5;

/// Makes the client. Nothing is read or asked before the first request.
pub(crate) fn registries(
    args: &RegistryArgs,
    concerned: &UsedRegistries,
    skopeo: &SkopeoArgs,
    authfile: Option<PathBuf>,
    (jobs, stall_timeout): (usize, Option<Duration>),
) -> Result<Registries, Failure> {
    let mut settings = Settings::from_environment(|name| std::env::var_os(name));
    let given = args.credentials().map_err(|problem| {
        Failure::new(Kind::Usage, format!("--{}creds cannot be used: {problem}", concerned.prefix))
    })?;
    settings.credentials.given_for = match (&given.alone, &args.registry_token) {
        (Some(_), _) if args.creds.is_empty() => concerned.owner("username")?,
        (Some(_), _) => concerned.owner("creds")?,
        (None, Some(_)) => concerned.owner("registry-token")?,
        (None, None) => None,
    };
    settings.credentials.given_by_host = given.by_host;
    settings.credentials.given = given.alone;
    settings.credentials.anonymous = args.no_creds;
    if let Some(file) = authfile {
        settings.credentials.authfile = Some(file);
    }
    settings.registry_token = args.registry_token.as_deref().map(Secret::new);
    if let Some(folder) = &args.cert_dir {
        if !folder.is_dir() {
            return Err(Failure::new(Kind::Usage, format!("--cert-dir {} is not a directory", folder.display())));
        }
        settings.cert_dir = Some(folder.clone());
    }
    if let Some(file) = &skopeo.registries_conf {
        settings.registries_conf.file = Some(file.clone());
    }
    settings.registries_conf.folder.clone_from(&skopeo.registries_conf_dir);
    if let Some(folder) = skopeo.registries_d.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(Failure::new(Kind::Usage, format!("--registries.d {} is not a directory", folder.display())));
    }
    settings.lookaside.folder.clone_from(&skopeo.registries_d);
    settings.tls_verify = args.tls_verify;
    settings.stall_timeout = stall_timeout.unwrap_or(settings.stall_timeout);
    settings.connections = settings.connections.max(jobs * 3);
    Ok(Registries::new(settings))
}
