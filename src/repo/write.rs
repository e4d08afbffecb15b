//! Writing the history of one source: one writer a source and host, one record a snapshot.

use crate::crypto::random;
use crate::index::{
    apply::{Applier, PATIENT},
    tree::Reader,
};
use crate::repo::{
    absent,
    attach::Attached,
    collect::{attend, mend, merged, take},
    error::RepoError,
    generations,
    ingest::{Avoid, Claims},
    moment::Sealing,
    names::{self, Epoch, Segment},
    own::Own,
    parts::PartWriter,
    promotion,
    record::Opening,
    recording::RecordWriter,
};
use crate::sys::durable::{self, LockGuard};
use crate::types::{
    ids::{Hash, Id, Snap, SourceNum},
    path::show,
    role::Need,
    snapshot::{Counts, Head, Lost, Source, Tier, WRITER_MARK as MARK},
};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often, in nanoseconds, a writer looks at what collection has stated: five minutes.
const ATTEND_NS: i64 = 300 * 1_000_000_000;
/// How often a writer looks whether its source has another one.
const LOOK: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(60) };

/// The one writer of a source on this host; a lock keeps others out.
pub struct SourceWriter {
    at: Arc<Attached>,
    applier: Applier,
    source: Source,
    /// The last record in the journal.
    head: Head,
    /// What the index can't take before that one, if it can't: the next record states the whole tree.
    passed: Option<Lost>,
    epoch: Epoch,
    seq: u64,
    /// The time of a record that may be in the journal although its writing failed: the journal must be read before the
    /// next one.
    doubtful: Option<Sealing>,
    lost: HashSet<Id>,
    /// Whether the repository knows that this host writes.
    known: bool,
    /// When this host has last looked at what collection states, in ns.
    attended: i64,
    /// Whether the store queues what it is given: then nothing here waits for it.
    queues: bool,
    /// Whether the record that the first one follows was seen in the journal.
    head_seen: bool,
    watch: Others,
    _lock: LockGuard,
}

/// What is known of other writers of the source.
struct Others {
    own: Own,
    /// The runs that were there when this one began.
    known: HashSet<String>,
    /// The objects of the journal when they were looked at last.
    objects: HashSet<String>,
    looked: Instant,
    forked: bool,
}

/// A source that this machine goes on with under another name, since another writer has the one of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// Its root.
    pub root: Vec<u8>,
    /// That name.
    pub name: String,
    /// Since when, where that was noted.
    pub since: Option<crate::types::time::Instant>,
}

/// The sources of `host`, as the settings call it, that this machine goes on with under another name.
pub fn apart(at: &Attached, host: &str) -> Result<Vec<Apart>, RepoError> {
    let mut apart = Vec::new();
    for source in at.reader()?.sources()?.into_iter().filter(|s| s.host == host) {
        let own = Own::load(at.dir(), host, &source.root)?;
        if let Some(name) = own.host {
            apart.push(Apart { root: source.root, name, since: own.since });
        }
    }
    Ok(apart)
}

