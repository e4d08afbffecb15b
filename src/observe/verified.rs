//! What the verifications that this host made say of the repository now.

use crate::repo::verified::Verification;

/// The newest verification whose problems none after it has shown to be gone: one that read data, only by one that read all of them.
pub fn standing(all: &[Verification]) -> Option<&Verification> {
    let shows_gone = |found: &Verification, later: &Verification| {
        later.problems == 0 && (found.read_frames == 0 || later.read_frames >= later.frames)
    };
    let stands = |(at, found): &(usize, &Verification)| {
        found.problems > 0 && !all[at + 1..].iter().any(|later| shows_gone(found, later))
    };
    all.iter().enumerate().rfind(stands).map(|(_, found)| found)
}

/// The share of the data, from 0 to 1, that was read at least once since a time, by all verifications together. Random parts
/// overlap as chance has it: the share is the one that is to be expected. `None` where none was made since.
pub fn coverage(all: &[Verification], since_ns: i64) -> Option<f64> {
    let mut since = all.iter().filter(|v| v.at_ns >= since_ns).peekable();
    since.peek()?;
    let unread = since.fold(1.0, |unread, v| match v.frames {
        0 => 0.0,
        frames => unread * (1.0 - (v.read_frames as f64 / frames as f64).min(1.0)),
    });
    Some(1.0 - unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(at_ns: i64, read_frames: u64) -> Verification {
        Verification { at_ns, frames: 100, read_frames, ..Verification::default() }
    }

    #[test]
    fn parts_add_up_as_chance_has_it() {
        assert_eq!(coverage(&[], 0), None);
        assert_eq!(coverage(&[one(5, 50)], 6), None);
        assert_eq!(coverage(&[one(5, 0)], 5), Some(0.0));
        assert_eq!(coverage(&[one(4, 100), one(5, 50), one(6, 50)], 5), Some(0.75));
        assert_eq!(coverage(&[one(5, 10), one(6, 100)], 5), Some(1.0));
        assert_eq!(coverage(&[Verification { at_ns: 5, ..Verification::default() }], 5), Some(1.0), "nothing is all");
    }

    #[test]
    fn what_was_found_by_reading_is_gone_only_when_all_is_read() {
        let bad = |v: Verification| Verification { problems: 1, ..v };
        assert_eq!(standing(&[]), None);
        assert_eq!(standing(&[one(1, 0), one(2, 100)]), None);
        assert_eq!(standing(&[bad(one(1, 100)), one(2, 0), one(3, 99)]), Some(&bad(one(1, 100))));
        assert_eq!(standing(&[bad(one(1, 5)), one(2, 100), one(3, 0)]), None);
        assert_eq!(standing(&[bad(one(1, 0)), one(2, 0)]), None, "the structure was looked at again");
        assert_eq!(standing(&[bad(one(1, 100)), bad(one(2, 100)), one(3, 5)]), Some(&bad(one(2, 100))));
        let both = [bad(one(1, 100)), bad(one(2, 0)), one(3, 0)];
        assert_eq!(standing(&both), Some(&both[0]), "what was found since and is gone hides nothing");
    }
}
