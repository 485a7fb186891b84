//! Random constants, in marshal's own bytes.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// As many random constants, the same in every run.
pub fn constants(count: usize) -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    let strategy = constant();
    (0..count).map(|_| strategy.new_tree(&mut runner).expect("a strategy without filters").current()).collect()
}

fn constant() -> impl Strategy<Value = Vec<u8>> {
    let atom = prop_oneof![
        1 => proptest::sample::select(vec![b"N".to_vec(), b"T".to_vec(), b"F".to_vec(), b".".to_vec()]),
        3 => small_int(),
        2 => big_int(),
        6 => float().prop_map(|value| [b"g".as_slice(), &value.to_le_bytes()].concat()),
        6 => (float(), float()).prop_map(|(real, imaginary)| [b"y".as_slice(), &real.to_le_bytes(), &imaginary.to_le_bytes()].concat()),
        6 => text(),
        3 => bytes(),
    ];
    // Equal elements would merge in Python's set; of these kinds none are equal unless their bytes are.
    let element = prop_oneof![small_int(), text(), bytes(), vec(text(), 0..3).prop_map(|items| sequence(b'(', items))];
    let set = btree_set(element, 0..6).prop_map(|items| sequence(b'>', items.into_iter().collect()));
    prop_oneof![9 => atom, 1 => set].prop_recursive(4, 24, 6, |inner| vec(inner, 0..5).prop_map(|items| sequence(b'(', items)))
}

fn sequence(tag: u8, items: Vec<Vec<u8>>) -> Vec<u8> {
    [[tag].as_slice(), &length(items.len()), &items.concat()].concat()
}

fn small_int() -> impl Strategy<Value = Vec<u8>> {
    any::<i32>().prop_map(|value| [b"i".as_slice(), &value.to_le_bytes()].concat())
}

/// Up to 4,515 decimal digits, some beyond the 4,300 that Python writes, many around 64 bits.
fn big_int() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![4 => 2_usize..8, 1 => 8_usize..1000, 1 => 945_usize..960];
    let digits = size.prop_flat_map(|size| (vec(0_u16..0x8000, size - 1), 1_u16..0x8000));
    (digits, any::<bool>()).prop_map(|((mut digits, top), negative)| {
        digits.push(top);
        let count = i32::try_from(digits.len()).expect("few digits");
        let mut out = [b"l".as_slice(), &if negative { -count } else { count }.to_le_bytes()].concat();
        digits.iter().for_each(|digit| out.extend(digit.to_le_bytes()));
        out
    })
}

fn float() -> impl Strategy<Value = f64> {
    let edges = vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, f64::MIN_POSITIVE, f64::MAX, f64::EPSILON];
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        proptest::sample::select(edges),
        // Ties: exact values half way between two decimals.
        (any::<i32>(), -1074_i32..1000).prop_map(|(mantissa, exponent)| f64::from(mantissa) * 2_f64.powi(exponent)),
        (0_i32..64, -1074_i32..1000).prop_map(|(mantissa, exponent)| f64::from(mantissa) * 2_f64.powi(exponent)),
        // Decimals as people write them, around the bounds of the exponent form.
        (any::<i32>(), -30_i32..30).prop_map(|(digits, exponent)| f64::from(digits) * 10_f64.powi(exponent)),
        (0_i32..1000, -30_i32..30).prop_map(|(digits, exponent)| format!("{digits}e{exponent}").parse().expect("a number")),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let point = prop_oneof![
        8 => 0x20_u32..0x7F,
        2 => proptest::sample::select(vec![0x27_u32, 0x22, 0x5C, 9, 10, 13]),
        2 => 0_u32..0x100,
        3 => 0_u32..0x1_0000,
        1 => 0xD800_u32..0xE000,
        2 => 0x1_0000_u32..0x11_0000,
    ];
    vec(point, 0..24).prop_map(|points| {
        let utf8: Vec<u8> = points.into_iter().flat_map(surrogatepass).collect();
        [b"u".as_slice(), &length(utf8.len()), &utf8].concat()
    })
}

/// The UTF-8 of a code point, surrogates in the three bytes of their place.
fn surrogatepass(point: u32) -> Vec<u8> {
    let low = |shift: u32| u8::try_from(0x80 | point >> shift & 0x3F).expect("six bits");
    char::from_u32(point).map_or_else(|| vec![0xED, low(6), low(0)], |char| char.to_string().into_bytes())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![any::<u8>(), 0x20_u8..0x7F], 0..24).prop_map(|bytes| [b"s".as_slice(), &length(bytes.len()), &bytes].concat())
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("short").to_le_bytes()
}
