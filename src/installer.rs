//! Writes the installer beside a bundle: hod itself, a script, checksums and a README.
//!
//! Nothing here is read by hod. All of it is for people, `sh` and `sha256sum`.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::failure::{Failure, Kind};
use super::{delta, report};
use hod_bundle::{Header, Image, SigningKey};
use hod_oci::{Algorithm, Digest, Hasher, is_companion_tag};

/// The script, in which words such as `@ID@` stand for what is known of the bundle.
const SCRIPT: &str = include_str!("installer/install.sh");
/// The file with the sums of all others.
const SUMS: &str = "SHA256SUMS";
/// The part of the page that is the same for all bundles.
const USAGE: &str = "
To install on this machine, as root:

    sh install.sh                                   unpack to /var/lib/registry
    sh install.sh --serve 127.0.0.1:5000            and serve it from there
    sh install.sh --push docker://registry:5000     or push to a registry
    sh install.sh --help                            everything else

It says what it will do and asks before it changes anything, can be run again, and takes back
what it has set up with --undo. It needs no network and nothing that is not here.

";
/// How many images the page names.
const NAMED: usize = 200;

/// A bundle that is to be installed elsewhere.
pub(super) struct Installer<'a> {
    /// The bundle, or what the names of its volumes have in common.
    pub(super) bundle: &'a Path,
    /// Its header.
    pub(super) header: &'a Header,
    /// Its file or volumes, and other files that belong to it, each with its sum.
    pub(super) sums: Vec<(String, Digest)>,
    /// The number of its volumes, where it has any.
    pub(super) volumes: Option<usize>,
    /// The key that signs the sums too.
    pub(super) key: Option<&'a SigningKey>,
    /// The person or team that made it.
    pub(super) made_by: Option<&'a str>,
    /// The day on which it was made.
    pub(super) made_on: String,
}

/// The sums of a bundle: that of its file, or those of its volumes and of the file that lists them.
pub(super) fn bundle_sums(
    bundle: &Path,
    sum: Option<Digest>,
    list: Option<&Path>,
) -> Result<Vec<(String, Digest)>, Failure> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut sums: Vec<(String, Digest)> = sum.map(|sum| (name(bundle), sum)).into_iter().collect();
    if let Some(list) = list {
        let text = fs_err::read_to_string(list).map_err(|error| Failure::of(Kind::Failed, error))?;
        let lines = text.lines().filter_map(|line| line.split_once("  "));
        sums.extend(
            lines.filter_map(|(hex, file)| Some((file.to_owned(), Digest::from_parts(Algorithm::Sha256, hex).ok()?))),
        );
        sums.push((name(list), Digest::sha256(text.as_bytes())));
    }
    Ok(sums)
}

/// A program that needs nothing to run: the one that was named, or this one.
pub(super) fn static_binary(named: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe().map_err(|error| Failure::of(Kind::Failed, error))?,
    };
    let bytes = fs_err::read(&path).map_err(|error| Failure::of(Kind::Usage, error))?;
    if is_static(&bytes) {
        return Ok(bytes);
    }
    Err(Failure::new(Kind::Usage, format!("{} is not a static program", path.display())).hint(
        "name a static hod binary for the target machine with --installer-binary; scripts/build-static builds one",
    ))
}

/// Whether this is a 64-bit ELF program that names no loader (ELF specification, "Program Header": `PT_INTERP`).
fn is_static(program: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = program.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return false;
    }
    let (Some(start), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else { return false };
    let kind = |index: u64| {
        let at = index.checked_mul(size).and_then(|offset| start.checked_add(offset));
        number(usize::try_from(at?).ok()?, 4)
    };
    count > 0 && (0..count).all(|index| kind(index).is_some_and(|kind| kind != 3))
}

