//! The audit trail, as the commands write it: an entry that can't be written is told, and does not undo what was done.

use std::sync::Arc;

use super::context::Context;
use super::outcome::{Failure, Outcome};
use crate::config::model::Config;
use crate::repo::{
    attach::state_dir_of,
    audit::{
        error::AuditError,
        event::{Event, Outcome as Ended},
        policy,
        who::Who,
        writer::Audit,
    },
    open::Repository,
};
use crate::sys::{account, clock::SystemClock, process};

/// Who runs this command.
pub fn who(context: &Context) -> Who {
    let uid = process::effective_uid();
    let sudo = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    Who {
        host: context.config.host.clone(),
        uid,
        user: account::user_name(uid),
        sudo_user: sudo.map(name).or_else(|| std::env::var("SUDO_USER").ok()),
        login_user: account::login_uid().map(name),
        program: concat!("bygone ", env!("CARGO_PKG_VERSION")).to_owned(),
        pid: std::process::id(),
    }
}

fn name(uid: u32) -> String {
    account::user_name(uid).unwrap_or_else(|| uid.to_string())
}

/// The trail of a repository. Into a copy of one that this host knows at another place, nothing is written.
pub fn open(context: &Context, repo: &Arc<Repository>) -> Audit {
    let dir = state_dir_of(&context.config.state, repo.id());
    let audit = Audit::open(repo.clone(), &dir, who(context), Arc::new(SystemClock));
    match &context.known_at {
        None => audit,
        Some(_) => audit.silent(),
    }
}

/// Tells where an entry could not be written. The command has then not done all that it should, except where the store is
/// read-only: then there is nothing it could do.
pub fn told(recorded: Result<(), AuditError>) -> Outcome {
    match recorded {
        Ok(()) => Outcome::Done,
        Err(e) if e.is_read_only() => {
            tracing::warn!("what was done is not in the audit trail, since the repository is read-only: {e}");
            Outcome::Done
        }
        Err(e) => {
            tracing::error!("what was done is not in the audit trail: {e}");
            Outcome::Partial
        }
    }
}

/// Records how a command ended, and gives how it ends by that.
pub fn ended(
    audit: &Audit,
    result: Result<Outcome, Failure>,
    event: impl FnOnce(Ended) -> Event,
) -> Result<Outcome, Failure> {
    let (ended, why) = match &result {
        Ok(Outcome::Done) => (Ended::Done, None),
        Ok(Outcome::Partial) => (Ended::Partial, None),
        Ok(_) => (Ended::Failed, None),
        Err(failure) => (Ended::Failed, Some(failure.in_short())),
    };
    let mut event = event(ended);
    if let Some(why) = why {
        event = event.detail("why", why);
    }
    let recorded = told(audit.record(event));
    result.map(|outcome| outcome.and(recorded))
}

/// Records how a command ended, as [`ended`], and brings the entry to the store where it waits on this host.
pub fn ended_and_stored(
    audit: &Audit,
    repo: &Repository,
    result: Result<Outcome, Failure>,
    event: impl FnOnce(Ended) -> Event,
) -> Result<Outcome, Failure> {
    let result = ended(audit, result, event);
    if let Err(e) = repo.store().settle() {
        tracing::warn!("the audit trail waits on this host until the store takes it: {e}");
    }
    result
}

/// Records the rules of retention of the settings, where they are not those that were recorded last.
pub fn note_policy(context: &Context, repo: &Repository, audit: &Audit) -> Outcome {
    let dir = state_dir_of(&context.config.state, repo.id());
    told(policy::note(audit, &dir, &policy_text(&context.config)).map(drop))
}

/// All that the settings say about how long what is kept.
pub fn policy_text(config: &Config) -> String {
    let mut text = format!("[retention]\n{}", config.retention.text());
    for source in &config.sources {
        text.push_str(&format!("source {:?}\n", source.path));
        if let Some(own) = &source.retention {
            text.push_str(&format!("[source.retention]\n{}", own.text()));
        }
    }
    text
}
