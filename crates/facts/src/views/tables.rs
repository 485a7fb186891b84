//! The views of the contract, in its order.

use super::definition::{Column, Definition, computed, field, renamed};
use crate::schema::Kind::{Boolean, Int32, Int64, Text};

macro_rules! instr_id {
    ($index:literal, $offset:literal) => {
        concat!("bytefacts_hash64('bc_instr:', code_unit_id, ", $index, ", ", $offset, ")")
    };
}

macro_rules! block_id {
    ($start:literal, $end:literal) => {
        concat!("bytefacts_hash64('bc_block:', code_unit_id, ", $start, ", ", $end, ")")
    };
}

/// The id of an edge of the control flow graph.
const CFG_EDGE_ID: &str = concat!(
    "bytefacts_hash64('bc_edge:', code_unit_id, ",
    block_id!("src_block_start", "src_block_end"),
    ", ",
    block_id!("dst_block_start", "dst_block_end"),
    ", kind, edge_key, exc_index)"
);

/// An expression, or null where a condition holds.
macro_rules! unless {
    ($condition:literal, $value:expr) => {
        concat!("CASE WHEN ", $condition, " THEN NULL ELSE ", $value, " END")
    };
}

const DFG_EDGE_ID: &str = "bytefacts_hash64('bc_dfg:', code_unit_id, src_instr_index, dst_instr_index, kind, operand_index)";
const FROM_ARGUMENT: &str = "null for an argument";

const REPO: Column = computed("repo", Text, "repo", "repository key in the corpus");
const FILE_ID: Column = computed("file_id", Text, "file_id", "the file");
const PATH: Column = computed("path", Text, "path", "path inside the repository");
const CODE_UNIT_ID: Column = computed("code_unit_id", Text, "code_unit_id", "the unit");

const OF_FILE: &[Column] = &[REPO, FILE_ID, PATH];
const OF_UNIT: &[Column] = &[REPO, FILE_ID, PATH, CODE_UNIT_ID];
const OF_INSTRUCTION: &[Column] =
    &[REPO, FILE_ID, PATH, CODE_UNIT_ID, computed("instr_id", Text, instr_id!("instr_index", "\"offset\""), "the instruction")];

const POS_START_LINE: Column = computed("pos_start_line", Int32, "span_start_line0", "0-based first line");
const POS_START_COL: Column = computed("pos_start_col", Int32, "span_start_col", "0-based first column in UTF-8 bytes");
const POS_END_LINE: Column = computed("pos_end_line", Int32, "span_end_line0", "0-based last line");
const POS_END_COL: Column = computed("pos_end_col", Int32, "span_end_col", "0-based exclusive end column in UTF-8 bytes");
const LINE_BASE_0: Column = computed("line_base", Int32, "CAST(0 AS INT)", "lines count from 0");
const LINE_BASE_1: Column = computed("line_base", Int32, "CAST(1 AS INT)", "line1 counts from 1");
const COL_UNIT: Column = computed("col_unit", Text, "span_col_unit", "`byte`; null without a position");
const END_EXCLUSIVE: Column = computed("end_exclusive", Boolean, "span_end_exclusive", "true; null without a position");
const BYTE_START: Column =
    computed("byte_start", Int32, "span_byte_span_byte_start", "first byte in the raw file; null where it cannot be mapped");
const BYTE_LEN: Column = computed("byte_len", Int32, "span_byte_span_byte_len", "bytes in the raw file");

