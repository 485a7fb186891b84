//! Lines and spans: within the file, and in order.

use super::{
    Check, Place,
    code::{Code, UnitScope},
    columns::{Point, Span},
};

impl UnitScope<'_, '_> {
    pub(super) fn lines(&mut self, code: &Code) {
        let limit = self.file.rows.source_lines.get(self.file.row).map(|lines| lines.max(1));
        self.line_table(code, limit);
        let instrs = &self.columns.instructions.items;
        let bytes = self.file.rows.source_bytes.get(self.file.row);
        for (nth, at) in self.instrs.clone().enumerate() {
            if let Some(line) = instrs.line_number.get(at) {
                self.line(line, limit, Place::Instr(nth));
            }
            if let Some(span) = instrs.span.get(at) {
                let fault = span_fault(span, at, limit, bytes);
                self.expect(Check::LineSpan, fault.is_none(), Place::Instr(nth), || fault.unwrap_or_default());
            }
        }
    }

    /// A line number of the file: from 1, and 0 for code that comes before the first line.
    fn line(&mut self, line: i32, limit: Option<i32>, place: Place) {
        let inside = line >= 0 && limit.is_none_or(|limit| line <= limit);
        self.expect(Check::LineInFile, inside, place, || format!("line {line} of a file of {limit:?} lines"));
    }

    fn line_table(&mut self, code: &Code, limit: Option<i32>) {
        let lines = &self.columns.line_table.items;
        let instrs = &self.columns.instructions.items;
        let mut last = -1;
        let mut starts = Vec::new();
        for (nth, at) in self.columns.line_table.range(self.unit).enumerate() {
            let (offset, line1, line0) = (lines.offset.get(at).unwrap_or(-1), lines.line1.get(at), lines.line0.get(at));
            let zero_based = line1.map(|line| line - 1).filter(|line| *line >= 0);
            let holds = offset > last && code.at(offset).is_some() && line0 == zero_based;
            self.expect(Check::LineTable, holds, Place::Line(nth), || {
                format!("offset {offset} behind {last}, line1 {line1:?} and line0 {line0:?}")
            });
            if let Some(line) = line1 {
                self.line(line, limit, Place::Line(nth));
            }
            last = offset;
            starts.push(offset);
        }
        for (nth, at) in self.instrs.clone().enumerate() {
            let starts_line = instrs.starts_line.get(at);
            let in_table = instrs.offset.get(at).is_some_and(|offset| starts.binary_search(&offset).is_ok());
            if starts_line != Some(i32::from(in_table)) {
                self.find(Check::LineTable, Place::Instr(nth), || {
                    format!("starts_line is {starts_line:?}, the line table says {in_table}")
                });
            }
        }
    }
}

/// What is wrong with a span.
fn span_fault(span: &Span<'_>, at: usize, limit: Option<i32>, bytes: Option<i64>) -> Option<String> {
    let point = |point: &Point<'_>| (point.line0.get(at), point.col.get(at));
    let (start, end) = (point(&span.start), point(&span.end));
    let inside = |(line, col): (Option<i32>, Option<i32>)| {
        line.is_none_or(|line| line >= 0 && limit.is_none_or(|limit| line < limit)) && col.is_none_or(|col| col >= 0)
    };
    if !inside(start) || !inside(end) {
        return Some(format!("from {start:?} to {end:?} in a file of {limit:?} lines"));
    }
    let backwards = match (start, end) {
        ((Some(from), Some(col)), (Some(to), Some(end_col))) => (to, end_col) < (from, col),
        ((Some(from), _), (Some(to), _)) => to < from,
        _ => false,
    };
    if backwards {
        return Some(format!("from {start:?} back to {end:?}"));
    }
    let mapped = span.byte_span.get(at)?;
    let (first, len) = (mapped.byte_start.get(at).map(i64::from), mapped.byte_len.get(at).map(i64::from));
    let (Some(first), Some(len)) = (first, len) else { return Some("half of a byte span".to_owned()) };
    let holds = first >= 0 && len >= 0 && bytes.is_none_or(|bytes| first + len <= bytes);
    (!holds).then(|| format!("{len} bytes from byte {first} in a file of {bytes:?} bytes"))
}
