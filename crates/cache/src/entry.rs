//! The file of one entry: a header, the digest of key and value, the value compressed by zstd.
//!
//! ```text
//! 0  8  magic and version        8  8  length of the value, little-endian
//! 16 32 SHA-256 over the key, bytes 0 to 16, and the compressed value
//! 48 …  the compressed value
//! ```

use sha2::{Digest, Sha256};

/// Magic number of the files, with the version of this layout.
const MAGIC: &[u8; 8] = b"bfcache1";
const HEADER: usize = 48;

/// The largest value that is kept. An entry that declares more is foreign.
const VALUE_LIMIT: u64 = 512 << 20;

/// An entry that declares more than this and so many times what it has compressed is a bomb, and none of ours. Without it, whoever writes a few
/// kilobytes into a shared cache has every node allocate half a gigabyte.
const PLAIN_LIMIT: u64 = 4 << 20;
const MOST_COMPRESSED: u64 = 128;

/// Level of zstd: values are read far more often than written, but writing delays the job.
const LEVEL: i32 = 1;

/// The file of `value` under `key`; `None` if it is too large, would be taken for a bomb, or cannot be compressed for lack of memory.
pub(crate) fn encode(key: &[u8; 32], value: &[u8]) -> Option<Vec<u8>> {
    let length = value.len() as u64;
    let compressed = if length <= VALUE_LIMIT { zstd::bulk::compress(value, LEVEL).ok()? } else { return None };
    if !is_plausible(length, &compressed) {
        return None;
    }
    let length = length.to_le_bytes();
    let mut file = Vec::with_capacity(HEADER + compressed.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&length);
    file.extend_from_slice(&digest(key, &length, &compressed));
    file.extend_from_slice(&compressed);
    Some(file)
}

/// The value in `file`, if the file is whole and was written for `key`.
pub(crate) fn decode(key: &[u8; 32], file: &[u8]) -> Option<Vec<u8>> {
    let rest = file.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (expected, compressed) = rest.split_first_chunk::<32>()?;
    // First of all, so that nothing is allocated on the word of a damaged header.
    if digest(key, length, compressed) != *expected {
        return None;
    }
    let length = u64::from_le_bytes(*length);
    // The digest shows damage and not malice: whoever forges an entry digests it too.
    if !is_plausible(length, compressed) {
        return None;
    }
    let length = usize::try_from(length).ok()?;
    let value = zstd::bulk::decompress(compressed, length).ok()?;
    (value.len() == length).then_some(value)
}

/// Whether a value of this length may be what an entry of ours has compressed.
fn is_plausible(length: u64, compressed: &[u8]) -> bool {
    length <= PLAIN_LIMIT || length <= VALUE_LIMIT.min((compressed.len() as u64).saturating_mul(MOST_COMPRESSED))
}

fn digest(key: &[u8; 32], length: &[u8; 8], compressed: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(key);
    hasher.update(MAGIC);
    hasher.update(length);
    hasher.update(compressed);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_value_comes_back() {
        for value in [b"".to_vec(), b"x".to_vec(), vec![0; 1 << 20], (0..=255).cycle().take(70_000).collect()] {
            let file = encode(&KEY, &value).unwrap();
            assert_eq!(decode(&KEY, &file).unwrap(), value);
        }
    }

    #[test]
    fn any_damage_is_noticed() {
        let file = encode(&KEY, b"some value, some value, some value").unwrap();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(decode(&KEY, &damaged).is_none(), "byte {at}");
            assert!(decode(&KEY, &file[..at]).is_none(), "cut at {at}");
        }
        let mut longer = file;
        longer.push(0);
        assert!(decode(&KEY, &longer).is_none());
    }

    /// An entry as somebody would forge it who knows the form: its digest is right.
    fn forged(length: u64, compressed: &[u8]) -> Vec<u8> {
        let length = length.to_le_bytes();
        [&MAGIC[..], &length, &digest(&KEY, &length, compressed), compressed].concat()
    }

    #[test]
    fn what_an_entry_declares_is_bounded() {
        let small = zstd::bulk::compress(b"value", LEVEL).unwrap();
        assert_eq!(decode(&KEY, &forged(5, &small)).unwrap(), b"value", "the forger knows how");
        for length in [PLAIN_LIMIT + 1, VALUE_LIMIT + 1, 1 << 40, u64::MAX] {
            let info = allocation_counter::measure(|| assert!(decode(&KEY, &forged(length, &small)).is_none()));
            assert!(info.bytes_max < 1 << 20, "{length}: {} bytes", info.bytes_max);
        }
    }

    #[test]
    fn a_bomb_is_not_blown_up() {
        let length = 256u64 << 20;
        let bomb = zstd::bulk::compress(&vec![0; usize::try_from(length).unwrap()], 19).unwrap();
        assert!((bomb.len() as u64) * 1000 < length, "it is one: {}", bomb.len());
        let info = allocation_counter::measure(|| {
            assert!(decode(&KEY, &forged(length, &bomb)).is_none());
            // One that declares less than it holds.
            assert!(decode(&KEY, &forged(1000, &bomb)).is_none());
        });
        assert!(info.bytes_max < 1 << 20, "{} bytes", info.bytes_max);
    }

    #[test]
    fn what_would_be_taken_for_a_bomb_is_not_kept() {
        assert!(encode(&KEY, &vec![0; 64 << 20]).is_none());
        let varied: Vec<u8> = (0..6u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(decode(&KEY, &encode(&KEY, &varied).unwrap()).unwrap(), varied);
    }

    #[test]
    fn a_file_of_another_key_is_foreign() {
        let file = encode(&KEY, b"value").unwrap();
        assert!(decode(&[8; 32], &file).is_none());
    }
}
