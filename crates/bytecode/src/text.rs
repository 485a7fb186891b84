//! The canonical text of constants: Python's `repr`, made independent of addresses, hash seeds and file locations.
//!
//! It differs from `repr` in this only: a code object shows no address, the elements of a frozenset are sorted by type name and
//! text, and an int of more than 4,300 digits, which Python refuses to write in decimal, is hexadecimal.
//!
//! Thirty characters of source can make a text of megabytes, so that who writes one says where to stop: see [`Sink`].

mod number;
#[rustfmt::skip]
mod printable;
mod string;

use std::convert::Infallible;

pub use number::write_int;

use crate::object::{Code, Const};

/// Where a text goes, piece by piece. It may refuse a piece, which ends the writing.
pub trait Sink {
    /// Why it takes no more.
    type Full;

    /// Whether it cares in which order the pieces come; one that counts them does not.
    const IS_ORDERED: bool = true;

    /// Takes a piece.
    ///
    /// # Errors
    /// If it takes no more.
    fn take(&mut self, piece: &str) -> Result<(), Self::Full>;
}

/// Takes whatever comes.
impl Sink for String {
    type Full = Infallible;

    #[inline]
    fn take(&mut self, piece: &str) -> Result<(), Infallible> {
        self.push_str(piece);
        Ok(())
    }
}

/// Writes the canonical text of a constant to a sink. `filename` stands for the `co_filename` of every code object.
///
/// # Errors
/// If the sink takes no more. It has taken a part of the text then.
pub fn try_write_repr<S: Sink>(constant: &Const, filename: &str, out: &mut S) -> Result<(), S::Full> {
    match constant {
        Const::None => out.take("None"),
        Const::Bool(true) => out.take("True"),
        Const::Bool(false) => out.take("False"),
        Const::Ellipsis => out.take("Ellipsis"),
        Const::Int(value) => number(|digits| number::write_py_int(value, digits), out),
        Const::Float(value) => number(|digits| number::write_float(*value, digits), out),
        Const::Complex(real, imaginary) => number(|digits| number::write_complex(*real, *imaginary, digits), out),
        Const::Str(value) => string::write_str(value, out),
        Const::Bytes(value) => string::write_bytes(value, out),
        Const::Tuple(items) => {
            out.take("(")?;
            write_items(items, filename, out)?;
            out.take(if items.len() == 1 { ",)" } else { ")" })
        }
        Const::FrozenSet(items) => write_frozenset(items, filename, out),
        Const::Slice(bounds) => {
            out.take("slice(")?;
            write_items(bounds.as_slice(), filename, out)?;
            out.take(")")
        }
        Const::Code(code) => write_code(code, filename, out),
    }
}

/// Appends the canonical text of a constant: see [`try_write_repr`].
pub fn write_repr(constant: &Const, filename: &str, out: &mut String) {
    let Ok(()) = try_write_repr(constant, filename, out);
}

/// The canonical text of a constant: see [`try_write_repr`].
#[must_use]
pub fn repr(constant: &Const, filename: &str) -> String {
    let mut out = String::new();
    write_repr(constant, filename, &mut out);
    out
}

/// Numbers are short.
fn number<S: Sink>(write: impl FnOnce(&mut String), out: &mut S) -> Result<(), S::Full> {
    let mut digits = String::new();
    write(&mut digits);
    out.take(&digits)
}

fn write_items<S: Sink>(items: &[Const], filename: &str, out: &mut S) -> Result<(), S::Full> {
    for (nth, item) in items.iter().enumerate() {
        if nth > 0 {
            out.take(", ")?;
        }
        try_write_repr(item, filename, out)?;
    }
    Ok(())
}

fn write_frozenset<S: Sink>(items: &[Const], filename: &str, out: &mut S) -> Result<(), S::Full> {
    out.take("frozenset(")?;
    if !items.is_empty() {
        out.take("{")?;
        if S::IS_ORDERED {
            let mut texts: Vec<_> = items.iter().map(|item| (item.type_name(), repr(item, filename))).collect();
            texts.sort_unstable();
            for (nth, (_, text)) in texts.iter().enumerate() {
                out.take(if nth == 0 { "" } else { ", " })?;
                out.take(text)?;
            }
        } else {
            write_items(items, filename, out)?;
        }
        out.take("}")?;
    }
    out.take(")")
}

fn write_code<S: Sink>(code: &Code, filename: &str, out: &mut S) -> Result<(), S::Full> {
    out.take("<code object ")?;
    out.take(&code.name.to_text())?;
    out.take(", file \"")?;
    out.take(filename)?;
    out.take("\", line ")?;
    // CPython's own rule.
    let line = if code.firstlineno == 0 { -1 } else { code.firstlineno };
    number(|digits| write_int(line.into(), digits), out)?;
    out.take(">")
}
