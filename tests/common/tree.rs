//! A tree as text, with all that a restore has to bring back.

use bygone::sys::{
    dir::{self, Listing},
    meta, read, stat,
};
use bygone::types::{
    attr::{Kind, Place, Xattrs},
    path::show,
};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Each path below `root`, and everything about it but inode numbers and times that nobody can set.
pub fn describe(root: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut links: HashMap<Place, String> = HashMap::new();
    walk(&dir::open(root).unwrap(), ".", &mut links, &mut out);
    out
}

fn walk(fd: &OwnedFd, path: &str, links: &mut HashMap<Place, String>, out: &mut BTreeMap<String, String>) {
    let now = stat::of(fd).unwrap();
    let about = format!(
        "{:o} {}:{} {:?} {:x} {:?}",
        now.mode,
        now.uid,
        now.gid,
        now.mtime,
        meta::flags(fd).unwrap() & meta::SETTABLE_FLAGS,
        shown(&meta::xattrs(fd).unwrap())
    );
    out.insert(path.to_owned(), about);
    let (mut listing, mut buf) = (Listing::new(), Vec::new());
    dir::list(fd, &mut buf, &mut listing).unwrap();
    listing.sort_by_name();
    for entry in listing.iter() {
        let below = format!("{path}/{}", show(entry.name));
        let now = stat::at(fd, entry.name).unwrap();
        if now.kind() == Some(Kind::Dir) {
            walk(&dir::open_at(fd, entry.name).unwrap(), &below, links, out);
            continue;
        }
        let mut about = format!("{:o} {}:{} {:?} {} {:x}", now.mode, now.uid, now.gid, now.mtime, now.size, now.rdev);
        match now.kind() {
            Some(Kind::File) => {
                let file = read::open(fd, entry.name).unwrap();
                let flags = meta::flags(&file).unwrap() & meta::SETTABLE_FLAGS;
                about.push_str(&format!(" {flags:x} {:?} {}", shown(&meta::xattrs(&file).unwrap()), content(&file)));
            }
            Some(Kind::Symlink) => {
                about.push_str(&format!(" -> {}", show(&meta::link_target(fd, entry.name).unwrap())));
                about.push_str(&format!(" {:?}", shown(&meta::xattrs_at(fd, entry.name).unwrap())));
            }
            _ => about.push_str(&format!(" {:?}", shown(&meta::xattrs_at(fd, entry.name).unwrap()))),
        }
        if now.nlink > 1 {
            let first = links.entry(now.place).or_insert_with(|| below.clone());
            about.push_str(&format!(" = {first}"));
        }
        out.insert(below, about);
    }
}

fn shown(xattrs: &Xattrs) -> Vec<String> {
    xattrs.iter().map(|(name, value)| format!("{}={}", show(name), show(value))).collect()
}

/// The hash of the data of a file and where it lies.
fn content(file: &OwnedFd) -> String {
    let now = stat::of(file).unwrap();
    let mut hasher = blake3::Hasher::new();
    let mut runs = Vec::new();
    for segment in read::Segments::new(file, &now) {
        let segment = segment.unwrap();
        runs.push(format!("{}-{}", segment.start, segment.end));
        let mut buf = vec![0; 1 << 20];
        let mut at = segment.start;
        while at < segment.end {
            let want = (segment.end - at).min(1 << 20) as usize;
            let got = read::read_at(file, &mut buf[..want], at).unwrap();
            assert!(got > 0);
            hasher.update(&buf[..got]);
            at += got as u64;
        }
    }
    // Where holes lie is part of it, once they are larger than what file systems allocate at once.
    let runs = if now.size >= 4 << 20 { runs.join(",") } else { String::new() };
    format!("{} {runs}", hasher.finalize())
}
