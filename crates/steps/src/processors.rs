//! Distributes work over all processors, for checks that hash everything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use hod_engine::observe::Stop;

/// What the threads take from a queue, in its order and each thing once, until there is nothing left or all are asked to
/// stop.
#[derive(Debug)]
pub(super) struct WorkQueue<'a, T> {
    queue: &'a [T],
    next: &'a AtomicUsize,
    stop: &'a Stop,
}

impl<'a, T> Iterator for WorkQueue<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        if self.stop.is_requested() {
            return None;
        }
        self.queue.get(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Has a thread on each processor `work` on what it takes from the queue, and gives back what they found, in any order.
pub(super) fn on_all_processors<T: Sync, R: Send>(
    queue: &[T],
    stop: &Stop,
    work: impl Fn(WorkQueue<'_, T>, &dyn Fn(R)) + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(queue.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                work(WorkQueue { queue, next, stop }, &|found| {
                    let _ = sender.send(found);
                });
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
    fn everything_is_taken_once_and_nothing_after_a_stop() {
        let queue: Vec<u32> = (0..100).collect();
        let stop = Stop::default();
        let odd = |taken: WorkQueue<'_, u32>, found: &dyn Fn(u32)| {
            taken.copied().filter(|number| number % 2 == 1).for_each(found);
        };
        let mut found = on_all_processors(&queue, &stop, odd);
        found.sort_unstable();
        assert_eq!(found, (0..100).filter(|number| number % 2 == 1).collect::<Vec<u32>>());
        assert!(on_all_processors(&[], &stop, odd).is_empty());
        stop.request();
        assert!(on_all_processors(&queue, &stop, odd).is_empty());
    }
}
