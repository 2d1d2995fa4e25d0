//! Lists from files and arguments, and what a path on the command line stands for.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::cli::args::ImageArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Kind};
use crate::cli::terminal;
use crate::oci::{Platform, Platforms};
use crate::pipeline::list::{ImageList, ListError, ListReader};
use crate::pipeline::resolve::ResolveOptions;
use crate::store::Store;

/// The largest list that is read. The longest in use have a few thousand lines.
const LIST_LIMIT: u64 = 64 * 1024 * 1024;

/// Reads the lists and images that were named; every bad line of all of them is reported at once.
pub(super) fn image_list(
    context: &Context,
    files: &[PathBuf],
    images: &[String],
    groups: &[String],
) -> Result<ImageList, Failure> {
    let mut reader = ListReader::new();
    for file in files {
        let name = file.to_string_lossy();
        let content = read_list(file)
            .map_err(|error| Failure::new(Kind::Usage, format!("cannot read the list {name}")).because(error))?;
        reader.file(&name, &content);
    }
    for (position, image) in images.iter().enumerate() {
        reader.argument(position + 1, image);
    }
    let list = reader.finish(groups).map_err(|error| list_failure(context, error))?;
    for notice in &list.notices {
        context.say(&format!("note: {}", terminal::printable(notice)));
    }
    Ok(list)
}

fn read_list(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LIST_LIMIT + 1).read_to_end(&mut content)
    } else {
        fs_err::File::open(file)?.take(LIST_LIMIT + 1).read_to_end(&mut content)
    };
    if read? as u64 > LIST_LIMIT {
        return Err(std::io::Error::other(format!("more than {LIST_LIMIT} bytes: this is no list of images")));
    }
    Ok(content)
}

fn list_failure(context: &Context, error: ListError) -> Failure {
    let ListError::Lines(lines) = &error else {
        return Failure::of(Kind::Usage, error);
    };
    for (origin, text, problem) in lines {
        context.print_error(&format!("{origin}: {text}"), problem);
    }
    Failure::of(Kind::Usage, error).hint("nothing was looked up; mend these lines and run the same command again")
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
    if path == Path::new("-") {
        return Ok(Target::Stream);
    }
    let text = path.to_string_lossy();
    if let Some(file) = text.strip_prefix("bundle:") {
        return Ok(Target::Bundle(file.into()));
    }
    let path = text.strip_prefix("store:").map_or(path, Path::new);
    let metadata = fs_err::metadata(path).map_err(|error| Failure::of(Kind::Failed, error))?;
    if metadata.is_dir() { store(path).map(Target::Store) } else { Ok(Target::Bundle(path.to_owned())) }
}

/// Opens a store for reading.
pub(super) fn store(path: &Path) -> Result<Store, Failure> {
    Store::open(path).map_err(|error| Failure::of(Kind::Failed, error))
}
