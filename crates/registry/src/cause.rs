//! Describes the causes of HTTP and TLS errors in plain words.

use std::error::Error;
use std::{fmt, io};

/// The innermost of a chain of errors, in its own words.
///
/// What wraps it ("error sending request", "client error") tells nobody anything, and may show a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let text = innermost.to_string();
        Self(match &*text {
            "end of file before message length reached" => "it was closed before the end of the response".to_owned(),
            "connection closed before message completed" => "it was closed before a response arrived".to_owned(),
            _ => text,
        })
    }

    /// Returns true if these words are part of it.
    pub(super) fn says(&self, words: &str) -> bool {
        self.0.contains(words)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Cause {}

/// What is wrong with an encrypted connection. Certificates that were made to be tried out mostly sign themselves, as
/// only those of authorities should, and for that the library has a name and no words.
pub(super) fn said_of(error: &rustls::Error) -> Cause {
    let text = error.to_string();
    if text.contains("CaUsedAsEndEntity") {
        return Cause("it is a self-signed certificate of a certificate authority".to_owned());
    }
    if is_plain(error) {
        return Cause("it answered in plain HTTP, without encryption".to_owned());
    }
    Cause(text)
}

/// Returns true if an answer was not in TLS: what a server of TLS says begins as TLS does, a refusal, too.
pub(super) const fn is_plain(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))
}

/// The TLS error in a chain. An `io::Error` that wraps one does not show it as its source.
pub(super) fn rustls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_tls_errors_below_io_errors() {
        let tls = rustls::Error::NoCertificatesPresented;
        let wrapped = io::Error::other(io::Error::other(tls.clone()));
        assert_eq!(rustls_error(&wrapped), Some(&tls));
        assert_eq!(rustls_error(&io::Error::other("x")), None);
    }
}
