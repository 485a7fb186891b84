//! Code objects as canonical bytes: what `marshal.dumps(code, 2)` of CPython 3.13 writes.
//!
//! Version 2 has no references and does not tell interned strings from others, so that its bytes follow from the values alone, whereas those of
//! later versions, which `.pyc` files have, also tell what else the process had compiled. What was read of any version is comparable in this form.

use crate::object::{Code, Const, PyStr};

/// Name and version of the form; it stands beside the digests that are made of it.
pub const FORM: &str = "marshal.2";

/// The canonical bytes of a code object.
#[must_use]
pub fn encode(code: &Code) -> Vec<u8> {
    let mut writer = Writer { filename: None, out: Vec::with_capacity(code.code.len() * 4) };
    writer.code(code);
    writer.out
}

/// The same with `filename` in the place of each `co_filename`, so that code that was compiled under different names can be compared.
#[must_use]
pub fn encode_as(code: &Code, filename: &str) -> Vec<u8> {
    let mut writer = Writer { filename: Some(PyStr::from(filename)), out: Vec::with_capacity(code.code.len() * 4) };
    writer.code(code);
    writer.out
}

struct Writer {
    filename: Option<PyStr>,
    out: Vec<u8>,
}

impl Writer {
    fn code(&mut self, code: &Code) {
        self.out.push(b'c');
        for number in [code.argcount, code.posonlyargcount, code.kwonlyargcount, code.stacksize, code.flags] {
            self.int(number);
        }
        self.bytes(&code.code);
        self.sequence(b'(', &code.consts);
        self.strs(&code.names);
        self.strs(&code.localsplusnames);
        self.bytes(&code.localspluskinds);
        let filename = self.filename.take();
        self.str(filename.as_ref().unwrap_or(&code.filename));
        self.filename = filename;
        self.str(&code.name);
        self.str(&code.qualname);
        self.int(code.firstlineno);
        self.bytes(&code.linetable);
        self.bytes(&code.exceptiontable);
    }

    fn constant(&mut self, constant: &Const) {
        match constant {
            Const::None => self.out.push(b'N'),
            Const::Bool(value) => self.out.push(if *value { b'T' } else { b'F' }),
            Const::Ellipsis => self.out.push(b'.'),
            Const::Int(value) => match value.to_i64().and_then(|small| i32::try_from(small).ok()) {
                Some(small) => {
                    self.out.push(b'i');
                    self.int(small);
                }
                None => {
                    let (negative, digits) = value.to_digits();
                    let length = length(digits.len());
                    self.out.push(b'l');
                    self.int(if negative { -length } else { length });
                    self.out.extend(digits.into_iter().flat_map(u16::to_le_bytes));
                }
            },
            Const::Float(value) => {
                self.out.push(b'g');
                self.out.extend(value.to_le_bytes());
            }
            Const::Complex(real, imaginary) => {
                self.out.push(b'y');
                self.out.extend(real.to_le_bytes());
                self.out.extend(imaginary.to_le_bytes());
            }
            Const::Str(text) => self.str(text),
            Const::Bytes(bytes) => self.bytes(bytes),
            Const::Tuple(items) => self.sequence(b'(', items),
            Const::FrozenSet(items) => self.frozen_set(items),
            // CPython 3.13 has no such constants; 3.14 writes them so.
            Const::Slice(parts) => {
                self.out.push(b':');
                for part in parts.iter() {
                    self.constant(part);
                }
            }
            Const::Code(code) => self.code(code),
        }
    }

    /// CPython sorts the elements by their marshalled bytes.
    fn frozen_set(&mut self, items: &[Const]) {
        let mut encoded: Vec<Vec<u8>> = items
            .iter()
            .map(|item| {
                let mut element = Self { filename: self.filename.clone(), out: Vec::new() };
                element.constant(item);
                element.out
            })
            .collect();
        encoded.sort_unstable();
        self.out.push(b'>');
        self.length(items.len());
        for element in encoded {
            self.out.extend(element);
        }
    }

    fn sequence(&mut self, tag: u8, items: &[Const]) {
        self.out.push(tag);
        self.length(items.len());
        for item in items {
            self.constant(item);
        }
    }

    fn strs(&mut self, items: &[PyStr]) {
        self.out.push(b'(');
        self.length(items.len());
        for item in items {
            self.str(item);
        }
    }

    fn str(&mut self, text: &PyStr) {
        self.out.push(b'u');
        self.length(text.as_bytes().len());
        self.out.extend(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.push(b's');
        self.length(bytes.len());
        self.out.extend(bytes);
    }

    fn length(&mut self, count: usize) {
        self.int(length(count));
    }

    fn int(&mut self, value: i32) {
        self.out.extend(value.to_le_bytes());
    }
}

/// Nothing is longer than 31 bits can count: all of it was read with such lengths, or the source would have been too large to compile.
fn length(count: usize) -> i32 {
    debug_assert!(i32::try_from(count).is_ok(), "{count} is no length");
    count as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marshal;

    fn again(bytes: &[u8]) -> Vec<u8> {
        let mut writer = Writer { filename: None, out: Vec::new() };
        writer.constant(&marshal::read(bytes).unwrap());
        writer.out
    }

    #[test]
    fn what_version_2_writes_is_written_again() {
        for bytes in [
            &b"N"[..],
            b"T",
            b"i\xfe\xff\xff\xff",
            b"i\x00\x00\x00\x80",
            b"l\xfd\xff\xff\xff\x01\x00\x00\x00\x02\x00",
            b"l\x03\x00\x00\x00\x00\x00\x00\x00\x02\x00",
            b"l\x06\x00\x00\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x06\x00",
            b"g\x00\x00\x00\x00\x00\x00\xf8\x7f",
            b"u\x03\x00\x00\x00\xed\xb2\x80",
            b"(\x02\x00\x00\x00Ns\x01\x00\x00\x00x",
            b">\x02\x00\x00\x00i\x01\x00\x00\x00u\x01\x00\x00\x00a",
        ] {
            assert_eq!(again(bytes), bytes);
        }
    }

    #[test]
    fn references_interning_and_order_of_sets_vanish() {
        assert_eq!(again(b"\xa9\x02\xda\x01ar\x01\x00\x00\x00"), again(b"(\x02\x00\x00\x00u\x01\x00\x00\x00az\x01a"));
        assert_eq!(again(b">\x02\x00\x00\x00z\x01bz\x01a"), again(b">\x02\x00\x00\x00u\x01\x00\x00\x00au\x01\x00\x00\x00b"));
    }
}
