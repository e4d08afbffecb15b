//! What a command prints: lines or JSON, to somebody who may stop reading at any time.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use super::bar::Apart;
use super::outcome::{Explain as _, Failure};

/// The standard output of a command. When its reader has gone, what is printed further is dropped without an error; any
/// other failure to write is one.
pub struct Out {
    to: Box<dyn Write>,
    closed: bool,
}

impl Out {
    /// The standard output, buffered: [`Out::finish`] it.
    pub fn stdout() -> Out {
        Out::to(Box::new(io::BufWriter::with_capacity(64 << 10, Apart(io::stdout()))))
    }

    /// Another place to print to.
    pub fn to(to: Box<dyn Write>) -> Out {
        Out { to, closed: false }
    }

    /// Whether the reader has gone; a long listing may then stop.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Prints a line.
    pub fn line(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        self.attempt(|to| writeln!(to, "{line}"))
    }

    /// Prints a value as one line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).explain(|| "cannot write the result as JSON")?;
        self.line(text)
    }

    /// Prints bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.attempt(|to| to.write_all(bytes))
    }

    /// Sends what is buffered, so that a reader sees it now.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.attempt(|to| to.flush())
    }

    /// Sends what is buffered at the end.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.flush()
    }

    fn attempt(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        match write(&mut *self.to) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            done => done.explain(|| "cannot write to the standard output"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut out = Out::to(Box::new(writer));
        out.line("a").unwrap();
        assert!(out.closed());
        out.json(&[1, 2]).unwrap();
        out.finish().unwrap();
    }

    #[test]
    fn a_full_disk_is_one() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut out = Out::to(Box::new(full));
        let told = out.line("a").unwrap_err().to_string();
        assert!(told.contains("cannot write to the standard output") && told.contains("No space left"), "{told}");
    }
}
