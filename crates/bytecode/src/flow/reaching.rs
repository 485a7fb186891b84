//! Reaching definitions of variables.
//!
//! Static single assignment without rewriting anything: phis are placed at the iterated dominance frontier of the definitions
//! (Cytron et al.), for variables only that some block uses before it defines them, and one walk over the dominator tree gives every
//! use its value.
//!
//! Exceptions leave a block before any of its instructions. So a handler sees, of each block that it covers, the value at the start
//! and every definition but one by the last instruction. To stay linear where a handler covers many blocks, the value at the start
//! is handed over only where it is new to the handler: at the block's own phis, and where control comes in from a block that the
//! handler does not cover.
//!
//! Whether a restore of a saved slot defines anything is known only when all phis are: it does if what was saved may be a value.

use super::access::{Access, Accesses, Given, Step, arguments};
use super::block::EdgeKind;
use super::dominators::NONE;
use super::graph::{Graph, accumulate, range};
use super::value::{Phis, Value};
use crate::object::Code;

/// The value of each access that is a use, and `Nothing` for the others.
pub(super) struct Uses {
    pub(super) values: Vec<Value>,
    pub(super) phis: Phis,
    /// The instruction of each restore that may put a value back; `None` for those that never do.
    restores: Vec<Option<u32>>,
}

impl Uses {
    /// The instruction of a restore, if it may put a value back.
    pub(super) fn restored_by(&self, restore: u32) -> Option<u32> {
        self.restores[restore as usize]
    }
}

/// Finds what every use may see.
pub(super) fn run(code: &Code, accesses: &Accesses, graph: &Graph) -> Uses {
    let blocks = AccessRanges::new(accesses, graph);
    let places = PhiPlaces::new(accesses, &blocks, graph);
    let mut current = vec![Value::Nothing; accesses.variables()];
    current[..arguments(code)].fill(Value::Argument);
    let phis = Phis::with_count(places.variables.len());
    let values = vec![Value::Nothing; accesses.list.len()];
    let (journal, handed_over) = (Vec::new(), vec![NONE; graph.blocks.len()]);
    let saved = vec![Value::Nothing; accesses.restores.len()];
    let mut renamer = Renamer { accesses, graph, places: &places, current, log: Vec::new(), journal, handed_over, values, phis, saved };
    renamer.walk(&blocks);
    let Renamer { values, phis, saved, .. } = renamer;
    let bound = bound_restores(&phis, &saved);
    let restores = accesses.restores.iter().zip(bound).map(|(&instr, bound)| bound.then_some(instr)).collect();
    Uses { values, phis, restores }
}

/// Which restores may put a value back, given what each finds saved: a value, another restore that puts one back, or a phi of those.
fn bound_restores(phis: &Phis, saved: &[Value]) -> Vec<bool> {
    let mut bound = vec![false; saved.len()];
    if saved.is_empty() {
        return bound;
    }
    // Phis first, restores behind them; each lists who depends on it.
    let node = |value| match value {
        Value::Phi(phi) => Some(phi as usize),
        Value::Restored(restore) => Some(phis.len() + restore as usize),
        _ => None,
    };
    let mut dependants = vec![Vec::new(); phis.len() + saved.len()];
    let mut todo = Vec::new();
    let of_phis = (0..phis.len()).flat_map(|phi| phis.operands(phi as u32).map(move |value| (phi, value)));
    for (dependant, value) in of_phis.chain((phis.len()..).zip(saved.iter().copied())) {
        match node(value) {
            Some(node) => dependants[node].push(dependant),
            None if value != Value::Nothing => todo.push(dependant),
            None => {}
        }
    }
    let mut met = vec![false; dependants.len()];
    while let Some(node) = todo.pop() {
        if std::mem::replace(&mut met[node], true) {
            continue;
        }
        todo.extend(&dependants[node]);
        if let Some(restore) = node.checked_sub(phis.len()) {
            bound[restore] = true;
        }
    }
    bound
}

/// Where the accesses of each block stand in the list.
struct AccessRanges {
    starts: Vec<u32>,
}

impl AccessRanges {
    fn new(accesses: &Accesses, graph: &Graph) -> Self {
        let mut starts = Vec::with_capacity(graph.blocks.len() + 1);
        let mut at = 0;
        for block in &graph.blocks {
            starts.push(at as u32);
            while accesses.list.get(at).is_some_and(|access| access.instr <= block.last_instr) {
                at += 1;
            }
        }
        starts.push(at as u32);
        Self { starts }
    }
}

/// The phis of each block, ordered by variable.
struct PhiPlaces {
    /// Where the phis of each block start, with an end at the end.
    starts: Vec<u32>,
    /// The number of each phi's variable.
    variables: Vec<u32>,
}

