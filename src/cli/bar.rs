//! The progress bar of a terminal.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::{
    cli::sizes::show_size,
    progress::{Progress, Quiet, Total},
};

const KNOWN: &str = "{phase} [{bar:24}] {percent:>3}%  {files} files  {size}  {speed}/s  {eta} left";
const UNKNOWN: &str = "{spinner} {phase}  {files} files  {size}  {speed}/s  {elapsed}";

/// How often the picture moves where no count does.
const TICK: Duration = Duration::from_millis(120);

/// All bars of the terminal, one line each, so that they don't draw over each other.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// A bar on stderr if that is a terminal and `wanted`; else one that hears nothing.
pub fn on_stderr(wanted: bool) -> Box<dyn Progress> {
    if wanted && std::io::stderr().is_terminal() {
        Box::new(Bar::new(BARS.get_or_init(MultiProgress::new).clone()))
    } else {
        Box::new(Quiet)
    }
}

/// Writes to a terminal on which bars may stand: they are taken away before, and drawn again below.
pub struct Apart<W>(pub W);

impl<W: Write> Apart<W> {
    fn apart<T>(&mut self, write: impl FnOnce(&mut W) -> T) -> T {
        match BARS.get() {
            Some(bars) => bars.suspend(|| write(&mut self.0)),
            None => write(&mut self.0),
        }
    }
}

impl<W: Write> Write for Apart<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.apart(|to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.apart(|to| to.flush())
    }
}

/// One line that is drawn anew and again, and gone in the end; notes are printed above it.
struct Bar {
    bars: MultiProgress,
    files: Arc<AtomicU64>,
    phase: Mutex<Option<ProgressBar>>,
}

impl Bar {
    fn new(bars: MultiProgress) -> Bar {
        Bar { bars, files: Arc::new(AtomicU64::new(0)), phase: Mutex::new(None) }
    }

    fn phase(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        // A thread that panicked while drawing leaves a picture at worst half drawn.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a bar away; nothing of it stays on the terminal.
    fn end(&self, bar: Option<ProgressBar>) {
        if let Some(bar) = bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
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
        self.end(current.take());
        self.files.store(0, Ordering::Relaxed);
        let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(self.style(template, phase));
        let bar = self.bars.add(bar);
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
        let last = self.phase().take();
        self.end(last);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;

    use super::*;

    fn hidden() -> Bar {
        Bar::new(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()))
    }

    fn position(bar: &Bar) -> Option<(u64, Option<u64>)> {
        bar.phase().as_ref().map(|bar| (bar.position(), bar.length()))
    }

    #[test]
    fn both_templates_are_valid() {
        let bar = hidden();
        bar.style(KNOWN, "copying");
        bar.style(UNKNOWN, "scanning");
    }

    #[test]
    fn phases_count_for_themselves() {
        let bar = hidden();
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
        let bar = hidden();
        bar.start("copying", Some(Total { files: 3, bytes: 0 }));
        assert_eq!(position(&bar), Some((0, None)));
    }
}
