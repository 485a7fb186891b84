//! The lines of a source file, as CPython counts them.

use std::borrow::Cow;

/// Source text by line.
pub struct Source {
    lines: Vec<String>,
}

impl Source {
    /// Cuts `source` at LF, CRLF and CR, and nowhere else. What is not UTF-8 is shown by replacement characters: no fact depends on it.
    pub fn new(source: &[u8]) -> Self {
        let text = String::from_utf8_lossy(source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source));
        let text = if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { text };
        Self { lines: text.split('\n').map(str::to_owned).collect() }
    }

    /// The text of a line, counted from 1.
    pub fn line(&self, line1: i32) -> Option<&str> {
        let index = usize::try_from(line1).ok()?.checked_sub(1)?;
        self.lines.get(index).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_cpython_ends_them() {
        let source = Source::new(b"\xef\xbb\xbfone\r\ntwo\rthree\x0cstill\nfour\xff");
        let lines: Vec<_> = (0..=5).map(|line| source.line(line)).collect();
        assert_eq!(lines, [None, Some("one"), Some("two"), Some("three\x0cstill"), Some("four\u{fffd}"), None]);
        assert_eq!(source.line(-1), None);
    }
}
