//! Names of one file: a lost one is linked again to those that still stand, also where those are not restored.

use crate::index::{error::IndexError, rows::Row};
use crate::restore::{
    compare::{Found, compare},
    error::RestoreError,
    plan::Action,
    walk::{Group, Walk},
};
use crate::sys::{dir, stat};
use crate::types::{ids::Snap, path};
use crate::view::positions::Positions;

impl Walk<'_> {
    /// Looks for another name of a file that the view has and that leads to it, unchanged, on the file system of the directory `at`; what
    /// is restored will be linked to that. In place only: elsewhere are no other names.
    pub(super) fn join_standing(&mut self, at: usize, row: &Row, snap: Snap) -> Result<(), RestoreError> {
        let Some(dev) = self.dev_of(at) else { return Ok(()) };
        if !self.in_place || !self.mapping.moves.is_empty() {
            return Ok(());
        }
        let own = self.plan.path(at, &row.name);
        for other in self.names_of(row, snap)? {
            if other == own {
                continue;
            }
            let names: Vec<&[u8]> = path::components(&other).collect();
            let (Some((last, before)), Some(base)) = (names.split_last(), self.base) else { continue };
            // What can't be looked at is no name to link to.
            let Ok(fd) = dir::open_beneath(base, &before.join(&b'/')) else { continue };
            let row = Row { name: last.to_vec(), ..row.clone() };
            let Ok(Found::Same(now)) = compare(self.index, self.mapping, &fd, last, &row) else { continue };
            if now.place.dev != dev || !self.claim(&now, (row.source, row.node)) {
                continue;
            }
            let mut parent = 0;
            for name in before {
                parent = self.on_the_way(parent, name, None)?;
            }
            let group = Group { dir: parent, name: last.to_vec(), kept: Some(now.place), snap, names: 0 };
            self.groups.insert((row.source, row.node), group);
            return Ok(());
        }
        Ok(())
    }

    /// The paths of a node as of a snapshot.
    fn names_of(&mut self, row: &Row, snap: Snap) -> Result<Vec<Vec<u8>>, IndexError> {
        let Some(part) = self.view.parts.iter().find(|part| part.source.num == row.source) else {
            return Ok(Vec::new());
        };
        let stays = self.index.node_stays(row.source, row.node)?;
        let (index, source) = (self.index, &part.source);
        let positions = self.positions.entry(row.source).or_insert_with(|| Positions::new(index, source));
        let mut found = Vec::new();
        for stay in stays.into_iter().filter(|stay| stay.covers(snap)) {
            found.extend(positions.dir_at(stay.parent, snap)?.map(|dir| path::join(&dir, &stay.name)));
        }
        Ok(found)
    }

    /// The file system that a directory of the plan is on, or will be.
    fn dev_of(&self, at: usize) -> Option<u64> {
        let mut at = Some(at);
        while let Some(dir) = at {
            if let Ok(fd) = self.open(dir) {
                return stat::of(&fd).ok().map(|now| now.place.dev);
            }
            at = self.plan.dirs[dir].parent;
        }
        None
    }

    /// Notes the files that will have fewer names than the view has of them.
    pub(super) fn note_apart(&mut self) -> Result<(), IndexError> {
        if !self.in_place {
            return Ok(());
        }
        let mut apart = Vec::new();
        for ((source, node), group) in self.groups.iter().filter(|(_, group)| group.kept.is_none()) {
            if group.names < u64::from(self.index.link_count(*source, *node, group.snap)?) {
                apart.push(self.plan.path(group.dir, &group.name));
            }
        }
        // A name that stays as it is needs no word.
        let made = |file: &&crate::restore::plan::PlannedFile| matches!(file.action, Action::Create | Action::Replace);
        let made: std::collections::HashSet<Vec<u8>> =
            self.plan.files.iter().filter(made).map(|file| self.plan.path(file.dir, &file.name)).collect();
        apart.retain(|path| made.contains(path));
        apart.sort();
        self.plan.apart = apart;
        Ok(())
    }
}
