//! `repr` of str and bytes.

use super::Sink;
use super::printable::NOT_PRINTABLE;
use crate::object::PyStr;

/// Writes a str as `repr` does.
pub(super) fn write_str<S: Sink>(value: &PyStr, out: &mut S) -> Result<(), S::Full> {
    let quote = quote_for(value.as_bytes());
    out.take(quote)?;
    match value.as_str() {
        Some(text) => write_text(text, quote, out)?,
        None => value.code_points().try_for_each(|point| match char::from_u32(point) {
            Some(char) => write_char(char, quote, out),
            None => write_escape(point, out),
        })?,
    }
    out.take(quote)
}

/// Writes bytes as `repr` does.
pub(super) fn write_bytes<S: Sink>(value: &[u8], out: &mut S) -> Result<(), S::Full> {
    let quote = quote_for(value);
    out.take("b")?;
    out.take(quote)?;
    let mut rest = value;
    while let Some((plain, first, after)) = next_special(rest, quote) {
        out.take(plain)?;
        match first {
            b' '..=b'~' | b'\t' | b'\n' | b'\r' => write_char(char::from(first), quote, out)?,
            _ => write_escape(first.into(), out)?,
        }
        rest = after;
    }
    out.take(plain(rest))?;
    out.take(quote)
}

/// Python's choice: single quotes, unless that needs escapes and double quotes do not.
fn quote_for(bytes: &[u8]) -> &'static str {
    if bytes.contains(&b'\'') && !bytes.contains(&b'"') { "\"" } else { "'" }
}

/// Runs of plain ASCII are taken whole, since most text is nothing else.
fn write_text<S: Sink>(text: &str, quote: &str, out: &mut S) -> Result<(), S::Full> {
    let mut rest = text;
    while let Some((plain, _, _)) = next_special(rest.as_bytes(), quote) {
        out.take(plain)?;
        let mut chars = rest.get(plain.len()..).unwrap_or_default().chars();
        if let Some(char) = chars.next() {
            write_char(char, quote, out)?;
        }
        rest = chars.as_str();
    }
    out.take(rest)
}

/// The ASCII that needs no escape before the first byte that is something else, that byte, and what follows it.
fn next_special<'a>(bytes: &'a [u8], quote: &str) -> Option<(&'a str, u8, &'a [u8])> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'\\' && quote.as_bytes() != [byte];
    let (before, from) = bytes.split_at(bytes.iter().position(|byte| !is_plain(*byte))?);
    let (first, after) = from.split_first()?;
    Some((plain(before), *first, after))
}

/// Bytes that are ASCII as text.
fn plain(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

fn write_char<S: Sink>(char: char, quote: &str, out: &mut S) -> Result<(), S::Full> {
    match char {
        '\\' => out.take("\\\\"),
        '\t' => out.take("\\t"),
        '\n' => out.take("\\n"),
        '\r' => out.take("\\r"),
        '\'' if quote == "'" => out.take("\\'"),
        '"' if quote == "\"" => out.take("\\\""),
        _ if is_printable(char) => out.take(char.encode_utf8(&mut [0; 4])),
        _ => write_escape(char.into(), out),
    }
}

fn write_escape<S: Sink>(point: u32, out: &mut S) -> Result<(), S::Full> {
    // Digit by digit: megabytes of folded bytes go through here, and `fmt` would take most of their time.
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |at: u32| DIGITS.get((point >> (4 * at) & 15) as usize).copied().unwrap_or(b'0');
    match point {
        0..=0xFF => out.take(plain(&[b'\\', b'x', digit(1), digit(0)])),
        0x100..=0xFFFF => out.take(plain(&[b'\\', b'u', digit(3), digit(2), digit(1), digit(0)])),
        _ => {
            let [a, b, c, d] = [7, 6, 5, 4].map(digit);
            let [e, f, g, h] = [3, 2, 1, 0].map(digit);
            out.take(plain(&[b'\\', b'U', a, b, c, d, e, f, g, h]))
        }
    }
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
        let Ok(()) = write_str(&PyStr::from(value), &mut out);
        out
    }

    fn bytes(value: &[u8]) -> String {
        let mut out = String::new();
        let Ok(()) = write_bytes(value, &mut out);
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
        let Ok(()) = write_str(&PyStr::new(b"a\xed\xb2\x80'").unwrap(), &mut out);
        assert_eq!(out, r#""a\udc80'""#);
    }
}
