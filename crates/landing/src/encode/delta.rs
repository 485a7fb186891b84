//! `DELTA_BINARY_PACKED`: differences of neighbours, packed with the bits that a small block of them needs.

use super::rle::{pack, varint, width};

const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;
const MINIBLOCK: usize = BLOCK / MINIBLOCKS;

/// An integer whose differences wrap at its own width.
pub(super) trait Integer: Copy {
    /// `self - other`.
    fn difference(self, other: Self) -> i64;
    /// `difference - least`, both differences of this type.
    fn above(difference: i64, least: i64) -> u64;
    fn widen(self) -> i64;
}

impl Integer for i32 {
    fn difference(self, other: Self) -> i64 {
        self.wrapping_sub(other).into()
    }

    fn above(difference: i64, least: i64) -> u64 {
        // Both are of 32 bits, and so is what a reader adds.
        (difference.wrapping_sub(least) as u32).into()
    }

    fn widen(self) -> i64 {
        self.into()
    }
}

impl Integer for i64 {
    fn difference(self, other: Self) -> i64 {
        self.wrapping_sub(other)
    }

    fn above(difference: i64, least: i64) -> u64 {
        difference.wrapping_sub(least).cast_unsigned()
    }

    fn widen(self) -> i64 {
        self
    }
}

/// Appends values.
pub(super) fn encode<T: Integer>(values: &[T], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint(MINIBLOCKS as u64, out);
    varint(values.len() as u64, out);
    zigzag(values.first().map_or(0, |first| first.widen()), out);
    let Some((_, following)) = values.split_first() else { return };
    let mut differences = [0; BLOCK];
    for (following, values) in following.chunks(BLOCK).zip(values.chunks(BLOCK)) {
        for ((difference, value), before) in differences.iter_mut().zip(following).zip(values) {
            *difference = value.difference(*before);
        }
        block::<T>(differences.get_mut(..following.len()).unwrap_or_default(), out);
    }
}

fn block<T: Integer>(differences: &mut [i64], out: &mut Vec<u8>) {
    let least = differences.iter().copied().min().unwrap_or(0);
    zigzag(least, out);
    let widths_at = out.len();
    out.extend([0; MINIBLOCKS]);
    for (number, miniblock) in differences.chunks(MINIBLOCK).enumerate() {
        let bits = width(miniblock.iter().fold(0, |all, difference| all | T::above(*difference, least)));
        if let Some(width) = out.get_mut(widths_at + number) {
            *width = bits as u8;
        }
        let end = out.len() + MINIBLOCK * bits as usize / 8;
        pack(miniblock.iter().map(|difference| T::above(*difference, least)), bits, out);
        // A last miniblock is written in full.
        out.resize(end, 0);
    }
}

fn zigzag(value: i64, out: &mut Vec<u8>) {
    varint(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}
