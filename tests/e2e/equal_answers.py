"""Answers queries by DuckDB over rows that are flattened here, from the nested Parquet files and the contract alone.

In: {"files": [...], "queries": [...]} on stdin. Out: {"columns": {view: [names]}, "answers": [[row, ...] or {"error": ...}, ...]}.
"""

import hashlib
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq


def hash64(prefix, *parts):
    """The contract's id of 63 bits; a missing part is an empty field, and nothing has no id."""
    text = ":".join("" if part is None else str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return f"{prefix}{int.from_bytes(digest, 'big') & 0x7FFF_FFFF_FFFF_FFFF}"


class Table:
    def __init__(self, types):
        self.types = types
        self.columns = {name: [] for name in types}

    def add(self, **values):
        assert values.keys() == self.columns.keys(), values.keys() ^ self.columns.keys()
        for name, value in values.items():
            self.columns[name].append(value)

    def arrow(self):
        return pa.table({name: pa.array(values, self.types[name]) for name, values in self.columns.items()})


TEXT, INT, LONG, FLAG = pa.string(), pa.int32(), pa.int64(), pa.bool_()


def typed(texts="", ints="", longs="", flags=""):
    kinds = [(texts, TEXT), (ints, INT), (longs, LONG), (flags, FLAG)]
    return {name: kind for names, kind in kinds for name in names.split()}


UNIT = "repo file_id path code_unit_id "
FLAGS = (
    "is_optimized is_newlocals has_varargs has_varkeywords is_nested is_generator is_nofree is_coroutine is_iterable_coroutine "
    "is_async_generator"
)
PLACE = "pos_start_line pos_start_col pos_end_line pos_end_col line_base byte_start byte_len "

tables = {
    "py_bc_code_units": Table(
        typed(
            UNIT + "code_id qualpath co_name co_qualname co_filename consts_json parent_code_unit_id unit_kind facts_digest",
            "firstlineno argcount posonlyargcount kwonlyargcount nlocals flags stacksize code_len max_stack_depth",
        )
    ),
    "py_bc_instructions": Table(
        typed(
            UNIT + "instr_id opname baseopname argval_kind argval_str argrepr col_unit block_id",
            "instr_index offset start_offset end_offset opcode baseopcode arg oparg line_number starts_line label jump_target_offset "
            "stack_depth_before stack_depth_after pops pushes operands block_index " + PLACE,
            "argval_int",
            "is_jump_target end_exclusive",
        )
    ),
    "py_bc_line_table": Table(typed(UNIT, "offset line1 line0 line_base")),
    "bytecode_exception_table": Table(typed(UNIT + "exc_entry_id", "exc_index start_offset end_offset target_offset depth", "", "lasti")),
    "py_bc_blocks": Table(
        typed(
            UNIT + "kind block_id",
            "start_offset end_offset block_index first_instr_index last_instr_index loop_depth immediate_dominator",
            "",
            "is_exit is_reachable",
        )
    ),
    "py_bc_cfg_edges": Table(
        typed(
            UNIT + "kind edge_key jump_kind polarity src_block_id dst_block_id cond_instr_id edge_id",
            "src_block_start src_block_end dst_block_start dst_block_end cond_instr_index cond_instr_offset exc_index jump_label "
            "jump_target_label",
            "",
            "is_back_edge",
        )
    ),
    "py_bc_dfg_edges": Table(
        typed(UNIT + "kind symbol src_instr_id dst_instr_id edge_id producer_kind", "src_instr_index dst_instr_index operand_index")
    ),
    "py_bc_reaches": Table(
        typed(UNIT + "namespace symbol producer_kind def_instr_id use_instr_id edge_id", "def_instr_index use_instr_index")
    ),
    "py_bc_consts": Table(typed(UNIT + "const_type const_repr const_id child_code_unit_id", "const_index")),
    "py_bc_cache_entries": Table(typed(UNIT + "instr_id name data_hex cache_entry_id", "instr_index offset size")),
    "py_bc_flags_detail": Table(typed(UNIT, "", "", FLAGS)),
    "py_bc_def_use_events": Table(typed(UNIT + "instr_id kind namespace symbol event_id", "event_index instr_index")),
    "bytecode_errors": Table(typed(UNIT + "error_type message stage severity source_line", "line1 col end_line1 end_col")),
    "py_bc_metadata": Table(
        typed(
            "repo file_id path file_sha256 python_version python_magic python_implementation analyzer_version facts_digest marshal_digest",
            "optimize source_lines",
            "source_bytes",
            "dont_inherit adaptive include_cfg",
        )
    ),
}


def part(record, *names):
    for name in names:
        record = None if record is None else record[name]
    return record


def of_instruction(unit, code, i):
    instr = hash64("bc_instr:", code, i["instr_index"], i["offset"])
    block = None if i["block_start_offset"] is None else hash64("bc_block:", code, i["block_start_offset"], i["block_end_offset"])
    same = "offset start_offset end_offset opname baseopname opcode baseopcode arg oparg argval_kind argval_int argval_str argrepr"
    same += " instr_index line_number starts_line label is_jump_target stack_depth_before stack_depth_after pops pushes operands block_index"
    tables["py_bc_instructions"].add(
        **unit,
        instr_id=instr,
        block_id=block,
        jump_target_offset=i["jump_target"],
        pos_start_line=part(i, "span", "start", "line0"),
        pos_start_col=part(i, "span", "start", "col"),
        pos_end_line=part(i, "span", "end", "line0"),
        pos_end_col=part(i, "span", "end", "col"),
        line_base=0,
        col_unit=part(i, "span", "col_unit"),
        end_exclusive=part(i, "span", "end_exclusive"),
        byte_start=part(i, "span", "byte_span", "byte_start"),
        byte_len=part(i, "span", "byte_span", "byte_len"),
        **{name: i[name] for name in same.split()},
    )
    for cache in i["cache_info"]:
        tables["py_bc_cache_entries"].add(
            **unit,
            instr_id=instr,
            instr_index=i["instr_index"],
            offset=i["offset"],
            cache_entry_id=hash64("bc_cache:", code, i["instr_index"], i["offset"], cache["name"]),
            **cache,
        )


def of_graphs(unit, code, u):
    block = lambda start, end: hash64("bc_block:", code, start, end)
    for b in u["blocks"]:
        b = {name: value for name, value in b.items() if name != "attrs"}
        tables["py_bc_blocks"].add(**unit, block_id=block(b["start_offset"], b["end_offset"]), **b)
    for e in u["cfg_edges"]:
        attrs = dict(e.pop("attrs"))
        src, dst = block(e["src_block_start"], e["src_block_end"]), block(e["dst_block_start"], e["dst_block_end"])
        number = lambda name: None if attrs.get(name) is None else int(attrs[name])
        cond = e["cond_instr_index"]
        tables["py_bc_cfg_edges"].add(
            **unit,
            jump_kind=attrs.get("jump_kind"),
            jump_label=number("jump_label"),
            jump_target_label=number("jump_target_label"),
            src_block_id=src,
            dst_block_id=dst,
            cond_instr_id=None if cond is None else hash64("bc_instr:", code, cond, e["cond_instr_offset"]),
            edge_id=hash64("bc_edge:", code, src, dst, e["kind"], e["edge_key"], e["exc_index"]),
            **e,
        )
    for e in u["dfg_edges"]:
        src, dst = e["src_instr_index"], e["dst_instr_index"]
        made = None if src < 0 else src
        src_id = None if src < 0 else hash64("bc_instr:", code, src, e["src_instr_offset"])
        dst_id = hash64("bc_instr:", code, dst, e["dst_instr_offset"])
        edge = hash64("bc_dfg:", code, src, dst, e["kind"], e["operand_index"])
        told = {name: e[name] for name in ("symbol", "producer_kind")}
        tables["py_bc_dfg_edges"].add(
            **unit,
            **told,
            kind=e["kind"],
            operand_index=e["operand_index"],
            src_instr_index=made,
            dst_instr_index=dst,
            src_instr_id=src_id,
            dst_instr_id=dst_id,
            edge_id=edge,
        )
        if e["kind"] != "USE_STACK":
            namespace = {"USE_LOCAL": "local", "USE_CELL": "cell", "USE_GLOBAL": "global", "USE_NAME": "name"}[e["kind"]]
            tables["py_bc_reaches"].add(
                **unit, **told, namespace=namespace, def_instr_index=made, use_instr_index=dst, def_instr_id=src_id, use_instr_id=dst_id, edge_id=edge
            )


def of_unit(file, u):
    code = u["code_unit_id"]
    unit = dict(file, code_unit_id=code)
    same = "code_id co_qualname co_filename consts_json parent_code_unit_id unit_kind facts_digest argcount posonlyargcount kwonlyargcount"
    same += " nlocals flags stacksize code_len max_stack_depth"
    tables["py_bc_code_units"].add(
        **unit, qualpath=u["qualname"], co_name=u["name"], firstlineno=u["firstlineno1"], **{name: u[name] for name in same.split()}
    )
    tables["py_bc_flags_detail"].add(**unit, **u["flags_detail"])
    for i in u["instructions"]:
        of_instruction(unit, code, i)
    for line in u["line_table"]:
        tables["py_bc_line_table"].add(**unit, line_base=1, **{name: line[name] for name in ("offset", "line1", "line0")})
    for e in u["exception_table"]:
        e = {name: value for name, value in e.items() if name != "attrs"}
        key = [e[name] for name in ("exc_index", "start_offset", "end_offset", "target_offset")]
        tables["bytecode_exception_table"].add(**unit, exc_entry_id=hash64("bc_exc:", code, *key), **e)
    for c in u["consts"]:
        tables["py_bc_consts"].add(**unit, const_id=hash64("bc_const:", code, c["const_index"]), **c)
    for e in u["def_use_events"]:
        index, offset = e["instr_index"], e.pop("instr_offset")
        tables["py_bc_def_use_events"].add(
            **unit,
            instr_id=None if index is None else hash64("bc_instr:", code, index, offset),
            event_id=hash64("bc_event:", code, e["event_index"]),
            **e,
        )
    of_graphs(unit, code, u)


def of_file(row):
    file = {name: row[name] for name in ("repo", "file_id", "path")}
    attrs = dict(row["attrs"])
    tables["py_bc_metadata"].add(
        **file,
        **{name: row[name] for name in ("file_sha256", "facts_digest", "marshal_digest", "source_bytes", "source_lines")},
        **{name: attrs[name] for name in ("python_version", "python_magic", "python_implementation", "analyzer_version")},
        optimize=int(attrs["optimize"]),
        **{name: attrs[name] == "True" for name in ("dont_inherit", "adaptive", "include_cfg")},
    )
    for error in row["errors"]:
        error.pop("attrs")
        tables["bytecode_errors"].add(**file, **error)
    for unit in row["code_objects"]:
        of_unit(file, unit)


def main():
    asked = json.load(sys.stdin)
    for file in asked["files"]:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=16):
            for row in batch.to_pylist():
                of_file(row)
    connection = duckdb.connect()
    for name, table in tables.items():
        connection.register("arrow_" + name, table.arrow())
        connection.execute(f'CREATE TABLE {name} AS SELECT * FROM "arrow_{name}"')
    answers = []
    for query in asked["queries"]:
        try:
            answers.append(connection.execute(query).fetchall())
        except duckdb.Error as error:
            answers.append({"error": str(error)})
    json.dump({"columns": {name: list(table.columns) for name, table in tables.items()}, "answers": answers}, sys.stdout)


main()
