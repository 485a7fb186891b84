//! The views of the contract, in its order.

use super::definition::{Column, Definition, computed, field, renamed};
use crate::schema::{
    BLOCK, CACHE, CFG_EDGE, CODE_OBJECT, CONST, DFG_EDGE, ERROR, EVENT, EXCEPTION, FILE, FLAGS, INSTRUCTION,
    Kind::{Boolean, Int32, Int64, Text},
    LINE, Record, SPAN,
};

// The levels are named `u`, `i` or `e`, and `r`: DataFusion 55 takes two of one name for the same struct.

/// Rows of units under the name given.
macro_rules! units {
    ($unit:literal) => {
        concat!("(SELECT repo, file_id, path, unnest(code_objects) AS ", $unit, " FROM bytecode_files_v1)")
    };
}

/// Rows of a list in each unit, its elements under the name given, else `r`.
macro_rules! in_units {
    ($list:literal) => {
        in_units!($list, "r")
    };
    ($list:literal, $element:literal) => {
        concat!(
            "(SELECT repo, file_id, path, u['code_unit_id'] AS code_unit_id, unnest(u['",
            $list,
            "']) AS ",
            $element,
            " FROM ",
            units!("u"),
            ")"
        )
    };
}

/// Rows of a list, given as an expression, in each instruction `i`; `r` is its element.
macro_rules! in_instructions {
    ($list:literal) => {
        concat!(
            "(SELECT repo, file_id, path, code_unit_id, i['instr_index'] AS instr_index, i['offset'] AS instr_offset, unnest(",
            $list,
            ") AS r FROM ",
            in_units!("instructions", "i"),
            ")"
        )
    };
}

macro_rules! instr_id {
    ($index:literal, $offset:literal) => {
        concat!("bytefacts_hash64('bc_instr:', code_unit_id, ", $index, ", ", $offset, ")")
    };
}

macro_rules! block_id {
    ($start:literal, $end:literal) => {
        block_id!("r", $start, $end)
    };
    ($record:literal, $start:literal, $end:literal) => {
        concat!("bytefacts_hash64('bc_block:', code_unit_id, ", $record, "['", $start, "'], ", $record, "['", $end, "'])")
    };
}

/// The id of an edge of the control flow graph.
macro_rules! edge_id {
    ($edge:literal) => {
        concat!(
            "bytefacts_hash64('bc_edge:', code_unit_id, ",
            block_id!($edge, "src_block_start", "src_block_end"),
            ", ",
            block_id!($edge, "dst_block_start", "dst_block_end"),
            ", ",
            $edge,
            "['kind'], ",
            $edge,
            "['edge_key'], ",
            $edge,
            "['exc_index'])"
        )
    };
}

/// An expression, or null where a condition holds.
macro_rules! unless {
    ($condition:literal, $value:expr) => {
        concat!("CASE WHEN ", $condition, " THEN NULL ELSE ", $value, " END")
    };
}

const DFG_EDGE_ID: &str =
    "bytefacts_hash64('bc_dfg:', code_unit_id, r['src_instr_index'], r['dst_instr_index'], r['kind'], r['operand_index'])";
const FROM_ARGUMENT: &str = "null for an argument";

const REPO: Column = computed("repo", Text, "repo", "repository key in the corpus");
const FILE_ID: Column = computed("file_id", Text, "file_id", "the file");
const PATH: Column = computed("path", Text, "path", "path inside the repository");
const CODE_UNIT_ID: Column = computed("code_unit_id", Text, "code_unit_id", "the unit");

const OF_FILE: &[Column] = &[REPO, FILE_ID, PATH];
const OF_UNIT: &[Column] = &[REPO, FILE_ID, PATH, CODE_UNIT_ID];
const OF_INSTRUCTION: &[Column] =
    &[REPO, FILE_ID, PATH, CODE_UNIT_ID, computed("instr_id", Text, instr_id!("r['instr_index']", "r['offset']"), "the instruction")];