impl Installer<'_> {
    /// Writes everything beside the bundle, the sums last. Returns the files.
    pub(super) fn write(mut self, binary: &[u8]) -> Result<Vec<PathBuf>, Failure> {
        let failed = |error| Failure::of(Kind::Failed, error);
        let folder = hod_io::fs::folder_of(self.bundle);
        let name = self.bundle.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(char::is_control) {
            return Err(Failure::new(
                Kind::Usage,
                format!("{name:?} is not a valid name for a bundle with an installer"),
            ));
        }
        let script = self.script(&name);
        let page = self.page(&name);
        let mut files = Vec::new();
        for (name, bytes, mode) in
            [("hod", binary, 0o755), ("install.sh", script.as_bytes(), 0o755), ("README.txt", page.as_bytes(), 0o644)]
        {
            hod_io::fs::write_atomically_as(&folder.join(name), bytes, mode).map_err(failed)?;
            self.sums.push((name.to_owned(), Digest::sha256(bytes)));
            files.push(folder.join(name));
        }
        let lines = self.sums.iter().fold(String::new(), |mut lines, (name, digest)| {
            let _ = writeln!(lines, "{}  {name}", digest.hex());
            lines
        });
        hod_io::fs::write_atomically(&folder.join(SUMS), lines.as_bytes()).map_err(failed)?;
        files.push(folder.join(SUMS));
        let signature = folder.join(format!("{SUMS}.minisig"));
        if let Some(key) = self.key {
            let comment = format!("sums of hod bundle {}", self.header.id());
            let text = key.sign_bytes(lines.as_bytes(), &comment).map_err(|error| Failure::of(Kind::Failed, error))?;
            hod_io::fs::write_atomically(&signature, &text).map_err(failed)?;
            files.push(signature);
        } else {
            // One from an earlier run would belong to other sums.
            match fs_err::remove_file(&signature) {
                Ok(()) => hod_io::fs::sync_directory(folder).map_err(failed)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(files)
    }

    /// The script, which knows the bundle.
    fn script(&self, name: &str) -> String {
        let example = self.example();
        let base = match self.header.requires() {
            [] => String::new(),
            _ => delta::base_text(self.header.base()),
        };
        let signer = self.key.map(|key| key.public().id().to_string()).unwrap_or_default();
        fill(
            SCRIPT,
            &[
                ("@BUNDLE@", name),
                ("@ID@", &self.header.id().to_string()),
                ("@CONTENT@", &self.content()),
                ("@MADE@", &self.made()),
                ("@SIGNER@", &signer),
                ("@BASE@", &base),
                ("@IMAGE@", &example.map(Image::label).unwrap_or_default()),
                ("@SOURCE@", example.and_then(|image| image.source.as_deref()).unwrap_or_default()),
            ],
        )
    }

    /// An image for examples: the first that has a tag and belongs to no other.
    fn example(&self) -> Option<&Image> {
        let is_plain = |image: &&Image| image.tag.as_ref().is_some_and(|tag| !is_companion_tag(tag));
        self.header.images().iter().find(is_plain).or_else(|| self.header.images().first())
    }

    /// How much is in the bundle.
    fn content(&self) -> String {
        let bytes: u64 = self.header.blobs().iter().map(|blob| blob.size).sum();
        let volumes = self.volumes.map(|count| format!(", in {}", report::count(count, "volume"))).unwrap_or_default();
        format!("{}, {}{volumes}", report::count(self.header.image_count(), "image"), report::bytes(bytes))
    }

    /// When, with which version and by whom the bundle was made.
    fn made(&self) -> String {
        let by = self.made_by.map_or_else(|| "maker not stated".to_owned(), |by| format!("by {by}"));
        format!("made on {} with hod {}, {by}", self.made_on, env!("CARGO_PKG_VERSION"))
    }

    /// The page for who finds the medium.
    fn page(&self, name: &str) -> String {
        let mut text = format!("{name}: {}\nid {}\n{}\n", self.content(), self.header.id(), self.made());
        if let Some(groups) = groups(self.header) {
            let _ = writeln!(text, "groups: {groups}");
        }
        if let Some(count) = self.volumes {
            let _ = writeln!(
                text,
                "volumes: {count}, {name}.001 to {name}.{count:03}; put all of them into one directory, with this file"
            );
        }
        if !self.header.requires().is_empty() {
            let left_out: u64 = self.header.requires().iter().map(|content| content.size).sum();
            let _ = writeln!(
                text,
                "\nThis bundle is a DELTA. It leaves out {} ({}) that its target must have:\n{}.\n{}.",
                report::count(self.header.requires().len(), "content"),
                report::bytes(left_out),
                delta::base_text(self.header.base()),
                sentence(&delta::base_advice(self.header.base())),
            );
        }
        text.push_str(USAGE);
        let _ = match self.key {
            None => write!(text, "The bundle is not signed.\n\n"),
            Some(key) => write!(
                text,
                "The bundle is signed with the minisign key {}. Get that key by another way than\n\
                 this medium, and name it with --key: then nothing else is taken.\n\n",
                key.public().id()
            ),
        };
        if let Some(image) = self.example() {
            let label = image.label();
            let by_name =
                image.source.as_ref().map(|source| format!(", as in\ncrictl pull {source}")).unwrap_or_default();
            let _ = write!(
                text,
                "To pull afterwards, with the address of --serve or the registry of --push:\n\n    \
                 docker pull 127.0.0.1:5000/{label}\n    \
                 podman pull --tls-verify=false 127.0.0.1:5000/{label}\n    \
                 crictl pull 127.0.0.1:5000/{label}\n\n\
                 With --containerd, --podman or --docker, images have their own names there too{by_name}\n\n"
            );
        }
        let by_hand = by_hand(name, self.volumes.is_some());
        let _ = write!(text, "Without the script: ./hod --help. Without hod:\n\n    {by_hand}\n\nImages:\n\n");
        let images = self.header.images();
        for image in images.iter().take(NAMED) {
            let _ = writeln!(text, "    {}", image.label());
        }
        if let Some(more) = images.len().checked_sub(NAMED).filter(|more| *more > 0) {
            let _ = writeln!(text, "    and {more} more: ./hod ls {name}");
        }
        text
    }
}

/// The groups of the list, each with the number of its images; `None` where the list had none.
fn groups(header: &Header) -> Option<String> {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for image in header.images().iter().filter(|image| !image.tag.as_ref().is_some_and(is_companion_tag)) {
        let name = image.group.as_deref().unwrap_or_default();
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, count)) => *count += 1,
            None => groups.push((name, 1)),
        }
    }
    if groups.iter().all(|(name, _)| name.is_empty()) {
        return None;
    }
    let text = |(name, count): &(&str, usize)| {
        let name = if name.is_empty() { "without a group" } else { name };
        format!("{name} ({})", report::count(*count, "image"))
    };
    Some(groups.iter().map(text).collect::<Vec<_>>().join(", "))
}

