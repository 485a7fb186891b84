//! CPython 3.13 as the judge: of every code object of its standard library, of its opcode tables, of the text of constants.
//!
//! Where CPython's `dis` is itself wrong, and this crate is not equal to it:
//! - `Instruction.cache_info` in 3.13.0 slices every field of a cache from the cache's start, so all fields but the first show wrong
//!   bytes. judge.py slices them one after the other (checked to fill the cache exactly) and takes only names, sizes and the first
//!   field from `dis`.
//! - `Instruction.end_offset` counts no caches for a specialised opcode. `co_code` holds none, so nothing here differs.
//! - `repr` of a frozenset depends on the hash seed and that of a code object on its address: judge.py sorts the one and cuts the
//!   other, and checks all other text against `repr` itself.

#![expect(clippy::expect_used, clippy::panic, reason = "a test says what is wrong by a panic, in its helpers too")]

mod facts;
mod judge;
mod python;
mod random;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;

use bytefacts_bytecode::{disassemble, exception_table, location, marshal, opcode, text, units};
use proptest::prelude::*;

use judge::{Frame, Judge, ask};
use random::constants;

static PYTHON: LazyLock<PathBuf> = LazyLock::new(python::find);

/// As many judges as the usual small machine has cores.
const SHARDS: usize = 2;

#[derive(Debug, Default)]
struct Tally {
    files: usize,
    failed: usize,
    lines: usize,
    differences: Vec<String>,
}

#[test]
fn every_fact_of_the_standard_library_equals_dis() {
    let shards: Vec<_> = (0..SHARDS).map(|shard| thread::spawn(move || judge_shard(shard))).collect();
    let tallies: Vec<_> = shards.into_iter().map(|shard| shard.join().expect("a shard is judged")).collect();
    let files: usize = tallies.iter().map(|tally| tally.files).sum();
    let lines: usize = tallies.iter().map(|tally| tally.lines).sum();
    let failed: usize = tallies.iter().map(|tally| tally.failed).sum();
    println!("{files} compilations, {failed} refused by CPython, {lines} lines of facts");
    let differences: Vec<_> = tallies.iter().flat_map(|tally| &tally.differences).collect();
    assert!(
        differences.is_empty(),
        "{} files differ:\n{}",
        differences.len(),
        differences.iter().take(10).map(|d| d.as_str()).collect::<String>()
    );
    assert!(files > 1000 && lines > 1_000_000, "the judge saw no standard library");
}

fn judge_shard(shard: usize) -> Tally {
    let mut judge = Judge::start(&PYTHON, &["library", &shard.to_string(), &SHARDS.to_string()]);
    let mut tally = Tally::default();
    while let Some(frame) = judge.frame() {
        let Frame::Payload(name) = frame else { panic!("a name comes first") };
        let name = String::from_utf8(name).expect("names are UTF-8");
        tally.files += 1;
        match judge.frame().expect("code follows the name") {
            Frame::Failed => tally.failed += 1,
            Frame::Payload(marshalled) => judge_file(&name, &marshalled, &mut judge, &mut tally),
        }
    }
    tally
}

fn judge_file(name: &str, marshalled: &[u8], judge: &mut Judge, tally: &mut Tally) {
    let module = marshal::read(marshalled).unwrap_or_else(|error| panic!("{name}: {error}"));
    for version in [0, 1, 3, 4] {
        let other = marshal::read(&judge.payload()).unwrap_or_else(|error| panic!("{name}, version {version}: {error}"));
        assert!(facts::same(&module, &other), "{name} reads differently from version {version}");
    }
    let expected = String::from_utf8(judge.payload()).expect("facts are UTF-8");
    let bytefacts_bytecode::Const::Code(module) = module else { panic!("{name} is no code") };
    let actual = facts::facts(&module, name);
    tally.lines += expected.lines().count();
    if let Some(difference) = first_difference(&expected, &actual) {
        tally.differences.push(format!("{name}: {difference}"));
    }
}

