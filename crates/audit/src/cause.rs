//! The catalogue: every known cause of differing code objects and rows, how each is met here, and which of them a difference has.

use bytefacts_bytecode::object::Const;
use bytefacts_bytecode::opcode::op;
use bytefacts_bytecode::{Code, disassemble, marshal, units};
use bytefacts_compile::{Diagnostic, MEMORY_LIMIT, Outcome, SIZE_LIMIT, TIME_LIMIT, WORKER_CRASH};

use crate::difference::{Difference, FieldKind};
use crate::digests::Derived;
use crate::matrix::Condition;
use crate::slots;
use crate::stream::StreamDifference;

/// What differs first because of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The header of a `.pyc`.
    Header,
    /// The marshal stream alone.
    Stream,
    /// The code object.
    Code,
    /// Whether there is code.
    Outcome,
    /// Text that is printed.
    Text,
    /// What is ours.
    Output,
}

impl Layer {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Stream => "stream",
            Self::Code => "code",
            Self::Outcome => "outcome",
            Self::Text => "text",
            Self::Output => "output",
        }
    }
}

/// How the project knows what it says of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// CPython does it by itself in a test, which this names.
    Provoked(&'static str),
    /// A test puts it into a worker, and the audit names it.
    Injected(&'static str),
    /// It cannot happen here, and why.
    Excluded(&'static str),
    /// It can happen and this audit does not tell it from others, and why.
    Open(&'static str),
}

/// A cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Its code: `C03`. `X` are ours.
    pub code: &'static str,
    /// What it is.
    pub title: &'static str,
    /// What differs first.
    pub layer: Layer,
    /// How it is met.
    pub met: Met,
}

const fn cause(code: &'static str, layer: Layer, title: &'static str, met: Met) -> Cause {
    Cause { code, title, layer, met }
}

/// The catalogue, in order of the codes; last what is not CPython's.
pub const CATALOGUE: [Cause; 52] = {
    use Layer::{Code, Header, Outcome, Output, Stream, Text};
    use Met::{Excluded, Injected, Open, Provoked};
    [
        cause("C01", Header, "time and size of the source in the header of a .pyc", Provoked("pyc::metadata_is_told_from_code")),
        cause("C02", Stream, "an object is flagged as referable because something held it", Injected("faults: references held")),
        cause(
            "C03",
            Stream,
            "the stream depends on what the process compiled before",
            Provoked("faults::what_was_compiled_before_shows_in_the_stream_alone"),
        ),
        cause(
            "C04",
            Stream,
            "names that imports had interned before",
            Provoked("faults::what_was_compiled_before_shows_in_the_stream_alone"),
        ),
        cause("C05", Stream, "compiled through an ast object", Excluded("workers hand bytes to compile() and nothing else")),
        cause("C06", Stream, "interned and plain strings have different type codes", Injected("faults: interned constants")),
        cause("C07", Stream, "sets written in hash order", Excluded("fixed in CPython 3.11: marshal sorts the elements")),
        cause(
            "C07b",
            Stream,
            "elements of sets sorted by their own stream",
            Excluded("the canonical form sorts by canonical bytes; the stream is informational"),
        ),
        cause(
            "C08",
            Code,
            "sets shown in hash order",
            Excluded("canonical text sorts elements by type and text; the hash seeds of the matrix vary it"),
        ),
        cause("C09", Code, "`__static_attributes__` in the order of a set", Injected("faults: static attributes")),
        cause("C10", Stream, ".pyc unstable for no stated reason (3.12)", Excluded("of CPython 3.12, which is refused")),
        cause("C11", Stream, "free-threaded builds: references depend on who owns a thread", Excluded("free-threaded builds are refused")),
        cause("C12", Stream, "free-threaded builds intern constants", Excluded("free-threaded builds are refused")),
        cause(
            "C13",
            Stream,
            "architecture of the machine",
            Open("one machine is one architecture: audit on nodes of both, and compare the runs with `diff`"),
        ),
        cause("C14", Code, "the name that a file is compiled under", Injected("faults: another file name")),
        cause("C15", Code, "first line and qualified name", Injected("faults: first line")),
        cause("C16", Code, "columns left out (no_debug_ranges)", Provoked("faults::an_environment_that_drops_columns_is_named")),
        cause("C17", Code, "level of optimisation", Injected("faults: asserts and docstrings removed")),
        cause("C18", Code, "future statements inherited by compile()", Injected("faults: inherited future")),
        cause("C19", Code, "flags and mode of compile()", Injected("faults: top-level await")),
        cause("C20", Code, "text in the place of bytes: the coding cookie is ignored", Injected("faults: cookie ignored")),
        cause(
            "C21",
            Code,
            "byte order mark, line ends, last newline",
            Excluded("the bytes of a file are its content; CPython gives one code for each"),
        ),
        cause("C22", Outcome, "a filter turns a warning into an error", Injected("faults: warnings are errors")),
        cause("C23", Outcome, "which warnings are seen", Injected("faults: warnings swallowed")),
        cause("C24", Outcome, "limit of digits of an int", Injected("faults: no limit of digits")),
        cause("C25", Outcome, "limits of recursion", Injected("faults: recursion error")),
        cause("C26", Outcome, "the C stack is too small", Provoked("faults::too_small_a_stack_fails_and_is_named")),
        cause("C27", Outcome, "the parser's own bound of memory", Injected("faults: parser stack")),
        cause("C28", Outcome, "memory, time or a kill", Provoked("faults::too_little_memory_fails_and_is_named")),
        cause("C29", Code, "a float folded by another libm", Injected("faults: float folded otherwise")),
        cause("C30", Code, "sign and payload of a folded NaN", Injected("faults: another NaN")),
        cause("C31", Code, "zeros and ones of different types merged", Injected("faults: zero without its sign")),
        cause("C32", Code, "another version of the compiler", Provoked("second::another_build_is_drift_and_explained")),
        cause("C33", Code, "another version of the Unicode database", Injected("faults: identifiers not normalised")),
        cause("C34", Code, "adaptive instructions after execution", Injected("faults: specialised opcode")),
        cause("C35", Stream, "debug build", Excluded("debug builds are refused")),
        cause(
            "C36",
            Text,
            "addresses in repr",
            Excluded("texts are made by us from values, which have no addresses; messages are cleared of them"),
        ),
        cause("C37", Outcome, "wording and place of an error", Injected("faults: error elsewhere")),
        cause(
            "C38",
            Output,
            "order of a listing",
            Excluded("files are sorted before anything is made of them; the order of work is varied by the matrix"),
        ),
        cause("C39", Output, "a source that changes under way", Provoked("audits::a_source_that_changed_since_the_run_is_not_judged")),
        cause("C40", Output, "random names of Parquet files", Excluded("names of files are no facts; digests are over rows")),
        cause(
            "C41",
            Output,
            "rows in order of completion",
            Excluded("rows are written in the order of the bin; `validate` checks file.sorted"),
        ),
        cause("C42", Output, "the writer's version in Parquet", Excluded("digests are over rows, not over files")),
        cause("C43", Output, "a fan-out writer in hash order", Excluded("one writer a bin")),
        cause("C44", Output, "metadata of a schema in hash order", Excluded("fixed in arrow 59, which sorts")),
        cause("C45", Output, "sorting columns of hive writes", Excluded("no partitioned writer of DataFusion is used")),
        cause("C46", Output, "version of a compressor", Excluded("digests are over rows, not over files")),
        cause(
            "C47",
            Code,
            "locals of inlined comprehensions in the order of a set",
            Provoked("slots::locals_of_inlined_comprehensions_follow_the_hash_seed_and_are_no_other_fact"),
        ),
        cause("X00", Code, "no cause of the catalogue", Injected("faults: an instruction too many")),
        cause(
            "X01",
            Output,
            "a cache entry, or a landed row, that is not what compiling gives",
            Provoked("audits::a_poisoned_cache_is_found"),
        ),
        cause("X02", Output, "dis says otherwise", Provoked("audits::dis_is_asked_and_what_it_says_otherwise_is_named")),
        cause("X03", Outcome, "no worker could be had", Open("a fault of the machine")),
    ]
};

/// The cause of a code.
#[must_use]
pub fn by_code(code: &str) -> Option<&'static Cause> {
    CATALOGUE.iter().find(|cause| cause.code == code)
}

/// Flags of `compile` that future statements set.
const FUTURE: i32 = 0x1FE_0000;

/// The code of what made two streams of one value differ.
#[must_use]
pub fn of_stream(condition: &Condition, found: &StreamDifference) -> &'static str {
    match found {
        _ if !condition.imports.is_empty() => "C04",
        _ if condition.changes_order() => "C03",
        found if found.order > 0 => "C07b",
        found if found.interning > 0 => "C06",
        _ => "C02",
    }
}

