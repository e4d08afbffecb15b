//! The other ways to a past instant: through the kernel, and by a restore.

use crate::{
    describe::{self, Depth},
    lab::{HOST, Lab},
    run::Kept,
};
use bygone::mount::{
    fs::Shown,
    inodes::Split,
    session::{self, MountOptions},
};
use bygone::progress::Quiet;
use bygone::restore::{
    act,
    mapping::Mapping,
    plan::{Plan, Request, Target},
};
use bygone::types::{
    time::Instant,
    when::{show::exact_name, zone::Zone},
};
use bygone::view::instant::View;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, sync::atomic::AtomicBool};

/// Every view through a mount.
pub(crate) fn mounted(lab: &Lab, kept: &[Kept]) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let dir = lab.dir().join("mnt");
    let shown = Shown {
        host: HOST.into(),
        exact: false,
        this_host: HOST.into(),
        zone: Zone::utc(),
        at: None,
        split: Split::default(),
    };
    let mount = session::mount(lab.at.clone(), &MountOptions { shown, allow_other: false }, &dir)
        .map_err(|e| format!("cannot mount: {e}"))?;
    let below = lab.root.strip_prefix("/").unwrap();
    let result = kept.iter().try_for_each(|k| {
        let view = dir.join(format!("@{}", exact_name(time_of(lab, k)))).join(below);
        let tree = describe::of_disk(&view);
        match describe::differences(&k.tree, &tree, Depth::Copy) {
            none if none.is_empty() => Ok(()),
            some => Err(format!("snapshot {} through the mount:\n{some}", k.snap)),
        }
    });
    mount.unmount().map_err(|e| e.to_string())?;
    result
}

/// Some of the views restored elsewhere, one over the other.
pub(crate) fn restored(lab: &Lab, kept: &[Kept], every: usize) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let index = lab.at.reader().unwrap();
    let to = lab.dir().join("restored");
    let name = Path::new(OsStr::from_bytes(lab.root.as_os_str().as_bytes())).file_name().unwrap();
    for k in kept.iter().step_by(every) {
        let _ = std::fs::remove_dir_all(&to);
        let view = View::open(&index, HOST, time_of(lab, k)).unwrap();
        let request = Request {
            view: &view,
            paths: &[lab.root.as_os_str().as_bytes().to_vec()],
            target: Target::To(to.clone()),
            mapping: &Mapping::default(),
            guarded: &[],
            spared: &|_, _| false,
            newest: None,
        };
        let plan = Plan::make(&index, &request).map_err(|e| e.to_string())?;
        let report = act::act(&lab.at, plan, &Quiet, &AtomicBool::new(false)).map_err(|e| e.to_string())?;
        if let Some(problem) = report.problems.first() {
            return Err(format!("restore of snapshot {}: {problem:?}", k.snap));
        }
        let differ = describe::differences(&k.tree, &describe::of_disk(&to.join(name)), Depth::Copy);
        if !differ.is_empty() {
            return Err(format!("restore of snapshot {}:\n{differ}", k.snap));
        }
    }
    Ok(())
}

fn time_of(lab: &Lab, kept: &Kept) -> Instant {
    lab.at.reader().unwrap().snapshot(lab.num(), kept.snap).unwrap().unwrap().time
}
