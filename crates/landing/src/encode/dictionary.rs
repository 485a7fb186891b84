//! The distinct values of a column chunk and their codes.

/// What a dictionary may hold. Readers keep it in memory while they read the chunk.
const MAX_VALUES: usize = 1 << 16;
const MAX_BYTES: usize = 1 << 20;

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

/// The hash of a value, and its code plus one; zero if there is none.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    hash: u32,
    code: u32,
}

impl Dictionary {
    /// The code of a value, which is added if it is new; none if the dictionary is full.
    pub(super) fn code(&mut self, value: &[u8]) -> Option<u32> {
        if self.entries.len() <= 2 * self.ends.len() {
            self.grow();
        }
        let hash = hash(value);
        let mask = self.entries.len() - 1;
        for probe in 0..MAX_PROBES {
            let at = (hash as usize).wrapping_add(probe) & mask;
            let entry = *self.entries.get(at)?;
            if entry.code == 0 {
                return self.add(value, hash, at);
            }
            if entry.hash == hash && self.value(entry.code - 1) == value {
                return Some(entry.code - 1);
            }
        }
        None
    }

    fn add(&mut self, value: &[u8], hash: u32, at: usize) -> Option<u32> {
        if self.ends.len() >= MAX_VALUES || self.bytes.len() + value.len() > MAX_BYTES {
            return None;
        }
        self.bytes.extend_from_slice(value);
        self.ends.push(u32::try_from(self.bytes.len()).ok()?);
        let code = u32::try_from(self.ends.len()).ok()?;
        *self.entries.get_mut(at)? = Entry { hash, code };
        Some(code - 1)
    }

    fn value(&self, code: u32) -> &[u8] {
        let end = |code: u32| self.ends.get(code as usize).map_or(0, |end| *end as usize);
        let start = code.checked_sub(1).map_or(0, end);
        self.bytes.get(start..end(code)).unwrap_or_default()
    }

    fn grow(&mut self) {
        let len = (2 * self.entries.len()).max(64);
        let mut entries = vec![Entry::default(); len];
        for entry in self.entries.iter().filter(|entry| entry.code != 0) {
            let mut at = entry.hash as usize & (len - 1);
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

    /// Appends the values in `PLAIN` encoding.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut start = 0;
        for end in &self.ends {
            out.extend_from_slice(&(end - start).to_le_bytes());
            out.extend_from_slice(self.bytes.get(start as usize..*end as usize).unwrap_or_default());
            start = *end;
        }
    }
}

/// A fast hash: products of 64 bits folded. Its quality is that of the table, and who attacks it makes the dictionary give up.
fn hash(value: &[u8]) -> u32 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a ^ K) * u128::from(b ^ K.rotate_left(32));
        (product as u64) ^ (product >> 64) as u64
    };
    let len = value.len() as u64;
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let half = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)));
    let folded = match value {
        [] => 0,
        [first, .., last] if value.len() < 4 => {
            let middle = value.get(value.len() / 2).copied().unwrap_or_default();
            fold(u64::from(*first) << 16 | u64::from(middle) << 8 | u64::from(*last), len)
        }
        [only] => fold(u64::from(*only), len),
        _ if value.len() < 8 => fold(half(value.first_chunk()) << 32 | half(value.last_chunk()), len),
        _ => {
            let words = value.as_chunks::<8>().0;
            words.iter().fold(fold(word(value.last_chunk()), len), |state, next| fold(state, word(Some(next))))
        }
    };
    (folded ^ folded >> 32) as u32
}
