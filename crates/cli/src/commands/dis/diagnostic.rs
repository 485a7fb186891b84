//! An error or a warning with the line that it is about.

use bytefacts_compile::{Diagnostic, Severity};

use crate::paint::{BOLD, CYAN, Paint, RED, YELLOW};
use crate::table::width;

/// A line longer than this is shown around the place that matters.
const EXCERPT_CHARACTERS: usize = 120;

/// The diagnostic as compilers write them; columns count from 1, as editors do.
pub fn render(diagnostic: &Diagnostic, path: &str, paint: Paint) -> String {
    let style = match diagnostic.severity {
        Severity::Error => RED,
        Severity::Warning => YELLOW,
    };
    let mut place = width::printable(path).into_owned();
    if let Some(line) = diagnostic.line1 {
        place.push_str(&format!(":{line}"));
        if let Some(col) = diagnostic.col {
            place.push_str(&format!(":{}", i64::from(col) + 1));
        }
    }
    let kind = format!("{}[{}]", diagnostic.severity.as_str(), diagnostic.stage);
    let message = width::printable(&diagnostic.message);
    let mut text = format!("{}: {}: {}: {message}\n", paint.paint(BOLD, &place), paint.paint(style, &kind), diagnostic.error_type);
    if let (Some(line), Some(source)) = (diagnostic.line1, &diagnostic.source_line) {
        let (shown, mark) = excerpt(source, span(diagnostic, source));
        let bar = paint.paint(CYAN, "│");
        text.push_str(&format!("{} {bar} {shown}\n", paint.paint(CYAN, &format!("{line:>6}"))));
        if let Some((blanks, carets)) = mark {
            let (blanks, carets) = (" ".repeat(blanks), "^".repeat(carets));
            text.push_str(&format!("{:>6} {bar} {blanks}{}\n", "", paint.paint(style, &carets)));
        }
    }
    text
}

/// The characters of the line that the diagnostic points at.
fn span(diagnostic: &Diagnostic, source: &str) -> Option<(usize, usize)> {
    let start = usize::try_from(diagnostic.col?).ok()?;
    let length = source.chars().count();
    let same_line = diagnostic.end_line1.is_none() || diagnostic.end_line1 == diagnostic.line1;
    let end = match diagnostic.end_col.and_then(|end| usize::try_from(end).ok()) {
        Some(end) if same_line => end.min(length),
        Some(_) => length,
        None => 0,
    };
    Some((start, end.max(start + 1)))
}

/// The part of a line that matters, and where under it to put how many carets.
fn excerpt(source: &str, span: Option<(usize, usize)>) -> (String, Option<(usize, usize)>) {
    let characters: Vec<char> = source.chars().collect();
    let (start, end) = span.unwrap_or((0, 0));
    let first = if characters.len() > EXCERPT_CHARACTERS { start.saturating_sub(EXCERPT_CHARACTERS / 2) } else { 0 };
    let last = characters.len().min(first + EXCERPT_CHARACTERS);
    let part = |from: usize, to: usize| -> String {
        let text: String = characters.get(from.min(last)..to.min(last)).unwrap_or_default().iter().collect();
        width::printable(&text).into_owned()
    };
    let (before, after) = (if first > 0 { "…" } else { "" }, if last < characters.len() { "…" } else { "" });
    let shown = format!("{before}{}{after}", part(first, last));
    let mark = span.map(|_| (width::of(before) + width::of(&part(first, start)), width::of(&part(start, end)).max(1)));
    (shown.trim_end().to_owned(), mark)
}
