//! Parses lists of images.
//!
//! ```text
//! ##base                                     a group, until the next one
//! alpine:3.14                                one image a line
//! quay.io/coreos/etcd:v3.5  platform=linux/arm64,linux/amd64   (or platform=all)
//! nginx  as=web/proxy:stable                 # and where it goes in the store
//! docker-archive:saved.tar  as=web:1.0       # on this machine: needs a name
//! ```
//!
//! Every bad line is found and reported at once, with its place, before anything is looked up.
//! Options and errors are those of the command line's `IMAGE…` too.

mod text;

use std::collections::HashMap;
use std::fmt;

use text::{utf16, without_comment};

use hod_bundle::is_text;
use hod_oci::{
    Digest, NameError, PlatformError, Platforms, Reference, ReferenceError, RepositoryName, Tag, is_companion_tag,
};

/// Where a line stands: a file and its line, or the command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The file as the user named it; `-` for standard input, and nothing for the command line.
    pub file: Option<Box<str>>,
    /// The line, from 1; or which argument.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}:{}", self.line),
            None => write!(f, "argument {}", self.line),
        }
    }
}

/// The name under which an image is kept: a repository and tag of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoredName {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag; none for an image that only a digest names.
    pub tag: Option<Tag>,
}

impl fmt::Display for StoredName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

/// One image that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The place of the request.
    pub origin: Origin,
    /// The line as written, without comment and surrounding blanks.
    pub text: Box<str>,
    /// The requested value.
    pub reference: Reference,
    /// The group that it is in.
    pub group: Option<Box<str>>,
    /// Its own platforms, which replace those of the run.
    pub platforms: Option<Platforms>,
    /// Its own name in the store.
    pub name: Option<StoredName>,
    /// Its referrers, if a lock names them.
    pub referrers: Option<Vec<PinnedReferrer>>,
    /// Where it is on this machine, if no registry has it; then `name` is what it is called, and `reference` says the
    /// same, with its digest where a lock has that.
    pub place: Option<Box<str>>,
}

impl Line {
    /// Where it stands and what it asks for, for messages.
    pub fn label(&self) -> String {
        match &self.place {
            Some(_) => format!("{}: {}", self.origin, self.text),
            None => format!("{}: {}", self.origin, self.reference),
        }
    }
}

/// Something that belongs to an image, as a lock pins it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PinnedReferrer {
    /// The tag of the index of referrers that names it, or one of cosign's, which points to it.
    pub tag: Tag,
    /// The digest of its manifest.
    pub digest: Digest,
}

impl fmt::Display for PinnedReferrer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.tag, self.digest)
    }
}

/// All images that were asked for, each once, in the order of their first mention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageList {
    /// The images.
    pub lines: Vec<Line>,
    /// Things that the user may want to know, such as a tag that was taken for granted.
    pub notices: Vec<String>,
}

/// Begins a line of a lock whose image failed. Other tools read a comment.
pub const FAILED: &str = "# failed: ";

/// The errors of one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The image itself.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A store or bundle.
    #[error(
        "a list cannot name images of a store or bundle: use hod unpack for a bundle, hod select for a store, or hod copy for one image"
    )]
    Held,
    /// A word after the image that is no option.
    #[error(
        "{0:?} is not an option: only platform=…, as=…, referrers=… and, for images on this machine, digest=… may follow the image; comments start with '#'"
    )]
    Word(String),
    /// A name and a tag with a blank between them.
    #[error("{0} and {1} are two words: write {0}:{1}")]
    Blank(String, Tag),
    /// An option given twice.
    #[error("option {0}= is given twice")]
    Twice(&'static str),
    /// `platform=`.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// `as=`.
    #[error("as={text} is not a valid name in a store")]
    Name {
        /// The text as written.
        text: String,
        /// The reason.
        #[source]
        source: NameError,
    },
    /// `as=` with a digest or a host, which names in a store do not have.
    #[error("as={0} is not a valid name in a store: write name or name:tag")]
    NameShape(String),
    /// `referrers=` with something else than a lock has there.
    #[error("{0:?} is not a referrer: write TAG@DIGEST, with a tag like sha256-…, or none")]
    Referrer(String),
    /// `digest=` that is none, or for an image of a registry.
    #[error("digest={0} is not a digest of an image on this machine; for an image of a registry, write NAME@DIGEST")]
    Digest(String),
    /// A place without a name.
    #[error("an image on this machine needs a name in a list: add as=NAME:TAG")]
    Nameless,
    /// A group that bundles could not name.
    #[error("the name of the group has control characters or is longer than 4096 bytes")]
    Group,
    /// An image that a lock lacks.
    #[error("this image failed when the lock was written, so the lock is not complete")]
    Failed,
    /// Bytes that are no text.
    #[error("the line is not UTF-8 text")]
    Encoding,
}

