//! The routes of a registry, and who may use them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use serde_json::json;
use tower_http::set_header::SetResponseHeaderLayer;

use super::access::{Recorder, User, record};
use super::answer::{Answer, Refusal, json, parameter};
use super::auth::{Authenticator, Rights, is_forwarded_https, is_host};
use super::body::Checks;
use super::connections::Connection;
use super::endpoint::Endpoint;
use super::mirror::Mirror;
use super::pull::Pull;
use super::push_store::PushStore;
use super::referrers::ReferrerCache;
use super::repositories::Repositories;
use super::request_body::{DRAIN_LIMIT_OF_STRANGERS, RequestBody};
use super::site::{Scheme, Site};
use super::upload::Session;
use super::uploads::Owner;
use super::{delete, list, page, pull, push, referrers, site, upload};

/// What answers requests, shared by all connections.
pub(super) struct Service {
    pub(super) repositories: Arc<dyn Repositories>,
    pub(super) referrers: Arc<ReferrerCache>,
    pub(super) checks: Checks,
    /// Where clients may write.
    pub(super) store: Option<Arc<PushStore>>,
    /// Whether they may delete as well.
    pub(super) deletes: bool,
    /// Who is let in; everybody, where there is none.
    pub(super) auth: Option<Authenticator>,
    /// How long a client may send nothing of a body.
    pub(super) stall: Duration,
    /// The protection of connections by the server itself.
    pub(super) scheme: Scheme,
    /// True if a pull needs a user.
    pub(super) has_login: bool,
}

impl Service {
    /// Where a client finds images: those of the registry `ns`, if the query names one, come under several names.
    fn repositories(&self, query: Option<&str>) -> Arc<dyn Repositories> {
        let host = parameter(query, "ns").filter(|host| !host.is_empty());
        // Where images are pushed, one name is one repository, or a client would not push what it sees already.
        if host.is_none() && self.store.is_some() {
            return Arc::clone(&self.repositories);
        }
        Arc::new(Mirror::new(Arc::clone(&self.repositories), host.as_deref()))
    }

    fn request_body(&self, parts: &Parts, body: Body) -> RequestBody {
        RequestBody::new(body, &parts.headers, self.stall, Arc::clone(&self.checks.metrics))
    }
}

