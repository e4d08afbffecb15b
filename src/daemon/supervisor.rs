//! The main loop: begins tasks and jobs, takes new settings, and ends everything.

use crate::config::jobs;
use crate::daemon::{
    error::DaemonError,
    jobs::{self as work, Tools},
    reload,
    runner::{Ended, why},
    shared::{Current, Shared},
    standing::Refused,
    task::{Task, supervise},
    tasks::{self, Planned},
    trail::Trail,
};
use crate::mount::umount;
use crate::sys::service::{Notify, monotonic_usec};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// How often the schedules and the clock are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often it is looked whether the audit trail is to be told something.
const TRAIL: Duration = Duration::from_secs(60);
/// How long the end waits for what runs.
const END: Duration = Duration::from_secs(20);
/// How long new settings wait for what ends by them.
const CHANGE: Duration = Duration::from_secs(10);

/// What the main loop is told to do.
pub(super) enum Order {
    /// To end.
    Stop,
    /// To take new settings; who asked hears what became of it.
    Reload(Reply),
}

struct Supervised {
    print: String,
    source: Option<PathBuf>,
    mount: Option<PathBuf>,
    task: Arc<Task>,
    handle: JoinHandle<()>,
}

/// Who waits for new settings to be taken.
type Reply = Option<oneshot::Sender<Result<String, String>>>;

/// A job that has ended; none where the service ended it.
type JobEnd = (String, Option<Ended>);

