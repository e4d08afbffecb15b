//! The directories above the views: names of time, timeline, hosts.

use crate::index::tree::Reader;
use crate::mount::{
    errno::FsError,
    fs::{Fs, lock},
    inodes,
    listing::Listing,
    node::{Found, Keep, NodeAttr},
    places::Place,
};
use crate::types::{
    path,
    time::Instant,
    when::{
        name::{Name, parse_name},
        show::exact_name,
    },
};
use crate::view::{
    names::{self, Meaning},
    timeline,
    whose::Whose,
};
use std::collections::HashMap;

/// The days of each host that have snapshots, as far as they were listed.
#[derive(Default)]
pub struct Days(HashMap<Whose, Listed>);

#[derive(Clone, Default)]
struct Listed {
    /// The oldest snapshot when they were listed: retention takes from this end.
    first: Option<Instant>,
    days: Vec<(String, Instant)>,
}

impl Fs {
    pub(super) fn look_up_place(&self, parent: u64, place: &Place, name: &[u8]) -> Result<Found, FsError> {
        if let Place::Ever(host, at) = place {
            return self.hold(|index| self.look_up_ever(index, host, at, name));
        }
        let Ok(name) = std::str::from_utf8(name) else { return Ok(Found::Nothing(Keep::Shortly)) };
        self.with_index(|index| {
            let found = match place {
                Place::Root => match name {
                    "timeline" => Some(Place::Timeline(self.whose.clone())),
                    "history" => Some(history_of(&self.whose)),
                    "hosts" => Some(Place::Hosts),
                    _ => return self.look_up_time(index, parent, &self.whose, name),
                },
                Place::Host(host) => match name {
                    "history" => Some(history_of(host)),
                    "timeline" => Some(Place::Timeline(host.clone())),
                    _ => return self.look_up_time(index, parent, host, name),
                },
                Place::Hosts => names::hosts(index)?.iter().any(|host| host == name).then(|| self.host_place(name)),
                Place::Timeline(host) => timeline::has_snapshots(index, host, name, self.names.zone())?
                    .then(|| Place::Day(host.clone(), name.to_owned())),
                Place::Day(host, day) => {
                    timeline::at_time(index, host, day, name, self.names.zone())?.map(snapshot_link)
                }
                Place::Link { .. } | Place::Ever(..) => return Err(FsError::NotADirectory),
            };
            match found {
                Some(place) => self.tell_place(index, &place, Keep::Shortly),
                None => Ok(Found::Nothing(Keep::Shortly)),
            }
        })
    }

    fn look_up_time(&self, index: &Reader, parent: u64, host: &Whose, name: &str) -> Result<Found, FsError> {
        let Some(text) = name.strip_prefix('@') else { return Ok(Found::Nothing(Keep::Shortly)) };
        match self.names.resolve(index, host, text)? {
            Some(Meaning::View(at)) => {
                let (attr, keep) = self.view_entry(index, parent, host, (at, text))?;
                Ok(Found::Node(attr, keep))
            }
            Some(Meaning::Link(target)) => {
                let place = self.time_link(&target);
                self.told(parent, name.as_bytes());
                self.tell_place(index, &place, Keep::Shortly)
            }
            None => Ok(Found::Nothing(Keep::Shortly)),
        }
    }

    /// The directory of a view, for the directory it stands in.
    fn view_entry(
        &self,
        index: &Reader,
        parent: u64,
        host: &Whose,
        (at, text): (Instant, &str),
    ) -> Result<(NodeAttr, Keep), FsError> {
        let tag = self.view_tag(index, host, at, text)?;
        let root = self.view_root(index, tag)?;
        let attr = self.view_attr_with(index, self.encode(root)?)?.attr;
        Ok((attr, self.keep_of_view(parent, format!("@{text}").as_bytes(), tag)))
    }

    /// The answer to a look-up of a place, which is counted.
    pub(super) fn tell_place(&self, index: &Reader, place: &Place, keep: Keep) -> Result<Found, FsError> {
        let number = lock(&self.places).look_up(place);
        // What the kernel is not told of after all is forgotten here.
        let attr = self.attr_of_place(index, number, place).inspect_err(|_| lock(&self.places).forget(number, 1))?;
        Ok(Found::Node(attr, keep))
    }

    fn time_link(&self, target: &str) -> Place {
        let at = match parse_name(target, self.names.zone()) {
            Some(Name::Period { end, .. }) => end,
            _ => self.names.now(),
        };
        Place::Link { target: format!("@{target}"), at }
    }

    /// The own host stands at the root already: below `hosts` it is a link, since no directory stands at two places.
    ///
    /// Where this machine goes on under another name, the root is neither of both names.
    fn host_place(&self, host: &str) -> Place {
        match host == self.whose.host() && !self.whose.is_apart() {
            true => Place::Link { target: "..".into(), at: Instant(0) },
            false => Place::Host(Whose::named(host)),
        }
    }

    pub(super) fn place_attr(&self, number: u64) -> Result<(NodeAttr, Keep), FsError> {
        let place = self.place(number)?;
        let keep = if matches!(place, Place::Link { .. }) { Keep::Forever } else { Keep::Shortly };
        let attr = self.with_index(|index| self.attr_of_place(index, number, &place))?;
        Ok((attr, keep))
    }

