//! A verified body on its way into the store.

use tokio::time;

use super::{Ingest, begin, blocking};
use crate::ingest::POLL;
use crate::{Store, StoreError};
use hod_engine::endpoint::{Mismatch, Placement, Received, Result, Verified};
use hod_oci::Descriptor;

/// Writes a body to the store, to be committed there later.
///
/// Bytes that turn out to be wrong are thrown away; whatever else goes wrong, they are kept.
pub(super) async fn receive(
    store: &Store,
    content: &Descriptor,
    parked: Option<Ingest>,
    body: Verified,
) -> Result<Placement> {
    let Some(ingest) = open(store, content, parked, body.start()).await? else {
        return Ok(Placement::AlreadyThere);
    };
    let Received { mut file, rest, end } = Received::from(body, ingest, Ingest::write_chunks).await?;
    let Err(error) = end else {
        let commit = move || file.write_chunks(&rest).and_then(|()| file.commit());
        return blocking(commit).await.map(|()| Placement::Written);
    };
    // The body's error is the one to report, whatever happens here.
    let is_wrong = Mismatch::is_of_bytes(&error);
    let _ = blocking(move || if is_wrong { file.discard() } else { file.write_chunks(&rest) }).await;
    Err(error)
}

/// Takes the partial file as it was when its prefix was hashed, or an empty one where the body starts
/// at 0; `None` where the store has the content by now.
async fn open(store: &Store, content: &Descriptor, parked: Option<Ingest>, start: u64) -> Result<Option<Ingest>> {
    let (digest, size) = (content.digest, content.size);
    if start == 0 {
        drop(parked);
        let Some(mut ingest) = begin(store, digest, size).await? else { return Ok(None) };
        return blocking(move || ingest.restart().map(|()| Some(ingest))).await;
    }
    let mut parked = parked.ok_or(StoreError::Overtaken(digest))?;
    loop {
        let store = store.clone();
        let resumed;
        (parked, resumed) = blocking(move || {
            let resumed = if store.has(&digest, size)? { None } else { Some(parked.resume()?) };
            Ok((parked, resumed))
        })
        .await?;
        match resumed {
            None => return Ok(None),
            Some(true) => break,
            Some(false) => time::sleep(POLL).await,
        }
    }
    if parked.written() == start { Ok(Some(parked)) } else { Err(StoreError::Overtaken(digest).into()) }
}
