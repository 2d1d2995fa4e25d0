//! From a request to its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::json;

use super::access::{AccessLog, Record, Recorded};
use super::answer::{Answer, Refusal, finish, json_response, response};
use super::auth::{Caller, Door, Rights, is_host};
use super::body::{Body, Checks};
use super::connections::Seat;
use super::metrics::Metrics;
use super::mirror::Mirror;
use super::origin::Origin;
use super::pull::Wanted;
use super::receive::Receiving;
use super::referrers::Subjects;
use super::repositories::Repositories;
use super::route::Route;
use super::uploads::Owner;
use super::writing::Writing;
use super::{delete, list, page, pull, push, referrers, upload};

/// What answers requests, shared by all connections.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) repositories: Arc<dyn Repositories>,
    pub(super) subjects: Arc<Subjects>,
    pub(super) checks: Checks,
    /// Where clients may write.
    pub(super) writing: Option<Arc<Writing>>,
    /// Whether they may delete as well.
    pub(super) deletes: bool,
    /// Who is let in; everybody, where there is none.
    pub(super) door: Option<Arc<Door>>,
    pub(super) metrics: Arc<Metrics>,
    /// Where this connection has come to.
    pub(super) local: Option<SocketAddr>,
    /// Whether clients come by TLS.
    pub(super) secure: bool,
    /// How long a client may send nothing of a body.
    pub(super) patience: Duration,
    pub(super) log: Arc<dyn AccessLog>,
}

impl Service {
    /// Answers a request. Every request has an answer; a body that cannot be finished breaks it later.
    pub(super) async fn answer(
        self,
        (peer, seat): (SocketAddr, Arc<Seat>),
        request: Request<Incoming>,
    ) -> Response<Recorded> {
        let log = (Arc::clone(&self.log), Arc::clone(&self.metrics));
        let mut record = Record::begin(log, (peer, seat.ask()), &request);
        let (parts, body) = request.into_parts();
        let (response, failure) = match self.dispatch(parts, body, (peer, &seat), &mut record).await {
            Ok(response) => (response, None),
            Err(refusal) => refusal.into_parts(),
        };
        record.follow(response, failure)
    }

    async fn dispatch(
        mut self,
        parts: Parts,
        body: Incoming,
        (peer, seat): (SocketAddr, &Seat),
        record: &mut Record,
    ) -> Answer {
        let route = Route::parse(parts.uri.path())?;
        let reads = matches!(parts.method, Method::GET | Method::HEAD) && !matches!(route, Route::Upload(..));
        let body = Receiving::new(body, &parts.headers, self.patience, Arc::clone(&self.metrics));
        let origin = Origin::of(peer);
        let mut owner = Owner::Origin(origin);
        if let Some(door) = self.door.take() {
            let wanted = match route {
                Route::Metrics => Rights::Read,
                _ if reads => Rights::Pull,
                _ => Rights::Write,
            };
            let caller = Caller { origin, secure: self.secure };
            let admitted = match route {
                Route::Token if reads => return door.token(&parts, origin).await,
                // Some clients post a form with the password first. Told that there is no such thing they ask again
                // with the password in the head; a token without their name would be all they have for their push.
                Route::Token => Err(Refusal::method(allowed(&route))),
                _ => door.admit(&parts, wanted, (matches!(route, Route::Base), caller)).await,
            };
            match admitted {
                Ok(visitor) => {
                    if let Some(user) = &visitor.user {
                        owner = Owner::User(user.clone());
                    }
                    record.by(visitor.user);
                }
                Err(refusal) => {
                    body.drain_of_stranger().await;
                    return Err(refusal);
                }
            }
        }
        seat.admit();
        if reads { self.read(parts, route).await } else { self.write(parts, route, (owner, body)).await }
    }

