//! The values of inputs: given, or by default, each of its type.

use super::error::PlanError;
use super::model::{AT, Input, Plan, Sort};
use super::template::Values;
use crate::types::{
    path,
    time::Instant,
    when::{
        human::{Resolved, parse_time},
        show::exact_name,
        zone::Zone,
    },
};
use std::path::{Component, Path};

/// The longest value, in bytes.
const VALUE_MAX: usize = 64 << 10;

/// Whether a text can be a value of this type, whatever the time is. The error says what is wrong.
pub fn form(sort: Sort, text: &str) -> Result<(), String> {
    value(sort, text, Instant(0), &Zone::system()).map(drop)
}

/// The value of a text: times are made exact, paths tidied.
pub fn value(sort: Sort, text: &str, now: Instant, zone: &Zone) -> Result<String, String> {
    if text.len() > VALUE_MAX || text.contains('\0') {
        return Err("it is too long, or has a NUL in it".into());
    }
    match sort {
        Sort::Text => Ok(text.to_owned()),
        Sort::Path => absolute(text),
        Sort::Number => match text.trim().parse::<i64>() {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err(format!("{text:?} is no whole number")),
        },
        Sort::YesNo => match text {
            "yes" | "no" => Ok(text.to_owned()),
            _ => Err(format!("{text:?} is neither yes nor no")),
        },
        Sort::Time => match parse_time(text, now, zone) {
            Ok(time) => Ok(exact_name(time.instant)),
            Err(e) => Err(e.to_string()),
        },
    }
}

fn absolute(text: &str) -> Result<String, String> {
    let path = Path::new(text);
    if !path.is_absolute() || path.components().any(|c| c == Component::ParentDir) {
        return Err(format!("{text:?} is no absolute path without \"..\""));
    }
    let tidy = path::components(text.as_bytes()).collect::<Vec<_>>().join(&b'/');
    Ok(format!("/{}", String::from_utf8_lossy(&tidy)))
}

/// All values for a run: `at`, what was given, and the defaults. The error tells every one that is wrong or missing.
pub fn values(plan: &Plan, given: &[(String, String)], at: &Resolved, zone: &Zone) -> Result<Values, PlanError> {
    let mut values = Values::from([(AT.to_owned(), exact_name(at.instant))]);
    let mut wrong = Vec::new();
    for (name, _) in given {
        if plan.input(name).is_none() {
            let names: Vec<&str> = plan.inputs.iter().map(|i| i.name.as_str()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            wrong.push(format!("the plan has no input {name:?}; it has {known}"));
        }
    }
    for input in &plan.inputs {
        let said = given.iter().rev().find(|(name, _)| *name == input.name).map(|(_, text)| text.as_str());
        let Some(text) = said.or(input.default.as_deref()) else {
            if !is_set_by_a_step(plan, input) {
                wrong.push(format!("the input {} is missing: give it by --set {}=VALUE", input.name, input.name));
            }
            continue;
        };
        match value(input.sort, text, at.instant, zone) {
            Ok(value) => drop(values.insert(input.name.clone(), value)),
            Err(what) => wrong.push(format!("the input {}: {what}", input.name)),
        }
    }
    if wrong.is_empty() { Ok(values) } else { Err(PlanError::Input(wrong.join("; "))) }
}

/// The inputs that have to be given.
pub fn to_give(plan: &Plan) -> impl Iterator<Item = &Input> {
    plan.inputs.iter().filter(|input| input.default.is_none() && !is_set_by_a_step(plan, input))
}

/// Whether a step gives it its value.
pub fn is_set_by_a_step(plan: &Plan, input: &Input) -> bool {
    plan.steps.iter().any(|step| super::check::sets(step) == Some(input.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_types() {
        let good = |sort, text| value(sort, text, Instant(0), &Zone::named("UTC").unwrap());
        assert_eq!(good(Sort::Path, "/a//b/./").unwrap(), "/a/b");
        assert_eq!(good(Sort::Number, " 7").unwrap(), "7");
        let exact = "2025-09-20T14:30:05.123456789Z";
        assert_eq!(good(Sort::Time, exact).unwrap(), exact);
        for (sort, text) in [
            (Sort::Path, "a"),
            (Sort::Path, "/a/../b"),
            (Sort::Number, "x"),
            (Sort::YesNo, "true"),
            (Sort::Time, "soonish"),
            (Sort::Text, "\0"),
        ] {
            assert!(good(sort, text).is_err(), "{text}");
        }
    }
}
