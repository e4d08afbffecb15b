//! What can run now, in what order, and how long the longest way through a plan is. Pure.

use super::journal::Ending;
use super::model::{Plan, Step};
use super::template::Values;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is to be done with a step whose needs are over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It begins.
    Begin,
    /// It is skipped, since this condition does not hold.
    Skip(String),
}

/// Whether a step that ended so lets others go on.
pub fn lets_go_on(step: &Step, ending: Ending) -> bool {
    ending != Ending::Failed || step.may_fail
}

/// The steps that can begin or be skipped now, as indexes into [`Plan::steps`], in their order.
pub fn next(
    plan: &Plan,
    endings: &BTreeMap<String, Ending>,
    running: &BTreeSet<String>,
    values: &Values,
) -> Vec<(usize, Next)> {
    let is_over =
        |name: &String| plan.step(name).zip(endings.get(name)).is_some_and(|(step, ending)| lets_go_on(step, *ending));
    let waits = |step: &Step| !endings.contains_key(&step.name) && !running.contains(&step.name);
    let ready = plan.steps.iter().enumerate().filter(|(_, step)| waits(step) && step.needs.iter().all(is_over));
    ready
        .map(|(n, step)| match step.when.iter().find(|condition| !condition.holds(values, endings)) {
            None => (n, Next::Begin),
            Some(condition) => (n, Next::Skip(format!("the condition \"{condition}\" does not hold"))),
        })
        .collect()
}

/// The steps in an order in which each comes after what it needs, else in that of the file; those of a circle come last.
pub fn order(plan: &Plan) -> Vec<usize> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut order = Vec::new();
    while let Some(n) = (0..plan.steps.len()).find(|n| {
        let step = &plan.steps[*n];
        let known = |need: &&String| plan.step(need).is_some();
        !order.contains(n) && step.needs.iter().filter(known).all(|need| done.contains(need.as_str()))
    }) {
        done.insert(&plan.steps[n].name);
        order.push(n);
    }
    let rest: Vec<usize> = (0..plan.steps.len()).filter(|n| !order.contains(n)).collect();
    order.extend(rest);
    order
}

/// The steps that a step needs, and all that those need.
pub fn above<'a>(plan: &'a Plan, step: &'a Step) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = step.needs.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if found.insert(name) {
            open.extend(plan.step(name).iter().flat_map(|step| step.needs.iter().map(String::as_str)));
        }
    }
    found
}

/// How long the plan takes where each step takes so long, and all that can runs side by side.
pub fn longest(plan: &Plan, takes: impl Fn(&Step) -> Duration) -> Duration {
    let mut ends: BTreeMap<&str, Duration> = BTreeMap::new();
    for n in order(plan) {
        let step = &plan.steps[n];
        let begins = step.needs.iter().filter_map(|need| ends.get(need.as_str())).max().copied().unwrap_or_default();
        ends.insert(&step.name, begins + takes(step));
    }
    ends.into_values().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::parse::read;
    use super::*;
    use std::path::Path;

    fn plan(steps: &[(&str, &str)]) -> Plan {
        let step = |(name, more): &(&str, &str)| {
            format!("[[step]]\nname = {name:?}\nkind = \"command\"\nshell = \"true\"\n{more}\n")
        };
        let read = read(&steps.iter().map(step).collect::<String>(), Path::new("/p.toml"));
        assert!(read.problems.is_empty(), "{:?}", read.problems);
        read.plan
    }

    fn names(plan: &Plan, next: Vec<(usize, Next)>) -> Vec<String> {
        let mark = |next: Next| if next == Next::Begin { "" } else { "!" };
        next.into_iter().map(|(n, next)| format!("{}{}", mark(next), plan.steps[n].name)).collect()
    }

    #[test]
    fn branches_run_side_by_side_and_meet() {
        let plan = plan(&[
            ("d", "needs = [\"b\", \"c\"]"),
            ("b", "needs = [\"a\"]\nmay-fail = true"),
            ("a", ""),
            ("c", "needs = [\"a\"]\nwhen = [\"input x is y\"]"),
        ]);
        let (mut endings, mut running) = (BTreeMap::new(), BTreeSet::new());
        let values = Values::new();
        assert_eq!(names(&plan, next(&plan, &endings, &running, &values)), ["a"]);
        running.insert("a".to_owned());
        assert!(next(&plan, &endings, &running, &values).is_empty());
        running.clear();
        endings.insert("a".to_owned(), Ending::Done);
        assert_eq!(names(&plan, next(&plan, &endings, &running, &values)), ["b", "!c"]);
        endings.insert("b".to_owned(), Ending::Failed);
        endings.insert("c".to_owned(), Ending::Skipped);
        assert_eq!(names(&plan, next(&plan, &endings, &running, &values)), ["d"]);
        endings.insert("a".to_owned(), Ending::Failed);
        assert_eq!(names(&plan, next(&plan, &endings, &running, &values)), ["d"]);
        assert_eq!(order(&plan).iter().map(|n| plan.steps[*n].name.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        let takes = |step: &Step| Duration::from_secs(if step.name == "c" { 5 } else { 1 });
        assert_eq!(longest(&plan, takes).as_secs(), 7);
    }

    #[test]
    fn a_circle_has_no_order_and_no_end() {
        let plan = plan(&[("a", "needs = [\"b\"]"), ("b", "needs = [\"a\"]"), ("c", "")]);
        assert_eq!(order(&plan), [2, 0, 1]);
        assert!(above(&plan, &plan.steps[0]).contains("a"));
    }
}
