//! The log: to the standard error, as the options and `BYGONE_LOG` say.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use super::args::top::{Global, LogFormat};
use super::bar::Apart;
use super::outcome::Failure;

/// The variable that says what is logged.
pub const VARIABLE: &str = "BYGONE_LOG";

/// Starts logging; a service tells more by itself, as nobody looks on. To be called once; a second call changes nothing.
pub fn start(global: &Global, is_service: bool) -> Result<(), Failure> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|e| {
            Failure::usage(format!("{VARIABLE}={text:?} is no log filter"))
                .because(&e)
                .hint("write a level, or bygone=debug")
        })?,
        _ => EnvFilter::new(directives(global, is_service)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Apart(io::stderr()));
    // An error here says that a subscriber is set already, by a test or by an embedding program: theirs stays.
    let _already = match global.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_target(false).with_ansi(io::stderr().is_terminal()).try_init(),
    };
    Ok(())
}

/// What is logged by bygone itself, and by what it is made of.
fn directives(global: &Global, is_service: bool) -> &'static str {
    match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) if is_service => "warn,bygone::daemon=info",
        (false, 0) => "warn",
        (false, 1) => "warn,bygone=info",
        (false, 2) => "warn,bygone=debug",
        (false, _) => "debug,bygone=trace",
    }
}
