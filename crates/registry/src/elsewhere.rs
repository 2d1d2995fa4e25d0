//! Foreign layers, which a registry need not have because their descriptors name addresses.
//!
//! The addresses are what a stranger wrote into a manifest. They are asked without credentials and without the client
//! certificate, by the rules for redirects, and what comes is worth no more than its digest.

use reqwest::{Method, StatusCode};
use url::Url;

use super::error::RegistryError;
use super::repository::Repository;
use super::request::Request;
use super::response::Response;
use super::subject::Subject;
use hod_engine::endpoint::Fault;
use hod_oci::Descriptor;

impl Repository {
    /// Begins to read a layer at the addresses that it has, one after the other, after the registry has failed.
    pub(super) async fn elsewhere(
        &self,
        content: &Descriptor,
        failed: RegistryError,
    ) -> Result<Response, RegistryError> {
        let is_elsewhere = content.media_type.is_foreign_layer() && failed.fault() == Fault::Missing;
        let mut last = failed;
        for address in content.urls.iter().filter(|_| is_elsewhere) {
            let Ok(url) = Url::parse(address) else { continue };
            match self.at(content, url).await {
                Ok(response) => return Ok(response),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn at(&self, content: &Descriptor, url: Url) -> Result<Response, RegistryError> {
        let connection = self.host.connection().await?;
        let subject = Subject::Blob(self.place.clone(), content.digest);
        let mut request = Request::new(Method::GET, connection.base.clone(), subject);
        if let Some(reason) = connection.objection(&request.url, &url) {
            return Err(request.redirect_error(&url, reason));
        }
        request.url = url.clone();
        self.host.follow(connection, &mut request, None, &url).await?.accept(&[StatusCode::OK]).await
    }
}
