"""What CPython's own `dis` says of a source: the judge of `--oracle`, run inside a worker.

`worker.py` loads this with the first request for a judgement and `bytefacts_facts::oracle` reads what it gives: a JSON object a
frame, {table: {column: [value of each row, ...]}}. A frame with the table `unit` (one row, a code object; units come in
pre-order over `co_consts`) also has the tables `consts`, `line_table` and `exception_table` of that unit. The frames after it
have its `instructions`, CHUNK rows each, so that memory is bounded whatever the size of a unit. Tables and columns are named
as in `bytecode_files_v1`; a dot leads into a struct. `stack_effect` and `stack_effect_jump` are no columns: they are
`dis.stack_effect` without and with the jump. Ids, spans in bytes and kinds of units are not here, since `dis` knows none.

Nothing is executed. Constants are written in canonical text: no address, no set order, `path` as the name of the file.
"""

import codecs
import dis
import itertools
import json
import types

CHUNK = 4096
FLAGS = {
    "is_optimized": 0x1,
    "is_newlocals": 0x2,
    "has_varargs": 0x4,
    "has_varkeywords": 0x8,
    "is_nested": 0x10,
    "is_generator": 0x20,
    "is_nofree": 0x40,
    "is_coroutine": 0x80,
    "is_iterable_coroutine": 0x100,
    "is_async_generator": 0x200,
}

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
# A lone surrogate becomes its six characters, the backslash escaped as JSON wants it.
codecs.register_error(
    "bytefacts", lambda error: ("".join(rf"\\u{ord(char):04x}" for char in error.object[error.start : error.end]), error.end)
)


def frames(code, path, adaptive):
    """The frames of a module's code, encoded."""
    pending = [(code, (), "<module>")]
    while pending:  # not recursion: code nests deeper than the stack
        code, code_path, qualname = pending.pop()
        texts = [canonical(value, path) for value in code.co_consts]
        yield encoded(unit_tables(code, code_path, qualname, path, texts))
        for chunk in instruction_chunks(code, texts, adaptive):
            yield encoded({"instructions": chunk})
        children = [value for value in code.co_consts if isinstance(value, types.CodeType)]
        for ordinal, child in reversed(list(enumerate(children))):
            pending.append((child, (*code_path, ordinal), f"{qualname}.{child.co_name}@{child.co_firstlineno}"))


def encoded(frame):
    return _encode(frame).encode("utf-8", "bytefacts")