/// Where `r` is an element of the instruction.
const IN_INSTRUCTION: &[Column] =
    &[REPO, FILE_ID, PATH, CODE_UNIT_ID, computed("instr_id", Text, instr_id!("instr_index", "instr_offset"), "the instruction")];

/// An entry of a map, as `map_entries` gives it.
const ATTR: Record = Record { name: "ATTR", columns: &[] };
const ATTR_KEY: Column = computed("attr_key", Text, "r['key']", "key");
const ATTR_VALUE: Column = computed("attr_value", Text, "r['value']", "value");

const POS_START_LINE: Column = computed("pos_start_line", Int32, "r['span']['start']['line0']", "0-based first line");
const POS_START_COL: Column = computed("pos_start_col", Int32, "r['span']['start']['col']", "0-based first column in UTF-8 bytes");
const POS_END_LINE: Column = computed("pos_end_line", Int32, "r['span']['end']['line0']", "0-based last line");
const POS_END_COL: Column = computed("pos_end_col", Int32, "r['span']['end']['col']", "0-based exclusive end column in UTF-8 bytes");
const LINE_BASE_0: Column = computed("line_base", Int32, "CAST(0 AS INT)", "lines count from 0");
const LINE_BASE_1: Column = computed("line_base", Int32, "CAST(1 AS INT)", "line1 counts from 1");
const COL_UNIT: Column = computed("col_unit", Text, "r['span']['col_unit']", "`byte`; null without a position");
const END_EXCLUSIVE: Column = computed("end_exclusive", Boolean, "r['span']['end_exclusive']", "true; null without a position");
const BYTE_START: Column =
    computed("byte_start", Int32, "r['span']['byte_span']['byte_start']", "first byte in the raw file; null where it cannot be mapped");
const BYTE_LEN: Column = computed("byte_len", Int32, "r['span']['byte_span']['byte_len']", "bytes in the raw file");

