//! What each opcode takes from the stack, looks at on it, and leaves on it.
//!
//! Follows the signatures of CPython's `bytecodes.c`: a value that an instruction names and leaves in its place is *peeked* at; any
//! other value that it names is popped, and every value that it leaves in a new place is pushed. `COPY` and `SWAP` only move values:
//! they peek, and nothing that they leave is theirs (a `COPY` still makes the stack grow by one).

use crate::opcode::op;

/// The use of the stack by one instruction, the same whether it jumps or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// How many values it takes from the top.
    pub pops: u32,
    /// How many values it then puts on top.
    pub pushes: u32,
    /// The values that it uses and leaves in place, deepest first. Empty runs are unused.
    pub peeks: [Slots; 2],
}

/// Neighbouring stack slots, counted before the instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// The slot of the run that is farthest from the top; the top itself is 1.
    pub deepest: u32,
    /// Length of the run, which goes on towards the top.
    pub count: u32,
}

impl Slots {
    const NONE: Self = Self { deepest: 0, count: 0 };

    const fn one(deepest: u32) -> Self {
        Self { deepest, count: 1 }
    }

    /// The slots, deepest first. Meaningful only if the run does not reach above the top.
    pub(super) fn iter(self) -> impl Iterator<Item = u32> {
        (0..self.count).map(move |nth| self.deepest.saturating_sub(nth))
    }
}

impl Effect {
    const fn new(pops: u32, pushes: u32) -> Self {
        Self { pops, pushes, peeks: [Slots::NONE; 2] }
    }

    const fn peeking(self, first: Slots, second: Slots) -> Self {
        Self { peeks: [first, second], ..self }
    }

    const fn peeking_at(self, slot: u32) -> Self {
        self.peeking(Slots::one(slot), Slots::NONE)
    }

    /// How deep a stack the instruction needs; `None` if its argument points above the top.
    #[must_use]
    pub fn reach(&self) -> Option<u32> {
        let valid = |run: &Slots| run.count <= run.deepest;
        self.peeks.iter().all(valid).then(|| self.peeks.iter().map(|run| run.deepest).fold(self.pops, u32::max))
    }

    /// How many values it pops, pushes and uses; `None` if an argument asks for more than 31 bits can count: so deep is no stack.
    pub(super) fn counts(&self) -> Option<[i32; 3]> {
        let count = |count: u32| i32::try_from(count).ok();
        Some([count(self.pops)?, count(self.pushes)?, count(self.operands())?])
    }

    /// How many operands the instruction uses: those that it pops, numbered from the deepest up, and then those that it peeks at.
    #[must_use]
    pub fn operands(&self) -> u32 {
        self.peeks.iter().fold(self.pops, |sum, run| sum.saturating_add(run.count))
    }
}

/// CPython keeps arguments in 32 bits and reads counts from them without a sign.
pub(super) fn unsigned(arg: Option<i32>) -> u32 {
    arg.unwrap_or(0).cast_unsigned()
}

