//! The output of a command as a file: complete, or as it was before.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::sys::child::{Ended, Order};
use crate::sys::{dir, make};

/// Runs `order` and makes what it prints the file `name` in `dir`, if it ends well and has printed something or need not.
/// Whether the file is another one now; a file with the same content stays untouched. Otherwise why not, and the file stays as
/// it is.
pub(super) fn into_file(
    order: Order,
    dir: &Path,
    name: &str,
    allow_empty: bool,
    stop: &AtomicBool,
) -> Result<bool, String> {
    let cannot = |doing: &'static str| move |e: io::Error| format!("cannot {doing}: {e}");
    let at = dir::open_root(dir).map_err(cannot("open the directory it goes to"))?;
    let (temp, fd) = make::with_temp_name(|temp| make::file(&at, temp)).map_err(cannot("make a file for it"))?;
    let result = (|| {
        let to = fd.try_clone().map_err(cannot("make a file for it"))?;
        let ended = order.out(to).run(stop).map_err(cannot("run it"))?;
        let file = File::from(fd);
        judge(&ended, &file, allow_empty)?;
        if is_same(&file, &dir.join(name)).map_err(cannot("compare it with what was there"))? {
            return Ok(false);
        }
        make::sync(&file).map_err(cannot("sync what it printed"))?;
        make::rename(&at, &temp, &at, name.as_bytes(), make::Taken::Replace)
            .and_then(|()| make::sync(&at))
            .map_err(cannot("put in place what it printed"))?;
        Ok(true)
    })();
    if !matches!(result, Ok(true)) {
        // A name that is left over is known by its form, and is no part of any snapshot.
        let _ = make::unlink(&at, &temp);
    }
    result
}

fn judge(ended: &Ended, printed: &File, allow_empty: bool) -> Result<(), String> {
    if !ended.is_good() {
        return Err(ended.why());
    }
    let len = printed.metadata().map_err(|e| format!("cannot look at what it printed: {e}"))?.len();
    match len == 0 && !allow_empty {
        true => Err("it ended well and printed nothing; allow-empty = true says that this is a result".into()),
        false => Ok(()),
    }
}

/// Whether two files have the same content; one that is not there has not.
fn is_same(new: &File, old: &Path) -> io::Result<bool> {
    let old = match File::open(old) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    if old.metadata()?.len() != new.metadata()?.len() || !old.metadata()?.is_file() {
        return Ok(false);
    }
    let (mut a, mut b) = ([0; 1 << 16], [0; 1 << 16]);
    let (mut offset, mut old) = (0, old);
    loop {
        let n = crate::sys::read::read_at(new, &mut a, offset)?;
        if n == 0 {
            return Ok(true);
        }
        match old.read_exact(&mut b[..n]) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if a[..n] != b[..n] {
            return Ok(false);
        }
        offset += n as u64;
    }
}
