//! `bygone source add`, `remove` and `list`.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args::setup::{SourceAdd, SourceCommand, SourceRemove};
use crate::cli::config_file;
use crate::cli::context::{Context, absolute};
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::config::edit;
use crate::config::model::Source;
use crate::config::patterns::Patterns;

/// Runs one of them.
pub fn run(context: &Context, command: &SourceCommand) -> Result<Outcome, Failure> {
    match command {
        SourceCommand::Add(args) => add(context, args),
        SourceCommand::Remove(args) => remove(context, args),
        SourceCommand::List => list(context),
    }
}

fn add(context: &Context, args: &SourceAdd) -> Result<Outcome, Failure> {
    Patterns::compile(&args.exclude, &args.include).map_err(Failure::usage)?;
    let paths = args.paths.iter().map(|p| directory(p)).collect::<Result<Vec<_>, _>>()?;
    let source = |path: &PathBuf| Source {
        exclude: args.exclude.clone(),
        include: args.include.clone(),
        one_file_system: args.one_file_system,
        cachedir_tag: !args.ignore_cachedir_tag,
        ..Source::new(path.clone())
    };
    config_file::change(context, |text| {
        paths.iter().try_fold(text.to_owned(), |text, path| edit::add_source(&text, &source(path)))
    })?;
    told(context, &paths, "is protected from the next snapshot on")
}

/// The directory that `path` is, from the root and with links followed: what a source is called.
pub fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let real = path.canonicalize().explain(|| format!("cannot protect {}", path.display()))?;
    match real.is_dir() {
        true => Ok(real),
        false => Err(Failure::new(format!("cannot protect {}: it is not a directory", real.display()))
            .hint("protect the directory it lies in")),
    }
}

fn remove(context: &Context, args: &SourceRemove) -> Result<Outcome, Failure> {
    let listed = |path: &PathBuf| context.config.sources.iter().any(|s| s.path == *path);
    let mut paths = Vec::new();
    for path in &args.paths {
        // As it is written in the file, or by a link to it; it need not exist any more.
        let written: PathBuf = absolute(path)?.components().collect();
        let real = path.canonicalize().ok().filter(|real| !listed(&written) && listed(real));
        paths.push(real.unwrap_or(written));
    }
    config_file::change(context, |text| {
        paths.iter().try_fold(text.to_owned(), |text, path| edit::remove_source(&text, path))
    })?;
    told(context, &paths, "is not protected any more; its history stays in the repository")
}

fn told(context: &Context, paths: &[PathBuf], what: &str) -> Result<Outcome, Failure> {
    let mut out = context.out();
    for path in paths.iter().filter(|_| !context.quiet && !context.json) {
        out.line(format_args!("{} {what}", path.display()))?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn list(context: &Context) -> Result<Outcome, Failure> {
    let mut out = context.out();
    for source in &context.config.sources {
        match context.json {
            true => out.json(&json!({
                "path": source.path,
                "exclude": source.exclude,
                "include": source.include,
                "one-file-system": source.one_file_system,
                "cachedir-tag": source.cachedir_tag,
            }))?,
            false => out.line(describe(source))?,
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn describe(source: &Source) -> String {
    let mut text = source.path.display().to_string();
    for (word, patterns) in [("exclude", &source.exclude), ("include", &source.include)] {
        text.extend(patterns.iter().map(|p| format!("\n    {word} {p}")));
    }
    if source.one_file_system {
        text.push_str("\n    one file system");
    }
    if !source.cachedir_tag {
        text.push_str("\n    with directories tagged as caches");
    }
    text
}
