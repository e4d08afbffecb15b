//! Overlays: a directory that shows others, and takes what is written by itself.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use rustix::mount::MountFlags;

/// What an overlay is made of.
#[derive(Debug)]
pub struct Layers<'a> {
    /// What shows, the topmost first; never written.
    pub lower: &'a [&'a Path],
    /// The directory that takes what is written; it is made.
    pub upper: &'a Path,
    /// A directory beside it that the kernel works in; it is made.
    pub work: &'a Path,
    /// Whether a change of only the owner, mode or times of a file copies no data.
    pub data: bool,
}

/// Mounts one on the directory `to`. Owner and mode of the topmost directory are those of the first that shows.
pub fn mount(layers: &Layers<'_>, to: &Path) -> io::Result<()> {
    std::fs::create_dir(layers.upper)?;
    std::fs::create_dir(layers.work)?;
    if let Some(first) = layers.lower.first() {
        let meta = std::fs::metadata(first)?;
        chown(layers.upper, Some(meta.uid()), Some(meta.gid()))?;
        std::fs::set_permissions(layers.upper, std::fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    let lower: Vec<Vec<u8>> = layers.lower.iter().map(|dir| escaped(dir)).collect();
    let mut options = b"lowerdir=".to_vec();
    options.extend(lower.join(&b':'));
    options.extend([b",upperdir=".as_slice(), &escaped(layers.upper), b",workdir=", &escaped(layers.work)].concat());
    if layers.data {
        options.extend(b",metacopy=on");
    }
    let options = CString::new(options).map_err(|_| io::Error::other("a path has a NUL"))?;
    Ok(rustix::mount::mount("bygone", to, "overlay", MountFlags::empty(), Some(options.as_c_str()))?)
}

/// A text as an option.
pub(super) fn text(text: String) -> Option<CString> {
    CString::new(text).ok()
}

/// A path in options: what separates there is escaped.
fn escaped(path: &Path) -> Vec<u8> {
    let escape = |b: &u8| match b {
        b'\\' | b':' | b',' => vec![b'\\', *b],
        _ => vec![*b],
    };
    path.as_os_str().as_bytes().iter().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_each() {
        assert_eq!(escaped(Path::new("/a,b:c\\d")), br"/a\,b\:c\\d");
    }
}
