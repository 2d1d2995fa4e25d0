//! Errors of the client of registries.

use super::{Advice, Advise, endpoint};
use hod_engine::endpoint::Fault;
use hod_registry::{CredentialsError, LookasideError, RegistriesConfError, RegistryError, RoutingError, TrustError};

impl Advise for RegistryError {
    fn advice(&self) -> Advice {
        match self {
            Self::Certificate { host, .. } => Advice::hint(format!(
                "to trust its authority, put the authority's certificate at /etc/containers/certs.d/{host}/ca.crt, or \
                 as a .crt file into the directory of --cert-dir; --tls-verify=false turns the check off"
            )),
            Self::Tls { .. } => Advice::hint(
                "if the registry uses plain HTTP, set --tls-verify=false, or insecure = true in registries.conf",
            ),
            Self::UnknownHost { .. } => Advice::hint(
                "check the spelling of the host and the DNS of this machine; if a proxy resolves names, set HTTPS_PROXY; for \
                 a mirror, use --from or registries.conf",
            ),
            Self::Content(error) => error.advice(),
            Self::Mirrors { source, .. } => source.advice(),
            Self::Credentials(error) => error.advice(),
            Self::Routing(error) => error.advice(),
            Self::Lookaside(error) => error.advice(),
            Self::Trust(error) => error.advice(),
            Self::Refused(_)
            | Self::Network { .. }
            | Self::Stalled { .. }
            | Self::Expired { .. }
            | Self::Digest { .. } => {
                let fault = self.fault();
                Advice::general(endpoint::hint(fault)).corrupt_if(fault == Fault::Corrupt)
            }
            Self::Host(_)
            | Self::NoRoots { .. }
            | Self::Redirect { .. }
            | Self::Realm { .. }
            | Self::Token { .. }
            | Self::Manifest { .. }
            | Self::Client { .. }
            | Self::Endless { .. }
            | Self::Protocol { .. } => Advice::NONE,
        }
    }
}

impl Advise for RoutingError {
    fn advice(&self) -> Advice {
        match self {
            Self::Conf(error) => error.advice(),
            Self::Blocked { .. } | Self::Name { .. } | Self::NoWay => Advice::NONE,
        }
    }
}

impl Advise for RegistriesConfError {
    fn advice(&self) -> Advice {
        match self {
            Self::Read(error) => error.advice(),
            Self::Syntax { .. } | Self::Version1(_) | Self::Registry { .. } => Advice::NONE,
        }
    }
}

impl Advise for LookasideError {
    fn advice(&self) -> Advice {
        match self {
            Self::Read(error) | Self::Write(error) => error.advice(),
            Self::Syntax { .. } | Self::Twice { .. } | Self::Url { .. } => Advice::NONE,
        }
    }
}

impl Advise for CredentialsError {
    fn advice(&self) -> Advice {
        match self {
            Self::Read(error) | Self::Write(error) | Self::HelperStart { source: error, .. } => error.advice(),
            Self::HelperConfigured { .. }
            | Self::Syntax { .. }
            | Self::Entry { .. }
            | Self::HelperName { .. }
            | Self::HelperAbsent { .. }
            | Self::Helper { .. } => Advice::NONE,
        }
    }
}

impl Advise for TrustError {
    fn advice(&self) -> Advice {
        match self {
            Self::Read(error) => error.advice(),
            Self::Environment(_)
            | Self::Certificate(_)
            | Self::Key(_)
            | Self::Partner { .. }
            | Self::Client { .. }
            | Self::Setup(_) => Advice::NONE,
        }
    }
}
