//! One unit: what it says of itself, its place among the units of its file, and its instructions.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{
    Check, IdOwner, IdSink, Place,
    columns::{Instrs, Units},
    file::{FileScope, UnitIds},
};
use crate::{ids, input::FactError};

/// What the error rows of a unit allow it to break.
pub(super) struct Excuses<'e> {
    stages: BTreeSet<&'e str>,
}

impl<'e> Excuses<'e> {
    pub(super) fn new(errors: impl Iterator<Item = &'e FactError>) -> Self {
        Self { stages: errors.map(|error| error.stage.as_str()).collect() }
    }

    fn excuse(&self, check: Check) -> bool {
        let by = check.excuses();
        !by.is_empty() && (self.stages.contains("disassembly") || by.iter().any(|stage| self.stages.contains(stage)))
    }
}

/// A unit. Ranges are positions in the columns.
pub(super) struct UnitScope<'s, 'a> {
    pub(super) file: &'s mut FileScope<'a>,
    pub(super) columns: &'a Units<'a>,
    /// Position of the file's first unit.
    first: usize,
    pub(super) unit: usize,
    pub(super) id: &'a str,
    excuses: Excuses<'s>,
    pub(super) instrs: Range<usize>,
    pub(super) exceptions: Range<usize>,
    pub(super) blocks: Range<usize>,
    pub(super) edges: Range<usize>,
    pub(super) data_edges: Range<usize>,
    pub(super) events: Range<usize>,
}

/// Where the instructions of a unit stand.
pub(super) struct Code {
    /// Of each instruction.
    pub(super) offsets: Vec<i32>,
    /// Behind the last instruction.
    pub(super) end: i32,
}

impl Code {
    /// The instruction at an offset.
    pub(super) fn at(&self, offset: i32) -> Option<usize> {
        self.offsets.binary_search(&offset).ok()
    }

    /// Whether an instruction starts here or the code ends.
    pub(super) fn is_border(&self, offset: i32) -> bool {
        offset == self.end || self.at(offset).is_some()
    }

    /// Whether the instruction of that index is at that offset.
    pub(super) fn is_at(&self, index: Option<i32>, offset: Option<i32>) -> bool {
        let found = index.and_then(|index| usize::try_from(index).ok()).and_then(|index| self.offsets.get(index));
        found.is_some() && found.copied() == offset
    }
}

impl<'s, 'a> UnitScope<'s, 'a> {
    pub(super) fn new(
        file: &'s mut FileScope<'a>,
        columns: &'a Units<'a>,
        first: usize,
        unit: usize,
        id: &'a str,
        excuses: Excuses<'s>,
    ) -> Self {
        Self {
            file,
            columns,
            first,
            unit,
            id,
            excuses,
            instrs: columns.instructions.range(unit),
            exceptions: columns.exception_table.range(unit),
            blocks: columns.blocks.range(unit),
            edges: columns.cfg_edges.range(unit),
            data_edges: columns.dfg_edges.range(unit),
            events: columns.def_use_events.range(unit),
        }
    }

    /// Counts something looked at; finds fault unless it holds or an error row of the unit explains it.
    pub(super) fn expect(&mut self, check: Check, holds: bool, place: Place, message: impl FnOnce() -> String) {
        self.file.tally.looked(check, 1);
        if !holds {
            self.find(check, place, message);
        }
    }

    /// Finds fault with something that has been counted already.
    pub(super) fn find(&mut self, check: Check, place: Place, message: impl FnOnce() -> String) {
        if self.excuses.excuse(check) {
            self.file.tally.excuse(check);
        } else {
            self.file.find(check, place, Some(self.id), message());
        }
    }

    pub(super) fn check(mut self, units: &UnitIds<'a>, sink: &mut dyn IdSink) {
        self.identity(units, sink);
        self.header();
        self.constants(units);
        self.ids(sink);

        let code = self.code();
        self.instructions(&code);
        self.lines(&code);
        self.exceptions(&code);
        if self.file.rows.attrs.get(self.file.row, "include_cfg") == Some("False") {
            self.derivations_absent();
            return;
        }
        self.file.tally.looked(Check::Derivations, 1);
        let graph = self.graph(&code);
        self.edges(&code, &graph);
        self.stack(&graph);
        self.data(&code);
        self.events(&code);
    }