pub(super) const ALL: &[Definition] = &[
    Definition {
        name: "py_bc_code_units",
        doc: "one row a unit",
        identity: &[REPO, FILE_ID, PATH, renamed("code_unit_id", "code_unit_id")],
        record: &CODE_OBJECT,
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
        from: units!("r"),
        condition: None,
    },
    Definition {
        name: "py_bc_instructions",
        doc: "one row an instruction, EXTENDED_ARG included",
        identity: OF_INSTRUCTION,
        record: &INSTRUCTION,
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
                unless!("r['block_start_offset'] IS NULL", block_id!("block_start_offset", "block_end_offset")),
                "the block that it lies in; null if not derived",
            ),
            field("pops"),
            field("pushes"),
            field("operands"),
            field("block_index"),
        ],
        from: in_units!("instructions"),
        condition: None,
    },
    Definition {
        name: "py_bc_line_table",
        doc: "one row a line start",
        identity: OF_UNIT,
        record: &LINE,
        columns: &[field("offset"), field("line1"), field("line0"), LINE_BASE_1],
        from: in_units!("line_table"),
        condition: None,
    },
    Definition {
        name: "bytecode_exception_table",
        doc: "one row an entry of the exception table",
        identity: OF_UNIT,
        record: &EXCEPTION,
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
                "bytefacts_hash64('bc_exc:', code_unit_id, r['exc_index'], r['start_offset'], r['end_offset'], r['target_offset'])",
                "the entry",
            ),
        ],
        from: in_units!("exception_table"),
        condition: None,
    },
    Definition {
        name: "py_bc_blocks",
        doc: "one row a basic block",
        identity: OF_UNIT,
        record: &BLOCK,
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
        from: in_units!("blocks"),
        condition: None,
    },
    Definition {
        name: "py_bc_cfg_edges",
        doc: "one row an edge of the control flow graph",
        identity: OF_UNIT,
        record: &CFG_EDGE,
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
            computed("jump_kind", Text, "r['attrs']['jump_kind']", "opname of the jump; null for an edge without one"),
            computed("jump_label", Int32, "CAST(r['attrs']['jump_label'] AS INT)", "label of the jump itself, if it is a target"),
            computed("jump_target_label", Int32, "CAST(r['attrs']['jump_target_label'] AS INT)", "label of its target"),
            field("polarity"),
            computed("src_block_id", Text, block_id!("src_block_start", "src_block_end"), "the source block"),
            computed("dst_block_id", Text, block_id!("dst_block_start", "dst_block_end"), "the destination block"),
            computed(
                "cond_instr_id",
                Text,
                unless!("r['cond_instr_index'] IS NULL", instr_id!("r['cond_instr_index']", "r['cond_instr_offset']")),
                "the conditional jump; null for an unconditional edge",
            ),
            computed("edge_id", Text, edge_id!("r"), "the edge"),
            field("is_back_edge"),
        ],
        from: in_units!("cfg_edges"),
        condition: None,
    },
    Definition {
        name: "py_bc_dfg_edges",
        doc: "one row an edge of the data flow graph",
        identity: OF_UNIT,
        record: &DFG_EDGE,
        columns: &[
            computed(
                "src_instr_index",
                Int32,
                unless!("r['src_instr_index'] < 0", "r['src_instr_index']"),
                "the producing instruction; null for an argument",
            ),
            field("dst_instr_index"),
            field("kind"),
            field("operand_index"),
            field("symbol"),
            computed(
                "src_instr_id",
                Text,
                unless!("r['src_instr_index'] < 0", instr_id!("r['src_instr_index']", "r['src_instr_offset']")),
                FROM_ARGUMENT,
            ),
            computed("dst_instr_id", Text, instr_id!("r['dst_instr_index']", "r['dst_instr_offset']"), "the using instruction"),
            computed("edge_id", Text, DFG_EDGE_ID, "the edge"),
            field("producer_kind"),
        ],
        from: in_units!("dfg_edges"),
        condition: None,
    },
    Definition {
        name: "py_bc_consts",
        doc: "one row a slot of `co_consts`",
        identity: OF_UNIT,
        record: &CONST,
        columns: &[
            field("const_index"),
            field("const_type"),
            field("const_repr"),
            computed("const_id", Text, "bytefacts_hash64('bc_const:', code_unit_id, r['const_index'])", "the slot"),
            field("child_code_unit_id"),
        ],
        from: in_units!("consts"),
        condition: None,
    },
    Definition {
        name: "py_bc_cache_entries",
        doc: "one row a field of an instruction's inline cache",
        identity: IN_INSTRUCTION,
        record: &CACHE,
        columns: &[
            computed("instr_index", Int32, "instr_index", "position of the instruction in its unit"),
            computed("offset", Int32, "instr_offset", "byte offset of the instruction"),
            field("name"),
            field("size"),
            field("data_hex"),
            computed(
                "cache_entry_id",
                Text,
                "bytefacts_hash64('bc_cache:', code_unit_id, instr_index, instr_offset, r['name'])",
                "the field of the instruction's cache",
            ),
        ],
        from: in_instructions!("i['cache_info']"),
        condition: None,
    },
    Definition {
        name: "py_bc_flags_detail",
        doc: "one row a unit: its flags",
        identity: OF_UNIT,
        record: &FLAGS,
        columns: &[
            field("is_optimized"),
            field("is_newlocals"),
            field("has_varargs"),
            field("has_varkeywords"),
            field("is_nested"),
            field("is_generator"),
            field("is_nofree"),
            field("is_coroutine"),
            field("is_iterable_coroutine"),
            field("is_async_generator"),
        ],
        from: concat!("(SELECT repo, file_id, path, u['code_unit_id'] AS code_unit_id, u['flags_detail'] AS r FROM ", units!("u"), ")"),
        condition: None,
    },
    Definition {
        name: "py_bc_instruction_attrs",
        doc: "one row an attribute of an instruction",
        identity: IN_INSTRUCTION,
        record: &ATTR,
        columns: &[ATTR_KEY, ATTR_VALUE],
        from: in_instructions!("map_entries(i['attrs'])"),
        condition: None,
    },
    Definition {
        name: "py_bc_cfg_edge_attrs",
        doc: "one row an attribute of an edge of the control flow graph",
        identity: &[REPO, FILE_ID, PATH, CODE_UNIT_ID, computed("edge_id", Text, "edge_id", "the edge")],
        record: &ATTR,
        columns: &[ATTR_KEY, ATTR_VALUE],
        from: concat!(
            "(SELECT repo, file_id, path, code_unit_id, ",
            edge_id!("e"),
            " AS edge_id, unnest(map_entries(e['attrs'])) AS r FROM ",
            in_units!("cfg_edges", "e"),
            ")"
        ),
        condition: None,
    },
    Definition {
        name: "py_bc_error_attrs",
        doc: "one row an attribute of an error",
        identity: OF_UNIT,
        record: &ATTR,
        columns: &[
            computed("error_type", Text, "error_type", "type of the error"),
            computed("stage", Text, "stage", "stage of the error"),
            ATTR_KEY,
            ATTR_VALUE,
        ],
        from: "(SELECT repo, file_id, path, e['code_unit_id'] AS code_unit_id, e['error_type'] AS error_type, e['stage'] AS stage, \
               unnest(map_entries(e['attrs'])) AS r FROM (SELECT repo, file_id, path, unnest(errors) AS e FROM bytecode_files_v1))",
        condition: None,
    },
    Definition {
        name: "py_bc_instruction_spans",
        doc: "one row an instruction that has a place in the source",
        identity: OF_INSTRUCTION,
        record: &SPAN,
        columns: &[
            computed("instr_index", Int32, "r['instr_index']", "position of the instruction in its unit"),
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
        from: in_units!("instructions"),
        condition: Some("r['span'] IS NOT NULL"),
    },
    Definition {
        name: "bytecode_errors",
        doc: "one row an error or a warning",
        identity: &[REPO, FILE_ID, PATH, renamed("code_unit_id", "code_unit_id")],
        record: &ERROR,
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
        from: "(SELECT repo, file_id, path, unnest(errors) AS r FROM bytecode_files_v1)",
        condition: None,
    },
    Definition {
        name: "py_bc_metadata",
        doc: "one row a file: what compiled and analysed it, and its digests",
        identity: OF_FILE,
        record: &FILE,
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
        from: "bytecode_files_v1",
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
                unless!("r['instr_index'] IS NULL", instr_id!("r['instr_index']", "r['instr_offset']")),
                "the instruction; null for an argument",
            ),
        ],
        record: &EVENT,
        columns: &[
            field("event_index"),
            field("instr_index"),
            field("kind"),
            field("namespace"),
            field("symbol"),
            computed("event_id", Text, "bytefacts_hash64('bc_event:', code_unit_id, r['event_index'])", "the event"),
        ],
        from: in_units!("def_use_events"),
        condition: None,
    },
    Definition {
        name: "py_bc_reaches",
        doc: "one row a definition of a variable and a use that it reaches",
        identity: OF_UNIT,
        record: &DFG_EDGE,
        columns: &[
            computed(
                "def_instr_index",
                Int32,
                unless!("r['src_instr_index'] < 0", "r['src_instr_index']"),
                "the defining instruction; null for an argument",
            ),
            renamed("use_instr_index", "dst_instr_index"),
            computed(
                "namespace",
                Text,
                "CASE r['kind'] WHEN 'USE_LOCAL' THEN 'local' WHEN 'USE_CELL' THEN 'cell' WHEN 'USE_GLOBAL' THEN 'global' ELSE 'name' END",
                "`local`, `cell`, `global` or `name`",
            ),
            field("symbol"),
            field("producer_kind"),
            computed(
                "def_instr_id",
                Text,
                unless!("r['src_instr_index'] < 0", instr_id!("r['src_instr_index']", "r['src_instr_offset']")),
                FROM_ARGUMENT,
            ),
            computed("use_instr_id", Text, instr_id!("r['dst_instr_index']", "r['dst_instr_offset']"), "the using instruction"),
            computed("edge_id", Text, DFG_EDGE_ID, "the edge, as in py_bc_dfg_edges"),
        ],
        from: in_units!("dfg_edges"),
        condition: Some("r['kind'] <> 'USE_STACK'"),
    },
];
