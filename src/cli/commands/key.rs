//! `bygone key add`, `remove`, `list` and `export`; `rotate` is in `key_rotate.rs`.

use std::path::Path;

use serde_json::json;

use super::{key_list, key_rotate};

use crate::cli::args::setup::{Key, KeyAdd, KeyExport, KeyRemove};
use crate::cli::context::{Context, absolute};
use crate::cli::open;
use crate::cli::out::Out;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::secret::{self, Purpose};
use crate::cli::trail;
use crate::config::model::KeyFrom;
use crate::crypto::{
    keys::Sealing,
    paper,
    slots::{Secret, SlotError, SlotInfo, SlotKind},
};
use crate::repo::{
    audit::event::{Event, Kind, Outcome as Ended},
    open::{Repository, list_slots, remove_slot, slots_opened_by},
};
use crate::sys::{clock, durable};
use crate::types::{ids::Id, role::Role, when::show};

pub(super) type Slots = Vec<(Id, Result<SlotInfo, SlotError>)>;

/// Runs one of them.
pub fn run(context: &Context, command: &Key) -> Result<Outcome, Failure> {
    match command {
        Key::Add(args) => add(context, args),
        Key::Remove(args) => remove(context, args),
        Key::Rotate => key_rotate::run(context),
        Key::List => key_list::run(context),
        Key::Export(args) => export(context, args),
    }
}

fn add(context: &Context, args: &KeyAdd) -> Result<Outcome, Failure> {
    // Before anything new is asked for or made: the repository has to open.
    let repo = open::repository(context)?;
    repo.grants(args.role).into_failure()?;
    let from = secret::given(&args.key)?.unwrap_or(KeyFrom::Prompt);
    let made = matches!(&from, KeyFrom::File(path) if !path.exists());
    if let KeyFrom::File(path) = &from
        && let Some(dir) = path.parent().filter(|dir| made && !dir.is_dir())
    {
        return Err(Failure::new(format!("cannot make the key file {}: there is no such directory", path.display()))
            .hint(format!("correct the path, or make {} first", dir.display())));
    }
    let new = match &from {
        KeyFrom::File(path) if made => secret::create_key_file(path, repo.id(), args.role)?,
        _ => secret::obtain(&from, Purpose::New)?,
    };
    let what = || format!("cannot add a key to the repository {}", repo.store().location());
    if let Some(slot) = slots_opened_by(repo.store(), &new).explain(what)?.first() {
        return Err(Failure::new(format!("this key opens the repository already, by the slot {slot}"))
            .hint("give another key or passphrase: the same one twice is no second way in"));
    }
    let kind = match new {
        Secret::Passphrase(_) => SlotKind::Passphrase,
        Secret::KeyFile(_) => SlotKind::KeyFile,
    };
    let slot = repo.add_slot(&new, (kind, args.role), &args.label, clock::now()).explain(what)?;
    repo.store().settle().explain(what)?;
    let event = added(slot, kind, args.role, &args.label);
    let recorded = trail::told(trail::open(context, &repo).record(event));
    let mut out = context.out();
    if context.json {
        out.json(&json!({
            "id": slot.to_string(), "kind": kind.to_string(), "role": args.role, "label": args.label, "key": from, "key_file_made": made,
            "copies_without_it": sites(context),
        }))?;
    } else if !context.quiet {
        match &from {
            KeyFrom::File(path) if made => {
                out.line(format_args!("made the key file {}: keep a copy of it elsewhere", path.display()))?
            }
            _ => {}
        }
        let role = match args.role {
            Role::Admin => String::new(),
            role => format!(" with the role {role}"),
        };
        out.line(format_args!("added a {kind}{role} as slot {slot}"))?;
        tell_copies(context, &mut out, "this key")?;
    }
    out.finish()?;
    Ok(recorded)
}

/// The sites of the settings, whose copies do not have a new key yet.
pub(super) fn sites(context: &Context) -> Vec<&str> {
    context.config.sites.iter().map(|site| site.name.as_str()).collect()
}

/// Says that copies at other sites do not have a key yet.
pub(super) fn tell_copies(context: &Context, out: &mut Out, what: &str) -> Result<(), Failure> {
    match context.config.sites.is_empty() {
        true => Ok(()),
        false => out.line(format_args!(
            "the copies at {} don't have {what} until the next replicate: run `bygone replicate`",
            sites(context).join(", ")
        )),
    }
}

/// What the audit trail tells of a new key.
fn added(slot: Id, kind: SlotKind, role: Role, label: &str) -> Event {
    Event::new(Kind::KeyAdd, Ended::Done)
        .about("key", slot.to_string())
        .detail("kind", kind.to_string())
        .detail("role", role.word())
        .detail("label", label)
}

