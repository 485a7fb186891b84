//! The whole analysis on made-up code: shapes that no compiler writes, against an interpreter that goes every way.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::testing::{code, flow_of};
use super::*;
use crate::instruction::disassemble;
use crate::opcode::op;

/// A few instructions that find and leave a stack of three values.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Plain(Vec<(u8, u8)>),
    /// A conditional jump to the piece so many pieces ahead.
    Branch(u8, u8),
    /// A jump to the piece of that number.
    Jump(u8),
}

/// A handler range in pieces: first, count, target, whether the lasti is pushed.
pub(super) type Range = (u8, u8, u8, bool);

const START: [(u8, u8); 3] = [(op::LOAD_CONST, 0), (op::LOAD_CONST, 0), (op::LOAD_CONST, 0)];

/// Puts pieces together, so that jumps and handler ranges lead to the starts of pieces.
pub(super) fn assemble(pieces: &[Piece], ranges: &[Range]) -> (Code, Vec<ExceptionEntry>) {
    let size =
        |instructions: &[(u8, u8)]| instructions.iter().map(|&(opcode, _)| 1 + i32::from(crate::opcode::cache_words(opcode))).sum::<i32>();
    let length = |piece: &Piece| match piece {
        Piece::Plain(instructions) => size(instructions),
        Piece::Branch(opcode, _) => size(&[(op::LOAD_CONST, 0), (*opcode, 0)]),
        // A forward jump is made as long as a backward jump, which has a cache.
        Piece::Jump(_) => 2,
    };
    let mut starts = vec![3];
    for piece in pieces {
        starts.push(starts.last().unwrap() + length(piece));
    }
    let start = |index: usize| starts[index.min(pieces.len())];
    let distance = |from: i32, to: i32| u8::try_from(to - from).unwrap();
    let mut instructions = START.to_vec();
    for (index, piece) in pieces.iter().enumerate() {
        let end = start(index + 1);
        match piece {
            Piece::Plain(plain) => instructions.extend(plain),
            Piece::Branch(opcode, ahead) => {
                let target = start(index + 1 + usize::from(*ahead));
                instructions.extend([(op::LOAD_CONST, 0), (*opcode, distance(end, target))]);
            }
            Piece::Jump(target) => {
                let target = start(usize::from(*target) % (pieces.len() + 1));
                if target < end {
                    instructions.push((op::JUMP_BACKWARD, distance(target, end)));
                } else {
                    instructions.extend([(op::NOP, 0), (op::JUMP_FORWARD, distance(end, target))]);
                }
            }
        }
    }
    instructions.push((op::RETURN_CONST, 0));
    let mut exceptions: Vec<ExceptionEntry> = Vec::new();
    for &(first, count, target, lasti) in ranges {
        let index = |piece: u8| usize::from(piece) % pieces.len().max(1);
        let (start, end) = (2 * start(index(first)), 2 * start(index(first) + usize::from(count)));
        if start < end && exceptions.last().is_none_or(|last| last.end <= start) {
            // Either way the handler starts at depth 3, as every piece does.
            let depth = if lasti { 1 } else { 2 };
            exceptions.push(ExceptionEntry { start, end, target: 2 * starts[index(target)], depth, lasti });
        }
    }
    let mut code = code(&instructions, 2, "a b c d");
    for kind in &mut code.localspluskinds {
        *kind |= crate::object::local_kind::CELL;
    }
    (code, exceptions)
}

