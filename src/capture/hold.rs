//! When capture rests because others wait for the machine: a pure state machine; the time and what the kernel tells are given.
//!
//! The kernel tells for how long *somebody* waited, and capture itself waits, too: for the disk that it reads, and for processors
//! when it has more threads than there are. So what counts is only what is measured while capture rests. Once in a while it rests for
//! a moment, if anybody waits at all. If somebody waits also then, it rests ever longer, with a little work between, until nobody does.

use crate::config::limits::Limits;
use crate::sys::pressure::Stalled;
use std::time::Duration;

/// Before the first look. A capture that is shorter never rests.
const FIRST: Duration = Duration::from_millis(200);
/// What the threads need to come to rest, before it is measured.
const SETTLE: Duration = Duration::from_millis(20);
/// The shortest and the longest rest.
const REST: (Duration, Duration) = (Duration::from_millis(80), Duration::from_secs(4));
/// Work between two rests while others wait.
const SLICE: Duration = Duration::from_millis(60);
/// Work between two looks, at first, and where only capture itself has waited.
const CALM: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));
/// Whoever was not here for so long begins anew.
const STALE: Duration = Duration::from_secs(10);

/// What others wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The disk.
    Io,
    /// The processors.
    Cpu,
    /// Memory.
    Memory,
}

impl Cause {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Io => "io",
            Cause::Cpu => "cpu",
            Cause::Memory => "memory",
        }
    }
}

/// From which share of the time on it counts that others wait, and how long to rest for them in all.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Thresholds {
    io: f64,
    cpu: f64,
    memory: f64,
    patience: Duration,
}

impl Thresholds {
    /// Those of the settings; none where they want none.
    pub fn of(limits: &Limits) -> Option<Thresholds> {
        let share = |percent: u8| f64::from(percent) / 100.0;
        limits.pressure.then(|| Thresholds {
            io: share(limits.pressure_io),
            cpu: share(limits.pressure_cpu),
            memory: share(limits.pressure_memory),
            patience: limits.patience,
        })
    }

    /// What was waited for too much in `over`; that which is furthest above its threshold.
    pub fn exceeded(&self, from: Stalled, to: Stalled, over: Duration) -> Option<Cause> {
        let over = over.as_secs_f64().max(1e-3);
        let excess = |from: Duration, to: Duration, bar: f64| to.saturating_sub(from).as_secs_f64() / over / bar;
        let all = [
            (excess(from.memory, to.memory, self.memory), Cause::Memory),
            (excess(from.io, to.io, self.io), Cause::Io),
            (excess(from.cpu, to.cpu, self.cpu), Cause::Cpu),
        ];
        let worst = all.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
        worst.filter(|(excess, _)| *excess > 1.0).map(|(_, cause)| cause)
    }

    /// How long to rest in all.
    pub fn patience(&self) -> Duration {
        self.patience
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    /// Nothing was measured yet.
    New,
    /// Work until then.
    Work { since: Duration, from: Stalled, until: Duration },
    /// The threads come to rest.
    Settle { until: Duration },
    /// A rest, in which it is measured.
    Rest { since: Duration, from: Stalled, until: Duration },
}

/// When to rest.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hold {
    thresholds: Thresholds,
    state: State,
    /// How long the next rest is.
    rest: Duration,
    /// How long to work until the next look.
    calm: Duration,
    /// Why it is held back, if it is.
    cause: Option<Cause>,
    /// How long it has rested for others in this capture.
    spent: Duration,
    seen: Duration,
}

impl Hold {
    /// At the beginning of a capture.
    pub fn new(thresholds: Thresholds) -> Hold {
        let (rest, calm, spent, seen) = (REST.0, CALM.0, Duration::ZERO, Duration::ZERO);
        Hold { thresholds, state: State::New, rest, calm, cause: None, spent, seen }
    }

    /// Why it is held back, if it is.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// How long it has rested for others.
    pub fn spent(&self) -> Duration {
        self.spent
    }

    /// Whether to work on now: none; or for how long to rest before this is asked again. `read` says what the kernel tells; none where
    /// it does not.
    pub fn step(&mut self, now: Duration, mut read: impl FnMut() -> Option<Stalled>) -> Option<Duration> {
        if self.spent >= self.thresholds.patience {
            self.cause = None;
            return None;
        }
        if now.saturating_sub(self.seen) > STALE {
            self.state = State::New;
        }
        self.seen = now;
        match self.state {
            State::New => {
                let from = read()?;
                self.work(now, from, FIRST);
            }
            State::Work { until, .. } if now < until => {}
            State::Work { since, from, .. } => {
                let to = read()?;
                if self.cause.is_none() && self.thresholds.exceeded(from, to, now - since).is_none() {
                    self.work(now, to, CALM.0);
                    return None;
                }
                self.state = State::Settle { until: now + SETTLE };
                return Some(SETTLE);
            }
            State::Settle { until } if now < until => return Some(until - now),
            State::Settle { .. } => {
                self.state = State::Rest { since: now, from: read()?, until: now + self.rest };
                return Some(self.rest);
            }
            State::Rest { until, .. } if now < until => return Some(until - now),
            State::Rest { since, from, .. } => {
                let to = read()?;
                self.rested(now, since, (from, to));
            }
        }
        None
    }

