//! Durations, as Go programs accept them.

use std::time::Duration;

/// A time span, or none: `0`, with or without a unit, is no limit.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { span(text).ok_or_else(|| no_span(text)) }
}

/// A time span: a number with `ms`, `s`, `m` or `h`, or several, as in Go (`1h30m`).
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    span(text).filter(|span| !span.is_zero()).ok_or_else(|| no_span(text))
}

fn no_span(text: &str) -> String {
    format!("{text:?} is not a duration: write a number with ms, s, m or h, such as 90s or 1h30m")
}

/// A time span, which may be none.
fn span(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, after) = rest.split_at(digits);
        let units = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(units);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_zero_of_some_unit() {
        for none in ["0", "0s", "0ms", "0h", "0m", "0h0m"] {
            assert_eq!(limit(none), Ok(Duration::ZERO), "{none}");
        }
        assert_eq!(limit("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "0foo", "0sm", "00x", "0d", "foo", "5", "-0s"] {
            assert!(limit(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn time_spans_are_those_of_go() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        for bad in ["", "5", "s", "-1s", "1d", "1e99h", "0s"] {
            assert!(duration(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
