"""Judge: what CPython 3.13 itself says of the bytecode of source files.

    python3.13 dis_facts.py < REQUESTS > RECORDS
    python3.13 dis_facts.py --selftest

Standard input has one JSON object a line:

    {"path": "/abs/file.py", "corpus_path": "pkg/file.py", "repo": null, "optimize": 0}

`path` is the file to read (`path_hex`, the hex of its bytes, for a name that is not UTF-8), `corpus_path` the text
that stands as `co_filename` (default: `path`); `repo` and `optimize` may be absent. For each line one JSON object is
written on one line, and flushed, in order; no file is kept in memory. All text is UTF-8, with lone surrogates written
`\\udXXX` (six characters) as the contract says. Columns are arrays of equal length (struct of arrays).

RECORD
    path, repo          as requested (`corpus_path`)
    file_id, file_sha256, source_bytes, source_lines
    encoding            codec name that CPython decodes the file with, null if there is none
    read_error          null, or {error_type, message}: then nothing below is there
    error               null, or {stage, error_type, message, line1, col, end_line1, end_col, source_line};
                        col = offset - 1; a line or offset that is None, 0 or -1 is null; `source_line` is CPython's
                        `text` without its line end, null if it gives none. Nothing is cut, however long
    warnings            [{error_type, message, line1}] in the order CPython raises them; not only SyntaxWarnings; line1
                        is null where the warning names another place than the file
    caches              [[[name, size, data_hex], ...], ...]: distinct values of `cache_info` in this file
    units               [UNIT], pre-order over co_consts; [] if there is an error

UNIT
    code_unit_id, parent_code_unit_id (null for the module), unit_kind
    code_id, qualname, co_qualname, co_filename, name, firstlineno1, argcount, posonlyargcount, kwonlyargcount,
    nlocals, flags, stacksize, code_len, varnames, freevars, cellvars, names, code_path
    parent_qualpath, parent_co_name, parent_firstlineno   (null for the module)
    flags_detail        [name, ...] of the flags that are set, contract's names and order
    consts              {const_repr, const_type, child_code_unit_id}; index = const_index; `consts_json` is the JSON
                        array of const_repr
    line_table          {offset, line1, line0}
    exception_table     {start_offset, end_offset, target_offset, depth, lasti}; index = exc_index
    instructions        {offset, start_offset, end_offset, opname, opcode, arg, argval_kind, argval_int, argval_str,
                        argrepr, line_number, starts_line (0/1), label, jump_target, cache (index into `caches`, null if
                        none), start_line0, start_col, end_line0, end_col, byte_start, byte_len};
                        index = instr_index; rows are those of `dis.get_instructions`, EXTENDED_ARG counted
    dis_error           only where `dis` raised: its text; then `instructions` is null

Left out, since for a code object that has not run they repeat a column: oparg = arg, baseopname = opname,
baseopcode = opcode, is_jump_target = (label is not null). `--selftest` checks that on real code.
"""

import gc
import json
import os
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import facts

STACK_BYTES = 256 << 20
"""Room for what CPython's parser and compiler accept; with too little, deep but valid source kills the process."""

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def file_record(raw, path, repo=None, optimize=0):
    """RECORD of the bytes of a file."""
    source = facts.Source(raw)
    code, error, warnings = facts.compile_source(source, path, optimize)
    caches = facts.CacheTable()
    file_id = facts.file_id(path, repo)
    units = [] if code is None else [unit_record(unit, file_id, source, caches) for unit in facts.walk(code)]
    return {
        "path": path,
        "repo": repo,
        "file_id": file_id,
        "file_sha256": source.sha256,
        "source_bytes": len(raw),
        "source_lines": source.line_count,
        "encoding": source.encoding,
        "read_error": None,
        "error": error,
        "warnings": warnings,
        "caches": caches.rows,
        "units": units,
    }


def unit_record(unit, file_id, source, caches):
    """UNIT of one code object."""
    code = unit.code
    consts, ints, strs = facts.constants(code)
    consts["child_code_unit_id"] = facts.child_ids(unit, file_id)
    record = facts.unit_scalars(unit, file_id)
    record["unit_kind"] = facts.unit_kind(unit, source)
    record["flags_detail"] = [name for name, bit in facts.FLAGS.items() if code.co_flags & bit]
    record["consts"] = consts
    record["line_table"] = facts.line_table(code)
    record["exception_table"] = facts.exception_table(code)
    try:
        record["instructions"] = facts.instructions(code, source, caches, consts["const_repr"], ints, strs)
    except Exception as exception:
        record["instructions"] = None
        record["dis_error"] = f"{type(exception).__name__}: {exception}"
    return record


def answer(request):
    """RECORD of one request."""
    location = bytes.fromhex(request["path_hex"]) if "path_hex" in request else request["path"]
    path = facts.utf8_text(request.get("corpus_path") or os.fsdecode(location))
    repo = request.get("repo")
    try:
        with open(location, "rb") as file:
            raw = file.read()
    except OSError as error:
        failure = {"error_type": type(error).__name__, "message": error.strerror}
        return {"path": path, "repo": repo, "file_id": facts.file_id(path, repo), "read_error": failure}
    return file_record(raw, path, repo, request.get("optimize", 0))


def serve():
    out = sys.stdout.buffer
    facts.tune_dis()
    gc.disable()  # columns and tuples make no cycles; scanning millions of them costs a third of the time
    for count, line in enumerate(sys.stdin.buffer, 1):
        if line.strip():
            out.write(_encode(answer(json.loads(line))).encode() + b"\n")
            out.flush()
        if count % 256 == 0:
            gc.collect()


def main(arguments):
    if arguments == ["--selftest"]:
        import selftest

        return in_large_stack(selftest.run)
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    return in_large_stack(serve)


def in_large_stack(function):
    """Exit code of `function`, run in a thread with room for the deepest source that CPython takes."""
    result = []

    def target():
        result.append(function() or 0)

    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    return result[0] if result else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
