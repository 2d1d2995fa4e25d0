//! The owners of files on this machine: as in the image, mapped, or one user for all.

use std::str::FromStr;

use serde::Serialize;

use super::error::{LayerError, shown};

/// The attribute in which a tree that belongs to one user keeps what the image says, as the rootless runtimes have it.
pub(super) const ROOTLESS: &[u8] = b"user.rootlesscontainers";

/// A range of ids in a container, and those that it is on this machine; as the runtime-spec writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdMapping {
    /// The first in the container.
    #[serde(rename = "containerID")]
    pub container: u32,
    /// What that one is on this machine.
    #[serde(rename = "hostID")]
    pub host: u32,
    /// Their number.
    pub size: u32,
}

/// A text that is no mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ID mapping: write CONTAINER:HOST:SIZE, such as 0:100000:65536")]
pub struct IdMappingError(String);

impl FromStr for IdMapping {
    type Err = IdMappingError;

    fn from_str(text: &str) -> Result<Self, IdMappingError> {
        let error = || IdMappingError(text.to_owned());
        let fields: Result<Vec<u32>, _> = text.split(':').map(str::parse).collect();
        let (container, host, size) = match *fields.map_err(|_| error())?.as_slice() {
            [container, host] => (container, host, 1),
            [container, host, size] if size > 0 => (container, host, size),
            _ => return Err(error()),
        };
        let ends = |first: u32| first.checked_add(size - 1).is_some();
        if ends(container) && ends(host) { Ok(Self { container, host, size }) } else { Err(error()) }
    }
}

/// The owners of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    uids: Vec<IdMapping>,
    gids: Vec<IdMapping>,
    is_rootless: bool,
}

impl Owners {
    /// As the image says, by the mappings; without any, the ids are the same on this machine.
    pub const fn mapped(uids: Vec<IdMapping>, gids: Vec<IdMapping>) -> Self {
        Self { uids, gids, is_rootless: false }
    }

    /// All files belong to whoever unpacks them, who is root in the container if the mappings say nothing else. What
    /// the image says is kept in an attribute.
    pub fn rootless(uids: Vec<IdMapping>, gids: Vec<IdMapping>) -> Self {
        let or_mine = |mappings: Vec<IdMapping>, host: u32| {
            if mappings.is_empty() { vec![IdMapping { container: 0, host, size: 1 }] } else { mappings }
        };
        let uids = or_mine(uids, nix::unistd::geteuid().as_raw());
        Self { uids, gids: or_mine(gids, nix::unistd::getegid().as_raw()), is_rootless: true }
    }

    /// Returns true if all belongs to one user.
    pub const fn is_rootless(&self) -> bool {
        self.is_rootless
    }

    /// How users are mapped.
    pub(crate) fn uids(&self) -> &[IdMapping] {
        &self.uids
    }

    /// How groups are mapped.
    pub(crate) fn gids(&self) -> &[IdMapping] {
        &self.gids
    }

    /// What a file that has these ids in the image gets on this machine; `None` where files are not given away.
    pub(super) fn on_host(&self, path: &[u8], uid: u32, gid: u32) -> Result<Option<(u32, u32)>, LayerError> {
        if self.is_rootless {
            return Ok(None);
        }
        let unmapped = |kind, id| LayerError::Unmapped { path: shown(path), kind, id };
        let uid = host(&self.uids, uid).ok_or_else(|| unmapped("user", uid))?;
        let gid = host(&self.gids, gid).ok_or_else(|| unmapped("group", gid))?;
        Ok(Some((uid, gid)))
    }

    /// What root of the image is on this machine.
    pub(super) fn root(&self) -> Result<(u32, u32), LayerError> {
        let given = Self { is_rootless: false, ..self.clone() };
        given.on_host(b"/", 0, 0).map(Option::unwrap_or_default)
    }

    /// The value of the attribute [`ROOTLESS`] for a file that has these ids in the image, where it needs one.
    ///
    /// Two fields of a protocol buffer, for the user and the group; all ones stand for root.
    pub(super) fn remembered(&self, uid: u32, gid: u32) -> Option<Vec<u8>> {
        if !self.is_rootless || (uid, gid) == (0, 0) {
            return None;
        }
        let mut value = Vec::new();
        for (tag, id) in [(0x08, uid), (0x10, gid)] {
            value.push(tag);
            let mut rest = if id == 0 { u32::MAX } else { id };
            while rest > 0x7f {
                value.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            value.push((rest & 0x7f) as u8);
        }
        Some(value)
    }
}

fn host(mappings: &[IdMapping], id: u32) -> Option<u32> {
    if mappings.is_empty() {
        return Some(id);
    }
    mappings.iter().find_map(|mapping| {
        let offset = id.checked_sub(mapping.container).filter(|offset| *offset < mapping.size)?;
        mapping.host.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_ranges() {
        let mappings: Vec<IdMapping> = ["0:1000", "1:100000:10"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(mappings.first(), Some(&IdMapping { container: 0, host: 1000, size: 1 }));
        let hosts = [0, 1, 10, 11].map(|id| host(&mappings, id));
        assert_eq!(hosts, [Some(1000), Some(100_000), Some(100_009), None]);
        assert_eq!(host(&[], 7), Some(7));
        for bad in ["", "0", "0:1000:0", "0:1:2:3", "a:1:2", "-1:0:1", "0:4294967295:2", "4294967295:0:2", "0:1:"] {
            assert!(bad.parse::<IdMapping>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_remembered_is_what_the_rootless_runtimes_read() {
        let owners = Owners::rootless(Vec::new(), Vec::new());
        assert_eq!(owners.remembered(1000, 1001), Some(b"\x08\xe8\x07\x10\xe9\x07".to_vec()));
        assert_eq!(owners.remembered(1, 0), Some(b"\x08\x01\x10\xff\xff\xff\xff\x0f".to_vec()));
        assert_eq!(owners.remembered(0, 0), None);
        assert_eq!(Owners::default().remembered(1000, 1001), None);
    }
}
