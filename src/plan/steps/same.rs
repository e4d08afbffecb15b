//! Whether what is at a path is byte for byte what history has.

use crate::index::{rows::Row, tree::Reader};
use crate::plan::ground::{Did, Doing, told};
use crate::plan::journal::Amount;
use crate::repo::frames::Frames;
use crate::types::{
    attr::Kind,
    ids::{Snap, SourceNum, Ver},
    path,
};
use crate::view::{
    content::{self, Content},
    instant::{Object, View},
};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// So many bytes of decoded frames are kept.
const FRAMES: usize = 64 << 20;
/// So many bytes are compared at once.
const PIECE: usize = 1 << 20;
/// So many differences are told; then it is enough.
const TOLD_MAX: usize = 1000;

/// Compares `here` with `there` as of a view.
pub(super) fn run(doing: &Doing<'_>, view: &View, there: &Path, here: &Path) -> Result<Did, String> {
    let index = doing.ground.at.reader().map_err(|e| told(&e))?;
    let bytes = there.as_os_str().as_bytes();
    let found = view.look_up(&index, bytes).map_err(|e| told(&e))?;
    let Some(Object::Node(part, row)) = found else {
        return Err(format!("{} was not there then, or is above the sources", path::show(bytes)));
    };
    let part = &view.parts[part];
    let frames = Frames::of(doing.ground.at.clone(), FRAMES);
    let mut comparing = Comparing {
        doing,
        index: &index,
        frames: &frames,
        at: (part.source.num, part.snapshot.number),
        differ: Vec::new(),
        amount: Amount::default(),
    };
    doing.progress.start("comparing", None);
    comparing.all(*row, here.to_owned())?;
    doing.progress.finish();
    let Comparing { differ, amount, .. } = comparing;
    match differ.is_empty() {
        true => Ok(Did { amount, told: Some(format!("{} file(s) are the same", amount.files)), ..Did::default() }),
        false => Err(format!(
            "{} differ(s): {}",
            differ.len(),
            differ.iter().take(20).cloned().collect::<Vec<_>>().join("; ")
        )),
    }
}

struct Comparing<'a> {
    doing: &'a Doing<'a>,
    index: &'a Reader,
    frames: &'a Frames,
    at: (SourceNum, Snap),
    differ: Vec<String>,
    amount: Amount,
}

impl Comparing<'_> {
    fn all(&mut self, row: Row, here: PathBuf) -> Result<(), String> {
        let mut open = vec![(row, here)];
        while let Some((row, here)) = open.pop() {
            if self.doing.stopped() {
                return Err("it was stopped".into());
            }
            if self.differ.len() >= TOLD_MAX {
                return Ok(());
            }
            let meta = match std::fs::symlink_metadata(&here) {
                Ok(meta) => meta,
                Err(e) => {
                    self.differs(&here, &e.to_string());
                    continue;
                }
            };
            if Kind::from_mode(meta.mode()) != Some(row.attr.kind()) || meta.mode() != row.attr.mode {
                self.differs(&here, "its type or mode is another");
                continue;
            }
            match row.attr.kind() {
                Kind::Dir => open.extend(self.dir(&row, &here)?),
                Kind::File => self.file(&row, &here)?,
                Kind::Symlink => {
                    let target = content::link_target(self.index, &row).map_err(|e| told(&e))?;
                    if std::fs::read_link(&here).map_err(|e| e.to_string())?.as_os_str().as_bytes() != target {
                        self.differs(&here, "it leads elsewhere");
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn differs(&mut self, here: &Path, how: &str) {
        self.differ.push(format!("{}: {how}", path::show(here.as_os_str().as_bytes())));
    }

    /// What lies in a directory of both.
    fn dir(&mut self, row: &Row, here: &Path) -> Result<Vec<(Row, PathBuf)>, String> {
        let rows = self.index.children(self.at.0, row.node, self.at.1).map_err(|e| told(&e))?;
        // A socket is noted and never captured.
        let rows = rows.into_iter().filter(|row| row.attr.kind() != Kind::Socket);
        let mut rows: BTreeMap<OsString, Row> =
            rows.map(|row| (OsStr::from_bytes(&row.name).to_owned(), row)).collect();
        let mut both = Vec::new();
        let failed = |e: std::io::Error| format!("cannot list {}: {e}", here.display());
        for entry in std::fs::read_dir(here).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // What a restore of this run has replaced is kept there until the run is over.
            if path::is_beside(name.as_bytes()) {
                continue;
            }
            match rows.remove(&name) {
                Some(row) => both.push((row, here.join(name))),
                None => self.differs(&here.join(name), "it was not there"),
            }
        }
        for name in rows.into_keys() {
            self.differs(&here.join(name), "it is missing");
        }
        Ok(both)
    }

    fn file(&mut self, row: &Row, here: &Path) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("cannot read {}: {e}", here.display());
        let file = File::open(here).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != row.attr.size {
            self.differs(here, "its size is another");
            return Ok(());
        }
        let (doing, mut bytes) = (self.doing, 0);
        let mut goes_on = |n| {
            doing.progress.add(0, n);
            bytes += n;
            !doing.stopped()
        };
        let differs = first_difference((self.index, self.frames), (row.source, row.ver), &file, &mut goes_on);
        self.amount.bytes += bytes;
        if let Some(at) = differs.map_err(|why| format!("{}: {why}", here.display()))? {
            self.differs(here, &format!("its content is another, from byte {at} on"));
            return Ok(());
        }
        self.doing.progress.add(1, 0);
        self.amount.files += 1;
        Ok(())
    }
}

/// The first byte at which a file differs from a version, whose size is the same. `goes_on` hears how many bytes were compared, and
/// says whether to go on.
pub(in crate::plan) fn first_difference(
    (index, frames): (&Reader, &Frames),
    (source, ver): (SourceNum, Ver),
    file: &File,
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<u64>, String> {
    let content = Content::open(index, source, ver).map_err(|e| told(&e))?;
    let (mut want, mut got) = (Vec::new(), vec![0; PIECE]);
    for at in (0..content.size).step_by(PIECE) {
        want.clear();
        content.read(index, frames, at, PIECE, &mut want).map_err(|e| told(&e))?;
        file.read_exact_at(&mut got[..want.len()], at).map_err(|e| format!("cannot read it: {e}"))?;
        if let Some(n) = got.iter().zip(&want).position(|(got, want)| got != want) {
            return Ok(Some(at + n as u64));
        }
        if !goes_on(want.len() as u64) {
            return Err("it was stopped".into());
        }
    }
    Ok(None)
}
