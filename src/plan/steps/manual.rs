//! A person does something, and says so: at the terminal, or by `bygone plan confirm`.

use crate::plan::ground::{Did, Doing};
use crate::plan::template::Template;
use std::time::Duration;

/// How often it is looked whether somebody has confirmed.
const LOOK: Duration = Duration::from_millis(200);

/// Waits for the word of a person.
///
/// Where nobody can be asked, it fails at once unless the step has a time-out, within which somebody may confirm from elsewhere.
pub(super) fn run(doing: &Doing<'_>, ask: &Template) -> Result<Did, String> {
    let hands = doing.ground.hands;
    if hands.confirms_all() {
        return Ok(Did::saying("counts as confirmed: --yes-manual"));
    }
    let file = doing.run.confirmed(&doing.step.name);
    let confirmed = || std::fs::read_to_string(&file).ok();
    let how = format!("`bygone plan confirm {} {}`", doing.run.id, doing.step.name);
    if !hands.has_person() && doing.step.timeout.is_none() && confirmed().is_none() {
        return Err(format!(
            "nobody is here to confirm it: run the plan at a terminal, or with --yes-manual where it has been done, or give the step \
             a time-out within which {how} may come"
        ));
    }
    if hands.has_person() && confirmed().is_none() {
        let is_over = || doing.stopped() || file.exists();
        let question =
            format!("{}: {} Has it been done (yes/no)? ({how} does the same)", doing.step.name, doing.fill(ask));
        match hands.ask(&question, &is_over)? {
            Some(true) => return Ok(Did::saying("confirmed at the terminal")),
            Some(false) => return Err("somebody said that it was not done".into()),
            None => {}
        }
    }
    loop {
        if let Some(who) = confirmed() {
            return Ok(Did::saying(format!("confirmed by {}", who.trim())));
        }
        if !doing.sleep(LOOK) {
            return Err(format!("nobody has confirmed it; {how} does"));
        }
    }
}