    /// Its ids, and its place in the tree of units.
    fn identity(&mut self, units: &UnitIds<'a>, sink: &mut dyn IdSink) {
        let (columns, unit) = (self.columns, self.unit);
        let qualname = columns.qualname.get(unit).unwrap_or_default();
        let (name, line) = (columns.name.get(unit).unwrap_or_default(), columns.firstlineno1.get(unit).unwrap_or(-1));
        let code_path = self.code_path(unit);

        let expected = ids::code_unit_id(self.file.file_id, &code_path, qualname);
        self.expect(Check::UniqueUnit, self.id == expected, Place::Whole, || format!("code_unit_id should be {expected}"));
        let owner = IdOwner { repo: self.file.repo, path: self.file.path, code_unit_id: Some(self.id), place: Place::Whole };
        sink.id(Check::UniqueUnit, self.id, &owner);
        let legacy = ids::code_id(qualname, name, line);
        self.expect(Check::LegacyId, columns.code_id.get(unit) == Some(&legacy), Place::Whole, || format!("code_id should be {legacy}"));

        let claimed = columns.parent_code_unit_id.get(unit);
        let parent = claimed.and_then(|id| units.get(id)).map(|nth| self.first + nth);
        let resolves = match code_path.split_last() {
            None => claimed.is_none(),
            Some((_, above)) => parent.is_some_and(|parent| self.code_path(parent) == above),
        };
        self.expect(Check::ReferenceParent, resolves, Place::Whole, || {
            format!("parent_code_unit_id is {claimed:?}, and the code path is {code_path:?}")
        });

        let above = parent.and_then(|parent| columns.qualname.get(parent));
        let named = match above {
            Some(above) => qualname.strip_prefix(above).is_some_and(|rest| rest == format!(".{name}@{line}")),
            None => qualname == "<module>" || claimed.is_some(),
        };
        let ordered = unit == self.first || self.code_path(unit - 1) < code_path;
        self.expect(Check::UnitOrder, named && ordered, Place::Whole, || match ordered {
            true => format!("qualpath {qualname:?} is not {above:?} with {name:?} and line {line}"),
            false => format!("comes behind a unit that it should precede: its code path is {code_path:?}"),
        });
    }

    fn code_path(&self, unit: usize) -> Vec<i32> {
        let ordinals = self.columns.code_path.items;
        self.columns.code_path.range(unit).map(|at| ordinals.get(at).unwrap_or(-1)).collect()
    }

    fn header(&mut self) {
        let (columns, unit) = (self.columns, self.unit);
        let flags = columns.flags.get(unit).unwrap_or(0);
        let detail = &columns.flags_detail;
        let bits = [
            (0x1, detail.is_optimized),
            (0x2, detail.is_newlocals),
            (0x4, detail.has_varargs),
            (0x8, detail.has_varkeywords),
            (0x10, detail.is_nested),
            (0x20, detail.is_generator),
            (0x40, detail.is_nofree),
            (0x80, detail.is_coroutine),
            (0x100, detail.is_iterable_coroutine),
            (0x200, detail.is_async_generator),
        ];
        let flags_agree = bits.iter().all(|(bit, column)| column.get(unit) == Some(flags & bit != 0));
        let varnames = columns.varnames.range(unit).len();
        let nlocals = columns.nlocals.get(unit);
        let locals_agree = nlocals.and_then(|count| usize::try_from(count).ok()) == Some(varnames);
        self.expect(Check::UnitHeader, flags_agree && locals_agree, Place::Whole, || match flags_agree {
            true => format!("nlocals is {nlocals:?} with {varnames} varnames"),
            false => format!("flags_detail does not show the bits of flags {flags:#x}"),
        });
    }

    /// Constants count from 0, and code constants lead to the units inside, in order.
    fn constants(&mut self, units: &UnitIds<'a>) {
        let columns = self.columns;
        let consts = &columns.consts.items;
        let mut path = self.code_path(self.unit);
        let mut ordinal = 0;
        for (nth, at) in columns.consts.range(self.unit).enumerate() {
            let index = consts.const_index.get(at);
            if !is(index, nth) {
                self.find(Check::UnitHeader, Place::Const(nth), || format!("const_index is {index:?}"));
            }
            let child = consts.child_code_unit_id.get(at);
            let resolves = if consts.const_type.get(at) == Some("code") {
                let child = child.and_then(|child| units.get(child)).map(|nth| self.first + nth);
                path.push(ordinal);
                ordinal += 1;
                let right =
                    child.is_some_and(|child| self.code_path(child) == path && columns.parent_code_unit_id.get(child) == Some(self.id));
                path.pop();
                right
            } else {
                child.is_none()
            };
            self.expect(Check::ReferenceChild, resolves, Place::Const(nth), || {
                format!("child_code_unit_id is {child:?}, which is not the unit of this constant")
            });
        }
    }

    fn code(&self) -> Code {
        let instrs = &self.columns.instructions.items;
        let offsets: Vec<i32> = self.instrs.clone().map(|at| instrs.offset.get(at).unwrap_or(-1)).collect();
        let last = self.instrs.clone().next_back().and_then(|at| instrs.end_offset.get(at));
        Code { offsets, end: self.columns.code_len.get(self.unit).or(last).unwrap_or(0) }
    }