impl SourceWriter {
    /// The writer of the source at `root` (absolute) on `host`; a new source where the repository has none.
    ///
    /// The index must be up to date with the journal. Fails where another process writes this source.
    pub fn open(at: Arc<Attached>, host: &str, root: &[u8]) -> Result<SourceWriter, RepoError> {
        at.repo().check(Need::Capture)?;
        let path = writer_lock(at.dir(), root);
        let lock = durable::lock_file(&path)
            .map_err(|e| RepoError::State { doing: "lock", path: path.display().to_string(), source: e.into() })?
            .ok_or_else(|| RepoError::Locked {
                lock: path.display().to_string(),
                holder: durable::lock_holder(&path).ok().flatten().map_or("unknown".into(), |pid| pid.to_string()),
            })?;
        let queues = at.repo().store().waiting()?.is_some();
        if_there(queues, promotion::goes_on(at.repo()))?;
        // Where the store is away, what is known of the keys is taken as it is.
        if_there(queues, generations::refresh(at.repo()))?;
        generations::check(&at)?;
        let reader = at.reader()?;
        let mut own = Own::load(at.dir(), host, root)?;
        let mut source = known_or_new(&at, own.host.as_deref().unwrap_or(host), root)?;
        let (mut head, mut passed) = end_of(&reader, &source)?;
        let mut objects = if_there(queues, absent::look(&at, &source))?;
        let mut others = objects.as_deref().map(absent::epochs);
        let forked = own.is_another(&head.epoch, others.as_ref());
        if forked {
            // Somebody else writes it: a history of two trees in turns would be of no use to either.
            let name = format!("{host}{MARK}{:08x}", u32::from_be_bytes(random::bytes()?));
            tracing::error!("{}", second_writer(&source, &name));
            let since = leave(&at, &source, own.branched_at(others.as_ref()))?;
            own.fork(name.clone(), since)?;
            source = known_or_new(&at, &name, root)?;
            (head, passed) = end_of(&reader, &source)?;
            objects = if_there(queues, absent::look(&at, &source))?;
            others = objects.as_deref().map(absent::epochs);
        }
        own.adopt(&head.epoch, others.as_ref());
        let epoch = match &others {
            // Also where the run of its last record is not there any more: the journal is read in their order.
            Some(others) => next_epoch(others.iter().chain([&head.epoch]), passed.as_ref())?,
            None => next_epoch([&head.epoch].into_iter(), passed.as_ref())?,
        };
        own.add(epoch.as_str())?;
        let objects = objects.unwrap_or_default().into_iter().collect();
        let watch = Others { own, known: others.unwrap_or_default(), objects, looked: Instant::now(), forked };
        let applier = Applier::open(at.index(), PATIENT)?;
        let known = match if_there(queues, attend::register(&at, host))? {
            Some(known) => known,
            None => attend::known(&at)?.is_some(),
        };
        let attended = at.moment().now().0;
        let lost = if_there(queues, lost_packs(&at))?.unwrap_or_default();
        let (seq, doubtful) = (0, None);
        let head_seen = false;
        let mut writer = SourceWriter {
            at,
            applier,
            source,
            head,
            passed,
            epoch,
            seq,
            doubtful,
            lost,
            known,
            attended,
            queues,
            head_seen,
            watch,
            _lock: lock,
        };
        writer.watch.known.insert(writer.head.epoch.clone());
        Ok(writer)
    }

    /// Whether it found another writer of its source when it began, and goes on under another name.
    pub fn is_forked(&self) -> bool {
        self.watch.forked
    }

    /// Looks, now and then, whether somebody else writes this source: then this writer has to begin again.
    fn look_for_others(&mut self) -> Result<(), RepoError> {
        let is_due = self.watch.looked.elapsed() >= LOOK;
        // Near by it costs nothing to ask each time.
        if is_due || !self.queues {
            if_there(self.queues, promotion::goes_on(self.at.repo()))?;
        }
        if !is_due {
            return Ok(());
        }
        self.watch.looked = Instant::now();
        let there = self.at.repo().store().list(&names::journal(self.source.id)).map_err(RepoError::from);
        let Some(there) = if_there(self.queues, there)? else { return Ok(()) };
        let there: Vec<String> = there.into_iter().map(|object| object.name).collect();
        let objects: HashSet<String> = there.iter().cloned().collect();
        // Merged, or lost.
        if !self.watch.objects.is_subset(&objects) {
            if_there(self.queues, absent::look(&self.at, &self.source))?;
        }
        self.watch.objects = objects;
        let there = absent::epochs(&there);
        match there.iter().find(|epoch| !self.watch.known.contains(*epoch) && !self.watch.own.has(epoch)) {
            None => Ok(()),
            Some(_) => Err(RepoError::SecondWriter { path: show(&self.source.root), host: self.source.host.clone() }),
        }
    }

    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Finds out what became of a record whose writing failed: a store may say so of an object that it has.
    ///
    /// Until then no other record is written, since two of them would follow the same one. To be called before a
    /// capture looks at the index.
    pub fn settle(&mut self) -> Result<(), RepoError> {
        if self.doubtful.is_some() {
            for problem in crate::repo::replay::catch_up(&self.at, &crate::progress::Quiet)?.problems {
                tracing::error!("{problem}");
            }
            (self.head, self.passed) = end_of(&self.at.reader()?, &self.source)?;
        }
        self.doubtful.take().map_or(Ok(()), |sealing| self.at.moment().release(sealing))?;
        self.look_for_others()?;
        // To ask a store that is far away costs a request: there it is done once.
        if !(self.queues && self.head_seen) {
            self.head_seen = if_there(self.queues, self.check_head())?.is_some();
        }
        self.attend()
    }

    /// Looks at what collection has stated, now and then: a host that does not keeps it waiting, and nothing else.
    fn attend(&mut self) -> Result<(), RepoError> {
        let now = self.at.moment().now().0;
        if self.known && (now - self.attended).abs() < ATTEND_NS {
            return Ok(());
        }
        if_there(self.queues, generations::attend(&self.at))?;
        let host = self.source.host.clone();
        if let Some(known) = if_there(self.queues, attend::register(&self.at, &host))? {
            (self.known, self.attended) = (known, now);
        }
        Ok(())
    }

