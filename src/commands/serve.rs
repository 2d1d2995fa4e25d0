//! `hod serve`: a registry over a store, or straight over bundles.

mod log;
mod system;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::input::{self, Target};
use super::{bundle_failure, media, trust};
use crate::args::{AccessLogArg, ServeArgs, TlsArgs};
use crate::context::Context;
use crate::delta;
use crate::documents::Serving;
use crate::failure::{Failure, Kind};
use crate::{report, signals};
use hod_bundle::{BundleFiles, OpenBundle, Trust};
use hod_serve::{AccessLog, Admission, Bundles, Options, Repositories, Server, Tls, TraceLog};
use hod_steps::{verify, verify_bundle, verify_volumes};
use hod_store::Store;

pub(crate) async fn run(context: &Context, args: ServeArgs) -> Result<ExitCode, Failure> {
    let (repositories, store) = source(context, &args).await?;
    let mut options = Options {
        sockets: system::sockets()?,
        connections: args.max_connections,
        connections_per_address: args.max_connections_per_address,
        writable: args.writing.writable,
        deletes: args.writing.allow_delete,
        sparse: args.writing.allow_sparse,
        uploads: args.max_uploads,
        admission: Admission {
            writers: args.admission.htpasswd.clone(),
            readers: args.admission.htpasswd_read.clone(),
            anonymous_read: args.admission.anonymous_read,
        },
        tls: tls(&args.tls, store.as_ref())?,
        log: access_log(args.access_log),
        ..Options::default()
    };
    options.listen = if options.sockets.is_empty() { args.addresses() } else { Vec::new() };
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let server = Server::bind(repositories, options).await.map_err(|error| Failure::of(Kind::Failed, error))?;
    // From now on, so whoever reads the address may end it.
    let signals = signals::listen();
    let addresses: Vec<String> = server.addresses().iter().map(|address| format!("{scheme}://{address}")).collect();
    let mut lines: String = addresses.iter().flat_map(|address| ["listening on ", address, "\n"]).collect();
    if let Some(authority) = server.authority() {
        let address = server.addresses().first().map(ToString::to_string).unwrap_or_default();
        lines += &trust_text(authority, &address);
    }
    let document = Serving { addresses: &addresses, authority: server.authority(), writable: args.writing.writable };
    context.announce(&document, &lines)?;
    let mode = if args.writing.writable { "for pulls and pushes" } else { "read-only" };
    context.say(&format!("serving, {mode}; Ctrl-C ends it"));
    system::notify("READY=1");
    let stopped = server
        .run(async {
            signals::received(signals).await;
            system::notify("STOPPING=1");
        })
        .await;
    if stopped.cut > 0 {
        context.say(&format!("{} cut off", report::count(stopped.cut, "transfer")));
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens what is to be served; and the store, if it is one.
async fn source(context: &Context, args: &ServeArgs) -> Result<(Arc<dyn Repositories>, Option<Store>), Failure> {
    if let [path] = *args.sources() {
        let store = if args.writing.writable {
            Some(Store::create(path).map_err(|error| Failure::of(Kind::Failed, error))?)
        } else {
            match input::target_in(path, &args.media.from_dir)? {
                Target::Store(store) => Some(store),
                _ => None,
            }
        };
        if let Some(store) = store {
            if args.verify {
                verify_store(context, &store).await?;
            }
            return Ok((Arc::new(store.clone()), Some(store)));
        }
    }
    if args.writing.writable {
        return Err(Failure::new(Kind::Usage, "--writable requires one store: bundles accept no pushes"));
    }
    let mut bundles = Vec::new();
    for path in args.sources() {
        bundles.push((path.to_owned(), bundle(context, args, path).await?));
    }
    let bundles = Bundles::new(bundles);
    let missing = bundles.missing();
    if !missing.is_empty() {
        context.say(&format!(
            "note: {} of these bundles is missing and cannot be pulled: serve the base bundle, too",
            report::count(missing.len(), "blob")
        ));
        for incomplete in bundles.incomplete() {
            let base = delta::base_text(incomplete.header.base());
            context.say(&format!("note: {} is a delta: {base}", incomplete.path.display()));
        }
    }
    Ok((Arc::new(bundles), None))
}

async fn bundle(context: &Context, args: &ServeArgs, path: &Path) -> Result<OpenBundle, Failure> {
    let folders = &args.media.from_dir;
    let Target::Bundle(path) = input::target_in(path, folders)? else {
        return Err(Failure::new(Kind::Usage, format!("{} is not a bundle", path.display()))
            .hint("serve one store, or any number of bundles that are files"));
    };
    let trusted = trust::trust(context, &args.trust, &media::whole(&path, folders))?;
    if args.verify {
        verify_media(context, media::files(&path, folders)?, path.clone(), trusted.clone()).await?;
    }
    let (bundle, signed) = media::open(&path, folders, &trusted)?;
    trust::say(context, signed.as_ref());
    Ok(bundle)
}

async fn verify_store(context: &Context, store: &Store) -> Result<(), Failure> {
    let (observer, stop, store) = (context.observer(), context.stop.clone(), store.clone());
    let work = move || {
        let found = verify::verify_store(&store, &*observer, &stop);
        found.map(|found| found.findings.len()).map_err(|error| Failure::of(Kind::Failed, error))
    };
    no_findings(input::blocking(work).await?)
}

async fn verify_media(context: &Context, files: BundleFiles, path: PathBuf, trusted: Trust) -> Result<(), Failure> {
    let (observer, stop) = (context.observer(), context.stop.clone());
    let work = move || {
        let found = match files {
            BundleFiles::One(file) => {
                let file = fs_err::File::open(&file).map_err(|error| Failure::of(Kind::Failed, error))?;
                verify_bundle::verify_bundle(file, &trusted, &*observer, &stop)
            }
            BundleFiles::Volumes(set) => verify_volumes::verify_volumes(&set, None, &trusted, &*observer, &stop),
        };
        found.map(|found| found.findings.len()).map_err(|error| bundle_failure::of(&path, error))
    };
    no_findings(input::blocking(work).await?)
}

fn no_findings(findings: usize) -> Result<(), Failure> {
    if findings == 0 {
        return Ok(());
    }
    let message = format!("the source to serve is damaged: {}", report::count(findings, "finding"));
    Err(Failure::new(Kind::Corrupt, message).hint("list the damage with hod verify"))
}

/// How to speak TLS. Only a store that hod may write to can keep an authority.
fn tls(args: &TlsArgs, store: Option<&Store>) -> Result<Option<Tls>, Failure> {
    Ok(match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::Files { certificate: certificate.clone(), key: key.clone() }),
        _ if args.tls_self_signed => {
            let mut names = args.tls_name.clone();
            names.extend(system::host_name());
            let keep = store.filter(|store| store.is_writable()).map(|store| store.private("tls")).transpose();
            Some(Tls::SelfSigned { names, keep: keep.map_err(|error| Failure::of(Kind::Failed, error))? })
        }
        _ => None,
    })
}

fn access_log(form: AccessLogArg) -> Arc<dyn AccessLog> {
    match form {
        AccessLogArg::Off => Arc::new(TraceLog),
        AccessLogArg::Text => Arc::new(log::Lines { json: false }),
        AccessLogArg::Json => Arc::new(log::Lines { json: true }),
    }
}

/// The authority, and what to do with it on machines that are to trust it.
fn trust_text(authority: &str, address: &str) -> String {
    format!(
        "clients have to trust this authority, saved as ca.crt:\n{authority}\
         Docker and podman:  mkdir -p /etc/docker/certs.d/{address} && cp ca.crt /etc/docker/certs.d/{address}/\n\
         containerd:         mkdir -p /etc/containerd/certs.d/{address} && cp ca.crt /etc/containerd/certs.d/{address}/ &&\n                    \
         printf '[host.\"https://{address}\"]\\n  ca = \"ca.crt\"\\n' > /etc/containerd/certs.d/{address}/hosts.toml\n"
    )
}
