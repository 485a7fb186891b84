"""What CPython itself says of code: the other side of the comparison in main.rs.

    judge.py library SHARD SHARDS     every file of the standard library and the programs below, one shard of them
    judge.py repr                     the canonical text of each constant that comes marshalled on standard input
    judge.py marshal COUNT            marshalled code of every COUNTth file, as material for mutations

Everything goes to standard output in frames: a length in four bytes, little endian, and that many bytes. A length of 0xFFFFFFFF
stands for a file that does not compile.
"""

import ast
import collections
import dis
import marshal
import os
import opcode
import re
import struct
import sys
import sysconfig
import types
import warnings

OUT = sys.stdout.buffer
FAILED = 0xFFFFFFFF
VERSIONS = (0, 1, 3, 4)

PROGRAMS = {
    "empty": "",
    "constants": r"""
x = [1, -1, 2**31, -2**31, 2**63 - 1, 2**63, -2**63, -2**63 - 1, 2**64, 10**100, 0x%s, ...]
y = [0.0, -0.0, 1e16, 1e15, 1e-5, 1e-4, 1e999, -1e999, 1e999 - 1e999, 5e-324, 1.7976931348623157e308, 123456.789]
z = [0j, -0j, 1j, 1e999j, -1e999j, 1 - 0j, -1 + 2j, 0.0 - 0j, -0.0 + 1j, 1e999j - 1e999j, 1e16 + 1e-7j]
s = ['', 'a', "it's", '"', '''"it's"''', '\t\r\n\\\x00\x7f\x80\xa0\xad\xff', '\u0378\u200b\u2028\ue000\ufffe', '\U0001f600\U000e0001\U0010ffff',
     '\ud800', 'a\udfffb\ud83d\ude00', 'e\u0301', '\u01c5\u3000']
b = [b'', b'\x00\xff\n\r\t\\', b"'", b'"', b'\'"']
t = [(), (1,), (1, (2, ('x', b'x', None, True, False, ...))), ((),)]
f = [q in {1, 'a', b'a', 2.5, None, True, (1, 2), ('b', (3,)), 'z' * 3} for q in x], x in {'b', 'a', 'it"s', "it's"}
def g(): return x in {}, x in {1}, {'one'} is {''}
""" % ("f" * 4000),
    "many constants": "def f():\n  return [" + ", ".join(f"{i}.5, 'n{i}', name_{i}.attr_{i}" for i in range(34000)) + "]\n",
    "long jumps": "def f(x):\n  while x:\n" + "".join(f"    if x.a{i % 300}: x = x + {i}\n" for i in range(9000)) + "    else:\n      pass\n",
    "wide lines": "x = (" + " " * 300 + "a +" + "\n" * 40000 + " " * 200 + "b)\n" + "if x:\n\n\n pass\n" * 3 + "é = 'ünï' + 'ß'; " * 20,
    "superinstructions": """
def f(a, b, c):
    a, b = b, a
    c = a; d = c
    (d, e), *g = a + b, c
    for i in a: i; i = b
    with a as x, b as y: return x, y, lambda q, *r, s=1, **t: (q, r, s, t, a)
""",
    "type parameters": """
type A = int
type B[T] = list[T]
def f[T: int, U: (int, str), *V = int, **P = [1], W = str](x: T) -> U:
    class C[Q: 'str' = int](list[Q]):
        type D = Q
        def m(self): return __class__, lambda: [a for a in x]
        z = (a for a in x)
    async def h(): return {q async for q in x}, [await q for q in x], (q async for q in x)
    return C
class E(f.C): y = [i for i in range(3)]; d = {k: v for k, v in y}; s = {lambda: k for k in y}
""",
    "control flow": """
async def a(x):
    async with x as y, y: await y
    async for i in x:
        try: yield i
        except* (ValueError, TypeError) as e: raise
        except* KeyError: continue
        finally: del i
def b(x):
    match x:
        case {'a': [1, *rest], **others} if rest: return others
        case C(p, q=r) | [C(p), r]: yield from p
        case str() | None | -1.5 | 'lit': pass
    try:
        try: return f'{x!r:>{10}} {x=} {x!s}{x!a}'
        finally:
            with open(x) as f, f: raise x from f
    except (A, B) as e: assert e, 'message'
    except: pass
    else: x[1:2], x[::3], x[1:2:3] = 1, 2, 3
    global g; nonlocal_ = g; g: int = 3
    super().b; super(C, x).b(); x.m(*x, **x); print(*x, sep=''); x @= -~+x; not x; x is not x; x not in x; a < b < c
""".replace("nonlocal_", "local"),
    "deep lambdas": "f = " + "lambda: " * 400 + "0",
    "deep tuple": "t = " + "(" * 60 + "1" + ",)" * 60,
    "many children": "x = [" + ", ".join("lambda: (yield)" for _ in range(600)) + "]",
}


