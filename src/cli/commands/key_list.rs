//! `bygone key list`.

use serde_json::{Value, json};
use std::collections::HashSet;

use super::key::Slots;
use crate::cli::context::Context;
use crate::cli::open;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::crypto::{
    generation::Stated,
    slots::{SlotError, SlotInfo},
};
use crate::repo::{generations, open::list_slots};
use crate::types::{
    ids::{Generation, Id},
    path,
    when::{show, zone::Zone},
};

/// Ids are shown by so many digits at least.
const SHOWN: usize = 8;

type Generations = Vec<(Generation, Result<Stated, String>)>;

/// Runs it.
pub fn run(context: &Context) -> Result<Outcome, Failure> {
    let store = open::store_of_repository(context)?;
    let what = || format!("cannot list the keys of {}", store.location());
    let slots = list_slots(&*store).explain(what)?;
    let later = generations::list(&*store).explain(what)?;
    let digits = shown_digits(&slots);
    let (mut out, zone) = (context.out(), context.zone()?);
    for (id, slot) in &slots {
        let opens = opens(*id, slot, &later);
        match context.json {
            true => out.json(&as_json(*id, slot, opens))?,
            false => {
                let line = describe(&id.to_string()[..digits], slot, &zone);
                let note = if opens { "" } else { "  (does not open the generation in force)" };
                out.line(format_args!("{line}{note}"))?;
            }
        }
    }
    let there: HashSet<Id> = slots.iter().map(|(id, _)| *id).collect();
    for (nth, (generation, stated)) in later.iter().enumerate() {
        let in_force = nth + 1 == later.len();
        match context.json {
            true => out.json(&generation_json(*generation, stated, in_force))?,
            false => {
                let told = describe_generation(*generation, stated, (in_force, digits), &zone);
                out.line(told)?;
            }
        }
        let removed = |stated: &Stated| stated.slots.iter().filter(|(id, _)| !there.contains(id)).count();
        match stated.as_ref().map(removed) {
            Ok(removed) if in_force && removed > 0 && !context.json => out.line(format_args!(
                "{removed} key(s) that open it were removed since: where one was stolen, run `bygone key rotate`"
            ))?,
            _ => {}
        }
    }
    out.finish()?;
    let whole = slots.iter().all(|(_, slot)| slot.is_ok()) && later.iter().all(|(_, stated)| stated.is_ok());
    Ok(if whole { Outcome::Done } else { Outcome::Partial })
}

/// Whether a slot opens the generation in force, by what is stated in the open.
fn opens(id: Id, slot: &Result<SlotInfo, SlotError>, later: &Generations) -> bool {
    let Some((in_force, stated)) = later.last() else { return true };
    let Ok(slot) = slot else { return true };
    slot.generation == *in_force || stated.as_ref().is_ok_and(|stated| stated.slots.contains(&(id, slot.role)))
}

/// So many digits tell all ids apart.
fn shown_digits(slots: &Slots) -> usize {
    let mut ids: Vec<String> = slots.iter().map(|(id, _)| id.to_string()).collect();
    ids.sort();
    let common = |(a, b): (&String, &String)| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    ids.iter().zip(ids.iter().skip(1)).map(common).max().map_or(SHOWN, |n| (n + 1).max(SHOWN))
}

fn describe(id: &str, slot: &Result<SlotInfo, SlotError>, zone: &Zone) -> String {
    match slot {
        Ok(slot) => {
            // Anybody who can write to the store can write a label.
            let label = path::show(slot.label.as_bytes());
            let made = show::show_second(slot.created, zone);
            format!("{id}  {:<12}  {:<7}  {made}  {label}", slot.kind.to_string(), slot.role).trim_end().to_owned()
        }
        Err(why) => format!("{id}  cannot be used: {why}"),
    }
}

fn describe_generation(
    generation: Generation,
    stated: &Result<Stated, String>,
    (in_force, digits): (bool, usize),
    zone: &Zone,
) -> String {
    let number = generation.number();
    let state = if in_force { ", in force" } else { "" };
    match stated {
        Ok(stated) => {
            let made = show::show_second(stated.made, zone);
            let by = &stated.by.to_string()[..digits];
            format!(
                "generation {number} ({generation}){state}: rotated {made} with the key {by}; keys that open it: {}",
                stated.slots.len()
            )
        }
        Err(why) => format!("generation {number} ({generation}){state}: cannot be used: {why}"),
    }
}

fn as_json(id: Id, slot: &Result<SlotInfo, SlotError>, opens: bool) -> Value {
    match slot {
        Ok(slot) => json!({
            "id": id.to_string(), "kind": slot.kind.to_string(), "role": slot.role, "label": slot.label,
            "created_ns": slot.created.0, "generation": slot.generation.number(), "opens_generation_in_force": opens,
            "argon2": slot.cost.map(|c| json!({ "memory_kib": c.memory_kib, "passes": c.passes, "lanes": c.lanes })),
        }),
        Err(why) => json!({ "id": id.to_string(), "problem": why.to_string() }),
    }
}

fn generation_json(generation: Generation, stated: &Result<Stated, String>, in_force: bool) -> Value {
    let named = generation.to_string();
    match stated {
        Ok(stated) => json!({
            "generation": named, "number": generation.number(), "in_force": in_force, "previous": stated.previous.to_string(),
            "made_ns": stated.made.0, "by": stated.by.to_string(),
            "keys": stated.slots.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
        }),
        Err(why) => json!({ "generation": named, "number": generation.number(), "in_force": in_force, "problem": why }),
    }
}
