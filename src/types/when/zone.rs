//! Time zones: the way between instants and what the clock on the wall shows.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, AmbiguousTimestamp, Offset, TimeZone},
};

use crate::types::time::Instant;

/// Why a time zone could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// Neither in the time zone database nor an offset.
    #[error(
        "cannot use time zone {name:?}: {source}; give a name such as Europe/Berlin or UTC (they come with the system's \
         tzdata), or an offset such as +02:00"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What the time zone database said.
        source: jiff::Error,
    },
}

/// A time zone with its whole history of clock changes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of this machine (`TZ`, then `/etc/localtime`); UTC where neither tells.
    pub fn system() -> Zone {
        Zone(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    /// A zone by its name in the time zone database (`Europe/Berlin`, `UTC`), or a fixed offset (`+02:00`, `Z`).
    pub fn named(name: &str) -> Result<Zone, ZoneError> {
        if let Some(offset) = parse_offset(name) {
            return Ok(Zone::fixed(offset));
        }
        match TimeZone::get(name) {
            Ok(zone) => Ok(Zone(zone)),
            Err(source) => Err(ZoneError::Unknown { name: name.to_owned(), source }),
        }
    }

    /// Coordinated universal time.
    pub fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }

    /// The name: of the database, else the fixed offset, else `local` (rules that have no name).
    pub fn name(&self) -> String {
        match (self.0.iana_name(), self.0.to_fixed_offset()) {
            (Some(name), _) => name.to_owned(),
            (None, Ok(offset)) => offset_text(offset),
            (None, Err(_)) => "local".to_owned(),
        }
    }

    /// A zone of one offset.
    pub(super) fn fixed(offset: Offset) -> Zone {
        Zone(TimeZone::fixed(offset))
    }

    /// What the clock on the wall shows at an instant.
    pub(super) fn civil(&self, at: Instant) -> DateTime {
        self.0.to_datetime(stamp(at))
    }

    /// The offset from UTC at an instant.
    pub(super) fn offset(&self, at: Instant) -> Offset {
        self.0.to_offset(stamp(at))
    }

    /// What the clock on the wall shows at a time of jiff's whole range, and the offset from UTC.
    pub(super) fn wall(&self, at: Timestamp) -> (DateTime, Offset) {
        (self.0.to_datetime(at), self.0.to_offset(at))
    }

    /// Whether the clock shows `civil` twice.
    pub(super) fn occurs_twice(&self, civil: DateTime) -> bool {
        matches!(self.0.to_ambiguous_timestamp(civil).offset(), AmbiguousOffset::Fold { .. })
    }

    /// The instants at which the clock shows `civil`, as far as they are.
    pub(super) fn ambiguous(&self, civil: DateTime) -> AmbiguousTimestamp {
        self.0.to_ambiguous_timestamp(civil)
    }

    /// The instant of the change of the clock that leaves `civil` out; `None` outside the range of instants.
    pub(super) fn change_over(&self, civil: DateTime) -> Option<Instant> {
        instant(self.boundary(civil)?)
    }

    /// Whether the clock is changed after `from` and before `to`.
    pub(super) fn changes_between(&self, from: Instant, to: Instant) -> bool {
        self.0.following(stamp(from)).next().is_some_and(|change| change.timestamp() < stamp(to))
    }

    /// The instant at which the clock shows exactly `civil`: the later of two; shifted forward in a gap. `None` outside the
    /// range of instants.
    pub(super) fn instant(&self, civil: DateTime) -> Option<Instant> {
        instant(self.0.to_ambiguous_timestamp(civil).later().ok()?)
    }

    /// The first and the last instant of the period whose wall times are `from <= t < next`. `None` outside the range of
    /// instants.
    pub(super) fn period(&self, from: DateTime, next: DateTime) -> Option<(Instant, Instant)> {
        let (start, after) = match self.0.to_ambiguous_timestamp(from).offset() {
            AmbiguousOffset::Gap { before, .. } if next <= self.0.to_datetime(self.boundary(from)?) => {
                // The whole period was left out: the instants at which the clock would have shown it.
                (before.to_timestamp(from).ok()?, before.to_timestamp(next).ok()?)
            }
            _ => (self.boundary(from)?, self.boundary(next)?),
        };
        // The next period may begin just outside the range of instants and this one still end inside.
        Some((instant(start)?, Instant(i64::try_from(after.as_nanosecond() - 1).ok()?)))
    }

    /// The first instant of what begins at the wall time `civil`; what ends there ends one nanosecond earlier. `None` outside the
    /// range of instants.
    pub(super) fn first(&self, civil: DateTime) -> Option<Instant> {
        instant(self.boundary(civil)?)
    }

    /// The instant from which on no wall time before `civil` is ever shown again, as far as one change of the clock goes.
    /// Periods made of these bounds abut.
    fn boundary(&self, civil: DateTime) -> Option<Timestamp> {
        match self.0.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let before_change = after.to_timestamp(civil).ok()?;
                let mut changes = self.0.following(before_change).map(|change| change.timestamp());
                changes.find(|change| self.0.to_datetime(*change) >= civil)
            }
            AmbiguousOffset::Fold { before, after } => {
                let later = after.to_timestamp(civil).ok()?;
                let just_before = Timestamp::from_nanosecond(later.as_nanosecond() - 1).ok()?;
                // Where the clock was put back to exactly `civil`, nothing before it is shown again.
                if self.0.to_datetime(just_before) < civil { Some(later) } else { before.to_timestamp(civil).ok() }
            }
        }
    }
}

