//! Something that runs for as long as the service does, and is begun again when it ends.

use crate::daemon::{
    backoff::Backoff,
    error::{Trouble, told},
    pulse::Pulse,
    standing::{TaskState, TaskStatus},
};
use crate::sys::clock::{self};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use tokio::sync::Notify;

/// What a task does until it is told to stop. It blocks, in a thread of its own, looks at the flag, and beats.
pub(super) type Body = Arc<dyn Fn(&Task) -> Result<(), Trouble> + Send + Sync>;

/// A task, and how it stands.
pub(super) struct Task {
    pub(super) name: String,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) pulse: Arc<Pulse>,
    wake: Notify,
    status: Mutex<TaskStatus>,
}

impl Task {
    pub(super) fn new(name: &str) -> Task {
        let status = TaskStatus {
            name: name.to_owned(),
            state: TaskState::Running,
            since_ns: clock::now().0,
            restarts: 0,
            note: None,
            last_error: None,
            failed_ns: None,
            again_ns: None,
        };
        Task {
            name: name.to_owned(),
            stop: Arc::new(AtomicBool::new(false)),
            pulse: Arc::new(Pulse::new()),
            wake: Notify::new(),
            status: Mutex::new(status),
        }
    }

    /// Asks it to end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A word on what it does now.
    pub(super) fn note(&self, note: Option<String>) {
        self.lock().note = note;
    }

    pub(super) fn status(&self) -> TaskStatus {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, TaskStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begins(&self) {
        self.pulse.beat();
        let mut status = self.lock();
        (status.state, status.since_ns, status.again_ns) = (TaskState::Running, clock::now().0, None);
    }

    fn failed(&self, why: &str, pause: std::time::Duration) {
        self.pulse.rest();
        let now = clock::now().0;
        let pause_ns = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
        let mut status = self.lock();
        status.state = TaskState::Waiting;
        status.since_ns = now;
        status.restarts += 1;
        status.note = None;
        status.last_error = Some(why.to_owned());
        status.failed_ns = Some(now);
        status.again_ns = Some(now.saturating_add(pause_ns));
    }
}

/// Runs a task until it is asked to stop: what ends, fails or panics is begun again after a pause.
pub(super) async fn supervise(task: Arc<Task>, body: Body) {
    let mut backoff = Backoff::new();
    while !task.is_stopped() {
        task.begins();
        let begun = Instant::now();
        let (its, run) = (task.clone(), body.clone());
        let ended = tokio::task::spawn_blocking(move || run(&its)).await;
        if task.is_stopped() {
            if let Ok(Err(e)) = &ended {
                tracing::error!("{}: {}", task.name, told(&**e));
            }
            break;
        }
        let why = match ended {
            Ok(Ok(())) => "it ended by itself".to_owned(),
            Ok(Err(e)) => told(&*e),
            Err(e) => format!("it ended unexpectedly: {e}"),
        };
        let pause = backoff.after(begun.elapsed());
        tracing::error!("{}: {why}; begun again in {} s", task.name, pause.as_secs());
        task.failed(&why, pause);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = task.wake.notified() => {}
        }
    }
    task.pulse.rest();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_panic_and_a_failure_are_begun_again_and_touch_nobody_else() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let calm: Body = Arc::new(|task: &Task| {
                while !task.is_stopped() {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                Ok(())
            });
            let runs = Arc::new(AtomicU32::new(0));
            let counted = runs.clone();
            let wild: Body = Arc::new(move |task: &Task| match counted.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("on purpose"),
                1 => Err("a reason".into()),
                _ => {
                    while !task.is_stopped() {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    Ok(())
                }
            });
            let (one, two) = (Arc::new(Task::new("calm")), Arc::new(Task::new("wild")));
            let all = [tokio::spawn(supervise(one.clone(), calm)), tokio::spawn(supervise(two.clone(), wild))];
            while runs.load(Ordering::SeqCst) < 3 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            assert_eq!((one.status().restarts, two.status().restarts), (0, 2));
            assert_eq!(two.status().last_error.as_deref(), Some("a reason"));
            one.stop();
            two.stop();
            for handle in all {
                handle.await.unwrap();
            }
        });
    }
}