/// The main loop.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    notify: Arc<Notify>,
    tasks: Vec<Supervised>,
    to_jobs: mpsc::UnboundedSender<JobEnd>,
    jobs: mpsc::UnboundedReceiver<JobEnd>,
    said: String,
    /// When the audit trail was looked at last.
    told: Instant,
    /// Who waits for the settings that are being loaded; none while none are.
    loading: Option<JoinHandle<Result<Current, String>>>,
    replies: Vec<Reply>,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, notify: Arc<Notify>) -> Supervisor {
        let (to_jobs, jobs) = mpsc::unbounded_channel();
        Supervisor {
            shared,
            notify,
            tasks: Vec::new(),
            to_jobs,
            jobs,
            said: String::new(),
            told: Instant::now(),
            loading: None,
            replies: Vec::new(),
        }
    }

    /// Runs until it is told to stop, and gives the names of what did not end in time; or until what it needs is taken away.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) -> Result<Vec<String>, DaemonError> {
        let current = self.shared.current();
        self.apply(&current).await;
        self.notify.send(&["READY=1"]);
        tracing::info!("the service runs, process {}", std::process::id());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Reload(reply)) => self.load(reply),
                    Some(Order::Stop) | None => break,
                },
                Some(ended) = self.jobs.recv() => self.job_ended(ended),
                loaded = loaded(&mut self.loading) => self.take(loaded).await,
                _ = tick.tick() => self.tick(),
            }
            // Everybody would go on with an index that nobody else sees.
            if let Err(e) = self.shared.current().at.check_in_place() {
                self.end().await;
                return Err(DaemonError::Gone(e));
            }
        }
        Ok(self.end().await)
    }

    fn tick(&mut self) {
        self.shared.main_pulse.beat();
        let now = self.shared.clock.now();
        match self.shared.pause.look(now) {
            Ok(true) => tracing::info!("the pause is over"),
            Ok(false) => {}
            Err(e) => tracing::error!("the pause is over, and will be again after a restart: {e}"),
        }
        if self.shared.pause.state().is_none() {
            let due = self.shared.runner().due(now);
            for (job, run) in due {
                if self.shared.runner().begin(&run.job, now) {
                    tracing::info!("job {:?} begins ({})", run.job, why(&run.why));
                    self.begin_job(&job);
                }
            }
        }
        if self.told.elapsed() >= TRAIL {
            self.told = Instant::now();
            let trail = self.shared.current().trail;
            tokio::task::spawn_blocking(move || trail.tick());
        }
        self.say();
    }

    fn begin_job(&self, job: &jobs::Assigned) {
        let Current { config, at, trail } = self.shared.current();
        let (captures, host) = (self.shared.captures.clone(), self.shared.host.clone());
        let tools = Tools {
            task: job.task,
            source: job.source.clone(),
            site: job.site.clone(),
            drill: job.drill.clone(),
            config,
            at,
            captures,
            host,
            trail,
        };
        let running = self.shared.works.begin(&job.job.name, job.source.as_deref());
        let (to, name) = (self.to_jobs.clone(), job.job.name.clone());
        let thread = tokio::task::spawn_blocking(move || {
            let ended = work::run(&tools, &running.work);
            ended.iter().for_each(|ended| tools.trail.job_ended(&running.work.name, ended));
            ended
        });
        tokio::spawn(async move {
            let ended = thread.await.unwrap_or_else(|e| Some(Ended::Failed(format!("it ended unexpectedly: {e}"))));
            // The main loop has ended: then the job counts as interrupted.
            let _gone = to.send((name, ended));
        });
    }

    fn job_ended(&mut self, (name, ended): JobEnd) {
        let Some(ended) = ended.or_else(|| self.is_there_still(&name)) else { return };
        match &ended {
            Ended::Done(what) => tracing::info!("job {name:?} is done: {what}"),
            Ended::Failed(why) => tracing::error!("job {name:?} failed: {why}"),
            Ended::Cancelled => tracing::warn!("job {name:?} was cancelled"),
        }
        let now = self.shared.clock.now();
        self.shared.observer.ended(&name, &ended);
        self.shared.runner().end(&name, now, &ended);
    }

    /// A job that was ended because its source was, while the service goes on, has failed.
    fn is_there_still(&self, name: &str) -> Option<Ended> {
        let goes_on = self.shared.runner().has(name) && !self.shared.works.is_closed();
        goes_on.then(|| Ended::Failed("the settings of its source were changed while it ran".to_owned()))
    }

    /// Begins to load new settings, beside everything else: a store may take its time. Settings that are being loaded already may
    /// be older than what is asked for now: they are loaded anew.
    fn load(&mut self, reply: Reply) {
        let usec = format!("MONOTONIC_USEC={}", monotonic_usec());
        self.notify.send(&["RELOADING=1", &usec]);
        self.replies.push(reply);
        let shared = self.shared.clone();
        self.loading = Some(tokio::task::spawn_blocking(move || reload::load(&shared)));
    }

    /// Takes new settings, or refuses them.
    async fn take(&mut self, loaded: Result<Current, String>) {
        let result = match loaded {
            Ok(current) => {
                self.shared.set_refused(None);
                let changed = self.apply(&current).await;
                tracing::info!("new settings: {changed}");
                Ok(changed)
            }
            Err(why) => {
                tracing::error!("new settings were refused, and the old ones hold: {why}");
                self.shared.set_refused(Some(Refused { at_ns: self.shared.clock.now().0, why: why.clone() }));
                Err(why)
            }
        };
        self.notify.send(&["READY=1"]);
        for reply in self.replies.drain(..).flatten() {
            // Who asked may have gone.
            let _gone = reply.send(result.clone());
        }
    }

    /// Makes the tasks and jobs those of these settings. What stays the same is not disturbed. Says what changed.
    async fn apply(&mut self, current: &Current) -> String {
        let old = self.shared.current().trail;
        self.shared.set_current(current.clone());
        let planned = tasks::planned(&self.shared, current);
        let (kept, old_tasks): (Vec<_>, Vec<_>) =
            self.tasks.drain(..).partition(|t| planned.iter().any(|p| p.name == t.task.name && p.print == t.print));
        self.tasks = kept;
        let (stopped, mut words) = (old_tasks.len(), Vec::new());
        self.stop(old_tasks, CHANGE).await;
        if !Arc::ptr_eq(&old, &current.trail) {
            finish(old).await;
        }
        let mut begun = 0;
        for plan in planned {
            if !self.tasks.iter().any(|t| t.task.name == plan.name) {
                self.begin(plan);
                begun += 1;
            }
        }
        self.shared.set_tasks(self.tasks.iter().map(|t| t.task.clone()).collect());
        let all = jobs::jobs(&current.config);
        words.push(format!("{stopped} task(s) ended, {begun} begun, {} go on", self.tasks.len() - begun));
        words.push(format!("{} job(s)", all.len()));
        self.shared.runner().configure(all, self.shared.clock.now());
        words.join("; ")
    }

    fn begin(&mut self, plan: Planned) {
        let task = Arc::new(Task::new(&plan.name));
        let handle = tokio::spawn(supervise(task.clone(), plan.body));
        self.tasks.push(Supervised { print: plan.print, source: plan.source, mount: plan.mount, task, handle });
    }

    /// Asks tasks to end and waits for them, for so long at most. The names of those that did not.
    async fn stop(&self, tasks: Vec<Supervised>, at_most: Duration) -> Vec<String> {
        for supervised in &tasks {
            supervised.task.stop();
            supervised.source.iter().for_each(|source| self.shared.works.stop_source(source));
        }
        let until = tokio::time::Instant::now() + at_most;
        let mut left = Vec::new();
        for Supervised { task, handle, mount, .. } in tasks {
            if tokio::time::timeout_at(until, handle).await.is_err() {
                tracing::error!("{} did not end within {} s and is left alone", task.name, at_most.as_secs());
                left.push(task.name.clone());
                unmount(mount).await;
            }
        }
        left
    }

    /// Ends everything, in bounded time.
    async fn end(mut self) -> Vec<String> {
        self.notify.send(&["STOPPING=1", "STATUS=ending"]);
        tracing::info!("the service ends");
        let begun = Instant::now();
        self.shared.works.stop_all();
        let tasks = std::mem::take(&mut self.tasks);
        let mut left = self.stop(tasks, END).await;
        while !self.shared.works.all().is_empty() && begun.elapsed() < END {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        left.extend(self.shared.works.all().iter().map(|work| work.name.clone()));
        // What ended on its own before it was asked has its end noted.
        tokio::time::sleep(Duration::from_millis(20)).await;
        while let Ok(ended) = self.jobs.try_recv() {
            self.job_ended(ended);
        }
        finish(self.shared.current().trail).await;
        left
    }

    /// A line on how things stand, for who supervises this process.
    fn say(&mut self) {
        let tasks = self.shared.tasks();
        let failing = tasks.iter().filter(|task| task.status().again_ns.is_some()).count();
        let running = self.shared.works.all().len();
        let mut text = format!("{} task(s)", tasks.len());
        if failing > 0 {
            text.push_str(&format!(", {failing} of them failing"));
        }
        if running > 0 {
            text.push_str(&format!(", {running} job(s) running"));
        }
        if self.shared.pause.state().is_some() {
            text.push_str(", paused");
        }
        if text != self.said {
            self.notify.send(&[&format!("STATUS={text}")]);
            self.said = text;
        }
    }
}

