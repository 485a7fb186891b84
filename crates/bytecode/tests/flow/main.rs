//! The flow of code against plain walking: of code objects of the standard library of the CPython 3.13 at hand.
//!
//! judge.py steps through instructions one by one; nothing of how this crate finds its answers is repeated there. Set
//! `BYTEFACTS_FLOW_EVERY=1` to have it judge every file instead of a sample.

#![expect(clippy::expect_used, clippy::panic, reason = "a test says what is wrong by a panic, in its helpers too")]

mod invariants;
#[path = "../oracle/python.rs"]
mod python;
mod report;

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::{ChildStdout, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use bytefacts_bytecode::flow::{self, Terminators};
use bytefacts_bytecode::{Code, ExceptionEntry, Instruction, disassemble, exception_table, marshal, opcode, units};

static PYTHON: LazyLock<PathBuf> = LazyLock::new(python::find);

/// As many judges as the usual small machine has cores.
const SHARDS: usize = 2;

#[test]
fn every_effect_is_that_of_cpython() {
    let text = String::from_utf8(Frames::start(&["effects"]).next().expect("the judge answers")).expect("effects are UTF-8");
    let (mut compared, mut headers) = (0, 0);
    for line in text.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let number = |index: usize| fields[index].parse::<i64>().expect("a number");
        let opcode = u8::try_from(number(0)).expect("an opcode");
        assert_eq!(opcode::name(opcode), fields[1]);
        let effect = flow::effect(opcode, fields[2].parse().ok()).unwrap_or_else(|| panic!("{line}: no effect"));
        // CPython computes in 32 bits, and overflows for what no code holds.
        let net = i64::from(effect.pushes) - i64::from(effect.pops);
        assert_eq!(net, number(3), "{line}");
        compared += 1;
        if number(4) >= 0 {
            let reach = effect.reach().unwrap_or_else(|| panic!("{line}: an operand above the top"));
            assert_eq!(
                (i64::from(reach), i64::from(effect.operands()), i64::from(effect.pops)),
                (number(4), number(5), number(6)),
                "{line}"
            );
        }
        if number(7) >= 0 && effect.reach().is_some() {
            assert_eq!(effect.reach().map(i64::from), Some(number(7)), "{line}: CPython's header takes another number of values");
            headers += 1;
        }
    }
    println!("{compared} effects equal dis.stack_effect, {headers} of them CPython's header");
    assert!(compared > 2000, "the judge knows hardly any opcode");
}

#[test]
fn the_flow_of_the_standard_library_is_what_walking_finds() {
    let every = std::env::var("BYTEFACTS_FLOW_EVERY").unwrap_or_else(|_| "6".to_owned());
    let shards: Vec<_> = (0..SHARDS)
        .map(|shard| {
            let every = every.clone();
            thread::spawn(move || judge_shard(&every, shard))
        })
        .collect();
    let mut tally = report::Tally::default();
    for shard in shards {
        tally.add(&shard.join().expect("a shard is judged"));
    }
    println!("{tally}");
    assert!(tally.differences.is_empty(), "{}", tally.differences.iter().take(10).map(String::as_str).collect::<String>());
    assert!(tally.units > 1000 && tally.every_way > tally.units / 2, "the judge saw too little");
}

/// Functions made for the test below.
const MADE: &str = "600";

/// Watched, not judged by rules: observed.py says which store each load did read while CPython ran the function.
#[test]
fn loads_are_reached_by_what_they_read_while_cpython_runs() {
    let seed = std::env::var("BYTEFACTS_FLOW_SEED").unwrap_or_else(|_| "1".to_owned());
    let mut frames = Frames::of("tests/flow/observed.py", &[&seed, MADE]);
    let (mut reads, mut whole, mut differences) = (0, 0, Vec::new());
    while let Some(name) = frames.next().filter(|name| !name.is_empty()) {
        let [source, marshalled, observed] = [(); 3].map(|()| frames.next().expect("three frames follow the name"));
        let [name, source, observed] = [&name, &source, &observed].map(|text| String::from_utf8_lossy(text).into_owned());
        let module = marshal::read_code(&marshalled).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut lines = observed.lines();
        for unit in units(&module) {
            let (instructions, _, flow) = flow_of(unit.code);
            let mut words = |what: &str| {
                let line = lines.next().and_then(|line| line.strip_prefix(what)).unwrap_or_else(|| panic!("{name}: no {what}"));
                line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            let [header, met, uses] = ["unit ", "met ", "uses "].map(&mut words);
            assert_eq!(header[1], instructions.len().to_string(), "{name}: {}", unit.qualpath);
            reads += uses.len();
            whole += usize::from(header[0] == "every");
            let found = report::compare_observed(&flow, header[0] == "every", &met, &uses);
            differences.extend(found.map(|found| format!("{name} {}: {found}\n{source}\n", unit.qualpath)));
        }
    }
    println!("{reads} reads observed, seed {seed}; nothing else reaches those of {whole} units; {} differences", differences.len());
    assert!(differences.is_empty(), "{}", differences.iter().take(5).map(String::as_str).collect::<String>());
    assert!(reads > 5000 && whole > 20, "too little was observed");
}

#[test]
fn the_invariants_hold_in_the_whole_standard_library() {
    let mut frames = Frames::start(&["code", "1", "0", "1"]);
    let (mut units_seen, mut sizes) = (0, invariants::Stacksizes::default());
    while let Some(name) = frames.next().filter(|name| !name.is_empty()) {
        let marshalled = frames.next().expect("code follows the name");
        let module = marshal::read_code(&marshalled).unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(&name)));
        for unit in units(&module) {
            let (instructions, exceptions, flow) = flow_of(unit.code);
            let checked = || invariants::check(unit.code, &instructions, &exceptions, &flow, &mut sizes);
            if let Err(failure) = catch_unwind(AssertUnwindSafe(checked)) {
                println!("in {} {}", String::from_utf8_lossy(&name), unit.qualpath);
                resume_unwind(failure);
            }
            units_seen += 1;
        }
    }
    println!("{units_seen} units; co_stacksize against the greatest depth: {sizes:?}");
    assert!(units_seen > 50_000, "the judge saw no standard library");
    assert!(sizes.unreachable_code < units_seen / 1000, "too many units have a larger co_stacksize than can be explained");
}

