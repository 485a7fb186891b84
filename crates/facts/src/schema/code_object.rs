//! A unit (one code object) and the small lists in it.

use super::{
    column::{
        Kind::{Boolean, Int32, Int32s, List, Map, Struct, Text, Texts},
        Record, nullable, required,
    },
    graph::{BLOCK, CFG_EDGE, DFG_EDGE},
    instruction::INSTRUCTION,
    metadata::LINE1_BASE,
};

/// One unit: a code object of the file.
pub const CODE_OBJECT: Record = Record {
    name: "CODE_OBJ",
    columns: &[
        nullable(
            "code_id",
            Text,
            "legacy id, not scoped to the file: `code:` + hash128 of `code`, qualname, name and line, joined by U+001F",
        ),
        required("qualname", Text, "qualpath: `<module>`, then `{parent}.{co_name}@{co_firstlineno}`"),
        nullable("co_qualname", Text, "`co_qualname` as CPython gives it"),
        nullable("co_filename", Text, "the path in the corpus, never a path of a machine"),
        required("name", Text, "`co_name`"),
        required("firstlineno1", Int32, "`co_firstlineno`"),
        nullable("argcount", Int32, "`co_argcount`"),
        nullable("posonlyargcount", Int32, "`co_posonlyargcount`"),
        nullable("kwonlyargcount", Int32, "`co_kwonlyargcount`"),
        nullable("nlocals", Int32, "`co_nlocals`"),
        nullable("flags", Int32, "`co_flags`"),
        nullable("stacksize", Int32, "`co_stacksize`"),
        nullable("code_len", Int32, "length of `co_code` in bytes"),
        nullable("flags_detail", Struct(&FLAGS), "`co_flags`, bit by bit"),
        nullable("varnames", Texts, "`co_varnames`"),
        nullable("freevars", Texts, "`co_freevars`"),
        nullable("cellvars", Texts, "`co_cellvars`"),
        nullable("names", Texts, "`co_names`"),
        nullable("consts", List(&CONST), "one for each slot of `co_consts`"),
        nullable("consts_json", Text, "JSON array of the constants' canonical texts"),
        nullable("line_table", List(&LINE), "line starts, as `dis.findlinestarts` gives them"),
        nullable("instructions", List(&INSTRUCTION), "the `dis` stream, EXTENDED_ARG counted"),
        nullable("exception_table", List(&EXCEPTION), "`co_exceptiontable`, decoded"),
        nullable("blocks", List(&BLOCK), "basic blocks in order of offset; empty when derivations are off"),
        nullable("cfg_edges", List(&CFG_EDGE), "control flow between blocks; empty when derivations are off"),
        nullable("dfg_edges", List(&DFG_EDGE), "data flow between instructions; empty when derivations are off"),
        nullable("attrs", Map, "`parent_qualpath`, `parent_co_name`, `parent_firstlineno`; empty for the module"),
        nullable("code_unit_id", Text, "`bc_code:` + hash128 of file_id, code_path and qualname; unique in a run"),
        nullable("parent_code_unit_id", Text, "the enclosing unit; null for the module"),
        nullable("code_path", Int32s, "ordinals among the code constants from the module down; empty for the module"),
        nullable(
            "unit_kind",
            Text,
            "`module`, `class`, `function`, `lambda`, `genexpr`, `listcomp`, `setcomp`, `dictcomp`, `type_params`, `type_alias`, \
             `type_var_bound`, `type_var_constraints`, `type_param_default`",
        ),
        nullable("facts_digest", Text, "BLAKE2b-256 in lower hex over the unit's facts, path and repository apart"),
        nullable("max_stack_depth", Int32, "the deepest stack that the analysis found; null when derivations are off"),
        nullable(
            "def_use_events",
            List(&EVENT),
            "definitions, uses, deletions and captures of variables in order; empty when derivations are off",
        ),
    ],
};

/// `co_flags`, bit by bit.
pub const FLAGS: Record = Record {
    name: "FLAGS",
    columns: &[
        nullable("is_optimized", Boolean, "0x1: locals are array slots"),
        nullable("is_newlocals", Boolean, "0x2: a call makes new locals"),
        nullable("has_varargs", Boolean, "0x4: `*args`"),
        nullable("has_varkeywords", Boolean, "0x8: `**kwargs`"),
        nullable("is_nested", Boolean, "0x10: inside a function"),
        nullable("is_generator", Boolean, "0x20"),
        nullable("is_nofree", Boolean, "0x40: no free and no cell variables; CPython 3.13 never sets it"),
        nullable("is_coroutine", Boolean, "0x80: `async def`"),
        nullable("is_iterable_coroutine", Boolean, "0x100: `types.coroutine`; never set by the compiler"),
        nullable("is_async_generator", Boolean, "0x200: `async def` with `yield`"),
    ],
};

/// One slot of `co_consts`.
pub const CONST: Record = Record {
    name: "CONST",
    columns: &[
        required("const_index", Int32, "slot in `co_consts`"),
        required("const_repr", Text, "canonical text: Python's `repr` without addresses and hash order"),
        nullable(
            "const_type",
            Text,
            "`int`, `str`, `bytes`, `float`, `complex`, `bool`, `none`, `ellipsis`, `tuple`, `frozenset`, `slice`, `code`",
        ),
        nullable("child_code_unit_id", Text, "the unit of a code constant; null for any other"),
    ],
};

/// One line start.
pub const LINE: Record = Record {
    name: "LINE",
    columns: &[
        required("offset", Int32, "byte offset in `co_code` where the line starts"),
        nullable("line1", Int32, "1-based line as `dis` gives it (0 for the module's RESUME); null for code without a line")
            .with_metadata(LINE1_BASE),
        nullable("line0", Int32, "line1 - 1; null where that would be negative"),
        nullable("attrs", Map, "empty"),
    ],
};

/// One entry of the exception table.
pub const EXCEPTION: Record = Record {
    name: "EXC",
    columns: &[
        required("exc_index", Int32, "position in the table"),
        nullable("start_offset", Int32, "first byte covered"),
        nullable("end_offset", Int32, "first byte no longer covered"),
        nullable("target_offset", Int32, "offset of the handler"),
        nullable("depth", Int32, "stack depth to unwind to"),
        nullable("lasti", Boolean, "whether the offset of the raising instruction is pushed below the exception"),
        nullable("attrs", Map, "empty"),
    ],
};

/// A definition, use, deletion or capture of a variable, in the order in which the instruction does it.
pub const EVENT: Record = Record {
    name: "EVENT",
    columns: &[
        required("event_index", Int32, "position in the unit; arguments come first, then instructions in order"),
        nullable("instr_index", Int32, "the instruction; null for an argument, which is defined by the call"),
        nullable("instr_offset", Int32, "the instruction's offset; null for an argument"),
        required("kind", Text, "`define`, `use`, `delete`, or `capture` (MAKE_CELL moves a local into a cell)"),
        required("namespace", Text, "`local`, `cell`, `global` or `name`"),
        required("symbol", Text, "the variable"),
    ],
};
