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
pub(super) fn pack<T: Copy + Into<u64>>(values: &[T], width: u32, out: &mut Vec<u8>) {
    let (blocks, mut rest) = values.as_chunks::<BLOCK>();
    match PACKERS.get(width as usize) {
        Some(packer) => blocks.iter().for_each(|block| packer(&block.map(|value| value.into() as u32), out)),
        None => rest = values,
    }
    let (mut word, mut bits) = (0_u64, 0);
    for value in rest {
        let value = (*value).into();
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

/// So many values of any width fill whole words.
const BLOCK: usize = 32;

/// Packs a block; with the width known, this is a handful of instructions a value and no branch.
fn pack_block<const WIDTH: usize>(values: &[u32; BLOCK], out: &mut Vec<u8>) {
    let mut words = [0_u32; BLOCK + 1];
    for (number, value) in values.iter().enumerate() {
        let (word, shift) = (number * WIDTH / 32, number * WIDTH % 32);
        let value = u64::from(*value) << shift;
        words[word] |= value as u32;
        words[word + 1] |= (value >> 32) as u32;
    }
    let bytes = words.map(u32::to_le_bytes);
    out.extend_from_slice(bytes.as_flattened().get(..4 * WIDTH).unwrap_or_default());
}

macro_rules! packers {
    ($($width:literal)*) => { [$(pack_block::<$width>),*] };
}

type Packer = fn(&[u32; BLOCK], &mut Vec<u8>);

/// For each width.
static PACKERS: [Packer; BLOCK + 1] = packers!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);

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
    pack(values, width, out);
    out.resize(end, 0);
}