pub(super) const ALL: &[Definition] = &[
    Definition {
        name: "py_bc_code_units",
        doc: "one row a unit",
        identity: &[REPO, FILE_ID, PATH, renamed("code_unit_id", "code_unit_id")],
        columns: &[
            field("code_id"),
            renamed("qualpath", "qualname"),
            renamed("co_name", "name"),
            renamed("firstlineno", "firstlineno1"),
            field("argcount"),
            field("posonlyargcount"),
            field("kwonlyargcount"),
            field("nlocals"),
            field("flags"),
            field("stacksize"),
            field("code_len"),
            field("varnames"),
            field("freevars"),
            field("cellvars"),
            field("names"),
            field("co_qualname"),
            field("co_filename"),
            field("flags_detail"),
            field("consts"),
            field("consts_json"),
            field("parent_code_unit_id"),
            field("unit_kind"),
            field("code_path"),
            field("facts_digest"),
            field("max_stack_depth"),
        ],
        from: Some("code_objects"),
        condition: None,
    },
    Definition {
        name: "py_bc_instructions",
        doc: "one row an instruction, EXTENDED_ARG included",
        identity: OF_INSTRUCTION,
        columns: &[
            field("instr_index"),
            field("offset"),
            field("start_offset"),
            field("end_offset"),
            field("opname"),
            field("baseopname"),
            field("opcode"),
            field("baseopcode"),
            field("arg"),
            field("oparg"),
            field("argval_kind"),
            field("argval_int"),
            field("argval_str"),
            field("argrepr"),
            field("line_number"),
            field("starts_line"),
            field("label"),
            field("is_jump_target"),
            renamed("jump_target_offset", "jump_target"),
            POS_START_LINE,
            POS_START_COL,
            POS_END_LINE,
            POS_END_COL,
            LINE_BASE_0,
            COL_UNIT,
            END_EXCLUSIVE,
            BYTE_START,
            BYTE_LEN,
            field("stack_depth_before"),
            field("stack_depth_after"),
            field("cache_info"),
            computed(
                "block_id",
                Text,
                unless!("block_start_offset IS NULL", block_id!("block_start_offset", "block_end_offset")),
                "the block that it lies in; null if not derived",
            ),
            field("pops"),
            field("pushes"),
            field("operands"),
            field("block_index"),
        ],
        from: Some("code_objects_instructions"),
        condition: None,
    },
    Definition {
        name: "py_bc_line_table",
        doc: "one row a line start",
        identity: OF_UNIT,
        columns: &[field("offset"), field("line1"), field("line0"), LINE_BASE_1],
        from: Some("code_objects_line_table"),
        condition: None,
    },
    Definition {
        name: "bytecode_exception_table",
        doc: "one row an entry of the exception table",
        identity: OF_UNIT,
        columns: &[
            field("exc_index"),
            field("start_offset"),
            field("end_offset"),
            field("target_offset"),
            field("depth"),
            field("lasti"),
            computed(
                "exc_entry_id",
                Text,
                "bytefacts_hash64('bc_exc:', code_unit_id, exc_index, start_offset, end_offset, target_offset)",
                "the entry",
            ),
        ],
        from: Some("code_objects_exception_table"),
        condition: None,
    },
    Definition {
        name: "py_bc_blocks",
        doc: "one row a basic block",
        identity: OF_UNIT,
        columns: &[
            field("start_offset"),
            field("end_offset"),
            field("kind"),
            computed("block_id", Text, block_id!("start_offset", "end_offset"), "the block"),
            field("block_index"),
            field("first_instr_index"),
            field("last_instr_index"),
            field("is_exit"),
            field("is_reachable"),
            field("loop_depth"),
            field("immediate_dominator"),
        ],
        from: Some("code_objects_blocks"),
        condition: None,
    },
    Definition {
        name: "py_bc_cfg_edges",
        doc: "one row an edge of the control flow graph",
        identity: OF_UNIT,
        columns: &[
            field("src_block_start"),
            field("src_block_end"),
            field("dst_block_start"),
            field("dst_block_end"),
            field("kind"),
            field("edge_key"),
            field("cond_instr_index"),
            field("cond_instr_offset"),
            field("exc_index"),
            computed("jump_kind", Text, "attrs['jump_kind']", "opname of the jump; null for an edge without one"),
            computed("jump_label", Int32, "CAST(attrs['jump_label'] AS INT)", "label of the jump itself, if it is a target"),
            computed("jump_target_label", Int32, "CAST(attrs['jump_target_label'] AS INT)", "label of its target"),
            field("polarity"),
            computed("src_block_id", Text, block_id!("src_block_start", "src_block_end"), "the source block"),
            computed("dst_block_id", Text, block_id!("dst_block_start", "dst_block_end"), "the destination block"),
            computed(
                "cond_instr_id",
                Text,
                unless!("cond_instr_index IS NULL", instr_id!("cond_instr_index", "cond_instr_offset")),
                "the conditional jump; null for an unconditional edge",
            ),
            computed("edge_id", Text, CFG_EDGE_ID, "the edge"),
            field("is_back_edge"),
        ],
        from: Some("code_objects_cfg_edges"),
        condition: None,
    },
    Definition {
        name: "py_bc_dfg_edges",
        doc: "one row an edge of the data flow graph",
        identity: OF_UNIT,
        columns: &[
            computed(
                "src_instr_index",
                Int32,
                unless!("src_instr_index < 0", "src_instr_index"),
                "the producing instruction; null for an argument",
            ),
            field("dst_instr_index"),
            field("kind"),
            field("operand_index"),
            field("symbol"),
            computed("src_instr_id", Text, unless!("src_instr_index < 0", instr_id!("src_instr_index", "src_instr_offset")), FROM_ARGUMENT),
            computed("dst_instr_id", Text, instr_id!("dst_instr_index", "dst_instr_offset"), "the using instruction"),
            computed("edge_id", Text, DFG_EDGE_ID, "the edge"),
            field("producer_kind"),
        ],
        from: Some("code_objects_dfg_edges"),
        condition: None,
    },
    Definition {
        name: "py_bc_consts",
        doc: "one row a slot of `co_consts`",
        identity: OF_UNIT,
        columns: &[
            field("const_index"),
            field("const_type"),
            field("const_repr"),
            computed("const_id", Text, "bytefacts_hash64('bc_const:', code_unit_id, const_index)", "the slot"),
            field("child_code_unit_id"),
        ],
        from: Some("code_objects_consts"),
        condition: None,
    },
    Definition {
        name: "py_bc_cache_entries",
        doc: "one row a field of an instruction's inline cache",
        identity: OF_INSTRUCTION,
        columns: &[
            computed("instr_index", Int32, "instr_index", "position of the instruction in its unit"),
            computed("offset", Int32, "\"offset\"", "byte offset of the instruction"),
            field("name"),
            field("size"),
            field("data_hex"),
            computed(
                "cache_entry_id",
                Text,
                "bytefacts_hash64('bc_cache:', code_unit_id, instr_index, \"offset\", name)",
                "the field of the instruction's cache",
            ),
        ],
        from: Some("code_objects_instructions_cache_info"),
        condition: None,
    },
    Definition {
        name: "py_bc_flags_detail",
        doc: "one row a unit: its flags",
        identity: OF_UNIT,
        columns: &[
            renamed("is_optimized", "flags_detail_is_optimized"),
            renamed("is_newlocals", "flags_detail_is_newlocals"),
            renamed("has_varargs", "flags_detail_has_varargs"),
            renamed("has_varkeywords", "flags_detail_has_varkeywords"),
            renamed("is_nested", "flags_detail_is_nested"),
            renamed("is_generator", "flags_detail_is_generator"),
            renamed("is_nofree", "flags_detail_is_nofree"),
            renamed("is_coroutine", "flags_detail_is_coroutine"),
            renamed("is_iterable_coroutine", "flags_detail_is_iterable_coroutine"),
            renamed("is_async_generator", "flags_detail_is_async_generator"),
        ],
        from: Some("code_objects"),
        condition: None,
    },
    Definition {
        name: "py_bc_instruction_attrs",
        doc: "one row an attribute of an instruction",
        identity: OF_INSTRUCTION,
        columns: &[renamed("attr_key", "key"), renamed("attr_value", "value")],
        from: Some("code_objects_instructions_attrs"),
        condition: None,
    },
    Definition {
        name: "py_bc_cfg_edge_attrs",
        doc: "one row an attribute of an edge of the control flow graph",
        identity: &[REPO, FILE_ID, PATH, CODE_UNIT_ID, computed("edge_id", Text, CFG_EDGE_ID, "the edge")],
        columns: &[renamed("attr_key", "key"), renamed("attr_value", "value")],
        from: Some("code_objects_cfg_edges_attrs"),
        condition: None,
    },
    Definition {
        name: "py_bc_error_attrs",
        doc: "one row an attribute of an error",
        identity: OF_UNIT,
        columns: &[
            computed("error_type", Text, "error_type", "type of the error"),
            computed("stage", Text, "stage", "stage of the error"),
            renamed("attr_key", "key"),
            renamed("attr_value", "value"),
        ],
        from: Some("errors_attrs"),
        condition: None,
    },
    Definition {
        name: "py_bc_instruction_spans",
        doc: "one row an instruction that has a place in the source",
        identity: OF_INSTRUCTION,
        columns: &[
            computed("instr_index", Int32, "instr_index", "position of the instruction in its unit"),
            POS_START_LINE,
            POS_START_COL,
            POS_END_LINE,
            POS_END_COL,
            LINE_BASE_0,
            COL_UNIT,
            END_EXCLUSIVE,
            BYTE_START,
            BYTE_LEN,
        ],
        from: Some("code_objects_instructions"),
        // Its one field that a span never lacks; the span itself would be all of them.
        condition: Some("span_end_exclusive IS NOT NULL"),
    },
    Definition {
        name: "bytecode_errors",
        doc: "one row an error or a warning",
        identity: &[REPO, FILE_ID, PATH, renamed("code_unit_id", "code_unit_id")],
        columns: &[
            field("error_type"),
            field("message"),
            field("stage"),
            field("severity"),
            field("line1"),
            field("col"),
            field("end_line1"),
            field("end_col"),
            field("source_line"),
        ],
        from: Some("errors"),
        condition: None,
    },
    Definition {
        name: "py_bc_metadata",
        doc: "one row a file: what compiled and analysed it, and its digests",
        identity: OF_FILE,
        columns: &[
            computed("file_sha256", Text, "file_sha256", "SHA-256 of the raw bytes in lower hex"),
            computed("python_version", Text, "attrs['python_version']", "version of the interpreter"),
            computed("python_magic", Text, "attrs['python_magic']", "magic number of the interpreter in lower hex"),
            computed("python_implementation", Text, "attrs['python_implementation']", "implementation of the interpreter"),
            computed("optimize", Int32, "CAST(attrs['optimize'] AS INT)", "optimisation level"),
            computed("dont_inherit", Boolean, "attrs['dont_inherit'] = 'True'", "whether future flags were not inherited"),
            computed("adaptive", Boolean, "attrs['adaptive'] = 'True'", "whether adaptive instructions were asked for"),
            computed("include_cfg", Boolean, "attrs['include_cfg'] = 'True'", "whether control and data flow were derived"),
            computed("analyzer_version", Text, "attrs['analyzer_version']", "version of the analyzer"),
            computed("facts_digest", Text, "facts_digest", "digest of the file's facts in lower hex"),
            computed("marshal_digest", Text, "marshal_digest", "digest of the marshalled code in lower hex"),
            computed("source_bytes", Int64, "source_bytes", "size of the source in bytes"),
            computed("source_lines", Int32, "source_lines", "lines of the source"),
        ],
        from: None,
        condition: None,
    },
    Definition {
        name: "py_bc_def_use_events",
        doc: "one row a definition, use, deletion or capture of a variable, in order",
        identity: &[
            REPO,
            FILE_ID,
            PATH,
            CODE_UNIT_ID,
            computed(
                "instr_id",
                Text,
                unless!("instr_index IS NULL", instr_id!("instr_index", "instr_offset")),
                "the instruction; null for an argument",
            ),
        ],
        columns: &[
            field("event_index"),
            field("instr_index"),
            field("kind"),
            field("namespace"),
            field("symbol"),
            computed("event_id", Text, "bytefacts_hash64('bc_event:', code_unit_id, event_index)", "the event"),
        ],
        from: Some("code_objects_def_use_events"),
        condition: None,
    },
    Definition {
        name: "py_bc_reaches",
        doc: "one row a definition of a variable and a use that it reaches",
        identity: OF_UNIT,
        columns: &[
            computed(
                "def_instr_index",
                Int32,
                unless!("src_instr_index < 0", "src_instr_index"),
                "the defining instruction; null for an argument",
            ),
            renamed("use_instr_index", "dst_instr_index"),
            computed(
                "namespace",
                Text,
                "CASE kind WHEN 'USE_LOCAL' THEN 'local' WHEN 'USE_CELL' THEN 'cell' WHEN 'USE_GLOBAL' THEN 'global' ELSE 'name' END",
                "`local`, `cell`, `global` or `name`",
            ),
            field("symbol"),
            field("producer_kind"),
            computed("def_instr_id", Text, unless!("src_instr_index < 0", instr_id!("src_instr_index", "src_instr_offset")), FROM_ARGUMENT),
            computed("use_instr_id", Text, instr_id!("dst_instr_index", "dst_instr_offset"), "the using instruction"),
            computed("edge_id", Text, DFG_EDGE_ID, "the edge, as in py_bc_dfg_edges"),
        ],
        from: Some("code_objects_dfg_edges"),
        condition: Some("kind <> 'USE_STACK'"),
    },
];
