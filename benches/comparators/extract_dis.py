"""Comparator: the same facts by Python alone, `dis.get_instructions` for the facts and pyarrow for the Parquet.

    python3.13 -m venv venv && venv/bin/pip install pyarrow
    venv/bin/python extract_dis.py [--tuned] LISTING OUT.parquet

It writes every column of `bytecode_files_v1` (data contract, sections 1 to 3) that `dis` can give, nested and typed as
there; control flow, stack and data flow are not among them. It is written to be fast: facts are gathered as columns
(no dict an instruction), repeated values are taken from small tables, the collector is off while columns grow, a row
group is written per 200,000 instructions. `--tuned` also replaces the slow parts of `dis` itself by equal ones
(`facts.tune_dis`), which a user of `dis` would hardly do.

Prints JSON: files, units, instructions, errors, cpu_seconds, wall_seconds, bytes (source), parquet_bytes. One process.
"""

import gc
import json
import os
import sys
import threading
import time
from itertools import accumulate

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "judge"))

import facts
import listing
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP_INSTRUCTIONS = 200_000

INT = pa.int32()
TEXT = pa.string()
MAP = pa.map_(TEXT, TEXT)


def list_of(value):
    return pa.list_(pa.field("element", value, nullable=False))


def struct(required="", **fields):
    required = required.split()
    return pa.struct([pa.field(name, kind, nullable=name not in required) for name, kind in fields.items()])


FLAGS = struct(**dict.fromkeys(facts.FLAGS, pa.bool_()))
CONST = struct("const_index const_repr", const_index=INT, const_repr=TEXT, const_type=TEXT, child_code_unit_id=TEXT)
LINE = struct("offset", offset=INT, line1=INT, line0=INT)
EXCEPTION = struct(
    "exc_index", exc_index=INT, start_offset=INT, end_offset=INT, target_offset=INT, depth=INT, lasti=pa.bool_()
)
CACHE = struct("name", name=TEXT, size=INT, data_hex=TEXT)
POINT = struct(line0=INT, col=INT)
BYTE_SPAN = struct(byte_start=INT, byte_len=INT)
SPAN = struct(start=POINT, end=POINT, end_exclusive=pa.bool_(), col_unit=TEXT, byte_span=BYTE_SPAN)
INSTRUCTION = struct(
    "instr_index offset opname opcode",
    instr_index=INT, offset=INT, start_offset=INT, end_offset=INT, opname=TEXT, baseopname=TEXT, opcode=INT,
    baseopcode=INT, arg=INT, oparg=INT, argval_kind=TEXT, argval_int=pa.int64(), argval_str=TEXT, argrepr=TEXT,
    line_number=INT, starts_line=INT, label=INT, is_jump_target=pa.bool_(), jump_target=INT, cache_info=list_of(CACHE),
    span=SPAN,
)  # fmt: skip
UNIT = struct(
    "qualname name firstlineno1",
    code_id=TEXT, qualname=TEXT, co_qualname=TEXT, co_filename=TEXT, name=TEXT, firstlineno1=INT, argcount=INT,
    posonlyargcount=INT, kwonlyargcount=INT, nlocals=INT, flags=INT, stacksize=INT, code_len=INT, flags_detail=FLAGS,
    varnames=list_of(TEXT), freevars=list_of(TEXT), cellvars=list_of(TEXT), names=list_of(TEXT), consts=list_of(CONST),
    consts_json=TEXT, line_table=list_of(LINE), instructions=list_of(INSTRUCTION), exception_table=list_of(EXCEPTION),
    attrs=MAP, code_unit_id=TEXT, parent_code_unit_id=TEXT, code_path=list_of(INT), unit_kind=TEXT,
)  # fmt: skip
ERROR = struct(
    "error_type message",
    error_type=TEXT, message=TEXT, stage=TEXT, line1=INT, col=INT, end_line1=INT, end_col=INT, source_line=TEXT,
    code_unit_id=TEXT, severity=TEXT,
)  # fmt: skip
SCHEMA = pa.schema(
    [
        pa.field("path", TEXT, nullable=False),
        pa.field("file_id", TEXT, nullable=False),
        pa.field("file_sha256", TEXT),
        pa.field("code_objects", list_of(UNIT)),
        pa.field("errors", list_of(ERROR)),
        pa.field("attrs", MAP),
        pa.field("source_bytes", pa.int64()),
        pa.field("source_lines", INT),
    ]
)

ROOT_ATTRS = [
    ("python_version", sys.version.split()[0]),
    ("python_implementation", sys.implementation.name),
    ("optimize", "0"),
    ("dont_inherit", "True"),
    ("adaptive", "False"),
]

ONE = pa.scalar(1, INT)
OPNAMES = pa.array(facts.dis._all_opname, TEXT)
KINDS = pa.array(facts.ARGVAL_KIND, TEXT)