/// All routes of a registry. Each connection adds itself to its requests.
pub(super) fn router(service: Service, recorder: Recorder) -> Router {
    let service = Arc::new(service);
    // Docker's client takes a server without it for no registry at all.
    let version = HeaderName::from_static("docker-distribution-api-version");
    let base = get(async || json(&json!({})));
    Router::new()
        .route("/", get(page))
        .route("/ca.crt", get(authority))
        .route("/metrics", get(metrics))
        .route("/token", get(token))
        .route("/v2", base.clone())
        .route("/v2/", base)
        .route("/v2/{*endpoint}", any(endpoint))
        .method_not_allowed_fallback(async || Refusal::method("GET, HEAD"))
        .route_layer(from_fn_with_state(Arc::clone(&service), admit))
        .fallback(async || Refusal::no_such_endpoint())
        .layer(SetResponseHeaderLayer::overriding(version, HeaderValue::from_static("registry/2.0")))
        .layer(SetResponseHeaderLayer::overriding(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(from_fn_with_state(recorder, record))
        .with_state(service)
}

/// Finds out which endpoint is meant and whose the request is, and lets in whoever may do that.
async fn admit(
    State(service): State<Arc<Service>>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
    next: Next,
) -> Answer {
    let (mut parts, body) = request.into_parts();
    let endpoint = parts.uri.path().strip_prefix("/v2/").filter(|rest| !rest.is_empty());
    let endpoint = endpoint.map(Endpoint::parse).transpose()?;
    let reads = matches!(parts.method, Method::GET | Method::HEAD)
        && !matches!(endpoint, Some(Endpoint::Upload(..) | Endpoint::Uploads(_)));
    let mut user = None;
    if let Some(auth) = &service.auth {
        let admitted = match parts.uri.path() {
            "/token" if reads => return Ok(next.run(Request::from_parts(parts, body)).await),
            // Some clients post a form with the password first. Told that there is no such thing they ask again
            // with the password in the head; a token without their name would be all they have for their push.
            "/token" => Err(Refusal::method("GET, HEAD")),
            "/metrics" => auth.admit(&parts, Rights::Read, connection.origin).await,
            _ if reads => auth.admit(&parts, Rights::Pull, connection.origin).await,
            _ => auth.admit(&parts, Rights::Write, connection.origin).await,
        };
        match admitted {
            Ok(name) => user = name,
            Err(refusal) => {
                service.request_body(&parts, body).drain(DRAIN_LIMIT_OF_STRANGERS).await;
                return Err(refusal);
            }
        }
    }
    connection.admit();
    parts.extensions.insert(user.clone().map_or(Owner::Origin(connection.origin), Owner::User));
    if let Some(endpoint) = endpoint {
        parts.extensions.insert(endpoint);
    }
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(user) = user {
        response.extensions_mut().insert(User(user));
    }
    Ok(response)
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let text = service.checks.metrics.text(service.store.as_ref().map_or(0, |store| store.uploads.count()));
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn token(
    State(service): State<Arc<Service>>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
) -> Answer {
    let auth = service.auth.as_ref().ok_or_else(Refusal::no_such_endpoint)?;
    auth.token(&headers, connection.origin).await
}

async fn page(
    State(service): State<Arc<Service>>,
    Extension(connection): Extension<Arc<Connection>>,
    parts: Parts,
) -> Answer {
    // What the client calls this server.
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_host(host));
    let host = host.map(str::to_owned).or_else(|| Some(connection.local?.to_string()));
    let scheme = match &service.scheme {
        Scheme::Http if is_forwarded_https(&parts.headers) => Scheme::Https,
        scheme => scheme.clone(),
    };
    let user = match parts.extensions.get::<Owner>() {
        Some(Owner::User(user)) if service.has_login => Some(user.clone()),
        _ => None,
    };
    let access = match (&service.store, service.deletes) {
        (None, _) => site::Access::ReadOnly,
        (Some(_), false) => site::Access::Writable,
        (Some(_), true) => site::Access::Deletable,
    };
    let query = parts.uri.query().map(str::to_owned);
    page::page(page::Context {
        repositories: service.repositories(query.as_deref()),
        referrers: Arc::clone(&service.referrers),
        site: Site { host: host.unwrap_or_default(), scheme, user, access },
        query,
    })
    .await
}

/// The certificate of the server's own authority.
async fn authority(State(service): State<Arc<Service>>) -> Answer {
    let Scheme::OwnAuthority(authority) = &service.scheme else { return Err(Refusal::no_such_endpoint()) };
    let headers = [(CONTENT_TYPE, "application/x-pem-file"), (CONTENT_DISPOSITION, "attachment; filename=\"ca.crt\"")];
    Ok((headers, authority.to_string()).into_response())
}

/// Answers what lies below `/v2/`.
async fn endpoint(
    State(service): State<Arc<Service>>,
    Extension(endpoint): Extension<Endpoint>,
    Extension(owner): Extension<Owner>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let (method, query, headers) = (parts.method.as_str(), parts.uri.query(), &parts.headers);
    let methods = endpoint.methods();
    if !methods.split(", ").any(|known| known == method) {
        return Err(Refusal::method(methods));
    }
    let repositories = || service.repositories(query);
    let pull = |name| {
        let (method, headers) = (parts.method.clone(), headers.clone());
        Pull { repositories: repositories(), checks: service.checks.clone(), name, method, headers }
    };
    let store = || service.store.clone().ok_or_else(Refusal::read_only);
    let body = service.request_body(&parts, body);
    match (endpoint, method) {
        (Endpoint::Catalog, _) => list::catalog(repositories(), query).await,
        (Endpoint::Tags(name), _) => list::tags(repositories(), name, query).await,
        (Endpoint::Referrers(name, digest), _) => {
            let cache = Arc::clone(&service.referrers);
            referrers::list(repositories(), cache, name, digest, parameter(query, "artifactType")).await
        }
        (Endpoint::Manifest(name, version), "GET" | "HEAD") => pull::manifest(pull(name), version).await,
        (Endpoint::Blob(name, digest), "GET" | "HEAD") => pull::blob(pull(name), digest).await,
        (Endpoint::Manifest(name, version), "PUT") => push::manifest(store()?, name, version, headers, body).await,
        (Endpoint::Uploads(name), _) => upload::begin(store()?, name, query, owner, body).await,
        (Endpoint::Upload(name, id), method) => {
            let session = Session { store: store()?, name, id };
            match method {
                "PATCH" => session.append(headers, body).await,
                "PUT" => session.end(query, headers, body).await,
                "DELETE" => session.cancel().await,
                _ => session.status().await,
            }
        }
        _ if service.store.is_some() && !service.deletes => Err(Refusal::no_deletes()),
        (Endpoint::Manifest(name, version), _) => delete::manifest(store()?, name, version).await,
        (Endpoint::Blob(name, digest), _) => delete::blob(store()?, name, digest).await,
    }
}
