//! Where in the file something is wrong, what it is, and what to do about it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A place in a configuration file. Line and column count from 1; line 0 is the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Place {
    /// The file as a whole.
    pub fn whole(path: &Path) -> Place {
        Place { path: path.to_owned(), line: 0, column: 0 }
    }

    /// The place of a span of bytes in `text`.
    pub fn of(path: &Path, text: &str, span: Option<Range<usize>>) -> Place {
        let Some(before) = span.and_then(|s| text.get(..s.start)) else { return Place::whole(path) };
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        Place {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if self.line > 0 { write!(f, ":{}:{}", self.line, self.column) } else { Ok(()) }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something that can't be understood.
    #[error("{place}: {what}")]
    Text {
        /// Where.
        place: Place,
        /// What is wrong.
        what: String,
    },
    /// No place for the file.
    #[error("cannot tell where the configuration is: neither HOME nor {0} is set; set one of them, or give --config")]
    NoHome(&'static str),
}