/// A list that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Lines that do not parse.
    #[error("{} of the list cannot be used", hod_engine::count(.0.len(), "line"))]
    Lines(Vec<(Origin, String, LineError)>),
    /// Nothing was asked for.
    #[error("the list has no images")]
    Empty,
    /// Groups that were chosen and do not exist.
    #[error("the list has no group {0:?}: it has {1}")]
    Group(String, String),
}

/// Reads lists and arguments into one [`ImageList`].
#[derive(Debug, Default)]
pub struct ListReader {
    lines: Vec<Line>,
    bad: Vec<(Origin, String, LineError)>,
    notices: Vec<String>,
}

impl ListReader {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file's content. `file` is its name for messages.
    pub fn file(&mut self, file: &str, content: &[u8]) {
        // As `>` of PowerShell writes it.
        let decoded = utf16(content);
        let content = decoded.as_ref().map_or(content, String::as_bytes);
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let mut group = None;
        for (position, bytes) in content.split(|byte| *byte == b'\n').enumerate() {
            let origin = Origin { file: Some(file.into()), line: position + 1 };
            let Ok(text) = std::str::from_utf8(bytes) else {
                self.bad.push((origin, String::from_utf8_lossy(bytes).trim().to_owned(), LineError::Encoding));
                continue;
            };
            if let Some(name) = text.trim().strip_prefix("##").filter(|name| !name.starts_with('#')) {
                let name = name.trim();
                if !is_text(name) {
                    self.bad.push((origin, text.trim().to_owned(), LineError::Group));
                }
                group = (!name.is_empty()).then(|| name.into());
                continue;
            }
            if let Some(text) = text.trim().strip_prefix(FAILED) {
                self.bad.push((origin, text.to_owned(), LineError::Failed));
                continue;
            }
            let text = without_comment(text).trim();
            if is_place(text) {
                self.place(origin, text, group.clone());
            } else if !text.is_empty() {
                self.line(origin, text, group.clone());
            }
        }
    }

    /// Adds an image that was named as an argument, from 1 on.
    pub fn argument(&mut self, number: usize, text: &str) {
        self.line(Origin { file: None, line: number }, text.trim(), None);
    }

    fn line(&mut self, origin: Origin, text: &str, group: Option<Box<str>>) {
        match parse_line(text) {
            Ok(Parsed { reference, platforms, name, referrers }) => {
                if reference.tag.is_none() && reference.digest.is_none() {
                    self.notices.push(format!("{origin}: {reference} has no tag, using :latest"));
                }
                let (text, place) = (text.into(), None);
                self.lines.push(Line { origin, text, reference, group, platforms, name, referrers, place });
            }
            Err(error) => self.bad.push((origin, text.to_owned(), error)),
        }
    }

    fn place(&mut self, origin: Origin, text: &str, group: Option<Box<str>>) {
        let parsed = parse_place(text).and_then(|(place, options)| match options.name {
            Some(name) => Ok((place, options.platforms, options.digest, name)),
            None => Err(LineError::Nameless),
        });
        match parsed {
            Ok((place, platforms, digest, name)) => {
                let StoredName { repository, tag } = name.clone();
                let reference = Reference { host: None, name: repository, tag, digest };
                let (place, name, referrers) = (Some(place.into()), Some(name), None);
                let text = text.into();
                self.lines.push(Line { origin, text, reference, group, platforms, name, referrers, place });
            }
            Err(error) => self.bad.push((origin, text.to_owned(), error)),
        }
    }

