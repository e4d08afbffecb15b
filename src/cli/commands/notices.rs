//! `bygone notify test`.

use serde_json::json;

use crate::cli::args::watched::{Notify, NotifyTest};
use crate::cli::context::Context;
use crate::cli::outcome::{Failure, Outcome};
use crate::config::watched::Channel;
use crate::daemon::notices::{deliver::deliver, message::Message};
use crate::sys::clock;

/// Runs it.
pub fn run(context: &Context, command: &Notify) -> Result<Outcome, Failure> {
    let Notify::Test(NotifyTest { name }) = command;
    let all = &context.config.channels;
    let chosen: Vec<&Channel> = all.iter().filter(|c| name.as_ref().is_none_or(|name| *name == c.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
        return Err(match (name, names.is_empty()) {
            (Some(name), false) => {
                Failure::new(format!("there is no channel {name:?}")).hint(format!("there are: {}", names.join(", ")))
            }
            _ => Failure::new("the settings have no [[notify]]").hint("bygone.toml(5) says how to write one"),
        });
    }
    let config = &context.config;
    let message = Message::test(&config.host, &config.repository.to_string(), clock::now());
    let mut out = context.out();
    let mut outcome = Outcome::Done;
    for channel in chosen {
        let result = deliver(channel, &message, &|name| std::env::var(name).ok());
        match (&result, context.json) {
            (_, true) => {
                out.json(&json!({ "channel": channel.name, "error": result.as_ref().err().map(ToString::to_string) }))?
            }
            (Ok(()), false) => out.line(format_args!("{}: delivered", channel.name))?,
            (Err(e), false) => tracing::error!("{}: {e}", channel.name),
        }
        if result.is_err() {
            outcome = Outcome::Failed;
        }
    }
    out.finish()?;
    Ok(outcome)
}