def frame(payload):
    OUT.write(struct.pack("<I", len(payload)))
    OUT.write(payload)


def canonical(value):
    """The text that the contract gives a constant."""
    kind = type(value)
    if kind is int:
        text = repr(value)
        return text if len(text.lstrip("-")) <= 4300 else hex(value)
    if kind is tuple:
        inner = ", ".join(map(canonical, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if kind is frozenset:
        inner = ", ".join(text for _, text in sorted((type(item).__name__, canonical(item)) for item in value))
        return f"frozenset({{{inner}}})" if value else "frozenset()"
    if kind is types.CodeType:
        return f'<code object {value.co_name}, file "{value.co_filename}", line {value.co_firstlineno or -1}>'
    return repr(value)


def plain(text):
    return text.encode("utf-8", "backslashreplace").decode()


def address_free(text):
    return re.sub(r"(<code object \S+(?: parameters of \S+)?) at 0x[0-9a-f]+, file", r"\1, file", text)


def reshaped(value):
    """Whether the canonical text of a constant is more than its `repr` without addresses."""
    if type(value) is tuple:
        return any(map(reshaped, value))
    return type(value) is frozenset or (type(value) is int and abs(value) >= 10**4300)


class Texts:
    """`repr` and canonical text of each constant of one code object, the one checked against the other."""

    def __init__(self, consts):
        self.reprs = list(map(repr, consts))
        self.texts = list(map(canonical, consts))
        for value, own, text in zip(consts, self.reprs, self.texts):
            assert address_free(own) == text or reshaped(value), (own, text)


def optional(value):
    return "-" if value is None else str(value)


def argval_text(instruction, deop, texts):
    arg = instruction.arg
    if arg is None:
        return "-"
    value = instruction.argval
    if deop in opcode.hasconst:
        return f"const {texts.texts[arg]}"
    if deop in opcode.hasname:
        return f"name {plain(value)}"
    if deop in opcode.haslocal:
        return "pair {} {}".format(*map(plain, value)) if isinstance(value, tuple) else f"local {plain(value)}"
    if deop in opcode.hasfree:
        return f"free {plain(value)}"
    if deop in opcode.hasjump:
        return f"jump {value}"
    if deop in opcode.hascompare:
        return f"compare {value}"
    # For CONVERT_VALUE `dis` gives the function itself.
    return f"raw {arg if deop == dis.CONVERT_VALUE else value}"


def instruction_text(instruction, code, texts):
    deop = instruction.baseopcode
    argrepr = instruction.argrepr
    if deop in opcode.hasconst:
        assert argrepr == texts.reprs[instruction.arg]
        argrepr = texts.texts[instruction.arg]
    caches = ""
    if instruction.cache_info:
        # CPython 3.13.0 gives each field the bytes of the first (`code[offset + 2 : ...]` for all), so only the names, the
        # sizes and the first field are its own.
        at = instruction.cache_offset
        for name, size, data in instruction.cache_info:
            field = code.co_code[at : at + 2 * size]
            assert at > instruction.cache_offset or field == data
            caches += f" {name}:{size}:{field.hex()}"
            at += 2 * size
        assert at == instruction.end_offset
    positions = instruction.positions
    return (
        f"{instruction.offset} {instruction.start_offset} {instruction.end_offset} {instruction.opname} {instruction.opcode}"
        f" {instruction.baseopname} {deop} {optional(instruction.arg)}|{argval_text(instruction, deop, texts)}|{plain(argrepr)}|"
        f"{optional(instruction.line_number)} {int(instruction.starts_line)} {optional(instruction.label)}"
        f" {int(instruction.is_jump_target)} {optional(instruction.jump_target)}"
        f" {optional(positions[0])} {optional(positions[1])} {optional(positions[2])} {optional(positions[3])}|{caches}"
    )


def scopes(source):
    """The kinds of scope that the syntax tree has for each name and first line."""
    found = collections.defaultdict(set)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                found[node.name, line].add("class" if isinstance(node, ast.ClassDef) else "function")
            case ast.TypeAlias():
                found[node.name.id, node.lineno].add("type_alias")
            case ast.TypeVar() | ast.ParamSpec() | ast.TypeVarTuple():
                if getattr(node, "bound", None):
                    kind = "type_var_constraints" if isinstance(node.bound, ast.Tuple) else "type_var_bound"
                    found[node.name, node.bound.lineno].add(kind)
                if node.default_value:
                    found[node.name, node.default_value.lineno].add("type_param_default")
    return found


def unit_kinds(code, parent, found):
    """What the code may have been compiled from: one kind, but where two scopes of one name start on one line."""
    if parent is None:
        return "module"
    if code.co_name.startswith("<generic parameters of "):
        return "type_params"
    if code.co_name.startswith("<"):
        return code.co_name[1:-1]
    return "/".join(sorted(found[code.co_name, code.co_firstlineno]))


def write_unit(lines, code, parent, path, qualpath, found):
    texts = Texts(code.co_consts)
    names = lambda group: " ".join(plain(name) for name in group)
    lines.append(f"unit {plain(qualpath)} {'.'.join(map(str, path))} {unit_kinds(code, parent, found)}")
    lines.append(f"names {plain(code.co_name)}|{plain(code.co_qualname)}|{plain(code.co_filename)}")
    lines.append(
        f"counts {code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_nlocals} {code.co_stacksize}"
        f" {code.co_flags} {code.co_firstlineno} {len(code.co_code)}"
    )
    lines.append(f"variables {names(code.co_varnames)}|{names(code.co_cellvars)}|{names(code.co_freevars)}|{names(code.co_names)}")
    lines.extend(f"const {type(value).__name__} {text}" for value, text in zip(code.co_consts, texts.texts))
    lines.extend(f"line {offset} {optional(line)}" for offset, line in dis.findlinestarts(code))
    for entry in dis._parse_exception_table(code):
        lines.append(f"exception {entry.start} {entry.end} {entry.target} {entry.depth} {int(entry.lasti)}")
    # Positions of every code unit, those of the caches included.
    lines.append("positions " + ";".join(",".join(map(optional, place)) for place in code.co_positions()))
    for instruction in dis.get_instructions(code, show_caches=False, adaptive=False):
        lines.append(instruction_text(instruction, code, texts))
    children = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    for ordinal, child in enumerate(children):
        write_unit(lines, child, code, (*path, ordinal), f"{qualpath}.{child.co_name}@{child.co_firstlineno}", found)


def library():
    root = sysconfig.get_path("stdlib")
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in ("site-packages", "__pycache__"))
        for name in sorted(files):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                yield os.path.relpath(path, root), path


def sources():
    for name, source in PROGRAMS.items():
        yield f"<{name}>", source.encode("utf-8", "surrogatepass")
    for name, path in library():
        with open(path, "rb") as file:
            yield name, file.read()


def compiled(name, source, optimize):
    try:
        return compile(source, name, "exec", dont_inherit=True, optimize=optimize)
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError):
        return None


