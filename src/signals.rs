//! The signals by which users and the system stop a process.

use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for what the user or the system asks a process to end by, from now on.
pub(crate) fn listen() -> Vec<Signal> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect()
}

/// Returns when one of them has come.
pub(crate) async fn received(mut signals: Vec<Signal>) {
    std::future::poll_fn(|context| {
        let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if came { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
