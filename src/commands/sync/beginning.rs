//! The start of every sync: its file, and a plan without name clashes.

use std::path::Path;

use crate::commands::input;
use crate::context::Context;
use crate::failure::{Failure, Kind};
use hod_steps::sync::Task;
use hod_steps::sync::destination::Plan;

/// The largest configuration file that is read.
const FILE_LIMIT: u64 = hod_io::fs::CONFIG_LIMIT;

/// The text of a configuration file.
pub(super) async fn configuration(path: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    let path = path.to_owned();
    input::blocking(move || {
        let unreadable =
            |error: std::io::Error| Failure::new(Kind::Usage, format!("cannot read {}", path.display())).because(error);
        let mut text = String::new();
        let file = fs_err::File::open(&path).map_err(unreadable)?;
        let read = file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(unreadable)?;
        if read as u64 > FILE_LIMIT {
            return Err(Failure::new(Kind::Usage, format!("{} has more than {FILE_LIMIT} bytes", path.display())));
        }
        Ok(text)
    })
    .await
}

/// The tasks of a plan in which every image has a place of its own.
pub(super) fn checked(context: &Context, mut plan: Plan) -> Result<Vec<Task>, Failure> {
    let Some(last) = plan.problems.pop() else { return Ok(plan.tasks) };
    for problem in plan.problems {
        context.print_failure(&Failure::of(Kind::Usage, problem));
    }
    let failure = Failure::of(Kind::Usage, last);
    Err(failure.hint("nothing was copied; --scoped adds the source's name to each destination"))
}
