//! What every command is given: the settings, with the options that go before them.

use std::path::{Path, PathBuf};

use super::args::top::Global;
use super::elsewhere;
use super::out::Out;
use super::outcome::{Explain as _, Failure, Outcome};
use crate::config::check::{self, Problem};
use crate::config::load::{self, Loaded};
use crate::config::model::Config;
use crate::config::places::{Places, Surroundings};
use crate::config::site::Site;
use crate::types::{
    location::{Location, S3Url},
    path::is_name,
    role::Need,
    when::zone::Zone,
};

/// What every command is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// The settings; `repository` is that of `--repo` if it was given.
    pub config: Config,
    /// The repository as `--repo` names it.
    pub repository_named: Option<String>,
    /// Where this host knows the repository, if `--repo` names another copy of it: that is read, and nothing is written into it.
    pub known_at: Option<String>,
    /// The places that hold when the settings are silent.
    pub places: Places,
    /// Whether results are printed as JSON.
    pub json: bool,
    /// Whether only what was asked for is printed.
    pub quiet: bool,
    /// What the command needs of the key that opens the repository.
    pub need: Need,
    /// Why the settings are not all that the file says, where a command goes on without.
    pub broken: Option<Failure>,
}

/// Whether a command can begin without the file that `--config` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It makes the file.
    Fine,
    /// It needs the file.
    Error,
}

/// Where the repository that is named is the copy at a site, it has a state of its own: the copy and its origin have one id, and what
/// the index of one has seen the other need not have. The repository of the settings is a site of it then, `origin`.
fn at_site(config: &mut Config, origin: Location) {
    let Some(at) = config.sites.iter().position(|site| site.repository == config.repository) else { return };
    let remote = config.remote.clone();
    let site = &mut config.sites[at];
    config.state = config.state.join("sites").join(&site.name);
    config.remote.endpoint = site.endpoint.take().or(config.remote.endpoint.take());
    config.remote.region = site.region.take().or(config.remote.region.take());
    *site = Site {
        name: std::mem::replace(&mut config.site_name, site.name.clone()),
        repository: origin,
        endpoint: remote.endpoint,
        region: remote.region,
        sources: Vec::new(),
        schedule: None,
        continuous: false,
        objective: None,
        recovery_time: None,
        ..site.clone()
    };
}

/// What is wrong with the file.
#[derive(Debug)]
pub struct Problems {
    /// Each, with what to do.
    pub problems: Vec<Problem>,
    /// Whether all of the file was read: where it was not, what is missing may not be missing.
    pub whole: bool,
}

impl Context {
    /// What a restore never removes: see [`Config::guarded`].
    pub fn guarded(&self) -> Result<Vec<PathBuf>, Failure> {
        self.config.guarded().explain(|| "cannot read what is mounted")
    }

    /// Loads the settings. The default file need not be there; one that `--config` names has to, unless `missing` is fine.
    pub fn load(global: &Global, missing: Missing) -> Result<Context, Failure> {
        let (context, found) = Context::load_with_problems(global, missing)?;
        match told(&found.problems) {
            None => Ok(context),
            Some(failure) => Err(failure),
        }
    }

    /// As [`Context::load`], for a command that shows what a running service knows: of a file that is wrong as much as can be read,
    /// by which that service may be found. [`Context::broken`] says what is wrong.
    pub fn load_to_look(global: &Global) -> Result<Context, Failure> {
        let (mut context, found) = Context::load_with_problems(global, Missing::Error)?;
        context.broken = told(&found.problems);
        if let Some(wrong) = check::zone(&context.config) {
            context.config.mount.zone = None;
            context.broken = context.broken.or_else(|| told(&[wrong]));
        }
        Ok(context)
    }

    /// Fails where the file is wrong, for what can't be done without all of it.
    pub fn whole(&self) -> Result<(), Failure> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// How a command ends that a service answered: in part where the file is wrong, which is told.
    pub fn looked(&self, outcome: Outcome) -> Outcome {
        let Some(broken) = &self.broken else { return outcome };
        tracing::error!(
            "the settings can't be used, and the service goes by those that it has: {}",
            broken.in_a_line()
        );
        outcome.and(Outcome::Partial)
    }

    /// As [`Context::load`], with all values that cannot be named, and no failure.
    pub fn load_with_problems(global: &Global, missing: Missing) -> Result<(Context, Problems), Failure> {
        let places = Places::of(&surroundings()).into_failure()?;
        let given = global.config.as_deref().map(absolute).transpose()?;
        let Loaded { mut config, problems, whole } =
            load::load_with_problems(given.as_deref(), &places).into_failure()?;
        if given.is_some() && missing == Missing::Error && !config.exists() {
            return Err(Failure::new(format!("there is no configuration {}", config.path.display()))
                .hint(
                    "give --config a file that is there; where there are none yet, `bygone init` writes settings for a new repository, and \
                     `bygone recover --repo PLACE` those for one that is there",
                ));
        }
        let mut known_at = None;
        if let Some(repo) = &global.repo {
            let settings = std::mem::replace(&mut config.repository, location(repo)?);
            at_site(&mut config, settings.clone());
            known_at = elsewhere::known(&config, &settings);
            if known_at.is_some() {
                elsewhere::apart(&mut config);
            }
        }
        let repository_named = global.repo.as_ref().map(|_| config.repository.to_string());
        let (json, quiet, need) = (global.json, global.quiet, Need::Structure);
        Ok((
            Context { config, repository_named, known_at, places, json, quiet, need, broken: None },
            Problems { problems, whole },
        ))
    }

    /// The same with a site of the settings as the repository, as `--repo` with its place would have it.
    #[must_use]
    pub fn at(&self, site: &Site) -> Context {
        let mut config = self.config.clone();
        let origin = std::mem::replace(&mut config.repository, site.repository.clone());
        at_site(&mut config, origin);
        Context { repository_named: Some(config.repository.to_string()), config, ..self.clone() }
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

/// The first of the problems, and how many there are.
fn told(problems: &[Problem]) -> Option<Failure> {
    let first = problems.first()?;
    let failure = Failure::new(format!("{}: {}", first.place, first.what));
    Some(match problems.len() - 1 {
        0 => failure.hint(&first.cure),
        more => failure.hint(format!("{}; `bygone config check` names the {more} other problem(s) too", first.cure)),
    })
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
