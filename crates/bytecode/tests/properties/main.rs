//! What holds of any bytes, real code with a few bytes changed above all: they are read or refused, and neither takes more memory, or more
//! work, than their length justifies.
//!
//! Work is measured as memory allocated in all, since nothing here works for long without allocating: no clock is asked.

#![expect(clippy::expect_used, clippy::panic, reason = "a test says what is wrong by a panic, in its helpers too")]

#[path = "../oracle/python.rs"]
mod python;

use std::sync::LazyLock;

use allocation_counter::AllocationInfo;
use bytefacts_bytecode::flow::{self, Terminators};
use bytefacts_bytecode::{Const, disassemble, exception_table, location, marshal, text, units};
use proptest::prelude::*;
use proptest::sample::Index;

/// Real code: small files of the standard library, as `marshal.dumps` writes them in versions 2 and 4.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("bytefacts-properties-{}", std::process::id()));
    let made = python::script(&python::find(), "scripts/seeds.py").arg(&folder).status().expect("the seeds are written");
    assert!(made.success(), "scripts/seeds.py failed");
    let mut names: Vec<_> = folder.read_dir().expect("the seeds are there").map(|entry| entry.expect("a seed").path()).collect();
    names.sort();
    let seeds = names.iter().map(|name| std::fs::read(name).expect("a seed")).collect();
    std::fs::remove_dir_all(&folder).expect("the seeds can go");
    seeds
});

/// A change of a few bytes. Places are relative, so that they fit every seed.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    /// A number of four bytes, as lengths and references are.
    Number(Index, i32),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Repeat(Index, u8, u8),
    Cut(Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let range = |at: &Index, length: u8, size: usize| {
            let start = at.index(size + 1);
            start..(start + usize::from(length)).min(size)
        };
        let size = bytes.len();
        match self {
            Self::Flip(at, bit) => bytes.iter_mut().skip(at.index(size + 1)).take(1).for_each(|byte| *byte ^= 1 << (bit & 7)),
            Self::Set(at, value) => bytes.iter_mut().skip(at.index(size + 1)).take(1).for_each(|byte| *byte = *value),
            Self::Number(at, number) => {
                for (byte, new) in bytes.iter_mut().skip(at.index(size + 1)).zip(number.to_le_bytes()) {
                    *byte = new;
                }
            }
            Self::Insert(at, new) => drop(bytes.splice(range(at, 0, size), new.iter().copied())),
            Self::Remove(at, length) => drop(bytes.drain(range(at, *length, size))),
            Self::Repeat(at, length, times) => {
                let piece = bytes[range(at, *length, size)].repeat(usize::from(*times));
                drop(bytes.splice(range(at, 0, size), piece));
            }
            Self::Cut(at) => bytes.truncate(at.index(size + 1)),
        }
    }
}

/// Bytes that marshal gives a meaning.
fn tag() -> impl Strategy<Value = u8> {
    prop::sample::select(b"NFT.ilgyszZaAut()<>[{crIfx\xa9\xe3\xda\xf3\x00\x01\x02\xff".to_vec())
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let number = prop_oneof![any::<i32>(), -2..300i32, Just(i32::MAX), Just(i32::MIN)];
    prop_oneof![
        3 => (at(), any::<u8>()).prop_map(|(at, bit)| Change::Flip(at, bit)),
        3 => (at(), prop_oneof![tag(), any::<u8>()]).prop_map(|(at, value)| Change::Set(at, value)),
        3 => (at(), number).prop_map(|(at, number)| Change::Number(at, number)),
        2 => (at(), prop::collection::vec(tag(), 1..12)).prop_map(|(at, new)| Change::Insert(at, new)),
        2 => (at(), 1..20u8).prop_map(|(at, length)| Change::Remove(at, length)),
        2 => (at(), 1..40u8, any::<u8>()).prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        1 => at().prop_map(Change::Cut),
    ]
}

