//! Where things are unless the configuration says otherwise.

use std::path::{Path, PathBuf};

use super::error::ConfigError;

/// What the process finds around it. The command line fills it in; nothing else reads the environment.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Whether the effective user is root.
    pub root: bool,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The host's name, as the kernel has it.
    pub host: String,
}

/// The places that hold when the configuration is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The configuration file.
    pub config: PathBuf,
    /// The directory for the index and everything else that can be rebuilt.
    pub state: PathBuf,
    /// The key file.
    pub key: PathBuf,
    /// The socket of the service; below the state directory if none.
    pub socket: Option<PathBuf>,
    /// The host's name.
    pub host: String,
}

/// The socket of the service that root runs.
pub const SYSTEM_SOCKET: &str = "/run/bygone/control";

impl Places {
    /// The places for these surroundings: `/etc/bygone` and `/var/lib/bygone` for root, the XDG directories otherwise.
    pub fn of(around: &Surroundings) -> Result<Places, ConfigError> {
        let (config, state) = match around.root {
            true => (PathBuf::from("/etc/bygone"), PathBuf::from("/var/lib/bygone")),
            false => (
                user_dir(around, &around.config_home, "XDG_CONFIG_HOME", ".config")?,
                user_dir(around, &around.state_home, "XDG_STATE_HOME", ".local/state")?,
            ),
        };
        let runtime = around.runtime_dir.as_ref().filter(|dir| dir.is_absolute());
        let socket = match around.root {
            true => Some(PathBuf::from(SYSTEM_SOCKET)),
            false => runtime.map(|dir| dir.join("bygone/control")),
        };
        let host = around.host.clone();
        Ok(Places { config: config.join("bygone.toml"), key: config.join("key"), state, socket, host })
    }
}

/// The XDG rules: an unset or relative directory is as if it had the default below the home directory.
fn user_dir(
    around: &Surroundings,
    given: &Option<PathBuf>,
    variable: &'static str,
    below: &str,
) -> Result<PathBuf, ConfigError> {
    let absolute = |p: &&PathBuf| p.is_absolute();
    let base = given.as_ref().filter(absolute).cloned();
    let base = base.or_else(|| around.home.as_ref().filter(absolute).map(|home| home.join(below)));
    base.map(|b| b.join("bygone")).ok_or(ConfigError::NoHome(variable))
}

/// The socket of the service of a user who has no directory for sockets.
pub fn default_socket(state: &Path) -> PathBuf {
    state.join("daemon/control")
}

/// The repository of a host that names none.
pub fn default_repository(state: &Path) -> PathBuf {
    state.join("repository")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_users_have_their_places() {
        let root = Surroundings { root: true, host: "h".into(), ..Surroundings::default() };
        assert_eq!(Places::of(&root).unwrap().config, Path::new("/etc/bygone/bygone.toml"));
        let user = Surroundings { home: Some("/home/u".into()), ..Surroundings::default() };
        let places = Places::of(&user).unwrap();
        assert_eq!(places.key, Path::new("/home/u/.config/bygone/key"));
        assert_eq!(places.state, Path::new("/home/u/.local/state/bygone"));
        let xdg = Surroundings { config_home: Some("/c".into()), state_home: Some("rel".into()), ..user };
        let places = Places::of(&xdg).unwrap();
        assert_eq!(places.config, Path::new("/c/bygone/bygone.toml"));
        assert_eq!(places.state, Path::new("/home/u/.local/state/bygone"));
        assert!(matches!(Places::of(&Surroundings::default()), Err(ConfigError::NoHome("XDG_CONFIG_HOME"))));
    }
}
