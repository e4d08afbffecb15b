//! How much of the time somebody on this machine waits for the disk, the processors or memory, as `/proc/pressure` tells it.

use std::{io, path::Path, time::Duration};

/// For how long, since the machine was started, at least one thread has waited for each of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stalled {
    /// The disk.
    pub io: Duration,
    /// The processors.
    pub cpu: Duration,
    /// Memory.
    pub memory: Duration,
}

/// What is told now. `Unsupported` where the kernel does not tell (it is built without, or `psi=0` was given to it).
pub fn stalled() -> io::Result<Stalled> {
    stalled_in(Path::new("/proc/pressure"))
}

fn stalled_in(dir: &Path) -> io::Result<Stalled> {
    let one = |name: &str| {
        let path = dir.join(name);
        let text = std::fs::read_to_string(&path).map_err(|e| match e.raw_os_error() {
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPERM | libc::EACCES) => {
                io::Error::new(io::ErrorKind::Unsupported, format!("{}: {e}", path.display()))
            }
            _ => e,
        })?;
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{} has no total", path.display()));
        some_total(&text).ok_or_else(wrong)
    };
    Ok(Stalled { io: one("io")?, cpu: one("cpu")?, memory: one("memory")? })
}

/// The total of the line `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, which is in microseconds.
fn some_total(text: &str) -> Option<Duration> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = line.split_whitespace().find_map(|field| field.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let text =
            "some avg10=1.79 avg60=5.59 avg300=30.71 total=9391763786\nfull avg10=0.00 avg60=0 avg300=0 total=7\n";
        assert_eq!(some_total(text), Some(Duration::from_micros(9_391_763_786)));
        for wrong in ["", "full avg10=0.00 total=7", "some avg10=1.0", "some total=x"] {
            assert_eq!(some_total(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn this_machine_tells_or_says_that_it_does_not() {
        match stalled() {
            Ok(first) => {
                let second = stalled().unwrap();
                assert!(second.io >= first.io && second.cpu >= first.cpu && second.memory >= first.memory);
            }
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::Unsupported, "{e}"),
        }
    }

    #[test]
    fn a_kernel_that_does_not_tell_is_no_other_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let e = stalled_in(dir.path()).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::Unsupported);
        assert!(e.to_string().contains("/io: No such file"), "{e}");
    }
}
