//! The values that a code object holds: Python's immutable constants, and code objects themselves.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

/// A Python `str`: Unicode text that may hold lone surrogates.
///
/// Its bytes are generalised UTF-8: a lone surrogate takes three bytes, as marshal's `surrogatepass` writes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PyStr(Text);

/// Nearly every string is UTF-8; saying so in the type makes [`PyStr::to_text`] free.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Text {
    Utf8(Box<str>),
    WithSurrogates(Box<[u8]>),
}

/// Bytes that are not generalised UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("invalid UTF-8 at byte {offset} of a str")]
pub struct InvalidStr {
    /// Where the first bad sequence starts, in bytes from the start of the string.
    pub offset: usize,
}

impl PyStr {
    /// A string of these bytes.
    ///
    /// # Errors
    /// When they are neither UTF-8 nor UTF-8 with encoded surrogates.
    pub fn new(bytes: &[u8]) -> Result<Self, InvalidStr> {
        if let Ok(text) = str::from_utf8(bytes) {
            return Ok(Self::from(text));
        }
        match pieces(bytes).find_map(|(offset, piece)| matches!(piece, Piece::Invalid).then_some(offset)) {
            Some(offset) => Err(InvalidStr { offset }),
            None => Ok(Self(Text::WithSurrogates(bytes.into()))),
        }
    }

    /// The generalised UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Utf8(text) => text.as_bytes(),
            Text::WithSurrogates(bytes) => bytes,
        }
    }

    /// The text if no lone surrogate is in it.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Text::Utf8(text) => Some(text),
            Text::WithSurrogates(_) => None,
        }
    }

    /// Whether the string is free of lone surrogates.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        self.as_str().is_some()
    }

    /// The text, with each lone surrogate written as the six characters `\udXXX`.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match &self.0 {
            Text::Utf8(text) => Cow::Borrowed(text),
            Text::WithSurrogates(bytes) => Cow::Owned(escape_surrogates(bytes)),
        }
    }

    /// The code points, surrogates included.
    pub fn code_points(&self) -> impl Iterator<Item = u32> {
        pieces(self.as_bytes()).flat_map(|(_, piece)| {
            let (text, surrogate) = match piece {
                Piece::Text(text) => (text, None),
                Piece::Surrogate(surrogate) => ("", Some(u32::from(surrogate))),
                Piece::Invalid => ("", None),
            };
            text.chars().map(u32::from).chain(surrogate)
        })
    }
}

impl From<&str> for PyStr {
    fn from(text: &str) -> Self {
        Self(Text::Utf8(text.into()))
    }
}

impl fmt::Debug for PyStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_text(), f)
    }
}

fn escape_surrogates(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for (_, piece) in pieces(bytes) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Surrogate(surrogate) => out.push_str(&format!("\\u{surrogate:04x}")),
            Piece::Invalid => {}
        }
    }
    out
}

enum Piece<'a> {
    Text(&'a str),
    Surrogate(u16),
    Invalid,
}

/// Cuts generalised UTF-8 into runs of UTF-8 and lone surrogates, each with its offset; ends after the first invalid byte.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = (usize, Piece<'_>)> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let start = offset;
        let piece = match utf8_prefix(rest) {
            "" => match *rest {
                [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, ..] => {
                    offset += 3;
                    Piece::Surrogate(0xD000 | (u16::from(second) & 0x3F) << 6 | u16::from(third) & 0x3F)
                }
                _ => {
                    offset = bytes.len();
                    Piece::Invalid
                }
            },
            text => {
                offset += text.len();
                Piece::Text(text)
            }
        };
        Some((start, piece))
    })
}

fn utf8_prefix(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// A Python `int` of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PyInt(Int);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Int {
    Small(i64),
    /// Beyond `i64`; limbs of 32 bits, the lowest first, the highest not zero.
    Big {
        negative: bool,
        magnitude: Box<[u32]>,
    },
}