    fn rested(&mut self, now: Duration, since: Duration, (from, to): (Stalled, Stalled)) {
        self.cause = self.thresholds.exceeded(from, to, now - since);
        if self.cause.is_some() {
            self.spent += now - since;
            self.rest = (self.rest * 3).min(REST.1);
            self.calm = CALM.0;
            self.work(now, to, SLICE);
        } else {
            // Only capture itself has waited: the next look is later.
            self.rest = REST.0;
            self.work(now, to, self.calm);
            self.calm = (self.calm * 2).min(CALM.1);
        }
    }

    fn work(&mut self, now: Duration, from: Stalled, len: Duration) {
        self.state = State::Work { since: now, from, until: now + len };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine: what others wait for the disk at a time, in percent, and what capture adds by working.
    struct Machine<'a> {
        others: &'a dyn Fn(u64) -> u64,
        own: u64,
        stalled: Stalled,
        hold: Hold,
        worked: u64,
        longest_rest: u64,
    }

    impl Machine<'_> {
        fn minute(others: &dyn Fn(u64) -> u64, own: u64, limits: &Limits) -> (u64, u64, Hold) {
            let hold = Hold::new(Thresholds::of(limits).unwrap());
            let mut machine = Machine { others, own, stalled: Stalled::default(), hold, worked: 0, longest_rest: 0 };
            machine.run(60_000);
            (machine.worked * 100 / 60_000, machine.longest_rest, machine.hold)
        }

        fn run(&mut self, ms: u64) {
            let mut rest = 0;
            for now in 0..ms {
                let stalled = self.stalled;
                let works = self.hold.step(Duration::from_millis(now), || Some(stalled)).is_none();
                self.worked += u64::from(works);
                rest = if works { 0 } else { rest + 1 };
                self.longest_rest = self.longest_rest.max(rest);
                let waits = (self.others)(now).max(if works { self.own } else { 0 });
                self.stalled.io += Duration::from_micros(waits * 10);
            }
        }
    }

    #[test]
    fn how_much_it_works() {
        let minute = |limits: &Limits, others: &dyn Fn(u64) -> u64, own| Machine::minute(others, own, limits);
        let limits = Limits::default();
        let (worked, longest, hold) = minute(&limits, &|_| 0, 0);
        assert_eq!((worked, longest, hold.cause()), (100, 0, None), "nobody waits");
        let (worked, longest, hold) = minute(&limits, &|_| 4, 0);
        assert_eq!((worked, longest, hold.cause()), (100, 0, None), "below the threshold");
        let (worked, longest, hold) = minute(&limits, &|_| 0, 100);
        assert!(worked >= 96 && longest <= 110 && hold.cause().is_none(), "only itself: {worked} {longest}");
        let (worked, longest, hold) = minute(&limits, &|_| 100, 100);
        assert!(worked <= 7 && longest >= 4000 && hold.cause() == Some(Cause::Io), "others: {worked} {longest}");
        assert!(longest <= 4100, "it goes on a little all the time: {longest}");
        let (worked, _, hold) = minute(&limits, &|now| if (10_000..20_000).contains(&now) { 90 } else { 0 }, 100);
        // The rest in which they end counts as one in which they wait, so it may rest twice more: 8 s of the 50.
        assert!((70..90).contains(&worked) && hold.cause().is_none(), "others for ten seconds: {worked}");
        let patient = Limits { patience: Duration::from_secs(10), ..Limits::default() };
        let (worked, _, hold) = minute(&patient, &|_| 100, 100);
        assert!((70..85).contains(&worked) && hold.cause().is_none(), "not for ever: {worked}");
        let off = Limits { pressure: false, ..Limits::default() };
        assert!(Thresholds::of(&off).is_none());
    }

    #[test]
    fn what_is_furthest_above_its_threshold_is_the_cause() {
        let at = Thresholds::of(&Limits::default()).unwrap();
        let second = Duration::from_secs(1);
        let cause = |io, cpu, memory| {
            let ms = Duration::from_millis;
            at.exceeded(Stalled::default(), Stalled { io: ms(io), cpu: ms(cpu), memory: ms(memory) }, second)
        };
        for (io, cpu, memory, expected) in [
            (0, 0, 0, None),
            (50, 200, 100, None),
            (51, 0, 0, Some(Cause::Io)),
            (0, 201, 0, Some(Cause::Cpu)),
            (0, 0, 101, Some(Cause::Memory)),
            (75, 400, 110, Some(Cause::Cpu)),
            (225, 400, 110, Some(Cause::Io)),
        ] {
            assert_eq!(cause(io, cpu, memory), expected, "{io} {cpu} {memory}");
        }
    }

    #[test]
    fn where_the_kernel_does_not_tell_nothing_rests() {
        let mut hold = Hold::new(Thresholds::of(&Limits::default()).unwrap());
        assert!((0..100_000).all(|ms| hold.step(Duration::from_millis(ms), || None).is_none()));
    }
}
