//! Changes to the file's text that keep its comments and its order.

use std::path::Path;

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, TableLike, value};

use super::model::{Config, KeyFrom, Source};
use super::site::Site;
use super::values;
use crate::types::location::Location;

/// Why the text was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is no TOML.
    #[error("the configuration is not valid TOML: {0}")]
    Syntax(#[from] toml_edit::TomlError),
    /// A setting has another form than it can have.
    #[error("`{0}` in the configuration is not what it should be: run `bygone config check`")]
    Form(&'static str),
    /// TOML is UTF-8 and this path is not.
    #[error("the path {0} is not UTF-8 and can't be written to the configuration: protect a directory above it")]
    NotText(String),
    /// No source has this path.
    #[error("the configuration has no source {0}: `bygone source list` shows them")]
    NoSource(String),
}

/// The text with `source` added at its end. Settings that have their default are not written.
pub fn add_source(text: &str, source: &Source) -> Result<String, EditError> {
    let mut table = Table::new();
    table.insert("path", value(utf8(&source.path)?));
    for (name, patterns) in [("exclude", &source.exclude), ("include", &source.include)] {
        if !patterns.is_empty() {
            table.insert(name, value(patterns.iter().collect::<Array>()));
        }
    }
    let plain = Source::new(source.path.clone());
    for (name, is, default) in [
        ("one-file-system", source.one_file_system, plain.one_file_system),
        ("cachedir-tag", source.cachedir_tag, plain.cachedir_tag),
    ] {
        if is != default {
            table.insert(name, value(is));
        }
    }
    let mut doc: DocumentMut = text.parse()?;
    if !doc.as_table().is_empty() {
        table.decor_mut().set_prefix("\n");
    }
    let mut tables = take_sources(&mut doc)?;
    tables.push(table);
    doc.insert("source", Item::ArrayOfTables(tables));
    Ok(doc.to_string())
}

/// The text without the source `path`, and without the comment that stands directly before it.
pub fn remove_source(text: &str, path: &Path) -> Result<String, EditError> {
    let missing = || EditError::NoSource(path.display().to_string());
    let mut doc: DocumentMut = text.parse()?;
    let mut tables = take_sources(&mut doc)?;
    let is_it = |t: &Table| {
        let written = t.get("path").and_then(Item::as_str);
        // One that is produced may have a name only, and lies in a directory of that name.
        let name = t.get("name").or_else(|| t.get("kind")).and_then(Item::as_str);
        match written {
            Some(written) => values::absolute(written).is_ok_and(|p| p == path),
            None => name.is_some_and(|name| path.file_name() == Some(name.as_ref())),
        }
    };
    let place = tables.iter().position(is_it).ok_or_else(missing)?;
    tables.remove(place);
    if !tables.is_empty() {
        doc.insert("source", Item::ArrayOfTables(tables));
    }
    Ok(doc.to_string())
}

/// The text with `repository` set to a place.
pub fn set_repository(text: &str, to: &Location) -> Result<String, EditError> {
    let mut doc: DocumentMut = text.parse()?;
    let mut new = match to {
        Location::Dir(path) => toml_edit::Value::from(utf8(path)?),
        Location::Bucket(url) => toml_edit::Value::from(url.to_string()),
    };
    match doc.get_mut("repository").and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => drop(doc.insert("repository", Item::Value(new))),
    }
    Ok(doc.to_string())
}

