//! Reads lists from files and arguments, and resolves paths on the command line.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinError;

use super::UsedRegistries;
use crate::args::ImageArgs;
use crate::context::Context;
use crate::failure::{self, Failure, HoldingsFault, Kind};
use crate::{report, terminal};
use hod_bundle::BundleFiles;
use hod_image::attached::{belongs_to_another, with_attached};
use hod_image::contents::{ContentsReader, Holdings, StoredImage};
use hod_image::list::{ImageList, Line, LineError, ListError, ListReader, Origin, is_place};
use hod_image::open::Places;
use hod_image::places::{PlaceImage, PlaceRequest, find_places};
use hod_image::resolve::ResolveOptions;
use hod_oci::{Platform, Platforms};
use hod_steps::select::{SelectError, UnmatchedLine, select};
use hod_store::Store;
use hod_transport::Location;

/// The largest list that is read, in bytes and lines. The longest in use have a few thousand lines.
const LIST_LIMIT: u64 = 32 * 1024 * 1024;
const LINES_LIMIT: usize = 100_000;

/// The registries that images are looked up at.
pub(super) fn concerned(args: &ImageArgs, list: &ImageList) -> UsedRegistries {
    let from = args.from.clone().unwrap_or_default();
    let hosts = list.lines.iter().filter(|line| line.place.is_none());
    let hosts = hosts.filter_map(|line| from.qualify(&line.reference).ok()?.host).collect::<BTreeSet<_>>();
    UsedRegistries::new(hosts.iter().map(|host| &**host)).with_main(args.from.as_ref().map(|from| &*from.host))
}

/// Reads the lists and images that were named; every bad line of all of them is reported at once.
pub(super) fn image_list(
    context: &Context,
    files: &[PathBuf],
    images: &[String],
    groups: &[String],
) -> Result<ImageList, Failure> {
    numbered_list(context, files, images.iter().enumerate(), groups)
}

/// The same, where only some of the arguments are images.
fn numbered_list<'a>(
    context: &Context,
    files: &[PathBuf],
    images: impl Iterator<Item = (usize, &'a String)>,
    groups: &[String],
) -> Result<ImageList, Failure> {
    let mut reader = ListReader::new();
    for file in files {
        let name = file.to_string_lossy();
        let bytes = read_list(file)
            .map_err(|error| Failure::new(Kind::Usage, format!("cannot read the list {name}")).because(error))?;
        reader.file(&name, &bytes);
    }
    for (position, image) in images {
        if is_list(image) {
            context.say(&format!("note: {image} is also a file: -f {image} reads it as a list"));
        }
        reader.argument(position + 1, image);
    }
    let list = reader.finish(groups).map_err(|error| list_failure(context, files, error))?;
    for notice in &list.notices {
        context.say(&format!("note: {}", terminal::printable(notice)));
    }
    Ok(list)
}

/// Returns true if an argument may be a list that somebody forgot to give as one.
fn is_list(image: &str) -> bool {
    let is_text = Path::new(image).extension().is_some_and(|end| end == "txt" || end == "list" || end == "lock");
    is_text && Path::new(image).is_file()
}

/// What lists and arguments name, in the order in which they do.
#[derive(Default)]
pub(super) struct ImagesAndPlaces {
    /// The images that registries have.
    pub(super) images: ImageList,
    /// Those that are in places on this machine.
    pub(super) places: Vec<PlaceRequest>,
    /// Lines of both kinds.
    pub(super) order: Vec<Origin>,
}

/// Reads lists and arguments in which there may be places.
pub(super) fn images_and_places(context: &Context, args: &ImageArgs) -> Result<ImagesAndPlaces, Failure> {
    let (places, images): (Vec<_>, Vec<_>) = args.images.iter().enumerate().partition(|(_, image)| is_place(image));
    let argument = |(position, text): (usize, &String)| PlaceRequest {
        origin: Origin { file: None, line: position + 1 },
        text: text.trim().into(),
        group: None,
    };
    let mut all = ImagesAndPlaces::default();
    if !images.is_empty() || !args.file.is_empty() || places.is_empty() {
        all.images = numbered_list(context, &args.file, images.into_iter(), &args.group)?;
    }
    all.order = all.images.lines.iter().map(|line| line.origin.clone()).collect();
    // Arguments stand behind the lists, and places among them where they were written.
    let places: Vec<PlaceRequest> = places.into_iter().map(argument).collect();
    let begin = all.order.iter().position(|origin| origin.file.is_none()).unwrap_or(all.order.len());
    all.order.extend(places.iter().map(|asked| asked.origin.clone()));
    all.order.get_mut(begin..).unwrap_or_default().sort();
    let is_local = |line: &Line| line.place.is_some();
    let (listed, lines): (Vec<_>, Vec<_>) = std::mem::take(&mut all.images.lines).into_iter().partition(is_local);
    all.images.lines = lines;
    all.places = places.into_iter().chain(listed.into_iter().map(asked_of)).collect();
    Ok(all)
}

