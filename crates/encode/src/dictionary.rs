//! The distinct values of a column chunk and their codes.

use std::ops::Range;

use parquet::errors::Result;

use super::shape;

/// What a dictionary may hold. Readers keep it in memory while they read the chunk.
const MAX_VALUES: usize = 1 << 18;
const MAX_BYTES: usize = 8 << 20;

/// Entries looked at before the dictionary gives up, so that values made to collide cost no more than others.
const MAX_PROBES: usize = 32;

/// A hash table of values that are numbered in order of appearance.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// Half of them at most are taken; the length is a power of two.
    entries: Vec<Entry>,
    /// The end of each value in `bytes`.
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    key: Key,
    /// The code plus one; zero if the entry is free.
    code: u32,
}

impl Dictionary {
    /// The code of the value at a range of the bytes, which is added if it is new; none if the dictionary is full.
    #[inline]
    pub(super) fn code(&mut self, bytes: &[u8], value: Range<usize>) -> Option<u32> {
        let key = Key::of(bytes, value.clone());
        let hash = key.hash();
        // Nearly always the first entry is the one, and the value a short one.
        match self.entries.get(hash & self.entries.len().wrapping_sub(1)) {
            Some(entry) if entry.key == key && key.is_exact() && entry.code > 0 => Some(entry.code - 1),
            _ => self.find_or_add(bytes.get(value)?, key, hash),
        }
    }

    #[inline(never)]
    fn find_or_add(&mut self, value: &[u8], key: Key, hash: usize) -> Option<u32> {
        if self.entries.len() <= 2 * self.ends.len() {
            self.grow();
        }
        let mask = self.entries.len() - 1;
        for probe in 0..MAX_PROBES {
            let at = hash.wrapping_add(probe) & mask;
            let entry = self.entries.get(at)?;
            if entry.code == 0 {
                return self.add(value, key, at);
            }
            if entry.key == key && (key.is_exact() || self.value(entry.code - 1) == Some(value)) {
                return Some(entry.code - 1);
            }
        }
        None
    }

    fn add(&mut self, value: &[u8], key: Key, at: usize) -> Option<u32> {
        if self.ends.len() >= MAX_VALUES || self.bytes.len() + value.len() > MAX_BYTES {
            return None;
        }
        self.bytes.extend_from_slice(value);
        self.ends.push(u32::try_from(self.bytes.len()).ok()?);
        let code = u32::try_from(self.ends.len()).ok()?;
        *self.entries.get_mut(at)? = Entry { key, code };
        Some(code - 1)
    }

    fn value(&self, code: u32) -> Option<&[u8]> {
        let end = |code: u32| self.ends.get(code as usize).map(|end| *end as usize);
        let start = code.checked_sub(1).map_or(Some(0), end)?;
        self.bytes.get(start..end(code)?)
    }

    fn grow(&mut self) {
        let len = (2 * self.entries.len()).max(64);
        let mut entries = vec![Entry::default(); len];
        for entry in self.entries.iter().filter(|entry| entry.code != 0) {
            let mut at = entry.key.hash() & (len - 1);
            while entries.get(at).is_some_and(|taken| taken.code != 0) {
                at = (at + 1) & (len - 1);
            }
            if let Some(free) = entries.get_mut(at) {
                *free = *entry;
            }
        }
        self.entries = entries;
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The size of the values in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What is allocated, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.ends.capacity() * size_of::<u32>() + self.bytes.capacity()
    }

    /// Appends the values in `PLAIN` encoding.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let mut start = 0;
        for end in &self.ends {
            let value = self.bytes.get(start as usize..*end as usize).ok_or_else(|| shape("a dictionary shorter than its values"))?;
            out.extend_from_slice(&(end - start).to_le_bytes());
            out.extend_from_slice(value);
            start = *end;
        }
        Ok(())
    }
}

/// What a value is looked up by: the whole value if it is short, else a part of it and a hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Key {
    head: u64,
    tail: u64,
    len: u32,
}

impl Key {
    #[inline]
    fn of(bytes: &[u8], value: Range<usize>) -> Self {
        let len = value.len();
        let word = |at: usize| bytes.get(at..at + 8).and_then(<[u8]>::first_chunk).map(|word| u64::from_le_bytes(*word));
        let (head, tail) = if len >= 8 {
            (word(value.start), word(value.end - 8))
        } else {
            // Cut off what belongs to the values behind it.
            (word(value.start).map(|word| word & !(u64::MAX << (8 * len))), Some(0))
        };
        match head.zip(tail) {
            Some((head, tail)) if len <= Self::EXACT => Self { head, tail, len: len as u32 },
            _ => Self::of_other(bytes.get(value).unwrap_or_default()),
        }
    }

    /// Of a long value, or one at the end of the bytes.
    fn of_other(value: &[u8]) -> Self {
        let len = value.len() as u32;
        match value.first_chunk().zip(value.last_chunk()) {
            None => {
                let head = value.iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte));
                Self { head, tail: 0, len }
            }
            Some((head, tail)) => {
                let (head, tail) = (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
                let words = value.as_chunks::<8>().0.iter();
                Self { head, tail: words.fold(tail, |hash, word| fold(hash, u64::from_le_bytes(*word))), len }
            }
        }
    }

    /// The longest value that two words say all of.
    const EXACT: usize = 16;

    fn is_exact(self) -> bool {
        self.len as usize <= Self::EXACT
    }

    /// As good as the table needs it; who attacks it makes the dictionary give up.
    fn hash(self) -> usize {
        fold(self.head ^ u64::from(self.len) << 56, self.tail) as usize
    }
}

/// Mixes two words: the halves of a product.
fn fold(a: u64, b: u64) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(a ^ K) * u128::from(b ^ K.rotate_left(32));
    product as u64 ^ (product >> 64) as u64
}