impl PyInt {
    /// An int from the digits of marshal: base 2^15, the lowest first.
    #[must_use]
    pub fn from_digits(negative: bool, digits: impl ExactSizeIterator<Item = u16>) -> Self {
        let mut limbs = Vec::with_capacity(digits.len() * 15 / 32 + 1);
        let (mut pending, mut bits) = (0_u64, 0);
        for digit in digits {
            pending |= u64::from(digit & 0x7FFF) << bits;
            bits += 15;
            if bits >= 32 {
                limbs.push(low_32(pending));
                pending >>= 32;
                bits -= 32;
            }
        }
        limbs.push(low_32(pending));
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Self::from_limbs(negative, limbs)
    }

    fn from_limbs(negative: bool, limbs: Vec<u32>) -> Self {
        let small = match limbs[..] {
            [] => Some(0),
            [low] => Some(i128::from(low)),
            [low, high] => Some(i128::from(high) << 32 | i128::from(low)),
            _ => None,
        };
        let signed = small.map(|magnitude| if negative { -magnitude } else { magnitude });
        match signed.and_then(|value| i64::try_from(value).ok()) {
            Some(value) => Self(Int::Small(value)),
            None => Self(Int::Big { negative, magnitude: limbs.into() }),
        }
    }

    /// The value if it fits 64 bits.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        match self.0 {
            Int::Small(value) => Some(value),
            Int::Big { .. } => None,
        }
    }

    /// The sign and the digits of marshal: base 2^15, the lowest first, the highest not zero; none for 0.
    #[must_use]
    pub fn to_digits(&self) -> (bool, Vec<u16>) {
        let small;
        let (negative, limbs) = match &self.0 {
            Int::Small(value) => {
                let magnitude = value.unsigned_abs();
                small = [low_32(magnitude), low_32(magnitude >> 32)];
                (*value < 0, small.as_slice())
            }
            Int::Big { negative, magnitude } => (*negative, &**magnitude),
        };
        let mut digits = Vec::with_capacity(limbs.len() * 32 / 15 + 1);
        let (mut pending, mut bits) = (0_u64, 0);
        for limb in limbs {
            pending |= u64::from(*limb) << bits;
            bits += 32;
            while bits >= 15 {
                digits.push(low_15(pending));
                pending >>= 15;
                bits -= 15;
            }
        }
        digits.push(low_15(pending));
        while digits.last() == Some(&0) {
            digits.pop();
        }
        (negative, digits)
    }

    /// The sign and the limbs of 32 bits, the lowest first, of an int beyond 64 bits.
    #[must_use]
    pub(crate) fn big(&self) -> Option<(bool, &[u32])> {
        match &self.0 {
            Int::Small(_) => None,
            Int::Big { negative, magnitude } => Some((*negative, magnitude)),
        }
    }
}

impl From<i64> for PyInt {
    fn from(value: i64) -> Self {
        Self(Int::Small(value))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the point is to take the low half")]
fn low_32(value: u64) -> u32 {
    value as u32
}

fn low_15(value: u64) -> u16 {
    (value & 0x7FFF) as u16
}

/// A value that can stand in `co_consts`.
#[derive(Debug, Clone, PartialEq)]
pub enum Const {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// `...`.
    Ellipsis,
    /// An int of any size.
    Int(PyInt),
    /// A float; NaN keeps its bits.
    Float(f64),
    /// A complex number: real and imaginary part.
    Complex(f64, f64),
    /// A str.
    Str(PyStr),
    /// A bytes object.
    Bytes(Box<[u8]>),
    /// A tuple.
    Tuple(Vec<Const>),
    /// A frozenset, its elements in the order in which they were written.
    FrozenSet(Vec<Const>),
    /// A slice: start, stop and step. CPython 3.13 has no slice constants; later versions do.
    Slice(Box<[Const; 3]>),
    /// A code object.
    Code(Box<Code>),
}

impl Const {
    /// The kind of constant in lower case: `int`, `str`, `bytes`, `float`, `complex`, `bool`, `none`, `ellipsis`, `tuple`,
    /// `frozenset`, `slice` or `code`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ellipsis => "ellipsis",
            other => other.type_name(),
        }
    }