/// The text in which the site of a name and the repository have changed places, and their names with them.
pub fn swap_site(text: &str, config: &Config, site: &Site) -> Result<String, EditError> {
    let mut doc: DocumentMut = set_repository(text, &site.repository)?.parse()?;
    doc.insert("site-name", value(&site.name));
    let at = |location: &Location| -> Result<Item, EditError> {
        Ok(match location {
            Location::Dir(path) => value(utf8(path)?),
            Location::Bucket(url) => value(url.to_string()),
        })
    };
    let tables = doc.get_mut("site").and_then(Item::as_array_of_tables_mut).ok_or(EditError::Form("site"))?;
    let named = |table: &&mut Table| table.get("name").and_then(Item::as_str) == Some(&site.name);
    let table = tables.iter_mut().find(named).ok_or(EditError::Form("site"))?;
    table.insert("name", value(&config.site_name));
    table.insert("repository", at(&config.repository)?);
    // Whose service is meant is said for each place, once it is said for one.
    for (name, of_site, of_repository) in
        [("endpoint", &site.endpoint, &config.remote.endpoint), ("region", &site.region, &config.remote.region)]
    {
        let Some(of_site) = of_site else { continue };
        let table = doc.get_mut("site").and_then(Item::as_array_of_tables_mut).ok_or(EditError::Form("site"))?;
        let is_it = |table: &&mut Table| table.get("name").and_then(Item::as_str) == Some(&config.site_name);
        let table = table.iter_mut().find(is_it).ok_or(EditError::Form("site"))?;
        match of_repository {
            Some(of_repository) => drop(table.insert(name, value(of_repository))),
            None => drop(table.remove(name)),
        }
        if !doc.contains_key("remote") {
            doc.insert("remote", Item::Table(Table::new()));
        }
        let remote = doc.get_mut("remote").and_then(Item::as_table_like_mut).ok_or(EditError::Form("remote"))?;
        remote.insert(name, value(of_site));
    }
    Ok(doc.to_string())
}

/// The text with `host` set to a name.
pub fn set_host(text: &str, host: &str) -> Result<String, EditError> {
    let mut doc: DocumentMut = text.parse()?;
    doc.insert("host", value(host));
    Ok(doc.to_string())
}

/// The text without what may hold a secret: how the repository is opened, and where notifications go. Commands stay as they are.
pub fn without_secrets(text: &str) -> Result<String, EditError> {
    let mut doc: DocumentMut = text.parse()?;
    for name in ["key", "notify"] {
        doc.remove(name);
    }
    Ok(doc.to_string())
}

/// The text with its `[key]` table saying `key` and nothing else.
pub fn set_key(text: &str, key: &KeyFrom) -> Result<String, EditError> {
    let (name, item) = match key {
        KeyFrom::File(path) => ("file", value(utf8(path)?)),
        KeyFrom::PassphraseFile(path) => ("passphrase-file", value(utf8(path)?)),
        KeyFrom::PassphraseEnv(name) => ("passphrase-env", value(name)),
        KeyFrom::PassphraseCommand(command) => ("passphrase-command", value(command)),
        KeyFrom::PassphraseCredential(name) => ("passphrase-credential", value(name)),
        KeyFrom::Prompt => ("prompt", value(true)),
    };
    let mut doc: DocumentMut = text.parse()?;
    if !doc.contains_key("key") {
        let mut table = Table::new();
        if !doc.as_table().is_empty() {
            table.decor_mut().set_prefix("\n");
        }
        doc.insert("key", Item::Table(table));
    }
    let table: &mut dyn TableLike =
        doc.get_mut("key").and_then(Item::as_table_like_mut).ok_or(EditError::Form("key"))?;
    table.clear();
    table.insert(name, item);
    Ok(doc.to_string())
}

/// The `[[source]]` tables, out of the document; an array of inline tables becomes tables.
fn take_sources(doc: &mut DocumentMut) -> Result<ArrayOfTables, EditError> {
    match doc.remove("source") {
        None => Ok(ArrayOfTables::new()),
        Some(Item::Value(toml_edit::Value::Array(a))) if a.is_empty() => Ok(ArrayOfTables::new()),
        Some(item) => item.into_array_of_tables().map_err(|_| EditError::Form("source")),
    }
}

