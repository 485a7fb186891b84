"""Digests of units and files: BLAKE2b-256 over a canonical encoding of their facts.

The encoding is that of `crates/facts/src/digest.rs`: unsigned numbers in LEB128, signed ones zigzag before that, a missing
number 0 and a present one its zigzag code plus one, texts and lists with their length in front.
"""

import dis
import hashlib

from effects import COUNTS
from extract_dis import facts
from flow import BLOCK_KINDS, EDGE_KINDS


class _Unsigned(dict):
    def __missing__(self, number):
        out, rest = bytearray(), number
        while rest >= 0x80:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
        found = self[number] = bytes(out)
        return found


UNSIGNED = _Unsigned()


class _Signed(dict):
    def __missing__(self, number):
        found = self[number] = UNSIGNED[number << 1 if number >= 0 else (-number << 1) - 1]
        return found


SIGNED = _Signed()


class _Optional(dict):
    def __missing__(self, number):
        found = self[number] = UNSIGNED[0 if number is None else (number << 1 if number >= 0 else (-number << 1) - 1) + 1]
        return found


OPTIONAL = _Optional()


class _Position(dict):
    def __missing__(self, number):
        found = self[number] = UNSIGNED[0 if number is None else number + 1]
        return found


POSITION = _Position()


def data(value):
    return UNSIGNED[len(value)] + value


def text(value):
    return data(value.encode("utf-8", "surrogatepass"))


def hex_digest(pieces):
    return hashlib.blake2b(b"".join(pieces), digest_size=32).hexdigest()


def of_file(sha256, units, errors):
    """`errors` are (position of the unit or None, record)."""
    pieces = [text("bytefacts.file.1"), b"\1", bytes.fromhex(sha256), UNSIGNED[len(units)], *map(bytes.fromhex, units)]
    pieces.append(UNSIGNED[len(errors)])
    for unit, error in errors:
        pieces += OPTIONAL[unit], text(error["stage"]), b"\1" if error["severity"] == "warning" else b"\0"
        pieces.append(text(error["error_type"]))
        pieces += [OPTIONAL[error.get(place)] for place in ("line1", "col", "end_line1", "end_col")]
    return hex_digest(pieces)


def of_unit(unit, kind, consts, lines, exceptions, columns, positions, flow):
    """`consts` are (type, text) with no path in the text; the other arguments are columns as `facts` and `flow` give them."""
    code = unit.code
    pieces = [text("bytefacts.unit.1"), UNSIGNED[len(unit.code_path)], *map(SIGNED.__getitem__, unit.code_path)]
    pieces += text(kind), text(unit.qualname), text(code.co_name), text(code.co_qualname)
    numbers = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_nlocals
    pieces += map(SIGNED.__getitem__, (*numbers, code.co_firstlineno, code.co_flags, code.co_stacksize))
    for names in (code.co_varnames, code.co_freevars, code.co_cellvars, code.co_names):
        pieces += [b"\1" + text(name) for name in names]
        pieces.append(b"\0")
    pieces.append(data(code.co_code))
    pieces.append(UNSIGNED[len(consts)])
    pieces += [text(part) for const in consts for part in const]
    pieces.append(UNSIGNED[len(lines["offset"])])
    pieces += [SIGNED[offset] + OPTIONAL[line] for offset, line in zip(lines["offset"], lines["line1"])]
    pieces.append(UNSIGNED[len(exceptions["depth"])])
    pieces += [SIGNED[int(value)] for entry in zip(*exceptions.values()) for value in entry]
    pieces.append(UNSIGNED[len(columns["offset"])])
    if columns["offset"]:
        _instructions(pieces, code, columns, positions)
    if flow is None:
        pieces.append(b"\0")
    else:
        pieces.append(b"\1")
        _flow(pieces, flow)
    return hex_digest(pieces)


# --- instructions ----------------------------------------------------------------------------------------------------

_LENGTHS = [SIGNED[2 + 2 * words] for words in facts.CACHE_WORDS]
_PAIRS = frozenset(dis.opmap[name] for name in ("LOAD_FAST_LOAD_FAST", "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST"))
_TAGS = {None: b"\1", "const": b"\2", "name": b"\3", "local": b"\4", "free": b"\6", "compare": b"\7", "jump": b"\x08"}


class _Heads(dict):
    """What an instruction's encoding begins with, by opcode and bits that say what follows."""

    def __missing__(self, key):
        op, bits = key
        found = self[key] = bytes((bits, op)) + _LENGTHS[op]
        return found


_HEADS = _Heads()