fn first_difference(expected: &str, actual: &str) -> Option<String> {
    let (mut theirs, mut ours, mut unit) = (expected.split('\n'), actual.split('\n'), "");
    loop {
        match (theirs.next(), ours.next()) {
            (None, None) => return None,
            (Some(their), Some(our)) if same_line(their, our) => unit = if their.starts_with("unit ") { their } else { unit },
            (their, our) => return Some(format!("in {unit}\n  dis: {}\n  we:  {}\n", their.unwrap_or("(end)"), our.unwrap_or("(end)"))),
        }
    }
}

/// Lines are equal, but that the judge may leave open which of several kinds a unit is of.
fn same_line(theirs: &str, ours: &str) -> bool {
    theirs == ours
        || match (theirs.rsplit_once(' '), ours.rsplit_once(' ')) {
            (Some((their_unit, kinds)), Some((our_unit, kind))) => {
                theirs.starts_with("unit ") && their_unit == our_unit && kinds.split('/').any(|other| other == kind)
            }
            _ => false,
        }
}

#[test]
fn the_generated_tables_are_those_of_this_cpython() {
    let tables = [
        ("scripts/opcodes.py", include_str!("../../src/opcode/table.rs")),
        ("scripts/printable.py", include_str!("../../src/text/printable.rs")),
    ];
    for (script, checked_in) in tables {
        let output = python::script(&PYTHON, script).output().expect("the script runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == checked_in.as_bytes(), "{script} writes another table than is checked in");
    }
}

#[test]
fn a_worker_can_recompute_the_digest_of_the_opcode_map() {
    let recipe = "import hashlib, opcode\n\
        rows = sorted((number, name) for name, number in opcode.opmap.items())\n\
        text = ''.join(f'{name} {number} {opcode._inline_cache_entries.get(name, 0)}\\n' for number, name in rows)\n\
        print(hashlib.sha256(text.encode()).hexdigest(), end='')";
    let output = std::process::Command::new(&*PYTHON).args(["-I", "-S", "-c", recipe]).output().expect("CPython runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), opcode::map_digest());
}

#[test]
fn random_constants_have_the_text_that_python_gives_them() {
    let constants = constants(20_000);
    let mut judge = Judge::start(&PYTHON, &["repr"]);
    let mut questions = judge.questions();
    let asking = {
        let constants = constants.clone();
        thread::spawn(move || constants.iter().for_each(|constant| ask(&mut questions, constant)))
    };
    for marshalled in constants {
        let expected = String::from_utf8(judge.payload()).expect("text is UTF-8");
        let constant = marshal::read(&marshalled).expect("sound bytes");
        assert_eq!(text::repr(&constant, ""), expected, "{constant:?}");
    }
    assert!(judge.frame().is_none());
    asking.join().expect("all constants are asked for");
}

static SAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut judge = Judge::start(&PYTHON, &["marshal", "40"]);
    std::iter::from_fn(|| judge.frame()).map(|frame| if let Frame::Payload(code) = frame { code } else { panic!("all compile") }).collect()
});

/// Asks everything of bytes that may be no code at all.
fn survey(marshalled: &[u8]) {
    let Ok(module) = marshal::read_code(marshalled) else { return };
    for unit in units(&module) {
        let _ = exception_table::parse(unit.code);
        let _ = location::line_starts(unit.code);
        let consts: usize = unit.code.consts.iter().map(|constant| text::repr(constant, "").len()).sum();
        for instruction in disassemble(unit.code).unwrap_or_default() {
            let mut argrepr = String::new();
            instruction.write_argrepr("", &mut argrepr);
            assert!(instruction.const_index().is_none() || argrepr.len() <= consts);
            assert_eq!(instruction.caches(unit.code).count(), opcode::cache_layout(instruction.opcode).len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_code_is_an_error_and_never_a_panic(
        sample in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut code = sample.get(&SAMPLES).clone();
        for (place, byte) in changes {
            let place = place.index(code.len());
            code[place] = byte;
        }
        if let Some(cut) = cut {
            code.truncate(cut.index(code.len()));
        }
        survey(&code);
    }
}
