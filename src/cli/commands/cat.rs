//! `bygone cat`.

use std::sync::Arc;

use super::restore_what::before_change;
use crate::cli::args::history::Cat;
use crate::cli::context::Context;
use crate::cli::outcome::{Explain as _, Failure, Outcome};
use crate::cli::past::{Past, clean, kind_word};
use crate::index::rows::Row;
use crate::repo::frames::Frames;
use crate::types::{attr::Kind, path};
use crate::view::{
    ahead::Ahead,
    content::{Content, link_target},
    instant::Object,
};

/// So much is read and printed at a time, in bytes.
const STEP: usize = 1 << 20;
/// So many bytes of decoded frames are kept: a file may name a frame more than once.
const FRAMES: usize = 64 << 20;

/// Runs it.
pub fn run(context: &Context, args: &Cat) -> Result<Outcome, Failure> {
    let past = Past::open_of(context, &args.of)?;
    let wanted = clean(&args.path)?;
    let time = match args.before_change {
        true => before_change(context, (&past.at, &past.index), &past.whose, &wanted, &past.zone)?,
        false => past.time(&args.at)?,
    };
    let view = past.view(&time)?;
    let row = match view.look_up(&past.index, &wanted)? {
        Some(Object::Node(_, row)) if row.attr.kind() == Kind::File => row,
        Some(Object::Node(_, row)) => return Err(no_file(&past, &wanted, &row)?),
        Some(Object::Above) => return Err(directory(&wanted)),
        None => return Err(past.not_there(&wanted, &time)?),
    };
    if row.fuzzy {
        tracing::warn!(
            "{}: it changed while it was captured, or is a database of which there was no image: its content may mix two states",
            path::show(&wanted)
        );
    }
    print(context, &past, &wanted, &row)?;
    Ok(past.outcome)
}

fn print(context: &Context, past: &Past, wanted: &[u8], row: &Row) -> Result<(), Failure> {
    let mut out = context.out();
    let content = Content::open(&past.index, row.source, row.ver)?;
    let frames = Arc::new(Frames::of(past.at.clone(), FRAMES));
    let ahead = Ahead::new(&frames).explain(|| "cannot start the threads that read ahead")?;
    let (mut buffer, mut at) = (Vec::with_capacity(STEP), 0);
    while at < content.size && !out.closed() {
        buffer.clear();
        if let Some(ahead) = &ahead {
            ahead.reading(&past.index, (row.source, row.ver), &content, at, STEP)?;
        }
        let read = content.read(&past.index, &frames, at, STEP, &mut buffer);
        // What was read before the damage is printed: the status and the message say that it is not all.
        if let Err(e) = read {
            out.finish()?;
            let failure = Failure::new(format!("cannot print {} past byte {at}", path::show(wanted))).because(&e);
            return Err(match e.is_damage() {
                true => failure
                    .hint("`bygone verify` lists all damage; another version may be whole: `bygone log` lists them"),
                false => failure,
            });
        }
        out.bytes(&buffer)?;
        at += buffer.len() as u64;
    }
    out.finish()
}

fn directory(wanted: &[u8]) -> Failure {
    let shown = path::show(wanted);
    Failure::new(format!("{shown} was a directory"))
        .hint(format!("`bygone find '{shown}/*' --at TIME` lists what was in it"))
}

fn no_file(past: &Past, wanted: &[u8], row: &Row) -> Result<Failure, Failure> {
    let shown = path::show(wanted);
    Ok(match row.attr.kind() {
        Kind::Dir => directory(wanted),
        Kind::Symlink => {
            let target = path::show(&link_target(&past.index, row)?);
            Failure::new(format!("{shown} was a symbolic link to {target}")).hint("name the file itself")
        }
        kind => Failure::new(format!("{shown} was a {}, which has no content", kind_word(kind))),
    })
}
