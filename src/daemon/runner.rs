//! Runs schedules: what is due, what runs, what became of it, kept durably from one service to the next.
//!
//! What is known of a job is kept by its name and its schedule: a job with another schedule is a new one.

use crate::config::jobs::Assigned;
use crate::daemon::{
    error::{DaemonError, KeepError},
    standing::JobStatus,
};
use crate::schedule::{
    blackout::Window,
    job::Job,
    planner::{Planner, Run, State, Why},
};
use crate::sys::durable;
use crate::types::time::Instant;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// So much later than its time a run may succeed.
const SLACK: Duration = Duration::from_secs(3600);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well; what it did.
    Done(String),
    /// Not; why.
    Failed(String),
    /// Somebody ended it.
    Cancelled,
}

/// What is kept of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    name: String,
    schedule: String,
    zone: String,
    covered_ns: i64,
    running_ns: Option<i64>,
    ended_ns: Option<i64>,
    failures: u32,
    succeeded_ns: Option<i64>,
    last_result: Option<String>,
    last_error: Option<String>,
}

impl Kept {
    fn is_of(&self, job: &Assigned) -> bool {
        self.name == job.job.name && self.schedule == job.job.schedule.to_string() && self.zone == job.job.zone.name()
    }

    fn state(&self) -> State {
        State {
            covered: Instant(self.covered_ns),
            running: self.running_ns.map(Instant),
            ended: self.ended_ns.map(Instant),
            failures: self.failures,
            succeeded: self.succeeded_ns.map(Instant),
        }
    }
}

/// What a job did last.
#[derive(Clone, Debug, Default)]
struct Last {
    result: Option<String>,
    error: Option<String>,
}

/// The jobs of the settings, and what is known of their runs.
pub struct Runner {
    file: PathBuf,
    planner: Planner,
    jobs: Vec<Assigned>,
    last: BTreeMap<String, Last>,
    /// What an earlier service kept, until the settings are known.
    kept: Vec<Kept>,
    trouble: Option<String>,
}