fn utf8(path: &Path) -> Result<&str, EditError> {
    path.to_str().ok_or_else(|| EditError::NotText(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# The house.
repository = \"/r\"  # on the big disk

[capture]
quiet = \"1s\"

# Mine.
[[source]]
path = \"/home/me/\"  # all of it
exclude = [
  \"*.o\",   # objects
]

# Hers.
[[source]]
path = \"/home/she\"

[mount]
zone = \"UTC\"
# The end.
";

    fn source(path: &str) -> Source {
        Source::new(path.into())
    }

    #[test]
    fn adding_keeps_everything_else() {
        let mut new = source("/srv/\"x\"");
        new.exclude = vec!["a".into(), "\\#b".into()];
        new.cachedir_tag = false;
        let out = add_source(TEXT, &new).unwrap();
        for line in TEXT.lines() {
            assert!(out.contains(line), "{line} is gone from\n{out}");
        }
        let doc: DocumentMut = out.parse().unwrap();
        let tables = doc["source"].as_array_of_tables().unwrap();
        assert_eq!(tables.len(), 3);
        let last = tables.get(2).unwrap();
        assert_eq!(last["path"].as_str(), Some("/srv/\"x\""));
        assert_eq!(last["exclude"].as_array().unwrap().len(), 2);
        assert_eq!(last["cachedir-tag"].as_bool(), Some(false));
        assert!(!last.contains_key("include") && !last.contains_key("one-file-system"));
    }

    #[test]
    fn adding_and_removing_is_nothing() {
        let added = add_source(TEXT, &source("/new")).unwrap();
        assert_eq!(remove_source(&added, Path::new("/new")).unwrap(), TEXT);
        assert_eq!(add_source("", &source("/a")).unwrap(), "[[source]]\npath = \"/a\"\n");
    }

    #[test]
    fn removing_takes_one_and_its_comment() {
        let out = remove_source(TEXT, Path::new("/home/me")).unwrap();
        assert!(!out.contains("Mine") && !out.contains("objects"), "{out}");
        for kept in ["# The house.", "# on the big disk", "# Hers.\n[[source]]", "# The end."] {
            assert!(out.contains(kept), "{kept} is gone from\n{out}");
        }
        assert!(matches!(remove_source(&out, Path::new("/home/me")), Err(EditError::NoSource(_))));
        let out = remove_source(&out, Path::new("/home/she")).unwrap();
        assert!(!out.contains("source"), "{out}");
    }

    #[test]
    fn inline_sources_are_understood() {
        let text = "source = [{ path = \"/a\" }, { path = \"/b\" }]\n[mount]\n";
        let out = add_source(text, &source("/c")).unwrap();
        let doc: DocumentMut = out.parse().unwrap();
        assert_eq!(doc["source"].as_array_of_tables().map(|t| t.len()), Some(3), "{out}");
        assert!(remove_source(text, Path::new("/a")).unwrap().contains("/b"));
        assert!(matches!(add_source("source = 1", &source("/c")), Err(EditError::Form("source"))));
    }

    #[test]
    fn single_settings() {
        let out = set_repository(TEXT, &Location::Dir("/other".into())).unwrap();
        assert!(out.contains("# The house.\nrepository = \"/other\"  # on the big disk\n"), "{out}");
        let out = set_key(TEXT, &KeyFrom::Prompt).unwrap();
        assert!(out.contains("[key]\nprompt = true\n"), "{out}");
        let out = set_key(&out, &KeyFrom::File("/k".into())).unwrap();
        assert!(out.contains("[key]\nfile = \"/k\"\n") && !out.contains("prompt"), "{out}");
        assert_eq!(set_repository("[mount]\n", &Location::Dir("/r".into())).unwrap(), "repository = \"/r\"\n[mount]\n");
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        let odd = Source::new(std::ffi::OsStr::from_bytes(b"/\xff").into());
        assert!(matches!(add_source("", &odd), Err(EditError::NotText(_))));
        assert!(matches!(add_source("x =", &source("/a")), Err(EditError::Syntax(_))));
    }
}
