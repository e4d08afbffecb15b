//! `bygone config check`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::outcome::{Failure, Outcome};
use crate::config::check;

/// Prints everything wrong with the settings, or that nothing is. Fails if there is something.
pub fn run(context: &Context) -> Result<Outcome, Failure> {
    let config = &context.config;
    let problems = check::check(config);
    let mut out = context.out();
    for p in &problems {
        match context.json {
            true => out.json(&json!({
                "path": p.place.path, "line": p.place.line, "column": p.place.column, "what": p.what, "cure": p.cure,
            }))?,
            false => out.line(format_args!("{}: {}\n  to do: {}", p.place, p.what, p.cure))?,
        }
    }
    if problems.is_empty() && !context.json && !context.quiet {
        let file = config.path.display();
        match config.exists() {
            true => out.line(format_args!("{file}: no problems, {} sources", config.sources.len()))?,
            false => out.line(format_args!("{file} is not there: all settings have their defaults"))?,
        }
    }
    out.finish()?;
    Ok(if problems.is_empty() { Outcome::Done } else { Outcome::Failed })
}
