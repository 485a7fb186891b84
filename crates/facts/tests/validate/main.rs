//! Validation finds nothing in rows as they are built, and every way of spoiling them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "../common/mod.rs"]
mod common;
mod edit;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use arrow::array::{RecordBatch, StructArray};
use bytefacts_facts::validate::{Check, IdOwner, IdSink, Tally, ValidateOptions, Validator};
use bytefacts_facts::{FactError, FileInput, Options, RowBuilder, Severity};
use common::{Unit, attrs};
use edit::{Edit, edit};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const TERMINATORS: [&str; 4] = ["RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"];

/// A bad file, an empty one, one of whose lines only the codec knows, and a good one, compiled.
static CORPUS: LazyLock<Vec<Unit>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/validate/corpus");
    common::read_frames(&common::run_python("compile.py", &[folder]))
});

fn input(unit: &Unit) -> FileInput<'_> {
    let failure = FactError { stage: "compile".into(), error_type: "SyntaxError".into(), line1: Some(1), ..FactError::default() };
    let warning = FactError { severity: Severity::Warning, error_type: "SyntaxWarning".into(), ..failure.clone() };
    FileInput {
        repo: Some("r"),
        path: &unit.path,
        source: Some(&unit.source),
        sha256: Some(Sha256::digest(&unit.source).into()),
        code: (!unit.code.is_empty()).then_some(unit.code.as_slice()),
        errors: if unit.code.is_empty() { vec![failure] } else { vec![warning] },
    }
}

fn rows<'a>(units: impl IntoIterator<Item = &'a Unit>, include_cfg: bool) -> StructArray {
    let mut builder = RowBuilder::new(&attrs(include_cfg), Options::default());
    for unit in units {
        builder.append(input(unit)).unwrap();
    }
    builder.finish().unwrap().into()
}

/// Counts each id.
#[derive(Default)]
struct Ids(BTreeMap<(Check, String), u32>);

impl IdSink for Ids {
    fn id(&mut self, check: Check, id: &str, _: &IdOwner<'_>) {
        *self.0.entry((check, id.to_owned())).or_default() += 1;
    }
}

/// What validation says, ids that occur twice included.
fn validate(rows: &StructArray) -> (Tally, BTreeSet<Check>) {
    let mut validator = Validator::new(ValidateOptions { terminators: TERMINATORS.map(str::to_owned).to_vec(), keep: 3 });
    let mut ids = Ids::default();
    validator.rows(&RecordBatch::from(rows.clone()), &mut ids).unwrap();
    let found = Check::ALL.iter().copied().filter(|check| validator.tally.count(*check).found > 0);
    let repeated = ids.0.iter().filter(|(_, times)| **times > 1).map(|((check, _), _)| *check);
    let found = found.chain(repeated).collect();
    (validator.tally, found)
}

fn assert_clean(rows: &StructArray) {
    let (tally, found) = validate(rows);
    assert!(found.is_empty(), "{:#?}", tally.findings().collect::<Vec<_>>());
}

#[test]
fn rows_as_they_are_built_are_clean_with_and_without_derivations() {
    assert_eq!(CORPUS.len(), 4);
    assert_clean(&rows(&*CORPUS, true));
    assert_clean(&rows(&*CORPUS, false));
}

#[test]
fn the_standard_library_is_clean() {
    for unit in common::standard_library(50) {
        assert_clean(&rows([&unit], true));
    }
}

/// Changes the first value that there is.
fn first<T: Clone>(change: impl Fn(T) -> Option<T>) -> impl Fn(usize, Option<T>) -> Option<T> {
    let done = std::cell::Cell::new(false);
    move |_, value| match value {
        Some(value) if !done.get() => {
            let changed = change(value);
            done.set(true);
            changed
        }
        other => other,
    }
}

/// A way of spoiling rows: the check that must find it, the column, and what becomes of it.
type Spoil<'a> = (Check, &'a str, Edit<'a>);

