//! The task that notifies. A delivery never holds up anything else: each channel has a thread while it delivers.

use crate::config::{jobs, watched::Channel};
use crate::daemon::{
    error::Trouble,
    notices::{deliver::deliver, outbox::Outbox},
    observed,
    shared::{Current, Shared},
    task::{Body, Task},
    tasks::Planned,
};
use crate::observe::{
    facts::{Count, Undelivered},
    health,
};
use crossbeam_channel::{Receiver, Sender};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often it is looked how everything stands.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is looked whether to end, and what was delivered.
const STEP: Duration = Duration::from_millis(200);

/// What is known of notifications.
#[derive(Default)]
pub(in crate::daemon) struct Notified {
    state: Mutex<(Attempts, Vec<Undelivered>)>,
}

/// How often deliveries by a channel ended in a way.
type Attempts = BTreeMap<(String, &'static str), u64>;

impl Notified {
    fn count(&self, channel: &str, result: &'static str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state.0.entry((channel.to_owned(), result)).or_default() += 1;
    }

    fn set(&self, undelivered: Vec<Undelivered>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = undelivered;
    }

    /// Attempts since the service began, and what waits.
    pub(in crate::daemon) fn told(&self) -> (Vec<Count>, Vec<Undelivered>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |((of, result), count): (&(String, &'static str), &u64)| Count {
            of: of.clone(),
            result: (*result).to_owned(),
            count: *count,
        };
        (state.0.iter().map(count).collect(), state.1.clone())
    }
}

/// The task that notifies.
pub(in crate::daemon) fn planned(shared: &Arc<Shared>, current: &Current) -> Planned {
    let config = &current.config;
    let print = format!("{:?} {:?} {:?}", config.channels, config.health, jobs::zone(config).name());
    let (shared, current) = (shared.clone(), current.clone());
    let body: Body = Arc::new(move |task| notify(task, &shared, &current));
    Planned { name: "notify".to_owned(), print, source: None, mount: None, body }
}

/// How a delivery ended.
type Delivered = (String, Result<(), String>);

fn notify(task: &Task, shared: &Arc<Shared>, current: &Current) -> Result<(), Trouble> {
    let config = &current.config;
    let (zone, channels) = (jobs::zone(config), &config.channels);
    let mut outbox = Outbox::open(&shared.dir.join("notify.json"))?;
    let (to, delivered) = crossbeam_channel::unbounded();
    let mut busy = BTreeSet::new();
    let mut looked = None::<Instant>;
    while !task.is_stopped() {
        task.pulse.beat();
        let mut changed = ended(&delivered, &mut outbox, &mut busy, shared);
        if looked.is_none_or(|at| at.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            let facts = observed::facts(shared, observed::SELDOM);
            let mut found = health::findings(&facts, &config.health);
            // A channel that fails is not told by channels that may.
            found.retain(|finding| !finding.key.starts_with("notify "));
            changed |= outbox.look(&facts, &found, channels, &zone);
        }
        if changed {
            outbox.keep()?;
            shared.notified.set(outbox.undelivered(channels));
        }
        for channel in channels {
            if !busy.contains(&channel.name)
                && let Some(message) = outbox.due(&channel.name, shared.clock.now())
            {
                busy.insert(channel.name.clone());
                begin((shared, channel), message, &to);
            }
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}

/// Delivers in a thread of its own.
fn begin((shared, channel): (&Arc<Shared>, &Channel), message: super::message::Message, to: &Sender<Delivered>) {
    let (host, channel, to) = (shared.host.clone(), channel.clone(), to.clone());
    std::thread::spawn(move || {
        let result = deliver(&channel, &message, &|name| host.variable(name)).map_err(|e| e.to_string());
        // The task has ended: the message waits for the next one, and may come twice.
        let _gone = to.send((channel.name, result));
    });
}

/// Takes in what was delivered, and what was not. Whether there was any.
fn ended(from: &Receiver<Delivered>, outbox: &mut Outbox, busy: &mut BTreeSet<String>, shared: &Shared) -> bool {
    let mut any = false;
    for (channel, result) in from.try_iter() {
        any = true;
        busy.remove(&channel);
        shared.notified.count(&channel, if result.is_ok() { "success" } else { "failure" });
        outbox.ended(&channel, result, shared.clock.now());
    }
    any
}
