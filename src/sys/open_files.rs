//! Who has something open in a mount, as far as `/proc` tells this process.

use crate::types::path;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A process that has something open.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct User {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Whether it has a file open for writing.
    pub writes: bool,
}

/// The processes that have a file open in the mount with this number; where `point` is given, also those that stand below it, or
/// run or map something there. This process itself, and one that ends meanwhile, is left out.
pub fn users_of(mount: u64, point: Option<&[u8]>) -> io::Result<Vec<User>> {
    let own = std::process::id();
    let mut users = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == own {
            continue;
        }
        if let Some(writes) = uses(&entry.path(), mount, point) {
            let name = fs::read(entry.path().join("comm")).unwrap_or_default();
            users.push(User { pid, name: path::show(name.trim_ascii()), writes });
        }
    }
    users.sort();
    Ok(users)
}

/// Whether a process uses it, and if so whether for writing.
fn uses(process: &Path, mount: u64, point: Option<&[u8]>) -> Option<bool> {
    let mut used = None;
    let id = format!("mnt_id:\t{mount}");
    for fd in fs::read_dir(process.join("fdinfo")).into_iter().flatten().flatten() {
        let Ok(text) = fs::read_to_string(fd.path()) else { continue };
        if text.lines().any(|line| line == id) {
            let flags = text.lines().find_map(|line| line.strip_prefix("flags:")?.trim().chars().last()?.to_digit(8));
            // The lowest two bits: read, write, both.
            let writes = flags.is_some_and(|digit| digit & 3 != 0);
            used = Some(used.unwrap_or(false) || writes);
        }
    }
    let Some(point) = point else { return used };
    let is_below = |path: &Path| path::is_within(path.as_os_str().as_bytes(), point);
    let stands =
        ["cwd", "root", "exe"].iter().any(|name| fs::read_link(process.join(name)).is_ok_and(|to| is_below(&to)));
    let maps = fs::read(process.join("maps")).unwrap_or_default();
    let mapped = maps.split(|b| *b == b'\n').any(|line| {
        let at = line.iter().position(|b| *b == b'/').unwrap_or(line.len());
        path::is_within(&line[at..], point) && !line[at..].is_empty()
    });
    if stands || mapped { Some(used.unwrap_or(false)) } else { used }
}
