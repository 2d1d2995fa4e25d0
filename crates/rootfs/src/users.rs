//! Resolves the `User` of an image's config in the image's own files.

use super::error::{LayerError, UnknownUser};
use super::rootfs::Rootfs;

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) more_gids: Vec<u32>,
    /// Empty for users that the image does not know.
    pub(super) home: String,
}

/// Reads `/etc/passwd` and `/etc/group` of a tree; empty where they are not there.
pub(super) fn files(rootfs: &mut Rootfs) -> Result<(String, String), LayerError> {
    let mut read = |name: &str| {
        let bytes = rootfs.read_small(&[b"etc".to_vec(), name.as_bytes().to_vec()])?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    };
    Ok((read("passwd")?, read("group")?))
}

impl User {
    /// Looks up `USER`, `UID`, `USER:GROUP` and so on; nothing means root. A number need not be known.
    pub(super) fn find(text: &str, passwd: &str, group: &str) -> Result<Self, UnknownUser> {
        let (wanted, wanted_group) = text.split_once(':').unwrap_or((text, ""));
        let mut user = Self { uid: 0, gid: 0, more_gids: Vec::new(), home: String::new() };
        let is_wanted = |name: &str, id: u32| {
            if wanted.is_empty() { id == 0 } else { name == wanted || id.to_string() == wanted }
        };
        let mut accounts = passwd.lines().filter_map(account);
        let known = accounts.find(|(name, uid, ..)| is_wanted(name, *uid));
        match &known {
            Some((_, uid, gid, home)) => {
                user = Self { uid: *uid, gid: *gid, more_gids: Vec::new(), home: (*home).to_owned() };
            }
            None if wanted.is_empty() => {}
            None => user.uid = wanted.parse().map_err(|_| UnknownUser(text.to_owned()))?,
        }
        let mut groups = group.lines().filter_map(members);
        if !wanted_group.is_empty() {
            let known = groups.find(|(name, gid, _)| *name == wanted_group || gid.to_string() == wanted_group);
            user.gid = match known {
                Some((_, gid, _)) => gid,
                None => wanted_group.parse().map_err(|_| UnknownUser(text.to_owned()))?,
            };
        } else if let Some((name, ..)) = known {
            let mine = groups.filter(|(_, _, members)| members.split(',').any(|member| member == name));
            user.more_gids = mine.map(|(_, gid, _)| gid).collect();
        }
        Ok(user)
    }
}

/// Name, user, group and home of a line of `/etc/passwd`.
fn account(line: &str) -> Option<(&str, u32, u32, &str)> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some((name, uid, gid, fields.nth(1).unwrap_or_default()))
}

/// Name, number and members of a line of `/etc/group`.
fn members(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.trim().split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = fields.nth(1)?.parse().ok()?;
    Some((name, gid, fields.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# no account\nweb:x:33:34::/srv/web:/bin/sh\nbroken:x:a:b\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlogs:x:50:web,root\nmore:x:60:other,web\n";

    #[test]
    fn as_the_runtimes_look_users_up() {
        let find = |text| {
            let user = User::find(text, PASSWD, GROUP).unwrap();
            (user.uid, user.gid, user.more_gids, user.home)
        };
        let home = |path: &str| path.to_owned();
        assert_eq!(find(""), (0, 0, vec![50], home("/root")));
        assert_eq!(find("web"), (33, 34, vec![50, 60], home("/srv/web")));
        assert_eq!(find("33"), (33, 34, vec![50, 60], home("/srv/web")));
        assert_eq!(find("web:logs"), (33, 50, vec![], home("/srv/web")));
        assert_eq!(find("1000"), (1000, 0, vec![], home("")));
        assert_eq!(find("1000:1001"), (1000, 1001, vec![], home("")));
        for unknown in ["nobody", "web:nobody", "-1"] {
            assert!(User::find(unknown, PASSWD, GROUP).is_err(), "{unknown}");
        }
        assert_eq!(User::find("", "", "").unwrap().home, "");
    }
}
