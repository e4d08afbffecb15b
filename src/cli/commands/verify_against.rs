//! `bygone verify --against SITE`: what a copy has of what is damaged here.

use std::sync::Arc;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::open::{self, Reads};
use crate::cli::outcome::{Explain as _, Failure};
use crate::cli::trail;
use crate::config::site::Site;
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    audit::{
        event::{Event, Kind, Outcome},
        writer::Audit,
    },
};
use crate::verify::{
    against::{self, Compared, There},
    report::Report,
};

/// How often it is looked for more, since what is put back may show what else is missing.
const ROUNDS: usize = 8;
/// So many objects are named in the audit trail.
const NOTED_MAX: usize = 200;

/// What is compared, and with what.
pub(super) struct Ground<'a> {
    pub(super) context: &'a Context,
    pub(super) at: &'a Attached,
    pub(super) site: &'a Site,
    pub(super) audit: &'a Audit,
    pub(super) progress: &'a dyn Progress,
}

impl Ground<'_> {
    /// Compares what a check found wrong with the copy at the site, and puts it back if that is wanted. Whether anything was put back.
    pub(super) fn compare(&self, report: &Report, repair: bool) -> Result<bool, Failure> {
        let copy = open::copy(self.at.repo(), &self.context.config, self.site)?;
        // What was read of a damaged object may be in the cache of this host: that forgets it when it is put back.
        let here = self.at.repo().in_store(open::store(self.context)?);
        let mut all: Vec<Compared> = Vec::new();
        for _ in 0..if repair { ROUNDS } else { 1 } {
            let found = against::against((&here, &copy), report, repair, self.progress).into_failure()?;
            let more = found.iter().any(|one| one.put_back);
            let new = found.into_iter().filter(|one| !all.iter().any(|a| a.object == one.object));
            let new: Vec<Compared> = new.collect();
            all.extend(new);
            if !more {
                break;
            }
        }
        here.store().settle().explain(|| "what was put back waits on this host until it is stored")?;
        self.tell(&all)?;
        if repair && !all.is_empty() {
            trail::told(self.audit.record(event(self.site, &all)));
        }
        Ok(all.iter().any(|one| one.put_back))
    }

    fn tell(&self, all: &[Compared]) -> Result<(), Failure> {
        let (context, site) = (self.context, &self.site.name);
        let mut out = context.out();
        for one in all {
            let (word, why) = match &one.there {
                There::Whole => ("whole", None),
                There::Damaged(why) => ("damaged", Some(why)),
                There::Missing => ("missing", None),
            };
            if context.json {
                out.json(&json!({
                    "object": one.object, "why": one.here, "site": site, "at_site": word, "why_at_site": why,
                    "put_back": one.put_back, "failed": one.failed,
                }))?;
                continue;
            }
            let there = match (&one.failed, one.put_back, why) {
                (Some(failed), ..) => format!("whole at {site}, and it could not be put back: {failed}"),
                (None, true, _) => format!("put back from {site}"),
                (None, false, Some(why)) => format!("damaged at {site} too: {why}"),
                (None, false, None) => format!("{word} at {site}"),
            };
            out.line(format_args!("{}: {}; {there}", one.object, one.here))?;
        }
        out.finish()
    }
}

fn event(site: &Site, all: &[Compared]) -> Event {
    let put_back: Vec<&str> = all.iter().filter(|one| one.put_back).map(|one| one.object.as_str()).collect();
    let not: Vec<&str> = all.iter().filter(|one| !one.put_back).map(|one| one.object.as_str()).collect();
    let outcome = match (put_back.is_empty(), not.is_empty()) {
        (_, true) => Outcome::Done,
        (false, false) => Outcome::Partial,
        (true, false) => Outcome::Failed,
    };
    let some = |names: &[&str]| names.iter().take(NOTED_MAX).map(|name| (*name).to_owned()).collect::<Vec<String>>();
    Event::new(Kind::Repair, outcome)
        .about("site", site.name.as_str())
        .detail("put_back", put_back.len())
        .detail("put_back_objects", some(&put_back))
        .detail("not_put_back", not.len())
        .detail("not_put_back_objects", some(&not))
}

/// Puts back what the repository can't be opened without, where the site has it, and opens it; the `failure` to open it where that is not
/// why.
pub(super) fn reopened(context: &Context, site: Option<&Site>, failure: Failure) -> Result<Arc<Attached>, Failure> {
    let Some(site) = site else { return Err(failure) };
    let Ok(copy) = open::copy_by_key(context, site) else { return Err(failure) };
    let store = open::store(context)?;
    let put_back = match against::reopen(&*store, &copy.in_store(store.clone()), &copy) {
        Ok(put_back) if !put_back.is_empty() => put_back,
        Ok(_) => return Err(failure),
        Err(e) => return Err(failure.because(&e)),
    };
    store.settle().explain(|| "what was put back waits on this host until it is stored")?;
    put_back.iter().for_each(|name| tracing::warn!("{name} was put back from {}", site.name));
    let at = open::attached_with(context, Reads::Fresh)?;
    let event = Event::new(Kind::Repair, Outcome::Done)
        .about("site", site.name.as_str())
        .detail("put_back", put_back.len())
        .detail("put_back_objects", put_back);
    trail::told(trail::open(context, at.repo()).record(event));
    Ok(at)
}
