//! Packs: that each is there, as long as it must be, opens, and holds what the journal says.

use crate::crypto::seal::ObjectKind;
use crate::index::{bad::FramePlace, check::FrameRow, error::IndexError, tree::Reader};
use crate::progress::Progress;
use crate::repo::{
    error::RepoError,
    header, holding, names, needed,
    open::Repository,
    pack::{self, FOOTER_LEN},
};
use crate::types::{ids::Id, op::Frame};
use crate::verify::{check::VerifyError, report::Report};
use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicBool, Ordering},
};

const TO_DO: &str =
    "put back a good copy of the object from another copy of the repository; the rest can be read and restored";

/// What the check of packs found out.
pub(super) struct Known {
    /// Frames that lie in packs that are there, with their chunks as their pack's table or the index states them.
    pub(super) frames: Vec<FrameRow>,
    /// Frames that can't be read, by their rows, and the number of the problem that says why.
    pub(super) bad: HashMap<i64, usize>,
    /// The frames of which a repair has stated that they can't be read.
    pub(super) stated: HashSet<FramePlace>,
}

/// Checks every pack that the index names, and lists the others.
pub(super) fn check(
    repo: &Repository,
    index: &Reader,
    progress: &dyn Progress,
    stop: &AtomicBool,
    report: &mut Report,
) -> Result<Known, VerifyError> {
    let mut there: HashMap<Id, u64> = HashMap::new();
    for object in repo.store().list(names::PACKS).map_err(RepoError::from)? {
        match names::parse_pack(&object.name) {
            Some(id) => drop(there.insert(id, object.len)),
            None => report.strangers.push(object.name),
        }
    }
    let free = index.bad_and_free()?;
    let mut packs: Vec<(Id, Vec<FrameRow>)> = Vec::new();
    let mut aside: HashSet<Id> = HashSet::new();
    index.each_frame(|row| {
        // What can't be read and nothing needs any more is no loss.
        if free.contains(&row.num) {
            aside.insert(row.pack);
            return;
        }
        match packs.last_mut() {
            Some((id, frames)) if *id == row.pack => frames.push(row),
            _ => packs.push((row.pack, vec![row])),
        }
    })?;
    // A copy by tiers has promised no more than what their snapshots need. One whose statement does not read is told of elsewhere.
    let promised = match holding::held(repo) {
        Ok(held) if held.tiers.is_some() => Some(needed::packs(index, &held)?),
        Ok(_) => None,
        Err(e) if e.is_damage() => None,
        Err(e) => return Err(e.into()),
    };
    aside.retain(|id| !packs.iter().any(|(other, _)| other == id));
    there.retain(|id, _| !aside.contains(id));
    report.set_aside = aside.into_iter().collect();
    report.set_aside.sort();
    let stated = index.bad_frames()?.into_iter().filter(|(_, stated)| *stated).map(|(place, _)| place).collect();
    let mut check = Check { repo, index, known: Known { frames: Vec::new(), bad: HashMap::new(), stated } };
    for (id, frames) in packs {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if !there.contains_key(&id) && promised.as_ref().is_some_and(|promised| !promised.contains(&id)) {
            report.not_held += 1;
            continue;
        }
        report.packs += 1;
        report.frames += frames.len() as u64;
        check.pack(id, there.remove(&id), frames, report)?;
        progress.add(1, 0);
    }
    if !stop.load(Ordering::Relaxed) {
        report.unreferenced = there.into_keys().collect();
        report.unreferenced.sort();
    }
    Ok(check.known)
}

struct Check<'a> {
    repo: &'a Repository,
    index: &'a Reader,
    known: Known,
}

