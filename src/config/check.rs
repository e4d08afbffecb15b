//! What a configuration that reads well still gets wrong, compared with the file system.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::error::Place;
use super::model::{Config, KeyFrom, Source};
use super::patterns;
use super::roles::{Role, Who};
use super::site::{Site, is_one_place};
use crate::sys::users;
use crate::types::path::{is_within, relation};
use crate::types::when::zone::Zone;

/// Something wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub cure: String,
}

/// All problems of a configuration, in the order of the file; none means that it can be used. A repository that is not made
/// yet is no problem, and neither is a repository inside a source: it is never captured.
pub fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(repository(config));
    problems.extend(key(config));
    problems.extend(zone(config));
    problems.extend(socket(config));
    for source in &config.sources {
        problems.extend(directory(source));
        problems.extend(patterns::errors(&source.exclude, &source.include).into_iter().map(|e| Problem {
            place: source.at.clone(),
            what: format!("source {}: {} pattern {:?}: {}", source.path.display(), e.list, e.pattern, e.why),
            cure: "write it as gitignore has it, relative to the source".into(),
        }));
    }
    problems.extend(overlaps(&config.sources));
    problems.extend(names(&config.sources));
    problems.extend(own(config));
    problems.extend(mount(config));
    problems.extend(sites(config));
    problems
}

/// The sites that are the repository by another name, or another site: what is lost with one is lost with the other.
fn sites(config: &Config) -> Vec<Problem> {
    let problem = |(n, site): (usize, &Site)| {
        let other = match is_one_place(&site.repository, &config.repository) {
            true => "the repository".to_owned(),
            false => {
                let found = config.sites[..n].iter().find(|o| is_one_place(&o.repository, &site.repository))?;
                format!("the site {:?}", found.name)
            }
        };
        Some(Problem {
            place: site.at.clone(),
            what: format!(
                "the site {:?}, {}, is in the same place as {other}, by a link or a mount",
                site.name, site.repository
            ),
            cure: "name another place for the copy: this one would be lost with it".into(),
        })
    };
    config.sites.iter().enumerate().filter_map(problem).collect()
}

/// The directory of the mount where it would hide a source, or is no place apart from bygone's own directories. It may lie inside of
/// a source: what is mounted there is never captured.
pub fn mount(config: &Config) -> Vec<Problem> {
    let Some(at) = &config.mount.at else { return Vec::new() };
    let real = real_path(at);
    let sources = config.sources.iter().map(|source| ("source", source.path.as_path()));
    let problem = |(name, dir): (&str, &Path)| {
        let other = real_path(dir);
        let how = relation(real.as_os_str().as_bytes(), other.as_os_str().as_bytes())?;
        if name == "source" && !below(&other, &real) {
            return None;
        }
        Some(Problem {
            place: config.mount_dir_at.clone(),
            what: format!("[mount] at: {} {how} the {name} {}", at.display(), dir.display()),
            cure: "choose a directory apart from it, which the mount would not hide".into(),
        })
    };
    sources.chain(config.own_dirs()).filter_map(problem).collect()
}

/// The users and groups of roles that this system does not know. They may be made later, and until then give nobody anything.
pub fn unknown_names(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for role in Role::ALL {
        for who in config.roles.of(role) {
            let (sort, name, found) = match who {
                Who::User(name) => ("user", name, users::uid_of(name)),
                Who::Group(name) => ("group", name, users::gid_of(name)),
                Who::Uid(_) | Who::Gid(_) => continue,
            };
            let what = match found {
                Ok(Some(_)) => continue,
                Ok(None) => format!("[roles] {role}: this system knows no {sort} {name:?}"),
                Err(e) => format!("[roles] {role}: cannot look up the {sort} {name:?}: {e}"),
            };
            let cure = format!("make the {sort}, or correct the name: until then it gives nobody anything");
            problems.push(Problem { place: Place::whole(&config.path), what, cure });
        }
    }
    problems
}

