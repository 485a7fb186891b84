//! The location table: which source range each code unit came from.

use thiserror::Error;

use crate::object::Code;

/// A source range as `code.co_positions()` gives it: lines from 1, columns in UTF-8 bytes from 0, ends exclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Positions {
    /// First line; `None` for code without a source line.
    pub line: Option<i32>,
    /// Last line.
    pub end_line: Option<i32>,
    /// Column in the first line; `None` where CPython kept no columns.
    pub col: Option<i32>,
    /// Column after the end, in the last line.
    pub end_col: Option<i32>,
}

/// Where a source line starts in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineStart {
    /// Byte offset into `co_code`.
    pub offset: i32,
    /// The line from 1; `None` for code without a line.
    pub line: Option<i32>,
}

/// A damaged location table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LocationError {
    /// The table ends inside an entry.
    #[error("location table is cut short in the entry at byte {offset}")]
    Truncated {
        /// Where the entry starts, in bytes from the start of the table.
        offset: usize,
    },
    /// An entry does not start with the bit that starts one, so the entry before it is of another length than it says.
    #[error("location table has no entry at byte {offset}")]
    NotAnEntry {
        /// Where an entry was expected, in bytes from the start of the table.
        offset: usize,
    },
    /// A line, column or code offset beyond 31 bits.
    #[error("location table holds a number beyond 31 bits in the entry at byte {offset}")]
    TooLarge {
        /// Where the entry starts, in bytes from the start of the table.
        offset: usize,
    },
}

/// One entry of the table: the source range of the code from `start` to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Byte offset into `co_code`.
    pub start: i32,
    /// Byte offset into `co_code`, exclusive; at most eight code units after `start`.
    pub end: i32,
    /// The source range.
    pub positions: Positions,
}

/// The entries of a code object's location table, in the order of the code. Ends after the first error.
pub fn locations(code: &Code) -> Locations<'_> {
    let cursor = Cursor { table: &code.linetable, at: 0, line: code.firstlineno, start: 0, end: 0, positions: Positions::default() };
    Locations { cursor }
}

/// `dis.findlinestarts`: the offsets at which the source line changes.
///
/// # Errors
/// When the table is damaged.
pub fn line_starts(code: &Code) -> Result<Vec<LineStart>, LocationError> {
    let mut starts: Vec<LineStart> = Vec::new();
    for location in locations(code) {
        let Location { start, positions: Positions { line, .. }, .. } = location?;
        if starts.last().is_none_or(|last| last.line != line) {
            starts.push(LineStart { offset: start, line });
        }
    }
    Ok(starts)
}

/// Iterator of [`locations`].
#[derive(Debug, Clone)]
pub struct Locations<'a> {
    cursor: Cursor<'a>,
}

impl Iterator for Locations<'_> {
    type Item = Result<Location, LocationError>;

    fn next(&mut self) -> Option<Self::Item> {
        let cursor = &mut self.cursor;
        match cursor.advance() {
            Ok(true) => Some(Ok(Location { start: cursor.start, end: cursor.end, positions: cursor.positions })),
            Ok(false) => None,
            Err(error) => {
                cursor.at = cursor.table.len();
                Some(Err(error))
            }
        }
    }
}

/// A walk through the table that keeps the entry it stands at: an instruction costs no more than the entries it passes.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    table: &'a [u8],
    at: usize,
    /// The line from which the next entry counts; an entry without a line leaves it as it is.
    line: i32,
    pub(crate) start: i32,
    pub(crate) end: i32,
    pub(crate) positions: Positions,
}

impl<'a> Cursor<'a> {
    /// Before the first entry.
    pub(crate) fn new(code: &'a Code) -> Self {
        locations(code).cursor
    }
}

/// Forms of an entry: bits 3 to 6 of its first byte. Below `ONE_LINE` stand the short forms, which hold the high bits of a column.
mod form {
    pub(super) const ONE_LINE: u8 = 10;
    pub(super) const ONE_LINE_LAST: u8 = 12;
    pub(super) const NO_COLUMNS: u8 = 13;
    pub(super) const LONG: u8 = 14;
    pub(super) const NONE: u8 = 15;
}