    fn attr_of_place(&self, index: &Reader, number: u64, place: &Place) -> Result<NodeAttr, FsError> {
        let newest = |host: &Whose, at| -> Result<Instant, FsError> {
            Ok(names::newest(index, host, at)?.unwrap_or(Instant(0)))
        };
        let at = match place {
            Place::Link { target, at } => return Ok(NodeAttr::link(number, target.as_bytes(), *at, self.owner)),
            Place::Root | Place::Hosts => newest(&self.whose, Instant(i64::MAX))?,
            Place::Host(host) | Place::Timeline(host) | Place::Ever(host, _) => newest(host, Instant(i64::MAX))?,
            Place::Day(host, day) => {
                let end = crate::types::when::show::day_range(day, self.names.zone());
                newest(host, end.map_or(Instant(i64::MAX), |(_, end)| end))?
            }
        };
        Ok(NodeAttr::directory(number, at, self.owner))
    }

    pub(super) fn list_place(&self, place: &Place) -> Result<Listing, FsError> {
        self.with_index(|index| match place {
            Place::Root => {
                let mut listing = Listing::new(inodes::ROOT);
                let host = &self.whose;
                self.list_names(index, host, &mut listing)?;
                self.push_place(index, &mut listing, "history", history_of(host))?;
                self.push_place(index, &mut listing, "hosts", Place::Hosts)?;
                self.push_place(index, &mut listing, "timeline", Place::Timeline(host.clone()))?;
                Ok(listing)
            }
            Place::Host(host) => {
                let mut listing = Listing::new(self.peek(&Place::Hosts));
                self.list_names(index, host, &mut listing)?;
                self.push_place(index, &mut listing, "history", history_of(host))?;
                self.push_place(index, &mut listing, "timeline", Place::Timeline(host.clone()))?;
                Ok(listing)
            }
            Place::Ever(host, at) => self.list_ever(index, host, at),
            Place::Hosts => {
                let mut listing = Listing::new(inodes::ROOT);
                for host in names::hosts(index)?.iter().filter(|host| path::is_name(host.as_bytes())) {
                    self.push_place(index, &mut listing, host, self.host_place(host))?;
                }
                Ok(listing)
            }
            Place::Timeline(host) => {
                let mut listing = Listing::new(self.peek(&self.host_or_root(host)));
                for (day, _) in self.days(index, host)? {
                    self.push_place(index, &mut listing, &day, Place::Day(host.clone(), day.clone()))?;
                }
                Ok(listing)
            }
            Place::Day(host, day) => {
                let mut listing = Listing::new(self.peek(&Place::Timeline(host.clone())));
                for (name, at) in timeline::times(index, host, day, self.names.zone())? {
                    self.push_place(index, &mut listing, &name, snapshot_link(at))?;
                }
                Ok(listing)
            }
            Place::Link { .. } => Err(FsError::NotADirectory),
        })
    }

    /// The days that have snapshots, and `@latest`.
    fn list_names(&self, index: &Reader, host: &Whose, listing: &mut Listing) -> Result<(), FsError> {
        let parent = self.peek(&self.host_or_root(host));
        for (day, end) in self.days(index, host)? {
            let name = format!("@{day}");
            if self.names.is_settled(index, host, end)? {
                let (attr, keep) = self.view_entry(index, parent, host, (end, &day))?;
                listing.push(name.as_bytes(), attr, keep, None);
            } else if let Some(Meaning::Link(target)) = self.names.resolve(index, host, &day)? {
                self.push_place(index, listing, &name, self.time_link(&target))?;
            }
        }
        if let Some(Meaning::Link(target)) = self.names.resolve(index, host, "latest")? {
            self.push_place(index, listing, "@latest", self.time_link(&target))?;
        }
        Ok(())
    }

    fn push_place(&self, index: &Reader, listing: &mut Listing, name: &str, place: Place) -> Result<(), FsError> {
        let attr = self.attr_of_place(index, 0, &place)?;
        listing.push(name.as_bytes(), attr, Keep::Shortly, Some(place));
        Ok(())
    }

    pub(super) fn peek(&self, place: &Place) -> u64 {
        lock(&self.places).peek(place)
    }

    pub(super) fn host_or_root(&self, host: &Whose) -> Place {
        if *host == self.whose { Place::Root } else { Place::Host(host.clone()) }
    }

    /// The days of a host. Only those from the last known one on are looked up again.
    fn days(&self, index: &Reader, host: &Whose) -> Result<Vec<(String, Instant)>, FsError> {
        let mut first: Option<Instant> = None;
        for line in host.lines(index)? {
            let oldest = line.snapshot_after(index, Instant(i64::MIN))?.map(|s| s.time);
            first = [first, oldest].into_iter().flatten().min();
        }
        let mut listed = lock(&self.days).0.get(host).cloned().unwrap_or_default();
        if listed.first != first {
            listed = Listed { first, days: Vec::new() };
        }
        let from = listed.days.pop().map(|(_, end)| end).or(first);
        if let Some(from) = from {
            listed.days.extend(timeline::days(index, host, from, self.names.zone())?);
        }
        let days = listed.days.clone();
        lock(&self.days).0.insert(host.clone(), listed);
        Ok(days)
    }
}

fn history_of(host: &Whose) -> Place {
    Place::Ever(host.clone(), b"/".to_vec())
}

fn snapshot_link(at: Instant) -> Place {
    Place::Link { target: format!("../../@{}", exact_name(at)), at }
}
