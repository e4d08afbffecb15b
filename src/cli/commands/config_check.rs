//! `bygone config check`.

use serde_json::{Value, json};

use crate::cli::args::top::Global;
use crate::cli::context::{Context, Missing, Problems};
use crate::cli::outcome::{Failure, Outcome};
use crate::config::check::{self, Problem};
use crate::config::model::Config;

/// Prints everything wrong with the settings, or that nothing is. Fails if there is something. Of what is no TOML only the first error
/// is told, and settings that were not all read are not compared with the file system.
pub fn run(global: &Global) -> Result<Outcome, Failure> {
    let (context, Problems { mut problems, whole }) = Context::load_with_problems(global, Missing::Error)?;
    let config = &context.config;
    if whole {
        problems.extend(check::check(config));
        problems.extend(check::unknown_names(config));
    }
    let mut out = context.out();
    if context.json {
        out.json(&as_json(config, &problems))?;
    } else {
        for p in &problems {
            out.line(format_args!("{}: {}\n  to do: {}", p.place, p.what, p.cure))?;
        }
    }
    if problems.is_empty() && !context.json && !context.quiet {
        let file = config.path.display();
        match config.exists() {
            true => out.line(format_args!("{file}: no problems, {} source(s)", config.sources.len()))?,
            false => out.line(format_args!("{file} is not there: all settings have their defaults"))?,
        }
    }
    out.finish()?;
    Ok(if problems.is_empty() { Outcome::Done } else { Outcome::Failed })
}

fn as_json(config: &Config, problems: &[Problem]) -> Value {
    let problem = |p: &Problem| {
        json!({
            "path": p.place.path, "line": p.place.line, "column": p.place.column, "what": p.what, "cure": p.cure,
        })
    };
    json!({
        "settings": config.path, "there": config.exists(), "sources": config.sources.len(),
        "problems": problems.iter().map(problem).collect::<Vec<_>>(),
    })
}
