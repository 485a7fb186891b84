//! Ids over a whole run: which of them occur more than once.
//!
//! A first pass keeps a number for each id, 8 bytes. Numbers that are equal are then looked up by a second pass over the rows, which compares the ids
//! as text and knows where they stand; without equal numbers there is no second pass. Above the limit of what is kept in memory the numbers
//! go to temporary files, parted by their first bits, of which one at a time is read back.
//!
//! An instruction brings 3.7 ids with it (measured on the standard library): 30 MB for a million instructions, in memory or on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, Write as _};

use bytefacts_facts::validate::{Check, Finding, IdOwner, IdSink, Tally, id_key};

/// Files for each kind of id.
const PARTS: usize = 64;

/// The numbers of ids, by the check that demands of them to be unique.
#[derive(Debug, Default)]
pub(crate) struct IdKeys(BTreeMap<Check, Vec<u64>>);

impl IdSink for IdKeys {
    fn id(&mut self, check: Check, id: &str, _: &IdOwner<'_>) {
        self.0.entry(check).or_default().push(id_key(id));
    }
}

/// The ids of a run.
pub(crate) struct UniqueIds {
    limit: usize,
    /// As they came: joined, they would be copied again and again.
    held: BTreeMap<Check, Vec<Vec<u64>>>,
    held_count: usize,
    spilled: BTreeMap<Check, Vec<File>>,
    looked: BTreeMap<Check, u64>,
}

impl UniqueIds {
    /// Keeps at most `limit` numbers in memory, and as many as one call of [`Self::add`] brings.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: BTreeMap::new(), held_count: 0, spilled: BTreeMap::new(), looked: BTreeMap::new() }
    }

    /// Adds the ids of a data file.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    pub(crate) fn add(&mut self, ids: IdKeys) -> io::Result<()> {
        for (check, mut keys) in ids.0 {
            *self.looked.entry(check).or_default() += keys.len() as u64;
            self.held_count += keys.len();
            keys.shrink_to_fit();
            self.held.entry(check).or_default().push(keys);
        }
        if self.held_count > self.limit { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        for (check, keys) in std::mem::take(&mut self.held) {
            let files = match self.spilled.entry(check) {
                std::collections::btree_map::Entry::Occupied(files) => files.into_mut(),
                std::collections::btree_map::Entry::Vacant(none) => {
                    none.insert((0..PARTS).map(|_| tempfile::tempfile()).collect::<io::Result<_>>()?)
                }
            };
            let mut parts = vec![Vec::new(); PARTS];
            for key in keys.into_iter().flatten() {
                if let Some(part) = parts.get_mut(part(key)) {
                    part.extend_from_slice(&key.to_le_bytes());
                }
            }
            for (file, bytes) in files.iter_mut().zip(parts) {
                file.write_all(&bytes)?;
            }
        }
        self.held_count = 0;
        Ok(())
    }

    /// How many ids there were of each kind, and the numbers that occurred more than once, with how often.
    ///
    /// # Errors
    /// When a temporary file cannot be written or read.
    #[expect(clippy::type_complexity, reason = "two maps that are taken apart at once")]
    pub(crate) fn repeated(mut self) -> io::Result<(BTreeMap<Check, u64>, BTreeMap<(Check, u64), u64>)> {
        if !self.spilled.is_empty() {
            self.spill()?;
        }
        let mut repeated = BTreeMap::new();
        for (check, keys) in self.held {
            find_repeated(check, keys.concat(), &mut repeated);
        }
        for (check, files) in self.spilled {
            for mut file in files {
                file.rewind()?;
                find_repeated(check, read_keys(file)?, &mut repeated);
            }
        }
        Ok((self.looked, repeated))
    }
}

/// The first bits that the hashes of all kinds have.
fn part(key: u64) -> usize {
    usize::try_from(key >> 57).unwrap_or(0) % PARTS
}