    /// The record that the next one follows must be in the journal: on one that is not, nobody else could build.
    fn check_head(&self) -> Result<(), RepoError> {
        let head = &self.head;
        let Some(epoch) = Epoch::parse(&head.epoch) else { return Ok(()) };
        let segment = Segment { source: self.source.id, epoch, seq: head.seq };
        match self.at.repo().store().size(&segment.name()) {
            Ok(_) => Ok(()),
            Err(e) if e.is_missing() && self.is_merged()? => Ok(()),
            Err(e) if e.is_missing() => Err(RepoError::RolledBack {
                location: self.at.repo().store().location(),
                segment: segment.name(),
                number: head.number,
            }),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether a merged history states the last record: one that was written again, since the record had been lost.
    fn is_merged(&self) -> Result<bool, RepoError> {
        let objects = self.at.repo().store().list(&names::journal(self.source.id))?;
        let newest = take::newest(objects.iter().map(|object| object.name.as_str())).pop();
        let Some(newest) = newest else { return Ok(false) };
        let upto = merged::read_head(self.at.repo(), &newest)?.upto;
        Ok((upto.number, upto.hash) == (self.head.number, self.head.hash))
    }

    /// How far its history goes.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What a capture that begins now is not to be deduplicated against: packs that the index names and the store does not have, those
    /// that will be deleted, and frames that can't be read. To be asked for behind [`attend::capturing`].
    pub fn avoid(&self) -> Result<Arc<Avoid>, RepoError> {
        let reader = self.at.reader()?;
        let mut packs = reader.marked()?;
        packs.extend(&self.lost);
        Ok(Arc::new(Avoid { packs, bad: reader.has_bad_frames()?, all: !self.known }))
    }

    /// The repository and index it writes to.
    pub fn attached(&self) -> &Arc<Attached> {
        &self.at
    }

    /// Whether the next record has to make new ground: records that it would rest on are lost. It is a full then, and is made also
    /// where nothing has changed.
    pub fn must_restate(&self) -> Result<bool, RepoError> {
        Ok(self.passed.is_some() || absent::is_torn(&self.at, self.source.num)?)
    }

    /// The tier that the next record can have: a differential is a full where there is no full to build on.
    pub fn possible(&self, tier: Tier) -> Result<Tier, RepoError> {
        Ok(match tier {
            _ if self.head.number == Snap(0) || self.must_restate()? => Tier::Full,
            Tier::Differential if self.base()?.is_none() => Tier::Full,
            tier => tier,
        })
    }

    /// The full that a differential can build on: the newest one, if its record is there.
    fn base(&self) -> Result<Option<(Snap, Hash)>, RepoError> {
        let Some((number, hash, segment)) = self.at.reader()?.last_full(self.source.num)? else { return Ok(None) };
        match self.at.repo().store().size(&segment) {
            Ok(_) => Ok(Some((number, hash))),
            Err(e) if e.is_missing() => {
                tracing::error!(
                    "the record of the last full snapshot ({number}) is missing: {segment}; nothing is built on it any more"
                );
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Begins the next record. A tier that is not [possible](SourceWriter::possible) becomes one that is.
    pub fn begin(&mut self, tier: Tier, claims: Arc<Claims>) -> Result<RecordWriter<'_>, RepoError> {
        self.settle()?;
        let number = Snap(self.head.number.0 + 1);
        let tier = self.possible(tier)?;
        let base = if tier == Tier::Differential { self.base()? } else { None };
        let (previous, restates, source) = (self.head.hash, self.passed.is_some(), self.source.clone());
        let opening = Opening { previous, tier, base, restates, stands_for: None, source };
        Ok(RecordWriter {
            applying: self.applier.begin(self.source.num, number)?,
            parts: PartWriter::new(&self.at, (&self.epoch, &mut self.seq), number, opening)?,
            at: &self.at,
            head: &mut self.head,
            passed: &mut self.passed,
            epoch: &self.epoch,
            doubtful: &mut self.doubtful,
            number,
            claims,
            pack: None,
            chunks: 0,
            parked: Vec::new(),
            links: Vec::new(),
            counts: Counts::default(),
            renames: 0,
        })
    }
}

/// `None` where the store did not answer and that need not keep a capture, which is queued, from going on.
fn if_there<T>(queues: bool, looked: Result<T, RepoError>) -> Result<Option<T>, RepoError> {
    match looked {
        Err(e) if queues && e.is_away() => {
            tracing::warn!("what this host knows of the repository is taken as it is: {e}");
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// The file that the writer of the source at `root` locks, in the directory of a repository's state.
pub fn writer_lock(dir: &Path, root: &[u8]) -> PathBuf {
    dir.join(format!("writer-{}.lock", data_encoding::HEXLOWER.encode(&blake3::hash(root).as_bytes()[..8])))
}

/// The packs that the index names and the store does not have: looked for once, when a writer begins.
fn lost_packs(at: &Attached) -> Result<HashSet<Id>, RepoError> {
    let lost = mend::mend(at)?;
    if !lost.is_empty() {
        tracing::error!(
            "{} pack(s) of the repository {} are missing; what is captured from now on does without them, and `bygone verify` \
             says which files are lost",
            lost.len(),
            at.repo().store().location()
        );
    }
    Ok(lost)
}

fn new_source(known: &[Source], host: &str, root: &[u8]) -> Result<Source, RepoError> {
    let taken: HashSet<u16> = known.iter().map(|s| s.num.0).collect();
    if taken.len() >= usize::from(SourceNum::MAX) / 2 {
        return Err(RepoError::Full("sources"));
    }
    // Random, since another host may choose at the same moment.
    let num = loop {
        let n = u16::from_le_bytes(random::bytes()?) & SourceNum::MAX;
        if n != 0 && !taken.contains(&n) {
            break n;
        }
    };
    Ok(Source { id: random::id()?, num: SourceNum(num), host: host.to_owned(), root: root.to_vec() })
}

fn known_or_new(at: &Attached, host: &str, root: &[u8]) -> Result<Source, RepoError> {
    let known = at.reader()?.sources()?;
    if let Some(source) = known.iter().find(|s| s.host == host && s.root == root) {
        return Ok(source.clone());
    }
    let source = new_source(&known, host, root)?;
    at.index().add_source(&source)?;
    Ok(source)
}

fn second_writer(source: &Source, name: &str) -> String {
    format!(
        "the source {} on {} has another writer: a machine that was copied, or a second state directory. Nothing of either is lost: \
         from now on what is captured here is that of the host {name}. Give one of the two another `host` in its settings",
        show(&source.root),
        source.host
    )
}

/// Leaves the history of a source to another writer. Where this one's index took the other's records for the branch, it is made anew,
/// so that all see the same. Gives since when this writer has a history of its own.
fn leave(at: &Attached, source: &Source, branched: Option<String>) -> Result<crate::types::time::Instant, RepoError> {
    let now = at.moment().now();
    let Some(run) = branched else { return Ok(now) };
    let reader = at.reader()?;
    let mut shared = Snap(0);
    for row in reader.segments(source.num)? {
        if Segment::parse(&row.name).is_none_or(|segment| segment.epoch.as_str() < run.as_str()) {
            shared = shared.max(row.last);
        }
    }
    let shared = reader.snapshot(source.num, shared)?;
    let own = names::journal(source.id);
    for branch in reader.sources()?.into_iter().filter(|s| s.may_branch_off(source)) {
        if reader.segments(branch.num)?.iter().any(|row| row.name.starts_with(&own)) {
            at.index().forget(branch.num, PATIENT)?;
            at.index().drop_source(branch.num)?;
        }
    }
    at.index().forget(source.num, PATIENT)?;
    for problem in crate::repo::replay::catch_up(at, &crate::progress::Quiet)?.problems {
        tracing::warn!("{problem}");
    }
    Ok(shared.map_or(now, |shared| crate::types::time::Instant(shared.time.0.saturating_add(1))))
}

/// The last record of a source, and what can't be taken before it.
fn end_of(reader: &Reader, source: &Source) -> Result<(Head, Option<Lost>), RepoError> {
    let lost = reader.lost(source.num)?.into_iter().find(Lost::is_open);
    Ok(match reader.beyond(source.num)?.zip(lost) {
        Some((beyond, lost)) => (beyond, Some(lost)),
        None => (reader.head(source.num)?, None),
    })
}

/// The epoch after these. The random part keeps it apart from any other. It comes behind those of lost records too, whose runs are not
/// known: there are no more of them than of records.
fn next_epoch<'a>(there: impl Iterator<Item = &'a String>, passed: Option<&Lost>) -> Result<Epoch, RepoError> {
    let last = there.filter_map(|text| Epoch::parse(text)).map(|epoch| epoch.number()).max().unwrap_or(0);
    let lost = passed.map_or(0, |lost| lost.last.0.saturating_sub(lost.first.0) + 1);
    let number = u32::try_from(lost).ok().and_then(|lost| last.checked_add(lost)?.checked_add(1));
    Ok(Epoch::new(number.ok_or(RepoError::Full("runs of a source's writer"))?, random::bytes()?))
}