/// Real code with a few changes, and whether these may repeat references so often that only the limit of expansion ends it.
fn mutated() -> impl Strategy<Value = (Vec<u8>, bool)> {
    (any::<Index>(), prop::collection::vec(change(), 1..6)).prop_map(|(seed, changes)| {
        let mut bytes = SEEDS[seed.index(SEEDS.len())].clone();
        changes.iter().for_each(|change| change.apply(&mut bytes));
        (bytes, changes.iter().any(|change| matches!(change, Change::Repeat(..))))
    })
}

/// What reading `length` bytes may take: five bytes can open a list that reserves room for 256 constants, references aside.
fn most_of_reading(length: usize, may_expand: bool) -> u64 {
    let expansion = if may_expand { marshal::expansion_limit(length) } else { 0 };
    (4_096 * length + (64 << 10) + expansion) as u64
}

/// What analysing a code object of `size` bytes may take: edges of the data flow grow with the square of small code.
fn most_of_analysing(size: usize) -> u64 {
    (8_192 * size + (64 << 10)) as u64
}

fn within(what: &str, taken: AllocationInfo, most: u64, bytes: &[u8]) -> Result<(), TestCaseError> {
    prop_assert!(taken.bytes_max <= most, "{what} holds {} bytes for {} bytes: {bytes:?}", taken.bytes_max, bytes.len());
    // A list that doubles allocates what it has in the end once more on the way there.
    prop_assert!(taken.bytes_total <= 4 * most, "{what} allocates {} bytes for {} bytes: {bytes:?}", taken.bytes_total, bytes.len());
    Ok(())
}

/// Reads and, if that leads to code, asks everything of it.
fn survey(bytes: &[u8], may_expand: bool) -> Result<bool, TestCaseError> {
    let mut read = None;
    let taken = allocation_counter::measure(|| read = marshal::read(bytes).ok());
    within("reading", taken, most_of_reading(bytes.len(), may_expand), bytes)?;
    let module = match read {
        None => return Ok(false),
        Some(Const::Code(module)) => module,
        Some(constant) => {
            drop(text::repr(&constant, ""));
            return Ok(true);
        }
    };
    let units = units(&module);
    for unit in &units {
        let code = unit.code;
        code.consts.iter().for_each(|constant| drop(text::repr(constant, "")));
        let size = code.code.len() + code.linetable.len() + code.exceptiontable.len() + code.names.len() + code.localsplusnames.len();
        let mut partition = Ok(());
        let taken = allocation_counter::measure(|| {
            let exceptions = exception_table::parse(code).unwrap_or_default();
            drop(location::line_starts(code));
            let Ok(instructions) = disassemble(code) else { return };
            let flow = flow::analyze(code, &instructions, &exceptions, &Terminators::default());
            let ends = flow.blocks.iter().map(|block| block.end);
            let starts = flow.blocks.iter().map(|block| block.start).skip(1).chain([code.code.len() as i32]);
            if !flow.blocks.is_empty() && !ends.eq(starts) {
                partition = Err(TestCaseError::fail(format!("blocks do not partition the code: {bytes:?}")));
            }
        });
        partition?;
        within("analysing", taken, most_of_analysing(size), bytes)?;
    }
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn real_code_with_a_few_bytes_changed_is_read_or_refused((bytes, may_expand) in mutated()) {
        survey(&bytes, may_expand)?;
    }

    #[test]
    fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(prop_oneof![2 => tag(), 1 => any::<u8>()], 0..400)) {
        survey(&bytes, false)?;
    }
}

#[test]
fn unchanged_seeds_are_read_and_analysed() {
    assert!(SEEDS.len() > 100, "only {} seeds", SEEDS.len());
    for seed in SEEDS.iter() {
        assert!(survey(seed, false).unwrap_or_else(|error| panic!("{error}")), "a seed was refused");
    }
}

#[test]
fn changes_leave_enough_that_is_still_read() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let trees = (0..500).map(|_| mutated().new_tree(&mut runner).expect("bytes").current());
    let read = trees.filter(|(bytes, _)| marshal::read(bytes).is_ok()).count();
    assert!((20..480).contains(&read), "{read} of 500 are read: the property says nothing about one side");
}