pub(super) fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let variable = || 0u8..4;
    let pair = || (0u8..4, 0u8..4).prop_map(|(first, second)| first << 4 | second);
    let plain = prop_oneof![
        variable().prop_map(|x| vec![(op::LOAD_CONST, 0), (op::STORE_FAST, x)]),
        variable().prop_map(|x| vec![(op::LOAD_FAST, x), (op::POP_TOP, 0)]),
        variable().prop_map(|x| vec![(op::DELETE_FAST, x)]),
        // As around a comprehension, and as nothing does it: into another slot.
        (variable(), 0u8..2).prop_map(|(x, moved)| vec![(op::LOAD_FAST_AND_CLEAR, x), (op::STORE_FAST, x ^ moved)]),
        (pair(), pair()).prop_map(|(x, y)| vec![(op::LOAD_FAST_LOAD_FAST, x), (op::STORE_FAST_STORE_FAST, y)]),
        pair().prop_map(|x| vec![(op::STORE_FAST_LOAD_FAST, x)]),
        variable().prop_map(|x| vec![(op::LOAD_CONST, 0), (op::STORE_DEREF, x)]),
        variable().prop_map(|x| vec![(op::LOAD_DEREF, x), (op::POP_TOP, 0)]),
        variable().prop_map(|x| vec![(op::DELETE_DEREF, x)]),
        variable().prop_map(|x| vec![(op::MAKE_CELL, x)]),
        (1u8..4).prop_map(|slot| vec![(op::SWAP, slot)]),
        (1u8..4).prop_map(|slot| vec![(op::COPY, slot), (op::POP_TOP, 0)]),
        (1u8..4).prop_map(|slot| vec![(op::COPY, slot), (op::SWAP, 3), (op::POP_TOP, 0)]),
        (1u8..4).prop_map(|slot| vec![(op::LOAD_CONST, 0), (op::LIST_APPEND, slot)]),
        Just(vec![(op::POP_TOP, 0), (op::LOAD_CONST, 0)]),
        Just(vec![(op::BINARY_SUBSCR, 0), (op::LOAD_CONST, 0)]),
        Just(vec![(op::RETURN_CONST, 0)]),
    ];
    let piece = prop_oneof![
        6 => plain.prop_map(Piece::Plain),
        2 => (prop_oneof![Just(op::POP_JUMP_IF_TRUE), Just(op::POP_JUMP_IF_NOT_NONE)], 0u8..6).prop_map(|(opcode, ahead)| Piece::Branch(opcode, ahead)),
        1 => (0u8..24).prop_map(Piece::Jump),
    ];
    prop::collection::vec(piece, 1..24)
}

pub(super) fn ranges() -> impl Strategy<Value = Vec<Range>> {
    prop::collection::btree_set((0u8..24, 1u8..5, 0u8..24, any::<bool>()), 0..5).prop_map(|ranges| ranges.into_iter().collect())
}

/// Where an instruction may lead, and where an exception in it does.
struct Ways<'a> {
    instructions: &'a [Instruction<'a>],
    exceptions: &'a [ExceptionEntry],
}

