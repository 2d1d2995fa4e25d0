//! Files that survive a crash, directories that are held open, secrets, and certificates.
//!
//! * **For**: whatever touches disks or holds what nobody may see.
//! * **Must stay true**: a file is replaced as a whole or not at all, and nothing is changed through a link that
//!   somebody else has put there. A [`Secret`](secret::Secret) appears in no output. No certificate is good without a root, unless the user said so.
//! * **Does not**: know what an image is.
//!
//! ```
//! use hod_io::secret::Secret;
//!
//! # fn main() -> std::io::Result<()> {
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("state.json");
//! hod_io::fs::write_atomically(&path, b"{}")?;
//! assert_eq!(std::fs::read(&path)?, b"{}");
//!
//! assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
//! # Ok(())
//! # }
//! ```

pub mod fs;
pub mod secret;
pub mod tls;
