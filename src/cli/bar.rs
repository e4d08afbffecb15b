//! The progress bar of a terminal.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::{
    cli::sizes::show_size,
    progress::{Progress, Quiet, Total},
};

const KNOWN: &str = "{phase} [{bar:24}] {percent:>3}%  {files} files  {size}  {speed}/s  {eta} left";
const UNKNOWN: &str = "{spinner} {phase}  {files} files  {size}  {speed}/s  {elapsed}";

/// How often the picture moves where no count does.
const TICK: Duration = Duration::from_millis(120);

/// A bar on stderr if that is a terminal and `wanted`; else one that hears nothing.
pub fn on_stderr(wanted: bool) -> Box<dyn Progress> {
    if wanted && std::io::stderr().is_terminal() {
        Box::new(Bar::new(ProgressDrawTarget::stderr))
    } else {
        Box::new(Quiet)
    }
}

/// One line that is drawn anew and again, and gone in the end; notes are printed above it.
struct Bar {
    target: fn() -> ProgressDrawTarget,
    files: Arc<AtomicU64>,
    phase: Mutex<Option<ProgressBar>>,
}

impl Bar {
    fn new(target: fn() -> ProgressDrawTarget) -> Bar {
        Bar { target, files: Arc::new(AtomicU64::new(0)), phase: Mutex::new(None) }
    }

    fn phase(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        // A thread that panicked while drawing leaves a picture at worst half drawn.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn style(&self, template: &str, phase: &str) -> ProgressStyle {
        let (files, phase) = (Arc::clone(&self.files), phase.to_owned());
        ProgressStyle::with_template(template)
            .expect("the templates are constants, and tested")
            .progress_chars("=> ")
            .with_key("phase", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&phase);
            })
            .with_key("files", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", files.load(Ordering::Relaxed));
            })
            .with_key("size", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", show_size(state.pos()));
            })
            .with_key("speed", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", show_size(state.per_sec() as u64));
            })
    }
}

impl Progress for Bar {
    fn start(&self, phase: &str, total: Option<Total>) {
        // A bar of no bytes would stand at its end from the start.
        let length = total.map(|total| total.bytes).filter(|bytes| *bytes > 0);
        let template = if length.is_some() { KNOWN } else { UNKNOWN };
        let mut current = self.phase();
        if let Some(last) = current.take() {
            last.finish_and_clear();
        }
        self.files.store(0, Ordering::Relaxed);
        let bar = ProgressBar::with_draw_target(length, (self.target)()).with_style(self.style(template, phase));
        bar.enable_steady_tick(TICK);
        *current = Some(bar);
    }

    fn expect(&self, more: Total) {
        if let Some(bar) = self.phase().as_ref().filter(|bar| bar.length().is_some()) {
            bar.inc_length(more.bytes);
        }
    }

    fn add(&self, files: u64, bytes: u64) {
        if let Some(bar) = self.phase().as_ref() {
            self.files.fetch_add(files, Ordering::Relaxed);
            bar.inc(bytes);
        }
    }

    fn note(&self, message: &str) {
        match self.phase().as_ref() {
            Some(bar) => bar.println(message),
            None => eprintln!("{message}"),
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.phase().take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(bar: &Bar) -> Option<(u64, Option<u64>)> {
        bar.phase().as_ref().map(|bar| (bar.position(), bar.length()))
    }

    #[test]
    fn both_templates_are_valid() {
        let bar = Bar::new(ProgressDrawTarget::hidden);
        bar.style(KNOWN, "copying");
        bar.style(UNKNOWN, "scanning");
    }

    #[test]
    fn phases_count_for_themselves() {
        let bar = Bar::new(ProgressDrawTarget::hidden);
        bar.add(1, 1);
        assert_eq!(position(&bar), None);
        bar.start("scanning", None);
        bar.add(3, 0);
        bar.expect(Total { files: 1, bytes: 1 });
        assert_eq!(position(&bar), Some((0, None)));
        bar.start("copying", Some(Total { files: 3, bytes: 100 }));
        bar.add(1, 40);
        bar.expect(Total { files: 1, bytes: 20 });
        assert_eq!(position(&bar), Some((40, Some(120))));
        assert_eq!(bar.files.load(Ordering::Relaxed), 1);
        bar.finish();
        assert_eq!(position(&bar), None);
    }

    #[test]
    fn a_phase_of_empty_files_has_no_bar_to_fill() {
        let bar = Bar::new(ProgressDrawTarget::hidden);
        bar.start("copying", Some(Total { files: 3, bytes: 0 }));
        assert_eq!(position(&bar), Some((0, None)));
    }
}
