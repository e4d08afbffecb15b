//! What was done about a case, as a sealed object. What can't be understood whole is an error.

use crate::crypto::{random, seal::ObjectKind};
use crate::repo::{
    audit::who::Who,
    error::{Damage, RepoError},
    holds::error::HoldsError,
    names::HOLDS,
    open::Repository,
    sealed,
};
use crate::types::{hold::Hold, ids::Id, time::Instant};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version that is written.
const VERSION: u32 = 1;

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// A hold was placed.
    Placed(Hold),
    /// Placements got a later end; `None` is no end.
    Lengthened {
        /// The events that placed them.
        placements: Vec<Id>,
        /// The last instant at which they are in force.
        until: Option<Instant>,
    },
    /// What these events did is over.
    Released {
        /// The events that placed and lengthened it.
        events: Vec<Id>,
        /// Why.
        reason: String,
    },
}

/// What was done about a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HoldEvent {
    /// Its random id, part of its object's name.
    pub id: Id,
    /// The case.
    pub case: String,
    /// When.
    pub time: Instant,
    /// By whom.
    pub who: Who,
    /// What.
    pub deed: Deed,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    id: String,
    case: String,
    time_ns: i64,
    who: Who,
    deed: StoredDeed,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum StoredDeed {
    Placed { hold: Value },
    Lengthened { placements: Vec<String>, until_ns: Option<i64> },
    Released { events: Vec<String>, reason: String },
}

/// The directory of a case: the store does not learn its id.
pub fn directory(repo: &Repository, case: &str) -> String {
    let hash = repo.keys().authenticate(format!("hold {case}").as_bytes());
    format!("{HOLDS}{}/", data_encoding::HEXLOWER.encode(&hash.0[..16]))
}

impl HoldEvent {
    /// A new event.
    pub fn new(case: &str, time: Instant, who: &Who, deed: Deed) -> Result<HoldEvent, HoldsError> {
        let id = random::id().map_err(RepoError::from)?;
        Ok(HoldEvent { id, case: case.to_owned(), time, who: who.clone(), deed })
    }

    /// Its object's name.
    pub fn name(&self, repo: &Repository) -> String {
        format!("{}{}", directory(repo, &self.case), self.id)
    }

    /// Stores it: in the store itself, when this returns.
    pub(super) fn store(&self, repo: &Repository) -> Result<(), HoldsError> {
        let ids = |ids: &[Id]| ids.iter().map(Id::to_string).collect();
        let deed = match &self.deed {
            Deed::Placed(hold) => StoredDeed::Placed { hold: serde_json::from_slice(&hold.encode()?)? },
            Deed::Lengthened { placements, until } => {
                StoredDeed::Lengthened { placements: ids(placements), until_ns: until.map(|until| until.0) }
            }
            Deed::Released { events, reason } => StoredDeed::Released { events: ids(events), reason: reason.clone() },
        };
        let (id, case, who) = (self.id.to_string(), self.case.clone(), self.who.clone());
        let stored = Stored { version: VERSION, id, case, time_ns: self.time.0, who, deed };
        let name = self.name(repo);
        let bytes = sealed::seal(repo, ObjectKind::Hold, &name, &serde_json::to_vec(&stored)?)?;
        repo.store().put(&name, &bytes)?;
        repo.store().settle().map_err(HoldsError::Waiting)
    }

    /// Reads the event in the object of this name. An error names the object.
    pub(super) fn read(repo: &Repository, name: &str) -> Result<HoldEvent, HoldsError> {
        let unreadable = |why| HoldsError::Unreadable { object: name.to_owned(), why: Box::new(why) };
        let plain = sealed::read(repo, ObjectKind::Hold, name).map_err(unreadable)?;
        let wrong = |what: String| unreadable(repo.damaged(name, "content", Damage::other(what)));
        let Versioned { version } = serde_json::from_slice(&plain).map_err(|e| wrong(e.to_string()))?;
        if version != VERSION {
            return Err(wrong(format!("it has version {version}, and this program reads version {VERSION}")));
        }
        let stored: Stored = serde_json::from_slice(&plain).map_err(|e| wrong(e.to_string()))?;
        let id = |text: &String| Id::parse(text).ok_or_else(|| wrong(format!("{text:?} is no id")));
        let ids = |texts: Vec<String>| texts.iter().map(id).collect::<Result<Vec<Id>, _>>();
        let deed = match stored.deed {
            StoredDeed::Placed { hold } => {
                let hold = Hold::decode(&serde_json::to_vec(&hold)?).map_err(|e| wrong(e.to_string()))?;
                if hold.id != stored.case {
                    return Err(wrong("the hold in it is of another case".into()));
                }
                Deed::Placed(hold)
            }
            StoredDeed::Lengthened { placements, until_ns } => {
                Deed::Lengthened { placements: ids(placements)?, until: until_ns.map(Instant) }
            }
            StoredDeed::Released { events, reason } => Deed::Released { events: ids(events)?, reason },
        };
        let (case, time) = (stored.case, Instant(stored.time_ns));
        let event = HoldEvent { id: id(&stored.id)?, case, time, who: stored.who, deed };
        match event.name(repo) == name {
            true => Ok(event),
            false => Err(wrong("it states another place than its own".into())),
        }
    }
}