fn check_spoilt(spoils: &[Spoil<'_>], covered: &mut BTreeSet<Check>) {
    let good = rows(&*CORPUS, true);
    for (check, path, change) in spoils {
        let spoilt = edit(&good, path, change);
        let (_, found) = validate(&spoilt);
        assert!(found.contains(check), "{path}: {} was to be found, not {found:?}", check.name());
        covered.insert(*check);
    }
}

#[test]
fn every_way_of_spoiling_rows_is_found() {
    use Check as C;
    let mut covered = BTreeSet::new();
    let code = |list: &str| format!("code_objects.{list}");

    let more = || first(|n: i32| Some(n + 1));
    let ints = [
        (C::InstrContiguous, "instructions.instr_index"),
        (C::InstrContiguous, "instructions.offset"),
        (C::InstrContiguous, "instructions.start_offset"),
        (C::InstrContiguous, "instructions.end_offset"),
        (C::InstrContiguous, "code_len"),
        (C::InstrCache, "instructions.cache_info.size"),
        (C::InstrJump, "instructions.jump_target"),
        (C::InstrLabel, "instructions.label"),
        (C::LineTable, "line_table.offset"),
        (C::LineTable, "line_table.line0"),
        (C::LineTable, "instructions.starts_line"),
        (C::Exception, "exception_table.exc_index"),
        (C::Exception, "exception_table.start_offset"),
        (C::Exception, "exception_table.end_offset"),
        (C::Exception, "exception_table.target_offset"),
        (C::BlockHandler, "exception_table.target_offset"),
        (C::UnitHeader, "flags"),
        (C::UnitHeader, "nlocals"),
        (C::UnitHeader, "consts.const_index"),
        (C::UniqueUnit, "code_path"),
        (C::LegacyId, "firstlineno1"),
        (C::BlockPartition, "blocks.start_offset"),
        (C::BlockPartition, "blocks.end_offset"),
        (C::BlockInstr, "blocks.block_index"),
        (C::BlockInstr, "blocks.first_instr_index"),
        (C::BlockInstr, "blocks.last_instr_index"),
        (C::BlockDominator, "blocks.immediate_dominator"),
        (C::BlockLoop, "blocks.loop_depth"),
        (C::ReferenceBlock, "instructions.block_index"),
        (C::ReferenceBlock, "instructions.block_start_offset"),
        (C::ReferenceBlock, "instructions.block_end_offset"),
        (C::ReferenceEdge, "cfg_edges.src_block_start"),
        (C::ReferenceEdge, "cfg_edges.dst_block_end"),
        (C::ReferenceEdge, "cfg_edges.cond_instr_index"),
        (C::ReferenceEdge, "cfg_edges.cond_instr_offset"),
        (C::StackEffect, "instructions.stack_depth_before"),
        (C::StackEffect, "instructions.stack_depth_after"),
        (C::StackEffect, "instructions.pops"),
        (C::StackEffect, "instructions.pushes"),
        (C::StackEffect, "exception_table.depth"),
        (C::StackMaximum, "max_stack_depth"),
        (C::DataOperand, "instructions.operands"),
        (C::DataOperand, "dfg_edges.operand_index"),
        (C::ReferenceDataEdge, "dfg_edges.src_instr_index"),
        (C::ReferenceDataEdge, "dfg_edges.dst_instr_offset"),
        (C::ReferenceEvent, "def_use_events.instr_index"),
        (C::ReferenceEvent, "def_use_events.instr_offset"),
        (C::EventDetail, "def_use_events.event_index"),
    ];
    for (check, path) in ints {
        check_spoilt(&[(check, &code(path), Edit::Int(&more()))], &mut covered);
    }
    let set = |value: i32| first(move |_: i32| Some(value));
    let numbers = [
        (C::LineInFile, "instructions.line_number", 10_000),
        (C::LineInFile, "line_table.line1", -1),
        (C::LineSpan, "instructions.span.end.line0", 10_000),
        (C::LineSpan, "instructions.span.start.col", -1),
        (C::LineSpan, "instructions.span.byte_span.byte_len", 1_000_000),
        (C::LineSpan, "instructions.span.byte_span.byte_start", -1),
        (C::StackDepth, "instructions.stack_depth_before", -1),
        (C::ReferenceEdge, "cfg_edges.exc_index", 1_000),
        (C::EdgeComplete, "cfg_edges.exc_index", 1_000),
    ];
    for (check, path, value) in numbers {
        check_spoilt(&[(check, &code(path), Edit::Int(&set(value)))], &mut covered);
    }
    let none = || first(|_: i32| None);
    for (check, path) in [
        (C::RowRequired, "instructions.offset"),
        (C::RowRequired, "blocks.start_offset"),
        (C::RowRequired, "firstlineno1"),
        (C::StackDepth, "instructions.stack_depth_before"),
        (C::StackEffect, "instructions.pops"),
        (C::BlockLoop, "blocks.loop_depth"),
        (C::BlockDominator, "blocks.immediate_dominator"),
        (C::InstrLabel, "instructions.label"),
    ] {
        check_spoilt(&[(check, &code(path), Edit::Int(&none()))], &mut covered);
    }
    for check in [C::StackDepth, C::StackMaximum] {
        check_spoilt(&[(check, &code("stacksize"), Edit::Int(&|_, _| Some(0)))], &mut covered);
    }
    check_spoilt(&[(C::InstrJump, &code("instructions.argval_int"), Edit::Long(&|_, value| value.map(|n| n + 1)))], &mut covered);

    let flip = || first(|value: bool| Some(!value));
    for (check, path) in [
        (C::BlockReach, "blocks.is_exit"),
        (C::BlockReach, "blocks.is_reachable"),
        (C::EdgeDetail, "cfg_edges.is_back_edge"),
        (C::InstrLabel, "instructions.is_jump_target"),
        (C::UnitHeader, "flags_detail.is_generator"),
        (C::StackEffect, "exception_table.lasti"),
    ] {
        check_spoilt(&[(check, &code(path), Edit::Bool(&flip()))], &mut covered);
    }

    let lists = ["instructions", "exception_table", "blocks", "cfg_edges", "dfg_edges", "consts", "def_use_events"];
    let of_list = [C::UniqueInstr, C::UniqueException, C::UniqueBlock, C::UniqueEdge, C::UniqueDataEdge, C::UniqueConst, C::UniqueEvent];
    for (list, check) in lists.iter().zip(of_list) {
        check_spoilt(&[(check, &code(list), Edit::Repeat)], &mut covered);
    }
    check_spoilt(
        &[
            (C::UniqueUnit, "code_objects", Edit::Repeat),
            (C::UniqueCache, &code("instructions.cache_info"), Edit::Repeat),
            (C::EdgeComplete, &code("cfg_edges"), Edit::Repeat),
            (C::EdgeComplete, &code("cfg_edges"), Edit::Drop),
            (C::BlockPartition, &code("blocks"), Edit::Drop),
            (C::BlockEntry, &code("blocks"), Edit::Drop),
            (C::DataOperand, &code("dfg_edges"), Edit::Drop),
            (C::EdgeComplete, &code("exception_table"), Edit::Drop),
            (C::InstrContiguous, &code("instructions"), Edit::Drop),
            (C::LineTable, &code("line_table"), Edit::Drop),
            (C::EventDetail, &code("def_use_events"), Edit::Drop),
            (C::RowExplained, "code_objects", Edit::Drop),
            (C::RowExplained, "errors", Edit::Drop),
            (C::DigestFile, "errors", Edit::Drop),
        ],
        &mut covered,
    );

    let texts: [(C, &str, &str, &str); 24] = [
        (C::BlockEntry, "code_objects.blocks.kind", "entry", "normal"),
        (C::BlockHandler, "code_objects.blocks.kind", "handler", "normal"),
        (C::BlockHandler, "code_objects.blocks.kind", "normal", "handler"),
        (C::BlockBorder, "code_objects.instructions.opname", "LOAD_CONST", "RETURN_VALUE"),
        (C::EdgeComplete, "code_objects.instructions.opname", "RETURN_VALUE", "NOP"),
        (C::EdgeComplete, "code_objects.cfg_edges.kind", "next", "jump"),
        (C::EdgeComplete, "code_objects.cfg_edges.kind", "exc", "next"),
        (C::ReferenceEdge, "code_objects.cfg_edges.kind", "next", "other"),
        (C::EdgeDetail, "code_objects.cfg_edges.polarity", "true", "false"),
        (C::DataDetail, "code_objects.dfg_edges.kind", "USE_STACK", "USE_LOCAL"),
        (C::DataDetail, "code_objects.dfg_edges.producer_kind", "instr", "argument"),
        (C::EventDetail, "code_objects.def_use_events.kind", "use", "other"),
        (C::EventDetail, "code_objects.def_use_events.namespace", "local", "other"),
        (C::ReferenceChild, "code_objects.consts.const_type", "code", "none"),
        (C::ReferenceChild, "code_objects.consts.const_type", "none", "code"),
        (C::UnitOrder, "code_objects.qualname", "<module>", "module"),
        (C::InstrCache, "code_objects.instructions.cache_info.data_hex", "0000", "00"),
        (C::ErrorStage, "errors.stage", "compile", "other"),
        (C::ErrorStage, "errors.severity", "warning", "remark"),
        (C::RowExplained, "errors.severity", "error", "warning"),
        (C::DigestFile, "errors.error_type", "SyntaxError", "ValueError"),
        (C::UniqueFile, "path", "good.py", "other.py"),
        (C::RowAttrs, "attrs.value", "3.13.0", "3.13.1"),
        (C::RowAttrs, "attrs.key", "optimize", "optimise"),
    ];
    for (check, path, from, to) in texts {
        let done = std::cell::Cell::new(false);
        let change = |_: usize, value: Option<&str>| match value {
            Some(text) if text == from && !done.replace(true) => Some(to.to_owned()),
            other => other.map(str::to_owned),
        };
        check_spoilt(&[(check, path, Edit::Text(&change))], &mut covered);
        assert!(done.get(), "{path} has no {from:?}");
    }
    let other = |_: usize, value: Option<&str>| value.map(|text| text.replace(['0', '1'], "7"));
    let no_hex = |_: usize, value: Option<&str>| value.map(|_| "none".to_owned());
    check_spoilt(
        &[
            (C::UniqueUnit, "code_objects.code_unit_id", Edit::Text(&other)),
            (C::LegacyId, "code_objects.code_id", Edit::Text(&other)),
            (C::ReferenceParent, "code_objects.parent_code_unit_id", Edit::Text(&other)),
            (C::ReferenceParent, "code_objects.parent_code_unit_id", Edit::Text(&|_, _| None)),
            (C::ReferenceChild, "code_objects.consts.child_code_unit_id", Edit::Text(&other)),
            (C::ReferenceErrorUnit, "errors.code_unit_id", Edit::Text(&|_, _| Some("bc_code:0".to_owned()))),
            (C::EdgeDetail, "code_objects.cfg_edges.edge_key", Edit::Text(&other)),
            (C::UniqueFile, "file_id", Edit::Text(&other)),
            (C::DigestFile, "facts_digest", Edit::Text(&other)),
            (C::DigestFile, "code_objects.facts_digest", Edit::Text(&other)),
            (C::DigestFile, "code_objects.facts_digest", Edit::Text(&no_hex)),
            (C::DigestFile, "file_sha256", Edit::Text(&other)),
            (C::RowOrder, "path", Edit::Text(&|nth, _| Some(format!("{}.py", 9 - nth)))),
            (C::RowRequired, "code_objects.instructions.opname", Edit::Text(&|_, _| None)),
            (C::RowRequired, "path", Edit::Text(&|_, _| None)),
            (
                C::Derivations,
                "attrs.value",
                Edit::Text(&|nth, value| value.map(|text| if nth % 8 == 6 { "False" } else { text }.to_owned())),
            ),
        ],
        &mut covered,
    );

    // What only a whole run shows is tested with whole runs.
    let of_runs = |check: &Check| ["file.", "schema.", "run.", "audit."].iter().any(|group| check.name().starts_with(group));
    let left: Vec<_> = Check::ALL.iter().filter(|check| !of_runs(check) && !covered.contains(check)).map(|check| check.name()).collect();
    assert_eq!(left, ["digest.run", "digest.repository"]);
}

#[test]
fn a_border_moved_by_an_instruction_is_found_though_blocks_still_partition_the_code() {
    let good = rows(&*CORPUS, true);
    // The end of the first block that has another behind it, and the start of that.
    let border = std::cell::Cell::new(None);
    let spoilt = edit(
        &good,
        "code_objects.blocks.end_offset",
        &Edit::Int(&|nth, end| match border.get() {
            None if nth > 0 => {
                border.set(end.map(|end| (nth, end)));
                end.map(|end| end + 2)
            }
            _ => end,
        }),
    );
    let (nth, _) = border.get().unwrap();
    let spoilt = edit(
        &spoilt,
        "code_objects.blocks.start_offset",
        &Edit::Int(&|at, start| match at == nth + 1 {
            true => start.map(|start| start + 2),
            false => start,
        }),
    );
    let (_, found) = validate(&spoilt);
    assert!(!found.contains(&Check::BlockPartition) || found.len() > 1, "{found:?}");
    for check in [Check::BlockInstr, Check::ReferenceBlock] {
        assert!(found.contains(&check), "{}: {found:?}", check.name());
    }
}

#[test]
fn rows_that_come_twice_have_ids_that_are_not_unique() {
    let good = rows(&*CORPUS, true);
    let batch = RecordBatch::from(good);
    let twice = arrow::compute::concat_batches(&batch.schema(), [&batch, &batch]).unwrap();
    let (_, found) = validate(&twice.into());
    for check in [Check::UniqueFile, Check::UniqueUnit, Check::UniqueInstr, Check::UniqueEdge, Check::RowOrder] {
        assert!(found.contains(&check), "{}: {found:?}", check.name());
    }
}

#[test]
fn what_an_error_row_of_the_unit_explains_is_counted_and_no_finding() {
    let good = CORPUS.iter().find(|unit| unit.path == "good.py").unwrap();
    let mut code = good.code.clone();
    // co_stacksize of the module: behind the letter and three counts.
    code[13..17].fill(0);
    let spoilt = rows([&Unit { path: good.path.clone(), source: good.source.clone(), code }], true);
    let (tally, found) = validate(&spoilt);
    assert!(found.is_empty(), "{:#?}", tally.findings().collect::<Vec<_>>());
    assert!(tally.count(Check::StackDepth).excused > 0 && tally.count(Check::StackMaximum).excused == 1);

    // Another unit's error explains nothing.
    let explained = |_: usize, stage: Option<&str>| stage.map(|stage| stage.replace("stack_effect", "read"));
    let (tally, _) = validate(&edit(&spoilt, "errors.stage", &Edit::Text(&explained)));
    assert_eq!(tally.count(Check::StackMaximum).excused, 0);
    assert_eq!(tally.count(Check::StackMaximum).found, 1);
}

#[test]
fn findings_are_kept_up_to_a_limit_and_counted_beyond_it() {
    let good = rows(&*CORPUS, true);
    let (tally, _) = validate(&edit(&good, "code_objects.instructions.label", &Edit::Int(&|_, _| Some(0))));
    let kept = tally.findings().filter(|finding| finding.check == Check::InstrLabel).count();
    assert_eq!(kept, 3);
    assert!(tally.count(Check::InstrLabel).found > 100);
    let finding = tally.findings().next().unwrap();
    assert_eq!((finding.repo.as_deref(), finding.path.as_deref()), (Some("r"), Some("empty.py")));
    assert!(finding.code_unit_id.as_deref().is_some_and(|unit| unit.starts_with("bc_code:")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Code that no compiler wrote has rows whose error rows explain what is wrong; line tables alone may say anything.
    #[test]
    fn rows_of_damaged_code_explain_themselves(places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let good = CORPUS.iter().find(|unit| unit.path == "good.py").unwrap();
        let mut code = good.code.clone();
        for (place, byte) in places {
            let place = place.index(code.len());
            code[place] = byte;
        }
        let damaged = Unit { path: good.path.clone(), source: good.source.clone(), code };
        let (tally, mut found) = validate(&rows([&damaged], true));
        found.remove(&Check::LineInFile);
        found.remove(&Check::LineSpan);
        found.remove(&Check::LineTable);
        prop_assert!(found.is_empty(), "{:#?}", tally.findings().collect::<Vec<_>>());
    }
}
