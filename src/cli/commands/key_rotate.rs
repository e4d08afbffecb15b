//! `bygone key rotate`.

use serde_json::json;

use super::key;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::trail;
use crate::repo::{
    audit::event::{Event, Kind, Outcome as Ended},
    generations::{self, Rotation},
};

/// Runs it.
pub fn run(context: &Context) -> Result<Outcome, Failure> {
    let repo = open::repository(context)?;
    let what = || format!("cannot rotate the keys of the repository {}", repo.store().location());
    // Who rotates the keys is known before it is done, and what was in force then.
    let audit = trail::open(context, &repo);
    let before = repo.keys().in_force().explain(what)?;
    let event = |ended| Event::new(Kind::KeyRotate, ended).detail("before", before.to_string());
    audit.record_durably(event(Ended::Begun)).explain(what)?;
    let rotated = generations::rotate(&repo).explain(what);
    let event = |ended| match &rotated {
        Ok(Rotation { generation, slots, left_out }) => event(ended)
            .detail("generation", generation.to_string())
            .detail("keys", slots.iter().map(ToString::to_string).collect::<Vec<_>>())
            .detail("left_out", left_out.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()),
        Err(_) => event(ended),
    };
    let outcome = match &rotated {
        Ok(rotation) if rotation.left_out.is_empty() => Ok(Outcome::Done),
        Ok(_) => Ok(Outcome::Partial),
        Err(failure) => Err(failure.clone()),
    };
    let outcome = trail::ended(&audit, outcome, event)?;
    let Rotation { generation, slots, left_out } = rotated?;
    for (id, why) in &left_out {
        tracing::error!(
            "the key slot {id} does not open the new keys: {why}; where its key is to be used, remove it and add it again: \
             `bygone key remove`, `bygone key add`"
        );
    }
    let mut out = context.out();
    if context.json {
        let left_out: Vec<_> = left_out.iter().map(|(id, why)| json!({ "id": id.to_string(), "why": why })).collect();
        out.json(&json!({
            "generation": generation.to_string(), "number": generation.number(), "before": before.to_string(),
            "keys": slots.iter().map(ToString::to_string).collect::<Vec<_>>(), "left_out": left_out,
            "copies_without_it": key::sites(context),
        }))?;
    } else if !context.quiet {
        let number = generation.number();
        out.line(format_args!(
            "rotated the keys: generation {number} ({generation}) is in force, and {} key(s) open it",
            slots.len()
        ))?;
        out.line("what was stored before stays under the generation that it has, until retention releases it")?;
        key::tell_copies(context, &mut out, "these keys")?;
    }
    out.finish()?;
    Ok(outcome)
}