    /// The images read, only those of `groups` where any are given.
    ///
    /// # Errors
    /// Every line that could not be read, or that nothing is left.
    pub fn finish(self, groups: &[String]) -> Result<ImageList, ListError> {
        if !self.bad.is_empty() {
            return Err(ListError::Lines(self.bad));
        }
        let (mut lines, mut notices) = (self.lines, self.notices);
        for group in groups {
            if !lines.iter().any(|line| line.group.as_deref() == Some(group)) {
                return Err(ListError::Group(group.clone(), group_names(&lines)));
            }
        }
        if !groups.is_empty() {
            lines.retain(|line| line.group.as_deref().is_some_and(|group| groups.iter().any(|it| it == group)));
        }
        if lines.is_empty() {
            return Err(ListError::Empty);
        }
        let mut seen: HashMap<_, Origin> = HashMap::new();
        lines.retain(|line| {
            let key = (
                line.reference.clone(),
                line.platforms.clone(),
                line.name.clone(),
                line.referrers.clone(),
                line.place.clone(),
            );
            match seen.get(&key) {
                None => {
                    seen.insert(key, line.origin.clone());
                    true
                }
                Some(first) => {
                    notices.push(format!("{}: {} is already in the list, at {first}", line.origin, line.reference));
                    false
                }
            }
        });
        Ok(ImageList { lines, notices })
    }
}

fn group_names(lines: &[Line]) -> String {
    let mut names: Vec<&str> = lines.iter().filter_map(|line| line.group.as_deref()).collect();
    names.dedup();
    if names.is_empty() { "no groups".to_owned() } else { names.join(", ") }
}

/// Returns true if an argument or line is a place on this machine, and no image of a registry.
///
/// `docker:27` and `store:1` are images; the names of the other transports are no repositories that anybody uses.
pub fn is_place(argument: &str) -> bool {
    const TRANSPORTS: [&str; 7] =
        ["dir", "oci", "oci-archive", "docker-archive", "docker-daemon", "containers-storage", "tarball"];
    argument.trim_start().split_once(':').is_some_and(|(transport, _)| TRANSPORTS.contains(&transport))
}

struct Parsed {
    reference: Reference,
    platforms: Option<Platforms>,
    name: Option<StoredName>,
    referrers: Option<Vec<PinnedReferrer>>,
}

fn parse_line(text: &str) -> Result<Parsed, LineError> {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    // A host may have such a name, too, with a port behind it.
    let is_held = || first.starts_with("bundle:") || first.starts_with("store:");
    let reference: Reference =
        first.parse().map_err(|error| if is_held() { LineError::Held } else { LineError::Reference(error) })?;
    let options = parse_options(words, reference.stored_tag().as_ref()).map_err(|error| match error {
        LineError::Word(word) if reference.tag.is_none() && reference.digest.is_none() => match word.parse() {
            Ok(tag) => LineError::Blank(first.to_owned(), tag),
            Err(_) => LineError::Word(word),
        },
        error => error,
    });
    let Options { platforms, name, referrers, digest } = options?;
    match digest {
        Some(digest) => Err(LineError::Digest(digest.to_string())),
        None => Ok(Parsed { reference, platforms, name, referrers }),
    }
}

/// The options of a place on this machine, which may have blanks in its path, and what comes before them.
pub(super) fn parse_place(text: &str) -> Result<(&str, Options), LineError> {
    let is_option = |word: &str| ["platform=", "as=", "digest="].iter().any(|option| word.starts_with(option));
    let mut place = text.trim();
    let mut words = Vec::new();
    while let Some((before, word)) = place.rsplit_once(char::is_whitespace).filter(|(_, word)| is_option(word)) {
        words.push(word);
        place = before.trim_end();
    }
    Ok((place, parse_options(words.into_iter(), Some(&Tag::latest()))?))
}

/// The options of a line.
#[derive(Default)]
pub(super) struct Options {
    pub(super) platforms: Option<Platforms>,
    pub(super) name: Option<StoredName>,
    /// Its referrers.
    pub(super) referrers: Option<Vec<PinnedReferrer>>,
    /// Which image a place must have.
    pub(super) digest: Option<Digest>,
}

