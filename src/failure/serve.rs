//! Errors of the server.

use super::{Advice, Advise};
use hod_serve::ServeError;

impl Advise for ServeError {
    fn advice(&self) -> Advice {
        match self {
            Self::Bind { source, .. } | Self::Htpasswd(source) | Self::Certificate(source) | Self::Socket(source) => {
                source.advice()
            }
            Self::Referrers(error) => error.advice(),
            Self::NoAddress
            | Self::HtpasswdLine { .. }
            | Self::NoCertificate(_)
            | Self::NoKey(_)
            | Self::Tls(_)
            | Self::SelfSigned(_)
            | Self::Random
            | Self::NoStore => Advice::NONE,
        }
    }
}