/// A place as a list has it.
pub(super) fn asked_of(Line { origin, text, group, .. }: Line) -> PlaceRequest {
    PlaceRequest { origin, text, group }
}

/// Opens the places that were named; one that cannot be used ends the command before it has begun.
pub(super) async fn open_places(
    context: &Context,
    places: &Arc<Places>,
    asked: &[PlaceRequest],
) -> Result<Vec<PlaceImage>, Failure> {
    find_places(places, asked).await.map_err(|bad| {
        for (what, error) in &bad {
            context.print_error(what, error);
        }
        let message = format!("{} cannot be used", report::count(bad.len(), "place"));
        Failure::new(Kind::Usage, message)
            .hint("no image was resolved; correct these places and run the same command again")
    })
}

fn read_list(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LIST_LIMIT + 1).read_to_end(&mut content)
    } else {
        fs_err::File::open(file)?.take(LIST_LIMIT + 1).read_to_end(&mut content)
    };
    if read? as u64 > LIST_LIMIT {
        return Err(std::io::Error::other(format!("more than {LIST_LIMIT} bytes: not a list of images")));
    }
    if content.split(|byte| *byte == b'\n').nth(LINES_LIMIT + 1).is_some() {
        return Err(std::io::Error::other(format!("more than {LINES_LIMIT} lines: not a list of images")));
    }
    Ok(content)
}

fn list_failure(context: &Context, files: &[PathBuf], error: ListError) -> Failure {
    let ListError::Lines(lines) = &error else {
        let is_empty = error == ListError::Empty && !files.is_empty();
        let failure = Failure::of(Kind::Usage, error);
        let files: Vec<_> = files.iter().map(|file| terminal::printable(&file.to_string_lossy())).collect();
        let hint = || format!("{} has only blank lines and comments; write one image per line", files.join(", "));
        return if is_empty { failure.hint(hint()) } else { failure };
    };
    for (origin, text, problem) in lines {
        context.print_error(&format!("{origin}: {text}"), problem);
    }
    let hint = if lines.iter().all(|(.., problem)| *problem == LineError::Failed) {
        "pull these images again with the same --lock, which completes it; to go on without them, remove their lines"
    } else if lines.iter().any(|(_, text, _)| text.starts_with("- ") || text.ends_with(':')) {
        "this looks like YAML, but a list has one image per line; hod sync --src yaml reads the YAML of skopeo"
    } else {
        "no image was resolved; correct these lines and run the same command again"
    };
    Failure::of(Kind::Usage, error).hint(hint)
}

/// The images that arguments and lists name, or `None` where they name none: then all are meant.
pub(super) fn wanted(context: &Context, args: &ImageArgs) -> Result<Option<ImageList>, Failure> {
    if args.file.is_empty() && args.images.is_empty() {
        if args.group.is_empty() {
            return Ok(None);
        }
        return Err(Failure::new(Kind::Usage, "--group selects from a list: give one with --file"));
    }
    image_list(context, &args.file, &args.images, &args.group).map(Some)
}

/// The images of a store or bundle that were asked for, or all of them.
pub(super) async fn chosen<H>(context: &Context, holdings: &H, args: &ImageArgs) -> Result<Vec<StoredImage>, Failure>
where
    H: Holdings<Error: HoldingsFault> + Clone + Send + 'static,
{
    let wanted = wanted(context, args)?;
    let (holdings, options) = (holdings.clone(), resolve_options(args, false));
    let found = blocking(move || {
        let Some(list) = wanted else {
            let mut images = ContentsReader::new(&holdings).images().map_err(Failure::of_contents)?;
            images.retain(|held| options.referrers || !belongs_to_another(held));
            return Ok(Ok(images));
        };
        match select(&holdings, list, &options) {
            Ok(images) if options.referrers => Ok(Ok(with_attached(&holdings, images).map_err(Failure::of_contents)?)),
            selected => Ok(selected),
        }
    })
    .await?;
    found.map_err(|missing| unmatched(context, &missing))
}

