//! Times of files and instants of snapshots.

/// A file's time as the kernel gives it: seconds since 1970 (possibly negative) and 0 to 999,999,999 ns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Time {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub sec: i64,
    /// Nanoseconds after that second.
    pub nsec: u32,
}

impl Time {
    /// A time from nanoseconds since 1970.
    pub fn from_ns(ns: i64) -> Time {
        Time { sec: ns.div_euclid(1_000_000_000), nsec: ns.rem_euclid(1_000_000_000) as u32 }
    }

    /// Nanoseconds since 1970 where they fit in 64 bits (the years 1678 to 2261).
    pub fn to_ns(self) -> Option<i64> {
        self.sec.checked_mul(1_000_000_000)?.checked_add(i64::from(self.nsec))
    }
}

/// An instant of history in nanoseconds since 1970: the time of a snapshot, or the end of a period that a name denotes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Instant(pub i64);
