//! File systems on loop devices, unmounted when the test ends, also by a panic.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted image.
pub(crate) struct LoopFs {
    pub(crate) kind: &'static str,
    image: PathBuf,
    point: PathBuf,
    _dir: Option<tempfile::TempDir>,
}

/// Runs a command that must succeed; what it said otherwise.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim()))
}

impl LoopFs {
    /// A new file system of this kind and size. `None`, and a line that says so, for a user who can't; for root it must
    /// be possible.
    pub(crate) fn make(kind: &'static str, mib: u64) -> Option<LoopFs> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tested on {kind}: only root can mount");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let (image, point) = (dir.path().join("image"), dir.path().join("mnt"));
        std::fs::create_dir(&point).unwrap();
        std::fs::File::create_new(&image).unwrap().set_len(mib << 20).unwrap();
        let made = run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image))
            .and_then(|()| LoopFs::mount(kind, &image, &point));
        match made {
            Ok(mut fs) => {
                fs._dir = Some(dir);
                Some(fs)
            }
            Err(why) => panic!("root can't make a {kind} to test on: {why}"),
        }
    }

    /// Mounts an image that is there.
    pub(crate) fn mount(kind: &'static str, image: &Path, point: &Path) -> Result<LoopFs, String> {
        run(Command::new("mount").args(["-t", kind, "-o", options(kind)]).arg(image).arg(point))?;
        Ok(LoopFs { kind, image: image.to_owned(), point: point.to_owned(), _dir: None })
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.point
    }

    /// The image it is in.
    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// Cuts the power under it (ext4, xfs): what was not synced is gone.
    pub(crate) fn cut_power(&self) {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.point)).unwrap();
    }

    /// Mounts it again after [`LoopFs::cut_power`].
    pub(crate) fn restore_power(&self) {
        run(Command::new("umount").arg(&self.point)).unwrap();
        run(Command::new("mount").args(["-t", self.kind, "-o", options(self.kind)]).arg(&self.image).arg(&self.point))
            .unwrap();
    }
}

fn options(kind: &str) -> &'static str {
    // A copy of an xfs image has the same id as the image, and is refused without this.
    if kind == "xfs" { "loop,nouuid" } else { "loop" }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        let unmount = |lazy: &[&str]| run(Command::new("umount").args(lazy).arg(&self.point));
        if let Err(why) = unmount(&[]).or_else(|_| unmount(&["-l"])) {
            eprintln!("{} stays mounted: {why}", self.point.display());
        }
    }
}