fn parse_options<'a>(words: impl Iterator<Item = &'a str>, tag: Option<&Tag>) -> Result<Options, LineError> {
    let Options { mut platforms, mut name, mut referrers, mut digest } = Options::default();
    for word in words {
        match word.split_once('=') {
            Some(("platform", list)) => {
                if platforms.replace(list.parse()?).is_some() {
                    return Err(LineError::Twice("platform"));
                }
            }
            Some(("as", text)) => {
                let parsed = stored_name(text, tag)?;
                if name.replace(parsed).is_some() {
                    return Err(LineError::Twice("as"));
                }
            }
            Some(("referrers", list)) => {
                if referrers.replace(pinned_referrers(list)?).is_some() {
                    return Err(LineError::Twice("referrers"));
                }
            }
            Some(("digest", text)) => {
                let parsed = text.parse().map_err(|_| LineError::Digest(text.to_owned()))?;
                if digest.replace(parsed).is_some() {
                    return Err(LineError::Twice("digest"));
                }
            }
            _ => return Err(LineError::Word(word.to_owned())),
        }
    }
    Ok(Options { platforms, name, referrers, digest })
}

/// `none`, or `TAG@DIGEST` with commas, in any order.
fn pinned_referrers(list: &str) -> Result<Vec<PinnedReferrer>, LineError> {
    if list == "none" {
        return Ok(Vec::new());
    }
    let one = |text: &str| {
        let (tag, digest) = text.split_once('@')?;
        let (tag, digest) = (tag.parse().ok().filter(is_companion_tag)?, digest.parse().ok()?);
        Some(PinnedReferrer { tag, digest })
    };
    let mut referrers = list
        .split(',')
        .map(|text| one(text).ok_or_else(|| LineError::Referrer(text.to_owned())))
        .collect::<Result<Vec<_>, _>>()?;
    referrers.sort();
    referrers.dedup();
    Ok(referrers)
}

