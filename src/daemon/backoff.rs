//! How long to wait before something that ended is begun again.

use std::time::Duration;

/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// What ran for so long was well: the pauses begin anew.
const GOOD: Duration = Duration::from_secs(600);

/// Pauses that double.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff { next: PAUSES.0 }
    }

    /// The pause after something that had run for `ran`.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        let pause = if ran >= GOOD { PAUSES.0 } else { self.next };
        self.next = (pause * 2).min(PAUSES.1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_a_good_while() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u64> = (0..11).map(|_| backoff.after(Duration::from_secs(1)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.after(GOOD).as_secs(), 1);
        assert_eq!(backoff.after(Duration::ZERO).as_secs(), 2);
    }
}