    async fn read(mut self, parts: Parts, route: Route) -> Answer {
        let head = parts.method == Method::HEAD;
        let query = parts.uri.query();
        let host = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .find(|(key, value)| key == "ns" && !value.is_empty())
            .map(|(_, value)| value.into_owned());
        // Where images are pushed, one name is one repository, or a client would not push what it sees already.
        if host.is_some() || self.writing.is_none() {
            self.repositories = Arc::new(Mirror::new(self.repositories, host.as_deref()));
        }
        let wanted = Wanted { headers: parts.headers, head };
        match route {
            Route::Base => Ok(json_response(StatusCode::OK, &json!({}))),
            Route::Catalog => list::catalog(self.repositories, query).await,
            Route::Tags(name) => list::tags(self.repositories, name, query).await,
            Route::Manifest(name, version) => {
                pull::manifest(self.repositories, name, version, (wanted, self.checks)).await
            }
            Route::Blob(name, digest) => pull::blob(self.repositories, name, digest, (wanted, self.checks)).await,
            Route::Referrers(name, digest) => {
                referrers::list(self.repositories, self.subjects, (name, digest), query).await
            }
            Route::Page => {
                let host = own_host(&wanted.headers, self.local);
                page::page(self.repositories, host, head).await
            }
            Route::Metrics => Ok(self.metrics()),
            Route::Token => Err(Refusal::no_such_endpoint()),
            Route::Upload(..) => Err(Refusal::method(allowed(&route))),
        }
    }

    fn metrics(&self) -> Response<Body> {
        let text = self.metrics.text(self.writing.as_ref().map_or(0, |writing| writing.uploads.count()));
        let head = response(StatusCode::OK).header(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
        finish(head.header(CONTENT_LENGTH, text.len()), Body::bytes(text.into()))
    }

    async fn write(self, parts: Parts, route: Route, (owner, body): (Owner, Receiving)) -> Answer {
        let (method, query) = (&parts.method, parts.uri.query());
        let allowed = allowed(&route);
        if !allowed.split(", ").any(|known| known == method.as_str()) {
            return Err(Refusal::method(allowed));
        }
        let Some(writing) = self.writing else { return Err(Refusal::read_only()) };
        let deletes = *method == Method::DELETE;
        match (route, method.as_str()) {
            (Route::Upload(name, None), _) => upload::begin(writing, name, query, (owner, body)).await,
            (Route::Upload(name, Some(session)), "PATCH") => {
                upload::append(writing, name, session, &parts.headers, body).await
            }
            (Route::Upload(name, Some(session)), "PUT") => {
                upload::end(writing, name, session, query, (parts.headers, body)).await
            }
            (Route::Upload(name, Some(session)), "DELETE") => upload::cancel(writing, name, session).await,
            (Route::Upload(name, Some(session)), _) => upload::status(writing, name, session).await,
            _ if deletes && !self.deletes => Err(Refusal::no_deletes()),
            (Route::Manifest(name, version), "DELETE") => delete::manifest(writing, name, version).await,
            (Route::Blob(name, digest), "DELETE") => delete::blob(writing, name, digest).await,
            (Route::Manifest(name, version), _) => push::manifest(writing, name, version, &parts.headers, body).await,
            _ => Err(Refusal::no_such_endpoint()),
        }
    }
}

/// What the client calls this server.
fn own_host(headers: &HeaderMap, local: Option<SocketAddr>) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_host(host));
    host.map(str::to_owned).or_else(|| local.map(|local| local.to_string())).unwrap_or_default()
}

/// The methods of an endpoint.
const fn allowed(route: &Route) -> &'static str {
    match route {
        Route::Manifest(..) => "GET, HEAD, PUT, DELETE",
        Route::Blob(..) => "GET, HEAD, DELETE",
        Route::Upload(_, None) => "POST",
        Route::Upload(_, Some(_)) => "GET, PATCH, PUT, DELETE",
        Route::Page
        | Route::Base
        | Route::Metrics
        | Route::Token
        | Route::Catalog
        | Route::Tags(_)
        | Route::Referrers(..) => "GET, HEAD",
    }
}
