//! The memory tier: least recently used values go first.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

/// What an entry costs beside its value, roughly: key, handles, nodes of the two maps.
const OVERHEAD: u64 = 160;

/// Values bounded by their total size. Not shared; the caller locks.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: u64,
    used: u64,
    clock: u64,
    values: HashMap<[u8; 32], (Bytes, u64)>,
    /// Keys by the time of their last use.
    by_use: BTreeMap<u64, [u8; 32]>,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0, clock: 0, values: HashMap::new(), by_use: BTreeMap::new() }
    }

    pub(crate) fn get(&mut self, key: &[u8; 32]) -> Option<Bytes> {
        let (value, last_use) = self.values.get_mut(key)?;
        self.clock += 1;
        self.by_use.remove(last_use);
        *last_use = self.clock;
        self.by_use.insert(self.clock, *key);
        Some(value.clone())
    }

    /// Stores a value and returns how many others had to go. A value larger than an eighth of the tier would push out
    /// too much and is not kept.
    pub(crate) fn put(&mut self, key: [u8; 32], value: Bytes) -> u64 {
        self.remove(&key);
        let cost = value.len() as u64 + OVERHEAD;
        if cost > self.limit / 8 {
            return 0;
        }
        let mut evicted = 0;
        while self.used + cost > self.limit {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            self.forget(&oldest);
            evicted += 1;
        }
        // The handle may be a small part of something large: keep only the part.
        let value = Bytes::copy_from_slice(&value);
        self.clock += 1;
        self.by_use.insert(self.clock, key);
        self.values.insert(key, (value, self.clock));
        self.used += cost;
        evicted
    }

    fn remove(&mut self, key: &[u8; 32]) {
        if let Some(last_use) = self.forget(key) {
            self.by_use.remove(&last_use);
        }
    }

    fn forget(&mut self, key: &[u8; 32]) -> Option<u64> {
        let (value, last_use) = self.values.remove(key)?;
        self.used -= value.len() as u64 + OVERHEAD;
        Some(last_use)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(length: usize) -> Bytes {
        Bytes::from(vec![1; length])
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut memory = Memory::new(8 * (100 + OVERHEAD));
        for i in 0..8 {
            assert_eq!(memory.put([i; 32], value(100)), 0);
        }
        assert!(memory.get(&[0; 32]).is_some());
        assert_eq!(memory.put([8; 32], value(100)), 1);
        assert!(memory.get(&[0; 32]).is_some());
        assert!(memory.get(&[1; 32]).is_none());
    }

    #[test]
    fn the_bound_holds_and_is_given_back() {
        let limit = 10_000;
        let mut memory = Memory::new(limit);
        for i in 0..1_000u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&(i % 50).to_le_bytes());
            memory.put(key, value((i as usize * 37) % 900));
            assert!(memory.used() <= limit);
            assert_eq!(memory.values.len(), memory.by_use.len());
        }
        let sum: u64 = (memory.values.values()).map(|(v, _)| v.len() as u64 + OVERHEAD).sum();
        assert_eq!(memory.used(), sum);
    }

    #[test]
    fn a_value_that_would_push_out_too_much_is_not_kept() {
        let mut memory = Memory::new(8_000);
        memory.put([1; 32], value(10));
        memory.put([1; 32], value(5_000));
        assert!(memory.get(&[1; 32]).is_none(), "nor is its old value");
        assert_eq!(memory.used(), 0);
    }
}
