//! `DELTA_BINARY_PACKED`: differences of neighbours, packed with the bits that a small block of them needs.

use std::ops::BitOr;

use super::rle::{pack, varint, width};

const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;
const MINIBLOCK: usize = BLOCK / MINIBLOCKS;

/// An integer whose differences wrap at its own width.
pub(super) trait Integer: Copy + Ord + Default + Into<i64> {
    /// The integer of the same bits without a sign.
    type Unsigned: Copy + Default + Into<u64> + BitOr<Output = Self::Unsigned>;

    /// `self - other`, wrapping.
    fn minus(self, other: Self) -> Self;
    /// The same bits.
    fn unsigned(self) -> Self::Unsigned;
}

impl Integer for i32 {
    type Unsigned = u32;

    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    fn unsigned(self) -> u32 {
        self.cast_unsigned()
    }
}

impl Integer for i64 {
    type Unsigned = u64;

    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    fn unsigned(self) -> u64 {
        self.cast_unsigned()
    }
}

/// Appends values.
pub(super) fn encode<T: Integer>(values: &[T], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint(MINIBLOCKS as u64, out);
    varint(values.len() as u64, out);
    zigzag(values.first().copied().unwrap_or_default(), out);
    let Some((_, following)) = values.split_first() else { return };
    let mut differences = [T::default(); BLOCK];
    for (following, values) in following.chunks(BLOCK).zip(values.chunks(BLOCK)) {
        for ((difference, value), before) in differences.iter_mut().zip(following).zip(values) {
            *difference = value.minus(*before);
        }
        block(differences.get(..following.len()).unwrap_or_default(), out);
    }
}

fn block<T: Integer>(differences: &[T], out: &mut Vec<u8>) {
    let least = differences.iter().copied().min().unwrap_or_default();
    zigzag(least, out);
    let widths_at = out.len();
    out.extend([0; MINIBLOCKS]);
    for (number, differences) in differences.chunks(MINIBLOCK).enumerate() {
        // A last miniblock is filled up with zeros.
        let mut above = [T::Unsigned::default(); MINIBLOCK];
        for (above, difference) in above.iter_mut().zip(differences) {
            *above = difference.minus(least).unsigned();
        }
        let bits = width(above.iter().fold(T::Unsigned::default(), |all, above| all | *above).into());
        if let Some(width) = out.get_mut(widths_at + number) {
            *width = bits as u8;
        }
        pack(&above, bits, out);
    }
}

fn zigzag(value: impl Into<i64>, out: &mut Vec<u8>) {
    let value = value.into();
    varint(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}
