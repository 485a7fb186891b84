"""Comparator: the same facts as `extract_dis.py`, written the plain way, a dict an instruction.

    venv/bin/python extract_rows.py LISTING OUT.parquet

This is how a script around `dis` is usually written: nested dicts and lists, `pyarrow.Table.from_pylist` per batch of
files. Columns, schema and figures are those of `extract_dis.py`, which says how far Python can be driven.
"""

import json
import os
import sys
import threading
import time

from extract_dis import ROOT_ATTRS, ROW_GROUP_INSTRUCTIONS, SCHEMA, facts, listing, pa, pq

dis = facts.dis


def file_row(path, raw):
    source = facts.Source(raw)
    code, error, warnings = facts.compile_source(source, path)
    file_id = facts.file_id(path)
    errors = [{**error, "severity": "error"}] if error else []
    errors += [{**warning, "severity": "warning", "stage": "compile"} for warning in warnings]
    return {
        "path": path,
        "file_id": file_id,
        "file_sha256": source.sha256,
        "code_objects": [] if code is None else [unit_row(unit, file_id, source, errors) for unit in facts.walk(code)],
        "errors": errors,
        "attrs": ROOT_ATTRS,
        "source_bytes": len(raw),
        "source_lines": source.line_count,
    }


def unit_row(unit, file_id, source, errors):
    code = unit.code
    row = facts.unit_scalars(unit, file_id)
    texts = [facts.canonical(value) for value in code.co_consts]
    parent = [(name, str(row[name])) for name in ("parent_qualpath", "parent_co_name", "parent_firstlineno")]
    row["attrs"] = parent if unit.parent else []
    row["flags_detail"] = {name: bool(code.co_flags & bit) for name, bit in facts.FLAGS.items()}
    row["consts"] = [
        {"const_index": index, "const_repr": text, "const_type": facts.const_type(value), "child_code_unit_id": child}
        for index, (value, text, child) in enumerate(zip(code.co_consts, texts, facts.child_ids(unit, file_id)))
    ]
    row["consts_json"] = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
    row["unit_kind"] = facts.unit_kind(unit, source)
    row["line_table"] = [
        {"offset": offset, "line1": line, "line0": line - 1 if line else None}
        for offset, line in dis.findlinestarts(code)
    ]
    row["exception_table"] = [
        {
            "exc_index": index,
            "start_offset": entry.start,
            "end_offset": entry.end,
            "target_offset": entry.target,
            "depth": entry.depth,
            "lasti": entry.lasti,
        }
        for index, entry in enumerate(dis._parse_exception_table(code))
    ]
    try:
        stream = list(dis.get_instructions(code))
    except Exception as exception:  # `dis` gives up on a huge int
        failure = facts.exception_fields(exception, "disassembly")
        errors.append({**failure, "severity": "error", "code_unit_id": row["code_unit_id"]})
        stream = []
    row["instructions"] = [instruction_row(index, one, code, source) for index, one in enumerate(stream)]
    return row


def instruction_row(index, one, code, source):
    kind = facts.ARGVAL_KIND[one.opcode]
    argval_int, argval_str, argrepr = None, None, one.argrepr
    if kind == "const":
        argrepr = facts.canonical(one.argval)
        if isinstance(one.argval, int) and -(1 << 63) <= one.argval < 1 << 63:
            argval_int = int(one.argval)
        if isinstance(one.argval, str):
            argval_str = facts.utf8_text(one.argval)
        elif one.argval is not None:
            argval_str = argrepr
    elif kind == "jump":
        argval_int = one.argval
    elif kind is None:
        argval_int = one.arg
    else:
        argval_str = one.argval if isinstance(one.argval, str) else repr(one.argval)
    caches, at = [], one.cache_offset
    for name, size in facts.CACHE_LAYOUT[one.opcode]:
        caches.append({"name": name, "size": size, "data_hex": code.co_code[at : at + 2 * size].hex()})
        at += 2 * size
    return {
        "instr_index": index,
        "offset": one.offset,
        "start_offset": one.start_offset,
        "end_offset": one.end_offset,
        "opname": one.opname,
        "baseopname": one.baseopname,
        "opcode": one.opcode,
        "baseopcode": one.baseopcode,
        "arg": one.arg,
        "oparg": one.oparg,
        "argval_kind": kind,
        "argval_int": argval_int,
        "argval_str": argval_str,
        "argrepr": argrepr,
        "line_number": one.line_number,
        "starts_line": int(one.starts_line),
        "label": one.label,
        "is_jump_target": one.is_jump_target,
        "jump_target": one.jump_target,
        "cache_info": caches,
        "span": span_row(one.positions, source),
    }


def span_row(positions, source):
    line, end_line, column, end_column = positions
    if line is None and end_line is None and column is None and end_column is None:
        return None
    start, length = source.byte_span(positions)
    return {
        "start": {"line0": line - 1 if line else None, "col": column},
        "end": {"line0": end_line - 1 if end_line else None, "col": end_column},
        "end_exclusive": True,
        "col_unit": "byte",
        "byte_span": None if start is None else {"byte_start": start, "byte_len": length},
    }


def extract(files, out):
    size = units = instructions = errors = unread = pending = 0
    rows = []
    wall, cpu = time.perf_counter(), time.process_time()
    with pq.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        for path, name in files:
            try:
                with open(path, "rb") as file:
                    raw = file.read()
            except OSError:
                unread += 1
                continue
            row = file_row(name, raw)
            rows.append(row)
            size += len(raw)
            units += len(row["code_objects"])
            errors += len(row["errors"])
            pending += sum(len(unit["instructions"]) for unit in row["code_objects"])
            if pending >= ROW_GROUP_INSTRUCTIONS:
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                instructions, pending, rows = instructions + pending, 0, []
        instructions += pending
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return {
        "comparator": "extract_rows",
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
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    files = listing.read(arguments[0])
    threading.stack_size(256 << 20)
    thread = threading.Thread(target=lambda: print(json.dumps(extract(files, arguments[1]))))
    thread.start()
    thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
