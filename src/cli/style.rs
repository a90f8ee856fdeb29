//! What a person sees. Colours are dropped where no terminal is.

use std::fmt::Display;
use std::io::Write as _;

use anstyle::{AnsiColor, Reset, Style};

pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const DOUBT: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const FAINT: Style = Style::new().dimmed();
pub(super) const STRONG: Style = Style::new().bold();
pub(super) const RESET: Reset = Reset;

/// Says something on standard error. Where that is full or closed nothing fails of it.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// The text with everything escaped that a terminal would act on: what was recorded is not to be trusted.
pub(super) fn printable(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if acts(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

/// How something ended, at a glance.
pub(super) fn mark(status: &str) -> String {
    match status {
        "passed" | "approved" | "succeeded" => format!("{GOOD}✓{RESET}"),
        "failed" | "rejected" => format!("{BAD}✗{RESET}"),
        _ => format!("{DOUBT}–{RESET}"),
    }
}

/// A number of bytes as people read it.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = n as f64;
    let mut unit = "B";
    for larger in UNITS {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "B" { format!("{n} B") } else { format!("{size:.1} {unit}") }
}

/// A number of milliseconds as people read it.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        60_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_printed() {
        assert_eq!(
            printable("a\u{1b}[31mb\r\n\u{202e}c\u{85}é😀"),
            "a\\u{1b}[31mb\\r\\n\\u{202e}c\\u{85}é😀"
        );
    }

    #[test]
    fn sizes_and_durations_are_readable() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1024), bytes(5 << 30)],
            ["0 B", "1023 B", "1.0 KiB", "5.0 GiB"]
        );
        assert_eq!(
            [duration(7), duration(1_500), duration(61_000), duration(7_260_000)],
            ["7 ms", "1.5 s", "1 min 1 s", "2 h 1 min"]
        );
    }
}
