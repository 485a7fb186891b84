//! `repr` of int, float and complex.

use std::fmt::Write as _;
use std::iter::repeat_n;

use crate::object::PyInt;

/// The most digits that Python writes of an int in decimal (`sys.int_info.default_max_str_digits`).
const MAX_DIGITS: usize = 4300;

/// Bits of 10^4300: an int with more has more than 4,300 digits.
const MAX_BITS: usize = 14_285;

/// Appends an int in decimal.
pub fn write_int(value: i64, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

/// Appends an int in decimal, in hexadecimal if it has more than 4,300 digits.
pub(super) fn write_py_int(value: &PyInt, out: &mut String) {
    let Some((negative, limbs)) = value.big() else {
        return write_int(value.to_i64().unwrap_or(0), out);
    };
    if negative {
        out.push('-');
    }
    let bits = limbs.len() * 32 - limbs.last().map_or(0, |top| top.leading_zeros() as usize);
    match (bits <= MAX_BITS).then(|| decimal(limbs)) {
        Some(digits) if digits.len() <= MAX_DIGITS => out.push_str(&digits),
        _ => write_hex(limbs, out),
    }
}

fn write_hex(limbs: &[u32], out: &mut String) {
    for (nth, limb) in limbs.iter().rev().enumerate() {
        let _ = if nth == 0 { write!(out, "{limb:#x}") } else { write!(out, "{limb:08x}") };
    }
}

/// The decimal digits of limbs of 32 bits, the lowest first. Quadratic, which the bound on the digits makes a constant.
fn decimal(limbs: &[u32]) -> String {
    const CHUNK: u64 = 1_000_000_000;
    let mut rest = limbs.to_vec();
    let mut chunks = Vec::with_capacity(limbs.len() + limbs.len() / 8 + 1);
    while !rest.is_empty() {
        let mut remainder = 0;
        for limb in rest.iter_mut().rev() {
            let dividend = remainder << 32 | u64::from(*limb);
            #[expect(clippy::cast_possible_truncation, reason = "the remainder is less than the divisor, so the quotient fits")]
            let quotient = (dividend / CHUNK) as u32;
            *limb = quotient;
            remainder = dividend % CHUNK;
        }
        chunks.push(remainder);
        while rest.last() == Some(&0) {
            rest.pop();
        }
    }
    let mut digits = String::with_capacity(chunks.len() * 9);
    for (nth, chunk) in chunks.iter().rev().enumerate() {
        let _ = if nth == 0 { write!(digits, "{chunk}") } else { write!(digits, "{chunk:09}") };
    }
    digits
}

/// Appends a float as `repr` writes it: the shortest digits that give the same float, always recognisable as a float.
pub(super) fn write_float(value: f64, out: &mut String) {
    let start = out.len();
    write_shortest(value, out);
    if value.is_finite() && !out.get(start..).is_some_and(|text| text.contains(['.', 'e'])) {
        out.push_str(".0");
    }
}

/// Appends a complex number as `repr` writes it: a real part of +0 is left out, and no part gets a `.0`.
pub(super) fn write_complex(real: f64, imaginary: f64, out: &mut String) {
    if real == 0.0 && real.is_sign_positive() {
        write_shortest(imaginary, out);
        out.push('j');
        return;
    }
    out.push('(');
    write_shortest(real, out);
    if imaginary.is_nan() || imaginary.is_sign_positive() {
        out.push('+');
    }
    write_shortest(imaginary, out);
    out.push_str("j)");
}

/// Python's format `r`: shortest digits, an exponent of at least two digits below 1e-4 and from 1e16 on. A NaN has no sign.
fn write_shortest(value: f64, out: &mut String) {
    if value.is_nan() {
        return out.push_str("nan");
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    if value.is_infinite() {
        return out.push_str("inf");
    }
    // `d.ddde-5`: one digit before the point, then the exponent.
    let scientific = shortest(value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (first, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let zeros = |count: i32| repeat_n('0', usize::try_from(count).unwrap_or(0));
    match exponent {
        -4..0 => {
            out.push_str("0.");
            out.extend(zeros(-exponent - 1));
            out.extend([first, fraction]);
        }
        0..16 => {
            let whole = usize::try_from(exponent).unwrap_or(0).min(fraction.len());
            let (integral, fraction_left) = fraction.split_at(whole);
            out.extend([first, integral]);
            out.extend(repeat_n('0', usize::try_from(exponent).unwrap_or(0) - whole));
            if !fraction_left.is_empty() {
                out.extend([".", fraction_left]);
            }
        }
        _ => {
            out.push_str(first);
            if !fraction.is_empty() {
                out.extend([".", fraction]);
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
        }
    }
}

/// The shortest digits that give the same float, as Python chooses them: where two candidates are equally near, the even one.
fn shortest(value: f64) -> String {
    // Rust takes the upper one of such a pair; rounding the exact value to as many digits takes the even one. Beside a power of two
    // the rounded value may be another float, though.
    let shortest = format!("{value:e}");
    let digits = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let rounded = format!("{value:.*e}", digits - 1);
    if rounded.parse() == Ok(value) { rounded } else { shortest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(value: f64) -> String {
        let mut out = String::new();
        write_float(value, &mut out);
        out
    }

    fn complex(real: f64, imaginary: f64) -> String {
        let mut out = String::new();
        write_complex(real, imaginary, &mut out);
        out
    }

    #[test]
    fn floats_switch_to_an_exponent_where_python_does() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (123.456, "123.456"),
            (0.0001, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (1e15, "1000000000000000.0"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (2_f64.powi(-25), "2.9802322387695312e-08"),
            (2_f64.powi(-44), "5.684341886080802e-14"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (-f64::NAN, "nan"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn complex_numbers_leave_out_a_real_part_of_plus_zero_only() {
        assert_eq!(complex(0.0, 1.0), "1j");
        assert_eq!(complex(0.0, -0.0), "-0j");
        assert_eq!(complex(-0.0, 1.0), "(-0+1j)");
        assert_eq!(complex(1.0, -0.0), "(1-0j)");
        assert_eq!(complex(1.5, 1e16), "(1.5+1e+16j)");
        assert_eq!(complex(f64::NAN, -f64::NAN), "(nan+nanj)");
        assert_eq!(complex(f64::INFINITY, f64::NEG_INFINITY), "(inf-infj)");
    }

    #[test]
    fn ints_are_decimal_up_to_4300_digits_and_hexadecimal_beyond() {
        let text = |value: &PyInt| {
            let mut out = String::new();
            write_py_int(value, &mut out);
            out
        };
        let power_of_ten = |exponent: u32| {
            // Digits of base 2^15, multiplied by ten again and again.
            let mut digits = vec![1_u32];
            for _ in 0..exponent {
                let mut carry = 0;
                for digit in &mut digits {
                    let product = *digit * 10 + carry;
                    *digit = product & 0x7FFF;
                    carry = product >> 15;
                }
                if carry > 0 {
                    digits.push(carry);
                }
            }
            PyInt::from_digits(true, digits.into_iter().map(|digit| u16::try_from(digit).unwrap()))
        };
        assert_eq!(text(&power_of_ten(0)), "-1");
        assert_eq!(text(&power_of_ten(19)), format!("-1{}", "0".repeat(19)));
        assert_eq!(text(&power_of_ten(4299)), format!("-1{}", "0".repeat(4299)));
        assert!(text(&power_of_ten(4300)).starts_with("-0x"));
        assert_eq!(text(&PyInt::from(i64::MIN)), "-9223372036854775808");
    }
}