impl Ways<'_> {
    fn at(&self, offset: i32) -> usize {
        self.instructions.iter().position(|instruction| instruction.offset == offset).unwrap()
    }

    fn onward(&self, instr: usize) -> Vec<usize> {
        let instruction = &self.instructions[instr];
        let jump = instruction.jump_target.map(|target| self.at(target));
        match instruction.opcode {
            op::RETURN_CONST => vec![],
            op::JUMP_FORWARD | op::JUMP_BACKWARD => jump.into_iter().collect(),
            _ => jump.into_iter().chain([instr + 1]).collect(),
        }
    }

    fn handler(&self, instr: usize) -> Option<(usize, &ExceptionEntry)> {
        let offset = self.instructions[instr].offset;
        let entry = self.exceptions.iter().find(|entry| (entry.start..entry.end).contains(&offset))?;
        Some((self.at(entry.target), entry))
    }

    /// Goes every way from the first instruction. A step gives the state after an instruction, a raise the state in its handler.
    fn explore<S: Clone + Eq + std::hash::Hash>(
        &self,
        initial: S,
        mut step: impl FnMut(usize, &S) -> S,
        raise: impl Fn(&S, usize, &ExceptionEntry) -> S,
    ) {
        let mut seen = HashSet::from([(0, initial.clone())]);
        let mut todo = vec![(0, initial)];
        while let Some((instr, state)) = todo.pop() {
            let after = step(instr, &state);
            let mut next: Vec<_> = self.onward(instr).into_iter().map(|way| (way, after.clone())).collect();
            next.extend(self.handler(instr).map(|(handler, entry)| (handler, raise(&state, handler, entry))));
            for state in next {
                if seen.insert(state.clone()) {
                    todo.push(state);
                }
            }
        }
    }

    /// (instruction, operand, producer) of every use of a stack value on some way.
    fn stack_uses(&self) -> BTreeSet<(usize, usize, Producer)> {
        let mut uses = BTreeSet::new();
        let step = |instr: usize, stack: &Vec<Producer>| {
            let mut stack = stack.clone();
            let arg = self.instructions[instr].arg.unwrap_or(0) as usize;
            let mut use_slots = |slots: &[usize]| {
                for (operand, slot) in slots.iter().enumerate() {
                    uses.insert((instr, operand, stack[stack.len() - slot]));
                }
            };
            let me = Producer::Instr(instr as u32);
            let (pops, pushes) = match self.instructions[instr].opcode {
                op::LOAD_CONST | op::LOAD_FAST | op::LOAD_FAST_AND_CLEAR | op::LOAD_DEREF => (0, 1),
                op::LOAD_FAST_LOAD_FAST => (0, 2),
                op::STORE_FAST | op::STORE_DEREF | op::POP_TOP | op::POP_JUMP_IF_TRUE | op::POP_JUMP_IF_NOT_NONE => (1, 0),
                op::STORE_FAST_STORE_FAST => (2, 0),
                op::STORE_FAST_LOAD_FAST => (1, 1),
                op::BINARY_SUBSCR => (2, 1),
                op::SWAP => {
                    use_slots(&[arg, 1]);
                    let top = stack.len() - 1;
                    stack.swap(top, top + 1 - arg);
                    return stack;
                }
                op::COPY => {
                    use_slots(&[arg]);
                    stack.push(stack[stack.len() - arg]);
                    return stack;
                }
                op::LIST_APPEND => {
                    use_slots(&[1, arg + 1]);
                    stack.pop();
                    return stack;
                }
                _ => (0, 0),
            };
            use_slots(&(1..=pops).rev().collect::<Vec<_>>());
            stack.truncate(stack.len() - pops);
            stack.extend(vec![me; pushes]);
            stack
        };
        let raise = |stack: &Vec<Producer>, handler: usize, entry: &ExceptionEntry| {
            let mut stack = stack[..entry.depth as usize].to_vec();
            stack.extend(entry.lasti.then_some(Producer::Lasti(handler as u32)));
            stack.push(Producer::Exception(handler as u32));
            stack
        };
        self.explore(Vec::new(), step, raise);
        uses
    }

    /// (variable, instruction, namespace, which use of it, producer) of every use of two local variables or of their cells on some way.
    /// Two, since what is saved of one may be put into the other.
    fn variable_uses(&self, pair: [usize; 2], are_arguments: bool) -> BTreeSet<(usize, usize, Namespace, usize, Producer)> {
        let mut uses = BTreeSet::new();
        /// What holds a slot and its cell.
        type Held = (Option<Producer>, Option<Producer>);
        /// Of both slots, and of what was saved and lies on the stack.
        type Slots = ([Held; 2], Option<Held>);
        let step = |instr: usize, &(mut slots, mut saved): &Slots| {
            let arg = self.instructions[instr].arg.unwrap_or(0) as usize;
            let of = |variable: usize| pair.iter().position(|&of_pair| of_pair == variable);
            let (only, first, second) = (of(arg), of(arg >> 4), of(arg & 15));
            let me = Some(Producer::Instr(instr as u32));
            let mut note = |slot: Option<usize>, namespace, ordinal, held: fn(Held) -> Option<Producer>, slots: &[Held; 2]| {
                if let Some((slot, producer)) = slot.and_then(|slot| Some((slot, held(slots[slot])?))) {
                    uses.insert((pair[slot], instr, namespace, ordinal, producer));
                }
            };
            let local: fn(Held) -> Option<Producer> = |held| held.0;
            let cell: fn(Held) -> Option<Producer> = |held| held.1;
            match self.instructions[instr].opcode {
                op::LOAD_FAST => note(only, Namespace::Local, 0, local, &slots),
                op::LOAD_FAST_AND_CLEAR => {
                    note(only, Namespace::Local, 0, local, &slots);
                    saved = only.map(|slot| std::mem::take(&mut slots[slot]));
                }
                op::STORE_FAST => {
                    if let Some(slot) = only {
                        match saved.take() {
                            Some((local, cell)) => slots[slot] = (local.and(me), cell),
                            None => slots[slot].0 = me,
                        }
                    }
                }
                op::DELETE_FAST => only.into_iter().for_each(|slot| slots[slot].0 = None),
                op::LOAD_FAST_LOAD_FAST => {
                    note(first, Namespace::Local, 0, local, &slots);
                    note(second, Namespace::Local, 1, local, &slots);
                }
                op::STORE_FAST_STORE_FAST => first.into_iter().chain(second).for_each(|slot| slots[slot].0 = me),
                op::STORE_FAST_LOAD_FAST => {
                    first.into_iter().for_each(|slot| slots[slot].0 = me);
                    note(second, Namespace::Local, 0, local, &slots);
                }
                op::MAKE_CELL => only.into_iter().for_each(|slot| slots[slot] = (me, slots[slot].0)),
                op::LOAD_DEREF => note(only, Namespace::Cell, 0, cell, &slots),
                op::STORE_DEREF => only.into_iter().for_each(|slot| slots[slot].1 = me),
                op::DELETE_DEREF => only.into_iter().for_each(|slot| slots[slot].1 = None),
                _ => {}
            }
            (slots, saved)
        };
        let start = (are_arguments.then_some(Producer::Argument), None);
        // What lay on the stack above a handler's depth is gone in the handler.
        self.explore(([start; 2], None), step, |&(slots, _), _, _| (slots, None));
        uses
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Whatever the shape of the graph: irreducible loops, handlers inside their own ranges, ranges that end in mid-loop.
    #[test]
    fn the_data_flow_is_what_going_every_way_finds(pieces in pieces(), ranges in ranges()) {
        let (code, exceptions) = assemble(&pieces, &ranges);
        let flow = flow_of(&code, &exceptions);
        prop_assert_eq!(&flow.violations, &[]);
        let instructions = disassemble(&code).unwrap();
        let ways = Ways { instructions: &instructions, exceptions: &exceptions };

        // Where an instruction and what enters before it may both be the producer, one edge says so.
        let mut expected: BTreeMap<_, Producer> = BTreeMap::new();
        for (instr, operand, producer) in ways.stack_uses() {
            let both = |known: &mut Producer| if let Producer::Instr(instr) = *known { *known = Producer::Phi(instr) };
            expected.entry((instr, operand, producer.instr_index())).and_modify(both).or_insert(producer);
        }
        let stack = flow.data_edges.iter().filter(|edge| edge.kind == DataKind::Stack);
        let found: BTreeMap<_, _> =
            stack.map(|edge| ((edge.dst as usize, edge.operand_index as usize, edge.producer.instr_index()), edge.producer)).collect();
        prop_assert_eq!(found, expected);

        let mut expected = ways.variable_uses([0, 1], true);
        expected.extend(ways.variable_uses([2, 3], false));
        let found = flow.data_edges.iter().filter_map(|edge| {
            let variable = edge.variable?;
            Some((variable.index as usize, edge.dst as usize, variable.namespace, edge.operand_index as usize, edge.producer))
        });
        prop_assert_eq!(found.collect::<BTreeSet<_>>(), expected);
    }

    /// Nonsense neither panics nor breaks what the rows promise.
    #[test]
    fn any_bytes_are_analysed(
        bytes in prop::collection::vec((any::<u8>(), prop_oneof![0u8..4, any::<u8>()]), 0..60),
        ranges in prop::collection::vec((0i32..80, 0i32..80, 0i32..80, 0i32..6, any::<bool>()), 0..6),
    ) {
        let mut code = code(&[], 3, "a b c d");
        code.stacksize = 5;
        code.code = bytes.into_iter().flat_map(|(opcode, arg)| [opcode, arg]).collect();
        let Ok(instructions) = disassemble(&code) else { return Ok(()) };
        let exceptions: Vec<_> = ranges
            .into_iter()
            .map(|(start, end, target, depth, lasti)| ExceptionEntry { start: 2 * start, end: 2 * end, target: 2 * target, depth, lasti })
            .collect();
        let flow = analyze(&code, &instructions, &exceptions, &Terminators::default());
        prop_assert_eq!(flow.block_of.len(), instructions.len());
        prop_assert_eq!(flow.blocks.last().map_or(0, |block| block.end as usize), code.code.len());
        for row in &flow.stack {
            prop_assert!(row.depth_before.unwrap_or(0) >= 0 && row.depth_after.unwrap_or(0) >= 0);
        }
        let keys: BTreeSet<_> = flow.data_edges.iter().map(|edge| (edge.dst, edge.kind, edge.operand_index, edge.producer.instr_index())).collect();
        prop_assert_eq!(keys.len(), flow.data_edges.len());
        let keys: BTreeSet<_> = flow.edges.iter().map(|edge| edge.key(&flow.blocks).to_string()).collect();
        prop_assert_eq!(keys.len(), flow.edges.len());
    }
}