/// Says which lines of a list have no image, and why.
pub(super) fn unmatched<E: HoldingsFault + 'static>(context: &Context, lines: &[UnmatchedLine<E>]) -> Failure {
    for UnmatchedLine { line, error } in lines {
        context.print_error(&format!("{}: {}", line.origin, line.text), error);
    }
    let message = format!("{} of the list cannot be used", report::count(lines.len(), "image"));
    let is_damage =
        |line: &UnmatchedLine<E>| matches!(&line.error, SelectError::Contents(error) if failure::is_damage(error));
    if lines.iter().any(is_damage) {
        return Failure::new(Kind::Corrupt, message).hint(failure::DAMAGED_STORE);
    }
    // The images are there: only their names clash.
    if lines.iter().all(|line| matches!(line.error, SelectError::Taken(_))) {
        return Failure::new(Kind::Failed, message).hint("nothing was written");
    }
    Failure::new(Kind::Failed, message)
        .hint("nothing was written; list the available images with hod ls, and pull the missing ones")
}

/// Runs work that blocks on a thread for such work.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(unexpected)?
}

/// A failure of hod itself: work that ended before it was done.
pub(super) fn unexpected(error: JoinError) -> Failure {
    Failure::new(Kind::Failed, "a thread of hod ended unexpectedly").because(error)
}

/// How the images of a command are to be resolved.
pub(super) fn resolve_options(args: &ImageArgs, fail_fast: bool) -> ResolveOptions {
    let asked = args.all_platforms || !args.platform.is_empty();
    let platforms = if args.all_platforms || args.platform.contains(&Platforms::All) {
        Platforms::All
    } else if asked {
        let mut all: Vec<Platform> = Vec::new();
        for platforms in &args.platform {
            if let Platforms::Only(some) = platforms {
                all.extend(some.iter().filter(|platform| !all.contains(platform)).cloned().collect::<Vec<_>>());
            }
        }
        Platforms::Only(all)
    } else {
        Platforms::Only(vec![Platform::native_linux()])
    };
    ResolveOptions {
        from: args.from.clone().unwrap_or_default(),
        platforms,
        platforms_asked: asked,
        names: args.names,
        fail_fast,
        referrers: !args.no_referrers,
        referrers_api: args.referrers.unwrap_or_default(),
        admission: None,
        scratch: None,
    }
}

/// What a path stands for.
pub(super) enum Target {
    /// A registry root.
    Store(Store),
    /// A bundle in a file.
    Bundle(PathBuf),
    /// A bundle on standard input.
    Stream,
}

/// Finds out what a path stands for: `-`, a bundle, or a registry root.
pub(super) fn target(path: &Path) -> Result<Target, Failure> {
    target_in(path, &[])
}

/// The same, with more folders in which volumes may be.
pub(super) fn target_in(path: &Path, folders: &[PathBuf]) -> Result<Target, Failure> {
    if path == Path::new("-") {
        return Ok(Target::Stream);
    }
    let text = path.to_string_lossy();
    if let Some(file) = text.strip_prefix("bundle:") {
        return Ok(Target::Bundle(file.into()));
    }
    if let Some(folder) = text.strip_prefix("store:") {
        return store(Path::new(folder)).map(Target::Store);
    }
    match fs_err::metadata(path.join(hod_store::layout::REGISTRY)) {
        Ok(found) if found.is_dir() => return store(path).map(Target::Store),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(Failure::new(Kind::Failed, format!("cannot look into {}", path.display())).because(error));
        }
        _ => {}
    }
    // A folder without a registry root may hold volumes, and volumes have a common name that is no file.
    match super::media::files(path, folders)? {
        BundleFiles::One(file) => fs_err::metadata(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => not_there(&file),
            _ => Failure::of(Kind::Failed, error),
        })?,
        BundleFiles::Volumes(_) => return Ok(Target::Bundle(path.to_owned())),
    };
    Ok(Target::Bundle(path.to_owned()))
}

/// The failure of a path at which nothing is. Who writes it as skopeo would means another place.
fn not_there(file: &Path) -> Failure {
    let text = file.to_string_lossy();
    let shown = match text.parse() {
        Ok(Location::Oci(_, None) | Location::OciArchive(_, None) | Location::DockerArchive(_, None)) => {
            format!("hod list-tags {text} shows what is in it")
        }
        Ok(_) => format!("hod inspect {text} shows what it is"),
        Err(_) => return Failure::new(Kind::Failed, format!("{text} does not exist")),
    };
    Failure::new(Kind::Usage, format!("{text} is neither a store nor a bundle"))
        .hint(format!("{shown}; hod pull copies it into a store"))
}

/// Opens a store for reading.
pub(super) fn store(path: &Path) -> Result<Store, Failure> {
    Store::open(path).map_err(|error| Failure::of(Kind::Failed, error))
}
