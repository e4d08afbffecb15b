//! Places that are no part of a view: the root, the timeline, the hosts, links that move. They get numbers when they are looked
//! up and lose them when the kernel forgets them, so that walking a long history does not fill the memory for ever.

use crate::mount::inodes;
use crate::types::time::Instant;
use crate::view::whose::Whose;
use std::collections::HashMap;

/// A place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// The root of the mount.
    Root,
    /// `hosts`
    Hosts,
    /// `hosts/<host>`: the names of time of another host.
    Host(Whose),
    /// `timeline` of a host.
    Timeline(Whose),
    /// `timeline/<day>` of a host.
    Day(Whose, String),
    /// `history/<path>` of a host: what ever stood at an absolute path.
    Ever(Whose, Vec<u8>),
    /// A symbolic link, by its target. One that moves has another target then, and so another number.
    Link {
        /// Where it leads.
        target: String,
        /// The instant it leads to: its time.
        at: Instant,
    },
}

/// The numbers of places.
pub struct Places {
    by_place: HashMap<Place, u64>,
    by_number: HashMap<u64, Known>,
    next: u64,
}

struct Known {
    place: Place,
    /// How often the kernel was told of it and has not forgotten it.
    lookups: u64,
}

impl Places {
    /// With the root alone, which is never forgotten.
    pub fn new() -> Places {
        let root = Known { place: Place::Root, lookups: 1 };
        Places {
            by_place: HashMap::from([(Place::Root, inodes::ROOT)]),
            by_number: HashMap::from([(inodes::ROOT, root)]),
            next: inodes::ROOT + 1,
        }
    }

    /// The number of a place that the kernel is about to be told of.
    pub fn look_up(&mut self, place: &Place) -> u64 {
        if let Some(number) = self.by_place.get(place) {
            if let Some(known) = self.by_number.get_mut(number) {
                known.lookups += 1;
            }
            return *number;
        }
        let number = self.next;
        // Numbers are not used again: at a billion look-ups a second they last for 70 years.
        self.next += 1;
        self.by_place.insert(place.clone(), number);
        self.by_number.insert(number, Known { place: place.clone(), lookups: 1 });
        number
    }

    /// The number of a place that the kernel knows already, else the root's.
    pub fn peek(&self, place: &Place) -> u64 {
        self.by_place.get(place).copied().unwrap_or(inodes::ROOT)
    }

    /// The place with this number.
    pub fn get(&self, number: u64) -> Option<&Place> {
        self.by_number.get(&number).map(|known| &known.place)
    }

    /// The kernel forgot `lookups` answers about a number.
    pub fn forget(&mut self, number: u64, lookups: u64) {
        if number == inodes::ROOT {
            return;
        }
        let Some(known) = self.by_number.get_mut(&number) else { return };
        known.lookups = known.lookups.saturating_sub(lookups);
        if known.lookups == 0
            && let Some(known) = self.by_number.remove(&number)
        {
            self.by_place.remove(&known.place);
        }
    }

    /// Every place that the kernel knows and that can change.
    pub fn moving(&self) -> Vec<u64> {
        let moves = |place: &Place| !matches!(place, Place::Link { .. });
        self.by_number.iter().filter(|(_, known)| moves(&known.place)).map(|(number, _)| *number).collect()
    }

    /// How many places have a number.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether no place has a number: never, the root has one.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }
}

impl Default for Places {
    fn default() -> Places {
        Places::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_its_number_until_the_kernel_forgets_it() {
        let mut places = Places::new();
        let day = Place::Day(Whose::named("host"), "2025-09-20".into());
        let number = places.look_up(&day);
        assert_eq!(places.look_up(&day), number);
        places.forget(number, 1);
        assert_eq!(places.get(number), Some(&day));
        places.forget(number, 1);
        assert_eq!(places.get(number), None);
        assert_eq!(places.len(), 1, "the root stays");
        assert_ne!(places.look_up(&day), number, "numbers are not used again");
        places.forget(inodes::ROOT, 1_000);
        assert_eq!(places.get(inodes::ROOT), Some(&Place::Root));
        places.forget(77, 1);
    }
}