    fn instructions(&mut self, code: &Code) {
        let instrs: &Instrs<'_> = &self.columns.instructions.items;
        let mut end = 0;
        for (nth, at) in self.instrs.clone().enumerate() {
            let (offset, claimed_end) = (instrs.offset.get(at), instrs.end_offset.get(at));
            let mut words = 0;
            for cache in instrs.cache_info.range(at) {
                let size = instrs.cache_info.items.size.get(cache).unwrap_or(0);
                words += size;
                let digits = instrs.cache_info.items.data_hex.get(cache).unwrap_or_default().len();
                let fits = usize::try_from(size).is_ok_and(|size| digits == 4 * size);
                self.expect(Check::InstrCache, fits, Place::Cache(nth), || format!("{digits} hex digits for {size} code units"));
            }
            let start = instrs.start_offset.get(at);
            let contiguous = is(instrs.instr_index.get(at), nth)
                && offset == Some(end)
                && claimed_end == Some(end + 2 + 2 * words)
                && self.starts(nth, start, end);
            self.expect(Check::InstrContiguous, contiguous, Place::Instr(nth), || {
                let index = instrs.instr_index.get(at);
                format!("has index {index:?} and {start:?} {offset:?}..{claimed_end:?} with {words} code units of caches; it should start at {end}")
            });
            end = claimed_end.unwrap_or(end);
        }
        if end != code.end {
            self.find(Check::InstrContiguous, Place::Offset(end), || format!("instructions end here, code_len is {}", code.end));
        }
        self.jumps(code);
    }

    /// Whether the prefixes before instruction `nth`, which is at `offset`, start where it says.
    fn starts(&self, nth: usize, start: Option<i32>, offset: i32) -> bool {
        let Some(start) = start else { return false };
        let Ok(prefixes) = usize::try_from(i64::from(offset) - i64::from(start)) else { return false };
        let instrs = &self.columns.instructions.items;
        let first = self.instrs.start;
        let is_prefix = |back: usize| nth >= back && instrs.opname.get(first + nth - back) == Some("EXTENDED_ARG");
        prefixes % 2 == 0 && prefixes / 2 <= 3 && (1..=prefixes / 2).all(is_prefix)
    }

    fn jumps(&mut self, code: &Code) {
        let instrs = &self.columns.instructions.items;
        let mut targets = BTreeSet::new();
        for (nth, at) in self.instrs.clone().enumerate() {
            let target = instrs.jump_target.get(at);
            let is_jump = instrs.argval_kind.get(at) == Some("jump");
            if target.is_none() && !is_jump {
                continue;
            }
            let leads = target.is_some_and(|target| code.at(target).is_some());
            let repeated = is_jump && instrs.argval_int.get(at) == target.map(i64::from);
            self.expect(Check::InstrJump, leads && repeated, Place::Instr(nth), || match leads {
                true => format!("jumps to {target:?}, argval_int says otherwise"),
                false => format!("jumps to {target:?}, where no instruction is"),
            });
            targets.extend(target);
        }
        let mut next = 1;
        for (nth, at) in self.instrs.clone().enumerate() {
            let (label, is_target) = (instrs.label.get(at), instrs.is_jump_target.is_true(at));
            let targeted = instrs.offset.get(at).is_some_and(|offset| targets.contains(&offset));
            let expected = targeted.then_some(next);
            next += i32::from(targeted);
            self.expect(Check::InstrLabel, label == expected && is_target == targeted, Place::Instr(nth), || {
                format!("label {label:?} and is_jump_target {is_target}, it should be {expected:?}")
            });
        }
    }

    fn derivations_absent(&mut self) {
        let instrs = &self.columns.instructions.items;
        let lists = [&self.blocks, &self.edges, &self.data_edges, &self.events];
        let empty = lists.iter().all(|list| list.is_empty()) && self.columns.max_stack_depth.get(self.unit).is_none();
        let numbers =
            [instrs.stack_depth_before, instrs.stack_depth_after, instrs.pops, instrs.pushes, instrs.operands, instrs.block_index];
        let null = self.instrs.clone().all(|at| numbers.iter().all(|column| column.get(at).is_none()));
        self.expect(Check::Derivations, empty && null, Place::Whole, || {
            "has derivations although its row says include_cfg=False".to_owned()
        });
    }
}

/// Whether a number is a position.
pub(super) fn is(number: Option<i32>, position: usize) -> bool {
    number.is_some_and(|number| usize::try_from(number) == Ok(position))
}