def _instructions(pieces, code, columns, positions):
    optional, signed, heads = OPTIONAL, SIGNED, _HEADS
    arguments = _Arguments(code)
    names = "opcode", "arg", "label", "jump_target", "offset", "start_offset", "starts_line", "line_number"
    for op, arg, label, jump, offset, start, starts, line, (first, last, col, end_col) in zip(
        *map(columns.get, names), positions
    ):
        bits = starts << 7
        rest = b""
        if label is not None:
            bits |= 0x40
            rest = signed[label]
        if jump is not None:
            bits |= 0x20
            rest += signed[jump]
        if arg is not None:
            bits |= 0x10
            rest += signed[arg]
        if start != offset:
            bits |= 4
            rest += signed[offset - start]
        if starts:
            rest += optional[line]
        if first != line:
            bits |= 2
            rest += optional[first]
        if last != first:
            bits |= 1
            rest += optional[last]
        value = signed[jump] if jump is not None else b""
        pieces += heads[op, bits], rest, optional[col], optional[end_col], arguments[op, arg], value


class _Arguments(dict):
    """What an argument stands for, by opcode and oparg; of a jump without its target."""

    def __init__(self, code):
        self._code = code

    def __missing__(self, key):
        found = self[key] = self._encoded(*key)
        return found

    def _encoded(self, op, arg):
        if arg is None:
            return b"\0"
        kind = facts.ARGVAL_KIND[op]
        tag = _TAGS[kind]
        code = self._code
        if kind is None:
            return tag + SIGNED[arg]
        if kind == "const":
            return tag + UNSIGNED[arg]
        if kind == "name":
            return tag + text(code.co_names[arg >> _NAME_SHIFTS.get(op, 0)])
        if op in _PAIRS:
            return b"\5" + text(code._varname_from_oparg(arg >> 4)) + text(code._varname_from_oparg(arg & 15))
        if kind == "compare":
            return tag + text(dis.cmp_op[arg >> 5])
        if kind == "jump":
            return tag
        return tag + text(code._varname_from_oparg(arg))


_NAME_SHIFTS = {dis.opmap["LOAD_GLOBAL"]: 1, dis.opmap["LOAD_ATTR"]: 1, dis.opmap["LOAD_SUPER_ATTR"]: 2}


# --- flow ------------------------------------------------------------------------------------------------------------

_BLOCK_KINDS = [text(kind) for kind in BLOCK_KINDS]
_EDGE_KINDS = [text(kind) for kind in EDGE_KINDS]
_FLAGS = {False: b"\0", True: b"\1", None: b"\2"}
# The tags of kinds of edges and of producers are their positions in `flow.USES` and `flow.PRODUCERS`.
_EDGE_TAGS = [bytes(divmod(code, 4)) for code in range(4 * 5)]


class _Counts(dict):
    def __missing__(self, number):
        found = self[number] = b"".join(map(SIGNED.__getitem__, COUNTS[number]))
        return found


_COUNTS = _Counts()


class _Accesses(dict):
    def __missing__(self, key):
        what, var = key
        found = self[key] = bytes((what, var % 4)) + UNSIGNED[var // 4]
        return found


_ACCESSES = _Accesses()


def _flow(pieces, flow):
    unsigned, signed, optional, position = UNSIGNED, SIGNED, OPTIONAL, POSITION
    graph = flow.graph
    pieces += signed[flow.max_depth], unsigned[len(graph.firsts)]
    for start, end, kind, is_exit, reachable, depth, dominator in zip(
        graph.starts, graph.ends, graph.kinds, graph.exits, graph.reachable, graph.loop_depths, graph.dominators
    ):
        pieces += signed[start], signed[end], _BLOCK_KINDS[kind], _FLAGS[is_exit], _FLAGS[reachable]
        pieces += unsigned[depth or 0], position[dominator]
    pieces.append(unsigned[len(graph.edges)])
    for src, dst, kind, polarity, condition, entry, back in graph.edges:
        pieces += unsigned[src], unsigned[dst], _EDGE_KINDS[kind], _FLAGS[polarity], position[condition]
        pieces += position[entry], _FLAGS[back]
    for depth, effect in zip(flow.depths, flow.effects):
        if depth >= 0:
            pieces += optional[depth], optional[depth + effect.net], _COUNTS[effect.number]
        else:
            pieces += b"\0\0", _COUNTS[effect.number]
    edges = flow.edges
    pieces.append(unsigned[len(edges.src)])
    for src, dst, code, number, var in zip(*edges):
        pieces += _EDGE_TAGS[code], signed[src], unsigned[dst], unsigned[number], position[var // 4 if var >= 0 else None]
    pieces.append(unsigned[len(flow.accesses)])
    for at, what, var, _ in flow.accesses:
        pieces += unsigned[at], _ACCESSES[what, var]
