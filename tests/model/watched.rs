//! The real watcher and the real loop around it, in a thread.

use crate::{
    describe::{self, Depth, Tree},
    lab::Lab,
};
use bygone::capture::watching::{self, Event, Options, WatchingError};
use bygone::config::model::{Capture, Watcher};
use bygone::progress::Quiet;
use bygone::types::ids::Snap;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A source that is being watched.
pub(crate) struct Watched<'a> {
    pub(crate) lab: &'a Lab,
    stop: Arc<AtomicBool>,
    events: Receiver<String>,
    thread: Option<JoinHandle<Result<(), WatchingError>>>,
}

/// After this long a change that was not captured is lost; `BYGONE_PATIENCE` sets it, in seconds, to shorten quickly.
fn patience() -> Duration {
    Duration::from_secs(crate::number("BYGONE_PATIENCE").unwrap_or(20))
}

impl<'a> Watched<'a> {
    pub(crate) fn start(lab: &'a Lab, watcher: Watcher) -> Watched<'a> {
        let capture = Capture {
            quiet: Duration::from_millis(30),
            bound: Duration::from_millis(300),
            // No scan heals what the watcher did not see, and large files are not held back for long.
            scan_interval: Duration::from_secs(100_000),
            large_file_share: 100,
            watcher,
            ..Capture::default()
        };
        let (stop, (to, events)) = (Arc::new(AtomicBool::new(false)), channel());
        let (writer, scope, source) = (lab.writer(), lab.scope(), lab.source.clone());
        let (never, flag) = (lab.never().to_vec(), stop.clone());
        let thread = std::thread::spawn(move || {
            let tell = move |event: Event| match event {
                Event::Captured(report) if !report.problems.is_empty() => {
                    let _ = to.send(format!("{:?}", report.problems));
                }
                Event::Captured(_) => {}
                Event::Watching(kind, _) => drop(to.send(format!("watching by {kind}"))),
                other => drop(to.send(format!("{other:?}"))),
            };
            let options = Options {
                source: &source,
                capture: &capture,
                never,
                progress: &Quiet,
                events: &tell,
                stop: &flag,
                steering: None,
                is_going: &|| false,
            };
            watching::watch(writer, scope, &options)
        });
        let watched = Watched { lab, stop, events, thread: Some(thread) };
        let first = watched.events.recv_timeout(patience()).unwrap();
        let wanted = match watcher {
            Watcher::Inotify => "watching by inotify",
            _ => "watching by fanotify",
        };
        assert_eq!(first, wanted);
        watched
    }

    /// Waits until the newest snapshot is what stands in the directory.
    pub(crate) fn settle(&mut self, tree: &Tree) -> Result<Snap, String> {
        let start = Instant::now();
        loop {
            let (at, index) = (&self.lab.at, self.lab.at.reader().unwrap());
            let source = index.sources().unwrap()[0].num;
            let head = index.head(source).unwrap().number;
            let mut told = "nothing was captured".to_owned();
            if head > Snap(0) {
                let frames = bygone::repo::frames::Frames::new(at.repo().clone(), 16 << 20);
                let view = describe::of_view(&index, &frames, source, head);
                told = describe::differences(tree, &view, Depth::All);
                if told.is_empty() {
                    return Ok(head);
                }
            }
            if start.elapsed() > patience() || self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                let events: Vec<String> = self.events.try_iter().collect();
                return Err(format!("snapshot {head} lacks changes that were watched ({events:?}):\n{told}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends watching.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) | None => Ok(()),
            Some(Ok(Err(e))) => Err(e.to_string()),
            Some(Err(_)) => Err("the watching thread panicked".into()),
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
