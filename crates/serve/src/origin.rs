//! Where a client comes from, as far as shares of the server's means go.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An IPv4 address, or the /64 network of an IPv6 address, all of which one machine can have.
///
/// What a proxy says of its clients is not heeded: everybody can say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin(IpAddr);

impl Origin {
    /// Where the peer of a connection belongs.
    pub(super) fn of(peer: SocketAddr) -> Self {
        Self(match peer.ip().to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address @ IpAddr::V4(_) => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_one_machine_is_one_origin() {
        let origin = |text: &str| Origin::of(SocketAddr::new(text.parse().unwrap(), 1));
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:0:0:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
        assert_ne!(origin("10.0.0.1"), origin("10.0.0.2"));
    }
}
