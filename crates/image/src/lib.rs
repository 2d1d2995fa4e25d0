//! The subjects of the job: lists, resolved images, the places that have them, and their conversion and signing.
//!
//! * **For**: from a line of a list to an image: [`list`] parses lines, [`resolve`] asks registries, [`places`] and [`open`] find what lies on
//!   this machine, [`contents`] describes what a store or bundle holds, [`convert`] and [`recompress`] make another form of an image.
//! * **Must stay true**: a subject knows no step. Bad lines are all reported, with file and number, before anything is looked up.
//!   What is not a byte-for-byte copy is said, with both digests.
//! * **Does not**: decide what is pulled, packed or pushed: that is `hod-steps`.
//!
//! ```
//! use hod_image::list::{ListError, ListReader};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut lists = ListReader::new();
//! lists.file("images-list.txt", b"##base\nalpine:3.20\nquay.io/coreos/etcd:v3.5.15  platform=linux/amd64\n");
//! let list = lists.finish(&[])?;
//! assert_eq!(list.lines.len(), 2);
//!
//! let mut lists = ListReader::new();
//! lists.file("images-list.txt", b"alpine:\n");
//! let Err(ListError::Lines(bad)) = lists.finish(&[]) else { panic!("the line has an empty tag") };
//! assert_eq!(bad[0].0.to_string(), "images-list.txt:1");
//! # Ok(())
//! # }
//! ```

pub mod admission;
pub mod attached;
pub mod base;
pub mod batch;
pub mod catalog;
pub mod contents;
pub mod convert;
pub mod copy_image;
pub mod copy_list;
pub mod destination;
pub mod elsewhere;
pub mod forced;
pub mod gathered;
pub mod index;
pub mod index_policy;
pub mod inspect;
pub mod inventory;
pub mod list;
pub mod listing;
pub mod merge;
mod multi_arch;
pub mod new_image;
pub mod open;
pub mod places;
pub mod recompress;
pub mod resolve;
mod resolved;
pub mod schema1;
pub mod signing;
pub mod stat;
pub mod whole;
