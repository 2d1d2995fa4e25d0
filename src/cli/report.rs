//! Numbers and tables as people read them.

use std::time::Duration;

use bytesize::ByteSize;

/// A number of bytes in the units that media and networks use: `1.2 GB`.
pub(super) fn bytes(count: u64) -> String {
    ByteSize::b(count).display().si().to_string()
}

/// `1 image`, `2 images`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
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

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table with columns as wide as their widest cell, two blanks apart.
pub(super) fn table(head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|(title, _)| title.chars().count()).collect();
    for row in rows {
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
    fn columns_line_up() {
        let head = [("NAME", Align::Left), ("SIZE", Align::Right)];
        let rows = [vec!["alpine".to_owned(), "3".to_owned()], vec!["a".to_owned(), "12345".to_owned()]];
        assert_eq!(table(&head, &rows), "NAME     SIZE\nalpine      3\na       12345\n");
    }
}
