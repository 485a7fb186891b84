"""What `dis` says of every file below a folder, in the columns of the contract: one line of JSON a file.

A line is [path, units], a unit [qualpath, columns of its instructions, line starts, constants]. Usage: expected.py FOLDER EVERY_NTH
"""

import dis
import json
import marshal
import os
import sys
import types
import warnings

KINDS = {"const": dis.hasconst, "name": dis.hasname, "local": dis.haslocal, "free": dis.hasfree, "compare": dis.hascompare, "jump": dis.hasjump}


def escape(text):
    return "".join(f"\\u{ord(c):x}" if "\ud800" <= c <= "\udfff" else c for c in text)


def canonical(value, path):
    if isinstance(value, types.CodeType):
        return f'<code object {value.co_name}, file "{path}", line {value.co_firstlineno or -1}>'
    if isinstance(value, tuple):
        items = [canonical(item, path) for item in value]
        return "(" + ", ".join(items) + (",)" if len(items) == 1 else ")")
    if isinstance(value, frozenset):
        items = [text for _, text in sorted((type(item).__name__, canonical(item, path)) for item in value)]
        return "frozenset({" + ", ".join(items) + "})" if items else "frozenset()"
    try:
        return repr(value)
    except ValueError:
        return hex(value)


def argval(instruction, path):
    """Kind, int, str and repr, by the contract's table."""
    base, arg, value = instruction.baseopcode, instruction.arg, instruction.argval
    kind = next((kind for kind, opcodes in KINDS.items() if base in opcodes), None)
    if arg is None:
        return None, None, None, instruction.argrepr
    if kind == "const":
        number = int(value) if isinstance(value, (bool, int)) and -(2**63) <= value < 2**63 else None
        text = escape(value) if isinstance(value, str) else None if value is None else canonical(value, path)
        return kind, number, text, canonical(value, path)
    if kind == "jump":
        return kind, value, None, instruction.argrepr
    if kind == "compare":
        return kind, None, value.removeprefix("bool(").removesuffix(")"), instruction.argrepr
    if kind == "local" and isinstance(value, tuple):
        return kind, None, repr(value), instruction.argrepr
    if kind is not None:
        return kind, None, value, instruction.argrepr
    return None, arg, None, instruction.argrepr


def caches(instruction, code):
    """The inline cache in order; the `cache_info` of CPython 3.13.0 itself shows wrong bytes after the first field."""
    at, fields = instruction.offset + 2, []
    for name, size, _ in instruction.cache_info or ():
        fields.append([name, size, code.co_code[at : at + 2 * size].hex()])
        at += 2 * size
    return fields


def row(index, instruction, code, path):
    positions = instruction.positions
    place = [positions.lineno, positions.col_offset, positions.end_lineno, positions.end_col_offset]
    target = instruction.argval if instruction.baseopcode in dis.hasjump else None
    return [
        index, instruction.offset, instruction.start_offset, instruction.end_offset, instruction.opname, instruction.baseopname,
        instruction.opcode, instruction.baseopcode, instruction.arg, *argval(instruction, path), instruction.line_number,
        int(instruction.starts_line), instruction.label, instruction.is_jump_target, target, caches(instruction, code), place,
    ]


def units(code, path, qualpath="<module>"):
    rows = [row(index, instruction, code, path) for index, instruction in enumerate(dis.get_instructions(code))]
    consts = [canonical(value, path) for value in code.co_consts]
    yield [qualpath, rows, [list(start) for start in dis.findlinestarts(code)], consts]
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from units(value, path, f"{qualpath}.{value.co_name}@{value.co_firstlineno}")


warnings.simplefilter("ignore")
root, nth = sys.argv[1], int(sys.argv[2])
paths = []
for folder, folders, names in os.walk(root):
    folders[:] = [name for name in folders if name not in ("site-packages", "__pycache__")]
    paths += [os.path.join(folder, name) for name in names if name.endswith(".py")]
for path in sorted(paths)[::nth]:
    with open(path, "rb") as file:
        source = file.read()
    path = os.path.relpath(path, root)
    try:
        code = compile(source, "<unit>", "exec", dont_inherit=True, optimize=0)
    except Exception:
        continue
    print(json.dumps([path, list(units(marshal.loads(marshal.dumps(code, 2)), path))]))