/// What is loaded, when it is; never while nothing is being loaded.
async fn loaded(loading: &mut Option<JoinHandle<Result<Current, String>>>) -> Result<Current, String> {
    let result = match loading {
        Some(handle) => handle.await,
        None => std::future::pending().await,
    };
    *loading = None;
    result.unwrap_or_else(|e| Err(format!("the settings can't be loaded: {e}")))
}

/// Has the audit trail told all; what a store that is away does not take in time is told by the journal.
async fn finish(trail: Arc<Trail>) {
    let told = tokio::task::spawn_blocking(move || trail.finish());
    if tokio::time::timeout(Duration::from_secs(5), told).await.is_err() {
        tracing::error!("the audit trail could not be told of the last captures in time");
    }
}

/// Takes away a mount that nobody answers for any more.
async fn unmount(mount: Option<PathBuf>) {
    let Some(dir) = mount else { return };
    let detached = tokio::task::spawn_blocking(move || umount::umount(&dir));
    match tokio::time::timeout(Duration::from_secs(2), detached).await {
        Ok(Ok(Ok(_))) => {}
        Ok(Ok(Err(e))) => tracing::error!("{e}"),
        Ok(Err(e)) => tracing::error!("cannot unmount: {e}"),
        Err(_) => tracing::error!("cannot unmount in time"),
    }
}