class Rows:
    """Rows of a list column as growing columns, and how many belong to each parent."""

    def __init__(self):
        self.lengths = []
        self.columns = {}

    def extend(self, length, columns):
        self.lengths.append(length)
        for name, values in columns.items():
            self.columns.setdefault(name, []).extend(values)

    def array(self, name, kind):
        return pa.array(self.columns.get(name, ()), kind)

    def starts(self):
        """Where the rows of each parent start, with an end at the end."""
        return pa.array(accumulate(self.lengths, initial=0), INT)

    def lists(self, values):
        """A list array with one list for each parent."""
        return pa.ListArray.from_arrays(self.starts(), values, type=list_of(values.type))

    def parents(self):
        """The position of each row's parent."""
        return pc.list_parent_indices(self.lists(pa.nulls(sum(self.lengths), INT)))

    def structs(self, kind, /, **computed):
        """A list<struct> array; the fields not `computed` are columns of the same name."""
        arrays = [
            computed[field.name] if field.name in computed else self.array(field.name, field.type) for field in kind
        ]
        return self.lists(pa.StructArray.from_arrays(arrays, fields=list(kind)))

    def indexes(self):
        """The position of each row among those of its parent."""
        before = self.starts().take(self.parents())
        counted = pc.cumulative_sum(pa.repeat(ONE, len(before)))
        return pc.subtract(pc.subtract(counted, ONE), before)


class Batch:
    """Files on their way to one row group. `extract_all.py` adds columns to it."""

    schema, unit, error, instruction, line, exception = SCHEMA, UNIT, ERROR, INSTRUCTION, LINE, EXCEPTION

    def __init__(self):
        self.files = []
        self.units, self.errors = Rows(), Rows()
        self.consts, self.lines, self.exceptions, self.instructions = Rows(), Rows(), Rows(), Rows()
        self.caches = facts.CacheTable()

    def add(self, path, raw):
        """Takes in the bytes of one file."""
        source = facts.Source(raw)
        code, error, warnings = facts.compile_source(source, path)
        file_id = facts.file_id(path)
        units, failures = [], []
        if code is not None:
            for unit in facts.walk(code):
                self.add_unit(unit, file_id, source, units, failures)
        errors = error_records(error, warnings) + failures
        self.add_rows(units, errors)
        self.files.append((path, file_id, source.sha256, len(raw), source.line_count))
        return len(units), len(errors)

    def add_rows(self, units, errors):
        """Takes in the units and errors of a file."""
        self.units.extend(len(units), transposed(units, self.unit))
        self.errors.extend(len(errors), transposed(errors, self.error))

    def add_unit(self, unit, file_id, source, units, failures):
        record = unit_record(unit, file_id, source)
        consts, ints, strs = facts.constants(unit.code)
        consts["child_code_unit_id"] = facts.child_ids(unit, file_id)
        texts = consts["const_repr"]
        record["consts_json"] = json_array(texts)
        units.append(record)
        lines, exceptions = facts.line_table(unit.code), facts.exception_table(unit.code)
        self.add_tables(consts, lines, exceptions)
        try:
            columns = facts.instructions(unit.code, source, self.caches, texts, ints, strs)
        except Exception as exception:  # `dis` gives up on a huge int
            failures.append(failure(exception, "disassembly", record))
            self.instructions.extend(0, {})
        else:
            self.instructions.extend(len(columns["offset"]), columns)

    def add_tables(self, consts, lines, exceptions):
        """Takes in the small lists of a unit."""
        self.consts.extend(len(consts["const_repr"]), consts)
        self.lines.extend(len(lines["offset"]), lines)
        self.exceptions.extend(len(exceptions["depth"]), exceptions)

    def table(self):
        """The batch as Arrow."""
        columns = self.file_columns()
        arrays = [columns[name] for name in self.schema.names]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def file_columns(self):
        paths, ids, hashes, sizes, lines = zip(*self.files)
        return {
            "path": pa.array(paths, TEXT),
            "file_id": pa.array(ids, TEXT),
            "file_sha256": pa.array(hashes, TEXT),
            "code_objects": self.units.structs(self.unit, **self.unit_columns()),
            "errors": self.errors.structs(self.error, **self.error_columns()),
            "attrs": pa.array([ROOT_ATTRS] * len(paths), MAP),
            "source_bytes": pa.array(sizes, pa.int64()),
            "source_lines": pa.array(lines, INT),
        }

    def unit_columns(self):
        return {
            "consts": self.consts.structs(CONST, const_index=self.consts.indexes()),
            "line_table": self.lines.structs(self.line, **self.line_columns()),
            "exception_table": self.exceptions.structs(self.exception, **self.exception_columns()),
            "instructions": self.instructions.structs(self.instruction, **self.instruction_columns()),
        }

    def error_columns(self):
        return {}

    def line_columns(self):
        return {}

    def exception_columns(self):
        return {"exc_index": self.exceptions.indexes()}

    def instruction_columns(self):
        rows = self.instructions
        opcode, arg, label = (rows.array(name, INT) for name in ("opcode", "arg", "label"))
        opname = OPNAMES.take(opcode)
        # Most instructions share some thirty values of cache_info; the last entry is the empty one.
        caches = pa.array([[tuple(field) for field in row] for row in self.caches.rows] + [[]], list_of(CACHE))
        cache = pc.fill_null(rows.array("cache", INT), len(caches) - 1)
        return {
            "instr_index": rows.indexes(),
            "opcode": opcode,
            "baseopcode": opcode,
            "opname": opname,
            "baseopname": opname,
            "arg": arg,
            "oparg": arg,
            "argval_kind": KINDS.take(opcode),
            "label": label,
            "is_jump_target": label.is_valid(),
            "cache_info": caches.take(cache),
            "span": self.spans(),
        }

    def spans(self):
        names = "start_line0", "start_col", "end_line0", "end_col", "byte_start", "byte_len"
        return spans({name: self.instructions.array(name, INT) for name in names})

    @property
    def size(self):
        return len(self.instructions.columns.get("offset", ()))


