//! The copy engine, the contract of the places that it copies between, and what it tells an observer.

pub mod copy;
pub mod endpoint;
pub mod observe;

/// `1 tag`, `2 tags`: a number with its noun, for messages.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