/// The sources that are the repository or the state directory, or lie inside one: nothing of them is ever captured.
pub fn own(config: &Config) -> Vec<Problem> {
    let own = config.own_dirs();
    let inside = |source: &Source| {
        let real = real_path(&source.path);
        own.iter().copied().find(|(_, dir)| below(&real, &real_path(dir)))
    };
    let problem = |source: &Source| {
        let (name, dir) = inside(source)?;
        let same = real_path(&source.path) == real_path(dir);
        let (path, how) = (source.path.display(), if same { "is" } else { "lies inside" });
        Some(Problem {
            place: source.at.clone(),
            what: format!("source {path} {how} the {name} {}", dir.display()),
            cure: "remove it from the sources: what bygone keeps there is never captured".into(),
        })
    };
    config.sources.iter().filter(|s| !s.in_state).filter_map(problem).collect()
}

/// The longest path of a socket, in bytes: unix(7), `sun_path` with its end.
const SOCKET_MAX: usize = 107;

/// The socket where its path is longer than that of a socket can be.
fn socket(config: &Config) -> Option<Problem> {
    let len = config.socket.as_os_str().len();
    (len > SOCKET_MAX).then(|| Problem {
        place: config.socket_at.clone(),
        what: format!(
            "the socket {} has a path of {len} bytes, and that of a socket has {SOCKET_MAX} at most",
            config.socket.display()
        ),
        cure: "name a shorter one as `socket` in [daemon]: it lies in the state directory where none is named".into(),
    })
}

/// The time zone where there is none of its name.
pub fn zone(config: &Config) -> Option<Problem> {
    let e = Zone::named(config.mount.zone.as_deref()?).err()?;
    let what = format!("[mount] zone: {e}");
    let (what, cure) = what.split_once("; ").unwrap_or((&what, "give a name such as Europe/Berlin"));
    Some(Problem { place: config.mount_zone_at.clone(), what: what.to_owned(), cure: cure.to_owned() })
}

/// The sources that are the same directory as an earlier one, or lie inside another; links are followed. A file of both
/// would be captured twice.
pub fn overlaps(sources: &[Source]) -> Vec<Problem> {
    let real: Vec<PathBuf> = sources.iter().map(|s| real_path(&s.path)).collect();
    let mut problems = Vec::new();
    for (n, source) in sources.iter().enumerate() {
        for (m, other) in sources.iter().enumerate().filter(|(m, _)| *m != n) {
            let same = real[n] == real[m];
            // What another one never captures, since it lies in the state directory, can't be captured twice.
            let apart = source.in_state;
            let what = match (same, below(&real[n], &real[m]) && !apart) {
                (true, _) if m < n => format!("source {} is given twice", source.path.display()),
                (false, true) => {
                    format!("source {} lies inside source {}", source.path.display(), other.path.display())
                }
                _ => continue,
            };
            let cure = "keep one of the two: everything below a source is captured with it".into();
            problems.push(Problem { place: source.at.clone(), what, cure });
        }
    }
    problems
}

/// The sources that have the name of an earlier one: who names one would get the other.
pub fn names(sources: &[Source]) -> Vec<Problem> {
    let problem = |(n, source): (usize, &Source)| {
        let name = source.name.as_deref()?;
        // One that is given twice is told so.
        let is_other = |other: &&Source| other.name.as_deref() == Some(name) && other.path != source.path;
        let other = sources.iter().take(n).find(is_other)?;
        Some(Problem {
            place: source.at.clone(),
            what: format!("source {} has the name {name:?} of source {}", source.path.display(), other.path.display()),
            cure: "give each a name of its own".into(),
        })
    };
    sources.iter().enumerate().filter_map(problem).collect()
}

fn repository(config: &Config) -> Option<Problem> {
    let path = config.repository.dir()?;
    (path.exists() && !path.is_dir()).then(|| Problem {
        place: Place::whole(&config.path),
        what: format!("the repository {} is not a directory", path.display()),
        cure: "name a directory".into(),
    })
}

