//! Why a list is not read to its end.

use std::fmt;

/// The errors of reading a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListProblem {
    /// It has more pages than this.
    Pages(usize),
    /// It has more bytes than this.
    Bytes(usize),
    /// It has more entries than this.
    Entries(usize),
    /// A page leads back to one that was read.
    Circle,
    /// So many pages had nothing in them.
    Empty(usize),
}

impl fmt::Display for ListProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pages(limit) => write!(f, "with more than {limit} pages"),
            Self::Bytes(limit) => write!(f, "of more than {} MiB", limit >> 20),
            Self::Entries(limit) => write!(f, "with more than {limit} entries"),
            Self::Circle => f.write_str("whose pages form a loop"),
            Self::Empty(limit) => write!(f, "with {limit} empty pages in a row"),
        }
    }
}
