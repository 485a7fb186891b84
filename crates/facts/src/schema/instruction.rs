//! One instruction of the `dis` stream, its inline caches and its span in the source.

use super::{
    column::{
        Kind::{Boolean, Int32, Int64, List, Map, Struct, Text},
        Record, nullable, required,
    },
    metadata::SPAN_UNITS,
};

/// One instruction, as `dis.get_instructions` gives it. EXTENDED_ARG has rows of its own.
pub const INSTRUCTION: Record = Record {
    name: "INSTR",
    columns: &[
        required("instr_index", Int32, "position in the stream, EXTENDED_ARG counted"),
        required("offset", Int32, "byte offset of the opcode in `co_code`"),
        nullable("start_offset", Int32, "offset of the first EXTENDED_ARG prefix; else the offset"),
        nullable("end_offset", Int32, "offset behind the inline caches"),
        required("opname", Text, "name of the opcode"),
        nullable("baseopname", Text, "name of the de-specialised opcode"),
        required("opcode", Int32, "the opcode"),
        nullable("baseopcode", Int32, "the de-specialised opcode"),
        nullable("arg", Int32, "oparg with the prefixes folded in; null if the opcode takes none"),
        nullable("oparg", Int32, "the same as `arg`"),
        nullable("argval_kind", Text, "`const`, `name`, `local`, `free`, `compare`, `jump`; null for a raw oparg and for none"),
        nullable("argval_int", Int64, "constant int up to 64 bits (1 and 0 for True and False), jump target, or the raw oparg"),
        nullable(
            "argval_str",
            Text,
            "str constant verbatim (lone surrogates as `\\udXXX`, like their spelling: `const_repr` tells them apart), canonical text of another \
             constant, name, or operator",
        ),
        nullable("argrepr", Text, "the text that `dis` prints, free of addresses and hash order"),
        nullable("line_number", Int32, "1-based current line; null for code without one"),
        nullable("starts_line", Int32, "1 if a line starts here, else 0"),
        nullable("label", Int32, "1-based rank among the jump targets; null if this is none"),
        nullable("is_jump_target", Boolean, "whether a jump leads here, as `dis` says, which does not count exceptions"),
        nullable("jump_target", Int32, "absolute offset of the target; null if this is no jump"),
        nullable("cache_info", List(&CACHE), "inline caches in order; empty if there are none"),
        nullable("span", Struct(&SPAN), "where it stands in the source; null without any position").with_metadata(SPAN_UNITS),
        nullable("attrs", Map, "`stack_depth_before`, `stack_depth_after` as text, where known"),
        nullable("stack_depth_before", Int32, "stack depth before it; null where unreachable or not derived"),
        nullable("stack_depth_after", Int32, "stack depth after it on the fall-through path; null where unreachable or not derived"),
        nullable("pops", Int32, "operands popped; null if not derived"),
        nullable("pushes", Int32, "values pushed; null if not derived"),
        nullable("operands", Int32, "values used: popped, or looked at and left in place; null if not derived"),
        nullable("block_index", Int32, "the block that it lies in; null if not derived"),
        nullable("block_start_offset", Int32, "that block's start, which its id is made of"),
        nullable("block_end_offset", Int32, "that block's exclusive end"),
    ],
};

/// One field of an instruction's inline cache.
pub const CACHE: Record = Record {
    name: "CACHE",
    columns: &[
        required("name", Text, "name of the field, unique in its instruction"),
        nullable("size", Int32, "code units (2 bytes each)"),
        nullable("data_hex", Text, "the bytes in lower hex"),
    ],
};

/// A span of the source, end exclusive, in CPython's UTF-8 columns and, where they can be mapped, in raw bytes.
pub const SPAN: Record = Record {
    name: "SPAN",
    columns: &[
        nullable("start", Struct(&POINT), "first position"),
        nullable("end", Struct(&POINT), "position behind the last"),
        nullable("end_exclusive", Boolean, "always true"),
        nullable("col_unit", Text, "always `byte`: of the source decoded to UTF-8"),
        nullable("byte_span", Struct(&BYTE_SPAN), "the same in the raw file; null where the two cannot be mapped"),
    ],
};

/// A position in the source.
pub const POINT: Record = Record {
    name: "POINT",
    columns: &[
        nullable("line0", Int32, "0-based line; null if CPython gives none, or line 0"),
        nullable("col", Int32, "0-based column in UTF-8 bytes; null if CPython gives none"),
    ],
};

/// A range of the raw file.
pub const BYTE_SPAN: Record = Record {
    name: "BYTE_SPAN",
    columns: &[nullable("byte_start", Int32, "first byte in the raw file, a BOM counted"), nullable("byte_len", Int32, "number of bytes")],
};
