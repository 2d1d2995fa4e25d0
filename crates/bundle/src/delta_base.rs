//! The bases of a delta, as its header names them for the people at its target.

use std::fmt;

use serde::{Deserialize, Serialize};

use hod_oci::Digest;

/// The kind of a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeltaBaseKind {
    /// An earlier bundle.
    Bundle,
    /// An inventory of the target.
    Inventory,
    /// A store with the content of the target.
    Store,
}

/// A file or directory with content that a delta leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaBase {
    /// Its kind.
    pub kind: DeltaBaseKind,
    /// Its name, without the directory.
    pub name: Box<str>,
    /// The id of a bundle, or the SHA-256 of an inventory; a store has no id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Digest>,
    /// The day on which it was made, in UTC, as `2026-12-01`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Box<str>>,
}

impl fmt::Display for DeltaBaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bundle => "bundle",
            Self::Inventory => "inventory",
            Self::Store => "store",
        })
    }
}

/// As in `bundle may.tar of 2026-05-01, sha256:…`.
impl fmt::Display for DeltaBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if let Some(date) = &self.date {
            write!(f, " of {date}")?;
        }
        match &self.id {
            Some(id) => write!(f, ", {id}"),
            None => Ok(()),
        }
    }
}

/// Returns true if a text has the form of a day, such as `2026-12-01`.
pub(super) fn is_day(text: &str) -> bool {
    let is_right = |(position, byte): (usize, u8)| match position {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(is_right)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A bundle as a base.
    pub(in super::super) fn base(name: &str, date: Option<&str>) -> DeltaBase {
        DeltaBase { kind: DeltaBaseKind::Bundle, name: name.into(), id: None, date: date.map(Into::into) }
    }

    #[test]
    fn bases_read_well() {
        assert_eq!(base("may.tar", Some("2026-05-01")).to_string(), "bundle may.tar of 2026-05-01");
        let id = Digest::sha256(b"");
        let inventory = DeltaBase { kind: DeltaBaseKind::Inventory, id: Some(id), ..base("site.json", None) };
        assert_eq!(inventory.to_string(), format!("inventory site.json, {id}"));
    }
}
