//! Where the secret that opens a repository comes from: a file, the terminal, the environment, a command, systemd.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::args::setup::KeySource;
use super::context::absolute;
use super::outcome::{Explain as _, Failure};
use crate::config::model::KeyFrom;
use crate::crypto::keytext;
use crate::crypto::paper;
use crate::crypto::slots::Secret;
use crate::sys::durable;
use crate::types::{ids::Id, role::Role};

/// No secret and no key file is longer, in bytes.
const LIMIT: u64 = 64 << 10;
/// How often a new passphrase is asked for when its repetition differs.
const TRIES: usize = 3;

/// What the secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To open what is there: a prompt asks once.
    Open,
    /// To open what will be made: a prompt asks twice.
    New,
}

/// What the options say of the key; none if they say nothing.
pub fn given(args: &KeySource) -> Result<Option<KeyFrom>, Failure> {
    Ok(match args {
        KeySource { key_file: Some(path), .. } => Some(KeyFrom::File(absolute(path)?)),
        KeySource { passphrase_file: Some(path), .. } => Some(KeyFrom::PassphraseFile(absolute(path)?)),
        KeySource { passphrase_env: Some(name), .. } => Some(KeyFrom::PassphraseEnv(name.clone())),
        KeySource { passphrase_command: Some(command), .. } => Some(KeyFrom::PassphraseCommand(command.clone())),
        KeySource { passphrase_credential: Some(name), .. } => Some(KeyFrom::PassphraseCredential(name.clone())),
        KeySource { passphrase: true, .. } => Some(KeyFrom::Prompt),
        KeySource { passphrase: false, .. } => None,
    })
}

/// Gets the secret. A text that begins like a key is taken as a key, wherever it comes from.
pub fn obtain(from: &KeyFrom, purpose: Purpose) -> Result<Secret, Failure> {
    match from {
        KeyFrom::File(path) => key_file(path),
        KeyFrom::PassphraseFile(path) => first_line(read_file(path)?, &format!("the file {}", path.display())),
        KeyFrom::PassphraseEnv(name) => from_environment(name),
        KeyFrom::PassphraseCommand(command) => from_command(command),
        KeyFrom::PassphraseCredential(name) => from_credential(name),
        KeyFrom::Prompt => prompt(purpose),
    }
}

/// Makes a new key and its file, with mode 0600, in a directory that is made with mode 0700 if it is not there. A file that
/// is there is not replaced: it may be the only key of a repository.
pub fn create_key_file(path: &Path, repository: Id, role: Role) -> Result<Secret, Failure> {
    let what = || format!("cannot make the key file {}", path.display());
    let secret = Secret::generate_key().explain(what)?;
    let Secret::KeyFile(bytes) = &secret else { return Err(Failure::new(what())) };
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).explain(what)?;
    }
    match durable::write_new(path, paper::key_file(bytes, repository, role).as_bytes(), 0o600) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(Failure::new(format!("the key file {} is there already, and is not replaced", path.display()))
                .hint("name another file, or move it away if no repository needs it"))
        }
        done => done.explain(what).map(|()| secret),
    }
}

fn key_file(path: &Path) -> Result<Secret, Failure> {
    let text = read_file(path)?;
    let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!("others may read the key file {}: chmod 600 it", path.display());
    }
    Secret::from_key_file(&text).explain(|| format!("cannot use the key file {}", path.display()))
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    File::open(path).and_then(read_some).map_err(|e| {
        let failure = Failure::new(format!("cannot read the key from {}", path.display())).because(&e);
        match e.kind() {
            io::ErrorKind::NotFound => {
                failure.hint("put back the copy of the key that you keep elsewhere, or name another")
            }
            _ => failure,
        }
    })
}

/// All of a short text. The buffer never grows, so that no copy of it is left behind in memory.
fn read_some(from: impl Read) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT as usize + 1));
    from.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than any key"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")),
    }
}

/// The passphrase in the first line of a text, or the key anywhere in it.
fn first_line(text: Zeroizing<String>, origin: &str) -> Result<Secret, Failure> {
    if text.lines().any(keytext::is_key) {
        return Secret::from_key_file(&text).explain(|| format!("cannot use the key in {origin}"));
    }
    match text.lines().next() {
        None | Some("") => Err(Failure::new(format!("the passphrase in {origin} is empty"))),
        Some(line) => Ok(Secret::Passphrase(Zeroizing::new(line.to_owned()))),
    }
}

fn from_environment(name: &str) -> Result<Secret, Failure> {
    let origin = format!("the environment variable {name}");
    match std::env::var(name) {
        Ok(text) => first_line(Zeroizing::new(text), &origin),
        Err(e) => Err(Failure::new(format!("cannot take the passphrase from {origin}")).because(&e)),
    }
}

fn from_command(command: &str) -> Result<Secret, Failure> {
    let what = || format!("cannot take the passphrase from the command `{command}`");
    let mut shell = Command::new("sh");
    let mut child = shell.arg("-c").arg(command).stdout(Stdio::piped()).spawn().explain(what)?;
    let text = child.stdout.take().map(read_some).unwrap_or_else(|| Ok(Zeroizing::default()));
    let status = child.wait().explain(what)?;
    // A text that is too long comes first: the command then dies of writing it.
    let text = text.explain(what)?;
    if !status.success() {
        return Err(Failure::new(what()).because(&io::Error::other(format!("it ended with {status}"))));
    }
    first_line(text, &format!("what `{command}` printed"))
}

fn from_credential(name: &str) -> Result<Secret, Failure> {
    if !crate::types::path::is_name(name.as_bytes()) {
        return Err(Failure::usage(format!("{name:?} can't name a credential")));
    }
    let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(Failure::new(format!("cannot take the passphrase from the credential {name}: there are none"))
            .hint("run it as a systemd service with LoadCredential= or LoadCredentialEncrypted="));
    };
    let path = Path::new(&dir).join(name);
    first_line(read_file(&path)?, &format!("the credential {name}"))
}

fn prompt(purpose: Purpose) -> Result<Secret, Failure> {
    match purpose {
        Purpose::Open => typed(ask("Passphrase or key: ")?),
        Purpose::New => {
            for _ in 0..TRIES {
                let first = ask("New passphrase: ")?;
                // A key checks itself.
                if keytext::is_key(&first) || *first == *ask("Again: ")? {
                    return typed(first);
                }
                tracing::error!("the two differ: once more");
            }
            Err(Failure::new("the passphrase and its repetition differ"))
        }
    }
}

fn typed(text: Zeroizing<String>) -> Result<Secret, Failure> {
    if text.is_empty() {
        return Err(Failure::new("the passphrase is empty"));
    }
    Secret::from_typed(text).into_failure()
}

fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(question).map(Zeroizing::new).map_err(|e| {
        Failure::new("cannot ask for the passphrase at the terminal").because(&e).hint(
            "where there is no terminal, give it by a file, a command or a credential: see [key] in bygone.toml(5)",
        )
    })
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
