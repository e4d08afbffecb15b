//! Contents followed to their chunks, and the files that need something damaged.

use crate::index::{check::FileRow, error::IndexError, rows::Piece, tree::Reader};
use crate::types::{
    ids::{Node, Snap, SourceNum},
    path,
    snapshot::Source,
};
use crate::verify::report::{Affected, AffectedFile, Report};
use std::collections::{HashMap, HashSet};

/// How many files of each problem are named.
const NAMED: usize = 5;
/// No path has more components: a longer way up is a loop.
const DEPTH_MAX: usize = 1 << 16;

/// Follows every content, and notes with each damaged frame the files that need it.
pub(super) fn check(index: &Reader, bad: &HashMap<i64, usize>, report: &mut Report) -> Result<(), IndexError> {
    let (mut chunks, mut bad_chunks) = (Chunks::default(), HashMap::new());
    index.each_chunk(|chunk, frame| {
        chunks.add(chunk);
        if let Some(problem) = bad.get(&frame) {
            bad_chunks.insert(chunk, *problem);
        }
    })?;
    let mut hits: HashMap<usize, (u64, Vec<FileRow>)> = HashMap::new();
    let mut broken: (u64, Vec<FileRow>, String) = Default::default();
    let mut files = 0;
    index.each_file(|row, pieces| {
        files += 1;
        match follow(&row, pieces, &chunks) {
            Ok(pieces) => {
                let mut seen = HashSet::new();
                for problem in pieces.iter().filter_map(|p| bad_chunks.get(&chunk_of(p)?)) {
                    if seen.insert(*problem) {
                        note(hits.entry(*problem).or_default(), &row);
                    }
                }
            }
            Err(why) => {
                broken.2 = why;
                let mut hit = (broken.0, std::mem::take(&mut broken.1));
                note(&mut hit, &row);
                (broken.0, broken.1) = hit;
            }
        }
    })?;
    report.files = files;
    let sources = index.sources()?;
    for (problem, (count, rows)) in hits {
        report.problems[problem].files = named(index, &sources, count, &rows)?;
    }
    if broken.0 > 0 {
        let files = named(index, &sources, broken.0, &broken.1)?;
        let problem = report.problem("index", "contents", &broken.2);
        problem.files = files;
        problem.advise("make the index anew with `bygone index rebuild`: the repository has everything it needs");
    }
    Ok(())
}

/// A version of a file under one of its names that needs one of some chunks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Needing {
    /// The source.
    pub source: SourceNum,
    /// The file, with its first and last snapshot.
    pub file: AffectedFile,
    /// Which of the chunks, by row.
    pub chunks: Vec<i64>,
}

/// All versions of files that need one of these chunks, by row, under each of their names.
pub fn needing(index: &Reader, chunks: &HashSet<i64>) -> Result<Vec<Needing>, IndexError> {
    let mut hits: Vec<(FileRow, Vec<i64>)> = Vec::new();
    if chunks.is_empty() {
        return Ok(Vec::new());
    }
    index.each_file(|row, pieces| {
        // A content that can't be followed is a problem of its own.
        let mut of_it: Vec<i64> = pieces.iter().flatten().filter_map(chunk_of).filter(|n| chunks.contains(n)).collect();
        if !of_it.is_empty() {
            of_it.sort_unstable();
            of_it.dedup();
            hits.push((row, of_it));
        }
    })?;
    let sources = index.sources()?;
    let mut all = Vec::new();
    for (row, chunks) in hits {
        all.push(Needing { source: row.source, file: file(index, &sources, &row)?, chunks });
    }
    all.sort_by(|a, b| (&a.file.host, &a.file.path, a.file.from).cmp(&(&b.file.host, &b.file.path, b.file.from)));
    Ok(all)
}

/// The chunks that there are: rows are numbered densely, so a few runs hold them all.
#[derive(Default)]
struct Chunks(Vec<(i64, i64)>);

impl Chunks {
    /// Adds the next higher row.
    fn add(&mut self, chunk: i64) {
        match self.0.last_mut() {
            Some((_, last)) if *last + 1 == chunk => *last = chunk,
            _ => self.0.push((chunk, chunk)),
        }
    }

    fn has(&self, chunk: i64) -> bool {
        let at = self.0.partition_point(|(first, _)| *first <= chunk);
        at > 0 && self.0[at - 1].1 >= chunk
    }
}

fn chunk_of(piece: &Piece) -> Option<i64> {
    match piece {
        Piece::Chunk { num, .. } => Some(*num),
        Piece::Hole(_) => None,
    }
}

fn follow(row: &FileRow, pieces: Result<Vec<Piece>, IndexError>, chunks: &Chunks) -> Result<Vec<Piece>, String> {
    let pieces = pieces.map_err(|e| e.to_string())?;
    if pieces.iter().filter_map(chunk_of).any(|chunk| !chunks.has(chunk)) {
        return Err("a content names a chunk that is not there".into());
    }
    let total = pieces.iter().try_fold(0u64, |n, piece| n.checked_add(piece.len()));
    match total == Some(row.size) {
        true => Ok(pieces),
        false => Err("a content does not add up to the size of its file".into()),
    }
}

fn note((count, some): &mut (u64, Vec<FileRow>), row: &FileRow) {
    *count += 1;
    if some.len() < NAMED {
        some.push(row.clone());
    }
}

fn named(index: &Reader, sources: &[Source], count: u64, rows: &[FileRow]) -> Result<Affected, IndexError> {
    let some = rows.iter().map(|row| file(index, sources, row)).collect::<Result<_, _>>()?;
    Ok(Affected { count, some })
}

fn file(index: &Reader, sources: &[Source], row: &FileRow) -> Result<AffectedFile, IndexError> {
    let source = sources.iter().find(|s| s.num == row.source);
    let below = path_below(index, row.source, row.parent, &row.name, row.from)?;
    Ok(AffectedFile {
        host: source.map(|s| s.host.clone()).unwrap_or_default(),
        path: path::join(source.map_or(b"", |s| &s.root), &below),
        from: row.from.0,
        to: row.to.map(|to| to.0),
    })
}

/// The path of a name below the root of its source, as of a snapshot.
fn path_below(index: &Reader, source: SourceNum, parent: Node, name: &[u8], snap: Snap) -> Result<Vec<u8>, IndexError> {
    let mut names = vec![name.to_vec()];
    let mut at = parent;
    while at != Node::ROOT && names.len() < DEPTH_MAX {
        let Some(row) = index.node(source, at, snap)? else { break };
        at = row.parent;
        names.push(row.name);
    }
    names.reverse();
    Ok(names.join(&b'/'))
}
