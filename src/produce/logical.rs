//! Dumps of the databases of a PostgreSQL server.

use crate::config::kinds::Postgres;
use crate::config::model::Source;
use crate::produce::command::into_file;
use crate::produce::error::{ProduceError, Produced};
use crate::produce::run::{Ground, forget};
use crate::produce::tools::{ask, tool};

/// The file with what belongs to no database: roles and tablespaces.
const GLOBALS: &str = "globals.sql";

/// Dumps each database into `<name>.dump`, uncompressed so that what did not change is stored once, and what belongs to none
/// into `globals.sql`.
pub(super) fn produce(source: &Source, server: &Postgres, ground: &Ground<'_>) -> Result<Produced, ProduceError> {
    let rows = ask(server, "select datname from pg_database where datallowconn order by 1", ground.stop)?;
    let mut produced = Produced::default();
    let globals = tool(server, "pg_dumpall").timeout(server.timeout);
    let globals = globals.args(["--globals-only", "-d", &server.connection]);
    // It states when it was made in comments only where it is verbose; so it stays as it is.
    produced.add(&source.path, GLOBALS, into_file(globals, &source.path, GLOBALS, false, ground.stop));
    let mut files = vec![GLOBALS.to_owned()];
    for database in rows.lines().filter(|name| *name != "template1") {
        let file = file_of(database);
        let order = tool(server, "pg_dump").timeout(server.timeout).args(["-Fc", "-Z0", "-d"]);
        let order = order.args([with_name(&server.connection, database)]);
        produced.add(&source.path, &file, into_file(order, &source.path, &file, false, ground.stop));
        files.push(file);
    }
    forget(&source.path, |name| files.iter().any(|file| file == name))?;
    Ok(produced)
}

/// The file of a database; what no file name can have is written as its number.
fn file_of(database: &str) -> String {
    let mut name = String::new();
    for c in database.chars() {
        match c {
            '/' | '%' | '\0'..='\x1f' => name += &format!("%{:02X}", c as u32),
            '.' if name.is_empty() => name += "%2E",
            c => name.push(c),
        }
    }
    name + ".dump"
}

/// The connection to one database: what is said last counts.
fn with_name(connection: &str, database: &str) -> String {
    let quoted = database.replace('\\', "\\\\").replace('\'', "\\'");
    format!("{connection} dbname='{quoted}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_have_files_and_quoted_names() {
        assert_eq!(file_of("app"), "app.dump");
        assert_eq!(file_of("../a%b"), "%2E.%2Fa%25b.dump");
        assert_eq!(with_name("port=1", "it's"), "port=1 dbname='it\\'s'");
    }
}
