//! What a run will do and how long it will take, from what earlier runs were measured to take.

use super::graph;
use super::ground::Ground;
use super::journal::Amount;
use super::model::{Plan, Step, Wait, Work};
use super::rates::Rates;
use super::steps::{
    postgres,
    restore::{Asked, amount},
};
use super::template::Values;
use super::when::Subject;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a run is expected to do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Of each step.
    pub steps: BTreeMap<String, Expected>,
    /// How long all of it takes, in milliseconds: of the steps of which that is known.
    pub takes_ms: u64,
    /// The steps of which it is not known.
    pub unknown: Vec<String>,
}

/// What a step is expected to do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Expected {
    /// Files and bytes.
    pub amount: Amount,
    /// How long it takes, in milliseconds, if that is known.
    pub takes_ms: Option<u64>,
    /// Why it would not be done: a condition that does not hold.
    pub skipped: Option<String>,
    /// Why it could not be told, or not be done.
    pub problem: Option<String>,
}

impl Estimate {
    /// Looks at all steps. Writes nothing, and runs nothing.
    pub fn of(ground: &Ground<'_>, plan: &Plan, values: &Values, rates: &Rates) -> Estimate {
        let steps: BTreeMap<String, Expected> =
            plan.steps.iter().map(|step| (step.name.clone(), expected(ground, plan, step, values, rates))).collect();
        let takes = |step: &Step| Duration::from_millis(steps[&step.name].takes_ms.unwrap_or(0));
        let takes_ms = graph::longest(plan, takes).as_millis() as u64;
        let unknown = steps.iter().filter(|(_, e)| e.takes_ms.is_none()).map(|(name, _)| name.clone()).collect();
        Estimate { takes_ms, unknown, steps }
    }

    /// Files and bytes of all steps.
    pub fn amount(&self) -> Amount {
        self.steps.values().fold(Amount::default(), |sum, expected| Amount {
            files: sum.files + expected.amount.files,
            bytes: sum.bytes + expected.amount.bytes,
        })
    }
}

fn expected(ground: &Ground<'_>, plan: &Plan, step: &Step, values: &Values, rates: &Rates) -> Expected {
    let of_input =
        |c: &&super::when::Condition| matches!(&c.subject, Subject::Input(name) if values.contains_key(name));
    if let Some(no) = step.when.iter().filter(of_input).find(|c| !c.holds(values, &BTreeMap::new())) {
        return Expected { skipped: Some(no.to_string()), takes_ms: Some(0), ..Expected::default() };
    }
    let before = rates.step_ms(&plan.name, &step.name);
    // What a step is to set is not known yet.
    let lacks = super::check::templates(step).iter().flat_map(|t| t.inputs()).find(|name| !values.contains_key(*name));
    if let Some(name) = lacks {
        let problem = Some(format!("${{{name}}} is set by a step before it"));
        return Expected { takes_ms: before, problem, ..Expected::default() };
    }
    let asked = match &step.work {
        Work::Restore(what) => Asked::of(ground, what, values),
        Work::Postgres(what) => postgres::base(ground, what, values),
        Work::Wait(Wait::For(time)) => {
            return Expected { takes_ms: Some(time.as_millis() as u64), ..Expected::default() };
        }
        _ => return Expected { takes_ms: before, ..Expected::default() },
    };
    match asked.and_then(|asked| asked.plan(ground, true)) {
        Ok(plan) => {
            let amount = amount(&plan);
            let problem = plan.problems.first().map(|p| format!("{}: {}", crate::types::path::show(&p.path), p.why));
            let by_rate = rates.restore_ms(amount);
            let takes_ms = if matches!(step.work, Work::Restore(_)) { by_rate } else { before.or(by_rate) };
            Expected { amount, takes_ms, problem, skipped: None }
        }
        Err(why) => Expected { takes_ms: before, problem: Some(why), ..Expected::default() },
    }
}
