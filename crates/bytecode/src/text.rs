//! The canonical text of constants: Python's `repr`, made independent of addresses, hash seeds and file locations.
//!
//! It differs from `repr` in this only: a code object shows no address, the elements of a frozenset are sorted by type name and
//! text, and an int of more than 4,300 digits, which Python refuses to write in decimal, is hexadecimal.

mod number;
#[rustfmt::skip]
mod printable;
mod string;

pub use number::write_int;

use crate::object::{Code, Const};

/// Appends the canonical text of a constant. `filename` stands for the `co_filename` of every code object.
pub fn write_repr(constant: &Const, filename: &str, out: &mut String) {
    match constant {
        Const::None => out.push_str("None"),
        Const::Bool(true) => out.push_str("True"),
        Const::Bool(false) => out.push_str("False"),
        Const::Ellipsis => out.push_str("Ellipsis"),
        Const::Int(value) => number::write_py_int(value, out),
        Const::Float(value) => number::write_float(*value, out),
        Const::Complex(real, imaginary) => number::write_complex(*real, *imaginary, out),
        Const::Str(value) => string::write_str(value, out),
        Const::Bytes(value) => string::write_bytes(value, out),
        Const::Tuple(items) => {
            out.push('(');
            write_items(items, filename, out);
            out.push_str(if items.len() == 1 { ",)" } else { ")" });
        }
        Const::FrozenSet(items) => write_frozenset(items, filename, out),
        Const::Slice(bounds) => {
            out.push_str("slice(");
            write_items(bounds.as_slice(), filename, out);
            out.push(')');
        }
        Const::Code(code) => write_code(code, filename, out),
    }
}

/// The canonical text of a constant: see [`write_repr`].
#[must_use]
pub fn repr(constant: &Const, filename: &str) -> String {
    let mut out = String::new();
    write_repr(constant, filename, &mut out);
    out
}

fn write_items(items: &[Const], filename: &str, out: &mut String) {
    for (nth, item) in items.iter().enumerate() {
        if nth > 0 {
            out.push_str(", ");
        }
        write_repr(item, filename, out);
    }
}

fn write_frozenset(items: &[Const], filename: &str, out: &mut String) {
    let mut texts: Vec<_> = items.iter().map(|item| (item.type_name(), repr(item, filename))).collect();
    texts.sort_unstable();
    out.push_str("frozenset(");
    for (nth, (_, text)) in texts.iter().enumerate() {
        out.push_str(if nth == 0 { "{" } else { ", " });
        out.push_str(text);
    }
    out.push_str(if texts.is_empty() { ")" } else { "})" });
}

fn write_code(code: &Code, filename: &str, out: &mut String) {
    out.push_str("<code object ");
    out.push_str(&code.name.to_text());
    out.push_str(", file \"");
    out.push_str(filename);
    out.push_str("\", line ");
    // CPython's own rule.
    let line = if code.firstlineno == 0 { -1 } else { code.firstlineno };
    write_int(line.into(), out);
    out.push('>');
}
