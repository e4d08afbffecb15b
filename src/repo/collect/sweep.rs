//! The collector: what nothing needs is marked, and deleted when every host that writes has seen that it was.
//!
//! No clock is asked. What is marked in a statement is deleted only when all hosts have seen that statement ([`super::attend`]), and
//! after that only what the journals, read once more, still do not need. A collector that ends in the middle leaves marks, which
//! the next one goes on from; two at once delete only what both may.

use crate::crypto::random;
use crate::index::{apply::PATIENT, live::PackUse};
use crate::progress::Progress;
use crate::repo::{
    attach::Attached,
    collect::{
        attend::{self, Present},
        merged::{self, MergedHead},
        proof, repack,
        statement::{self, Named, Statement},
        strangers, take,
    },
    error::RepoError,
    names::{self, Epoch, Merged, Segment},
    promotion, replay,
};
use crate::store::api::{Object, StoreError};
use crate::types::{ids::Id, role::Need, snapshot::Source};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

/// So often the journal is read before it counts as damaged.
const TRIES: usize = 3;

/// A collection: a host's index that has all of the journals, so that what it does not need nobody needs.
pub struct Collector<'a> {
    at: &'a Attached,
    host: &'a str,
    present: Present,
    /// The merged histories that were read through.
    proved: HashSet<String>,
}

/// What a collector would do now, or did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Packs deleted.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects of journals deleted.
    pub objects: u64,
    /// Packs that were marked and that something needs after all.
    pub rescued: u64,
    /// Objects that a lock of the store keeps for now.
    pub locked: u64,
}

/// What was marked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marked {
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them were made into others first, and into how many.
    pub moved: (u64, u64),
    /// Objects of journals.
    pub objects: u64,
}

