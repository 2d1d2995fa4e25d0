//! Estimates the memory of a JSON document, up to a hundred times its size: `{"":0}` is a tree with room for eleven.

/// The most that a document may take in memory, by estimate. Manifests and configs that people use take less than a MiB.
pub(crate) const WEIGHT_LIMIT: u64 = 64 * 1024 * 1024;

/// A document that is too much for memory, small as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it needs more memory than the limit of {} MiB", WEIGHT_LIMIT >> 20)]
pub struct WeightError;

/// What a document takes in memory, by estimate: its bytes, and what objects, lists and values take beside them.
pub fn weight(json: &[u8]) -> u64 {
    let (mut weight, mut in_text, mut is_escaped) = (json.len() as u64, false, false);
    for byte in json {
        if in_text {
            in_text = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
            continue;
        }
        weight += match byte {
            b'"' => {
                in_text = true;
                0
            }
            b'{' => 640,
            b'[' | b',' => 128,
            _ => 0,
        };
    }
    weight
}

/// Refuses a document that is too much for memory.
pub fn check_weight(json: &[u8]) -> Result<(), WeightError> {
    if weight(json) > WEIGHT_LIMIT { Err(WeightError) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_not_text() {
        assert_eq!(weight(br#"{"a":"{[,\"{,","b":[1,"\\"]}"#), 28 + 640 + 128 + 2 * 128);
        assert_eq!(weight(b""), 0);
        assert_eq!(check_weight(&b"[]".repeat(1000)), Ok(()));
        assert_eq!(check_weight(&br#"{"":0},"#.repeat(600_000)), Err(WeightError));
    }
}
