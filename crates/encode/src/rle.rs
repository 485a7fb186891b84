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
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    for block in blocks {
        pack_block(&block.map(Into::into), width, out);
    }
    pack_one_by_one(rest.iter().map(|value| (*value).into()), width, out);
}

/// So many values of any width fill whole words.
const BLOCK: usize = 32;

/// Joins neighbours as long as they fit a word, all at once, so that few are left to be put together one by one.
fn pack_block(values: &[u64; BLOCK], width: u32, out: &mut Vec<u8>) {
    match width {
        0 => {}
        1..=8 => {
            let eights: [u64; 4] = pairs(&pairs::<_, 8>(&pairs::<_, 16>(values, width), 2 * width), 4 * width);
            // Eight values of so many bits are so many bytes; what stands behind them is overwritten.
            let mut bytes = [0; BLOCK + 8];
            for (number, eight) in eights.iter().enumerate() {
                if let Some(place) = bytes.get_mut(number * width as usize..).and_then(<[u8]>::first_chunk_mut) {
                    *place = eight.to_le_bytes();
                }
            }
            out.extend_from_slice(bytes.get(..4 * width as usize).unwrap_or_default());
        }
        9..=16 => pack_one_by_one(pairs::<_, 8>(&pairs::<_, 16>(values, width), 2 * width).into_iter(), 4 * width, out),
        17..=32 => pack_one_by_one(pairs::<_, 16>(values, width).into_iter(), 2 * width, out),
        _ => pack_one_by_one(values.iter().copied(), width, out),
    }
}

/// Each two values of `width` bits as one of twice as many.
fn pairs<const N: usize, const HALF: usize>(values: &[u64; N], width: u32) -> [u64; HALF] {
    let mut pairs = [0; HALF];
    for (pair, values) in pairs.iter_mut().zip(values.as_chunks::<2>().0) {
        *pair = values[0] | values[1] << width;
    }
    pairs
}

fn pack_one_by_one(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
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
    out.extend_from_slice(word.to_le_bytes().get(..bits.div_ceil(8) as usize).unwrap_or_default());
}

/// Appends values of `width` bits: where a group is of equal ones, these and all that follow as a run, others packed.
pub(super) fn hybrid<T: Copy + PartialEq + Into<u64>>(values: &[T], width: u32, out: &mut Vec<u8>) {
    let (mut packed, mut rest) = (0, values);
    while let Some(group) = rest.first_chunk::<GROUP>() {
        let first = group[0];
        if *group != [first; GROUP] {
            packed += GROUP;
            rest = rest.get(GROUP..).unwrap_or_default();
            continue;
        }
        let run = run(rest, first);
        let end = values.len() - rest.len();
        groups(values.get(end - packed..end).unwrap_or_default(), width, out);
        packed = 0;
        varint((run as u64) << 1, out);
        out.extend(first.into().to_le_bytes().iter().take(width.div_ceil(8) as usize));
        rest = rest.get(run..).unwrap_or_default();
    }
    groups(values.get(values.len() - rest.len() - packed..).unwrap_or_default(), width, out);
}

/// How many values there are of this one before another comes.
fn run<T: Copy + PartialEq>(values: &[T], value: T) -> usize {
    let (groups, _) = values.as_chunks::<GROUP>();
    let equal = GROUP * groups.iter().take_while(|group| **group == [value; GROUP]).count();
    equal + values.get(equal..).unwrap_or_default().iter().take_while(|other| **other == value).count()
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