impl Runner {
    /// With what an earlier service kept in `file`; nothing where there is none.
    pub fn open(file: &Path) -> Result<Runner, DaemonError> {
        let bad = |source| DaemonError::Kept { path: file.to_owned(), source };
        let kept = match std::fs::read(file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(bad(e)),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| bad(e.into()))?,
        };
        Ok(Runner {
            file: file.to_owned(),
            planner: Planner::default(),
            jobs: Vec::new(),
            last: BTreeMap::new(),
            kept,
            trouble: None,
        })
    }

    /// Takes the jobs of new settings. Those that stay as they are keep what is known of them.
    pub fn configure(&mut self, jobs: Vec<Assigned>, now: Instant) {
        self.take(jobs, now);
        self.keep();
    }

    /// How jobs stand by what a service kept in `file`, which is left as it is.
    pub fn peek(file: &Path, jobs: Vec<Assigned>, now: Instant) -> Result<Vec<JobStatus>, DaemonError> {
        let mut runner = Runner::open(file)?;
        runner.take(jobs, now);
        Ok(runner.status(now))
    }

    fn take(&mut self, jobs: Vec<Assigned>, now: Instant) {
        for gone in self.jobs.iter().filter(|old| !jobs.iter().any(|job| job.job.name == old.job.name)) {
            self.planner.remove(&gone.job.name);
            self.last.remove(&gone.job.name);
        }
        for job in &jobs {
            let name = &job.job.name;
            let known = self.jobs.iter().find(|old| old.job.name == *name);
            let changed =
                known.is_some_and(|old| (&old.job.schedule, &old.job.zone) != (&job.job.schedule, &job.job.zone));
            let runs = self.planner.state(name).is_ok_and(|state| state.running.is_some());
            if changed && !runs {
                self.planner.remove(name);
                self.last.remove(name);
            }
            let kept = self.kept.iter().find(|kept| kept.is_of(job)).filter(|_| known.is_none());
            if let Some(kept) = kept {
                let interrupted = kept.running_ns.map(|_| "the service ended while it ran".to_owned());
                let last =
                    Last { result: kept.last_result.clone(), error: interrupted.or_else(|| kept.last_error.clone()) };
                self.last.insert(name.clone(), last);
            }
            self.planner.put(job.job.clone(), kept.map(Kept::state), now);
        }
        self.jobs = jobs;
        self.kept.clear();
    }

    /// What may begin now.
    pub fn due(&self, now: Instant) -> Vec<(Assigned, Run)> {
        let of = |run: Run| Some((self.jobs.iter().find(|job| job.job.name == run.job)?.clone(), run));
        self.planner.due(now).into_iter().filter_map(of).collect()
    }

    /// A run begins. Whether it may: not beside itself, and not where there is no such job any more.
    pub fn begin(&mut self, name: &str, now: Instant) -> bool {
        let may = self.planner.begin(name, now).unwrap_or(false);
        if may {
            self.keep();
        }
        may
    }

    /// A run has ended.
    pub fn end(&mut self, name: &str, now: Instant, ended: &Ended) {
        let told = match ended {
            Ended::Cancelled => self.planner.cancel(name, now),
            _ => self.planner.end(name, now, matches!(ended, Ended::Done(_))),
        };
        // A job that was taken out of the settings while it ran.
        if told.is_err() {
            return;
        }
        let last = self.last.entry(name.to_owned()).or_default();
        match ended {
            Ended::Done(result) => *last = Last { result: Some(result.clone()), error: None },
            Ended::Failed(why) => last.error = Some(why.clone()),
            Ended::Cancelled => last.error = Some("it was cancelled".to_owned()),
        }
        self.keep();
    }

    /// How all jobs stand.
    pub fn status(&self, now: Instant) -> Vec<JobStatus> {
        let coming = self.planner.coming(now);
        let status = |job: &Assigned| {
            let name = &job.job.name;
            let state = self.planner.state(name).copied().unwrap_or_else(|_| State::new(now));
            let next = coming.iter().find(|run| run.job == *name);
            let last = self.last.get(name).cloned().unwrap_or_default();
            JobStatus {
                name: name.clone(),
                run: job.task.word().to_owned(),
                source: job.source.clone(),
                schedule: job.job.schedule.to_string(),
                zone: job.job.zone.name(),
                running_ns: state.running.map(|at| at.0),
                next_ns: next.map(|run| run.start.0),
                next_why: next.map(|run| why(&run.why)),
                ended_ns: state.ended.map(|at| at.0),
                succeeded_ns: state.succeeded.map(|at| at.0),
                failures: state.failures,
                last_result: last.result,
                last_error: last.error,
                overdue_ns: state.succeeded.and_then(|at| overdue(&job.job, at)).map(|at| at.0),
            }
        };
        self.jobs.iter().map(status).collect()
    }

    /// Whether there is such a job.
    pub fn has(&self, name: &str) -> bool {
        self.jobs.iter().any(|job| job.job.name == name)
    }

    /// What keeps the state from being kept.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Writes everything down. Where that fails jobs run all the same, and it is told.
    fn keep(&mut self) {
        let trouble = self.write().err().map(|e| e.to_string());
        if let Some(trouble) = trouble.as_ref().filter(|new| self.trouble.as_ref() != Some(new)) {
            tracing::error!(
                "what is known of jobs can't be kept, and will be forgotten with the next start: {trouble}"
            );
        }
        self.trouble = trouble;
    }

    fn write(&self) -> Result<(), KeepError> {
        let kept: Vec<Kept> = self.jobs.iter().filter_map(|job| self.kept(job)).collect();
        let bytes =
            serde_json::to_vec_pretty(&kept).map_err(|source| KeepError::Form { path: self.file.clone(), source })?;
        Ok(durable::replace(&self.file, &bytes, 0o600)?)
    }

    fn kept(&self, job: &Assigned) -> Option<Kept> {
        let state = self.planner.state(&job.job.name).ok()?;
        let last = self.last.get(&job.job.name).cloned().unwrap_or_default();
        Some(Kept {
            name: job.job.name.clone(),
            schedule: job.job.schedule.to_string(),
            zone: job.job.zone.name(),
            covered_ns: state.covered.0,
            running_ns: state.running.map(|at| at.0),
            ended_ns: state.ended.map(|at| at.0),
            failures: state.failures,
            succeeded_ns: state.succeeded.map(|at| at.0),
            last_result: last.result,
            last_error: last.error,
        })
    }
}

