//! Real file systems: the temporary directory, and images mounted through a loop device.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A place to work in; whatever it took is given back when it is dropped, also by a panic.
pub struct Place {
    /// `ext4`, ... or what the place is.
    pub kind: &'static str,
    path: PathBuf,
    mounted: bool,
    _dir: tempfile::TempDir,
}

impl Place {
    /// A directory below the system's temporary directory.
    pub fn temporary() -> Place {
        let dir = tempfile::tempdir().unwrap();
        Place { kind: "temporary directory", path: dir.path().canonicalize().unwrap(), mounted: false, _dir: dir }
    }

    /// A new file system of this kind. `None`, and a line that says so, where it can't be made or mounted here.
    pub fn mount(kind: &'static str) -> Option<Place> {
        Place::mount_sized(kind, 600)
    }

    /// A new file system of so many MiB.
    pub fn mount_sized(kind: &'static str, mib: u64) -> Option<Place> {
        let dir = tempfile::tempdir().unwrap();
        let (image, point) = (dir.path().join("image"), dir.path().join("mnt"));
        std::fs::create_dir(&point).unwrap();
        let file = std::fs::File::create_new(&image).unwrap();
        file.set_len(mib << 20).unwrap();
        let made = run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image))
            .and_then(|()| run(Command::new("mount").args(["-t", kind, "-o", "loop"]).arg(&image).arg(&point)));
        match made {
            Ok(()) => Some(Place { kind, path: point.canonicalize().unwrap(), mounted: true, _dir: dir }),
            Err(why) => {
                eprintln!("not tested on {kind}: {why}");
                None
            }
        }
    }

    /// The temporary directory, ext4, xfs and btrfs, as far as they can be had.
    pub fn all() -> impl Iterator<Item = Place> {
        std::iter::once(Place::temporary()).chain(["ext4", "xfs", "btrfs"].into_iter().filter_map(Place::mount))
    }

    /// An empty directory on the file system.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let unmount = |options: &[&str]| run(Command::new("umount").args(options).arg(&self.path));
        if self.mounted
            && let Err(why) = unmount(&[]).or_else(|_| unmount(&["-l"]))
        {
            eprintln!("{} stays mounted: {why}", self.path.display());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match out.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim())),
    }
}
