//! The access log on standard error, as text or JSON lines.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::documents::LoggedRequest;
use crate::failure::causes;
use crate::{report, terminal};
use hod_serve::{Access, AccessLog};

/// Prints a line for every answer.
#[derive(Debug)]
pub(super) struct Lines {
    /// True if for machines.
    pub(super) json: bool,
}

impl AccessLog for Lines {
    fn on(&self, access: &Access) {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        terminal::say(&*line(self.json, &report::timestamp(seconds), access));
    }
}

fn line(json: bool, time: &str, access: &Access) -> String {
    let milliseconds = u64::try_from(access.elapsed.as_millis()).unwrap_or(u64::MAX);
    let failure = access.failure.as_deref().map(|failure| causes("", Some(failure)).join(": "));
    if json {
        let document = LoggedRequest {
            agent: access.agent.as_deref(),
            complete: access.complete,
            failure,
            method: &access.method,
            milliseconds,
            peer: access.peer.to_string(),
            sent: access.sent,
            status: access.status,
            target: &access.target,
            time,
            user: access.user.as_deref(),
        };
        // Text and numbers can always be written.
        return serde_json::to_string(&document).unwrap_or_default();
    }
    let mut line = format!(
        "{time} {} {} {} {} {} {} bytes {milliseconds} ms",
        access.peer,
        access.user.as_deref().unwrap_or("-"),
        access.method,
        access.target,
        access.status,
        access.sent,
    );
    if !access.complete {
        line.push_str(" cut off");
    }
    if let Some(failure) = failure {
        line.push_str(": ");
        line.push_str(&failure);
    }
    terminal::printable(&line)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_is_one_line() {
        let access = Access {
            peer: "127.0.0.1:9".parse().unwrap(),
            method: "GET".to_owned(),
            target: "/v2/\n\u{1b}[2J".to_owned(),
            user: Some("ann".to_owned()),
            agent: None,
            status: 200,
            sent: 5,
            complete: false,
            elapsed: Duration::from_millis(7),
            failure: None,
        };
        let text = line(false, "T", &access);
        assert_eq!(text, "T 127.0.0.1:9 ann GET /v2/\u{fffd}\u{fffd}[2J 200 5 bytes 7 ms cut off");
        let json: serde_json::Value = serde_json::from_str(&line(true, "T", &access)).unwrap();
        assert!(json["sent"] == 5 && json["complete"] == false && json["user"] == "ann", "{json}");
    }
}