def judge_library(shard, shards):
    for index, (name, source) in enumerate(sources()):
        if index % shards != shard:
            continue
        # Each file as it is run; every fifth without assertions and docstrings as well.
        for optimize in (0, 2) if index % 5 == 0 else (0,):
            frame(name.encode())
            code = compiled(name, source, optimize)
            if code is None:
                OUT.write(struct.pack("<I", FAILED))
                continue
            frame(marshal.dumps(code, 2))
            for version in VERSIONS:
                frame(marshal.dumps(code, version))
            lines = []
            write_unit(lines, code, None, (), "<module>", scopes(source))
            frame("\n".join(lines).encode())


def judge_repr():
    source = sys.stdin.buffer
    while header := source.read(4):
        value = marshal.loads(source.read(struct.unpack("<I", header)[0]))
        frame(canonical(value).encode("utf-8", "backslashreplace"))


def judge_marshal(count):
    for index, (name, source) in enumerate(sources()):
        if index % count == 0 and len(source) < 20000 and (code := compiled(name, source, 0)):
            for version in (2, 4):
                frame(marshal.dumps(code, version))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(100000)
    # `dis` writes constants with `repr`, which by default raises on an int of more than 4,300 digits.
    sys.set_int_max_str_digits(0)
    match sys.argv[1:]:
        case ["library", shard, shards]:
            judge_library(int(shard), int(shards))
        case ["repr"]:
            judge_repr()
        case ["marshal", count]:
            judge_marshal(int(count))
    OUT.flush()