/// A text that begins with a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The template with each of these words replaced by its value, as one word of `sh`. Values may be anything, and are not
/// searched for the words.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((at, word, value)) =
        values.iter().filter_map(|(word, value)| Some((rest.find(word)?, *word, *value))).min()
    {
        let (before, after) = rest.split_at(at);
        filled.push_str(before);
        filled.push_str(&quoted(value));
        rest = after.strip_prefix(word).unwrap_or_default();
    }
    filled + rest
}

/// How to unpack a bundle with what every system has. Volumes have to be joined, in the order of their numbers.
fn by_hand(name: &str, in_volumes: bool) -> String {
    let is_plain = Path::new(name).extension().is_some_and(|extension| extension == "tar");
    let name = quoted(name);
    match (is_plain, in_volumes) {
        (true, false) => format!("tar -xf {name} -C /var/lib/registry"),
        (true, true) => format!("cat {name}.[0-9][0-9][0-9] | tar -x -C /var/lib/registry"),
        (false, false) => format!("zstd -dc {name} | tar -x -C /var/lib/registry"),
        (false, true) => format!("cat {name}.[0-9][0-9][0-9] | zstd -dc | tar -x -C /var/lib/registry"),
    }
}

/// A text as one word of `sh`.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A writer that knows the SHA-256 of everything that went through it.
pub(super) struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W> HashingWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::new(Algorithm::Sha256) }
    }

    /// What was written to, and the sum.
    pub(super) fn finish(self) -> (W, Digest) {
        (self.inner, self.hasher.finish())
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs the tools that scripts/test installs"]
    fn knows_static_programs() {
        let busybox = fs_err::read("/bin/busybox").unwrap();
        assert!(is_static(&busybox), "Debian's busybox-static");
        assert!(!is_static(&fs_err::read("/bin/sh").unwrap()));
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(b""));
    }

    #[test]
    fn values_are_not_filled_again() {
        let filled = fill("a=@A@ b=@B@ a=@A@", &[("@A@", "x@B@"), ("@B@", "@A@'")]);
        assert_eq!(filled, r"a='x@B@' b='@A@'\''' a='x@B@'");
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("a'$(x)"), "'a'\\''$(x)'");
    }

    proptest::proptest! {
        #[test]
        fn programs_that_are_none_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = is_static(&[b"\x7fELF\x02\x01".as_slice(), &bytes].concat());
        }
    }
}
