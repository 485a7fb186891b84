//! From CPython's positions to bytes of the raw file.
//!
//! CPython decodes a file, translates its line ends, encodes it to UTF-8, and counts columns in bytes of *that*. Only for
//! a file in UTF-8 do these columns index the raw bytes as well, behind the BOM if there is one. This module finds the
//! lines (LF, CRLF and a lone CR end one; form feeds and U+2028 do not) and the encoding as CPython's tokenizer does, and
//! maps a position only where the mapping is exact.

use bytefacts_bytecode::location::Positions;

/// A range of the raw file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSpan {
    /// First byte.
    pub start: i32,
    /// Number of bytes.
    pub len: i32,
}

/// The lines of a source file.
#[derive(Debug)]
pub struct SourceMap {
    lines: Vec<Line>,
    is_utf8: bool,
}

/// The bytes of one line, its end apart.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    len: usize,
}

const BOM: &[u8] = b"\xef\xbb\xbf";

impl SourceMap {
    /// Finds the lines and the encoding.
    pub fn new(raw: &[u8]) -> Self {
        let first = if raw.starts_with(BOM) { BOM.len() } else { 0 };
        let lines = lines(raw, first);
        let is_utf8 = cookie(raw, &lines).is_none_or(is_utf8_name);
        Self { lines, is_utf8 }
    }

    /// The number of lines; a last one without an end counts, an empty file has none.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// The raw offset of a position; `None` if the file is not in UTF-8 or the position is not in it.
    pub fn byte_offset(&self, line1: i32, col: i32) -> Option<usize> {
        let line = self.lines.get(usize::try_from(line1).ok()?.checked_sub(1)?)?;
        let col = usize::try_from(col).ok()?;
        (self.is_utf8 && col <= line.len).then_some(line.start + col)
    }

    /// The raw bytes of a span; `None` if an end of it cannot be mapped, or it ends before it starts.
    pub fn byte_span(&self, span: Positions) -> Option<ByteSpan> {
        let start = self.byte_offset(span.line?, span.col?)?;
        let end = self.byte_offset(span.end_line?, span.end_col?)?;
        Some(ByteSpan { start: i32::try_from(start).ok()?, len: i32::try_from(end.checked_sub(start)?).ok()? })
    }
}

fn lines(raw: &[u8], first: usize) -> Vec<Line> {
    let mut lines = Vec::with_capacity(raw.len() / 32);
    let mut start = first;
    while let Some(rest) = raw.get(start..).filter(|rest| !rest.is_empty()) {
        let len = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let end_len = match rest.get(len..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([_, ..]) => 1,
            _ => 0,
        };
        lines.push(Line { start, len });
        start += len + end_len;
    }
    lines
}

/// The encoding that a comment in the first two lines declares (PEP 263). The second line counts only if the first holds
/// nothing but blanks and a comment.
fn cookie<'a>(raw: &'a [u8], lines: &[Line]) -> Option<&'a str> {
    let text = |line: &Line| raw.get(line.start..line.start + line.len).unwrap_or_default();
    let first = text(lines.first()?);
    if let Some(name) = cookie_of_line(first) {
        return Some(name);
    }
    if !matches!(skip_blanks(first).first(), None | Some(b'#')) {
        return None;
    }
    cookie_of_line(text(lines.get(1)?))
}

/// `coding[:=]\s*([-\w.]+)` in a line that is a comment, as the tokenizer searches it.
fn cookie_of_line(line: &[u8]) -> Option<&str> {
    let comment = skip_blanks(line);
    if comment.first() != Some(&b'#') {
        return None;
    }
    comment.windows(CODING.len()).enumerate().filter(|(_, window)| *window == CODING).find_map(|(at, _)| {
        let (b':' | b'=', rest) = comment.get(at + CODING.len()..)?.split_first()? else { return None };
        let rest = trim_start(rest, |byte| matches!(byte, b' ' | b'\t'));
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let len = rest.iter().take_while(|byte| is_name(byte)).count();
        rest.get(..len).and_then(|name| str::from_utf8(name).ok()).filter(|name| !name.is_empty())
    })
}

const CODING: &[u8] = b"coding";

fn skip_blanks(line: &[u8]) -> &[u8] {
    trim_start(line, |byte| matches!(byte, b' ' | b'\t' | b'\x0c'))
}

fn trim_start(bytes: &[u8], skipped: impl Fn(u8) -> bool) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| skipped(**byte)).count();
    bytes.get(blanks..).unwrap_or_default()
}

