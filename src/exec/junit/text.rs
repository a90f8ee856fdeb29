//! Text out of reports: cleaned as it comes, and kept up to a bound.

/// Text that may have been longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) cut: bool,
}

impl Text {
    /// As much of it as may be kept, in bytes.
    pub(super) fn of(text: &str, longest: usize) -> Self {
        let mut kept = Kept::new(longest);
        kept.push(text);
        kept.finish()
    }
}

/// Takes text in pieces. Control characters and the colours of terminals are passed over, but for line feeds and tabs; so are
/// line feeds before anything else.
#[derive(Debug)]
pub(super) struct Kept {
    kept: Text,
    longest: usize,
    escape: Escape,
}

/// How far into an escape sequence of a terminal the text is.
#[derive(Clone, Copy, Debug)]
enum Escape {
    None,
    Begun,
    Parameters,
}

impl Kept {
    pub(super) fn new(longest: usize) -> Self {
        Self { kept: Text::default(), longest, escape: Escape::None }
    }

    pub(super) fn push(&mut self, text: &str) {
        for c in text.chars() {
            if self.kept.cut {
                return;
            }
            if self.is_text(c) {
                self.keep(c);
            }
        }
    }

    pub(super) fn finish(mut self) -> Text {
        self.kept.text.truncate(self.kept.text.trim_end().len());
        self.kept
    }

    fn is_text(&mut self, c: char) -> bool {
        let (escape, is_text) = match (self.escape, c) {
            (_, '\u{1b}') => (Escape::Begun, false),
            (Escape::Begun, '[') => (Escape::Parameters, false),
            (Escape::Parameters, '0'..='9' | ';' | ':' | '?') => (Escape::Parameters, false),
            (Escape::Parameters, '@'..='~') => (Escape::None, false),
            (_, '\n') => (Escape::None, !self.kept.text.is_empty()),
            (_, c) => (Escape::None, c == '\t' || !c.is_control()),
        };
        self.escape = escape;
        is_text
    }

    fn keep(&mut self, c: char) {
        if self.kept.text.len().saturating_add(c.len_utf8()) > self.longest {
            self.kept.cut = true;
        } else {
            self.kept.text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_character_and_says_so() {
        assert_eq!(Text::of("äöü", 6), Text { text: "äöü".into(), cut: false });
        assert_eq!(Text::of("äöü", 5), Text { text: "äö".into(), cut: true });
        assert_eq!(Text::of("", 0), Text::default());
    }

    #[test]
    fn control_characters_and_colours_are_no_text() {
        let text = "\r\n\u{1b}[1;31mred\u{1b}[0m\0\u{7}\r\n\ttab\u{85}\u{1b}x \n";
        assert_eq!(Text::of(text, 100).text, "red\n\ttabx");
    }
}
