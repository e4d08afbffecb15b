//! A key for people to keep: the key file, and a page of plain text to print.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::keytext;
use crate::types::{ids::Id, role::Role};

/// Groups of the key in a row of the page.
const ROW: usize = 7;

/// The content of a key file: comments that say what it is, and the key. The caller writes it with mode 0600.
pub fn key_file(secret: &[u8; 32], repository: Id, role: Role) -> Zeroizing<String> {
    let line = keytext::encode(secret);
    let about = match role {
        Role::Admin => {
            "Whoever has it and the repository can read every file in it.\n\
                        # Without it nothing can be restored: keep a copy elsewhere, on another machine or on paper."
        }
        Role::Reader => "Its role is reader.\n# Whoever has it and the repository can read every file in it.",
        Role::Writer => {
            "Its role is writer.\n\
                         # It captures, and can't read the content of any file: restoring takes a key with the role reader or admin."
        }
        Role::Auditor => "Its role is auditor.\n# It checks the repository, and can't read the content of any file.",
    };
    Zeroizing::new(format!("# The key of bygone repository {repository}. {about}\n{}\n", *line))
}

/// A page of plain text with the key in two rows of seven groups. `date` is shown as it is. The page, saved as a file, is
/// a key file too.
pub fn page(secret: &[u8; 32], repository: Id, role: Role, date: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(2048));
    let what = match role {
        Role::Admin | Role::Reader => READS,
        Role::Writer | Role::Auditor => READS_NOT,
    };
    let _ = write!(out, "{HEAD}\n{what}\n    repository   {repository}\n    date         {date}\n");
    if role != Role::Admin {
        let _ = writeln!(out, "    role         {role}");
    }
    let _ = write!(out, "\n    {}", keytext::PREFIX);
    let line = keytext::encode(secret);
    for (n, group) in line[keytext::PREFIX.len() + 1..].split('-').enumerate() {
        out.push_str(if n % ROW == 0 { "\n    " } else { "-" });
        out.push_str(group);
    }
    out.push_str(TAIL);
    out
}

const HEAD: &str = "\
A KEY FOR A BYGONE REPOSITORY
";

const READS: &str = "\
Whoever has this page and the repository can read every file in it. Keep it where
you keep what is valuable, and not beside the repository.
";

const READS_NOT: &str = "\
Whoever has this page and the repository sees the names of the files in it, and
can't read their content. Keep it where you keep what is valuable.
";

const TAIL: &str = "


The last character of each group of five checks the other four. There is no letter
I, L, O or U in a key: what looks like one is the digit 1 or 0. Capital or small
letters, spaces, dashes and line ends make no difference.

To use it, do one of these:

  - Type the key where bygone asks for a passphrase, beginning with BYGONE-KEY-1.
  - Save this page, or the lines of the key, as a file with mode 0600, and name the
    file in bygone.toml:

        [key]
        file = \"/etc/bygone/key\"

A wrong character is noticed, and its group is named.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_reads_back() {
        let text = key_file(&[7; 32], Id([1; 16]), Role::Admin);
        assert!(text.lines().take(2).all(|l| l.starts_with('#')));
        assert!(text.contains(&Id([1; 16]).to_string()));
        assert_eq!(*keytext::decode(&text).unwrap(), [7; 32]);
    }

    #[test]
    fn a_page_reads_back_and_fits_the_paper() {
        let text = page(&[9; 32], Id([2; 16]), Role::Writer, "2026-11-23");
        assert!(text.contains("2026-11-23") && text.contains(&Id([2; 16]).to_string()));
        assert!(text.lines().all(|l| l.len() <= 84));
        assert_eq!(*keytext::decode(&text).unwrap(), [9; 32]);
    }
}
