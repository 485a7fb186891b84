"""Digests of units and files: BLAKE2b-256 over a canonical encoding of their facts.

Which facts enter in which order is written down in `crates/facts/src/digest.rs`, how they are encoded in
`encoding.py`.
"""

import hashlib
from itertools import repeat
from operator import sub

from decode import LENGTHS
from effects import COUNTS
from encoding import NAMES, OPTIONAL, POSITION, SIGNED, UNSIGNED, data, text
from flow import PRODUCERS, USES
from graph import BLOCK_KINDS, EDGE_KINDS


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


def of_unit(unit, kind, consts, lines, exceptions, stream, encoded, flow):
    """`consts` are (type, text) with no path in the text, `lines` and `exceptions` are columns as `facts` gives them,
    and `encoded` are what the instructions' arguments stand for."""
    code = unit.code
    pieces = [text("bytefacts.unit.1"), UNSIGNED[len(unit.code_path)], *map(SIGNED.__getitem__, unit.code_path)]
    pieces += NAMES[kind], text(unit.qualname), NAMES[code.co_name], text(code.co_qualname)
    numbers = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_nlocals
    pieces += map(SIGNED.__getitem__, (*numbers, code.co_firstlineno, code.co_flags, code.co_stacksize))
    for names in (code.co_varnames, code.co_freevars, code.co_cellvars, code.co_names):
        for name in names:
            pieces += b"\1", NAMES[name]
        pieces.append(b"\0")
    pieces.append(data(code.co_code))
    pieces.append(UNSIGNED[len(consts)])
    for kind, constant in consts:
        pieces += NAMES[kind], text(constant)
    pieces.append(UNSIGNED[len(lines["offset"])])
    pieces += [SIGNED[offset] + OPTIONAL[line] for offset, line in zip(lines["offset"], lines["line1"])]
    pieces.append(UNSIGNED[len(exceptions["depth"])])
    pieces += [SIGNED[value] for entry in zip(*exceptions.values()) for value in entry]
    pieces.append(UNSIGNED[len(encoded)])
    if encoded:
        _instructions(pieces, stream, encoded)
    if flow is None:
        pieces.append(b"\0")
    else:
        pieces.append(b"\1")
        _flow(pieces, flow)
    return hex_digest(pieces)


# --- instructions ----------------------------------------------------------------------------------------------------

_LENGTHS = [SIGNED[length] for length in LENGTHS]


class _Heads(dict):
    """What an instruction's encoding begins with, by opcode and bits that say what follows."""

    def __missing__(self, key):
        op, bits = key
        found = self[key] = bytes((bits, op)) + _LENGTHS[op]
        return found


_HEADS = _Heads()


def _instructions(pieces, stream, encoded):
    optional, signed, heads = OPTIONAL, SIGNED, _HEADS
    if stream.starts is stream.offsets:
        prefixes = repeat(0)
    else:
        prefixes = map(sub, stream.offsets, stream.starts)
    for op, arg, label, target, prefix, starts, line, (first, last, col, end_col), value in zip(
        stream.ops, stream.args, stream.labels, stream.targets, prefixes, stream.starts_line, stream.lines,
        stream.positions, encoded,
    ):  # fmt: skip
        if arg is None:
            bits, rest = 0, b""
        else:
            bits, rest = 0x10, signed[arg]
        if target is not None:
            bits |= 0x20
            rest = signed[target] + rest
        if label is not None:
            bits |= 0x40
            rest = signed[label] + rest
        if prefix:
            bits |= 4
            rest += signed[prefix]
        if starts:
            bits |= 0x80
            rest += optional[line]
        if first != line:
            bits |= 2
            rest += optional[first]
        if last != first:
            bits |= 1
            rest += optional[last]
        pieces += heads[op, bits], rest, optional[col], optional[end_col], value


# --- flow ------------------------------------------------------------------------------------------------------------

_BLOCK_KINDS = [text(kind) for kind in BLOCK_KINDS]
_EDGE_KINDS = [text(kind) for kind in EDGE_KINDS]
_FLAGS = {False: b"\0", True: b"\1", None: b"\2"}
# The tags of kinds of edges and of producers are their positions in `flow.USES` and `flow.PRODUCERS`.
_EDGE_TAGS = [bytes(divmod(code, len(PRODUCERS))) for code in range(len(PRODUCERS) * len(USES))]


class _Stack(dict):
    """By depth before an instruction and number of its counts; -1 is no depth."""

    def __missing__(self, key):
        depth, number = key
        pops, pushes, operands = COUNTS[number]
        before = None if depth < 0 else depth
        after = None if depth < 0 else depth + pushes - pops
        found = self[key] = OPTIONAL[before] + OPTIONAL[after] + SIGNED[pops] + SIGNED[pushes] + SIGNED[operands]
        return found


_STACK = _Stack()


class _Variables(dict):
    def __missing__(self, var):
        found = self[var] = POSITION[var // 4 if var >= 0 else None]
        return found


_VARIABLES = _Variables()


class _Accesses(dict):
    def __missing__(self, key):
        what, var = key
        found = self[key] = bytes((what, var % 4)) + UNSIGNED[var // 4]
        return found


_ACCESSES = _Accesses()


def _flow(pieces, flow):
    unsigned, signed, position = UNSIGNED, SIGNED, POSITION
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
    pieces += [_STACK[key] for key in zip(flow.depths, flow.numbers)]
    edges, variables, tags = flow.edges, _VARIABLES, _EDGE_TAGS
    pieces.append(unsigned[len(edges.src)])
    for src, dst, code, number, var in zip(*edges):
        pieces += tags[code], signed[src], unsigned[dst], unsigned[number], variables[var]
    pieces.append(unsigned[len(flow.accesses)])
    for at, what, var, _ in flow.accesses:
        pieces += unsigned[at], _ACCESSES[what, var]