impl PhiPlaces {
    fn new(accesses: &Accesses, blocks: &AccessRanges, graph: &Graph) -> Self {
        let mut starts = vec![0; graph.blocks.len() + 1];
        if graph.edges.is_empty() {
            return Self { starts, variables: Vec::new() };
        }
        let definitions = Definitions::new(accesses, blocks, graph);
        if definitions.blocks.is_empty() {
            return Self { starts, variables: Vec::new() };
        }
        let frontiers = Frontiers::new(graph);
        let mut found = Vec::new();
        let mut placed_for = vec![NONE; graph.blocks.len()];
        let mut todo = Vec::new();
        for variable in 0..accesses.variables() as u32 {
            let mut place = |target: u32, todo: &mut Vec<u32>| {
                if std::mem::replace(&mut placed_for[target as usize], variable) != variable {
                    found.push((target, variable));
                    todo.push(target);
                }
            };
            let defining = &definitions.blocks[range(&definitions.starts, variable)];
            todo.extend_from_slice(defining);
            // A handler needs a phi even for a definition in the only block that it covers: it sees the value before it, too.
            for edge in defining.iter().filter_map(|&block| graph.exception(block)) {
                place(edge.dst, &mut todo);
            }
            while let Some(block) = todo.pop() {
                for &target in frontiers.of(block) {
                    place(target, &mut todo);
                }
            }
        }
        // Stable by variable within each block.
        for &(block, _) in &found {
            starts[block as usize + 1] += 1;
        }
        accumulate(&mut starts);
        let mut next = starts.clone();
        let mut variables = vec![0; found.len()];
        for (block, variable) in found {
            let place = &mut next[block as usize];
            variables[*place as usize] = variable;
            *place += 1;
        }
        Self { starts, variables }
    }

    /// The phis of a block with their variables.
    fn of(&self, block: u32) -> impl Iterator<Item = (u32, u32)> {
        let range = range(&self.starts, block);
        (range.start as u32..).zip(self.variables[range].iter().copied())
    }

    fn count(&self, block: u32) -> usize {
        range(&self.starts, block).len()
    }

    /// The phi of a variable in a block.
    fn find(&self, block: u32, variable: u32) -> Option<u32> {
        let range = range(&self.starts, block);
        let found = self.variables[range.clone()].binary_search(&variable).ok()?;
        Some((range.start + found) as u32)
    }
}

/// The blocks that define each variable which some block uses without having defined it.
struct Definitions {
    starts: Vec<u32>,
    blocks: Vec<u32>,
}

impl Definitions {
    fn new(accesses: &Accesses, blocks: &AccessRanges, graph: &Graph) -> Self {
        let count = accesses.variables();
        let mut exposed = vec![false; count];
        let mut defined_in = vec![NONE; count];
        let mut pairs = Vec::new();
        for &block in &graph.tree.reverse_postorder {
            for step in range(&blocks.starts, block).flat_map(|index| accesses.steps(index)) {
                if let Some(used) = step.used() {
                    exposed[used] |= defined_in[used] != block;
                }
                if let Some(set) = step.set()
                    && std::mem::replace(&mut defined_in[set], block) != block
                {
                    pairs.push((set, block));
                }
            }
        }
        let mut starts = vec![0; count + 1];
        pairs.retain(|&(variable, _)| exposed[variable]);
        for &(variable, _) in &pairs {
            starts[variable + 1] += 1;
        }
        accumulate(&mut starts);
        let mut next = starts.clone();
        let mut blocks = vec![0; pairs.len()];
        for (variable, block) in pairs {
            blocks[next[variable] as usize] = block;
            next[variable] += 1;
        }
        Self { starts, blocks }
    }
}

/// The dominance frontier of each block: the blocks where what it defines may meet other definitions.
struct Frontiers {
    starts: Vec<u32>,
    blocks: Vec<u32>,
}

impl Frontiers {
    fn new(graph: &Graph) -> Self {
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        let mut met = vec![NONE; graph.blocks.len()];
        let tree = &graph.tree;
        for &join in &tree.reverse_postorder {
            let above = tree.immediate_dominator(join);
            for edge in graph.predecessors(join).filter(|edge| tree.is_reachable(edge.src)) {
                let mut block = Some(edge.src);
                // Once a block has been met for this join, so has all above it.
                while let Some(runner) = block.filter(|&runner| Some(runner) != above && met[runner as usize] != join) {
                    met[runner as usize] = join;
                    pairs.push((runner, join));
                    block = tree.immediate_dominator(runner);
                }
            }
        }
        let mut starts = vec![0; graph.blocks.len() + 1];
        for &(block, _) in &pairs {
            starts[block as usize + 1] += 1;
        }
        accumulate(&mut starts);
        let mut next = starts.clone();
        let mut blocks = vec![0; pairs.len()];
        for (block, join) in pairs {
            let place = &mut next[block as usize];
            blocks[*place as usize] = join;
            *place += 1;
        }
        Self { starts, blocks }
    }

    fn of(&self, block: u32) -> &[u32] {
        &self.blocks[range(&self.starts, block)]
    }
}

