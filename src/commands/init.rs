//! `hod init` and `hod new`: empty places, and images without layers.

use std::process::ExitCode;

use super::input;
use crate::args::{InitArgs, NewArgs};
use crate::context::Context;
use crate::documents::{NewPlace, OneDigest};
use crate::failure::{Failure, Kind};
use hod_image::new_image::NewImage;
use hod_store::Store;
use hod_transport::{Layout, LayoutImage, Location};

/// Makes an empty layout or store.
pub(crate) async fn init(context: &Context, args: InitArgs) -> Result<ExitCode, Failure> {
    let location: Location = args.place.parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let (place, failed) = (location.to_string(), format!("cannot create {location}"));
    let there = Failure::new(Kind::Failed, format!("{location} already exists, and has images"));
    // What is there and empty is what is asked for: most likely this command was interrupted, or ran before.
    input::blocking(move || match location {
        Location::Oci(path, None) => match Layout::open(&path) {
            Ok(layout) if layout.images().is_ok_and(|images| images.is_empty()) => Ok(()),
            Ok(_) => Err(there),
            Err(_) => {
                Layout::create(&path).map(drop).map_err(|error| Failure::new(Kind::Failed, failed).because(error))
            }
        },
        Location::Store(root, None) => match Store::open(&root) {
            Ok(store) if store.repositories().is_ok_and(|names| names.is_empty()) => Ok(()),
            Ok(_) => Err(there),
            Err(_) => Store::create(&root).map(drop).map_err(|error| Failure::new(Kind::Failed, failed).because(error)),
        },
        other => {
            let failure = Failure::new(Kind::Usage, format!("{other} is neither a layout nor a store"));
            Err(failure.hint("write oci:DIR or store:DIR"))
        }
    })
    .await?;
    context.result(&NewPlace { place }, "")?;
    Ok(ExitCode::SUCCESS)
}

/// Makes an image without layers in a layout.
pub(crate) async fn new(context: &Context, args: NewArgs) -> Result<ExitCode, Failure> {
    let location: Location = args.image.parse().map_err(|error| Failure::of(Kind::Usage, error))?;
    let platform = args.platform.map_or_else(|| context.platform(), Ok)?;
    let Location::Oci(path, Some(LayoutImage::Name(name))) = &location else {
        let failure = Failure::new(Kind::Usage, format!("{location} is not a name in a layout"));
        return Err(failure.hint("write oci:DIR:NAME; hod copy copies the image to other places"));
    };
    let failed = || Failure::new(Kind::Failed, format!("cannot create {location}"));
    let layout = path.clone();
    let layout = input::blocking(move || Layout::open(&layout).map_err(|error| Failure::of(Kind::Failed, error)));
    let layout = layout
        .await
        .map_err(|failure| failure.hint(format!("create the layout with hod init oci:{}", path.display())))?;
    let image = NewImage::new(&platform).map_err(|error| failed().because(error))?;
    let asked = LayoutImage::Name(name.clone());
    let there = if layout.has(Some(&asked)).map_err(|error| failed().because(error))? {
        Some(layout.find(Some(&asked)).map_err(|error| failed().because(error))?.digest)
    } else {
        None
    };
    let digest = image.digest();
    // The same image under that name is what is asked for.
    if there.is_some_and(|there| there != digest) {
        let failure = Failure::new(Kind::Failed, format!("{location} already exists"));
        return Err(failure.hint(format!("remove the name with hod rm {location}")));
    }
    image.write(&layout, name).await.map_err(|error| failed().because(error))?;
    context.result(&OneDigest { digest: digest.into() }, &format!("{digest}\n"))?;
    Ok(ExitCode::SUCCESS)
}