/// The code of what made two derivations of a source differ, if all that differs is an order that CPython draws from the hash seed and that does
/// nothing: no other fact of the source.
#[must_use]
pub fn of_order(condition: &Condition, left: &Derived, right: &Derived) -> Option<&'static str> {
    let (Outcome::Code(one), Outcome::Code(other)) = (&left.compiled.outcome, &right.compiled.outcome) else { return None };
    // Under the seed of the first derivation it cannot be that.
    if condition.worker().hash_seed == Condition::default().worker().hash_seed || left.compiled.warnings != right.compiled.warnings {
        return None;
    }
    let (one, other) = (marshal::read_code(one).ok()?, marshal::read_code(other).ok()?);
    slots::only_renumbered(&one, &other).then_some("C47")
}

/// The code of what made two derivations of a source differ.
#[must_use]
pub fn of_difference(condition: &Condition, source: &[u8], left: &Derived, right: &Derived, found: &Difference) -> &'static str {
    let code = match found.kind {
        FieldKind::Outcome => of_outcome(left, right),
        FieldKind::Warnings => "C23",
        FieldKind::NoColumns => "C16",
        FieldKind::Filename => "C14",
        FieldKind::FirstLine => "C15",
        FieldKind::Specialised => "C34",
        FieldKind::Float => of_float(found),
        FieldKind::Flags => of_flags(found),
        FieldKind::Names if !found.left.is_ascii() || !found.right.is_ascii() => "C33",
        FieldKind::ConstOrder if found.left.starts_with("tuple") || found.left.contains("LOAD_CONST (") => "C09",
        FieldKind::ConstOrder => "C08",
        FieldKind::Const | FieldKind::Instruction | FieldKind::Units | FieldKind::Counts => of_contents(source, left, right, found),
        _ => "X00",
    };
    match code {
        "X00" if condition.python.is_some() => "C32",
        code => code,
    }
}

