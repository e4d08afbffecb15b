//! Work for several threads, last in first out: a walk stays deep and holds few directories open.

use std::sync::{Condvar, Mutex, PoisonError};

/// A queue that ends when everything in it, and everything that came of it, is done.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    tasks: Vec<T>,
    working: usize,
    stopped: bool,
}

impl<T> Queue<T> {
    /// A queue with these tasks; the last one is done first.
    pub fn new(tasks: Vec<T>) -> Queue<T> {
        Queue { state: Mutex::new(State { tasks, working: 0, stopped: false }), changed: Condvar::new() }
    }

    /// Adds tasks, to be done in their order and before what was there.
    pub fn push(&self, tasks: impl DoubleEndedIterator<Item = T>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tasks.extend(tasks.rev());
        drop(state);
        self.changed.notify_all();
    }

    /// The next task; waits while others may still add some. `None` when all is done or the queue was stopped.
    ///
    /// After each task, [`Queue::done`] is called once.
    pub fn next(&self) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.stopped {
                return None;
            }
            if let Some(task) = state.tasks.pop() {
                state.working += 1;
                return Some(task);
            }
            if state.working == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A task from [`Queue::next`] is done, with all that it added.
    pub fn done(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.working -= 1;
        if state.working == 0 && state.tasks.is_empty() {
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Ends all: nobody gets another task.
    pub fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.changed.notify_all();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn all_that_comes_of_a_task_is_done() {
        let queue = Queue::new(vec![10u64]);
        let sum = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(n) = queue.next() {
                        sum.fetch_add(1, Ordering::Relaxed);
                        queue.push(std::iter::repeat_n(n.saturating_sub(1), if n > 0 { 2 } else { 0 }));
                        queue.done();
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), (1 << 11) - 1);
    }
}
