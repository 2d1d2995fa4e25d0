//! Pages of the book, as far as tests run what they say.

use std::path::Path;

/// What stands between fences of a language on a page such as `docs/sync.md`, block by block.
pub fn blocks(page: impl AsRef<Path>, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}