#[test]
fn code_without_instructions_is_a_violation() {
    assert_eq!(flow_of(&code(&[], 0, ""), &[]).violations, [Violation::Empty]);
}

#[test]
fn both_sides_of_a_merge_produce_its_value() {
    // 0 if a else 1
    let code = code(
        &[
            (op::LOAD_FAST, 0),
            (op::POP_JUMP_IF_FALSE, 2),
            (op::LOAD_CONST, 0),
            (op::JUMP_FORWARD, 1),
            (op::LOAD_CONST, 0),
            (op::RETURN_VALUE, 0),
        ],
        1,
        "a",
    );
    let flow = flow_of(&code, &[]);
    let into_return: Vec<_> = flow.data_edges.iter().filter(|edge| edge.dst == 5).map(|edge| edge.producer).collect();
    assert_eq!(into_return, [Producer::Instr(2), Producer::Instr(4)]);
    let keys: Vec<_> = flow.edges.iter().map(|edge| (edge.key(&flow.blocks).to_string(), edge.polarity)).collect();
    let expected = [("0:6:next", Some(true)), ("0:10:branch", Some(false)), ("6:12:jump", None), ("10:12:next", None)];
    let key = |found: &(String, Option<bool>), expected: &(&str, Option<bool>)| found.0 == expected.0 && found.1 == expected.1;
    assert!(keys.len() == expected.len() && keys.iter().zip(&expected).all(|(found, expected)| key(found, expected)), "{keys:?}");
}