/// The effect of an opcode; `None` if it is none that a compiled code object may hold.
pub(super) fn of(baseopcode: u8, arg: u32) -> Option<Effect> {
    let effect = Effect::new;
    // Where the value stands that an `..._APPEND` and its like add to: below its own operands.
    let collection = |own: u32| arg.saturating_add(own);
    Some(match baseopcode {
        op::CACHE | op::RESERVED | op::NOP | op::RESUME | op::EXTENDED_ARG | op::ENTER_EXECUTOR => effect(0, 0),
        op::JUMP_FORWARD | op::JUMP_BACKWARD | op::JUMP_BACKWARD_NO_INTERRUPT | op::RETURN_CONST => effect(0, 0),
        op::MAKE_CELL | op::COPY_FREE_VARS | op::SETUP_ANNOTATIONS => effect(0, 0),
        op::DELETE_FAST | op::DELETE_DEREF | op::DELETE_GLOBAL | op::DELETE_NAME => effect(0, 0),

        op::LOAD_CONST | op::LOAD_FAST | op::LOAD_FAST_CHECK | op::LOAD_FAST_AND_CLEAR | op::LOAD_DEREF => effect(0, 1),
        op::LOAD_NAME | op::LOAD_LOCALS | op::LOAD_ASSERTION_ERROR | op::LOAD_BUILD_CLASS => effect(0, 1),
        op::PUSH_NULL | op::RETURN_GENERATOR => effect(0, 1),
        op::LOAD_FAST_LOAD_FAST => effect(0, 2),
        op::LOAD_GLOBAL => effect(0, 1 + (arg & 1)),

        op::POP_TOP | op::END_FOR | op::POP_EXCEPT | op::RETURN_VALUE | op::INTERPRETER_EXIT | op::EXIT_INIT_CHECK => effect(1, 0),
        op::POP_JUMP_IF_TRUE | op::POP_JUMP_IF_FALSE | op::POP_JUMP_IF_NONE | op::POP_JUMP_IF_NOT_NONE => effect(1, 0),
        op::STORE_FAST | op::STORE_DEREF | op::STORE_GLOBAL | op::STORE_NAME | op::DELETE_ATTR => effect(1, 0),
        op::STORE_FAST_STORE_FAST | op::STORE_ATTR | op::DELETE_SUBSCR | op::END_ASYNC_FOR => effect(2, 0),
        op::STORE_SUBSCR => effect(3, 0),
        op::STORE_SLICE => effect(4, 0),
        op::RAISE_VARARGS => effect(arg, 0),

        op::UNARY_INVERT | op::UNARY_NEGATIVE | op::UNARY_NOT | op::TO_BOOL | op::CALL_INTRINSIC_1 => effect(1, 1),
        op::CONVERT_VALUE | op::FORMAT_SIMPLE | op::MAKE_FUNCTION | op::YIELD_VALUE => effect(1, 1),
        op::GET_ITER | op::GET_YIELD_FROM_ITER | op::GET_AITER | op::GET_AWAITABLE => effect(1, 1),
        op::STORE_FAST_LOAD_FAST | op::LOAD_FROM_DICT_OR_DEREF | op::LOAD_FROM_DICT_OR_GLOBALS => effect(1, 1),
        op::LOAD_ATTR => effect(1, 1 + (arg & 1)),
        op::BEFORE_WITH | op::BEFORE_ASYNC_WITH | op::PUSH_EXC_INFO => effect(1, 2),
        op::UNPACK_SEQUENCE => effect(1, arg),
        op::UNPACK_EX => effect(1, 1 + (arg & 0xFF) + (arg >> 8)),

        op::BINARY_OP | op::BINARY_SUBSCR | op::COMPARE_OP | op::CONTAINS_OP | op::IS_OP => effect(2, 1),
        op::FORMAT_WITH_SPEC | op::IMPORT_NAME | op::CALL_INTRINSIC_2 | op::SET_FUNCTION_ATTRIBUTE | op::END_SEND => effect(2, 1),
        op::CHECK_EG_MATCH => effect(2, 2),
        op::BINARY_SLICE | op::MATCH_CLASS => effect(3, 1),
        op::LOAD_SUPER_ATTR => effect(3, 1 + (arg & 1)),
        op::CLEANUP_THROW => effect(3, 2),

        op::BUILD_LIST | op::BUILD_TUPLE | op::BUILD_SET | op::BUILD_STRING => effect(arg, 1),
        op::BUILD_MAP => effect(arg.saturating_mul(2), 1),
        op::BUILD_CONST_KEY_MAP => effect(arg.saturating_add(1), 1),
        op::BUILD_SLICE => effect(if arg == 3 { 3 } else { 2 }, 1),
        op::CALL => effect(arg.saturating_add(2), 1),
        op::CALL_KW => effect(arg.saturating_add(3), 1),
        op::CALL_FUNCTION_EX => effect(3 + (arg & 1), 1),

        op::COPY => effect(0, 1).peeking_at(arg),
        op::SWAP => effect(0, 0).peeking(Slots::one(arg), Slots::one(1)),
        op::FOR_ITER | op::IMPORT_FROM | op::GET_ANEXT | op::GET_LEN | op::MATCH_MAPPING | op::MATCH_SEQUENCE => effect(0, 1).peeking_at(1),
        op::MATCH_KEYS => effect(0, 1).peeking(Slots { deepest: 2, count: 2 }, Slots::NONE),
        op::SEND | op::CHECK_EXC_MATCH => effect(1, 1).peeking_at(2),
        op::LIST_APPEND | op::LIST_EXTEND | op::SET_ADD | op::SET_UPDATE | op::DICT_UPDATE => effect(1, 0).peeking_at(collection(1)),
        op::MAP_ADD => effect(2, 0).peeking_at(collection(2)),
        // The callable is named in the message about a keyword given twice.
        op::DICT_MERGE => effect(1, 0).peeking(Slots::one(collection(4)), Slots::one(collection(1))),
        // The exit function and the lasti below the previous exception, and the exception on top.
        op::WITH_EXCEPT_START => effect(0, 1).peeking(Slots { deepest: 4, count: 2 }, Slots::one(1)),
        op::RERAISE => effect(1, 0).peeking(Slots { deepest: arg.saturating_add(1), count: arg }, Slots::NONE),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_that_stay_in_place_are_peeked_at() {
        let append = of(op::LIST_APPEND, 3).unwrap();
        assert_eq!((append.pops, append.pushes, append.operands(), append.reach()), (1, 0, 2, Some(4)));
        let reraise = of(op::RERAISE, 1).unwrap();
        assert_eq!((reraise.pops, reraise.operands(), reraise.reach()), (1, 2, Some(2)));
        let with = of(op::WITH_EXCEPT_START, 0).unwrap();
        assert_eq!(with.peeks.iter().flat_map(|run| run.iter()).collect::<Vec<_>>(), [4, 3, 1]);
    }

    #[test]
    fn arguments_beyond_reason_saturate() {
        assert_eq!(of(op::BUILD_MAP, u32::MAX).unwrap().pops, u32::MAX);
        assert_eq!(of(op::COPY, 0).unwrap().reach(), None);
        assert_eq!(of(op::UNPACK_EX, u32::MAX).unwrap().pushes, 256 + 0xFF_FFFF);
    }

    #[test]
    fn opcodes_that_no_compiler_emits_have_no_effect() {
        assert_eq!(of(op::LOAD_ATTR_SLOT, 0), None);
        assert_eq!(of(op::INSTRUMENTED_CALL, 0), None);
    }
}
