//! `hod login` and `hod logout`: credential files as podman, skopeo and Docker read them.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{UsedRegistries, input};
use crate::args::{LoginArgs, LogoutArgs, RegistryArgs};
use crate::context::Context;
use crate::documents::{Login, Logout};
use crate::failure::{Failure, Kind};
use crate::{report, terminal};
use hod_engine::endpoint::Fault;
use hod_io::secret::Secret;
use hod_oci::RepositoryName;
use hod_registry::{CredentialFile, Credentials, RegistryError};

/// More than any password has.
const PASSWORD_LIMIT: u64 = 64 * 1024;

pub(crate) async fn login(context: &Context, args: LoginArgs) -> Result<ExitCode, Failure> {
    let registry = bare(&args.registry);
    let (host, path) = registry.split_once('/').map_or((registry, None), |(host, path)| (host, Some(path)));
    let repository = path.map(str::parse::<RepositoryName>).transpose();
    let repository = repository.map_err(|error| Failure::of(Kind::Usage, error))?;
    if args.get_login {
        return get_login(context, &args, host, repository.as_ref()).await;
    }
    let names_nobody = args.username.is_none() && args.password.is_none() && !args.password_stdin;
    if names_nobody && is_logged_in(context, &args, (registry, host), repository.as_ref()).await? {
        return Ok(ExitCode::SUCCESS);
    }
    let file = target(context, args.compat_auth_file.clone());
    let (user, password) = (args.username.clone(), args.password.clone());
    let (username, password) = input::blocking(move || ask(user, password, args.password_stdin)).await?;
    let registries = context.registries(&as_user(&args, &username, &password), &UsedRegistries::new([host]))?;
    if let Err(path) = registries.reads_credential_files() {
        let message = format!("{} leaves all credentials to helpers", path.display());
        return Err(Failure::new(Kind::Failed, message).hint(
            "log in with the tool that configured the helpers, or add \"containers-auth.json\" to credential-helpers there",
        ));
    }
    registries.ping(host).await.map_err(|error| {
        if error.fault() == Fault::Denied {
            return Failure::new(Kind::Failed, format!("logging into {host:?}: invalid username/password"));
        }
        not_asked(host, error)
    })?;
    let shown = username.clone();
    let document = described(registry, &shown, Some(file.path()));
    let (registry, written) = (registry.to_owned(), file.clone());
    input::blocking(move || {
        written.add(&registry, &username, &password).map_err(|error| Failure::of(Kind::Failed, error))
    })
    .await?;
    let first = if context.is_verbose() { format!("Used:  {}\n", file.path().display()) } else { String::new() };
    context.result(&document, &format!("{first}Login Succeeded!\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Who is logged in where; `written` is the file that has the credentials now and had not before.
fn described<'a>(registry: &'a str, username: &'a str, written: Option<&Path>) -> Login<'a> {
    Login::Good { file: written.map(report::path), registry, username }
}

/// Tells, as skopeo does, where the command is. In JSON it has no place.
fn remark(context: &Context, line: &str) -> Result<(), Failure> {
    if context.is_text() {
        context.data(format!("{line}\n").as_bytes())?;
    } else {
        context.say(line);
    }
    Ok(())
}

/// The registry as it is for this user.
fn as_user(args: &LoginArgs, username: &str, password: &Secret) -> RegistryArgs {
    RegistryArgs {
        username: Some(username.to_owned()),
        password: Some(password.expose().to_owned()),
        cert_dir: args.cert_dir.clone(),
        tls_verify: args.tls_verify,
        ..RegistryArgs::default()
    }
}

/// Whether the credentials that are stored already are good, in which case there is nothing to ask and nothing to do.
async fn is_logged_in(
    context: &Context,
    args: &LoginArgs,
    (registry, host): (&str, &str),
    repository: Option<&RepositoryName>,
) -> Result<bool, Failure> {
    // Of a file that is not there yet, or that cannot be read, is told when it is to be written.
    let stored = stored(context, args, host, repository).await.ok().flatten();
    let Some(Credentials::Password { username, password }) = stored else { return Ok(false) };
    remark(context, &format!("Authenticating with existing credentials for {registry}"))?;
    match context.registries(&as_user(args, &username, &password), &UsedRegistries::new([host]))?.ping(host).await {
        Ok(()) => {
            let line = format!("Existing credentials are valid. Already logged in to {registry}\n");
            context.result(&described(registry, &username, None), &line)?;
            Ok(true)
        }
        Err(error) if error.fault() == Fault::Denied => {
            remark(context, "Existing credentials are invalid, please enter valid username and password")?;
            Ok(false)
        }
        Err(error) => Err(not_asked(host, error)),
    }
}

fn not_asked(host: &str, error: RegistryError) -> Failure {
    Failure::new(Kind::Failed, format!("logging into {host:?}")).because(error)
}

async fn stored(
    context: &Context,
    args: &LoginArgs,
    host: &str,
    repository: Option<&RepositoryName>,
) -> Result<Option<Credentials>, Failure> {
    let nobody =
        RegistryArgs { cert_dir: args.cert_dir.clone(), tls_verify: args.tls_verify, ..RegistryArgs::default() };
    let registries = context.registries_with(&nobody, &UsedRegistries::default(), args.compat_auth_file.clone())?;
    registries.credentials(host, repository).await.map_err(|error| Failure::of(Kind::Failed, error))
}

async fn get_login(
    context: &Context,
    args: &LoginArgs,
    host: &str,
    repository: Option<&RepositoryName>,
) -> Result<ExitCode, Failure> {
    match stored(context, args, host, repository).await? {
        Some(Credentials::Password { username, .. }) => {
            let line = format!("{}\n", terminal::printable(&username));
            context.result(&Login::Stored { registry: host, username: &username }, &line)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Failure::new(Kind::Failed, format!("not logged into {host}"))),
    }
}

pub(crate) async fn logout(context: &Context, args: LogoutArgs) -> Result<ExitCode, Failure> {
    if let Some(file) = named(context, args.compat_auth_file.clone()).filter(|file| !file.path().exists()) {
        return Err(Failure::new(Kind::Failed, format!("{} does not exist", file.path().display())));
    }
    let file = target(context, args.compat_auth_file);
    let failed = |error| Failure::of(Kind::Failed, error);
    let Some(registry) = args.registry else {
        input::blocking(move || file.remove_all().map_err(failed)).await?;
        context.result(&Logout { registry: None }, "Removed login credentials for all registries\n")?;
        return Ok(ExitCode::SUCCESS);
    };
    let registry = bare(&registry).to_owned();
    let key = registry.clone();
    if input::blocking(move || file.remove(&key).map_err(failed)).await? {
        let line = format!("Removed login credentials for {registry}\n");
        context.result(&Logout { registry: Some(&registry) }, &line)?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(Kind::Failed, format!("not logged into {registry}")))
}

/// The registry without what people paste in front of and behind it. Of a URL only the host is meant: what follows is
/// the path of an API or of a web page, and no name of repositories.
fn bare(registry: &str) -> &str {
    match registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://")) {
        Some(url) => url.split(['/', '?', '#']).next().unwrap_or_default(),
        None => registry.trim_end_matches('/'),
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The file that flags name, or the environment, in the order of the containers tools.
fn named(context: &Context, compat: Option<PathBuf>) -> Option<CredentialFile> {
    let flag = context.authfile().map(CredentialFile::containers).or_else(|| compat.map(CredentialFile::docker));
    flag.or_else(|| variable("REGISTRY_AUTH_FILE").map(CredentialFile::containers))
}

/// The file to change: the one that is named, or where the tools look for one.
fn target(context: &Context, compat: Option<PathBuf>) -> CredentialFile {
    if let Some(file) = named(context, compat) {
        return file;
    }
    if let Some(folder) = variable("DOCKER_CONFIG") {
        return CredentialFile::docker(folder.join("config.json"));
    }
    CredentialFile::containers(variable("XDG_RUNTIME_DIR").map_or_else(
        || PathBuf::from(format!("/run/containers/{}/auth.json", nix::unistd::Uid::effective())),
        |folder| folder.join("containers/auth.json"),
    ))
}

/// User and password from flags, standard input, or whoever sits at the terminal.
fn ask(username: Option<String>, password: Option<String>, from_stdin: bool) -> Result<(String, Secret), Failure> {
    let read = |error| Failure::new(Kind::Failed, "cannot read from standard input").because(error);
    let stdin = std::io::stdin();
    let line = |prompt: &str| -> Result<String, Failure> {
        if !stdin.is_terminal() {
            let failure = Failure::new(
                Kind::Usage,
                "the user name or password is missing, and there is no terminal for a prompt",
            );
            return Err(failure.hint("give --username and --password-stdin"));
        }
        let line = terminal::ask(prompt).map_err(read)?.unwrap_or_default();
        Ok(line.trim_end_matches(['\n', '\r']).to_owned())
    };
    let username = username.map_or_else(|| line("Username: "), Ok)?;
    let password = if from_stdin {
        let mut text = String::new();
        stdin.lock().take(PASSWORD_LIMIT).read_to_string(&mut text).map_err(read)?;
        text.trim_end_matches(['\n', '\r']).to_owned()
    } else {
        match password {
            Some(password) => password,
            None if stdin.is_terminal() => rpassword::prompt_password("Password: ").map_err(read)?,
            None => line("Password: ")?,
        }
    };
    Ok((username, Secret::new(password)))
}
