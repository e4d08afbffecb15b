//! How many requests this process has made to stores that are far away, and how many failed.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a request was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// To read or list.
    Read,
    /// To store an object.
    Write,
    /// To delete one.
    Delete,
}

static COUNTS: [[AtomicU64; 2]; 3] = [const { [const { AtomicU64::new(0) }; 2] }; 3];

/// Counts a request by its result, which is given back. An answer that what was asked for is not there is an answer.
pub(super) fn counted<T, E>(
    operation: Operation,
    result: Result<T, E>,
    is_answer: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let failed = result.as_ref().err().is_some_and(|e| !is_answer(e));
    COUNTS[operation as usize][usize::from(failed)].fetch_add(1, Ordering::Relaxed);
    result
}

/// The requests since the process began: what for, how they ended, and how many.
pub fn requests() -> impl Iterator<Item = (&'static str, &'static str, u64)> {
    let operations = [("read", Operation::Read), ("write", Operation::Write), ("delete", Operation::Delete)];
    operations.into_iter().flat_map(|(word, operation)| {
        let of = |failed: usize| COUNTS[operation as usize][failed].load(Ordering::Relaxed);
        [(word, "success", of(0)), (word, "failure", of(1))]
    })
}
