//! Work on many things on all processors, as checks have it that hash everything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::observe::Stop;

/// Does `work` for each thing of a queue, in its order, until it is done or asked to stop; gives back what came of it,
/// in any order. Every thread has a state of its own, such as a buffer.
pub(super) fn on_all_processors<T: Sync, S, R: Send>(
    queue: &[T],
    stop: &Stop,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&T, &mut S) -> Option<R> + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(queue.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, state, work) = (sender.clone(), &next, &state, &work);
            scope.spawn(move || {
                let mut state = state();
                while !stop.is_requested() {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    let Some(thing) = queue.get(position) else { break };
                    if let Some(result) = work(thing, &mut state) {
                        let _ = sender.send(result);
                    }
                }
            });
        }
        drop(sender);
        receiver.into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_nothing_after_a_stop() {
        let queue: Vec<u32> = (0..100).collect();
        let stop = Stop::default();
        let mut odd = on_all_processors(&queue, &stop, || (), |number, ()| (number % 2 == 1).then_some(*number));
        odd.sort_unstable();
        assert_eq!(odd, (0..100).filter(|number| number % 2 == 1).collect::<Vec<u32>>());
        assert!(on_all_processors(&[], &stop, || (), |number: &u32, ()| Some(*number)).is_empty());
        stop.request();
        assert!(on_all_processors(&queue, &stop, || (), |number, ()| Some(*number)).is_empty());
    }
}