fn of_outcome(left: &Derived, right: &Derived) -> &'static str {
    let failure = |derived: &Derived| match &derived.compiled.outcome {
        Outcome::Failed(failure) => Some(failure.clone()),
        Outcome::Code(_) => None,
    };
    match (failure(left), failure(right)) {
        (Some(_), Some(failure)) if is_limit(&failure) => of_failure(&failure, left),
        (Some(_), Some(_)) => "C37",
        (None, Some(failure)) => of_failure(&failure, left),
        (Some(failure), None) => of_failure(&failure, right),
        (None, None) => "X00",
    }
}

fn is_limit(failure: &Diagnostic) -> bool {
    [TIME_LIMIT, MEMORY_LIMIT, SIZE_LIMIT, WORKER_CRASH].contains(&failure.error_type.as_str())
}

/// The code of a failure where `other` side has code.
#[must_use]
pub fn of_failure(failure: &Diagnostic, other: &Derived) -> &'static str {
    match failure.error_type.as_str() {
        TIME_LIMIT | MEMORY_LIMIT | SIZE_LIMIT => "C28",
        WORKER_CRASH => "C26",
        "RecursionError" => "C25",
        "MemoryError" => "C27",
        _ if failure.message.contains("integer string conversion") => "C24",
        // The error that a warning became has the warning's text.
        "SyntaxError" if other.compiled.warnings.iter().any(|warning| warning.message == failure.message) => "C22",
        "SyntaxError" if failure.message.contains("invalid character") || failure.message.contains("non-printable") => "C33",
        "SyntaxError" if failure.message.starts_with("'await' outside") || failure.message.starts_with("asynchronous comprehension") => {
            "C19"
        }
        _ if failure.stage == "decode" => "C20",
        _ => "X00",
    }
}

fn of_float(found: &Difference) -> &'static str {
    let bits = |shown: &str| -> Vec<u64> {
        let inside = shown.rsplit_once("(bits ").map_or("", |(_, rest)| rest.trim_end_matches(')'));
        inside.split(' ').filter_map(|part| u64::from_str_radix(part, 16).ok()).collect()
    };
    let (left, right) = (bits(&found.left), bits(&found.right));
    let pairs: Vec<(f64, f64)> = left.iter().zip(&right).map(|(a, b)| (f64::from_bits(*a), f64::from_bits(*b))).collect();
    let differing = pairs.iter().find(|(a, b)| a.to_bits() != b.to_bits());
    match differing {
        Some((a, b)) if a.is_nan() && b.is_nan() => "C30",
        Some((a, b)) if *a == 0.0 && *b == 0.0 => "C31",
        _ => "C29",
    }
}

