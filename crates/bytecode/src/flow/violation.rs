//! What may be wrong with code that no compiler wrote.

use thiserror::Error;

/// A fault of a code object. Instructions and blocks are named by their positions, offsets are byte offsets into `co_code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Violation {
    /// There is no instruction at all.
    #[error("code without instructions")]
    Empty,
    /// CPython's compiler emits no such opcode; taken to leave the stack alone.
    #[error("opcode {opcode} of instruction {instr} is none that a compiler emits")]
    UnknownOpcode {
        /// The instruction.
        instr: u32,
        /// Its opcode, before specialisation.
        opcode: u8,
    },
    /// A jump without a target among the instructions; it has no `branch` or `jump` edge.
    #[error("jump of instruction {instr} leads nowhere")]
    JumpTarget {
        /// The jump.
        instr: u32,
    },
    /// The last instruction may fall off the end of the code.
    #[error("instruction {instr} falls off the end of the code")]
    FallsOffEnd {
        /// The last instruction.
        instr: u32,
    },
    /// An entry of the exception table does not start, end or lead to where an instruction starts; it is left out.
    #[error("exception table entry {exc} points between instructions")]
    ExceptionBounds {
        /// The entry.
        exc: u32,
    },
    /// An entry of the exception table starts before the end of the one before; it is left out.
    #[error("exception table entry {exc} overlaps the one before it")]
    ExceptionOverlap {
        /// The entry.
        exc: u32,
    },
    /// An entry of the exception table leads to where the code is entered: it is followed, but its block is the entry and so no handler.
    #[error("exception table entry {exc} leads to the start of the code")]
    ExceptionAtEntry {
        /// The entry.
        exc: u32,
    },
    /// The stack is lower than an instruction needs; what is missing has no producer.
    #[error("instruction {instr} needs {needed} values on a stack of depth {depth}")]
    Underflow {
        /// The instruction.
        instr: u32,
        /// The depth before it.
        depth: i32,
        /// The depth that it needs.
        needed: u32,
    },
    /// An argument that counts more values than any stack has, or none where one is meant; what it counts is taken for nothing.
    #[error("argument {arg} of instruction {instr} counts no values of a stack")]
    StackArgument {
        /// The instruction.
        instr: u32,
        /// Its argument, without a sign.
        arg: u32,
    },
    /// The stack is lower than the depth to which a handler wants to cut it; the handler is not entered from here.
    #[error("instruction {instr} can raise at depth {depth}, below the depth of exception table entry {exc}")]
    HandlerDepth {
        /// The instruction before which the stack is too low.
        instr: u32,
        /// The depth before it.
        depth: i32,
        /// The entry that covers it.
        exc: u32,
    },
    /// Two ways into a block disagree about the depth; the first one met counts.
    #[error("block {block} is entered at depth {depth} and at depth {other}")]
    MergeDepth {
        /// The block.
        block: u32,
        /// The depth that counts.
        depth: i32,
        /// The depth of the other way.
        other: i32,
    },
    /// The stack grows beyond what the code asks the interpreter for.
    #[error("stack reaches depth {depth}, beyond co_stacksize {stacksize}")]
    Stacksize {
        /// The greatest depth.
        depth: i32,
        /// `co_stacksize`.
        stacksize: i32,
    },
    /// Far more values are pushed than code of this length can be meant to push; the block is left at this instruction.
    #[error("instruction {instr} pushes {pushes} values, more than can be followed")]
    PushLimit {
        /// The instruction.
        instr: u32,
        /// How many values it pushes.
        pushes: u32,
    },
    /// A variable that the code object does not have.
    #[error("instruction {instr} names variable {variable}, which does not exist")]
    UnknownVariable {
        /// The instruction.
        instr: u32,
        /// Index of the variable in its table.
        variable: u32,
    },
    /// The code object has more data-flow edges than are kept: definitions times uses can be quadratic in the code.
    #[error(
        "{operands} operands and the uses of {locals} locals, {cells} cells, {globals} globals and {names} names have no data flow edges, \
         since the code has more than {limit} of them"
    )]
    EdgeLimit {
        /// How many edges may be kept.
        limit: u64,
        /// How many operands were left without any of their edges: none unless those of the stack alone are too many.
        operands: u64,
        /// How many uses of local variables were left without any of their edges.
        locals: u64,
        /// The same of cells.
        cells: u64,
        /// The same of global variables.
        globals: u64,
        /// The same of names of module and class bodies.
        names: u64,
    },
}

impl Violation {
    /// The stage of the analysis that found it, as error rows name stages.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::ExceptionBounds { .. } | Self::ExceptionOverlap { .. } | Self::ExceptionAtEntry { .. } => "exception_table",
            Self::Empty | Self::JumpTarget { .. } | Self::FallsOffEnd { .. } => "disassembly",
            Self::UnknownOpcode { .. } | Self::UnknownVariable { .. } => "disassembly",
            Self::Underflow { .. } | Self::StackArgument { .. } | Self::HandlerDepth { .. } | Self::MergeDepth { .. } => "stack_effect",
            Self::Stacksize { .. } | Self::PushLimit { .. } | Self::EdgeLimit { .. } => "stack_effect",
        }
    }

    /// The name of the fault, such as `MergeDepth`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::UnknownOpcode { .. } => "UnknownOpcode",
            Self::JumpTarget { .. } => "JumpTarget",
            Self::FallsOffEnd { .. } => "FallsOffEnd",
            Self::ExceptionBounds { .. } => "ExceptionBounds",
            Self::ExceptionOverlap { .. } => "ExceptionOverlap",
            Self::ExceptionAtEntry { .. } => "ExceptionAtEntry",
            Self::Underflow { .. } => "Underflow",
            Self::StackArgument { .. } => "StackArgument",
            Self::HandlerDepth { .. } => "HandlerDepth",
            Self::MergeDepth { .. } => "MergeDepth",
            Self::Stacksize { .. } => "Stacksize",
            Self::PushLimit { .. } => "PushLimit",
            Self::UnknownVariable { .. } => "UnknownVariable",
            Self::EdgeLimit { .. } => "EdgeLimit",
        }
    }
}