/// An offset as `+02:00`, with seconds where it has them, as local mean times do.
pub(super) fn offset_text(offset: Offset) -> String {
    let (sign, s) = (if offset.seconds() < 0 { '-' } else { '+' }, offset.seconds().unsigned_abs());
    let (hours, minutes, seconds) = (s / 3600, s / 60 % 60, s % 60);
    if seconds == 0 {
        format!("{sign}{hours:02}:{minutes:02}")
    } else {
        format!("{sign}{hours:02}:{minutes:02}:{seconds:02}")
    }
}

/// Reads `Z`, `+02:00` or `+00:53:28`.
pub(super) fn parse_offset(text: &str) -> Option<Offset> {
    if text == "Z" {
        return Some(Offset::UTC);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut seconds = 0;
    let mut parts = text[1..].split(':');
    for (unit, max) in [(3600, 23), (60, 59)] {
        seconds += unit * two_digits(parts.next()?, max)?;
    }
    if let Some(part) = parts.next() {
        seconds += two_digits(part, 59)?;
    }
    if parts.next().is_some() {
        return None;
    }
    Offset::from_seconds(sign * seconds).ok()
}

fn two_digits(text: &str, max: i32) -> Option<i32> {
    let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n <= max)
}

/// An instant as jiff's own.
pub(super) fn stamp(at: Instant) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(at.0)).expect("64 bits of nanoseconds lie within the years -9999 to 9999")
}

/// jiff's own as an instant; `None` outside the years 1677 to 2262.
pub(super) fn instant(at: Timestamp) -> Option<Instant> {
    i64::try_from(at.as_nanosecond()).ok().map(Instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_by_name_and_by_offset() {
        assert_eq!(Zone::named("Europe/Berlin").unwrap().name(), "Europe/Berlin");
        assert_eq!(Zone::named("UTC").unwrap().name(), "UTC");
        assert_eq!(Zone::named("Z").unwrap(), Zone::utc());
        assert_eq!(Zone::named("-09:30").unwrap().name(), "-09:30");
        assert_eq!(Zone::named("+00:53:28").unwrap().name(), "+00:53:28");
        for bad in ["", "Mars/Olympus", "+2", "+24:00", "+02:60", "+02:00:00:00", "+-2:00", "../../etc/passwd"] {
            let error = Zone::named(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("Europe/Berlin"), "{error}");
        }
    }

    #[test]
    fn the_system_zone_has_a_name() {
        assert!(!Zone::system().name().is_empty());
    }
}
