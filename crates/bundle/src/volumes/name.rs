//! Names of volumes that are valid on every medium.

use super::VolumeError;

/// The end of the name of the file with the sums.
pub(super) const SUMS_END: &str = ".sha256";
/// The longest name of a volume in UTF-16 code units (vfat), less what is added to a name.
const NAME_LIMIT: usize = 255 - ".4294967295.partial.sha256".len();
/// Names of devices that Windows opens instead of a file, whatever comes after a dot.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// The name of a volume of the bundle `base`, counted from 1.
pub(crate) fn volume_name(base: &str, number: usize) -> String {
    format!("{base}.{number:03}")
}

/// Which volume of which bundle a name is.
pub(super) fn volume_of(name: &str) -> Option<(&str, usize)> {
    let (base, digits) = name.rsplit_once('.')?;
    let is_number = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|number| is_number && *number > 0)?;
    (!base.is_empty()).then_some((base, number))
}

/// The bundle that a volume, or the file with its sums, is of.
pub(super) fn base_of(name: &str) -> Option<&str> {
    let base = || name.strip_suffix(SUMS_END).filter(|base| is_bundle(base));
    volume_of(name).map(|(base, _)| base).or_else(base)
}

/// Returns true if a name is one that `hod pack` gives to bundles.
pub(super) fn is_bundle(name: &str) -> bool {
    [".tar", ".tar.zst", ".tzst"].iter().any(|end| name.strip_suffix(end).is_some_and(|stem| !stem.is_empty()))
}

/// Checks that a name can be written to vfat, exFAT, NTFS, UDF and ISO 9660 with Joliet alike.
pub(crate) fn check_portable(name: &str) -> Result<(), VolumeError> {
    let error = |problem| Err(VolumeError::Name { name: name.to_owned(), problem });
    let stem = name.split('.').next().unwrap_or_default();
    if name.is_empty() || stem.is_empty() {
        return error("it starts with a dot, or is empty");
    }
    if name.chars().any(|character| character.is_control() || "\"*/:<>?\\|;".contains(character)) {
        return error("vfat and other file systems do not allow \" * / : < > ? \\ | ; and control characters");
    }
    if name.starts_with(' ') || name.ends_with([' ', '.']) {
        return error("vfat removes spaces and dots at its ends");
    }
    if DEVICES.contains(&stem.trim_end().to_ascii_lowercase().as_str()) {
        return error("Windows reserves it for a device");
    }
    if name.encode_utf16().count() > NAME_LIMIT {
        return error("it is too long");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::volumes::VOLUMES_LIMIT;

    #[test]
    fn names_are_read_as_they_are_made() {
        for number in [1, 9, 10, 999] {
            let name = volume_name("release.tar", number);
            assert_eq!(volume_of(&name), Some(("release.tar", number)));
            assert_eq!(base_of(&name), Some("release.tar"));
        }
        assert_eq!(base_of("release.tar.sha256"), Some("release.tar"));
        for other in ["release.tar", "release.tar.000", "release.tar.01", "release.tar.0001", ".001", "a.sha256", "001"]
        {
            assert_eq!(base_of(other), None, "{other}");
        }
        assert_eq!(volume_of("a.tar.+01"), None);
        assert_eq!(volume_of("a.tar.١٢٣"), None);
    }

    #[test]
    fn names_that_sticks_cannot_hold() {
        for good in ["release.tar", "Release 1.0 (final).tar.zst", "büro.tar", "con-release.tar"] {
            assert_eq!(check_portable(good), Ok(()));
        }
        for bad in [
            "",
            ".tar",
            "a:b.tar",
            "a?.tar",
            "a\n.tar",
            " a.tar",
            "a.tar ",
            "a.tar.",
            "con.tar",
            "LPT1.tar.zst",
            "aux .tar",
        ] {
            assert!(check_portable(bad).is_err(), "{bad:?}");
        }
        assert!(check_portable(&"a".repeat(NAME_LIMIT)).is_ok());
        assert!(check_portable(&"a".repeat(NAME_LIMIT + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_name_is_two_things(name in "\\PC{0,20}(\\.[0-9]{1,4}|\\.sha256)?") {
            if let Some((base, number)) = volume_of(&name) {
                prop_assert_eq!(volume_name(base, number), name.clone());
                prop_assert!((1..=VOLUMES_LIMIT).contains(&number));
            }
            let _ = check_portable(&name);
        }
    }
}
