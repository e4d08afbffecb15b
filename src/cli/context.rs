//! What every command is given: the settings, with the options that go before them.

use std::path::{Path, PathBuf};

use super::args::top::Global;
use super::out::Out;
use super::outcome::{Explain as _, Failure};
use crate::config::check::Problem;
use crate::config::load;
use crate::config::model::Config;
use crate::config::places::{Places, Surroundings};
use crate::types::{
    location::{Location, S3Url},
    path::is_name,
    when::zone::Zone,
};

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// The settings; `repository` is that of `--repo` if it was given.
    pub config: Config,
    /// The repository as `--repo` names it.
    pub repository_named: Option<String>,
    /// The places that hold when the settings are silent.
    pub places: Places,
    /// Whether results are printed as JSON.
    pub json: bool,
    /// Whether only what was asked for is printed.
    pub quiet: bool,
}

/// Whether a command can begin without the file that `--config` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It makes the file.
    Fine,
    /// It needs the file.
    Error,
}

impl Context {
    /// Loads the settings. The default file need not be there; one that `--config` names has to, unless `missing` is fine.
    pub fn load(global: &Global, missing: Missing) -> Result<Context, Failure> {
        let (context, problems) = Context::load_with_problems(global, missing)?;
        match problems.into_iter().next() {
            None => Ok(context),
            Some(p) => Err(Failure::new(format!("{}: {}", p.place, p.what)).hint(p.cure)),
        }
    }

    /// As [`Context::load`], with all values that cannot be named, and no failure.
    pub fn load_with_problems(global: &Global, missing: Missing) -> Result<(Context, Vec<Problem>), Failure> {
        let places = Places::of(&surroundings()).into_failure()?;
        let given = global.config.as_deref().map(absolute).transpose()?;
        let (mut config, problems) = load::load_with_problems(given.as_deref(), &places).into_failure()?;
        if given.is_some() && missing == Missing::Error && !config.exists() {
            return Err(Failure::new(format!("there is no configuration {}", config.path.display()))
                .hint("give --config a file that is there, or make one with `bygone init`"));
        }
        if let Some(repo) = &global.repo {
            config.repository = location(repo)?;
        }
        let repository_named = global.repo.as_ref().map(|_| config.repository.to_string());
        Ok((Context { config, repository_named, places, json: global.json, quiet: global.quiet }, problems))
    }

    /// The zone in which times are read and shown.
    pub fn zone(&self) -> Result<Zone, Failure> {
        self.config.zone().into_failure()
    }

    /// The standard output.
    pub fn out(&self) -> Out {
        Out::stdout()
    }
}

/// What the process finds around it.
fn surroundings() -> Surroundings {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    Surroundings {
        root: rustix::process::geteuid().is_root(),
        home: path("HOME"),
        config_home: path("XDG_CONFIG_HOME"),
        state_home: path("XDG_STATE_HOME"),
        runtime_dir: path("XDG_RUNTIME_DIR"),
        host: if is_name(host.as_bytes()) { host.into_owned() } else { "localhost".to_owned() },
    }
}

/// The place of a repository as it was given: a directory made absolute, or the URL of a bucket.
fn location(given: &Path) -> Result<Location, Failure> {
    match given.to_str().filter(|text| text.starts_with(S3Url::SCHEME)) {
        Some(text) => text.parse().map(Location::Bucket).map_err(Failure::usage),
        None => Ok(Location::Dir(absolute(given)?)),
    }
}

/// A path as it was given, from the root: made absolute against the working directory, without following links.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).explain(|| format!("cannot tell which path {:?} is", path.display()))
}
