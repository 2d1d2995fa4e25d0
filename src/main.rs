//! The `hod` command. Everything is in the library; see [`hod`].

fn main() {}
