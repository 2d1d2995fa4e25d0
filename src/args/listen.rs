//! Addresses to listen on, as people write them.

use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};

/// The addresses that one value stands for: a name such as `localhost` may have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenAddresses(pub(crate) Vec<SocketAddr>);

/// Reads `HOST:PORT`, `IP:PORT`, `[IPV6]:PORT`, `:PORT` for all addresses of this machine, or `PORT` for its loopback.
pub(super) fn listen_addresses(text: &str) -> Result<ListenAddresses, String> {
    if let Ok(port) = text.parse() {
        return Ok(ListenAddresses(vec![SocketAddr::from(([127, 0, 0, 1], port))]));
    }
    let expected = "expected HOST:PORT, [IPV6]:PORT, :PORT or PORT";
    let (host, port) = text.rsplit_once(':').ok_or(expected)?;
    let port: u16 = port.parse().map_err(|_| format!("{port:?} is not a port: {expected}"))?;
    if host.is_empty() {
        // A socket of IPv6 takes connections of both kinds.
        let has_ipv6 = UdpSocket::bind("[::]:0").is_ok();
        return Ok(ListenAddresses(vec![if has_ipv6 {
            SocketAddr::from(([0; 8], port))
        } else {
            SocketAddr::from(([0; 4], port))
        }]));
    }
    let found = text.to_socket_addrs().map_err(|error| format!("{host:?} is not an address: {error}; {expected}"))?;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(ListenAddresses(addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        listen_addresses(text).map(|found| found.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        assert_eq!(read("5000").unwrap(), ["127.0.0.1:5000"]);
        assert_eq!(read("0.0.0.0:0").unwrap(), ["0.0.0.0:0"]);
        assert_eq!(read("[::1]:5000").unwrap(), ["[::1]:5000"]);
        assert!(read("localhost:5000").unwrap().contains(&"127.0.0.1:5000".to_owned()));
        assert!(["[::]:5000", "0.0.0.0:5000"].contains(&&*read(":5000").unwrap()[0]));
        for (text, said) in [
            ("", "expected HOST:PORT"),
            ("host", "expected"),
            ("a:b", "\"b\" is not a port"),
            ("1.2.3.4:70000", "not a port"),
        ] {
            assert!(read(text).unwrap_err().contains(said), "{text}");
        }
    }
}
