//! What several commands say about time.

/// The help that a command with a time shows after its options.
pub(super) const TIMES: &str = "\
Times: 2025, 2025-09, 2025-09-20, 2025-09-20T14:30 and 2025-09-20T14:30:05 are the end of the period they name, in the time \
zone of the configuration; a Z or an offset such as +02:00 after the time says another one. Seconds since 1970, latest, \
today, yesterday, 5m, 1h and 2d, \"yesterday 14:00\" and \"2 hours ago\" are understood too.";
