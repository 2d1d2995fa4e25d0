//! Many images at a time: each succeeds or fails by itself, and the observer hears of each.

use futures_util::{FutureExt as _, StreamExt as _};

use super::elsewhere;
use hod_engine::copy::{CopySummary, Engine};
use hod_engine::endpoint::Placement;
use hod_engine::observe::Event;
use hod_oci::{Descriptor, Digest};

/// What happens to the other images after one has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are tried.
    KeepGoing,
    /// No further one is begun, and those under way are given up.
    Stop,
    /// The same, and the observer does not hear of the failure: the command ends with it.
    Return,
}

/// What the observer hears of an image that is done.
#[derive(Debug)]
pub struct Transfer {
    digest: Digest,
    unchanged: bool,
    bytes: u64,
    foreign: Vec<Descriptor>,
}

impl Transfer {
    /// An image with this digest at its destination, and what copying it took; some layers may have stayed elsewhere.
    pub fn new<'a>(digest: Digest, copied: &CopySummary, foreign: impl IntoIterator<Item = &'a Descriptor>) -> Self {
        let foreign = foreign.into_iter().cloned().collect();
        Self { digest, unchanged: copied.unchanged, bytes: copied.bytes(Placement::Written), foreign }
    }

    /// Tells the observer.
    pub fn tell(&self, engine: &Engine, name: &str) {
        let (digest, unchanged, bytes) = (&self.digest, self.unchanged, self.bytes);
        engine.observer().on(&Event::ImageDone { name, digest, unchanged, bytes });
        elsewhere::tell(engine.observer(), name, &self.foreign);
    }
}

/// What became of the images, each list in the order in which they were given. `K` is what is kept of an image.
#[derive(Debug)]
pub struct Outcome<K, T, E> {
    /// Those that succeeded.
    pub done: Vec<(K, T)>,
    /// Those that failed.
    pub failed: Vec<(K, E)>,
    /// Whether images were left because one had failed.
    pub stopped_early: bool,
}

/// What became of one image; without a [`Transfer`] the observer hears nothing of it.
pub type ImageResult<T, E> = Result<(T, Option<Transfer>), E>;

/// Runs `one` for each image, many at a time. It returns what is to be kept of the image, with what became of it.
pub async fn run<I, K, T, E: std::error::Error + 'static, F: Future<Output = (K, ImageResult<T, E>)>>(
    engine: &Engine,
    images: Vec<I>,
    on_failure: OnFailure,
    name: impl Fn(&K) -> String,
    one: impl Fn(I) -> F,
) -> Outcome<K, T, E> {
    let mut running = futures_util::stream::iter(images.into_iter().enumerate())
        .map(|(position, image)| one(image).map(move |(kept, result)| (position, kept, result)))
        .buffer_unordered(engine.limits().images);
    let (mut done, mut failed, mut stopped_early) = (Vec::new(), Vec::new(), false);
    while let Some((position, kept, result)) = running.next().await {
        let name = name(&kept);
        match result {
            Ok((value, transfer)) => {
                if let Some(transfer) = transfer {
                    transfer.tell(engine, &name);
                }
                done.push((position, (kept, value)));
            }
            Err(error) => {
                if on_failure != OnFailure::Return {
                    engine.observer().on(&Event::ImageFailed { name: &name, cause: &error });
                }
                failed.push((position, (kept, error)));
                if on_failure != OnFailure::KeepGoing {
                    stopped_early = true;
                    break;
                }
            }
        }
    }
    drop(running);
    Outcome { done: in_order(done), failed: in_order(failed), stopped_early }
}

fn in_order<T>(mut images: Vec<(usize, T)>) -> Vec<T> {
    images.sort_by_key(|(position, _)| *position);
    images.into_iter().map(|(_, image)| image).collect()
}
