//! The exception table: which handler covers which range of the code.

use thiserror::Error;

use crate::object::Code;

/// One entry of `co_exceptiontable`. Offsets are byte offsets into `co_code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExceptionEntry {
    /// First covered offset.
    pub start: i32,
    /// End of the covered range, exclusive.
    pub end: i32,
    /// Offset of the handler.
    pub target: i32,
    /// Depth to which the stack is cut before the handler is entered.
    pub depth: i32,
    /// Whether the offset of the raising instruction is pushed before the exception.
    pub lasti: bool,
}

/// A damaged exception table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ExceptionTableError {
    /// An entry ends in its middle.
    #[error("exception table is cut short in the entry at byte {offset}")]
    Truncated {
        /// Where the entry starts, in bytes from the start of the table.
        offset: usize,
    },
    /// A number does not fit.
    #[error("exception table holds a number beyond 31 bits in the entry at byte {offset}")]
    TooLarge {
        /// Where the entry starts, in bytes from the start of the table.
        offset: usize,
    },
    /// An entry points outside the code or between its units, or covers nothing.
    #[error("exception table entry at byte {offset} points outside the code: {start}..{end} to {target}")]
    OutsideCode {
        /// Where the entry starts, in bytes from the start of the table.
        offset: usize,
        /// Start of the entry's range.
        start: i32,
        /// End of the entry's range, exclusive.
        end: i32,
        /// The entry's handler.
        target: i32,
    },
}

/// The entries of a code object's exception table, in its order.
///
/// # Errors
/// When the table is cut short, holds a number beyond 31 bits, or an entry points outside the code. (CPython drops a last entry
/// that is cut short, and checks nothing else; it never writes such a table.)
pub fn parse(code: &Code) -> Result<Vec<ExceptionEntry>, ExceptionTableError> {
    let table = code.exceptiontable.as_slice();
    // An entry takes at least four bytes, and nearly always no more than five.
    let mut entries = Vec::with_capacity(table.len() / 4);
    let mut at = 0;
    while at < table.len() {
        let offset = at;
        let mut number = || varint(table, &mut at, offset);
        let (start, length, target, depth_lasti) = (number()?, number()?, number()?, number()?);
        // The table counts code units of two bytes.
        let byte = |units: i64| i32::try_from(units * 2).map_err(|_| ExceptionTableError::TooLarge { offset });
        let (start, end, target) = (byte(start)?, byte(start + length)?, byte(target)?);
        let code_len = code.code.len() as u64;
        if start >= end || i64::from(end).cast_unsigned() > code_len || i64::from(target).cast_unsigned() >= code_len {
            return Err(ExceptionTableError::OutsideCode { offset, start, end, target });
        }
        let depth = i32::try_from(depth_lasti >> 1).map_err(|_| ExceptionTableError::TooLarge { offset })?;
        entries.push(ExceptionEntry { start, end, target, depth, lasti: depth_lasti & 1 == 1 });
    }
    Ok(entries)
}

/// A number in groups of six bits, the highest first.
fn varint(table: &[u8], at: &mut usize, offset: usize) -> Result<i64, ExceptionTableError> {
    let mut value = 0;
    loop {
        let byte = *table.get(*at).ok_or(ExceptionTableError::Truncated { offset })?;
        *at += 1;
        value = value << 6 | i64::from(byte & 63);
        if value > i64::from(i32::MAX) {
            return Err(ExceptionTableError::TooLarge { offset });
        }
        if byte & 64 == 0 {
            return Ok(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::code_of;

    fn read(exceptiontable: &[u8]) -> Result<Vec<ExceptionEntry>, ExceptionTableError> {
        parse(&Code { exceptiontable: exceptiontable.to_vec(), ..code_of(&[0; 200]) })
    }

    #[test]
    fn numbers_count_code_units_in_groups_of_six_bits() {
        let entry = ExceptionEntry { start: 4, end: 10, target: 130, depth: 2, lasti: true };
        assert_eq!(read(&[0x82, 3, 0x41, 1, 5]), Ok(vec![entry]));
        assert_eq!(read(&[]), Ok(Vec::new()));
    }

    #[test]
    fn damage_is_an_error_at_its_entry() {
        assert_eq!(read(&[0x80, 1, 2, 0, 0x80, 1]), Err(ExceptionTableError::Truncated { offset: 4 }));
        assert_eq!(read(&[0x80, 0x41, 0x25, 2, 0]), Err(ExceptionTableError::OutsideCode { offset: 0, start: 0, end: 202, target: 4 }));
        assert_eq!(read(&[0x7F; 9]), Err(ExceptionTableError::TooLarge { offset: 0 }));
    }
}
