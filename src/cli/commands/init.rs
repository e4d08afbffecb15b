//! `bygone init`.

use serde_json::json;

use crate::cli::args::setup::Init;
use crate::cli::config_file;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::secret::{self, Purpose};
use crate::config::edit;
use crate::config::model::KeyFrom;
use crate::crypto::slots::{Secret, SlotKind};
use crate::repo::{error::RepoError, open::Repository};
use crate::sys::{clock, durable};
use crate::types::{ids::Id, role::Role};

/// Runs it.
pub fn run(context: &Context, args: &Init) -> Result<Outcome, Failure> {
    let from = secret::given(&args.key)?.unwrap_or_else(|| context.config.key.clone());
    let Made { id, wrote, sources } = make(context, &from, &args.label, args.replace_lost)?;
    let mut out = context.out();
    if context.json {
        out.json(&json!({
            "repository": context.config.repository, "id": id.to_string(), "settings": context.config.path,
            "key": from, "settings_written": wrote,
        }))?;
    } else if !context.quiet {
        out.line(format_args!("made the repository {} (id {id})", context.config.repository))?;
        for line in key_lines(&from) {
            out.line(line)?;
        }
        let settings = context.config.path.display();
        match wrote {
            true => out.line(format_args!("wrote the settings {settings}"))?,
            false => out.line(format_args!("the settings {settings} name both already, and stay as they are"))?,
        }
        match sources {
            0 => out.line("next: `bygone source add DIRECTORY`, then `bygone snapshot` or `bygone watch`")?,
            n => {
                out.line(format_args!("next: `bygone snapshot` or `bygone watch` captures the {n} source(s) there"))?
            }
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}

/// What a person must know about the key.
pub fn key_lines(from: &KeyFrom) -> Vec<String> {
    match from {
        KeyFrom::File(path) => vec![
            format!(
                "the key is {}: keep a copy of it on another machine or on paper (`bygone key export`);",
                path.display()
            ),
            "without a key nothing in the repository can ever be read again".into(),
        ],
        _ => vec!["keep the passphrase: without it nothing in the repository can ever be read again".into()],
    }
}

/// What was made.
pub struct Made {
    /// The id of the repository.
    pub id: Id,
    /// Whether the settings were written: those that name it and its key already stay as they are.
    pub wrote: bool,
    /// How many sources the settings have.
    pub sources: usize,
}

/// Makes the repository of the settings with its first key, and writes both into the settings. Refuses where this host has used
/// another one there, unless that is lost: most likely its disk is away.
pub fn make(context: &Context, from: &KeyFrom, label: &str, is_lost: bool) -> Result<Made, Failure> {
    let what = || format!("cannot make the repository {}", context.config.repository);
    let store = open::store(context)?;
    match crate::repo::open::repository_id(&*store) {
        Err(RepoError::NoRepository { .. }) => match open::gone(context, &*store) {
            Some(gone) if !is_lost => return Err(gone),
            _ => {}
        },
        Ok(id) => {
            let e = RepoError::ThereAlready { location: store.location(), id: id.to_string() };
            return Err(Failure::from_error(&e).hint("use it as it is, or name another directory with --repo"));
        }
        Err(e) => return Err(Failure::from_error(&e)),
    }
    refuse_strangers(context)?;
    if let Some(dir) = context.config.repository.dir() {
        durable::create_dirs(dir, 0o700).explain(what)?;
    }
    let id = Repository::new_id().explain(what)?;
    let (secret, kind) = first_secret(from, id)?;
    Repository::create(store.clone(), &secret, kind, label, clock::now(), id).explain(what)?;
    store.settle().explain(what)?;
    let (config, wrote) = config_file::change_if_needed(context, |text| {
        let text = edit::set_repository(text, &context.config.repository)?;
        edit::set_key(&text, from)
    })?;
    Ok(Made { id, wrote, sources: config.sources.len() })
}

/// A directory with other things in it is none for a repository.
fn refuse_strangers(context: &Context) -> Result<(), Failure> {
    let Some(dir) = context.config.repository.dir() else { return Ok(()) };
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::new(format!("{} is not empty, and holds no repository", dir.display()))
                .hint("name an empty or a new directory with --repo")),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Failure::new(format!("cannot look into {}", dir.display())).because(&e)),
    }
}

fn first_secret(from: &KeyFrom, id: Id) -> Result<(Secret, SlotKind), Failure> {
    if let KeyFrom::File(path) = from {
        // A key file that is there may open other repositories too: it is used.
        return match path.exists() {
            true => Ok((secret::obtain(from, Purpose::New)?, SlotKind::KeyFile)),
            false => Ok((secret::create_key_file(path, id, Role::Admin)?, SlotKind::KeyFile)),
        };
    }
    let secret = secret::obtain(from, Purpose::New)?;
    let kind = match secret {
        Secret::Passphrase(_) => SlotKind::Passphrase,
        Secret::KeyFile(_) => SlotKind::KeyFile,
    };
    Ok((secret, kind))
}
