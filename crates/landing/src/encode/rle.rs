//! Packed integers: the hybrid of run lengths and bit packing that holds levels and dictionary codes.

/// Values packed side by side before a run begins or between runs come in groups of so many.
const GROUP: usize = 8;

/// Bits that the largest value needs.
pub(super) fn width(largest: u64) -> u32 {
    u64::BITS - largest.leading_zeros()
}

/// Appends a number in LEB128.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends values of `width` bits side by side, the lowest bit first, up to a whole byte.
pub(super) fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let (mut word, mut bits) = (0_u64, 0);
    for value in values {
        word |= value << bits;
        bits += width;
        if bits >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            bits -= u64::BITS;
            // What of the value did not fit.
            word = value.checked_shr(width - bits).unwrap_or(0);
        }
    }
    out.extend(word.to_le_bytes().iter().take(bits.div_ceil(8) as usize));
}

/// Appends values of `width` bits: eight or more equal ones as a run, others packed.
pub(super) fn hybrid<T: Copy + PartialEq + Into<u64>>(values: &[T], width: u32, out: &mut Vec<u8>) {
    let (mut packed, mut rest) = (0, values);
    while let Some((&value, _)) = rest.split_first() {
        let run = rest.iter().take_while(|other| **other == value).count();
        if run < GROUP {
            let group = GROUP.min(rest.len());
            packed += group;
            rest = rest.get(group..).unwrap_or_default();
            continue;
        }
        let end = values.len() - rest.len();
        groups(values.get(end - packed..end).unwrap_or_default(), width, out);
        packed = 0;
        varint((run as u64) << 1, out);
        out.extend(value.into().to_le_bytes().iter().take(width.div_ceil(8) as usize));
        rest = rest.get(run..).unwrap_or_default();
    }
    groups(values.get(values.len() - packed..).unwrap_or_default(), width, out);
}

/// Appends packed groups; the last is filled up with zeros.
fn groups<T: Copy + Into<u64>>(values: &[T], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let count = values.len().div_ceil(GROUP);
    varint((count as u64) << 1 | 1, out);
    let end = out.len() + count * width as usize;
    pack(values.iter().map(|value| (*value).into()), width, out);
    out.resize(end, 0);
}
