//! Counters, in the text format of Prometheus (exposition format 0.0.4).
//!
//! Their labels have few values, all known beforehand: no name of an image and nothing that a client
//! sends is among them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what a server does.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Answers, by method and by the first digit of the status.
    answers: [[AtomicU64; STATUSES.len()]; METHODS.len()],
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) hashed: AtomicU64,
    pub(super) broken: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) connected: AtomicU64,
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"];
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    /// Counts an answer.
    pub(super) fn answered(&self, method: &str, status: u16, sent: u64) {
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        let status = usize::from(status / 100).saturating_sub(1).min(STATUSES.len() - 1);
        if let Some(counter) = self.answers.get(method).and_then(|statuses| statuses.get(status)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.sent.fetch_add(sent, Ordering::Relaxed);
    }

    /// All counters as text. `uploads` is how many are under way.
    pub(super) fn text(&self, uploads: usize) -> String {
        let mut text = String::new();
        head(&mut text, "hod_http_requests_total", "counter", "Requests that were answered.");
        for (method, statuses) in METHODS.iter().zip(&self.answers) {
            for (status, count) in STATUSES.iter().zip(statuses) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let _ =
                        writeln!(text, "hod_http_requests_total{{method=\"{method}\",status=\"{status}\"}} {count}");
                }
            }
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, kind, help, value) in [
            ("hod_http_sent_bytes_total", "counter", "Bytes of bodies sent.", load(&self.sent)),
            ("hod_http_received_bytes_total", "counter", "Bytes of bodies received.", load(&self.received)),
            ("hod_http_hashed_bytes_total", "counter", "Bytes of blobs hashed while sent.", load(&self.hashed)),
            ("hod_http_broken_total", "counter", "Answers that did not reach their end.", load(&self.broken)),
            ("hod_connections_total", "counter", "Connections accepted.", load(&self.connections)),
            ("hod_connections", "gauge", "Connections open now.", load(&self.connected)),
            ("hod_uploads", "gauge", "Uploads under way.", uploads as u64),
        ] {
            head(&mut text, name, kind, help);
            let _ = writeln!(text, "{name} {value}");
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_method_and_status() {
        let metrics = Metrics::default();
        metrics.answered("GET", 200, 10);
        metrics.answered("GET", 206, 5);
        metrics.answered("BREW", 405, 1);
        let text = metrics.text(3);
        for line in [
            "hod_http_requests_total{method=\"GET\",status=\"2xx\"} 2",
            "hod_http_requests_total{method=\"other\",status=\"4xx\"} 1",
            "hod_http_sent_bytes_total 16",
            "hod_uploads 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
