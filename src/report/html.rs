//! HTML, written so that text can never become markup.

use std::fmt::Write as _;

/// A page being written.
#[derive(Default)]
pub(crate) struct Html(String);

/// The text with everything that has a meaning in HTML escaped, in content and in quoted attributes.
fn escape(text: &str, to: &mut String) {
    for c in text.chars() {
        match c {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            // What turns the direction of text or hides in it is shown as what it is.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                // Writing to a string never fails.
                let _ = write!(to, "\\u{{{:x}}}", c as u32);
            }
            c => to.push(c),
        }
    }
}

impl Html {
    /// Markup that stands in this program.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Any text.
    pub(crate) fn text(&mut self, text: &str) -> &mut Html {
        escape(text, &mut self.0);
        self
    }

    /// A number.
    pub(crate) fn number(&mut self, number: f64) -> &mut Html {
        let _ = write!(self.0, "{number:.2}");
        self
    }

    /// An element with nothing but text in it.
    pub(crate) fn line(&mut self, open: &'static str, text: &str, close: &'static str) -> &mut Html {
        self.raw(open).text(text).raw(close).raw("\n")
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut html = Html::default();
        html.line("<p title=\"", "\"><script>alert('&')</script>\u{202e}", "\">");
        let wanted = "<p title=\"&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;\\u{202e}\">\n";
        assert_eq!(html.finish(), wanted);
    }
}