/// The key where it is missing, or where it should not be.
pub fn key(config: &Config) -> Option<Problem> {
    let (KeyFrom::File(path) | KeyFrom::PassphraseFile(path)) = &config.key else { return None };
    let problem = |what, cure: &str| Some(Problem { place: Place::whole(&config.path), what, cure: cure.into() });
    let repository = config.repository.dir()?;
    if below(&real_path(path), &real_path(repository)) {
        return problem(
            format!("the key {} lies inside the repository {}", path.display(), repository.display()),
            "keep it elsewhere: whoever gets the repository must not get the key with it",
        );
    }
    // The key of a repository that is not made yet is made with it.
    if repository.exists() && !path.exists() {
        return problem(
            format!("the key {} is not there, and the repository {} is", path.display(), repository.display()),
            "put back the copy of the key that you keep elsewhere, or name the file where it is",
        );
    }
    None
}

fn directory(source: &Source) -> Option<Problem> {
    let (what, cure) = match std::fs::metadata(&source.path) {
        Ok(meta) if meta.is_dir() => return None,
        Ok(_) => ("is not a directory".to_owned(), "name the directory it lies in, and leave out what is not meant"),
        // It is made when it is produced.
        Err(e) if source.kind.is_produced() && e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(e) => (format!("cannot be looked at: {e}"), "mount or make it, or remove it with bygone source remove"),
    };
    Some(Problem {
        place: source.at.clone(),
        what: format!("source {} {what}", source.path.display()),
        cure: cure.into(),
    })
}

/// The path with its links followed as far as it exists.
fn real_path(path: &Path) -> PathBuf {
    let mut rest: Vec<&OsStr> = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return rest.iter().rev().fold(real, |path, name| path.join(name));
        }
        rest.extend(ancestor.file_name());
    }
    path.to_owned()
}

