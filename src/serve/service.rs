//! From a request to its answer.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::access::{AccessLog, Record, Recorded};
use super::answer::{Answer, Refusal, json_response};
use super::pull::Wanted;
use super::repositories::Repositories;
use super::route::Route;
use super::{list, pull};

/// What answers requests, shared by all connections.
#[derive(Clone)]
pub(super) struct Service {
    repositories: Arc<dyn Repositories>,
    log: Arc<dyn AccessLog>,
}

impl Service {
    /// A service that reads from `repositories`.
    pub(super) fn new(repositories: Arc<dyn Repositories>, log: Arc<dyn AccessLog>) -> Self {
        Self { repositories, log }
    }

    /// Answers a request. Every request has an answer; a body that cannot be finished breaks it later.
    pub(super) async fn answer<B>(self, peer: SocketAddr, request: Request<B>) -> Response<Recorded> {
        let record = Record::begin(Arc::clone(&self.log), peer, &request);
        let (parts, _) = request.into_parts();
        let (response, failure) = match self.dispatch(parts).await {
            Ok(response) => (response, None),
            Err(refusal) => refusal.into_parts(),
        };
        record.follow(response, failure)
    }

    async fn dispatch(self, parts: hyper::http::request::Parts) -> Answer {
        let route = Route::parse(parts.uri.path())?;
        let head = parts.method == Method::HEAD;
        if !head && parts.method != Method::GET {
            return Err(refused_method(&parts.method, &route));
        }
        let query = parts.uri.query();
        let wanted = Wanted { headers: parts.headers, head };
        match route {
            Route::Base => Ok(json_response(StatusCode::OK, &json!({}))),
            Route::Catalog => list::catalog(self.repositories, query).await,
            Route::Tags(name) => list::tags(self.repositories, name, query).await,
            Route::Manifest(name, version) => pull::manifest(self.repositories, name, version, wanted).await,
            Route::Blob(name, digest) => pull::blob(self.repositories, name, digest, wanted).await,
            Route::Upload(..) => Err(Refusal::read_only()),
            // A 404 sends clients to the referrers' tag, which a store keeps.
            Route::Referrers(..) => Err(Refusal::no_such_endpoint()),
        }
    }
}

/// Why a method other than GET and HEAD is not for this endpoint.
fn refused_method(method: &Method, route: &Route) -> Refusal {
    let writes = matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    match route {
        Route::Manifest(..) | Route::Blob(..) | Route::Upload(..) if writes => Refusal::read_only(),
        _ => Refusal::method("GET, HEAD"),
    }
}