def spans(column):
    """SPAN of its columns."""
    start = pa.StructArray.from_arrays([column["start_line0"], column["start_col"]], fields=list(POINT))
    end = pa.StructArray.from_arrays([column["end_line0"], column["end_col"]], fields=list(POINT))
    byte_span = pa.StructArray.from_arrays(
        [column["byte_start"], column["byte_len"]], fields=list(BYTE_SPAN), mask=column["byte_start"].is_null()
    )
    nowhere = pc.and_(
        pc.and_(column["start_line0"].is_null(), column["start_col"].is_null()),
        pc.and_(column["end_line0"].is_null(), column["end_col"].is_null()),
    )
    constants = [pa.repeat(pa.scalar(True), len(start)), pa.repeat(pa.scalar("byte", TEXT), len(start))]
    return pa.StructArray.from_arrays([start, end, *constants, byte_span], fields=list(SPAN), mask=nowhere)


def unit_record(unit, file_id, source):
    """The fields of a unit that are not lists of structs."""
    record = facts.unit_scalars(unit, file_id)
    record["unit_kind"] = facts.unit_kind(unit, source)
    record["attrs"] = [
        (name, str(record[name]))
        for name in ("parent_qualpath", "parent_co_name", "parent_firstlineno")
        if unit.parent is not None
    ]
    record["flags_detail"] = {name: bool(unit.code.co_flags & bit) for name, bit in facts.FLAGS.items()}
    return record


def json_array(texts):
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":"))


def error_records(error, warnings):
    records = [{"severity": "error", **error}] if error else []
    return records + [{"severity": "warning", "stage": "compile", **warning} for warning in warnings]


def failure(exception, stage, unit):
    """The error of a unit of which less is known than should be."""
    fields = facts.exception_fields(exception, stage)
    return {"severity": "error", **fields, "code_unit_id": unit["code_unit_id"]}


def transposed(records, kind):
    """Columns of `records`, a missing field being null; the lists of structs, which are built apart, are left out."""
    return {field.name: [record.get(field.name) for record in records] for field in kind if not _is_apart(field.type)}


def _is_apart(kind):
    return pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)


def extract(files, out, new_batch=Batch, name="extract_dis"):
    size = units = instructions = errors = unread = 0
    wall, cpu = time.perf_counter(), time.process_time()
    gc.disable()
    with pq.ParquetWriter(out, new_batch.schema, compression="zstd") as writer:
        batch = new_batch()
        for path, corpus_path in files:
            try:
                with open(path, "rb") as file:
                    raw = file.read()
            except OSError:
                unread += 1
                continue
            size += len(raw)
            more_units, more_errors = batch.add(corpus_path, raw)
            units, errors = units + more_units, errors + more_errors
            if batch.size >= ROW_GROUP_INSTRUCTIONS:
                instructions += batch.size
                writer.write_table(batch.table())
                batch = new_batch()
                gc.collect()
        instructions += batch.size
        if batch.files:
            writer.write_table(batch.table())
    return {
        "comparator": name,
        "interpreter": listing.interpreter(),
        "files": len(files),
        "unread": unread,
        "bytes": size,
        "units": units,
        "instructions": instructions,
        "errors": errors,
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "wall_seconds": round(time.perf_counter() - wall, 3),
        "parquet_bytes": os.path.getsize(out),
    }


def main(arguments):
    tuned = "--tuned" in arguments
    arguments = [argument for argument in arguments if argument != "--tuned"]
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    files = listing.read(arguments[0])
    return report(tuned, lambda: extract(files, arguments[1]))


def report(tuned, run):
    """Prints the figures that `run` gives, and is the exit code."""
    if tuned:
        facts.tune_dis()
    # Deep but valid source needs more C stack than some platforms give a main thread.
    threading.stack_size(256 << 20)
    figures = []
    thread = threading.Thread(target=lambda: figures.append(run()))
    thread.start()
    thread.join()
    if not figures:
        return 1
    print(json.dumps({**figures[0], "tuned": tuned}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
