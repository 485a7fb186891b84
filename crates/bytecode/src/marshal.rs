//! Reader of the marshal format, versions 0 to 4, as CPython 3.13 writes it.
//!
//! The reader trusts nothing: depth is bounded as CPython bounds it, a length prefix reserves no more than a constant ahead of
//! the bytes that justify it, and shared objects are expanded only up to [`expansion_limit`].

use thiserror::Error;

use crate::object::{Code, Const, InvalidStr, PyInt, PyStr, flag, local_kind};

/// How deep objects may be nested: CPython's own bound.
pub const MAX_DEPTH: usize = 2000;

/// How many bytes of memory the references in a stream of `length` bytes may expand to.
///
/// A reference stands for another copy of an object, so a hundred bytes can describe more tuples than there are atoms. Code from
/// CPython expands to about twice its length.
#[must_use]
pub fn expansion_limit(length: usize) -> usize {
    length.saturating_mul(16).saturating_add(64 << 20)
}

/// Bytes that are not the marshalled form of a constant. Offsets are in bytes from the start of the input.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum MarshalError {
    /// The input ends inside an object, or a length exceeds it.
    #[error("marshal data ends too early: {needed} bytes wanted at byte {offset}")]
    Truncated { offset: usize, needed: usize },
    /// Input goes on after the object.
    #[error("marshal data goes on after its object, at byte {offset}")]
    TrailingBytes { offset: usize },
    /// A type code that CPython 3.13 does not know.
    #[error("unknown marshal type {tag:#04x} at byte {offset}")]
    UnknownType { offset: usize, tag: u8 },
    /// A well-known type that cannot be part of a code object.
    #[error("a {kind} is no constant, at byte {offset}")]
    NotConstant { offset: usize, kind: &'static str },
    /// A length below zero.
    #[error("negative length {length} at byte {offset}")]
    NegativeLength { offset: usize, length: i32 },
    /// A reference to an object that was not read before, or is being read.
    #[error("invalid reference {index} at byte {offset}")]
    InvalidReference { offset: usize, index: i32 },
    /// More than [`MAX_DEPTH`] objects inside each other.
    #[error("objects nested too deeply at byte {offset}")]
    TooDeep { offset: usize },
    /// References that expand beyond [`expansion_limit`].
    #[error("references expand to more than {limit} bytes at byte {offset}")]
    TooLarge { offset: usize, limit: usize },
    /// A str that is not UTF-8.
    #[error("invalid str at byte {offset}")]
    InvalidStr { offset: usize, source: InvalidStr },
    /// A number that CPython would not have written.
    #[error("invalid {kind} at byte {offset}")]
    InvalidNumber { offset: usize, kind: &'static str },
    /// A field of a code object that is of another type than CPython writes.
    #[error("{field} is a {found}, not a {expected}, at byte {offset}")]
    WrongType { offset: usize, field: &'static str, expected: &'static str, found: &'static str },
    /// A code object whose fields contradict each other.
    #[error("malformed code object at byte {offset}: {reason}")]
    InvalidCode { offset: usize, reason: &'static str },
}

/// Reads one constant, which must be the whole input.
///
/// # Errors
/// When the input is not what `marshal.dumps` of CPython 3.13 writes for a constant.
pub fn read(bytes: &[u8]) -> Result<Const, MarshalError> {
    let mut reader = Reader::new(bytes);
    let constant = reader.object()?;
    if reader.at < bytes.len() {
        return Err(MarshalError::TrailingBytes { offset: reader.at });
    }
    Ok(constant)
}

/// Reads a code object, which must be the whole input.
///
/// # Errors
/// As [`read`], and when the input is another constant.
pub fn read_code(bytes: &[u8]) -> Result<Code, MarshalError> {
    match read(bytes)? {
        Const::Code(code) => Ok(*code),
        other => Err(MarshalError::WrongType { offset: 0, field: "the input", expected: "code", found: other.type_name() }),
    }
}

/// Marks an object that later references may name.
const FLAG_REF: u8 = 0x80;

/// Room reserved for a sequence before its items are there to justify more.
const RESERVE: usize = 256;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Where each object stands that can be referred to; `None` while it is being read.
    refs: Vec<Option<usize>>,
    /// A reference is followed by reading its object again where it stands; this deep we are in such readings.
    replays: usize,
    /// What is left of the expansion limit.
    budget: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, refs: Vec::new(), replays: 0, budget: expansion_limit(bytes.len()) }
    }

    fn object(&mut self) -> Result<Const, MarshalError> {
        if self.depth == MAX_DEPTH {
            return Err(MarshalError::TooDeep { offset: self.at });
        }
        self.depth += 1;
        self.charge(size_of::<Const>())?;
        let offset = self.at;
        let tag = self.byte()?;
        let object = match tag & !FLAG_REF {
            b'N' => Const::None,
            b'F' => Const::Bool(false),
            b'T' => Const::Bool(true),
            b'.' => Const::Ellipsis,
            b'r' => self.reference(offset)?,
            kind => self.referable(kind, tag & FLAG_REF != 0, offset)?,
        };
        self.depth -= 1;
        Ok(object)
    }

    /// Reads an object that takes a place among the references if it is flagged.
    fn referable(&mut self, kind: u8, flagged: bool, offset: usize) -> Result<Const, MarshalError> {
        let place = (flagged && self.replays == 0).then(|| {
            self.refs.push(None);
            self.refs.len() - 1
        });
        let object = match kind {
            b'c' => self.code(offset)?,
            b')' => {
                let length = self.byte()?;
                Const::Tuple(self.items(length.into())?)
            }
            b'(' => {
                let length = self.length()?;
                Const::Tuple(self.items(length)?)
            }
            b'>' => {
                let length = self.length()?;
                Const::FrozenSet(self.items(length)?)
            }
            _ => self.atom(kind, offset)?,
        };
        if let Some(entry) = place.and_then(|place| self.refs.get_mut(place)) {
            *entry = Some(offset);
        }
        Ok(object)
    }

    // Kept out of line so that its locals do not weigh on the stack of the recursion.
    #[inline(never)]
    fn atom(&mut self, kind: u8, offset: usize) -> Result<Const, MarshalError> {
        let not_constant = |kind| Err(MarshalError::NotConstant { offset, kind });
        match kind {
            b'i' => Ok(Const::Int(PyInt::from(i64::from(self.int()?)))),
            b'I' => Ok(Const::Int(PyInt::from(i64::from_le_bytes(self.array()?)))),
            b'l' => self.long(offset).map(Const::Int),
            b'g' => Ok(Const::Float(f64::from_le_bytes(self.array()?))),
            b'y' => Ok(Const::Complex(f64::from_le_bytes(self.array()?), f64::from_le_bytes(self.array()?))),
            b'f' => Ok(Const::Float(self.float_text(offset)?)),
            b'x' => Ok(Const::Complex(self.float_text(offset)?, self.float_text(offset)?)),
            b's' => {
                let length = self.length()?;
                Ok(Const::Bytes(self.take(length)?.into()))
            }
            b'z' | b'Z' => {
                let length = self.byte()?;
                self.str(length.into())
            }
            b'a' | b'A' | b'u' | b't' => {
                let length = self.length()?;
                self.str(length)
            }
            b'[' => not_constant("list"),
            b'{' => not_constant("dict"),
            b'<' => not_constant("set"),
            b'S' => not_constant("StopIteration"),
            tag => Err(MarshalError::UnknownType { offset, tag }),
        }
    }

    #[inline(never)]
    fn reference(&mut self, offset: usize) -> Result<Const, MarshalError> {
        let index = self.int()?;
        let place = usize::try_from(index).ok().and_then(|index| self.refs.get(index).copied().flatten());
        let place = place.ok_or(MarshalError::InvalidReference { offset, index })?;
        let resume = std::mem::replace(&mut self.at, place);
        self.replays += 1;
        let object = self.object()?;
        self.replays -= 1;
        self.at = resume;
        Ok(object)
    }

    fn items(&mut self, length: usize) -> Result<Vec<Const>, MarshalError> {
        let mut items = Vec::with_capacity(length.min(RESERVE));
        for _ in 0..length {
            items.push(self.object()?);
        }
        Ok(items)
    }

    #[inline(never)]
    fn code(&mut self, offset: usize) -> Result<Const, MarshalError> {
        self.charge(size_of::<Code>())?;
        // In the order of the stream.
        let code = Box::new(Code {
            argcount: self.int()?,
            posonlyargcount: self.int()?,
            kwonlyargcount: self.int()?,
            stacksize: self.int()?,
            flags: self.int()?,
            code: self.bytes_field("co_code")?,
            consts: self.tuple_field("co_consts")?,
            names: self.strs_field("co_names")?,
            localsplusnames: self.strs_field("co_localsplusnames")?,
            localspluskinds: self.bytes_field("co_localspluskinds")?,
            filename: self.str_field("co_filename")?,
            name: self.str_field("co_name")?,
            qualname: self.str_field("co_qualname")?,
            firstlineno: self.int()?,
            linetable: self.bytes_field("co_linetable")?,
            exceptiontable: self.bytes_field("co_exceptiontable")?,
        });
        match contradiction(&code) {
            Some(reason) => Err(MarshalError::InvalidCode { offset, reason }),
            None => Ok(Const::Code(code)),
        }
    }

    fn bytes_field(&mut self, field: &'static str) -> Result<Vec<u8>, MarshalError> {
        let offset = self.at;
        match self.object()? {
            Const::Bytes(bytes) => Ok(bytes.into()),
            other => Err(MarshalError::WrongType { offset, field, expected: "bytes", found: other.type_name() }),
        }
    }

    fn str_field(&mut self, field: &'static str) -> Result<PyStr, MarshalError> {
        let offset = self.at;
        into_str(self.object()?, field, offset)
    }

    fn tuple_field(&mut self, field: &'static str) -> Result<Vec<Const>, MarshalError> {
        let offset = self.at;
        match self.object()? {
            Const::Tuple(items) => Ok(items),
            other => Err(MarshalError::WrongType { offset, field, expected: "tuple", found: other.type_name() }),
        }
    }

    fn strs_field(&mut self, field: &'static str) -> Result<Vec<PyStr>, MarshalError> {
        let offset = self.at;
        self.tuple_field(field)?.into_iter().map(|item| into_str(item, field, offset)).collect()
    }

    fn str(&mut self, length: usize) -> Result<Const, MarshalError> {
        let offset = self.at;
        let text = PyStr::new(self.take(length)?);
        text.map(Const::Str).map_err(|source| MarshalError::InvalidStr { offset: offset + source.offset, source })
    }

    /// A number as text, which versions 0 and 1 write.
    fn float_text(&mut self, offset: usize) -> Result<f64, MarshalError> {
        let length = self.byte()?;
        let text = str::from_utf8(self.take(length.into())?).ok();
        text.and_then(|text| text.parse().ok()).ok_or(MarshalError::InvalidNumber { offset, kind: "float" })
    }

    fn long(&mut self, offset: usize) -> Result<PyInt, MarshalError> {
        let signed_length = self.int()?;
        let length = usize::try_from(signed_length.unsigned_abs()).unwrap_or(usize::MAX);
        let (digits, _) = self.take(length.saturating_mul(2))?.as_chunks();
        let digits = digits.iter().map(|&digit| u16::from_le_bytes(digit));
        if digits.clone().any(|digit| digit > 0x7FFF) || digits.clone().next_back() == Some(0) {
            return Err(MarshalError::InvalidNumber { offset, kind: "int" });
        }
        Ok(PyInt::from_digits(signed_length < 0, digits))
    }

    fn length(&mut self) -> Result<usize, MarshalError> {
        let offset = self.at;
        let length = self.int()?;
        usize::try_from(length).map_err(|_| MarshalError::NegativeLength { offset, length })
    }

    fn int(&mut self) -> Result<i32, MarshalError> {
        self.array().map(i32::from_le_bytes)
    }

    fn byte(&mut self) -> Result<u8, MarshalError> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MarshalError> {
        let offset = self.at;
        let chunk = self.take(N)?.first_chunk();
        chunk.copied().ok_or(MarshalError::Truncated { offset, needed: N })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], MarshalError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or(MarshalError::Truncated { offset: self.at, needed: length })?;
        self.charge(length)?;
        self.at += length;
        Ok(taken)
    }

    /// Takes memory off the expansion limit, if this is the second time that the object is read.
    fn charge(&mut self, cost: usize) -> Result<(), MarshalError> {
        if self.replays > 0 {
            let limit = expansion_limit(self.bytes.len());
            self.budget = self.budget.checked_sub(cost).ok_or(MarshalError::TooLarge { offset: self.at, limit })?;
        }
        Ok(())
    }
}

