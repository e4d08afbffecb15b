//! The manual pages of section 1, from the definitions of the command line.

use std::io;

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::args::top::Cli;

/// The date of the pages; to be moved when they change in substance.
const DATE: &str = "2026-11-23";

/// A manual page.
#[derive(Debug)]
pub struct Page {
    /// Its file's name, such as `bygone-mount.1`.
    pub name: String,
    /// Its content in roff.
    pub roff: Vec<u8>,
}

/// The pages of `bygone` and all its commands.
pub fn pages() -> io::Result<Vec<Page>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    add(&root, "bygone", &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, name: &str, pages: &mut Vec<Page>) -> io::Result<()> {
    // A page has the whole name of its command, with dashes.
    let shown = command.clone().name(name.to_owned()).display_name(name.to_owned());
    let man = Man::new(shown)
        .title(name.to_uppercase())
        .section("1")
        .date(DATE)
        .source(concat!("bygone ", env!("CARGO_PKG_VERSION")))
        .manual("bygone manual");
    let mut roff = Vec::new();
    man.render(&mut roff)?;
    pages.push(Page { name: format!("{name}.1"), roff: tidy(roff) });
    for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
        add(sub, &format!("{name}-{}", sub.get_name()), pages)?;
    }
    Ok(())
}

/// Takes out line breaks beside empty lines, which are nothing and which mandoc complains about, and gives the last section
/// a name that says something.
fn tidy(roff: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&roff).replace(".SH EXTRA", ".SH NOTES");
    let lines: Vec<&str> = text.lines().collect();
    let near = |n: usize| {
        [n.checked_sub(1), Some(n + 1)].into_iter().flatten().any(|m| matches!(lines.get(m), Some(&"" | &".sp")))
    };
    let kept = lines.iter().enumerate().filter(|(n, line)| **line != ".br" || !near(*n));
    kept.flat_map(|(_, line)| [line.as_bytes(), b"\n"].concat()).collect()
}
