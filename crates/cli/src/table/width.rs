//! Text on a terminal: how wide it is, and how it is made harmless.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that `text` takes on a terminal.
pub fn of(text: &str) -> usize {
    text.width()
}

/// `text` without what would move the cursor or change the terminal: a tab becomes blanks, any other control character its escape. What is shown
/// comes from the source files of strangers.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => out.push_str("    "),
            c if is_unsafe(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Control characters, and those that reorder the text around them.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` cut to `columns`, the last of which is then an ellipsis.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if of(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    Cow::Owned(text.chars().take_while(fits).chain(['…']).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_counts_columns_and_not_characters() {
        assert_eq!(["abc", "é", "e\u{301}", "漢字", ""].map(of), [3, 1, 1, 4, 0]);
    }

    #[test]
    fn control_characters_become_harmless() {
        assert_eq!(printable("plain ä"), "plain ä");
        assert_eq!(printable("a\tb"), "a    b");
        assert_eq!(printable("\x1b[2J\0\u{202e}x"), "\\u{1b}[2J\\u{0}\\u{202e}x");
    }

    #[test]
    fn a_cut_keeps_within_the_columns() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("漢字漢字", 6), "漢字…");
        assert_eq!(cut("abc", 0), "…");
    }
}