fn of_flags(found: &Difference) -> &'static str {
    let flags = |text: &str| i32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0);
    if (flags(&found.left) ^ flags(&found.right)) & FUTURE != 0 { "C18" } else { "C19" }
}

/// What constants and instructions tell.
fn of_contents(source: &[u8], left: &Derived, right: &Derived, found: &Difference) -> &'static str {
    let module = |derived: &Derived| match &derived.compiled.outcome {
        Outcome::Code(bytes) => marshal::read_code(bytes).ok(),
        Outcome::Failed(_) => None,
    };
    let (Some(left), Some(right)) = (module(left), module(right)) else { return "X00" };
    if count_op(&left, op::LOAD_ASSERTION_ERROR) != count_op(&right, op::LOAD_ASSERTION_ERROR) || docstrings(&left) != docstrings(&right) {
        return "C17";
    }
    if found.kind == FieldKind::Const && is_one_number(&found.left, &found.right) {
        return "C31";
    }
    if found.kind == FieldKind::Const && has_cookie(source) {
        return "C20";
    }
    "X00"
}

fn count_op(code: &Code, opcode: u8) -> usize {
    let of = |code: &Code| disassemble(code).map_or(0, |list| list.iter().filter(|instruction| instruction.opcode == opcode).count());
    units(code).iter().map(|unit| of(unit.code)).sum()
}

/// How many code objects begin with a text, as those with docstrings do.
fn docstrings(code: &Code) -> usize {
    units(code).iter().filter(|unit| matches!(unit.code.consts.first(), Some(Const::Str(_)))).count()
}

/// Whether two constants are one number to Python and of different types.
fn is_one_number(left: &str, right: &str) -> bool {
    let number = |shown: &str| -> Option<f64> {
        let value = shown.split_once(' ').map_or(shown, |(_, value)| value).trim_start_matches('(').trim_end_matches(')');
        match value.split(' ').next()? {
            "True" => Some(1.0),
            "False" => Some(0.0),
            other => other.parse().ok(),
        }
    };
    match (number(left), number(right)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Whether the first two lines name an encoding, or the source is no UTF-8.
fn has_cookie(source: &[u8]) -> bool {
    let head = source.split(|byte| *byte == b'\n').take(2);
    str::from_utf8(source).is_err() || head.into_iter().any(|line| line.starts_with(b"#") && line.windows(6).any(|part| part == b"coding"))
}

/// The catalogue as the rows of a table in Markdown.
#[must_use]
pub fn table() -> String {
    let row = |cause: &Cause| {
        let met = match cause.met {
            Met::Provoked(by) => format!("provoked: {by}"),
            Met::Injected(by) => format!("injected: {by}"),
            Met::Excluded(why) => format!("excluded: {why}"),
            Met::Open(why) => format!("open: {why}"),
        };
        format!("| {} | {} | {} | {} |\n", cause.code, cause.layer.as_str(), cause.title, met.replace('_', "\\_"))
    };
    CATALOGUE.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cause_of_the_field_guide_is_in_the_catalogue_once() {
        let codes: BTreeSet<_> = CATALOGUE.iter().map(|cause| cause.code).collect();
        assert_eq!(codes.len(), CATALOGUE.len());
        for number in 1..=47 {
            assert!(codes.contains(format!("C{number:02}").as_str()), "{number}");
        }
        assert_eq!(by_code("C07b").unwrap().layer, Layer::Stream);
    }

    #[test]
    fn the_table_of_the_documentation_is_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/audit.md");
        let text = std::fs::read_to_string(path).unwrap();
        const HEAD: &str = "| code | what differs first | cause | met |\n|---|---|---|---|\n";
        let (before, rows) = text.split_once(HEAD).unwrap();
        if std::env::var_os("BYTEFACTS_UPDATE_DOCS").is_some() {
            std::fs::write(path, format!("{before}{HEAD}{}", table())).unwrap();
        } else {
            assert_eq!(rows, table(), "BYTEFACTS_UPDATE_DOCS=1 writes it anew");
        }
    }

    #[test]
    fn what_provokes_a_cause_is_a_test_that_there_is() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        for cause in CATALOGUE {
            let Met::Provoked(test) = cause.met else { continue };
            let (module, name) = test.split_once("::").unwrap();
            let places = [format!("{root}tests/audit/{module}.rs"), format!("{root}../../tests/e2e/{module}.rs")];
            let is_there =
                places.iter().filter_map(|path| std::fs::read_to_string(path).ok()).any(|text| text.contains(&format!("fn {name}()")));
            assert!(is_there, "{}: {test}", cause.code);
        }
    }
}