fn into_str(object: Const, field: &'static str, offset: usize) -> Result<PyStr, MarshalError> {
    match object {
        Const::Str(text) => Ok(text),
        other => Err(MarshalError::WrongType { offset, field, expected: "str", found: other.type_name() }),
    }
}

/// What CPython checks before it makes a code object.
fn contradiction(code: &Code) -> Option<&'static str> {
    let counts = [code.argcount, code.kwonlyargcount, i32::from(code.has_flag(flag::VARARGS)), i32::from(code.has_flag(flag::VARKEYWORDS))];
    let arguments: i64 = counts.into_iter().map(i64::from).sum();
    let locals = code.localspluskinds.iter().filter(|&&kind| kind & local_kind::LOCAL != 0).count();
    let checks = [
        (code.posonlyargcount < 0 || code.argcount < code.posonlyargcount, "more positional-only arguments than arguments"),
        (code.kwonlyargcount < 0, "a negative number of keyword-only arguments"),
        (code.stacksize < 0, "a negative stack size"),
        (code.flags < 0, "negative flags"),
        (!code.code.len().is_multiple_of(2), "co_code is not made of whole code units"),
        (code.localsplusnames.len() != code.localspluskinds.len(), "as many kinds as names of locals are wanted"),
        (arguments > i64::try_from(locals).unwrap_or(i64::MAX), "more arguments than local variables"),
    ];
    checks.into_iter().find_map(|(wrong, reason)| wrong.then_some(reason))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        crate::text::repr(&read(bytes).unwrap(), "a.py")
    }

    #[test]
    fn constants_of_every_version_are_read() {
        assert_eq!(text(b"i\xfe\xff\xff\xff"), "-2");
        assert_eq!(text(b"I\x00\x00\x00\x00\x01\x00\x00\x00"), "4294967296");
        assert_eq!(text(b"l\xfd\xff\xff\xff\x00\x00\x00\x00\x01\x00"), "-1073741824");
        assert_eq!(text(b"f\x051e+16"), "1e+16");
        assert_eq!(text(b"x\x03nan\x02-0"), "(nan-0j)");
        assert_eq!(text(b"g\x00\x00\x00\x00\x00\x00\xf8\x7f"), "nan");
        assert_eq!(text(b"u\x03\x00\x00\x00\xed\xb2\x80"), "'\\udc80'");
        assert_eq!(text(b")\x03\xda\x01ar\x00\x00\x00\x00N"), "('a', 'a', None)");
        assert_eq!(text(b">\x02\x00\x00\x00z\x01bz\x01a"), "frozenset({'a', 'b'})");
    }

    #[test]
    fn a_reference_names_objects_in_the_order_in_which_they_start() {
        // The outer tuple is 0, its first item 1.
        assert_eq!(text(b"\xa9\x03\xa9\x01\xfa\x01ar\x01\x00\x00\x00r\x02\x00\x00\x00"), "(('a',), ('a',), 'a')");
    }

    #[test]
    fn what_cannot_be_in_code_is_refused_with_its_place() {
        let error = |bytes: &[u8]| read(bytes).unwrap_err();
        assert_eq!(error(b""), MarshalError::Truncated { offset: 0, needed: 1 });
        assert_eq!(error(b"NN"), MarshalError::TrailingBytes { offset: 1 });
        assert_eq!(error(b")\x01?"), MarshalError::UnknownType { offset: 2, tag: b'?' });
        assert_eq!(error(b")\x01[\x00\x00\x00\x00"), MarshalError::NotConstant { offset: 2, kind: "list" });
        assert_eq!(error(b"s\xff\xff\xff\xff"), MarshalError::NegativeLength { offset: 1, length: -1 });
        assert_eq!(error(b"u\x02\x00\x00\x00a\xff"), MarshalError::InvalidStr { offset: 6, source: InvalidStr { offset: 1 } });
        assert_eq!(error(b"l\x01\x00\x00\x00\x00\x00"), MarshalError::InvalidNumber { offset: 0, kind: "int" });
        assert_eq!(error(b"f\x03one"), MarshalError::InvalidNumber { offset: 0, kind: "float" });
        assert_eq!(error(b"r\x00\x00\x00\x00"), MarshalError::InvalidReference { offset: 0, index: 0 });
        assert!(matches!(read_code(b"N"), Err(MarshalError::WrongType { found: "NoneType", .. })));
    }

    #[test]
    fn an_object_cannot_refer_to_itself() {
        assert_eq!(read(b"\xa9\x01r\x00\x00\x00\x00"), Err(MarshalError::InvalidReference { offset: 2, index: 0 }));
    }

    #[test]
    fn a_length_prefix_reserves_nothing() {
        // Each tuple claims two thousand million items.
        let claims = b"(\xff\xff\xff\x7f".repeat(1900);
        assert!(matches!(read(&claims), Err(MarshalError::Truncated { .. })));
        assert!(matches!(read(b"s\xff\xff\xff\x7f"), Err(MarshalError::Truncated { needed: 0x7FFF_FFFF, .. })));
    }

    #[test]
    fn references_cannot_expand_without_bound() {
        // Each tuple holds the one before it twice: 2^60 items in all.
        let mut bomb = b")\x3d\xa9\x01N".to_vec();
        for index in 0..60_u32 {
            bomb.extend(b"\xa9\x02");
            bomb.extend([b"r".as_slice(), &index.to_le_bytes()].concat().repeat(2));
        }
        assert!(matches!(read(&bomb), Err(MarshalError::TooLarge { .. })));
    }

    #[test]
    fn depth_is_bounded_before_a_small_stack_ends() {
        let on_small_stack = |bytes: Vec<u8>| {
            let reading =
                thread::Builder::new().stack_size(2 << 20).spawn(move || read(&bytes).map(|found| crate::text::repr(&found, "").len()));
            reading.unwrap().join().unwrap()
        };
        let nested = |depth: usize| [b")\x01".repeat(depth), b"N".to_vec()].concat();
        assert_eq!(on_small_stack(nested(MAX_DEPTH - 1)), Ok(3 * (MAX_DEPTH - 1) + 4));
        assert_eq!(on_small_stack(nested(MAX_DEPTH)), Err(MarshalError::TooDeep { offset: 2 * MAX_DEPTH }));
        // A code object takes the most room: 20 bytes of counts, co_code, then co_consts with the next code object.
        let codes = [b"c".as_slice(), &[0; 20], b"s\x00\x00\x00\x00)\x01"].concat().repeat(MAX_DEPTH / 2 + 1);
        assert!(matches!(on_small_stack(codes), Err(MarshalError::TooDeep { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(prop_oneof![
            any::<u8>(),
            prop::sample::select(b"NFT.ilgyszZaAut()<>[{crIfx\xa9\xe3\xda\xf3\x00\x01\x02".to_vec()),
        ], 0..200)) {
            if let Ok(constant) = read(&bytes) {
                let _ = crate::text::repr(&constant, "");
            }
        }
    }
}
