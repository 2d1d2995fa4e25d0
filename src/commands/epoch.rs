//! The times that a bundle and the texts beside it have.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::{Failure, Kind};

/// Returns true if the user has set `SOURCE_DATE_EPOCH`, so that the result must not depend on the time of anything.
pub(super) fn is_reproducible() -> bool {
    std::env::var_os("SOURCE_DATE_EPOCH").is_some_and(|text| !text.is_empty())
}

/// The time of all members: `SOURCE_DATE_EPOCH` or 0 (reproducible-builds.org).
pub(super) fn source_date_epoch() -> Result<u64, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| {
            Failure::new(Kind::Usage, format!("SOURCE_DATE_EPOCH is {text:?}, which is not a number of seconds"))
        }),
        _ => Ok(0),
    }
}

/// The time that texts beside a bundle name: `SOURCE_DATE_EPOCH`, or the present.
pub(super) fn now() -> Result<u64, Failure> {
    if is_reproducible() {
        return source_date_epoch();
    }
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