impl Cursor<'_> {
    /// Goes on to the next entry; `false` at the end of the table.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool, LocationError> {
        let entry = self.at;
        let Some(&first) = self.table.get(entry) else { return Ok(false) };
        if first & 0x80 == 0 {
            return Err(LocationError::NotAnEntry { offset: entry });
        }
        let too_large = LocationError::TooLarge { offset: entry };
        self.at += 1;
        self.start = self.end;
        self.end = self.start.checked_add((i32::from(first & 7) + 1) * 2).ok_or(too_large)?;
        let form = first >> 3 & 15;
        // CPython writes -1 for "none", in lines as in columns.
        let (line, end_line, col, end_col) = match form {
            form::NONE => (-1, -1, -1, -1),
            form::LONG => {
                let line = self.advance_line(entry)?;
                let end_line = line.checked_add(self.varint(entry)?).ok_or(too_large)?;
                (line, end_line, self.varint(entry)? - 1, self.varint(entry)? - 1)
            }
            form::NO_COLUMNS => {
                let line = self.advance_line(entry)?;
                (line, line, -1, -1)
            }
            form::ONE_LINE..=form::ONE_LINE_LAST => {
                self.line = self.line.checked_add(i32::from(form - form::ONE_LINE)).ok_or(too_large)?;
                (self.line, self.line, i32::from(self.byte(entry)?), i32::from(self.byte(entry)?))
            }
            _ => {
                let second = self.byte(entry)?;
                let col = i32::from(form) << 3 | i32::from(second >> 4);
                (self.line, self.line, col, col + i32::from(second & 15))
            }
        };
        self.positions = Positions { line: known(line), end_line: known(end_line), col: known(col), end_col: known(end_col) };
        Ok(true)
    }

    fn advance_line(&mut self, entry: usize) -> Result<i32, LocationError> {
        let zigzag = self.varint(entry)?;
        let delta = if zigzag & 1 == 0 { zigzag >> 1 } else { -(zigzag >> 1) };
        self.line = self.line.checked_add(delta).ok_or(LocationError::TooLarge { offset: entry })?;
        Ok(self.line)
    }

    /// A number in groups of six bits, the lowest first.
    fn varint(&mut self, entry: usize) -> Result<i32, LocationError> {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte(entry)?;
            value |= u64::from(byte & 63) << shift;
            shift += 6;
            if byte & 64 == 0 {
                return i32::try_from(value).map_err(|_| LocationError::TooLarge { offset: entry });
            }
            if shift > 30 {
                return Err(LocationError::TooLarge { offset: entry });
            }
        }
    }

    fn byte(&mut self, entry: usize) -> Result<u8, LocationError> {
        let byte = self.table.get(self.at).copied().ok_or(LocationError::Truncated { offset: entry })?;
        self.at += 1;
        Ok(byte)
    }
}

fn known(value: i32) -> Option<i32> {
    (value != -1).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::code_of;

    fn read(linetable: &[u8]) -> Result<Vec<Location>, LocationError> {
        let code = Code { linetable: linetable.to_vec(), firstlineno: 10, ..code_of(&[]) };
        locations(&code).collect()
    }

    fn place(start: i32, end: i32, line: i32, end_line: i32, col: i32, end_col: i32) -> Location {
        let positions = Positions { line: known(line), end_line: known(end_line), col: known(col), end_col: known(end_col) };
        Location { start, end, positions }
    }

    #[test]
    fn each_form_of_entry_is_read() {
        let short = [0x80 | 2 << 3, 0x35];
        assert_eq!(read(&short), Ok(vec![place(0, 2, 10, 10, 19, 24)]));
        let next_line = [0x80 | 11 << 3 | 1, 4, 90];
        assert_eq!(read(&next_line), Ok(vec![place(0, 4, 11, 11, 4, 90)]));
        let back_three_lines_without_columns = [0x80 | 13 << 3, 7];
        assert_eq!(read(&back_three_lines_without_columns), Ok(vec![place(0, 2, 7, 7, -1, -1)]));
        let long_with_column_100_to_no_column = [0x80 | 14 << 3 | 7, 4, 2, 0x40 | 37, 1, 0];
        assert_eq!(read(&long_with_column_100_to_no_column), Ok(vec![place(0, 16, 12, 14, 100, -1)]));
        let none = [0x80 | 15 << 3];
        assert_eq!(read(&none), Ok(vec![place(0, 2, -1, -1, -1, -1)]));
    }

    #[test]
    fn adjacent_entries_of_one_line_start_it_once() {
        let table = [0x80, 0, 0x80, 0, 0x80 | 15 << 3, 0x80, 0, 0x80 | 11 << 3, 0, 0];
        let code = Code { linetable: table.to_vec(), firstlineno: 10, ..code_of(&[]) };
        let starts: Vec<_> = line_starts(&code).unwrap().into_iter().map(|start| (start.offset, start.line)).collect();
        assert_eq!(starts, [(0, Some(10)), (4, None), (6, Some(10)), (8, Some(11))]);
    }

    #[test]
    fn damage_is_an_error_at_its_entry() {
        assert_eq!(read(&[0x80, 0, 0x80]), Err(LocationError::Truncated { offset: 2 }));
        assert_eq!(read(&[0x80, 0, 0x01]), Err(LocationError::NotAnEntry { offset: 2 }));
        assert_eq!(read(&[0x80 | 13 << 3, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0]), Err(LocationError::TooLarge { offset: 0 }));
    }
}
