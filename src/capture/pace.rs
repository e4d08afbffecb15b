//! How fast this process captures: the bucket of bytes read, and the rests for others, shared by all its captures.

use crate::capture::hold::{Hold, Thresholds};
use crate::config::limits::Limits;
use crate::progress::Progress;
use crate::sys::{
    bucket::Throttle,
    clock,
    pressure::{self, Stalled},
};
use crate::types::{
    duration::show_duration,
    time::Instant,
    when::{show::show_second, zone::Zone},
};
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{self, Duration},
};

/// Longest sleep between two looks whether the capture is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Says how many changes wait to be captured.
type Count = Arc<dyn Fn() -> usize + Send + Sync>;

/// Captures are held back for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// What others wait for: `io`, `cpu` or `memory`.
    pub by: String,
    /// Since when (ns).
    pub since_ns: i64,
    /// How many changes were seen meanwhile, and wait.
    pub changes: u64,
    /// How old the newest recovery point is of that which is captured now (ns).
    pub behind_ns: Option<i64>,
    /// How long this capture has rested in all (ns).
    pub rested_ns: u64,
    /// How long it rests in all, at most (ns).
    #[serde(default)]
    pub patience_ns: u64,
}

impl HeldBack {
    /// For whoever waits for a capture: by what it is held back, since when, for how long at most, and what to do.
    pub fn told(&self, zone: &Zone) -> String {
        format!(
            "held back by {} pressure since {}: others wait for it, and the capture rests for them, for {} in all at most; \
             pressure = false in [limits] of the settings lets nothing rest",
            self.by,
            show_second(Instant(self.since_ns), zone),
            show_duration(Duration::from_nanos(self.patience_ns))
        )
    }
}

/// How fast captures go.
pub struct Pace {
    begun: time::Instant,
    reads: Throttle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    thresholds: Option<Thresholds>,
    hold: Option<Hold>,
    /// Captures of much that are under way.
    bulk: usize,
    since: Option<Instant>,
    /// The newest snapshot before them.
    head: Option<Instant>,
    waiting: Vec<Count>,
    /// It was told that this capture is held back.
    told_held: bool,
    /// It was told that the kernel tells nothing.
    told: bool,
}

impl Pace {
    /// No limit.
    pub fn new() -> Pace {
        Pace { begun: time::Instant::now(), reads: Throttle::new(None), state: Mutex::default() }
    }

    /// That of this process. No limit until it is set.
    pub fn of_process() -> &'static Pace {
        static PACE: LazyLock<Pace> = LazyLock::new(Pace::new);
        &PACE
    }

    /// What the settings say, from now on. Tells where the kernel does not say what others wait for.
    pub fn set(&self, limits: &Limits) {
        self.reads.set(limits.read);
        let mut state = self.lock();
        state.thresholds = Thresholds::of(limits);
        state.hold = state.thresholds.filter(|_| state.bulk > 0).map(Hold::new);
        if let (Some(_), false, Err(e)) = (state.thresholds, state.told, pressure::stalled()) {
            state.told = true;
            tracing::warn!("nothing rests for others, since the kernel does not tell whether they wait: {e}");
        }
    }

    /// A capture of much has begun, and goes on until the value is dropped; `head` is the newest snapshot before it.
    pub fn bulk(&self, head: Option<Instant>) -> Bulk<'_> {
        let mut state = self.lock();
        state.bulk += 1;
        if state.bulk == 1 {
            state.hold = state.thresholds.map(Hold::new);
            (state.head, state.told_held) = (head, false);
        }
        Bulk { pace: self }
    }

    /// What says how many changes wait is asked until the value is dropped.
    pub fn counting(&self, count: Count) -> Counting<'_> {
        self.lock().waiting.push(count.clone());
        Counting { pace: self, count }
    }

    /// So many bytes are about to be read; sleeps until they may. A capture of much rests for others too. Returns at once when `stop`
    /// is set. `progress` hears all the time that it goes on.
    pub fn admit(&self, bytes: u64, is_bulk: bool, stop: &AtomicBool, progress: &dyn Progress) {
        let go_on = || {
            progress.add(0, 0);
            !stop.load(Ordering::Relaxed)
        };
        self.reads.take(bytes, go_on);
        while is_bulk && go_on() {
            let Some(rest) = self.rest(progress) else { return };
            std::thread::sleep(rest.min(LOOK));
        }
    }

    fn rest(&self, progress: &dyn Progress) -> Option<Duration> {
        let mut state = self.lock();
        let now = self.begun.elapsed();
        let patience = state.thresholds.map(|t| t.patience());
        let hold = state.hold.as_mut()?;
        let before = hold.cause();
        let rest = hold.step(now, read);
        let (cause, spent) = (hold.cause(), hold.spent());
        match (before, cause) {
            (None, Some(cause)) => {
                state.since = Some(clock::now());
                let text = format!("held back by {} pressure", cause.word());
                // Others come and go: the log has it once for each capture, `status` always.
                if !std::mem::replace(&mut state.told_held, true) {
                    let most =
                        patience.map_or_else(String::new, |d| format!(", for {} in all at most", show_duration(d)));
                    tracing::warn!(
                        "{text} from now on: others wait for it, and what is captured now rests for them{most}; \
                         pressure = false in [limits] of the settings lets nothing rest"
                    );
                }
                progress.note(&text);
            }
            (Some(cause), None) => {
                state.since = None;
                tracing::debug!(
                    "not held back by {} pressure any more, after {} s of rest",
                    cause.word(),
                    spent.as_secs()
                );
            }
            _ => {}
        }
        rest
    }

    /// How captures are held back at this moment, if they are.
    pub fn held(&self, now: Instant) -> Option<HeldBack> {
        let (hold, since, head, counts, patience) = {
            let state = self.lock();
            (state.hold?, state.since?, state.head, state.waiting.clone(), state.thresholds?.patience())
        };
        Some(HeldBack {
            by: hold.cause()?.word().to_owned(),
            since_ns: since.0,
            changes: counts.iter().map(|count| count() as u64).sum(),
            behind_ns: head.map(|head| now.0.saturating_sub(head.0)),
            rested_ns: u64::try_from(hold.spent().as_nanos()).unwrap_or(u64::MAX),
            patience_ns: u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Pace {
    fn default() -> Pace {
        Pace::new()
    }
}

/// What the kernel tells. Where it suddenly does not, nothing rests.
fn read() -> Option<Stalled> {
    pressure::stalled().map_err(|e| tracing::debug!("cannot tell whether others wait: {e}")).ok()
}

/// A capture of much is under way until this is dropped.
pub struct Bulk<'a> {
    pace: &'a Pace,
}

impl Drop for Bulk<'_> {
    fn drop(&mut self) {
        let mut state = self.pace.lock();
        state.bulk -= 1;
        if state.bulk == 0 {
            (state.hold, state.since, state.head) = (None, None, None);
        }
    }
}

/// Changes are counted until this is dropped.
pub struct Counting<'a> {
    pace: &'a Pace,
    count: Count,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.pace.lock().waiting.retain(|count| !Arc::ptr_eq(count, &self.count));
    }
}
