//! From fanotify's events to hints.

use super::fanotify::Worker;
use super::hint::{Hint, Why};
use super::resolve::Spots;
use crate::capture::relative::split;
use crate::sys::fanotify::{Event, Place};
use crate::types::path::{is_within, join};

/// Renamed directories to look at singly when the queue is empty; beyond that, everything is scanned.
const MOVED_MAX: usize = 10_000;

impl Worker {
    /// Tells what one event means for the root.
    pub(super) fn take(&mut self, event: &Event<'_>) {
        if self.gone {
            return;
        }
        if event.is_overflow() {
            self.resolver.forget();
            return self.scan(Vec::new(), Why::Overflow, true);
        }
        let own = event.pid != 0 && self.options.ignore_pid == Some(event.pid);
        if event.is_directory() && (event.old.is_some() || event.new.is_some()) {
            return self.take_directory_rename(event);
        }
        if own {
            return;
        }
        for place in [event.at, event.old, event.new].into_iter().flatten() {
            self.take_entry(place, event.is_directory());
        }
        if event.is_removal() && !event.is_directory() {
            self.take_removal(event);
        }
    }

    /// A name is gone. What it led to may be there still, under another one: then changes may have been told of this one only.
    fn take_removal(&mut self, event: &Event<'_>) {
        let Some(object) = event.object else { return };
        if self.find(event.at).inside.is_empty() {
            return;
        }
        if let Some(place) = self.resolver.place_of(object) {
            self.out.send(Hint::Node { place });
        }
    }

    fn take_entry(&mut self, place: Place<'_>, is_directory: bool) {
        let spots = self.resolver.find(&self.root, place.directory);
        self.tell_vague(&spots);
        if is_directory && self.is_on_way_to_root(&spots, place.name) {
            return self.check_root();
        }
        for path in self.paths(&spots, place.name, is_directory) {
            self.dirty(&path);
        }
    }

    /// A directory got another name: every path that was remembered below it is wrong now.
    fn take_directory_rename(&mut self, event: &Event<'_>) {
        let (old, new) = (self.find(event.old), self.find(event.new));
        let on_way = |worker: &Worker, spots: &Spots, place: Option<Place<'_>>| {
            place.is_some_and(|p| worker.is_on_way_to_root(spots, p.name))
        };
        // Even if the path leads to the root again already: what happened in between was seen elsewhere.
        if on_way(self, &old, event.old) || on_way(self, &new, event.new) {
            return self.root_gone();
        }
        let from = event.old.map(|p| self.paths(&old, p.name, true)).unwrap_or_default();
        let to = event.new.map(|p| self.paths(&new, p.name, true)).unwrap_or_default();
        if !old.is_outside() || !new.is_outside() {
            self.resolver.forget();
        }
        self.tell_vague(&old);
        self.tell_vague(&new);
        from.iter().chain(&to).for_each(|path| self.dirty(path));
        match (from.as_slice(), to.as_slice()) {
            ([from], [to]) => {
                self.moved.push((to.clone(), event.object.map(<[u8]>::to_vec)));
                self.out.send(Hint::Moved { from: from.clone(), to: to.clone() });
                if self.moved.len() > MOVED_MAX {
                    self.moved.clear();
                    self.scan(Vec::new(), Why::RenamedIn, false);
                }
            }
            _ => to.into_iter().for_each(|path| self.scan(path, Why::RenamedIn, false)),
        }
    }

    /// The queue is empty. If one directory was renamed since it last was, all paths told were right at their time. If
    /// several were, one may have been told by a path that had changed once more, so they are scanned where they are now.
    pub(super) fn settle_moves(&mut self) {
        let moved = std::mem::take(&mut self.moved);
        if moved.len() < 2 {
            return;
        }
        for (to, handle) in moved {
            let now = handle.map(|h| self.resolver.find(&self.root, &h).inside.clone()).unwrap_or_default();
            for path in now.iter().chain((!now.contains(&to)).then_some(&to)) {
                self.scan(path.clone(), Why::RenamedIn, false);
            }
        }
    }

    fn find(&mut self, place: Option<Place<'_>>) -> std::sync::Arc<Spots> {
        place.map(|p| self.resolver.find(&self.root, p.directory)).unwrap_or_default()
    }

    /// The paths of an entry in the root; none for a directory that is left out.
    fn paths(&self, spots: &Spots, name: &[u8], is_directory: bool) -> Vec<Vec<u8>> {
        let path = |dir: &Vec<u8>| if name == b"." { dir.clone() } else { join(dir, name) };
        let paths = spots.inside.iter().map(path);
        paths.filter(|p| !is_directory || !self.root.leaves_out(p)).collect()
    }

    /// Whether the entry is the root, or a directory above it.
    fn is_on_way_to_root(&self, spots: &Spots, name: &[u8]) -> bool {
        name != b"." && spots.above.as_ref().is_some_and(|dir| is_within(self.root.real(), &join(dir, name)))
    }

    fn dirty(&mut self, path: &[u8]) {
        let (dir, name) = split(path);
        self.out.send(Hint::Entry { dir, name });
    }

    /// Where no path can be told, what is around is scanned.
    fn tell_vague(&mut self, spots: &Spots) {
        for dir in &spots.below {
            self.scan(dir.clone(), Why::TooDeep, false);
        }
        if spots.unknown {
            self.scan(Vec::new(), Why::WatchLost, false);
        }
    }

    fn scan(&mut self, dir: Vec<u8>, why: Why, blind: bool) {
        self.out.send(Hint::Subtree { dir, why, blind_since: blind.then_some(self.calm) });
    }
}
