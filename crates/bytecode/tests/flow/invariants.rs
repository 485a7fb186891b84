//! What must hold of the flow of every code object that CPython's compiler writes.

use std::collections::BTreeSet;

use bytefacts_bytecode::flow::{Block, BlockKind, EdgeKind, Flow};
use bytefacts_bytecode::{Code, ExceptionEntry, Instruction};

/// How `co_stacksize` compares with the greatest depth found.
#[derive(Debug, Default)]
pub struct Stacksizes {
    pub equal: usize,
    /// CPython asks for a stack of one value at least.
    pub at_least_one: usize,
    /// The compiler measured code before it found that nothing leads to it: handlers of ranges that came out empty.
    pub unreachable_code: usize,
}

pub fn check(code: &Code, instructions: &[Instruction<'_>], exceptions: &[ExceptionEntry], flow: &Flow, sizes: &mut Stacksizes) {
    assert_eq!(flow.violations, []);
    partition(code, instructions, flow);
    edges(instructions, exceptions, flow);
    depths(instructions, exceptions, flow);
    stacksize(code, flow, sizes);
    operands(flow);
    if flow.blocks.len() <= 40 {
        dominators(flow);
    }
}

fn partition(code: &Code, instructions: &[Instruction<'_>], flow: &Flow) {
    let (mut offset, mut instr) = (0, 0);
    for (index, block) in flow.blocks.iter().enumerate() {
        assert_eq!((block.start, block.first_instr), (offset, instr));
        assert!(block.last_instr >= block.first_instr);
        for inside in block.first_instr..=block.last_instr {
            assert_eq!(flow.block_of[inside as usize] as usize, index);
        }
        (offset, instr) = (block.end, block.last_instr + 1);
        assert_eq!(block.kind == BlockKind::Entry, index == 0);
    }
    assert_eq!((offset as usize, instr as usize), (code.code.len(), instructions.len()));
}

fn edges(instructions: &[Instruction<'_>], exceptions: &[ExceptionEntry], flow: &Flow) {
    let block_at = |offset: i32| flow.blocks.iter().find(|block| block.start == offset);
    for target in instructions.iter().filter_map(|instruction| instruction.jump_target) {
        assert!(block_at(target).is_some(), "a jump leads into a block");
    }
    for entry in exceptions {
        assert_eq!(block_at(entry.target).map(|block| block.kind), Some(BlockKind::Handler));
    }
    let keys: BTreeSet<_> = flow.edges.iter().map(|edge| edge.key(&flow.blocks).to_string()).collect();
    assert_eq!(keys.len(), flow.edges.len(), "edges share a key");
    for (index, block) in (0..).zip(&flow.blocks) {
        let from: Vec<_> = flow.edges.iter().filter(|edge| edge.src == index).collect();
        let raised = from.iter().filter(|edge| edge.kind == EdgeKind::Exc).count();
        let covering = exceptions.iter().filter(|entry| entry.start < block.end && block.start < entry.end).count();
        assert_eq!(raised, covering, "an exception range covers a block without an edge");
        assert_eq!(block.is_exit, from.len() == raised);
        if let [next, branch, ..] = *from
            && branch.kind == EdgeKind::Branch
        {
            assert_eq!((next.kind, next.condition, branch.condition), (EdgeKind::Next, Some(block.last_instr), Some(block.last_instr)));
            assert_eq!(next.polarity, branch.polarity.map(|outcome| !outcome));
        }
    }
}

fn depths(instructions: &[Instruction<'_>], exceptions: &[ExceptionEntry], flow: &Flow) {
    let mut deepest = 0;
    for (index, row) in flow.stack.iter().enumerate() {
        let block = &flow.blocks[flow.block_of[index] as usize];
        assert_eq!(row.depth_before.is_some(), block.is_reachable);
        let (Some(before), Some(after)) = (row.depth_before, row.depth_after) else { continue };
        assert!(before >= row.pops && after == before - row.pops + row.pushes, "{}", instructions[index].opname());
        deepest = deepest.max(before).max(after);
    }
    assert_eq!(flow.max_stack_depth, deepest);
    // Merges agree: each way into a block brings the depth at which the block starts.
    for edge in flow.edges.iter().filter(|edge| flow.blocks[edge.src as usize].is_reachable) {
        let brought = match edge.exc {
            Some(exc) => exceptions[exc as usize].depth + i32::from(exceptions[exc as usize].lasti) + 1,
            None => flow.stack[flow.blocks[edge.src as usize].last_instr as usize].depth_after.expect("reachable"),
        };
        assert_eq!(flow.stack[flow.blocks[edge.dst as usize].first_instr as usize].depth_before, Some(brought));
    }
}

fn stacksize(code: &Code, flow: &Flow, sizes: &mut Stacksizes) {
    let unreachable_pushes =
        |block: &Block| (block.first_instr..=block.last_instr).map(|instr| flow.stack[instr as usize].pushes).sum::<i32>();
    let unreachable: i32 = flow.blocks.iter().filter(|block| !block.is_reachable).map(unreachable_pushes).sum();
    let spare = code.stacksize - flow.max_stack_depth;
    match spare {
        0 => sizes.equal += 1,
        1 if flow.max_stack_depth == 0 => sizes.at_least_one += 1,
        // A handler starts on the lasti and the exception, and pushes what it pushes.
        _ if spare > 0 && spare <= unreachable + 2 => sizes.unreachable_code += 1,
        _ => panic!("co_stacksize {} is unexplained: the greatest depth is {}", code.stacksize, flow.max_stack_depth),
    }
}

/// Every operand of what can be reached has a producer, and edges are ordered, so that no two are the same.
fn operands(flow: &Flow) {
    let reachable = (0..).zip(&flow.stack).filter(|(_, row)| row.depth_before.is_some());
    let mut expected = reachable.flat_map(|(instr, row)| (0..row.operands as u32).map(move |operand| (instr, operand)));
    let mut last = None;
    for edge in &flow.data_edges {
        let place = (edge.dst, edge.kind, edge.operand_index);
        let key = (place, edge.producer.instr_index());
        assert!(last.is_none_or(|last| last < key), "edges {last:?} and {key:?} are out of order");
        if edge.variable.is_none() && last.is_none_or(|(last, _)| last != place) {
            assert_eq!(expected.next(), Some((edge.dst, edge.operand_index)), "an operand has no producer");
        }
        last = Some(key);
    }
    assert_eq!(expected.next(), None, "an operand has no producer");
}

/// Dominators and loops by their definitions.
fn dominators(flow: &Flow) {
    let count = flow.blocks.len();
    let reachable = |from: usize, without: Option<usize>, backwards: bool| {
        let mut seen = vec![false; count];
        let mut todo = vec![from];
        while let Some(block) = todo.pop() {
            if Some(block) == without || std::mem::replace(&mut seen[block], true) {
                continue;
            }
            let ends = flow.edges.iter().map(|edge| (edge.src as usize, edge.dst as usize));
            let ends = ends.map(|(src, dst)| if backwards { (dst, src) } else { (src, dst) });
            todo.extend(ends.filter(|&(src, _)| src == block).map(|(_, dst)| dst));
        }
        seen
    };
    let alive = reachable(0, None, false);
    // A block dominates what the entry does not reach without it.
    let without: Vec<_> = (0..count).map(|by| reachable(0, Some(by), false)).collect();
    let dominates = |by: usize, block: usize| alive[by] && alive[block] && !without[by][block];
    let mut depths = vec![0; count];
    let headers: BTreeSet<_> = flow.edges.iter().filter(|edge| edge.is_back_edge).map(|edge| edge.dst as usize).collect();
    for header in headers {
        let closing = flow.edges.iter().filter(|edge| edge.is_back_edge && edge.dst as usize == header);
        let mut inside = vec![false; count];
        for edge in closing {
            // All that reaches the back edge without passing the header, and the header itself.
            let mut body = if edge.src as usize == header { vec![false; count] } else { reachable(edge.src as usize, Some(header), true) };
            body[header] = true;
            inside = inside.iter().zip(body).map(|(&known, new)| known || new).collect();
        }
        for block in 0..count {
            depths[block] += u32::from(inside[block] && alive[block]);
        }
    }
    for (index, block) in flow.blocks.iter().enumerate() {
        assert_eq!(block.is_reachable, alive[index]);
        assert_eq!(block.loop_depth, depths[index], "block {index}");
        let strict: Vec<_> = (0..count).filter(|&by| by != index && dominates(by, index)).collect();
        let nearest = strict.iter().find(|&&near| strict.iter().all(|&far| dominates(far, near)));
        assert_eq!(block.immediate_dominator.map(|block| block as usize), nearest.copied(), "block {index}");
    }
    for edge in &flow.edges {
        assert_eq!(edge.is_back_edge, dominates(edge.dst as usize, edge.src as usize));
    }
}
