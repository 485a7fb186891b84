//! Blocks, edges, dominators and loops of made-up code by their definitions, each tried in the plainest way.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::testing::flow_of;
use super::tests::{assemble, pieces, ranges};
use super::*;
use crate::instruction::disassemble;
use crate::opcode::{has_jump, op};

fn ends_a_block(instruction: &Instruction<'_>) -> bool {
    has_jump(instruction.opcode) || [op::RETURN_CONST, op::RETURN_VALUE].contains(&instruction.opcode)
}

/// Where blocks start: at 0, where a jump leads, behind what ends a block, and where an exception range starts, ends or leads.
fn leaders(instructions: &[Instruction<'_>], exceptions: &[ExceptionEntry]) -> BTreeSet<i32> {
    let mut leaders = BTreeSet::from([0]);
    for instruction in instructions {
        leaders.extend(instruction.jump_target);
        leaders.extend(ends_a_block(instruction).then_some(instruction.end_offset));
    }
    leaders.extend(exceptions.iter().flat_map(|entry| [entry.start, entry.end, entry.target]));
    let end = instructions.last().map_or(0, |last| last.end_offset);
    leaders.into_iter().filter(|&offset| offset < end).collect()
}

/// An edge by the offsets of its blocks.
type Way = (i32, i32, EdgeKind, Option<bool>);

/// Where the instructions of a block lead out of it.
fn ways(starts: &BTreeSet<i32>, instructions: &[Instruction<'_>], exceptions: &[ExceptionEntry]) -> BTreeSet<Way> {
    let mut ways = BTreeSet::new();
    for instruction in instructions {
        let Some(&block) = starts.range(..=instruction.offset).next_back() else { continue };
        // An exception leads from every instruction that a range covers.
        let covering = exceptions.iter().filter(|entry| (entry.start..entry.end).contains(&instruction.offset));
        ways.extend(covering.map(|entry| (block, entry.target, EdgeKind::Exc, None)));
        let end = instruction.end_offset;
        match (instruction.opcode, instruction.jump_target) {
            (op::RETURN_CONST | op::RETURN_VALUE, _) => {}
            (op::JUMP_FORWARD | op::JUMP_BACKWARD, Some(target)) => {
                ways.insert((block, target, EdgeKind::Jump, None));
            }
            (opcode, Some(target)) => {
                // The test of POP_JUMP_IF_NOT_NONE is whether the value is None.
                let jumps_if = opcode == op::POP_JUMP_IF_TRUE;
                ways.extend([(block, end, EdgeKind::Next, Some(!jumps_if)), (block, target, EdgeKind::Branch, Some(jumps_if))]);
            }
            (_, None) if starts.contains(&end) => {
                ways.insert((block, end, EdgeKind::Next, None));
            }
            _ => {}
        }
    }
    ways
}

/// What the entry reaches along the edges if one block is taken away.
fn reached(flow: &Flow, without: Option<u32>) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![0];
    while let Some(block) = todo.pop() {
        if Some(block) != without && seen.insert(block) {
            todo.extend(flow.edges.iter().filter(|edge| edge.src == block).map(|edge| edge.dst));
        }
    }
    seen
}

/// What reaches the sources of a header's back edges without passing the header.
fn body(flow: &Flow, header: u32) -> BTreeSet<u32> {
    let mut inside = BTreeSet::from([header]);
    let mut todo: Vec<_> = flow.edges.iter().filter(|edge| edge.is_back_edge && edge.dst == header).map(|edge| edge.src).collect();
    while let Some(block) = todo.pop() {
        if inside.insert(block) {
            todo.extend(
                flow.edges.iter().filter(|edge| edge.dst == block && flow.blocks[edge.src as usize].is_reachable).map(|edge| edge.src),
            );
        }
    }
    inside
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn blocks_partition_the_code_at_its_leaders_and_edges_are_its_ways(pieces in pieces(), ranges in ranges()) {
        let (code, exceptions) = assemble(&pieces, &ranges);
        let instructions = disassemble(&code).unwrap();
        let flow = flow_of(&code, &exceptions);

        let starts = leaders(&instructions, &exceptions);
        let ends: Vec<_> = starts.iter().copied().skip(1).chain([code.code.len() as i32]).collect();
        prop_assert_eq!(&flow.blocks.iter().map(|block| block.start).collect::<BTreeSet<_>>(), &starts);
        prop_assert_eq!(flow.blocks.iter().map(|block| block.end).collect::<Vec<_>>(), ends);
        for (instruction, &block) in instructions.iter().zip(&flow.block_of) {
            let block = flow.blocks[block as usize];
            prop_assert!(block.start <= instruction.offset && instruction.end_offset <= block.end);
        }
        for block in &flow.blocks {
            let (first, last) = (instructions[block.first_instr as usize], instructions[block.last_instr as usize]);
            prop_assert_eq!((first.offset, last.end_offset), (block.start, block.end));
            let is_target = exceptions.iter().any(|entry| entry.target == block.start);
            let kind = if block.start == 0 { BlockKind::Entry } else if is_target { BlockKind::Handler } else { BlockKind::Normal };
            prop_assert_eq!(block.kind, kind);
            prop_assert_eq!(block.is_exit, [op::RETURN_CONST, op::RETURN_VALUE].contains(&last.opcode));
        }

        let start = |block: u32| flow.blocks[block as usize].start;
        let found: Vec<_> = flow.edges.iter().map(|edge| (start(edge.src), start(edge.dst), edge.kind, edge.polarity)).collect();
        prop_assert_eq!(found.iter().copied().collect::<BTreeSet<_>>().len(), found.len());
        prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ways(&starts, &instructions, &exceptions));
    }

    #[test]
    fn dominators_back_edges_and_loops_are_what_their_definitions_say(pieces in pieces(), ranges in ranges()) {
        let (code, exceptions) = assemble(&pieces, &ranges);
        let flow = flow_of(&code, &exceptions);
        let count = flow.blocks.len() as u32;
        let alive = reached(&flow, None);
        let without: Vec<_> = (0..count).map(|block| reached(&flow, Some(block))).collect();
        // A block dominates what is not reached without it.
        let dominates = |by: u32, block: u32| alive.contains(&by) && alive.contains(&block) && !without[by as usize].contains(&block);
        for (index, block) in (0..).zip(&flow.blocks) {
            prop_assert_eq!(block.is_reachable, alive.contains(&index));
            let strict: Vec<_> = (0..count).filter(|&by| by != index && dominates(by, index)).collect();
            let nearest = strict.iter().copied().find(|&near| strict.iter().all(|&far| dominates(far, near)));
            prop_assert_eq!(block.immediate_dominator, nearest);
        }
        for edge in &flow.edges {
            prop_assert_eq!(edge.is_back_edge, dominates(edge.dst, edge.src));
        }
        let headers: BTreeSet<_> = flow.edges.iter().filter(|edge| edge.is_back_edge).map(|edge| edge.dst).collect();
        let bodies: Vec<_> = headers.into_iter().map(|header| body(&flow, header)).collect();
        for (index, block) in (0..count).zip(&flow.blocks) {
            prop_assert_eq!(block.loop_depth as usize, bodies.iter().filter(|body| body.contains(&index)).count());
        }
    }
}