fn read_keys(file: File) -> io::Result<Vec<u64>> {
    let count = usize::try_from(file.metadata()?.len() / 8).unwrap_or(0);
    let mut keys = Vec::with_capacity(count);
    let mut file = BufReader::new(file);
    let mut bytes = [0; 8];
    for _ in 0..count {
        file.read_exact(&mut bytes)?;
        keys.push(u64::from_le_bytes(bytes));
    }
    Ok(keys)
}

fn find_repeated(check: Check, mut keys: Vec<u64>, repeated: &mut BTreeMap<(Check, u64), u64>) {
    keys.sort_unstable();
    for equal in keys.chunk_by(|a, b| a == b) {
        if let [key, _, ..] = equal {
            repeated.insert((check, *key), equal.len() as u64);
        }
    }
}

/// The second pass: finds fault with every id that has occurred before.
pub(crate) struct RepeatedIds<'a> {
    wanted: BTreeMap<(Check, u64), u64>,
    /// Where each id stood first.
    first: BTreeMap<(Check, String), String>,
    tally: &'a mut Tally,
}

impl<'a> RepeatedIds<'a> {
    pub(crate) fn new(wanted: BTreeMap<(Check, u64), u64>, tally: &'a mut Tally) -> Self {
        Self { wanted, first: BTreeMap::new(), tally }
    }
}

impl IdSink for RepeatedIds<'_> {
    fn id(&mut self, check: Check, id: &str, owner: &IdOwner<'_>) {
        if !self.wanted.contains_key(&(check, id_key(id))) {
            return;
        }
        let here = || match owner.code_unit_id {
            Some(unit) => format!("{} of {unit} in {:?}", owner.place, owner.path),
            None => format!("{:?}", owner.path),
        };
        match self.first.get(&(check, id.to_owned())) {
            None => {
                self.first.insert((check, id.to_owned()), here());
            }
            Some(first) => self.tally.find(check, || Finding {
                check,
                repo: owner.repo.map(str::to_owned),
                path: Some(owner.path.to_owned()),
                code_unit_id: owner.code_unit_id.map(str::to_owned),
                place: owner.place,
                message: format!("{id} is also the id of {}", first.trim_start()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytefacts_facts::validate::Place;

    use super::*;

    const OWNER: IdOwner<'_> = IdOwner { repo: None, path: "m.py", code_unit_id: None, place: Place::Whole };

    fn keys(ids: impl Iterator<Item = u64>) -> IdKeys {
        let mut keys = IdKeys::default();
        for id in ids {
            keys.id(Check::UniqueInstr, &format!("bc_instr:{}", id.wrapping_mul(0x9E37_79B9_7F4A_7C15)), &OWNER);
        }
        keys
    }

    #[test]
    fn what_is_repeated_is_found_in_memory_and_on_disk() {
        for limit in [1_000_000, 700, 0] {
            let mut ids = UniqueIds::new(limit);
            for start in [0, 500, 1000, 1400] {
                ids.add(keys(start..start + 500)).unwrap();
            }
            let (looked, repeated) = ids.repeated().unwrap();
            assert_eq!(looked[&Check::UniqueInstr], 2000);
            assert_eq!(repeated.len(), 100, "limit {limit}");
            assert!(repeated.values().all(|times| *times == 2));
        }
    }

    #[test]
    fn equal_numbers_of_other_ids_are_no_fault() {
        let mut tally = Tally::new(5);
        let id = "file:00112233445566778899aabbccddeeff";
        let other = "file:0011223344556677ffffffffffffffff";
        let mut repeated = RepeatedIds::new(BTreeMap::from([((Check::UniqueFile, id_key(id)), 3)]), &mut tally);
        for id in [id, other, id] {
            repeated.id(Check::UniqueFile, id, &OWNER);
        }
        assert_eq!(tally.found(), 1);
        assert!(tally.findings().next().unwrap().message.contains("m.py"));
    }
}