#[test]
fn a_handler_sees_every_definition_of_its_range_but_the_last_instruction() {
    // try: a = None; a = None; a = None; handler: a
    let code = code(
        &[
            (op::LOAD_CONST, 0),
            (op::STORE_FAST, 0),
            (op::LOAD_CONST, 0),
            (op::STORE_FAST, 0),
            (op::LOAD_CONST, 0),
            (op::STORE_FAST, 0),
            (op::RETURN_CONST, 0),
            (op::POP_TOP, 0),
            (op::LOAD_FAST, 0),
            (op::RETURN_VALUE, 0),
        ],
        1,
        "a",
    );
    let flow = flow_of(&code, &[ExceptionEntry { start: 0, end: 12, target: 14, depth: 0, lasti: false }]);
    let seen: Vec<_> = flow.data_edges.iter().filter(|edge| edge.kind == DataKind::Local).map(|edge| edge.producer).collect();
    assert_eq!(seen, [Producer::Argument, Producer::Instr(1), Producer::Instr(3)]);
    let popped: Vec<_> = flow.data_edges.iter().filter(|edge| edge.dst == 7).map(|edge| edge.producer).collect();
    assert_eq!(popped, [Producer::Exception(7)]);
}

/// try: g() / except E: h(): the clean-up of the handler covers its first instruction, before which the exception lies where after
/// it the exception that was handled before does.
#[test]
fn a_handlers_first_instruction_and_its_exception_both_are_named() {
    // POP_EXCEPT pops what PUSH_EXC_INFO at 2 has pushed, or, where that has raised, the exception itself.
    let code = code(
        &[
            (op::NOP, 0),
            (op::RETURN_CONST, 0),
            (op::PUSH_EXC_INFO, 0),
            (op::POP_TOP, 0),
            (op::POP_EXCEPT, 0),
            (op::RETURN_CONST, 0),
            (op::COPY, 3),
            (op::POP_EXCEPT, 0),
            (op::RERAISE, 1),
        ],
        0,
        "",
    );
    let entries = [
        ExceptionEntry { start: 0, end: 2, target: 4, depth: 0, lasti: false },
        ExceptionEntry { start: 4, end: 8, target: 12, depth: 1, lasti: true },
    ];
    let flow = flow_of(&code, &entries);
    let copied: Vec<_> = flow.data_edges.iter().filter(|edge| edge.dst == 6 && edge.operand_index == 0).map(|edge| edge.producer).collect();
    assert_eq!(copied, [Producer::Phi(2)]);
}