    /// Python's `type(x).__name__`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Ellipsis => "ellipsis",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Complex(..) => "complex",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::Tuple(_) => "tuple",
            Self::FrozenSet(_) => "frozenset",
            Self::Slice(_) => "slice",
            Self::Code(_) => "code",
        }
    }
}

/// The bits of `co_flags`.
pub mod flag {
    /// The code keeps its locals in fast slots: a function, not a module or class body.
    pub const OPTIMIZED: i32 = 0x1;
    /// A call makes a new namespace.
    pub const NEWLOCALS: i32 = 0x2;
    /// The code has a `*args` parameter.
    pub const VARARGS: i32 = 0x4;
    /// The code has a `**kwargs` parameter.
    pub const VARKEYWORDS: i32 = 0x8;
    /// The code is nested in a function.
    pub const NESTED: i32 = 0x10;
    /// A generator.
    pub const GENERATOR: i32 = 0x20;
    /// Free of cell and free variables (no longer set by CPython 3.13).
    pub const NOFREE: i32 = 0x40;
    /// A coroutine.
    pub const COROUTINE: i32 = 0x80;
    /// A generator that `await` accepts.
    pub const ITERABLE_COROUTINE: i32 = 0x100;
    /// An asynchronous generator.
    pub const ASYNC_GENERATOR: i32 = 0x200;
}

/// The bits of `co_localspluskinds`.
pub mod local_kind {
    /// A comprehension's own variable, hidden outside of it.
    pub const HIDDEN: u8 = 0x10;
    /// A local variable, arguments included.
    pub const LOCAL: u8 = 0x20;
    /// A variable that an inner scope shares.
    pub const CELL: u8 = 0x40;
    /// A variable of an outer scope.
    pub const FREE: u8 = 0x80;
}

/// A code object, field by field as `marshal` writes it. Names are CPython's without `co_`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are CPython's own, documented by its `inspect` module")]
pub struct Code {
    pub argcount: i32,
    pub posonlyargcount: i32,
    pub kwonlyargcount: i32,
    pub stacksize: i32,
    pub flags: i32,
    pub code: Vec<u8>,
    pub consts: Vec<Const>,
    pub names: Vec<PyStr>,
    /// Arguments, locals, cells and free variables: what `LOAD_FAST` and `LOAD_DEREF` index.
    pub localsplusnames: Vec<PyStr>,
    /// The [`local_kind`] bits of each of `localsplusnames`.
    pub localspluskinds: Vec<u8>,
    pub filename: PyStr,
    pub name: PyStr,
    pub qualname: PyStr,
    pub firstlineno: i32,
    pub linetable: Vec<u8>,
    pub exceptiontable: Vec<u8>,
}

impl Code {
    /// `co_varnames`: arguments first, then the other locals.
    pub fn varnames(&self) -> impl Iterator<Item = &PyStr> {
        self.locals_of(local_kind::LOCAL)
    }

    /// `co_cellvars`: variables that inner scopes share, arguments among them.
    pub fn cellvars(&self) -> impl Iterator<Item = &PyStr> {
        self.locals_of(local_kind::CELL)
    }

    /// `co_freevars`: variables of outer scopes.
    pub fn freevars(&self) -> impl Iterator<Item = &PyStr> {
        self.locals_of(local_kind::FREE)
    }

    /// `co_nlocals`.
    #[must_use]
    pub fn nlocals(&self) -> i32 {
        // Marshalled tuples have 31 bits of length.
        self.varnames().count() as i32
    }

    /// The code objects among the constants, each with its index in `consts`.
    pub fn children(&self) -> impl Iterator<Item = (usize, &Self)> {
        self.consts.iter().enumerate().filter_map(|(index, constant)| match constant {
            Const::Code(code) => Some((index, &**code)),
            _ => None,
        })
    }

    /// Whether a bit of [`flag`] is set.
    #[must_use]
    pub fn has_flag(&self, flag: i32) -> bool {
        self.flags & flag != 0
    }

