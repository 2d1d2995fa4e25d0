//! The interface to systemd: inherited sockets and readiness.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use crate::failure::{Failure, Kind};

/// The sockets that were handed over (`LISTEN_FDS`, `sd_listen_fds(3)`).
pub(super) fn sockets() -> Result<Vec<Arc<std::net::TcpListener>>, Failure> {
    let mut handed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for position in 0..handed.len() {
        let socket = handed.take_tcp_listener(position);
        let message = "a socket of the service manager does not accept TCP connections";
        let socket = socket.map_err(|error| Failure::new(Kind::Failed, message).because(error))?;
        sockets.extend(socket.map(Arc::new));
    }
    Ok(sockets)
}

/// Tells the service manager how things are (`sd_notify(3)`), if there is one that wants to know.
pub(super) fn notify(state: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&place.to_string_lossy(), state) {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot notify the service manager");
    }
}

fn send(place: &str, state: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;
    let socket = UnixDatagram::unbound()?;
    let address = match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    socket.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

/// The name of this machine, as Linux tells it.
pub(super) fn host_name() -> Option<String> {
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty() && name != "(none)").then_some(name)
}