fn below(path: &Path, dir: &Path) -> bool {
    is_within(path.as_os_str().as_bytes(), dir.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::{load, places};
    use super::*;

    /// The problems of `text` with `DIR` replaced by a directory that holds `a/`, `a/sub/`, `b/`, `file` and `link` to `a`.
    fn problems(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/sub", "b"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::fs::File::create(dir.path().join("file")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("link")).unwrap();
        let shown = dir.path().to_str().unwrap();
        let around = places::Surroundings { root: true, ..places::Surroundings::default() };
        let places = places::Places {
            state: dir.path().join("state"),
            key: dir.path().join("key"),
            ..places::Places::of(&around).unwrap()
        };
        let config = load::parse(&text.replace("DIR", shown), Path::new("/c.toml"), &places).unwrap();
        check(&config).iter().map(|p| format!("{}: {}", p.place, p.what).replace(shown, "DIR")).collect()
    }

    #[test]
    fn good_ones_have_none() {
        assert_eq!(problems(""), Vec::<String>::new());
        let text = "repository = \"DIR/a/repo\"\n[[source]]\npath = \"DIR/a\"\n[[source]]\npath = \"DIR/b\"";
        assert_eq!(problems(text), Vec::<String>::new());
    }

    #[test]
    fn sources_that_overlap() {
        let text = "[[source]]\npath = \"DIR/a/sub\"\n[[source]]\npath = \"DIR/a\"\n[[source]]\npath = \"DIR/link\"";
        assert_eq!(
            problems(text),
            [
                "/c.toml:2:8: source DIR/a/sub lies inside source DIR/a",
                "/c.toml:2:8: source DIR/a/sub lies inside source DIR/link",
                "/c.toml:6:8: source DIR/link is given twice",
            ]
        );
    }

    #[test]
    fn sources_that_are_bygones_own_and_zones_that_are_none() {
        let text = "repository = \"DIR/a\"\nstate = \"DIR/b\"\n[key]\nprompt = true\n[mount]\nzone = \"Mars/A\"\n\
                    [[source]]\npath = \"DIR/a/sub\"\n[[source]]\npath = \"DIR/b\"";
        let found = problems(text);
        assert!(found[0].starts_with("/c.toml:6:8: [mount] zone: cannot use time zone \"Mars/A\""), "{found:?}");
        assert_eq!(
            found[1..],
            [
                "/c.toml:8:8: source DIR/a/sub lies inside the repository DIR/a",
                "/c.toml:10:8: source DIR/b is the state directory DIR/b"
            ]
        );
    }

    #[test]
    fn sources_of_one_name() {
        let text = "[[source]]\npath = \"DIR/a\"\nname = \"x\"\n[[source]]\npath = \"DIR/b\"\nname = \"x\"";
        assert_eq!(problems(text), ["/c.toml:5:8: source DIR/b has the name \"x\" of source DIR/a"]);
    }

    #[test]
    fn mounts_that_would_hide_or_be_captured_and_roles_of_nobody() {
        let text = "[mount]\nat = \"DIR/link\"\n[[source]]\npath = \"DIR/a/sub\"\n[[source]]\npath = \"DIR/b\"";
        assert_eq!(problems(text), ["/c.toml:2:6: [mount] at: DIR/link contains the source DIR/a/sub"]);
        let text = "[mount]\nat = \"DIR/a\"\n[[source]]\npath = \"DIR/link\"";
        assert_eq!(problems(text), ["/c.toml:2:6: [mount] at: DIR/a is the source DIR/link"]);
        let text = "state = \"DIR/b\"\n[mount]\nat = \"DIR/b/mnt\"\n[key]\nprompt = true";
        assert_eq!(problems(text), ["/c.toml:3:6: [mount] at: DIR/b/mnt lies inside the state directory DIR/b"]);
        // As with a source that is all of a home, or of the machine.
        let text = "[mount]\nat = \"DIR/a/mnt\"\n[[source]]\npath = \"DIR/a\"";
        assert_eq!(problems(text), Vec::<String>::new());
        let text = "[mount]\nat = \"DIR/new\"\n[[source]]\npath = \"DIR/a\"";
        assert_eq!(problems(text), Vec::<String>::new());
        let around = places::Surroundings { root: true, ..places::Surroundings::default() };
        let text = "[roles]\nview = [\"root\", \"no-such-user\", \"@no-such-group\", \"@0\"]";
        let config = load::parse(text, Path::new("/c.toml"), &places::Places::of(&around).unwrap()).unwrap();
        let found: Vec<String> = unknown_names(&config).into_iter().map(|p| p.what).collect();
        let unknown = |sort, name| format!("[roles] view: this system knows no {sort} {name:?}");
        assert_eq!(found, [unknown("user", "no-such-user"), unknown("group", "no-such-group")]);
    }

    #[test]
    fn sources_and_patterns_that_cannot_be() {
        let text = "[[source]]\npath = \"DIR/file\"\n[[source]]\npath = \"DIR/none\"\nexclude = [\"ok\", \"a[\"]";
        let found = problems(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0], "/c.toml:2:8: source DIR/file is not a directory");
        assert!(found[1].starts_with("/c.toml:4:8: source DIR/none cannot be looked at: No such file"), "{}", found[1]);
        assert!(found[2].starts_with("/c.toml:4:8: source DIR/none: exclude pattern \"a[\": "), "{}", found[2]);
    }

    #[test]
    fn repositories_and_keys_that_cannot_be() {
        assert_eq!(
            problems("repository = \"DIR/file\""),
            [
                "/c.toml: the repository DIR/file is not a directory",
                "/c.toml: the key DIR/key is not there, and the repository DIR/file is"
            ]
        );
        let text = "repository = \"DIR/new\"\n[key]\nfile = \"DIR/new/key\"";
        assert_eq!(problems(text), ["/c.toml: the key DIR/new/key lies inside the repository DIR/new"]);
        assert!(problems("repository = \"DIR/b\"")[0].contains("the key DIR/key is not there"));
    }
}
