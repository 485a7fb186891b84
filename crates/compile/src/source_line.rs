//! The text of a line, for diagnostics to which CPython gives none: it looks for the file, and the file has only a
//! logical name.

use crate::outcome::{Diagnostic, MAX_TEXT};

/// Fills in the source line of a diagnostic that has a line number and no text.
pub(crate) fn fill_in(diagnostic: &mut Diagnostic, source: &[u8]) {
    if let (None, Some(line1)) = (&diagnostic.source_line, diagnostic.line1) {
        diagnostic.source_line = line(source, line1);
    }
}

/// Line `line1` of `source` without its terminator; `None` if there is none, or if only a codec other than UTF-8 could
/// read it.
fn line(source: &[u8], line1: i32) -> Option<String> {
    let source = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
    let index = usize::try_from(line1).ok()?.checked_sub(1)?;
    let line = lines(source).nth(index)?;
    let readable = line.is_ascii() || lines(source).take(2).all(may_be_utf8);
    let text = str::from_utf8(line).ok().filter(|_| readable)?;
    match text.char_indices().nth(MAX_TEXT) {
        None => Some(text.to_owned()),
        Some(_) => Some(text.chars().take(MAX_TEXT - 1).chain(['…']).collect()),
    }
}

/// Lines as CPython counts them: LF, CRLF and CR end one, nothing else does.
fn lines(source: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(source);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            rest = None;
            return Some(text);
        };
        let (line, tail) = text.split_at(end);
        rest = tail.strip_prefix(b"\r\n").or_else(|| tail.get(1..));
        Some(line)
    })
}

/// Whether a line that may have a coding cookie (PEP 263) names no other encoding than UTF-8.
fn may_be_utf8(line: &[u8]) -> bool {
    let mut words = line.windows(6).enumerate().filter(|(_, word)| word == b"coding").map(|(at, _)| line.get(at + 6..).unwrap_or_default());
    words.all(|rest| {
        let Some(name) = rest.strip_prefix(b":").or_else(|| rest.strip_prefix(b"=")) else { return true };
        let name = name.trim_ascii_start();
        let end = name.iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))).unwrap_or(name.len());
        let name = name.get(..end).unwrap_or_default().to_ascii_lowercase();
        matches!(name.as_slice(), b"" | b"utf8" | b"utf-8" | b"utf_8") || name.starts_with(b"utf-8-") || name.starts_with(b"utf_8_")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lf_crlf_and_cr_end_lines_and_nothing_else_does() {
        let source = "a\nb\r\nc\rd\u{2028}\x0ce".as_bytes();
        assert_eq!(lines(source).collect::<Vec<_>>(), [&b"a"[..], b"b", b"c", "d\u{2028}\x0ce".as_bytes()]);
    }

    #[test]
    fn lines_count_from_one_and_a_bom_is_none_of_the_text() {
        assert_eq!(line(b"\xef\xbb\xbfx\ny", 1).as_deref(), Some("x"));
        assert_eq!(line(b"\xef\xbb\xbfx\ny", 2).as_deref(), Some("y"));
        assert_eq!(line(b"x", 0), None);
        assert_eq!(line(b"x", 2), None);
    }

    #[test]
    fn text_of_another_encoding_is_left_out_rather_than_wrong() {
        assert_eq!(line(b"# coding: latin-1\nx = '\xc3\xa9'", 2), None);
        assert_eq!(line(b"# coding: latin-1\nx = 1", 2).as_deref(), Some("x = 1"));
        assert_eq!(line(b"x = '\xff'", 1), None);
        assert_eq!(line("x = 'é'".as_bytes(), 1).as_deref(), Some("x = 'é'"));
        for cookie in
            ["# coding: utf-8", "# -*- coding: UTF-8 -*-", "# vim: set fileencoding=utf8 :", "# of encoding", "#coding=utf-8-unix"]
        {
            assert_eq!(line(format!("{cookie}\nx = 'é'").as_bytes(), 2).as_deref(), Some("x = 'é'"), "{cookie}");
        }
        for cookie in ["# coding: latin-1", "# -*- coding: cp1252 -*-", "# encoding and coding: utf-16"] {
            assert_eq!(line(format!("{cookie}\nx = 'é'").as_bytes(), 2), None, "{cookie}");
        }
    }

    #[test]
    fn a_long_line_is_cut_by_characters() {
        let exact = "é".repeat(MAX_TEXT);
        assert_eq!(line(exact.as_bytes(), 1), Some(exact.clone()));
        let cut = line(format!("{exact}é").as_bytes(), 1).unwrap();
        assert_eq!((cut.chars().count(), cut.chars().last()), (MAX_TEXT, Some('…')));
    }
}
