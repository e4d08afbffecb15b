//! Texts of a plan with inputs in them: `${name}` stands for the value of an input, `$${` for the characters `${`.

use std::collections::BTreeMap;

/// The values of the inputs, by name.
pub type Values = BTreeMap<String, String>;

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Input(String),
}

/// A text with inputs in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    written: String,
    parts: Vec<Part>,
}

impl Template {
    /// Reads it. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$${") {
                plain.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let end = after.find('}').ok_or_else(|| format!("{text:?} has a ${{ without a }}"))?;
                let name = &after[..end];
                if !is_name(name) {
                    return Err(format!(
                        "${{{name}}} is no name of an input: {NAME_RULE}; write $${{ for the characters"
                    ));
                }
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Input(name.to_owned()));
                rest = &after[end + 1..];
            } else {
                plain.push('$');
                rest = &rest[1..];
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Template { written: text.to_owned(), parts })
    }

    /// The inputs that it names.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Input(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with the values in their places. An input without a value, which a check finds, is left as it is written.
    pub fn fill(&self, values: &Values) -> String {
        let piece = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Input(name) => values.get(name).cloned().unwrap_or_else(|| format!("${{{name}}}")),
        };
        self.parts.iter().map(piece).collect()
    }

    /// It as it is written in the file.
    pub fn written(&self) -> &str {
        &self.written
    }
}

/// What the name of an input is.
pub const NAME_RULE: &str = "it begins with a small letter, and has small letters, digits and _";

/// Whether a text can name an input. It can name a variable of a shell, too.
pub fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() <= 64 && text.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_found_and_filled_in() {
        let values = Values::from([("a".to_owned(), "1".to_owned()), ("b_2".to_owned(), "${a}".to_owned())]);
        for (text, filled) in [
            ("", ""),
            ("x", "x"),
            ("${a}", "1"),
            ("/${a}/${b_2}$", "/1/${a}$"),
            ("$${a} $5", "${a} $5"),
            ("${c}", "${c}"),
        ] {
            assert_eq!(Template::parse(text).unwrap().fill(&values), filled, "{text}");
        }
        for wrong in ["${", "${}", "${A}", "${a b}", "x${1}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
