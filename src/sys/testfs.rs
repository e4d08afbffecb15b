//! Real file systems for tests: the temporary directory, tmpfs, and images mounted through a loop device.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A place to work in; whatever it took is given back when it is dropped, also by a panic.
pub(crate) struct TestFs {
    /// `ext4`, ... or what the place is.
    pub(crate) kind: &'static str,
    path: PathBuf,
    mounted: bool,
    dir: TempDir,
}

impl TestFs {
    /// An empty directory on the file system.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory below the system's temporary directory.
    pub(crate) fn temporary() -> TestFs {
        let dir = tempfile::tempdir().unwrap();
        TestFs { kind: "temporary directory", path: dir.path().to_owned(), mounted: false, dir }
    }

    /// A new file system of this kind: `tmpfs`, or any that has a `mkfs`. `None`, and a line that says so, where it can't be
    /// made or mounted here.
    pub(crate) fn mount(kind: &'static str) -> Option<TestFs> {
        let dir = tempfile::tempdir().unwrap();
        let (image, point) = (dir.path().join("image"), dir.path().join("mnt"));
        std::fs::create_dir(&point).unwrap();
        let made = match kind {
            "tmpfs" => run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&point)),
            _ => make_image(kind, &image)
                .and_then(|()| run(Command::new("mount").args(["-t", kind, "-o", "loop"]).arg(&image).arg(&point))),
        };
        match made {
            Ok(()) => Some(TestFs { kind, path: point, mounted: true, dir }),
            Err(why) => {
                eprintln!("not tested on {kind}: {why}");
                None
            }
        }
    }

    /// Cuts the power under the file system (ext4, xfs) and mounts it again: what was not synced is gone. Nothing may be open
    /// on it.
    pub(crate) fn lose_power(&self) {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.path)).unwrap();
        run(Command::new("umount").arg(&self.path)).unwrap();
        let image = self.dir.path().join("image");
        run(Command::new("mount").args(["-t", self.kind, "-o", "loop"]).arg(image).arg(&self.path)).unwrap();
    }

    /// All that can be had here.
    pub(crate) fn all() -> impl Iterator<Item = TestFs> {
        let mounted = ["tmpfs", "ext4", "xfs", "btrfs"].into_iter().filter_map(TestFs::mount);
        std::iter::once(TestFs::temporary()).chain(mounted)
    }
}

impl Drop for TestFs {
    fn drop(&mut self) {
        if !self.mounted {
            return;
        }
        // The loop device goes with the mount; lazily if something still has a file open.
        let unmount = |options: &[&str]| run(Command::new("umount").args(options).arg(&self.path));
        if let Err(why) = unmount(&[]).or_else(|_| unmount(&["-l"])) {
            eprintln!("{} stays mounted: {why}", self.path.display());
        }
    }
}

fn make_image(kind: &str, image: &Path) -> Result<(), String> {
    let file = std::fs::File::create_new(image).map_err(|e| e.to_string())?;
    file.set_len(512 << 20).map_err(|e| e.to_string())?;
    run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(image))
}

fn run(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim()))
}

#[test]
fn a_panic_leaves_no_mount() {
    let Some(fs) = TestFs::mount("tmpfs") else { return };
    let path = fs.path().to_owned();
    let mounted = || {
        let all = crate::sys::mounts::mounts().unwrap();
        all.iter().any(|m| m.point == std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))
    };
    assert!(mounted());
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _fs = fs;
        panic!("on purpose");
    }));
    assert!(!mounted());
}
