//! `hod ls`: the images of a store or bundle, with shared sizes.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::input::{self, Target};
use super::{bundle_failure, media};
use crate::args::LsArgs;
use crate::context::Context;
use crate::delta;
use crate::failure::Failure;
use crate::report::{self, Align};
use crate::terminal;
use crate::terminal::Interruptible;
use hod_bundle::BundleReader;
use hod_image::contents::ContentsReader;
use hod_image::listing::Listing;

pub(crate) async fn run(context: &Context, args: LsArgs) -> Result<ExitCode, Failure> {
    let target = input::target(args.target.path())?;
    let stop = context.stop.clone();
    let (listing, damaged) = input::blocking(move || match target {
        Target::Store(store) => {
            let found = ContentsReader::new(&store).images_and_damage();
            let (images, damaged) = found.map_err(Failure::of_contents)?;
            Ok((Listing::of_images(&images), damaged))
        }
        Target::Bundle(path) => Ok((Listing::of_header(&*media::header(&path, &[])?), Vec::new())),
        Target::Stream => {
            let reader = BundleReader::new(Interruptible::stdin(&stop));
            let reader = reader.map_err(|error| bundle_failure::of("-".as_ref(), error))?;
            Ok((Listing::of_header(reader.header()), Vec::new()))
        }
    })
    .await?;
    context.result(&listing, &text(&listing))?;
    damaged.into_iter().next().map_or(Ok(ExitCode::SUCCESS), |error| Err(Failure::of_contents(error)))
}

fn text(listing: &Listing) -> String {
    let head = [
        ("IMAGE", Align::Left),
        ("DIGEST", Align::Left),
        ("PLATFORMS", Align::Left),
        ("SIZE", Align::Right),
        ("ONLY HERE", Align::Right),
    ];
    let rows: Vec<Vec<String>> = listing
        .images
        .iter()
        .map(|image| {
            vec![
                image.name.clone(),
                image.digest.short(),
                terminal::printable(&image.platforms.join(",")),
                report::bytes(image.size),
                report::bytes(image.unique),
            ]
        })
        .collect();
    let mut text = format!(
        "{}\n{}, {} in all, {} unique\n",
        report::table(&head, &rows),
        report::count(listing.images.len(), "image"),
        report::bytes(listing.bytes_of_images),
        report::bytes(listing.bytes_unique),
    );
    if listing.required > 0 {
        let _ = writeln!(
            text,
            "delta: its target must have {} ({}) that it leaves out",
            report::count(listing.required, "content"),
            report::bytes(listing.bytes_required),
        );
        let _ = writeln!(text, "delta: {}", terminal::printable(&delta::base_text(&listing.base)));
    }
    text
}