impl<'a> Collector<'a> {
    /// Brings the index up to date. Refuses where a record can't be read, since nobody knows what it needs.
    pub fn begin(at: &'a Attached, host: &'a str, progress: &dyn Progress) -> Result<Collector<'a>, RepoError> {
        at.repo().check(Need::Collect)?;
        promotion::goes_on(at.repo())?;
        attend::register(at, host)?;
        let present = up_to_date(at, progress)?;
        if let Some(epoch) = present.unread.iter().next() {
            let why = format!("{} does not read", statement::name(epoch));
            return Err(RepoError::Uncollectable { why });
        }
        Ok(Collector { at, host, present, proved: HashSet::new() })
    }

    /// What there is of collection.
    pub fn present(&self) -> &Present {
        &self.present
    }

    /// The hosts that statements still wait for, with the time of the last word of each, for people.
    pub fn awaited(&self) -> Result<Vec<Awaited>, RepoError> {
        let ids: HashSet<Id> = self.present.statements.iter().flat_map(|epoch| self.present.awaited(epoch)).collect();
        let mut out = Vec::new();
        for id in ids {
            let Some(name) = self.present.hosts.get(&id) else { continue };
            let (since, host) = statement::read_note(self.at.repo(), name)?;
            out.push(Awaited { id, host, since });
        }
        out.sort_by(|a, b| (&a.host, a.id).cmp(&(&b.host, b.id)));
        Ok(out)
    }

    /// Whether the history of a source can be merged: not where another one branches off from it.
    pub fn can_merge(&self, source: &Source) -> Result<bool, RepoError> {
        Ok(!strangers::has_branches(self.at, source)?)
    }

    /// Writes the merged history of a source from the index, as it is. `None` where it can't be merged.
    pub fn merge(&self, source: &Source) -> Result<Option<MergedHead>, RepoError> {
        merge(self.at, source)
    }

    /// Histories of which something was released and that were not merged then, as after a crash between the two, are merged now:
    /// whoever replays a journal needs all that it names.
    fn merge_released(&self) -> Result<(), RepoError> {
        let reader = self.at.reader()?;
        for source in reader.sources()? {
            if source.host == self.host && reader.is_release_pending(source.num)? && self.merge(&source)?.is_none() {
                let why = format!("the history of {} can't be merged", crate::types::path::show(&source.root));
                return Err(RepoError::Uncollectable { why });
            }
        }
        Ok(())
    }

    /// Marks what nothing needs, all of it; where something is not there, looks again: another host that collects may
    /// have moved it in this moment.
    pub fn mark(&mut self, thorough: bool, progress: &dyn Progress) -> Result<Option<Marked>, RepoError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.mark_once(thorough, progress) {
                Err(e) if e.is_damage() && tries < TRIES => {
                    tracing::info!("not all that is to be collected is there, which is tried again: {e}");
                    self.present = up_to_date(self.at, progress)?;
                }
                done => return done,
            }
        }
    }

    /// Marks what nothing needs. Packs of which little is needed, or that are small, are made into others first. `None` where there is
    /// nothing to mark.
    fn mark_once(&mut self, thorough: bool, progress: &dyn Progress) -> Result<Option<Marked>, RepoError> {
        self.merge_released()?;
        // Packs that are made here are known to nobody before they are stated: as with a capture, nobody deletes them until then.
        let capturing = attend::capturing(self.at)?;
        let store = self.at.repo().store();
        let listed: HashMap<Id, u64> =
            store.list(names::PACKS)?.iter().filter_map(|o| Some((names::parse_pack(&o.name)?, o.len))).collect();
        let reader = self.at.reader()?;
        let marked = reader.marked()?;
        let uses = reader.pack_uses()?;
        let known: HashSet<Id> = uses.iter().map(|u| u.id).collect();
        let there = |u: &&PackUse| listed.contains_key(&u.id) && !marked.contains(&u.id);
        let mut packs: Vec<Id> = uses.iter().filter(there).filter(|u| u.live_frames == 0).map(|u| u.id).collect();
        packs.extend(listed.keys().copied().filter(|id| !known.contains(id) && !marked.contains(id)));
        // What can't be read can't be moved: such a pack stays as long as something needs what was lost with it.
        let lossy = reader.packs_with_loss()?;
        let movable: Vec<PackUse> = uses.iter().filter(there).filter(|u| !lossy.contains(&u.id)).cloned().collect();
        let mut chosen = repack::choose(&movable, thorough);
        let rescued = uses.iter().filter(|u| u.live_frames > 0 && marked.contains(&u.id) && listed.contains_key(&u.id));
        chosen.extend(rescued.map(|u| u.id).filter(|id| !lossy.contains(id)));
        let made = match repack::repack(self.at, &chosen, progress)? {
            Some(made) => made,
            None => {
                tracing::warn!(
                    "there is no room in {} to make packs into others: only what nothing needs at all is deleted now; maintain again \
                     when there is room",
                    store.location()
                );
                chosen.clear();
                Vec::new()
            }
        };
        packs.extend(&chosen);
        packs.sort_unstable();
        let objects = self.superseded(progress)?;
        let bytes = packs.iter().filter_map(|id| listed.get(id)).sum();
        let (from, to) = (chosen.len() as u64, made.len() as u64);
        if packs.is_empty() && objects.is_empty() {
            return Ok(None);
        }
        let mut moved: Vec<Id> =
            reader.moved()?.into_iter().filter(|id| listed.contains_key(id) && !packs.contains(id)).collect();
        moved.extend(made);
        moved.sort_unstable();
        let done = Marked { packs: packs.len() as u64, bytes, moved: (from, to), objects: objects.len() as u64 };
        let (time, host, replaces) = (self.at.moment().now(), self.host.to_owned(), self.replaced()?);
        self.state(&Statement { time, host, moved, packs, objects, replaces })?;
        drop(capturing);
        self.present = attend::attend(self.at)?;
        Ok(Some(done))
    }

    /// The statements that are done with: all hosts have seen them, and all that they mark is deleted.
    fn replaced(&self) -> Result<Vec<String>, RepoError> {
        let mut names = Vec::new();
        for epoch in &self.present.statements {
            if self.present.awaited(epoch).next().is_none() && self.is_done(epoch)? {
                names.push(statement::name(epoch));
            }
        }
        Ok(names)
    }

    fn is_done(&self, epoch: &Epoch) -> Result<bool, RepoError> {
        let statement = match statement::read(self.at.repo(), epoch) {
            // Whoever cleared it away has taken its place.
            Err(RepoError::Store(e)) if e.is_missing() => return Ok(false),
            other => other?,
        };
        let marked = self.at.reader()?.marked()?;
        let store = self.at.repo().store();
        for id in statement.packs.iter().filter(|id| marked.contains(id)) {
            if exists(store.size(&names::pack(*id)))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn state(&self, statement: &Statement) -> Result<(), RepoError> {
        let last = self.present.statements.last().map_or(0, Epoch::number);
        let number = last.checked_add(1).ok_or(RepoError::Full("statements of collection"))?;
        let epoch = Epoch::new(number, random::bytes()?);
        statement::write(self.at.repo(), &epoch, statement)?;
        Ok(self.at.repo().store().settle()?)
    }

    /// The objects of journals whose place a merged history has taken. That one is read through first: what a store has lost of it, or
    /// gives otherwise, may be in what would be deleted, and nowhere else.
    fn superseded(&mut self, progress: &dyn Progress) -> Result<Vec<String>, RepoError> {
        let at = self.at;
        let repo = at.repo();
        let objects = repo.store().list(names::JOURNAL)?;
        let mut heads: HashMap<Id, (Merged, MergedHead)> = HashMap::new();
        for newest in take::newest(objects.iter().map(|o| o.name.as_str())) {
            let head = merged::read_head(repo, &newest)?;
            heads.insert(newest.source, (newest, head));
        }
        let names: Vec<String> = objects.iter().filter(|o| is_superseded(o, &heads)).map(|o| o.name.clone()).collect();
        for (source, (newest, head)) in &heads {
            let journal = names::journal(*source);
            if self.proved.contains(&newest.name()) || !names.iter().any(|name| name.starts_with(&journal)) {
                continue;
            }
            if let Some(flaw) = proof::read_through(repo, newest, head, progress) {
                let why = format!("{}: {}: {}", flaw.object, flaw.part, flaw.why);
                return Err(RepoError::Uncollectable { why });
            }
            self.proved.insert(newest.name());
        }
        Ok(names)
    }

    /// Deletes what is marked, as far as every host has seen it, and as far as the journals, read once more, do not need it.
    pub fn sweep(&mut self, progress: &dyn Progress) -> Result<Swept, RepoError> {
        self.merge_released()?;
        let mut swept = Swept::default();
        let seen = self.present.clone();
        let ready: Vec<&Epoch> = seen.statements.iter().filter(|epoch| seen.awaited(epoch).next().is_none()).collect();
        if ready.is_empty() {
            return Ok(swept);
        }
        // All that was captured before a host has seen a statement is in the journals by now.
        self.present = up_to_date(self.at, progress)?;
        let reader = self.at.reader()?;
        let marked = reader.marked()?;
        self.forget_packs(&marked)?;
        let live: HashMap<Id, u64> = reader.pack_uses()?.into_iter().map(|u| (u.id, u.live_frames)).collect();
        let superseded: HashSet<String> = self.superseded(progress)?.into_iter().collect();
        for epoch in &ready {
            let statement = match statement::read(self.at.repo(), epoch) {
                Err(RepoError::Store(e)) if e.is_missing() => continue,
                other => other?,
            };
            let (needed, free): (Vec<Id>, Vec<Id>) = statement
                .packs
                .iter()
                .filter(|id| marked.contains(id))
                .partition(|id| live.get(id).is_some_and(|frames| *frames > 0));
            // They stay marked, since other hosts have seen that they are: what is needed of them is moved.
            swept.rescued += needed.len() as u64;
            self.delete_packs(&free, &mut swept)?;
            for name in statement.objects.iter().filter(|name| superseded.contains(*name)) {
                self.delete(name, &mut swept.objects, &mut swept.locked)?;
            }
        }
        self.clear(&ready, &seen)?;
        Ok(swept)
    }

    /// Takes packs out of the index that another host has deleted, and that nothing needs here either.
    fn forget_packs(&self, marked: &HashSet<Id>) -> Result<(), RepoError> {
        let there: HashSet<Id> =
            self.at.repo().store().list(names::PACKS)?.iter().filter_map(|o| names::parse_pack(&o.name)).collect();
        let uses = self.at.reader()?.pack_uses()?;
        let gone = uses.iter().filter(|u| u.live_frames == 0 && marked.contains(&u.id) && !there.contains(&u.id));
        let gone: Vec<Id> = gone.map(|u| u.id).collect();
        Ok(self.at.index().drop_packs(&gone, PATIENT)?)
    }

    fn delete_packs(&self, free: &[Id], swept: &mut Swept) -> Result<(), RepoError> {
        let store = self.at.repo().store();
        let mut gone = Vec::new();
        for id in free {
            let name = names::pack(*id);
            let len = match store.size(&name) {
                Ok(len) => len,
                Err(e) if e.is_missing() => {
                    gone.push(*id);
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            if self.delete(&name, &mut swept.packs, &mut swept.locked)? {
                swept.bytes += len;
                gone.push(*id);
            }
        }
        Ok(self.at.index().drop_packs(&gone, PATIENT)?)
    }

    /// Deletes one object. False where a lock of the store keeps it.
    fn delete(&self, name: &str, done: &mut u64, locked: &mut u64) -> Result<bool, RepoError> {
        match self.at.repo().store().delete(name) {
            Ok(()) => {
                tracing::debug!("deleted {name}");
                *done += 1;
                Ok(true)
            }
            Err(e @ StoreError::Locked { .. }) => {
                tracing::info!("{e}");
                *locked += 1;
                Ok(false)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Deletes statements that others have taken the place of, and what hosts said of them.
    fn clear(&self, ready: &[&Epoch], seen: &Present) -> Result<(), RepoError> {
        let store = self.at.repo().store();
        for epoch in ready {
            let statement = match statement::read(self.at.repo(), epoch) {
                Err(RepoError::Store(e)) if e.is_missing() => continue,
                other => other?,
            };
            for name in &statement.replaces {
                let Some(Named::Statement(old)) = Named::parse(name) else { continue };
                store.delete(name)?;
                for (_, word) in seen.words.iter().filter(|(of, _)| *of == old) {
                    store.delete(word)?;
                }
            }
        }
        Ok(())
    }
}

/// Writes the merged history of a source from the index, as it is: also what the repository has lost of it since. `None` where it can't
/// be merged.
pub fn merge(at: &Attached, source: &Source) -> Result<Option<MergedHead>, RepoError> {
    merge_over(at, source, &HashSet::new())
}

/// The same, and it takes the place of these runs too, which the index has passed over.
pub(super) fn merge_over(
    at: &Attached,
    source: &Source,
    passed: &HashSet<String>,
) -> Result<Option<MergedHead>, RepoError> {
    at.repo().check(Need::Collect)?;
    promotion::goes_on(at.repo())?;
    let reader = at.reader()?;
    // Of what lies behind lost records, nothing could be written.
    if strangers::has_branches(at, source)? || reader.beyond(source.num)?.is_some() {
        return Ok(None);
    }
    let objects = at.repo().store().list(&names::journal(source.id))?;
    let number = objects.iter().filter_map(|o| Merged::parse(&o.name)).map(|m| m.generation.number()).max();
    let number = number.unwrap_or(0).checked_add(1).ok_or(RepoError::Full("merged histories of a source"))?;
    let generation = Epoch::new(number, random::bytes()?);
    let known = reader.runs_of(source.num)?;
    let there = objects.iter().filter_map(|o| Segment::parse(&o.name));
    let there = there.map(|segment| segment.epoch.as_str().to_owned());
    let there = there.filter(|epoch| known.contains(epoch) || passed.contains(epoch));
    // It takes the place also of what is lost: that may be put back after all.
    let own = names::journal(source.id);
    let seen = reader.segments(source.num)?;
    let seen = seen.iter().filter(|row| row.name.starts_with(&own)).filter_map(|row| Segment::parse(&row.name));
    let runs: BTreeSet<String> = there.chain(seen.map(|segment| segment.epoch.as_str().to_owned())).collect();
    let runs: Vec<String> = runs.into_iter().collect();
    let head = reader.hold(|reader| match reader.head(source.num)?.epoch.is_empty() {
        true => Ok(None),
        false => merged::write(at, reader, source, &generation, runs).map(Some),
    })?;
    if let Some(head) = &head {
        let name = Merged { source: source.id, generation, seq: 0 }.name();
        at.index().set_merged(source.num, (&name, &head.runs), head.upto.number)?;
    }
    Ok(head)
}

/// A host that a statement waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Awaited {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub host: String,
    /// When it was made known.
    pub since: crate::types::time::Instant,
}

/// Ends the waiting for a host that will not come back. What it has captured and not stored yet may be lost.
pub fn retire(at: &Attached, id: Id, by: &str) -> Result<(), RepoError> {
    at.repo().check(Need::Collect)?;
    // A host that is not there is an error here: a person has named it.
    if !attend::present(at)?.hosts.contains_key(&id) {
        return Err(RepoError::NoHost { location: at.repo().store().location(), id: id.to_string() });
    }
    statement::note(at.repo(), &Named::Retired(id), at.moment().now(), by).map(drop)
}

/// Brings the index up to date, whole: refuses where a record can't be read, or contradicts what this host knows.
pub fn caught_up(at: &Attached, progress: &dyn Progress) -> Result<(), RepoError> {
    let mut tries = 0;
    loop {
        let problems = replay::catch_up(at, progress)?.problems;
        let Some(problem) = problems.into_iter().next() else { return Ok(()) };
        tries += 1;
        // What another host was collecting in this moment is in its new place when one looks again.
        if tries == TRIES {
            return Err(RepoError::Uncollectable { why: problem.to_string() });
        }
        tracing::info!("not all can be read, which is tried again: {problem}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn up_to_date(at: &Attached, progress: &dyn Progress) -> Result<Present, RepoError> {
    let mut tries = 0;
    loop {
        caught_up(at, progress)?;
        tries += 1;
        match strangers::refuse(at) {
            // What another host has captured since then is known when one looks again.
            Err(RepoError::Uncollectable { .. }) if tries < TRIES => {}
            known => break known?,
        }
    }
    attend::attend(at)
}

fn is_superseded(object: &Object, heads: &HashMap<Id, (Merged, MergedHead)>) -> bool {
    if let Some(merged) = Merged::parse(&object.name) {
        // A part without a head is of a merged history that is being written, or was never finished: of a newer one it stays.
        return heads.get(&merged.source).is_some_and(|(newest, _)| merged.generation < newest.generation);
    }
    Segment::parse(&object.name).is_some_and(|segment| {
        heads.get(&segment.source).is_some_and(|(_, head)| head.covers(&segment) && !head.ends_in(&segment))
    })
}

fn exists(size: Result<u64, StoreError>) -> Result<bool, RepoError> {
    match size {
        Ok(_) => Ok(true),
        Err(e) if e.is_missing() => Ok(false),
        Err(e) => Err(e.into()),
    }
}