#[test]
fn an_empty_stack_is_a_violation_at_the_instruction() {
    let flow = flow_of(&code(&[(op::POP_TOP, 0), (op::RETURN_CONST, 0)], 0, ""), &[]);
    assert_eq!(flow.violations, [Violation::Underflow { instr: 0, depth: 0, needed: 1 }]);
    assert_eq!(flow.stack[1].depth_before, Some(0));
}

#[test]
fn two_depths_at_a_merge_are_a_violation_of_the_block() {
    let instructions = [(op::LOAD_CONST, 0), (op::POP_JUMP_IF_TRUE, 1), (op::LOAD_CONST, 0), (op::RETURN_CONST, 0)];
    let flow = flow_of(&code(&instructions, 0, ""), &[]);
    assert!(matches!(flow.violations[..], [Violation::MergeDepth { block: 2, .. }]), "{:?}", flow.violations);
}

#[test]
fn an_argument_that_asks_for_billions_is_refused() {
    let prefixes = [(op::EXTENDED_ARG, 0x7F), (op::EXTENDED_ARG, 0xFF), (op::EXTENDED_ARG, 0xFF)];
    let mut instructions = vec![(op::LOAD_CONST, 0)];
    instructions.extend(prefixes);
    instructions.extend([(op::UNPACK_SEQUENCE, 0xFF), (op::RETURN_CONST, 0)]);
    let flow = flow_of(&code(&instructions, 0, ""), &[]);
    assert_eq!(flow.violations, [Violation::PushLimit { instr: 4, pushes: 0x7FFF_FFFF }]);
    assert_eq!(flow.stack[5].depth_before, None);
}