fn remove(context: &Context, args: &KeyRemove) -> Result<Outcome, Failure> {
    let (repo, secret) = open::repository_and_secret(context)?;
    let what = || format!("cannot remove a key of the repository {}", repo.store().location());
    let slots = list_slots(repo.store()).explain(what)?;
    let id = chosen(&slots, &args.id)?;
    let admins = |of: fn(&Id, &Id) -> bool| {
        slots.iter().any(|(other, slot)| of(other, &id) && slot.as_ref().is_ok_and(|slot| slot.role == Role::Admin))
    };
    if !admins(Id::ne) {
        let which = match slots.iter().any(|(other, slot)| *other != id && slot.is_ok()) {
            true if !admins(Id::eq) => None,
            true => Some("with the role admin"),
            false => Some("that can open the repository"),
        };
        if let Some(which) = which {
            return Err(Failure::new(format!("the slot {id} is the last one {which}, and stays"))
                .hint("add another key first: `bygone key add`"));
        }
    }
    let opened = slots_opened_by(repo.store(), &secret).explain(what)?;
    if !opened.iter().any(|other| *other != id) {
        let by = context.config.path.display();
        return Err(Failure::new(format!("the slot {id} is the one by which the settings {by} open the repository"))
            .hint(
                "name another key in [key] there first, or remove it with --config of settings that use another key",
            ));
    }
    // Who removes a key is known before it is gone.
    let audit = trail::open(context, &repo);
    let event = |ended| Event::new(Kind::KeyRemove, ended).about("key", id.to_string());
    audit.record_durably(event(Ended::Begun)).explain(what)?;
    let removed = remove_slot(repo.store(), id).explain(what).map(|()| Outcome::Done);
    let outcome = trail::ended(&audit, removed, event)?;
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "removed": id.to_string() }))?,
        false if context.quiet => {}
        false => {
            out.line(format_args!("removed the slot {id}: its key opens nothing any more"))?;
            if repo.keys().sealing() == Sealing::Apart {
                out.line(
                    "where somebody else may have used it, run `bygone key rotate`: what it gave may have been kept, and would open what is \
                     stored from now on too",
                )?;
            }
        }
    }
    out.finish()?;
    Ok(outcome)
}

/// The slot whose id begins with `given`.
fn chosen(slots: &Slots, given: &str) -> Result<Id, Failure> {
    let list = "`bygone key list` shows the ids";
    let wanted = given.to_ascii_lowercase();
    if wanted.is_empty() || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(
            Failure::usage(format!("{given:?} is not the beginning of an id: those have digits and a to f")).hint(list)
        );
    }
    let mut found = slots.iter().map(|(id, _)| *id).filter(|id| id.to_string().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => Err(Failure::new(format!("no key slot has an id that begins with {given}")).hint(list)),
        (Some(a), Some(b)) => Err(Failure::new(format!("{given} is the beginning of several ids: {a}, {b}"))
            .hint("give more digits of the one that is meant")),
    }
}

fn export(context: &Context, args: &KeyExport) -> Result<Outcome, Failure> {
    let output = args.output.as_deref().map(absolute).transpose()?;
    if let Some(path) = output.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
        return Err(Failure::new(format!("{} is there already, and is not replaced", path.display()))
            .hint("name a new file with --output"));
    }
    let repo = open::repository(context)?;
    repo.grants(args.role).into_failure()?;
    let what = || format!("cannot make a key on paper for the repository {}", repo.store().location());
    let new = Secret::generate_key().explain(what)?;
    let Secret::KeyFile(bytes) = &new else { return Err(Failure::new(what())) };
    let now = clock::now();
    let page = paper::page(bytes, repo.id(), args.role, &show::day(now, &context.zone()?));
    // The slot comes first: a page that opens nothing would be worse than a slot without a page.
    let slot = repo.add_slot(&new, (SlotKind::Paper, args.role), &args.label, now).explain(what)?;
    repo.store().settle().explain(what)?;
    let handed_over = match &output {
        Some(path) => to_file(context, path, &page, slot),
        None => to_output(context, &page, slot),
    };
    handed_over.map_err(|failure| take_back(&repo, slot, failure))?;
    let event = added(slot, SlotKind::Paper, args.role, &args.label);
    Ok(trail::told(trail::open(context, &repo).record(event)))
}

fn to_file(context: &Context, path: &Path, page: &str, slot: Id) -> Result<(), Failure> {
    durable::write_new(path, page.as_bytes(), 0o600).explain(|| format!("cannot write {}", path.display()))?;
    let mut out = context.out();
    if context.json {
        out.json(&json!({ "id": slot.to_string(), "output": path }))?;
    } else if !context.quiet {
        out.line(format_args!("wrote a key to {} (slot {slot}): print it, then delete the file", path.display()))?;
        tell_copies(context, &mut out, "this key")?;
    }
    out.finish()
}

fn to_output(context: &Context, page: &str, slot: Id) -> Result<(), Failure> {
    let mut out = context.out();
    match context.json {
        true => out.json(&json!({ "id": slot.to_string(), "page": page }))?,
        false => out.bytes(page.as_bytes())?,
    }
    out.flush()?;
    match out.closed() {
        true => Err(Failure::new("cannot print the key: whoever was to read it has gone")),
        false => Ok(()),
    }
}

/// Nobody has the key of the slot: it goes again.
fn take_back(repo: &Repository, slot: Id, failure: Failure) -> Failure {
    match remove_slot(repo.store(), slot) {
        Ok(()) => failure,
        Err(e) => failure.because(&e).hint(format!("remove the slot {slot}, whose key nobody has")),
    }
}
