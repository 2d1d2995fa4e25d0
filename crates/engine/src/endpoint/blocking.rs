//! Work on files, off the threads that drive the network.

use tokio::task::spawn_blocking;

use super::{EndpointError, Fault, Result};

/// Runs what may block on a disk on a thread made for that. A thread that ends in another way than by a result is an
/// error, too.
pub async fn blocking<T, E>(work: impl FnOnce() -> std::result::Result<T, E> + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    E: Into<EndpointError> + Send + 'static,
{
    match spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(stopped) => Err(EndpointError::new(Fault::Other, stopped)),
    }
}
