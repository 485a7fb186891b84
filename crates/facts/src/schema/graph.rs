//! What is derived from the instructions: blocks, control flow and data flow.

use super::column::{
    Kind::{Boolean, Int32, Map, Text},
    Record, nullable, required,
};

/// A basic block. Blocks partition `[0, code_len)`.
pub const BLOCK: Record = Record {
    name: "BLOCK",
    columns: &[
        required("start_offset", Int32, "first byte"),
        required("end_offset", Int32, "first byte behind it"),
        required("kind", Text, "`entry`, `handler` or `normal`"),
        nullable("attrs", Map, "empty"),
        nullable("block_index", Int32, "position among the unit's blocks"),
        nullable("first_instr_index", Int32, "first instruction"),
        nullable("last_instr_index", Int32, "last instruction"),
        nullable("is_exit", Boolean, "whether it ends in a terminator: returns or raises"),
        nullable("is_reachable", Boolean, "whether a path from the entry leads here"),
        nullable("loop_depth", Int32, "number of loops around it"),
        nullable("immediate_dominator", Int32, "block_index of the immediate dominator; null for the entry and where unreachable"),
    ],
};

/// An edge of the control flow graph.
pub const CFG_EDGE: Record = Record {
    name: "CFG_EDGE",
    columns: &[
        required("src_block_start", Int32, "start of the source block"),
        required("src_block_end", Int32, "end of the source block"),
        required("dst_block_start", Int32, "start of the destination block"),
        required("dst_block_end", Int32, "end of the destination block"),
        required("kind", Text, "`next`, `jump`, `branch` or `exc`"),
        required(
            "edge_key",
            Text,
            "`{src_block_start}:{dst_block_start}:{kind}`, for `exc` the entry's index after it; unique in the unit",
        ),
        nullable("cond_instr_index", Int32, "the conditional jump that decides; null for an unconditional edge"),
        nullable("cond_instr_offset", Int32, "its offset"),
        nullable("exc_index", Int32, "the exception-table entry of an `exc` edge"),
        nullable("attrs", Map, "`jump_kind`, `jump_label`, `jump_target_label`; for `exc`, `depth` and `lasti`"),
        nullable(
            "polarity",
            Text,
            "`true` or `false` side of a condition (FOR_ITER goes to its END_FOR as `dis` says, which CPython skips); null for any other edge",
        ),
        nullable("is_back_edge", Boolean, "whether the destination dominates the source"),
    ],
};

/// An edge of the data flow graph: from what makes a value to what uses it.
pub const DFG_EDGE: Record = Record {
    name: "DFG_EDGE",
    columns: &[
        required(
            "src_instr_index",
            Int32,
            "the producing instruction, of `exception`, `lasti` and `phi` the handler's first; -1 for an argument",
        ),
        required("dst_instr_index", Int32, "the using instruction"),
        required("kind", Text, "`USE_STACK`, `USE_LOCAL`, `USE_CELL`, `USE_NAME` or `USE_GLOBAL`"),
        nullable("attrs", Map, "empty"),
        nullable(
            "operand_index",
            Int32,
            "stack: the operand, the popped ones first from the deepest, then those left in place; variable: which of the instruction's uses",
        ),
        nullable("symbol", Text, "the variable; null for the stack"),
        nullable(
            "producer_kind",
            Text,
            "`instr`, `exception`, `lasti` or `argument`; `phi` where both the instruction and the exception that enters the handler at it may be it",
        ),
        nullable("src_instr_offset", Int32, "offset of that instruction; null for an argument"),
        nullable("dst_instr_offset", Int32, "offset of the using instruction"),
    ],
};
