//! The text of lists, as editors and shells write it.

/// Text in UTF-16 that begins with a byte order mark.
pub(super) fn utf16(content: &[u8]) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match content.first_chunk()? {
        [0xff, 0xfe] => u16::from_le_bytes,
        [0xfe, 0xff] => u16::from_be_bytes,
        _ => return None,
    };
    let (units, rest) = content.as_chunks();
    let text = char::decode_utf16(units.iter().skip(1).map(|bytes| unit(*bytes)));
    let text = text.collect::<Result<String, _>>().ok()?;
    rest.is_empty().then_some(text)
}

/// The text before a `#` that begins the line or follows white space.
pub(super) fn without_comment(line: &str) -> &str {
    let mut after_blank = true;
    for (position, character) in line.char_indices() {
        if character == '#' && after_blank {
            return line.get(..position).unwrap_or(line);
        }
        after_blank = character.is_whitespace();
    }
    line
}
