//! Access keys from the files in which other programs of the same service look for them too: profiles in
//! `~/.aws/credentials` and `~/.aws/config`. They are read again whenever they have changed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// The names of the settings that say where to look.
const PROFILE: &str = "AWS_PROFILE";
const CREDENTIALS: &str = "AWS_SHARED_CREDENTIALS_FILE";
const CONFIG: &str = "AWS_CONFIG_FILE";
/// What a profile may leave to a program or a service that this one does not ask.
const ELSEWHERE: [&str; 4] = ["credential_process", "sso_session", "sso_start_url", "source_profile"];

/// Why a profile gives no key.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file is there and can't be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A profile that was asked for is in neither file.
    #[error("there is no profile {name:?} with an access key in {files}")]
    NoProfile {
        /// Its name.
        name: String,
        /// Where it was looked for.
        files: String,
    },
    /// A profile has its key from somewhere else.
    #[error(
        "the profile {name:?} has its access key by {by}, which is not supported: write a profile with \
         aws_access_key_id and aws_secret_access_key, or set the environment variables of these names"
    )]
    Elsewhere {
        /// Its name.
        name: String,
        /// The setting.
        by: &'static str,
    },
}

/// An access key. Its secret is in no message.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The token of a session.
    pub token: Option<String>,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessKey({})", self.id)
    }
}

/// A profile in the two files.
#[derive(Debug)]
pub struct Profile {
    name: String,
    /// Whether somebody asked for it by its name.
    asked: bool,
    files: [PathBuf; 2],
    read: Mutex<Option<(Stamps, Arc<Settings>)>>,
}

type Settings = BTreeMap<String, String>;
/// What tells that a file has changed.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl Profile {
    /// The profile that these settings name, or the one of the name `default`, in the files that they name, or those in the
    /// usual place below `HOME`.
    pub fn of(settings: &BTreeMap<String, String>) -> Profile {
        let asked = settings.get(PROFILE).filter(|name| !name.is_empty());
        let home = settings.get("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let file =
            |set: &str, name: &str| settings.get(set).map_or_else(|| home.join(".aws").join(name), PathBuf::from);
        Profile {
            name: asked.map_or_else(|| "default".to_owned(), Clone::clone),
            asked: asked.is_some(),
            files: [file(CREDENTIALS, "credentials"), file(CONFIG, "config")],
            read: Mutex::new(None),
        }
    }

    /// Its access key, as the files have it now. `None` where nobody asked for a profile and there is none.
    pub fn key(&self) -> Result<Option<AccessKey>, CredentialsError> {
        let settings = self.settings()?;
        let get = |name: &str| settings.get(name).filter(|value| !value.is_empty()).cloned();
        if let (Some(id), Some(secret)) = (get("aws_access_key_id"), get("aws_secret_access_key")) {
            return Ok(Some(AccessKey { id, secret, token: get("aws_session_token") }));
        }
        // The service itself gives a key for a token; that is the client's work.
        if get("web_identity_token_file").is_some() {
            return Ok(None);
        }
        if let Some(by) = ELSEWHERE.into_iter().find(|name| settings.contains_key(*name)) {
            return Err(CredentialsError::Elsewhere { name: self.name.clone(), by });
        }
        match self.asked {
            true => Err(CredentialsError::NoProfile { name: self.name.clone(), files: self.shown() }),
            false => Ok(None),
        }
    }

    /// A setting of it: `region`, `endpoint_url`, ...
    pub fn setting(&self, name: &str) -> Result<Option<String>, CredentialsError> {
        Ok(self.settings()?.get(name).filter(|value| !value.is_empty()).cloned())
    }

    fn shown(&self) -> String {
        format!("{} or {}", self.files[0].display(), self.files[1].display())
    }

    fn settings(&self) -> Result<Arc<Settings>, CredentialsError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = [stamp(&self.files[0]), stamp(&self.files[1])];
        if let Some((_, settings)) = read.as_ref().filter(|(before, _)| *before == stamps) {
            return Ok(settings.clone());
        }
        let mut all = Settings::new();
        for (n, file) in self.files.iter().enumerate().rev() {
            let text = match fs::read_to_string(file) {
                Ok(text) => text,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(CredentialsError::Read { path: file.display().to_string(), source }),
            };
            // What the file of keys says goes first.
            all.extend(section(&text, &self.name, n == 1));
        }
        let settings = Arc::new(all);
        *read = Some((stamps, settings.clone()));
        Ok(settings)
    }
}

fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// The settings of a profile. In the file of settings its section is called `profile NAME`, but for `default`.
fn section(text: &str, name: &str, settings: bool) -> Settings {
    let mut inside = false;
    let mut out = Settings::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) =
            trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(inner, _)| inner.trim())
        {
            let prefixed = header.strip_prefix("profile").filter(|rest| rest.starts_with(char::is_whitespace));
            let called = prefixed.map_or(header, str::trim).trim_matches('"');
            inside = called == name && (!settings || prefixed.is_some() || name == "default");
            continue;
        }
        // What is indented belongs to a setting of its own.
        let nested = line.starts_with(char::is_whitespace);
        if let Some((key, value)) = trimmed.split_once('=').filter(|_| inside && !nested) {
            out.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_that_is_asked_for_is_found() {
        let credentials =
            "[default]\naws_access_key_id = A\naws_secret_access_key=a=b\n\n# no\n[ work ]\naws_access_key_id=W\n";
        let found = section(credentials, "default", false);
        assert_eq!((found["aws_access_key_id"].as_str(), found["aws_secret_access_key"].as_str()), ("A", "a=b"));
        assert_eq!(section(credentials, "work", false)["aws_access_key_id"], "W");
        let config = "[default]\nregion = r0\ns3 =\n  addressing_style = path\n[profile work]\nregion = r1\n[work]\nregion = no\n";
        assert_eq!(section(config, "work", true)["region"], "r1");
        assert_eq!(section(config, "default", true)["region"], "r0");
        assert!(!section(config, "default", true).contains_key("addressing_style"));
        assert!(section(config, "none", true).is_empty());
    }

    #[test]
    fn a_profile_that_is_not_there_is_an_error_only_where_it_was_asked_for() {
        let settings = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let nowhere = "/nowhere/at/all";
        assert_eq!(Profile::of(&settings(&[("HOME", nowhere)])).key().unwrap(), None);
        let e = Profile::of(&settings(&[("HOME", nowhere), ("AWS_PROFILE", "work")])).key().unwrap_err().to_string();
        assert!(e.contains("work") && e.contains("/nowhere/at/all/.aws/credentials"), "{e}");
    }
}
