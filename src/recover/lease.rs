//! What an unfinished recovery reads is kept from retention: by a hold on the instant that it shows, which ends by itself where nobody
//! works on the recovery any more.

use crate::recover::state::State;
use crate::repo::{
    attach::Attached,
    audit::{
        event::{Event, Kind, Outcome},
        writer::Audit,
    },
    holds::{
        error::HoldsError,
        force::{self, Placement},
        write,
    },
};
use crate::sys::clock;
use crate::types::{
    hold::{Hold, Scope},
    role::Need,
    time::Instant,
};

/// So long, in nanoseconds, it holds after somebody has worked on the recovery: thirty days.
pub const LASTS_NS: i64 = 30 * 86_400 * 1_000_000_000;
/// It is lengthened when it would end within this time, in nanoseconds.
const RENEW_NS: i64 = LASTS_NS / 2;

/// The id of the case.
pub fn case(state: &State) -> String {
    format!("recover-{}", state.id)
}

/// Sees to it that the instant of a recovery is held, for [`LASTS_NS`] from now or half of it at least.
///
/// What is done about it stands in the audit trail. Fails where the role of the key does not allow holds, and where the store can't
/// take it.
pub fn keep(at: &Attached, audit: &Audit, state: &State) -> Result<(), HoldsError> {
    at.repo().check(Need::Holds)?;
    // Nothing is released on this host between the two.
    let _settled = force::settled(at.dir())?;
    let now = clock::now();
    let until = Instant(now.0.saturating_add(LASTS_NS));
    let open = open(at, state)?;
    let longest = open.iter().map(|p| p.hold.until.unwrap_or(Instant(i64::MAX))).max();
    let case = case(state);
    let (kind, done) = match longest {
        Some(longest) if longest.0.saturating_sub(now.0) > RENEW_NS => return Ok(()),
        Some(_) => {
            let by = (audit.who(), now);
            (Kind::HoldLengthen, write::lengthen(at.repo(), at.dir(), &case, Some(until), by)?)
        }
        None => {
            (Kind::HoldPlace, write::place(at.repo(), &hold(state, &case, until, &audit.who().host), audit.who(), now)?)
        }
    };
    let event = Event::new(kind, Outcome::Done).case(&case).detail("until", until.0);
    let event = event.detail("object", done.name(at.repo())).detail("reason", "an instant recovery reads it");
    if let Err(e) = audit.record(event) {
        tracing::warn!("the hold {case} is not in the audit trail: {e}");
    }
    Ok(())
}

/// Ends the hold, if there is one.
pub fn end(at: &Attached, audit: &Audit, state: &State) -> Result<(), HoldsError> {
    if open(at, state)?.is_empty() {
        return Ok(());
    }
    let (case, reason) = (case(state), "the recovery is over");
    let event = |outcome| Event::new(Kind::HoldRelease, outcome).case(&case).detail("reason", reason);
    write::release(at.repo(), at.dir(), &case, reason, (audit.who(), clock::now()))?;
    if let Err(e) = audit.record(event(Outcome::Done)) {
        tracing::warn!("that the hold {case} is released is not in the audit trail: {e}");
    }
    Ok(())
}

/// Until when the instant is held; `None` where it is not.
pub fn until(at: &Attached, state: &State, now: Instant) -> Result<Option<Instant>, HoldsError> {
    let open = open(at, state)?.into_iter().filter(|p| p.hold.is_in_force(now));
    Ok(open.map(|p| p.hold.until.unwrap_or(Instant(i64::MAX))).max())
}

fn open(at: &Attached, state: &State) -> Result<Vec<Placement>, HoldsError> {
    let case = case(state);
    let cases = force::cases(at.repo(), at.dir())?.into_iter().filter(|c| c.id == case);
    Ok(cases.flat_map(|c| c.placements).filter(|p| !p.released).collect())
}

fn hold(state: &State, case: &str, until: Instant, host: &str) -> Hold {
    let instant = Some(Instant(state.time_ns));
    Hold {
        id: case.to_owned(),
        owner: format!("bygone on {host}"),
        reason: format!("an unfinished instant recovery of {} reads it", state.path().display()),
        scope: Scope { paths: vec![state.from()], from: instant, to: instant, ..Scope::default() },
        until: Some(until),
    }
}
