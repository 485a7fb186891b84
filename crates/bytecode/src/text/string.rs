//! `repr` of str and bytes.

use super::printable::NOT_PRINTABLE;
use crate::object::PyStr;

/// Appends a str as `repr` writes it.
pub(super) fn write_str(value: &PyStr, out: &mut String) {
    let quote = quote_for(value.as_bytes());
    out.push(quote);
    match value.as_str() {
        Some(text) => write_text(text, quote, out),
        None => value.code_points().for_each(|point| match char::from_u32(point) {
            Some(char) => write_char(char, quote, out),
            None => write_escape(point, out),
        }),
    }
    out.push(quote);
}

/// Appends bytes as `repr` writes them.
pub(super) fn write_bytes(value: &[u8], out: &mut String) {
    let quote = quote_for(value);
    out.push('b');
    out.push(quote);
    for &byte in value {
        match byte {
            b' '..=b'~' | b'\t' | b'\n' | b'\r' => write_char(char::from(byte), quote, out),
            _ => write_escape(byte.into(), out),
        }
    }
    out.push(quote);
}

/// Python's choice: single quotes, unless that needs escapes and double quotes do not.
fn quote_for(bytes: &[u8]) -> char {
    if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' }
}

/// Copies runs of plain ASCII whole, since most text is nothing else.
fn write_text(text: &str, quote: char, out: &mut String) {
    out.reserve(text.len());
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'\\' && char::from(byte) != quote;
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.bytes().position(|byte| !plain(byte)).unwrap_or(rest.len());
        let (copied, after) = rest.split_at(run);
        out.push_str(copied);
        let mut chars = after.chars();
        if let Some(char) = chars.next() {
            write_char(char, quote, out);
        }
        rest = chars.as_str();
    }
}

fn write_char(char: char, quote: char, out: &mut String) {
    match char {
        '\\' => out.push_str("\\\\"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        _ if char == quote => out.extend(['\\', quote]),
        _ if is_printable(char) => out.push(char),
        _ => write_escape(char.into(), out),
    }
}

fn write_escape(point: u32, out: &mut String) {
    // Digit by digit: megabytes of folded bytes go through here, and `fmt` would take most of their time.
    let (letter, digits) = match point {
        0..=0xFF => ('x', 2),
        0x100..=0xFFFF => ('u', 4),
        _ => ('U', 8),
    };
    out.extend(['\\', letter]);
    out.extend((0..digits).rev().filter_map(|digit| char::from_digit(point >> (4 * digit) & 15, 16)));
}

/// `str.isprintable` of CPython 3.13.
fn is_printable(char: char) -> bool {
    let point = u32::from(char);
    if point < 0x7F {
        return point >= 0x20;
    }
    let after = NOT_PRINTABLE.partition_point(|&(first, _)| first <= point);
    NOT_PRINTABLE.iter().take(after).next_back().is_none_or(|&(_, last)| point > last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> String {
        let mut out = String::new();
        write_str(&PyStr::from(value), &mut out);
        out
    }

    fn bytes(value: &[u8]) -> String {
        let mut out = String::new();
        write_bytes(value, &mut out);
        out
    }

    #[test]
    fn double_quotes_stand_only_where_they_spare_escapes() {
        assert_eq!(text("plain"), "'plain'");
        assert_eq!(text("it's"), "\"it's\"");
        assert_eq!(text("it's \"so\""), r#"'it\'s "so"'"#);
        assert_eq!(bytes(b"it's"), "b\"it's\"");
    }

    #[test]
    fn what_is_not_printable_is_escaped_in_its_shortest_form() {
        assert_eq!(text("a\tb\r\n\\\0\x7f"), r"'a\tb\r\n\\\x00\x7f'");
        assert_eq!(text("é\u{a0}\u{200b}\u{e000}😀\u{10ffff}"), r"'é\xa0\u200b\ue000😀\U0010ffff'");
        assert_eq!(bytes(b"\xff\n\x1f~"), r"b'\xff\n\x1f~'");
    }

    #[test]
    fn lone_surrogates_are_escaped() {
        let mut out = String::new();
        write_str(&PyStr::new(b"a\xed\xb2\x80'").unwrap(), &mut out);
        assert_eq!(out, r#""a\udc80'""#);
    }
}