def canonical(value, path):
    """`repr` without addresses, set order, machine paths, and without what `repr` refuses."""
    match value:
        case bool():
            return repr(value)
        case int():
            try:
                return repr(value)
            except ValueError:
                return hex(value)
        case tuple():
            inner = ", ".join(canonical(item, path) for item in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case frozenset() if value:
            items = sorted((type(item).__name__, canonical(item, path)) for item in value)
            return "frozenset({" + ", ".join(text for _, text in items) + "})"
        case types.CodeType():
            return f'<code object {value.co_name}, file "{path}", line {value.co_firstlineno or -1}>'
        case _:
            return repr(value)


def const_type(value):
    return {type(None): "none", types.CodeType: "code"}.get(type(value), type(value).__name__)


def unit_tables(code, code_path, qualname, path, texts):
    lines = list(dis.findlinestarts(code))
    entries = dis._parse_exception_table(code)
    unit = {
        "qualname": qualname,
        "code_path": code_path,
        "co_qualname": code.co_qualname,
        "co_filename": path,
        "name": code.co_name,
        "firstlineno1": code.co_firstlineno,
        "argcount": code.co_argcount,
        "posonlyargcount": code.co_posonlyargcount,
        "kwonlyargcount": code.co_kwonlyargcount,
        "nlocals": code.co_nlocals,
        "flags": code.co_flags,
        "stacksize": code.co_stacksize,
        "code_len": len(code.co_code),
        "varnames": code.co_varnames,
        "freevars": code.co_freevars,
        "cellvars": code.co_cellvars,
        "names": code.co_names,
    }
    unit |= {f"flags_detail.{name}": bool(code.co_flags & bit) for name, bit in FLAGS.items()}
    return {
        "unit": {column: [value] for column, value in unit.items()},
        "consts": {
            "const_index": list(range(len(texts))),
            "const_repr": texts,
            "const_type": [const_type(value) for value in code.co_consts],
        },
        "line_table": {
            "offset": [offset for offset, _ in lines],
            "line1": [line for _, line in lines],
            "line0": [line0(line) for _, line in lines],
        },
        "exception_table": {
            "exc_index": list(range(len(entries))),
            "start_offset": [entry.start for entry in entries],
            "end_offset": [entry.end for entry in entries],
            "target_offset": [entry.target for entry in entries],
            "depth": [entry.depth for entry in entries],
            "lasti": [entry.lasti for entry in entries],
        },
    }


def line0(line):
    return line - 1 if line else None


def argval_kind(op):
    kinds = {"const": "hasconst", "name": "hasname", "jump": "hasjump", "local": "haslocal", "free": "hasfree", "compare": "hascompare"}
    return next((kind for kind, table in kinds.items() if op in getattr(dis, table)), None)


OPCODES = range(len(dis._all_opname))
BASE = [dis._deoptop(op) for op in OPCODES]
KIND = [argval_kind(BASE[op]) for op in OPCODES]
CACHES = [tuple(dis._cache_format.get(dis._all_opname[BASE[op]], {}).items()) for op in OPCODES]
WORDS = [dis._get_cache_size(dis._all_opname[BASE[op]]) for op in OPCODES]


def instruction_chunks(code, texts, adaptive):
    rows = dis.get_instructions(code, adaptive=adaptive)
    values = [const_values(value, text) for value, text in zip(code.co_consts, texts)]
    start = 0
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield instruction_columns(chunk, start, code.co_code, texts, values)
        start += len(chunk)


def const_values(value, text):
    """`argval_int` and `argval_str` of a load of this constant."""
    number = value + 0 if isinstance(value, int) and -(1 << 63) <= value < 1 << 63 else None
    if isinstance(value, str):
        return number, value
    return number, None if value is None else text


def instruction_columns(chunk, start, co_code, texts, values):
    (opname, opcode, arg, argval, argrepr, offset, start_offset, starts_line, line, label, positions, _) = zip(*chunk)
    kinds = [KIND[op] for op in opcode]
    base = [BASE[op] for op in opcode]
    ends = [at + 2 + 2 * WORDS[op] for at, op in zip(offset, opcode)]
    argrepr, ints, strs, targets = list(argrepr), [], [], []
    for index, (kind, oparg, value) in enumerate(zip(kinds, arg, argval)):
        number = text = target = None
        match kind:
            case None:
                number = oparg
            case "const":
                number, text = values[oparg]
                argrepr[index] = texts[oparg]
            case "jump":
                number = target = value
            case _:
                text = value if type(value) is str else repr(value)
        ints.append(number)
        strs.append(text)
        targets.append(target)
    first_line, last_line, first_column, last_column = zip(*positions)
    return {
        "instr_index": list(range(start, start + len(chunk))),
        "offset": offset,
        "start_offset": start_offset,
        "end_offset": ends,
        "opname": opname,
        "baseopname": [dis.opname[op] for op in base],
        "opcode": opcode,
        "baseopcode": base,
        "arg": arg,
        "oparg": arg,
        "argval_kind": kinds,
        "argval_int": ints,
        "argval_str": strs,
        "argrepr": argrepr,
        "line_number": line,
        "starts_line": [int(flag) for flag in starts_line],
        "label": label,
        "is_jump_target": [mark is not None for mark in label],
        "jump_target": targets,
        "cache_info": [cache_info(op, co_code, at) for op, at in zip(opcode, offset)],
        "span.start.line0": [line0(number) for number in first_line],
        "span.start.col": first_column,
        "span.end.line0": [line0(number) for number in last_line],
        "span.end.col": last_column,
        "stack_effect": [stack_effect(op, oparg, False) for op, oparg in zip(base, arg)],
        "stack_effect_jump": [
            None if kind != "jump" else stack_effect(op, oparg, True) for op, oparg, kind in zip(base, arg, kinds)
        ],
    }


def cache_info(op, co_code, offset):
    """[[name, size, hex], ...], the bytes cut field by field.

    `Instruction.cache_info` itself is not used: CPython 3.13.0 cuts every field from the first word of the cache on. The bytes
    are those of `co_code` in adaptive mode too; there the interpreter has set counters in code that it has not even run.
    """
    fields, at = [], offset + 2
    for name, size in CACHES[op]:
        fields.append((name, size, co_code[at : at + 2 * size].hex()))
        at += 2 * size
    return fields


_effects = {}


def stack_effect(op, arg, jump):
    key = op, arg, jump
    effect = _effects.get(key)
    if effect is None:
        if len(_effects) > 100_000:  # arguments of large code are as many as they like
            _effects.clear()
        effect = _effects[key] = dis.stack_effect(op, arg, jump=jump)
    return effect


def make_linear():
    """Replaces the parts of `dis` that take quadratic time, or a `repr` for each load of a constant, by ones that answer the same."""
    for name in ("hasarg", "hasconst", "hasname", "hasjump", "hasjrel", "hasjabs", "hasexc", "haslocal", "hasfree", "hascompare"):
        setattr(dis, name, frozenset(getattr(dis, name)))
    dis.findlabels = jump_targets
    dis._get_const_info = lambda op, arg, consts: (consts[arg], "")


def jump_targets(code):
    return {dis._get_jump_target(op, arg, offset) for offset, _, op, arg in dis._unpack_opargs(code) if op in dis.hasjump}


make_linear()