#[test]
fn large_code_takes_no_quadratic_time() {
    // Linear time is well below a microsecond an instruction; anything quadratic takes tens of them on code of this size.
    const LIMIT: Duration = Duration::from_micros(4);
    let mut frames = Frames::start(&["large"]);
    let mut programs = 0;
    while let Some(name) = frames.next().filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(&name).into_owned();
        let module = marshal::read_code(&frames.next().expect("code follows the name")).expect("code of CPython is sound");
        let sizes = units(&module).into_iter().map(|unit| (disassemble(unit.code).map_or(0, |instructions| instructions.len()), unit.code));
        let (size, code) = sizes.max_by_key(|(size, _)| *size).expect("a module is a unit");
        let instructions = disassemble(code).expect("code of CPython is sound");
        let exceptions = exception_table::parse(code).expect("tables of CPython are sound");
        let once = || {
            let start = busy();
            assert_eq!(flow::analyze(code, &instructions, &exceptions, &Terminators::default()).violations, []);
            busy().saturating_sub(start)
        };
        // The least of several times is the one least disturbed by whatever else runs.
        let each = (0..5).map(|_| once()).min().expect("five times") / u32::try_from(size).expect("a size");
        println!("{name}: {size} instructions, {each:?} each");
        assert!(each < LIMIT, "{name}: {each:?} an instruction");
        programs += 1;
    }
    assert!(programs > 5, "the judge knows too few programs");
}

/// The time that this thread has been running; where the system does not tell, the time since some start.
fn busy() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn flow_of(code: &Code) -> (Vec<Instruction<'_>>, Vec<ExceptionEntry>, flow::Flow) {
    let instructions = disassemble(code).expect("code of CPython is sound");
    let exceptions = exception_table::parse(code).expect("tables of CPython are sound");
    let flow = flow::analyze(code, &instructions, &exceptions, &Terminators::default());
    (instructions, exceptions, flow)
}

fn judge_shard(every: &str, shard: usize) -> report::Tally {
    let mut frames = Frames::start(&["library", every, &shard.to_string(), &SHARDS.to_string()]);
    let mut tally = report::Tally::default();
    while let Some(name) = frames.next().filter(|name| !name.is_empty()) {
        let name = String::from_utf8(name).expect("names are UTF-8");
        let marshalled = frames.next().expect("code follows the name");
        let facts = String::from_utf8_lossy(&frames.next().expect("facts follow the code")).into_owned();
        let module = marshal::read_code(&marshalled).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut lines = facts.lines().peekable();
        for unit in units(&module) {
            let (instructions, _, flow) = flow_of(unit.code);
            let place = format!("{name} {}", unit.qualpath);
            let header = lines.next().expect("the judge knows every unit");
            assert!(header.starts_with(&format!("unit {} {} ", instructions.len(), unit.code.stacksize)), "{place}: {header}");
            let mut theirs = BTreeMap::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("unit ")) {
                let (what, rest) = line.split_once(' ').expect("a line has a name");
                theirs.insert(what, rest);
            }
            report::compare(&place, &flow, &instructions, &theirs, &mut tally);
        }
    }
    tally
}

/// The frames that the judge writes: a length and that many bytes.
struct Frames {
    process: std::process::Child,
    output: BufReader<ChildStdout>,
}

impl Frames {
    fn start(arguments: &[&str]) -> Self {
        Self::of("tests/flow/judge.py", arguments)
    }

    fn of(script: &str, arguments: &[&str]) -> Self {
        let mut command = python::script(&PYTHON, script);
        command.args(arguments).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the judge starts");
        let output = BufReader::with_capacity(1 << 20, process.stdout.take().expect("stdout is piped"));
        Self { process, output }
    }
}

impl Iterator for Frames {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 4];
        if self.output.read_exact(&mut header).is_err() {
            assert!(self.process.wait().expect("the judge ends").success(), "the judge failed");
            return None;
        }
        let mut payload = vec![0; u32::from_le_bytes(header) as usize];
        self.output.read_exact(&mut payload).expect("the judge writes whole frames");
        Some(payload)
    }
}
