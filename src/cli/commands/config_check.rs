//! `bygone config check`.

use serde_json::{Value, json};

use crate::cli::args::top::Global;
use crate::cli::context::{Context, Missing, Problems};
use crate::cli::open;
use crate::cli::outcome::{Failure, Outcome};
use crate::config::check::{self, Problem};
use crate::config::error::Place;
use crate::config::model::{Config, KeyFrom};
use crate::config::watched::{Channel, Way};
use crate::repo::{error::RepoError, open::repository_id};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Prints everything wrong with the settings, or that nothing is. Fails if there is something. Of what is no TOML only the first error
/// is told, and settings that were not all read are not compared with the file system.
pub fn run(global: &Global) -> Result<Outcome, Failure> {
    let (context, Problems { mut problems, whole }) = Context::load_with_problems(global, Missing::Error)?;
    let config = &context.config;
    if whole {
        problems.extend(check::check(config));
        problems.extend(check::unknown_names(config));
        problems.extend(unusable(&context)?);
        problems.extend(config.channels.iter().filter_map(|channel| program(config, channel)));
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

/// The repository, where it can't be used as the settings have it: its disk is away, or the key does not open it. What is in a bucket
/// is not asked for here, and neither is a person for a passphrase.
fn unusable(context: &Context) -> Result<Option<Problem>, Failure> {
    let Some(_) = context.config.repository.dir().filter(|dir| !dir.exists() || dir.is_dir()) else { return Ok(None) };
    let store = open::store(context)?;
    let failure = match repository_id(&*store) {
        Err(RepoError::NoRepository { .. }) => open::gone(context, &*store),
        // A key that is missing is told already.
        Ok(_) if check::key(&context.config).is_some() || context.config.key == KeyFrom::Prompt => None,
        Ok(_) => open::repository(context).err(),
        Err(e) => Some(Failure::from_error(&e)),
    };
    Ok(failure.map(|failure| Problem {
        place: Place::whole(&context.config.path),
        what: failure.in_short(),
        cure: failure.to_do().unwrap_or("correct `repository` or [key], or put back what is missing").to_owned(),
    }))
}

/// The command of a channel whose program is not there. Only what is plainly a program is looked for: the shell has words of its own.
fn program(config: &Config, channel: &Channel) -> Option<Problem> {
    let Way::Command(line) = &channel.way else { return None };
    let word = line.split_whitespace().next()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    if !word.chars().all(is_plain) || SHELL_WORDS.contains(&word) {
        return None;
    }
    let is_program = |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = match word.contains('/') {
        // The service has another directory than whoever looks.
        true => !word.starts_with('/') || is_program(Path::new(word)),
        false => std::env::split_paths(&path).chain(SYSTEM_PATH.map(PathBuf::from)).any(|d| is_program(&d.join(word))),
    };
    (!found).then(|| Problem {
        place: Place::whole(&config.path),
        what: format!("[[notify]] {}: command: there is no program {word:?}", channel.name),
        cure: "install it, or correct the command: until then nobody is told by it".to_owned(),
    })
}

/// Where programs are looked for besides PATH.
const SYSTEM_PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// What a shell does by itself at the beginning of a command.
const SHELL_WORDS: [&str; 30] = [
    ".", ":", "alias", "case", "cd", "command", "echo", "eval", "exec", "exit", "export", "false", "for", "if", "kill",
    "printf", "read", "readonly", "set", "shift", "test", "times", "trap", "true", "ulimit", "umask", "unset", "until",
    "wait", "while",
];

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
