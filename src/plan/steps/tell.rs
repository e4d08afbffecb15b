//! Telling somebody, by the channels of the settings.

use crate::plan::ground::{Did, Doing};
use crate::plan::template::Template;

/// Sends the message.
pub(super) fn run(doing: &Doing<'_>, channel: Option<&Template>, message: &Template) -> Result<Did, String> {
    let channel = channel.map(|channel| doing.fill(channel));
    let text = doing.fill(message);
    let first = text.lines().next().unwrap_or_default();
    let subject = format!("plan {}: {first}", doing.plan.name);
    let body = format!("{text}\n\nplan {}, run {}, step {}\n", doing.plan.name, doing.run.id, doing.step.name);
    doing.ground.hands.notify(channel.as_deref(), &subject, &body)?;
    Ok(Did::default())
}
