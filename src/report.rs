//! Formats numbers and tables for people.

use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;

use super::terminal::printable;
pub(super) use hod_engine::count;
use hod_oci::Digest;

/// A path in a document of JSON, which has no form for one that is no UTF-8.
pub(super) fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A number of bytes in the units that media and networks use: `1.2 GB`.
pub(super) fn bytes(count: u64) -> String {
    ByteSize::b(count).display().si().to_string()
}

/// A time as people say it: `0.4 s`, `12 s`, `3 min 20 s`.
pub(super) fn time(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", span.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A time in seconds since 1970 as RFC 3339 has it, in UTC.
pub(super) fn timestamp(seconds: u64) -> String {
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

/// The day of such a time, as `2026-12-01`.
pub(super) fn day(seconds: u64) -> String {
    timestamp(seconds).split('T').next().unwrap_or_default().to_owned()
}

/// Text in which each digest is as short as people need it.
pub(super) fn shortened(text: &str) -> String {
    let is_of_digest = |letter: char| letter.is_ascii_alphanumeric() || letter == ':';
    let mut short = String::with_capacity(text.len());
    for part in text.split_inclusive(|letter| !is_of_digest(letter)) {
        let word = part.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        match word.parse::<Digest>() {
            Ok(digest) => short.extend([&*digest.short(), &part[word.len()..]]),
            Err(_) => short.push_str(part),
        }
    }
    short
}

/// What a command has done with an image, for [`Context::image_lines`](crate::context::Context::image_lines).
pub(super) struct ImageResult {
    /// The image, and where it went if that says more.
    pub(super) name: String,
    pub(super) digest: Digest,
    /// `new`, or another word; see [`UNCHANGED`].
    pub(super) change: &'static str,
}

/// The word for an image that was there before.
pub(super) const UNCHANGED: &str = "unchanged";

/// The word for an image that was there before, or was not.
pub(super) const fn change(is_unchanged: bool) -> &'static str {
    if is_unchanged { UNCHANGED } else { "new" }
}

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table with columns as wide as their widest cell, two blanks apart.
pub(super) fn table(head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|(title, _)| title.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for ((cell, (_, align)), width) in cells.zip(head).zip(&widths) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let blanks = " ".repeat(width - cell.chars().count().min(*width));
            match align {
                Align::Left => line.extend([cell, &blanks]),
                Align::Right => line.extend([&*blanks, cell]),
            }
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut head.iter().map(|(title, _)| *title));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1_234_567_890), "1.2 GB");
        assert_eq!(count(1, "image"), "1 image");
        assert_eq!(count(0, "image"), "0 images");
        assert_eq!(time(Duration::from_millis(420)), "0.4 s");
        assert_eq!(time(Duration::from_secs(200)), "3 min 20 s");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(seconds), text);
            assert_eq!(day(seconds), text[..10]);
        }
    }

    #[test]
    fn digests_in_text_are_shortened() {
        let digest = Digest::sha256(b"");
        let text =
            |digest: &str| format!("GET http://r:5000/v2/a/blobs/{digest} answered; {digest}: no, not ({digest})");
        assert_eq!(shortened(&text(&digest.to_string())), text("e3b0c44298fc"));
        for other in ["", "sha256:abc", "a: b", "Größe: ä"] {
            assert_eq!(shortened(other), other);
        }
    }

    #[test]
    fn columns_line_up() {
        let head = [("NAME", Align::Left), ("SIZE", Align::Right)];
        let rows = [vec!["alpine".to_owned(), "3".to_owned()], vec!["a".to_owned(), "12345".to_owned()]];
        assert_eq!(table(&head, &rows), "NAME     SIZE\nalpine      3\na       12345\n");
    }
}