/// Whether the codec of that name is UTF-8: the tokenizer takes every `utf-8-…` for it, the codec registry the aliases.
fn is_utf8_name(name: &str) -> bool {
    let name: String = name.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect();
    if name == "utf-8" || name.starts_with("utf-8-") {
        return true;
    }
    let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    matches!(words.join("_").as_str(), "utf_8" | "utf8" | "utf" | "u8" | "utf8_ucs2" | "utf8_ucs4" | "cp65001")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offset(raw: &[u8], line1: i32, col: i32) -> Option<usize> {
        SourceMap::new(raw).byte_offset(line1, col)
    }

    #[test]
    fn lf_crlf_and_cr_end_a_line_and_nothing_else_does() {
        let raw = "a\nb\r\nc\rd\x0ce\u{2028}f\u{85}g\x0bh".as_bytes();
        assert_eq!(SourceMap::new(raw).line_count(), 4);
        assert_eq!(offset(raw, 2, 0), Some(2));
        assert_eq!(offset(raw, 3, 0), Some(5));
        assert_eq!(offset(raw, 4, 0), Some(7));
    }

    #[test]
    fn a_last_line_counts_with_and_without_its_end() {
        for (raw, lines) in [("", 0), ("\n", 1), ("a", 1), ("a\n", 1), ("a\n\n", 2), ("a\r\n\r\nb", 3), ("\r\r\n\n", 3)] {
            assert_eq!(SourceMap::new(raw.as_bytes()).line_count(), lines, "{raw:?}");
        }
    }

    #[test]
    fn a_bom_shifts_the_first_line() {
        let raw = b"\xef\xbb\xbfab\ncd";
        assert_eq!(offset(raw, 1, 0), Some(3));
        assert_eq!(offset(raw, 2, 1), Some(7));
    }

    #[test]
    fn a_position_outside_has_no_offset() {
        let raw = b"ab\r\ncd";
        assert_eq!(offset(raw, 1, 2), Some(2));
        for (line1, col) in [(0, 0), (-1, 0), (3, 0), (1, 3), (1, -1), (2, 3), (i32::MAX, i32::MAX)] {
            assert_eq!(offset(raw, line1, col), None, "{line1}:{col}");
        }
    }

    #[test]
    fn a_span_that_ends_before_it_starts_is_not_mapped() {
        let map = SourceMap::new(b"abcdef\n");
        let span = |col, end_col| Positions { line: Some(1), col: Some(col), end_line: Some(1), end_col: Some(end_col) };
        assert_eq!(map.byte_span(span(1, 4)), Some(ByteSpan { start: 1, len: 3 }));
        assert_eq!(map.byte_span(span(4, 4)), Some(ByteSpan { start: 4, len: 0 }));
        assert_eq!(map.byte_span(span(4, 1)), None);
        assert_eq!(map.byte_span(Positions { end_col: None, ..span(1, 4) }), None);
    }

    #[test]
    fn only_utf8_is_mapped() {
        let utf8 = [
            "# -*- coding: utf-8 -*-",
            "#coding=UTF_8",
            "\u{c} # vim: set fileencoding=utf8 :",
            "#!/bin/sh\n# coding: u8",
            "\n# coding: utf-8-sig",
            "# coding: utf-8-unix",
            "# coding:\tcp65001",
            "# coding: utf--8",
            "x = 1\n# coding: latin-1",
            "x = 1 # coding: latin-1",
            "'''\n# no comment before it\n# coding: latin-1'''",
            "\n\n# coding: latin-1",
            "# coding latin-1",
            "# coding: \n",
            "# encoding",
        ];
        let other = [
            "# coding: latin-1",
            "# coding: ascii",
            "#coding=iso-8859-15",
            "# coding coding: cp1252",
            "# coding: : coding: cp1252",
            "\t\n  # coding: koi8-r",
            "\r# coding: koi8-r",
            "\r\n# coding: utf-16",
            "# coding: utf8-sig",
            "# coding: utf.8",
        ];
        for raw in utf8 {
            assert!(SourceMap::new(raw.as_bytes()).is_utf8, "{raw:?}");
        }
        for raw in other {
            assert!(!SourceMap::new(raw.as_bytes()).is_utf8, "{raw:?}");
            assert_eq!(offset(raw.as_bytes(), 1, 0), None);
        }
    }

    proptest! {
        /// Translating line ends and splitting at LF, as CPython does, finds the same lines.
        #[test]
        fn lines_are_those_of_the_translated_text(raw in "[ab\r\n\x0c\u{2028}é]{0,40}") {
            let map = SourceMap::new(raw.as_bytes());
            let translated = raw.replace("\r\n", "\n").replace('\r', "\n");
            let expected: Vec<&str> = translated.strip_suffix('\n').unwrap_or(&translated).split('\n').collect();
            let expected = if raw.is_empty() { vec![] } else { expected };
            let found: Vec<&str> = map.lines.iter().map(|line| &raw[line.start..line.start + line.len]).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
