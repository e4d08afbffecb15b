//! What is reported while something long runs: one interface for counting, passed in. Nothing here prints.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Total {
    /// Files, or whatever the phase counts one by one.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Hears how work goes on. Called from many threads at once, and often: every method is quick and never fails.
///
/// Phases follow each other and do not nest: `start` ends the one before, `finish` the last. What is counted outside a phase
/// counts for no phase. A result never depends on who listens: whatever a caller must know is in the result as well.
pub trait Progress: Send + Sync {
    /// A phase begins: what is being done, in a word or two (`scanning`, `copying`), and how much of it there is, if known.
    fn start(&self, phase: &str, total: Option<Total>);

    /// There is this much more to do in this phase than was known before.
    fn expect(&self, more: Total);

    /// So much was done since the last call.
    fn add(&self, files: u64, bytes: u64);

    /// Something happened that is worth a line while it runs.
    fn note(&self, message: &str);

    /// The last phase is over.
    fn finish(&self);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn start(&self, _phase: &str, _total: Option<Total>) {}
    fn expect(&self, _more: Total) {}
    fn add(&self, _files: u64, _bytes: u64) {}
    fn note(&self, _message: &str) {}
    fn finish(&self) {}
}

/// Passes everything on and keeps the sums over all phases, so that a summary and the display count the same things.
pub struct Tally<'a> {
    next: &'a dyn Progress,
    files: AtomicU64,
    bytes: AtomicU64,
    notes: AtomicU64,
}

impl<'a> Tally<'a> {
    /// Sums of zero in front of `next`.
    pub fn new(next: &'a dyn Progress) -> Tally<'a> {
        Tally { next, files: AtomicU64::new(0), bytes: AtomicU64::new(0), notes: AtomicU64::new(0) }
    }

    /// Files and bytes added so far.
    pub fn done(&self) -> Total {
        Total { files: self.files.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// Notes made so far.
    pub fn notes(&self) -> u64 {
        self.notes.load(Ordering::Relaxed)
    }
}

impl Progress for Tally<'_> {
    fn start(&self, phase: &str, total: Option<Total>) {
        self.next.start(phase, total);
    }

    fn expect(&self, more: Total) {
        self.next.expect(more);
    }

    fn add(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.next.add(files, bytes);
    }

    fn note(&self, message: &str) {
        self.notes.fetch_add(1, Ordering::Relaxed);
        self.next.note(message);
    }

    fn finish(&self) {
        self.next.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_sums_over_phases_and_threads() {
        let tally = Tally::new(&Quiet);
        tally.start("scanning", None);
        tally.add(2, 0);
        tally.start("copying", Some(Total { files: 2, bytes: 40 }));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| tally.add(1, 10)));
            }
        });
        tally.note("one file went away");
        tally.finish();
        assert_eq!(tally.done(), Total { files: 4002, bytes: 40_000 });
        assert_eq!(tally.notes(), 1);
    }

    #[test]
    fn a_tally_passes_everything_on() {
        let inner = Tally::new(&Quiet);
        let outer = Tally::new(&inner);
        outer.add(1, 5);
        outer.note("x");
        assert_eq!((inner.done(), inner.notes()), (Total { files: 1, bytes: 5 }, 1));
    }
}
