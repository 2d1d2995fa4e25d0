//! `hod stat`: the layers and history of an image, in umoci's format.

use std::process::ExitCode;
use std::sync::Arc;

use super::opening::{self, Purpose};
use crate::args::StatArgs;
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::report::{self, Align};
use crate::terminal;
use hod_image::inspect::inspect;
use hod_image::stat::{Stat, Step};

pub(crate) async fn run(context: &Context, args: StatArgs) -> Result<ExitCode, Failure> {
    let location = opening::location(&args.image)?;
    let places = opening::places(context, &location, None, &args.registry)?;
    let places = opening::with_bundles(context, places, [&location], Purpose::Look).await?;
    let source = opening::open(&Arc::new(places), &location).await?;
    let failed = |error| Failure::new(Kind::Failed, format!("cannot show the layers of {location}")).because(error);
    let found = inspect(&context.engine(&args.retry), &source, &context.platform()?).await.map_err(failed)?;
    let stat = Stat::of(&found);
    context.result(&stat, &text(&stat))?;
    Ok(ExitCode::SUCCESS)
}

fn text(stat: &Stat) -> String {
    let head = [
        ("LAYER", Align::Left),
        ("CREATED", Align::Left),
        ("CREATED BY", Align::Left),
        ("SIZE", Align::Right),
        ("COMMENT", Align::Left),
    ];
    let none = || "<none>".to_owned();
    let row = |step: &Step| {
        let layer = step.layer.as_ref();
        vec![
            layer.map_or_else(none, |layer| layer.digest.to_string()),
            step.created().map_or_else(none, terminal::printable),
            terminal::printable(step.created_by()),
            layer.map_or_else(none, |layer| report::bytes(layer.size)),
            terminal::printable(step.comment()),
        ]
    };
    report::table(&head, &stat.history.iter().map(row).collect::<Vec<_>>())
}
