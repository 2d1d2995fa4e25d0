//! The copy engine, the contract of the places that it copies between, and what it tells an observer.
//!
//! * **For**: bringing the graph of an image from a [`Source`](endpoint::Source) to a [`Sink`](endpoint::Sink), many at a time, with
//!   retries, resumption and bounds.
//! * **Must stay true**: bytes reach a sink only as [`Verified`](endpoint::Verified), whose error comes in place of their end. The
//!   engine never changes a byte, and knows places by their traits alone.
//! * **Does not**: choose images, open places, or print.
//!
//! ```
//! use hod_engine::endpoint::Verified;
//! use hod_oci::{Descriptor, Digest, MediaType};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let told = |bytes: &[u8]| Descriptor::new(MediaType::from("text/plain"), Digest::sha256(b"right"), bytes.len() as u64);
//! let right = Verified::bytes(&told(b"right"), "right".into());
//! assert_eq!(right.collect().await?, "right");
//! let wrong = Verified::bytes(&told(b"wrong"), "wrong".into());
//! assert!(wrong.collect().await.is_err());
//! # Ok(())
//! # })
//! # }
//! ```

pub mod copy;
pub mod endpoint;
pub mod observe;

/// `1 tag`, `2 tags`: a number with its noun, for messages.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
