//! Values while the analyses run.
//!
//! A value whose origin depends on the way taken is a *phi*: a node that lists the values it may be. Phis refer to phis, round loops too.

use super::graph::{accumulate, range};

/// A value while the analyses run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Made by nothing: an unbound variable, or a slot below an empty stack.
    Nothing,
    Argument,
    Instr(u32),
    /// By the handler's block.
    Exception(u32),
    /// By the handler's block.
    Lasti(u32),
    /// Put back into a slot by the restore of that number, if anything was saved.
    Restored(u32),
    Phi(u32),
}

const END: u32 = u32::MAX;

/// Phi nodes: for each the values it may be, as a linked list in one arena.
#[derive(Debug, Default)]
pub(super) struct Phis {
    heads: Vec<u32>,
    operands: Vec<(Value, u32)>,
}

impl Phis {
    pub(super) fn with_count(count: usize) -> Self {
        Self { heads: vec![END; count], operands: Vec::new() }
    }

    pub(super) fn push(&mut self) -> u32 {
        self.heads.push(END);
        self.heads.len() as u32 - 1
    }

    pub(super) fn add(&mut self, phi: u32, value: Value) {
        let head = self.heads[phi as usize];
        // Neighbouring predecessors mostly bring the same value.
        let repeated = head != END && self.operands[head as usize].0 == value;
        if repeated || value == Value::Nothing || value == Value::Phi(phi) {
            return;
        }
        self.heads[phi as usize] = self.operands.len() as u32;
        self.operands.push((value, head));
    }

    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// The values that a phi may be.
    pub(super) fn operands(&self, phi: u32) -> impl Iterator<Item = Value> {
        let mut at = self.heads[phi as usize];
        std::iter::from_fn(move || {
            let &(value, next) = self.operands.get(at as usize)?;
            at = next;
            Some(value)
        })
    }
}

impl Phis {
    /// The phis that list each phi among their values.
    pub(super) fn users(&self) -> Users {
        let mut starts = vec![0; self.len() + 1];
        let pairs = || {
            (0..self.len() as u32).flat_map(|user| {
                self.operands(user).filter_map(move |value| match value {
                    Value::Phi(phi) => Some((phi, user)),
                    _ => None,
                })
            })
        };
        for (phi, _) in pairs() {
            starts[phi as usize + 1] += 1;
        }
        accumulate(&mut starts);
        let mut next = starts.clone();
        let mut users = vec![0; starts.last().map_or(0, |&end| end as usize)];
        for (phi, user) in pairs() {
            users[next[phi as usize] as usize] = user;
            next[phi as usize] += 1;
        }
        Users { starts, users }
    }
}

/// Which phis list which.
pub(super) struct Users {
    starts: Vec<u32>,
    users: Vec<u32>,
}

impl Users {
    pub(super) fn of(&self, phi: u32) -> impl Iterator<Item = u32> {
        self.users[range(&self.starts, phi)].iter().copied()
    }
}
