//! The access log on standard error, as text or JSON lines.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::documents::LoggedRequest;
use crate::failure::causes;
use crate::terminal;
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
        terminal::say(&*line(self.json, &time(seconds), access));
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

/// A time in seconds since 1970 as RFC 3339 has it, in UTC.
fn time(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }

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
