//! WAL for a server that recovers: it asks by making a file, and is given what it asked for. The key stays with bygone, and the server
//! needs nothing of the repository.

use crate::plan::ground::{Ground, told};
use crate::produce::{past, wal};
use crate::sys::durable;
use crate::view::whose::Whose;
use std::path::{Path, PathBuf};

/// The program that the server calls.
const FETCH: &str = "#!/bin/sh
# Asks for a file of WAL and waits for it: fetch NAME PATH. A status above 125 ends the recovery.
case \"$2\" in /*) to=$2 ;; *) to=$PWD/$2 ;; esac
cd \"$(dirname \"$0\")\" || exit 254
: >\"asked/$1\" || exit 254
while [ ! -e \"given/$1\" ] && [ ! -e \"given/$1.none\" ]; do
    [ -d /proc/PROCESS ] || exit 255
    sleep 0.02
done
status=1
if [ -e \"given/$1\" ]; then
    cp \"given/$1\" \"$to\" && status=0 || status=254
fi
rm -f \"asked/$1\"
exit $status
";

/// The two directories, and what was given.
pub(super) struct Feed {
    dir: PathBuf,
    wal: PathBuf,
    whose: Whose,
    given: Vec<String>,
    /// So many files were given.
    pub(super) count: u64,
    /// So many bytes.
    pub(super) bytes: u64,
}

impl Feed {
    /// Makes what is needed in `dir`; the server's user gets `asked` from the caller.
    pub(super) fn new(dir: &Path, wal: PathBuf, whose: Whose) -> Result<Feed, String> {
        for name in ["asked", "given"] {
            durable::create_dirs(&dir.join(name), 0o755).map_err(|e| e.to_string())?;
        }
        let script = FETCH.replace("PROCESS", &std::process::id().to_string());
        durable::replace(&dir.join("fetch"), script.as_bytes(), 0o755).map_err(|e| e.to_string())?;
        Ok(Feed { dir: dir.to_owned(), wal, whose, given: Vec::new(), count: 0, bytes: 0 })
    }

    /// The command of the server that calls the program.
    pub(super) fn command(&self) -> String {
        format!("\"{}\" \"%f\" \"%p\"", self.dir.join("fetch").display())
    }

    /// The directory in which it asks.
    pub(super) fn asked(&self) -> PathBuf {
        self.dir.join("asked")
    }

    /// Gives all that is asked for, and takes away what was taken.
    pub(super) fn serve(&mut self, ground: &Ground<'_>) -> Result<(), String> {
        let asked = self.asked();
        let failed = |e: std::io::Error| format!("cannot read {}: {e}", asked.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&asked).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if wal::is_wal(&name) {
                names.push(name);
            }
        }
        for name in &names {
            if !self.given.contains(name) {
                self.give(ground, name)?;
            }
        }
        let dir = self.dir.join("given");
        let mut result = Ok(());
        self.given.retain(|name| {
            if names.contains(name) {
                return true;
            }
            for file in [name.clone(), format!("{name}.none")] {
                if let Err(e) = durable::remove(&dir.join(file)) {
                    result = Err(e.to_string());
                }
            }
            false
        });
        result
    }

    fn give(&mut self, ground: &Ground<'_>, name: &str) -> Result<(), String> {
        let index = ground.at.reader().map_err(|e| told(&e))?;
        let found = past::read(&ground.at, &index, &self.whose, &self.wal, name).map_err(|e| told(&e))?;
        let dir = self.dir.join("given");
        let written = match &found {
            Some(bytes) => durable::replace(&dir.join(name), bytes, 0o644),
            None => durable::replace(&dir.join(format!("{name}.none")), b"", 0o644),
        };
        written.map_err(|e| e.to_string())?;
        if let Some(bytes) = found {
            (self.count, self.bytes) = (self.count + 1, self.bytes + bytes.len() as u64);
        }
        self.given.push(name.to_owned());
        Ok(())
    }
}