/// What a compiler would never write is said, and counted as nothing: never as the greatest number that there is.
#[test]
fn an_argument_that_no_stack_has_is_a_violation_and_no_count() {
    let prefixes = [(op::EXTENDED_ARG, 0xFF), (op::EXTENDED_ARG, 0xFF), (op::EXTENDED_ARG, 0xFF)];
    for opcode in [op::BUILD_LIST, op::UNPACK_SEQUENCE] {
        let mut instructions = vec![(op::LOAD_CONST, 0)];
        instructions.extend(prefixes);
        instructions.extend([(opcode, 0xFF), (op::RETURN_CONST, 0)]);
        let flow = flow_of(&code(&instructions, 0, ""), &[]);
        assert_eq!(flow.violations, [Violation::StackArgument { instr: 4, arg: u32::MAX }]);
        assert_eq!(flow.stack[4], StackRow { depth_before: Some(1), depth_after: Some(1), ..StackRow::default() });
    }
    // The most that 31 bits count is counted, and is too much for this stack.
    let mut instructions = vec![(op::LOAD_CONST, 0), (op::EXTENDED_ARG, 0x7F)];
    instructions.extend([(op::EXTENDED_ARG, 0xFF), (op::EXTENDED_ARG, 0xFF), (op::BUILD_LIST, 0xFF), (op::RETURN_CONST, 0)]);
    let flow = flow_of(&code(&instructions, 0, ""), &[]);
    assert_eq!(flow.violations, [Violation::Underflow { instr: 4, depth: 1, needed: 0x7FFF_FFFF }]);
    assert_eq!(flow.stack[4].pops, 0x7FFF_FFFF);
    // The slot above the top is none.
    let flow = flow_of(&code(&[(op::LOAD_CONST, 0), (op::COPY, 0), (op::RETURN_CONST, 0)], 2, ""), &[]);
    assert_eq!(flow.violations, [Violation::StackArgument { instr: 1, arg: 0 }]);
}

#[test]
fn terminators_are_chosen_by_name() {
    let code = code(&[(op::NOP, 0), (op::RESUME, 0), (op::RETURN_CONST, 0)], 0, "");
    let instructions = disassemble(&code).unwrap();
    let blocks = |terminators: &Terminators| analyze(&code, &instructions, &[], terminators).blocks.len();
    assert_eq!(blocks(&Terminators::default()), 1);
    assert_eq!(blocks(&Terminators::new(["RESUME", "RETURN_CONST"]).unwrap()), 2);
    assert_eq!(Terminators::new(["RETURN"]).unwrap_err().to_string(), "no opcode is named \"RETURN\"");
    let names = ["RERAISE", "RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS"];
    assert_eq!(Terminators::new(names), Ok(Terminators::default()));
}

#[test]
fn definitions_times_uses_end_at_a_limit() {
    // if a: b = None, and a use of b, again and again: each use sees all definitions before it.
    let mut instructions = Vec::new();
    for _ in 0..2000 {
        instructions.extend([(op::LOAD_FAST, 0), (op::POP_JUMP_IF_FALSE, 2), (op::LOAD_CONST, 0), (op::STORE_FAST, 1)]);
        instructions.extend([(op::LOAD_FAST, 1), (op::POP_TOP, 0)]);
    }
    instructions.push((op::RETURN_CONST, 0));
    let flow = flow_of(&code(&instructions, 1, "a b"), &[]);
    let [Violation::EdgeLimit { limit: 833_600, operands: 0, locals, cells: 0, globals: 0, names: 0 }] = flow.violations[..] else {
        panic!("{:?}", flow.violations)
    };
    // Every test of `a` is a use, and every use of `b`, until there is no more room.
    let used = flow.data_edges.iter().filter(|edge| edge.kind == DataKind::Local).map(|edge| edge.dst);
    assert_eq!(used.collect::<BTreeSet<_>>().len() as u64 + locals, 2 * 2000);
    assert!(flow.data_edges.len() <= 833_600);
    // Each test and each POP_TOP and STORE_FAST has its operand, beyond where the uses of variables end too.
    assert_eq!(flow.data_edges.iter().filter(|edge| edge.kind == DataKind::Stack).count(), 3 * 2000);
    assert!(flow.data_edges.is_sorted_by_key(|edge| edge.dst));
}

#[test]
fn a_handler_at_the_entry_is_a_violation() {
    let code = code(&[(op::NOP, 0), (op::NOP, 0), (op::RETURN_CONST, 0)], 1, "");
    let flow = flow_of(&code, &[ExceptionEntry { start: 2, end: 4, target: 0, depth: 0, lasti: false }]);
    assert!(flow.violations.contains(&Violation::ExceptionAtEntry { exc: 0 }), "{:?}", flow.violations);
    assert_eq!(flow.blocks[0].kind, BlockKind::Entry);
}