/// Walks the dominator tree with the current value of every variable.
struct Renamer<'a> {
    accesses: &'a Accesses,
    graph: &'a Graph,
    places: &'a PhiPlaces,
    current: Vec<Value>,
    /// Values to put back when a subtree is left.
    log: Vec<(u32, Value)>,
    /// Every variable that got another value, by definition or by being put back, in the order of the walk.
    journal: Vec<u32>,
    /// For each handler how long the journal was when it last got values that come from outside; `NONE` before.
    handed_over: Vec<u32>,
    /// The value of each access that is a use.
    values: Vec<Value>,
    phis: Phis,
    /// What each restore finds saved.
    saved: Vec<Value>,
}

impl Renamer<'_> {
    fn walk(&mut self, blocks: &AccessRanges) {
        // Should a jump lead to the start of the code, what is there at first is one of the values of its phis.
        for (phi, variable) in self.places.of(0) {
            self.phis.add(phi, self.current[variable as usize]);
        }
        // The blocks from the root to the current one, with the length of the log before each.
        let mut path: Vec<(u32, usize)> = Vec::new();
        for &block in &self.graph.tree.preorder {
            while let Some(&(above, mark)) = path.last()
                && Some(above) != self.graph.tree.immediate_dominator(block)
            {
                self.undo(mark);
                path.pop();
            }
            path.push((block, self.log.len()));
            self.enter(block);
            for index in range(&blocks.starts, block) {
                self.access(block, index);
            }
            for edge in self.graph.successors(block).iter().filter(|edge| edge.kind != EdgeKind::Exc) {
                for (phi, variable) in self.places.of(edge.dst) {
                    self.phis.add(phi, self.current[variable as usize]);
                }
            }
        }
    }

    fn undo(&mut self, mark: usize) {
        for (variable, value) in self.log.drain(mark..).rev() {
            self.current[variable as usize] = value;
            self.journal.push(variable);
        }
    }

    fn set(&mut self, variable: u32, value: Value) {
        let old = std::mem::replace(&mut self.current[variable as usize], value);
        self.log.push((variable, old));
        self.journal.push(variable);
    }

    /// Sets the block's phis, and hands the values at its start to its handler.
    fn enter(&mut self, block: u32) {
        for (phi, variable) in self.places.of(block) {
            self.set(variable, Value::Phi(phi));
        }
        let Some(handler) = self.handler(block) else { return };
        let comes_from_outside = block == 0 || self.graph.predecessors(block).any(|edge| self.handler(edge.src) != Some(handler));
        if comes_from_outside {
            self.hand_over(handler);
        } else {
            for (phi, variable) in self.places.of(block) {
                if let Some(seen) = self.places.find(handler, variable) {
                    self.phis.add(seen, Value::Phi(phi));
                }
            }
        }
    }

    /// Hands the current value of every variable to a handler that may not have it yet.
    fn hand_over(&mut self, handler: u32) {
        let now = self.journal.len() as u32;
        let before = std::mem::replace(&mut self.handed_over[handler as usize], now);
        let changed = self.journal.get(before as usize..).filter(|changed| changed.len() < self.places.count(handler));
        match changed {
            // Only what has changed since the last time is new: a handler may be entered from very many places.
            Some(changed) => {
                for &variable in changed {
                    if let Some(phi) = self.places.find(handler, variable) {
                        self.phis.add(phi, self.current[variable as usize]);
                    }
                }
            }
            None => {
                for (phi, variable) in self.places.of(handler) {
                    self.phis.add(phi, self.current[variable as usize]);
                }
            }
        }
    }

    fn access(&mut self, block: u32, index: usize) {
        let access = self.accesses.list[index];
        let accesses = self.accesses;
        for step in accesses.steps(index) {
            let (variable, source) = match step {
                Step::Use(variable) => {
                    self.values[index] = self.current[variable];
                    continue;
                }
                Step::Set(variable, source) => (variable, source),
            };
            let value = match source {
                Given::Nothing => Value::Nothing,
                Given::Instr => Value::Instr(access.instr),
                Given::Copy(variable) => self.current[variable],
                Given::Restored { restore, saved } => {
                    self.saved[restore as usize] = self.current[saved];
                    Value::Restored(restore)
                }
            };
            self.set(variable as u32, value);
            if let Some(handler) = self.handler(block)
                && self.is_seen_by(handler, block, &access)
                && let Some(phi) = self.places.find(handler, variable as u32)
            {
                self.phis.add(phi, value);
            }
        }
    }

    /// Whether an instruction that the handler covers follows a definition.
    fn is_seen_by(&self, handler: u32, block: u32, access: &Access) -> bool {
        let mut ways = self.graph.successors(block).iter().filter(|edge| edge.kind != EdgeKind::Exc);
        access.instr < self.graph.blocks[block as usize].last_instr || ways.any(|edge| self.handler(edge.dst) == Some(handler))
    }

    fn handler(&self, block: u32) -> Option<u32> {
        self.graph.exception(block).map(|edge| edge.dst)
    }
}
