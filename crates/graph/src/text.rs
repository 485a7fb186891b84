//! Text in pictures: how wide it is, and how it is made harmless. What is shown comes from the source files of strangers.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns that `text` takes in a monospace font.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` cut to `columns`, the last of which is then an ellipsis.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// `text` with tabs as blanks, and with the escapes of characters that have no place in a line of text: control characters, those that
/// reorder what stands around them, and those that XML forbids.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("    "),
            c if is_unfit(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn is_unfit(c: char) -> bool {
    let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

/// Printable text as XML and HTML want it, in elements and in attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if is_unfit(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_breaks_out_of_its_element() {
        assert_eq!(escape("</text><script a=\"1\">&"), "&lt;/text&gt;&lt;script a=&quot;1&quot;&gt;&amp;");
        assert_eq!(printable("\ta\x1b[2J\0\u{202e}\u{ffff}"), "    a\\u{1b}[2J\\u{0}\\u{202e}\\u{ffff}");
        assert_eq!(escape("\0"), "\\u{0}");
    }

    #[test]
    fn a_cut_counts_columns() {
        assert_eq!((cut("abcdef", 4), cut("漢字漢字", 6), cut("abc", 3)), ("abc…".into(), "漢字…".into(), "abc".into()));
        assert_eq!(columns("e\u{301}漢"), 3);
    }
}