impl Check<'_> {
    fn pack(&mut self, id: Id, len: Option<u64>, frames: Vec<FrameRow>, report: &mut Report) -> Result<(), IndexError> {
        let name = names::pack(id);
        let Some(len) = len else {
            report.problem(&name, "object", "it is missing").advise(TO_DO).known(self.is_stated(&frames));
            self.bad(frames.iter(), report);
            return Ok(());
        };
        let known = self.is_stated(&frames);
        let end = |row: &FrameRow| row.frame.offset.saturating_add(u64::from(row.frame.sealed_len));
        let (whole, cut): (Vec<FrameRow>, Vec<FrameRow>) = frames.into_iter().partition(|row| end(row) <= len);
        if let Some(last) = cut.last() {
            let why = format!("it has {len} bytes and must have {} at least: it was cut short", end(last));
            report.problem(&name, "object", why).advise(TO_DO).known(self.is_stated(&cut));
            self.bad(cut.iter(), report);
        }
        if let Err(e) = self.header(&name, id) {
            report.torn_packs.insert(id);
            report
                .problem(&name, "header", e)
                .lost("nothing as long as the table is whole: it states the same")
                .advise(TO_DO)
                .known(known);
        }
        match self.table(&name, id, len) {
            Ok(table) => self.compare(&name, whole, table, report)?,
            Err(e) => {
                report.torn_packs.insert(id);
                report
                    .problem(&name, "table", e)
                    .lost("nothing as long as the journal is whole: it states the same")
                    .advise("read the data (`bygone verify --read-data`) to learn whether the frames are damaged too")
                    .known(known);
                self.known.frames.extend(whole);
            }
        }
        Ok(())
    }

    /// Whether a repair has stated of all these frames that they can't be read.
    fn is_stated(&self, frames: &[FrameRow]) -> bool {
        frames.iter().all(|row| self.known.stated.contains(&(row.pack, row.frame.number)))
    }

    fn header(&self, name: &str, id: Id) -> Result<(), String> {
        let keys = self.repo.keys();
        let len = header::pack_len(keys.sealing());
        let bytes = self.repo.store().get_range(name, 0, len).map_err(|e| e.why_of(name))?;
        match header::read(&bytes, ObjectKind::Pack, keys.sealing()) {
            Ok((found, generation)) if found == id => {
                keys.check_key_data(generation, id, &bytes[header::LEN..]).map_err(|e| e.to_string())
            }
            Ok((found, _)) => Err(format!("it is the pack {found} under another name")),
            Err(e) => Err(e.to_string()),
        }
    }

    fn table(&self, name: &str, id: Id, len: u64) -> Result<Vec<Frame>, String> {
        let store = self.repo.store();
        let start = len.checked_sub(FOOTER_LEN as u64).ok_or("it is too short to have one")?;
        let footer = store.get_range(name, start, FOOTER_LEN).map_err(|e| e.why_of(name))?;
        let table_len = pack::table_len(&footer, len).map_err(|e| e.to_string())?;
        let mut sealed = store.get_range(name, start - table_len, table_len as usize).map_err(|e| e.why_of(name))?;
        let table = pack::read_table(self.repo.keys(), id, &footer, &mut sealed).map_err(|e| e.to_string())?;
        Ok(table.frames)
    }

    /// The journal and the pack's own table must say the same.
    fn compare(
        &mut self,
        name: &str,
        rows: Vec<FrameRow>,
        table: Vec<Frame>,
        report: &mut Report,
    ) -> Result<(), IndexError> {
        let by_number: HashMap<u32, Frame> = table.into_iter().map(|frame| (frame.number, frame)).collect();
        for mut row in rows {
            let (number, offset) = (row.frame.number, row.frame.offset);
            // Frames that were there twice may be one after they were moved: then several rows stand for it.
            let found = by_number.get(&number).cloned();
            let same = match &found {
                Some(frame) => self.is_same(&row, frame)?,
                None => false,
            };
            match found.filter(|_| same) {
                Some(frame) => {
                    row.frame.chunks = frame.chunks;
                    self.known.frames.push(row);
                }
                None => {
                    let why = "the pack's own table and this host's index say different things about it";
                    report.problem(name, format!("frame {number} at byte {offset}"), why).advise(
                        "make the index anew with `bygone index rebuild`; if this stays, the pack was made wrongly",
                    );
                    self.bad(std::iter::once(&row), report);
                }
            }
        }
        Ok(())
    }

    fn is_same(&self, row: &FrameRow, frame: &Frame) -> Result<bool, IndexError> {
        if (Frame { chunks: Vec::new(), ..frame.clone() }) != row.frame {
            return Ok(false);
        }
        let mut offset = 0;
        for (hash, len) in &frame.chunks {
            if self.index.chunk_in_frame(row.num, hash, *len)? != Some(offset) {
                return Ok(false);
            }
            offset += len;
        }
        Ok(true)
    }

    /// These frames can't be read, for the reason that was noted last.
    fn bad<'f>(&mut self, frames: impl Iterator<Item = &'f FrameRow>, report: &Report) {
        let problem = report.problems.len() - 1;
        self.known.bad.extend(frames.map(|row| (row.num, problem)));
    }
}
