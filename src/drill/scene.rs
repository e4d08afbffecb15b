//! Where a disaster is rehearsed: a repository of its own, with settings, a key, a copy and files of its own, all in one new directory.

use crate::sys::{apart, durable};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// So many files there are.
const FILES: u32 = 60;

/// What a command said and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: i32,
    pub(super) out: String,
    pub(super) err: String,
}

/// The place, and the program that runs there.
///
/// No real repository can be touched: the directory was made by [`Scene::new`] and was not there before, the settings name nothing
/// outside of it, and every command is given these settings and an empty environment.
#[derive(Debug)]
pub(super) struct Scene {
    dir: PathBuf,
    program: PathBuf,
    env: Vec<(String, String)>,
    /// What was done, as a person would do it.
    pub(super) done: Vec<String>,
}

impl Scene {
    /// Makes it in `dir`, which must not be there: files, a snapshot of them, and a copy of the repository at a site.
    pub(super) fn new(program: &Path, dir: &Path) -> Result<Scene, String> {
        std::fs::create_dir(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        let dir = dir.canonicalize().map_err(|e| format!("cannot use {}: {e}", dir.display()))?;
        let mut scene = Scene { dir, program: program.to_owned(), env: Vec::new(), done: Vec::new() };
        scene.settings("repository = \"DIR/repo\"\n", "[key]\nfile = \"DIR/key\"\n", "state")?;
        for n in 0..FILES {
            let text = format!("file {n}\n").repeat(1 + n as usize * 37);
            scene.write(&format!("root/part-{}/file-{n}", n % 5), text.as_bytes())?;
        }
        scene.good(&["init"])?;
        scene.good(&["snapshot"])?;
        scene.good(&["replicate"])?;
        copy(&scene.at("root"), &scene.at("truth"))?;
        scene.done.clear();
        Ok(scene)
    }

    /// Writes the settings: the repository, the key, and the name of the state directory.
    pub(super) fn settings(&self, repository: &str, key: &str, state: &str) -> Result<(), String> {
        let text = format!(
            "{repository}state = \"DIR/{state}\"\nhost = \"rehearsal\"\n{key}[limits]\npressure = false\n[[source]]\npath = \"DIR/root\"\n\
             [[site]]\nname = \"far\"\nrepository = \"DIR/copy\"\n"
        );
        let dir = self.dir.to_str().ok_or("the directory is no text")?;
        self.write("bygone.toml", text.replace("DIR", dir).as_bytes())
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.at(name).to_string_lossy().into_owned()
    }

    /// Gives commands a variable.
    pub(super) fn env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.at(name);
        let above = path.parent().unwrap_or(&self.dir);
        durable::create_dirs(above, 0o700).map_err(|e| e.to_string())?;
        durable::replace(&path, bytes, 0o600).map_err(|e| e.to_string())
    }

    /// Takes a directory away.
    pub(super) fn lose(&self, name: &str) -> Result<(), String> {
        durable::remove_tree(&self.at(name)).map(drop).map_err(|e| e.to_string())
    }

    /// Runs the program.
    pub(super) fn run(&mut self, args: &[&str]) -> Result<Said, String> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.at("bygone.toml")).args(args).stdin(Stdio::null());
        command.env_clear().env("HOME", &self.dir).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let output = apart::confined(|| command.output()).and_then(|output| output);
        let output = output.map_err(|e| format!("cannot run {}: {e}", self.program.display()))?;
        self.done.push(format!("bygone {}", args.join(" ")));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said { status: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) })
    }

    /// Runs it, and it has to end with everything done.
    pub(super) fn good(&mut self, args: &[&str]) -> Result<Said, String> {
        self.ends(args, &[0])
    }

    /// Runs it, and it has to end with one of these statuses.
    pub(super) fn ends(&mut self, args: &[&str], statuses: &[i32]) -> Result<Said, String> {
        let said = self.run(args)?;
        match statuses.contains(&said.status) {
            true => Ok(said),
            false => Err(format!(
                "`bygone {}` ended with {}, and not as it should: {}{}",
                args.join(" "),
                said.status,
                said.out,
                said.err
            )),
        }
    }

    /// Brings the files back into a new directory, with these options before, and compares them with the truth. So many there are.
    pub(super) fn recovered(&mut self, options: &[&str], at: &str) -> Result<u64, String> {
        let (root, to) = (self.text("root"), self.text("recovered"));
        let args = [options, &["restore", &root, "--at", at, "--to", &to]].concat();
        self.good(&args)?;
        self.same(&self.at("recovered/root"))
    }

    /// Compares a directory with the truth, byte for byte. So many files there are.
    pub(super) fn same(&self, dir: &Path) -> Result<u64, String> {
        let (truth, found) = (files(&self.at("truth"))?, files(dir)?);
        for (name, bytes) in &truth {
            match found.get(name) {
                Some(other) if other == bytes => {}
                Some(_) => return Err(format!("{name} is not what it was")),
                None => return Err(format!("{name} is missing")),
            }
        }
        match found.keys().find(|name| !truth.contains_key(*name)) {
            Some(name) => Err(format!("{name} was not there")),
            None => Ok(truth.len() as u64),
        }
    }

    /// The packs of the repository.
    pub(super) fn packs(&self) -> Result<Vec<PathBuf>, String> {
        Ok(files(&self.at("repo/packs"))?.into_keys().map(|name| self.at("repo/packs").join(name)).collect())
    }
}

/// All files below a directory, by their names from there.
fn files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let failed = |path: &Path, e: std::io::Error| format!("cannot read {}: {e}", path.display());
    let (mut open, mut all) = (vec![dir.to_owned()], BTreeMap::new());
    while let Some(dir_now) = open.pop() {
        for entry in std::fs::read_dir(&dir_now).map_err(|e| failed(&dir_now, e))? {
            let path = entry.map_err(|e| failed(&dir_now, e))?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
            all.insert(name, std::fs::read(&path).map_err(|e| failed(&path, e))?);
        }
    }
    Ok(all)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    for (name, bytes) in files(from)? {
        let path = to.join(&name);
        durable::create_dirs(path.parent().unwrap_or(to), 0o700).map_err(|e| e.to_string())?;
        durable::replace(&path, &bytes, 0o600).map_err(|e| e.to_string())?;
    }
    Ok(())
}