/// When a job that succeeded then should have done so again, whatever delays it a little: it may miss one run, and not two.
fn overdue(job: &Job, succeeded: Instant) -> Option<Instant> {
    let next = |at| job.schedule.next_after(at, &job.zone);
    let slack = job.jitter.saturating_add(SLACK);
    Some(Instant(next(next(succeeded)?)?.0.saturating_add(i64::try_from(slack.as_nanos()).ok()?)))
}

/// Why a run begins, in words.
pub fn why(why: &Why) -> String {
    let waited = |window: &Window| format!("postponed by the blackout {window}");
    match why {
        Why::Scheduled => "scheduled".to_owned(),
        Why::Postponed(window) => waited(window),
        Why::Missed => "missed, and caught up".to_owned(),
        Why::Overrun => "due while it ran".to_owned(),
        Why::Retry(attempt) => format!("attempt {attempt}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Task;
    use crate::schedule::{blackout::Blackout, job::Retries};
    use crate::sys::clock::{Clock as _, ManualClock};
    use crate::types::when::zone::Zone;

    const MINUTE: i64 = 60_000_000_000;
    const DAY: i64 = 1440 * MINUTE;
    /// Some midnight.
    const START: i64 = 20_000 * DAY;

    fn job(name: &str, schedule: &str) -> Assigned {
        let job = Job {
            name: name.to_owned(),
            schedule: schedule.parse().unwrap(),
            zone: Zone::utc(),
            jitter: Duration::ZERO,
            blackout: Blackout::default(),
            retries: Retries { count: 2, after: Duration::from_secs(600) },
        };
        Assigned { job, task: Task::Snapshot, source: None, site: None, drill: None }
    }

    /// A service over simulated time: each run takes a minute, and `fails` says whether it fails.
    struct World {
        file: PathBuf,
        clock: ManualClock,
        runner: Runner,
        jobs: Vec<Assigned>,
        runs: Vec<(i64, String, String)>,
    }

    impl World {
        fn new(dir: &Path, jobs: Vec<Assigned>) -> World {
            let file = dir.join("jobs.json");
            let runner = Runner::open(&file).unwrap();
            let clock = ManualClock::new(Instant(START));
            let mut world = World { file, clock, runner, jobs, runs: Vec::new() };
            world.runner.configure(world.jobs.clone(), Instant(START));
            world
        }

        /// The service is killed and begins again, with these jobs.
        fn restart(&mut self) {
            self.runner = Runner::open(&self.file).unwrap();
            self.runner.configure(self.jobs.clone(), self.clock.now());
        }

        fn until(&mut self, minutes: i64, fails: impl Fn(usize) -> bool) {
            let end = START + minutes * MINUTE;
            while self.clock.now().0 < end {
                let now = self.clock.now();
                for (assigned, run) in self.runner.due(now) {
                    assert!(self.runner.begin(&run.job, now));
                    assert!(!self.runner.begin(&run.job, now), "never beside itself");
                    let minute = (now.0 - START) / MINUTE;
                    self.runs.push((minute, assigned.job.name, why(&run.why)));
                    let ended =
                        if fails(self.runs.len()) { Ended::Failed("no".into()) } else { Ended::Done("yes".into()) };
                    self.runner.end(&run.job, now, &ended);
                }
                self.clock.advance(MINUTE);
            }
        }

        fn took(&mut self) -> Vec<(i64, String)> {
            self.runs.drain(..).map(|(minute, _, why)| (minute, why)).collect()
        }
    }

    fn runs(all: &[(i64, &str)]) -> Vec<(i64, String)> {
        all.iter().map(|(minute, why)| (*minute, (*why).to_owned())).collect()
    }

    #[test]
    fn runs_go_on_from_one_service_to_the_next_and_what_was_missed_is_run_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(dir.path(), vec![job("nightly", "daily 02:30")]);
        world.until(1440, |_| false);
        assert_eq!(world.took(), runs(&[(150, "scheduled")]));
        world.restart();
        world.until(1441, |_| false);
        assert_eq!(world.took(), [], "what has run does not run again");
        world.clock.advance(4 * DAY);
        world.restart();
        world.until(6 * 1440 + 200, |_| false);
        assert_eq!(
            world.took(),
            runs(&[
                (5 * 1440 + 1, "missed, and caught up"),
                (5 * 1440 + 150, "scheduled"),
                (6 * 1440 + 150, "scheduled")
            ])
        );
    }

    #[test]
    fn a_failure_is_tried_again_and_a_kill_counts_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(dir.path(), vec![job("nightly", "daily 02:30")]);
        world.until(1440, |n| n < 3);
        assert_eq!(world.took(), runs(&[(150, "scheduled"), (160, "attempt 2"), (180, "attempt 3")]));
        let status = &world.runner.status(world.clock.now())[0];
        assert_eq!((status.failures, status.last_error.as_deref()), (0, None));
        // Killed while it runs.
        world.until(1440 + 150, |_| false);
        assert!(world.runner.begin("nightly", world.clock.now()));
        world.restart();
        let status = &world.runner.status(world.clock.now())[0];
        assert_eq!((status.failures, status.running_ns), (1, None));
        assert_eq!(status.last_error.as_deref(), Some("the service ended while it ran"));
        world.until(1440 + 200, |_| false);
        assert_eq!(world.took(), runs(&[(1440 + 160, "attempt 2")]));
    }

    #[test]
    fn who_cancels_does_not_want_it_again_before_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(dir.path(), vec![job("nightly", "daily 02:30")]);
        world.until(150, |_| false);
        assert!(world.runner.begin("nightly", Instant(START + 150 * MINUTE)));
        world.runner.end("nightly", Instant(START + 151 * MINUTE), &Ended::Cancelled);
        world.restart();
        world.until(1440 + 151, |_| false);
        assert_eq!(world.took(), runs(&[(1440 + 150, "scheduled")]));
    }

    #[test]
    fn another_schedule_is_a_new_one_and_others_are_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(dir.path(), vec![job("a", "daily 02:30"), job("b", "daily 02:30")]);
        world.until(200, |_| false);
        assert_eq!(world.took().len(), 2);
        // Earlier today: not missed, as it is new. In the same process, and in the next one.
        world.jobs[0] = job("a", "daily 01:00");
        world.runner.configure(world.jobs.clone(), world.clock.now());
        assert_eq!(world.runner.status(world.clock.now())[0].succeeded_ns, None);
        assert!(world.runner.status(world.clock.now())[1].succeeded_ns.is_some());
        world.until(300, |_| false);
        world.jobs[0] = job("a", "daily 03:00");
        world.restart();
        world.until(1440, |_| false);
        assert_eq!(world.took(), []);
        // One that was taken out and comes back is new as well.
        let all = world.jobs.clone();
        world.runner.configure(vec![all[0].clone()], world.clock.now());
        world.clock.advance(2 * DAY);
        world.runner.configure(all, world.clock.now());
        let now = world.clock.now();
        assert_eq!(world.runner.due(now).iter().map(|(job, _)| job.job.name.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_file_that_does_not_read_is_told_and_one_that_cannot_be_written_holds_up_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(dir.path(), vec![job("a", "hourly")]);
        durable::replace(&world.file, b"{", 0o600).unwrap();
        assert!(matches!(Runner::open(&world.file), Err(DaemonError::Kept { .. })));
        std::fs::remove_file(&world.file).unwrap();
        std::fs::create_dir(&world.file).unwrap();
        world.until(61, |_| false);
        assert_eq!(world.took().len(), 1);
        assert!(world.runner.trouble().is_some());
        std::fs::remove_dir(&world.file).unwrap();
        world.until(121, |_| false);
        assert_eq!((world.took().len(), world.runner.trouble()), (1, None));
    }
}