/// `name` or `name:tag`; without a tag, the image keeps its own.
fn stored_name(text: &str, own: Option<&Tag>) -> Result<StoredName, LineError> {
    if text.contains('@') {
        return Err(LineError::NameShape(text.to_owned()));
    }
    let bad = |source| LineError::Name { text: text.to_owned(), source };
    let (repository, tag) = match text.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag.parse().map_err(bad)?)),
        None => (text, own.cloned()),
    };
    Ok(StoredName { repository: repository.parse().map_err(bad)?, tag })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<ImageList, ListError> {
        let mut reader = ListReader::new();
        reader.file("list", content.as_bytes());
        reader.finish(&[])
    }

    fn names(list: &ImageList) -> Vec<String> {
        list.lines.iter().map(|line| line.reference.to_string()).collect()
    }

    #[test]
    fn takes_what_people_write() {
        let list =
            read("\u{feff}##base\r\nalpine:3.14\r\n\r\n  # note\r\n\tnginx # latest\n##\nquay.io/a/b:1#x").unwrap_err();
        assert!(matches!(&list, ListError::Lines(bad) if bad.len() == 1 && bad[0].0.line == 7), "{list:?}");
        let list =
            read("\u{feff}##base\r\nalpine:3.14\r\n\r\n  # note\r\n\tnginx # latest\n##\nquay.io/a/b:1").unwrap();
        assert_eq!(names(&list), ["alpine:3.14", "nginx", "quay.io/a/b:1"]);
        let groups: Vec<_> = list.lines.iter().map(|line| line.group.as_deref()).collect();
        assert_eq!(groups, [Some("base"), Some("base"), None]);
        assert_eq!(list.notices.len(), 1);
        assert_eq!(list.lines[1].origin.to_string(), "list:5");
    }

    #[test]
    fn options() {
        let list = read("a:1 platform=linux/arm64,linux/amd64 as=b/c:2 # x\nd:3 as=e").unwrap();
        assert_eq!(list.lines[0].platforms.as_ref().unwrap().to_string(), "linux/arm64,linux/amd64");
        assert_eq!(list.lines[0].name.as_ref().unwrap().to_string(), "b/c:2");
        assert_eq!(list.lines[1].name.as_ref().unwrap().to_string(), "e:3");
    }

    #[test]
    fn referrers_of_a_lock() {
        let digest = Digest::sha256(b"");
        let (index, cosign) = (format!("sha256-{}", digest.hex()), format!("sha256-{}.sig", digest.hex()));
        let text = format!("a:1 referrers={cosign}@{digest},{index}@{digest}\nb:1 referrers=none\nc:1");
        let list = read(&text).unwrap();
        let texts = |line: usize| -> Option<Vec<String>> {
            list.lines[line].referrers.as_ref().map(|all| all.iter().map(ToString::to_string).collect())
        };
        assert_eq!(texts(0).unwrap(), [format!("{index}@{digest}"), format!("{cosign}@{digest}")]);
        assert_eq!((texts(1), texts(2)), (Some(Vec::new()), None));
        for bad in ["", "x", "latest@x", &format!("latest@{digest}"), &index, &format!("{index}@{digest},")] {
            assert!(read(&format!("a:1 referrers={bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn places_have_a_name_and_perhaps_a_digest() {
        let digest = Digest::sha256(b"");
        let list = read(&format!("##x\ndir:/a b/c as=web:1 # x\noci:l:q platform=all as=y digest={digest}\ndocker:27"))
            .unwrap();
        let places: Vec<_> = list.lines.iter().map(|line| line.place.as_deref()).collect();
        assert_eq!(places, [Some("dir:/a b/c"), Some("oci:l:q"), None]);
        assert_eq!(names(&list), ["web:1".to_owned(), format!("y:latest@{digest}"), "docker:27".to_owned()]);
        assert_eq!(list.lines[0].group.as_deref(), Some("x"));
        assert_eq!(list.lines[1].platforms, Some(Platforms::All));
        for (bad, says) in [
            ("dir:/a", "needs a name in a list"),
            ("dir:/a as=b digest=x", "not a digest of an image"),
            ("dir:/a as=b as=c", "is given twice"),
            (&format!("web:1 digest={digest}"), "write NAME@DIGEST"),
        ] {
            let Err(ListError::Lines(found)) = read(bad) else { panic!("{bad} was accepted") };
            assert!(found[0].2.to_string().contains(says), "{bad}: {}", found[0].2);
        }
    }

    #[test]
    fn reports_every_bad_line() {
        let Err(ListError::Lines(bad)) =
            read("UPPER:1\ngood:1\na:1 b:2\na:1 platform=x\na:1 as=B\na:1 as=b@c\na:1 as=b as=c\ndocker://x\n")
        else {
            panic!("the list was accepted")
        };
        assert_eq!(bad.iter().map(|(origin, ..)| origin.line).collect::<Vec<_>>(), [1, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn an_image_counts_once_and_nothing_is_an_error() {
        assert_eq!(names(&read("a:1\nb:1\na:1\n").unwrap()), ["a:1", "b:1"]);
        assert_eq!(read("# nothing\n\n"), Err(ListError::Empty));
        assert_eq!(read(""), Err(ListError::Empty));
    }

    #[test]
    fn groups_are_chosen_by_name() {
        let mut reader = ListReader::new();
        reader.file("list", b"##x\na:1\n## y z\nb:1\n");
        reader.argument(1, "c:1");
        let list = reader.finish(&["y z".to_owned()]).unwrap();
        assert_eq!(names(&list), ["b:1"]);
        let mut reader = ListReader::new();
        reader.file("list", b"##x\na:1\n");
        assert!(matches!(reader.finish(&["q".to_owned()]), Err(ListError::Group(..))));
    }

    #[test]
    fn groups_are_named_as_bundles_can_name_them() {
        let long = "x".repeat(4097);
        for (name, is_good) in
            [("a\u{7}b", false), ("a\tb", false), ("a\u{85}b", false), (&long, false), (&long[1..], true)]
        {
            let mut reader = ListReader::new();
            reader.file("list", format!("a:1\n ##{name}\nb:1\n???\n").as_bytes());
            let Err(ListError::Lines(bad)) = reader.finish(&[]) else { panic!("{name:?} was accepted") };
            let places: Vec<_> = bad.iter().map(|(origin, ..)| origin.to_string()).collect();
            assert_eq!(places, if is_good { &["list:4"][..] } else { &["list:2", "list:4"] }, "{name:?}");
            assert!(is_good || bad[0].2 == LineError::Group);
        }
    }

    #[test]
    fn the_list_of_a_real_distribution() {
        let text =
            "##k8s-images\nkubesphere/kube-apiserver:v1.20.6\nkubesphere/pause:3.1\n##example-images\nbusybox:1.31.1\n";
        assert_eq!(read(text).unwrap().lines.len(), 3);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(content in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut reader = ListReader::new();
            reader.file("list", &content);
            let _ = reader.finish(&[]);
        }
    }
}
