//! Copies at other sites, as the service keeps them: by a job, or after each snapshot.

use crate::config::{model::Config, site::Site};
use crate::daemon::{
    error::{self, Trouble},
    host::Host,
    shared::{Current, Shared},
    task::{Body, Task},
    tasks::Planned,
    trail::{By, Trail},
};
use crate::progress::Progress;
use crate::replicate::run;
use crate::repo::{attach::Attached, replay};
use crate::types::ids::{Id, Snap};
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// How often it is looked whether there is a new snapshot.
const LOOK: Duration = Duration::from_millis(200);
/// What other hosts wrote into the repository is looked for as often at least.
const OTHERS: Duration = Duration::from_secs(300);

/// What a site is brought up to date with.
pub(super) struct Keeping<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) config: &'a Config,
    pub(super) at: &'a Arc<Attached>,
    pub(super) trail: &'a Trail,
}

impl Keeping<'_> {
    /// Brings a site up to date, and says what was done. What could not all be done is an error.
    pub(super) fn replicate(
        &self,
        site: &Site,
        progress: &dyn Progress,
        stop: &AtomicBool,
        by: Option<By<'_>>,
    ) -> Result<String, Trouble> {
        let replayed = replay::catch_up(self.at, progress)?;
        let sources = site.sources_of(&self.config.host);
        let copy = self.host.copy(self.config, self.at, site)?;
        let to =
            run::Site { name: &site.name, copy, sources, tiers: site.tiers.clone(), anew: false, hands_over: false };
        let ended = run::replicate(self.at, &to, &replayed, progress, stop).map_err(|e| error::told(&e));
        if let Some(event) = run::event(&site.name, &site.repository.to_string(), &ended) {
            self.trail.replicated(event, by);
        }
        let all = ended?;
        match run::why_not(&all).or_else(|| run::gone_back(&all)) {
            Some(why) => Err(why.into()),
            None => Ok(format!(
                "{} object(s) with {} bytes copied, {} deleted, {} were there already",
                all.done.copied, all.done.bytes, all.done.removed, all.plan.same
            )),
        }
    }
}

/// The task that brings a site up to date after each snapshot.
pub(super) fn planned(shared: &Arc<Shared>, current: &Current, site: &Site, place: &str) -> Planned {
    let print = format!("{place} {site:?} {:?}", current.config.remote);
    let name = format!("replicate {}", site.name);
    let (shared, current, site) = (shared.clone(), current.clone(), site.clone());
    let body: Body = Arc::new(move |task| {
        let told = |e: &Trouble| current.trail.failed(&task.name, &error::told(&**e));
        follow(task, &shared, &current, &site).inspect_err(told)
    });
    Planned { name, print, source: None, mount: None, body }
}

fn follow(task: &Task, shared: &Shared, current: &Current, site: &Site) -> Result<(), Trouble> {
    let config = &current.config;
    let at = shared.host.fresh(config)?;
    let ground = Keeping { host: &*shared.host, config, at: &at, trail: &current.trail };
    let reader = at.reader()?;
    let (mut seen, mut version) = (None, None);
    let mut looked = Instant::now();
    while !task.is_stopped() {
        task.pulse.beat();
        std::thread::sleep(LOOK);
        if shared.pause.state().is_some() {
            task.note(Some("paused".to_owned()));
            continue;
        }
        let late = looked.elapsed() >= OTHERS;
        let now = Some(reader.data_version()?);
        if now == version && !late {
            continue;
        }
        version = now;
        let heads = heads(&at)?;
        if seen.as_ref() == Some(&heads) && !late {
            continue;
        }
        let begun = Instant::now();
        let done = ground.replicate(site, &*task.pulse, &task.stop, None);
        if task.is_stopped() {
            return Ok(());
        }
        task.note(Some(done?));
        (seen, looked) = (Some(heads), Instant::now());
        // Both places are listed each time: no more than half of the time is spent on it.
        rest(task, begun.elapsed());
    }
    Ok(())
}

fn rest(task: &Task, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time && !task.is_stopped() {
        task.pulse.beat();
        std::thread::sleep(LOOK);
    }
}

/// The newest snapshot of each source.
fn heads(at: &Attached) -> Result<Vec<(Id, Snap)>, Trouble> {
    let reader = at.reader()?;
    let mut heads = Vec::new();
    for source in reader.sources()? {
        heads.push((source.id, reader.head(source.num)?.number));
    }
    Ok(heads)
}
