//! What somebody may have meant who typed an argument that a command does not have.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What to write instead, where habits from other tools explain the argument.
pub(crate) fn meant(arguments: &[OsString], error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else { return None };
    let words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    let command = words.into_iter().find(|word| !word.starts_with('-'))?;
    Some(match (command, unknown.as_str()) {
        ("unpack", target) if !target.starts_with('-') => format!("name the target with --root: --root {target}"),
        ("unpack", "--image") => {
            "hod unpack-image oci:DIR:TAG TARGET unpacks an image to files; hod unpack takes a bundle".to_owned()
        }
        ("pull", "-o" | "--output") => {
            "hod pull writes to a store, --store DIR; hod bundle -o FILE writes a bundle".to_owned()
        }
        (_, "--image") => "name the image as an argument: oci:DIR:TAG is umoci's --image DIR:TAG".to_owned(),
        (_, "--layout") => "name the layout as an argument: oci:DIR is umoci's --layout DIR".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_of_other_tools_are_known() {
        let hint = |words: &str| {
            let words: Vec<OsString> = std::iter::once("hod").chain(words.split(' ')).map(OsString::from).collect();
            meant(&words, &super::super::parse(words.clone()).unwrap_err()).unwrap_or_default()
        };
        assert_eq!(hint("unpack release.tar root"), "name the target with --root: --root root");
        assert!(hint("pull -f list -o x.tar").contains("hod bundle -o FILE"));
        assert!(hint("unpack --image lay:1 out").contains("hod unpack-image oci:DIR:TAG"));
        assert!(hint("rm --image lay:1").contains("oci:DIR:TAG") && hint("gc --layout lay").contains("oci:DIR"));
        assert_eq!(hint("ls --nonsense x"), "");
    }
}