    fn locals_of(&self, kind: u8) -> impl Iterator<Item = &PyStr> {
        let kinds = self.localspluskinds.iter();
        self.localsplusnames.iter().zip(kinds).filter_map(move |(name, bits)| (bits & kind != 0).then_some(name))
    }
}

/// Code with nothing but instructions, for tests to fill in.
#[cfg(test)]
pub(crate) fn code_of(instructions: &[u8]) -> Code {
    Code {
        argcount: 0,
        posonlyargcount: 0,
        kwonlyargcount: 0,
        stacksize: 0,
        flags: 0,
        code: instructions.to_vec(),
        consts: Vec::new(),
        names: Vec::new(),
        localsplusnames: Vec::new(),
        localspluskinds: Vec::new(),
        filename: PyStr::from("a.py"),
        name: PyStr::from("f"),
        qualname: PyStr::from("f"),
        firstlineno: 1,
        linetable: Vec::new(),
        exceptiontable: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_str_keeps_lone_surrogates_and_shows_them_escaped() {
        let text = PyStr::new(b"a\xed\xb2\x80\xed\xa0\xbdz").unwrap();
        assert!(!text.is_utf8());
        assert_eq!(text.to_text(), "a\\udc80\\ud83dz");
        assert_eq!(text.code_points().collect::<Vec<_>>(), [0x61, 0xDC80, 0xD83D, 0x7A]);
        assert_eq!(text.as_bytes(), b"a\xed\xb2\x80\xed\xa0\xbdz");
        assert!(matches!(PyStr::from("é").to_text(), Cow::Borrowed("é")));
    }

    #[test]
    fn a_str_of_other_bytes_is_refused_at_the_first() {
        assert_eq!(PyStr::new(b"ab\xff"), Err(InvalidStr { offset: 2 }));
        assert_eq!(PyStr::new(b"\xed\xb2\x80\xed\xb2"), Err(InvalidStr { offset: 3 }));
        assert_eq!(PyStr::new(b"\xc0\x80"), Err(InvalidStr { offset: 0 }));
    }

    #[test]
    fn ints_fit_64_bits_or_say_so() {
        let int = |negative, digits: &[u16]| PyInt::from_digits(negative, digits.iter().copied()).to_i64();
        assert_eq!(int(false, &[]), Some(0));
        assert_eq!(int(true, &[5, 1]), Some(-32773));
        assert_eq!(int(false, &[0x7FFF, 0x7FFF, 0x7FFF, 0x7FFF, 7]), Some(i64::MAX));
        assert_eq!(int(true, &[0, 0, 0, 0, 8]), Some(i64::MIN));
        assert_eq!(int(false, &[0, 0, 0, 0, 8]), None);
    }

    #[test]
    fn digits_come_back() {
        for (negative, digits) in [(false, &[][..]), (true, &[5, 1]), (false, &[0x7FFF; 9]), (true, &[0, 0, 0, 0, 8]), (false, &[0, 0, 1])]
        {
            assert_eq!(PyInt::from_digits(negative, digits.iter().copied()).to_digits(), (negative, digits.to_vec()));
        }
    }

    #[test]
    fn variables_are_told_by_their_kinds() {
        let kinds = [local_kind::LOCAL, local_kind::LOCAL | local_kind::CELL, local_kind::CELL, local_kind::FREE];
        let names = ["a", "b", "c", "d"].map(PyStr::from);
        let code = Code { localsplusnames: names.to_vec(), localspluskinds: kinds.to_vec(), ..code_of(&[]) };
        let texts = |names: &mut dyn Iterator<Item = &PyStr>| names.map(|name| name.to_text().into_owned()).collect::<Vec<_>>();
        assert_eq!(texts(&mut code.varnames()), ["a", "b"]);
        assert_eq!(texts(&mut code.cellvars()), ["b", "c"]);
        assert_eq!(texts(&mut code.freevars()), ["d"]);
        assert_eq!(code.nlocals(), 2);
    }
}
