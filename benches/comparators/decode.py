"""The instructions of a code object as columns, by `dis.get_instructions` or from the bytes themselves.

Only what differs from instruction to instruction becomes a column here. What the opcode alone says (its name, the kind
of its argument, its length, its inline caches, which `co_code` always has zeroed) is added once a row group, in Arrow.
"""

import dis
from itertools import compress
from typing import NamedTuple

from effects import EFFECTS
from encoding import NAMES, SIGNED, UNSIGNED
from extract_dis import facts

EXTENDED_ARG = dis.EXTENDED_ARG
_JUMPS = bytes(op in dis.hasjump for op in range(256))
_PREFIX = bytes(op == EXTENDED_ARG for op in range(256))
_HAS_ARG = [op in dis.hasarg for op in range(256)]
LENGTHS = [2 + 2 * words for words in facts.CACHE_WORDS]
_NAMES = dis.opmap
_BACK = {_NAMES[name] for name in ("JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")}
_PAIRS = {_NAMES[name] for name in ("LOAD_FAST_LOAD_FAST", "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST")}
_SHIFTS = {_NAMES["LOAD_GLOBAL"]: 1, _NAMES["LOAD_ATTR"]: 1, _NAMES["LOAD_SUPER_ATTR"]: 2}
_SUFFIXES = {op: " + NULL" if op == _NAMES["LOAD_GLOBAL"] else " + NULL|self" for op in _SHIFTS}


class Stream(NamedTuple):
    """Columns of a code object's instructions."""

    ops: bytes
    args: list
    offsets: list
    starts: list
    """Offsets of the first EXTENDED_ARG."""
    lines: list
    starts_line: bytes
    labels: list
    targets: list
    """Of jumps; None for all others."""
    positions: list
    """`dis.Positions`, or tuples like them."""


def by_dis(code, lines):
    """As a user of `dis` does it."""
    rows = zip(*dis.get_instructions(code))
    _, ops, args, values, _, offsets, starts, starts_line, numbers, labels, positions, _ = rows
    ops = bytes(ops)
    targets = [None] * len(ops)
    for at in _places(ops, _JUMPS):
        targets[at] = values[at]
    return Stream(ops, args, offsets, starts, numbers, bytes(starts_line), labels, targets, positions)


def by_bytes(code, lines):
    """The same from `co_code`, where a cache is zeros and no instruction has opcode 0; `lines` are the line starts."""
    raw = code.co_code
    every = raw[::2]
    ops = every.translate(None, b"\0")
    offsets = list(compress(range(0, len(raw), 2), every))
    args = [arg if _HAS_ARG[op] else None for op, arg in zip(ops, compress(raw[1::2], every))]
    starts = offsets
    if EXTENDED_ARG in ops:
        starts = offsets[:]
        _fold(ops, args, starts)
    count = len(ops)
    targets, labels = [None] * count, [None] * count
    jumps = _places(ops, _JUMPS)
    if jumps:
        for at in jumps:
            op = ops[at]
            distance = 2 * args[at]
            targets[at] = offsets[at] + LENGTHS[op] + (-distance if op in _BACK else distance)
        place = dict(zip(offsets, range(count)))
        for label, target in enumerate(sorted({targets[at] for at in jumps}), 1):
            labels[place[target]] = label
    starts_line, numbers, before, line = bytearray(count), [], 0, None
    begins = dict(zip(lines["offset"], lines["line1"]))
    for at, offset in enumerate(offsets) if len(begins) > 1 else ((0, 0),):
        if offset in begins:
            starts_line[at] = 1
            numbers += [line] * (at - before)
            before, line = at, begins[offset]
    numbers += [line] * (count - before)
    positions = list(compress(code.co_positions(), every))
    return Stream(ops, args, offsets, starts, numbers, starts_line, labels, targets, positions)


def _fold(ops, args, starts):
    """Folds EXTENDED_ARG prefixes into the arguments that they extend, prefixes among them."""
    before = begin = None
    for at in _places(ops, _PREFIX):
        if before is None or before + 1 != at:
            begin = starts[at]
        before = at
        high = args[at] << 8
        if high >= 1 << 31:
            high -= 1 << 32
        if args[at + 1] is not None:
            args[at + 1] |= high
        if ops[at + 1] != EXTENDED_ARG:
            starts[at + 1] = begin


def _places(ops, table):
    """Where the opcodes of a table stand."""
    marks = ops.translate(table)
    places = []
    at = marks.find(1)
    while at >= 0:
        places.append(at)
        at = marks.find(1, at + 1)
    return places


class Arguments(dict):
    """By opcode and oparg, for one code object: (argval_int, argval_str, argrepr, what a digest says of it, effect).

    Of a jump, all but the effect depends on the target and is filled in by `resolve`.
    """

    def __init__(self, code, texts, ints, strs):
        self._code, self._texts, self._ints, self._strs = code, texts, ints, strs

    def __missing__(self, key):
        found = self[key] = (*self._resolved(*key), EFFECTS[key])
        return found

    def _resolved(self, op, arg):
        if arg is None:
            return None, None, "", b"\0"
        kind, code = facts.ARGVAL_KIND[op], self._code
        if kind == "const":
            return self._ints[arg], self._strs[arg], self._texts[arg], b"\2" + UNSIGNED[arg]
        if kind == "name":
            name = code.co_names[arg >> _SHIFTS.get(op, 0)]
            return None, name, name + _SUFFIXES[op] if arg & 1 and op in _SUFFIXES else name, b"\3" + NAMES[name]
        if kind == "local":
            if op in _PAIRS:
                one, two = code._varname_from_oparg(arg >> 4), code._varname_from_oparg(arg & 15)
                return None, repr((one, two)), f"{one}, {two}", b"\5" + NAMES[one] + NAMES[two]
            name = code._varname_from_oparg(arg)
            return None, name, name, b"\4" + NAMES[name]
        if kind == "free":
            name = code._varname_from_oparg(arg)
            return None, name, name, b"\6" + NAMES[name]
        if kind == "compare":
            operator = dis.cmp_op[arg >> 5]
            return None, operator, f"bool({operator})" if arg & 16 else operator, b"\7" + NAMES[operator]
        if kind == "jump":
            return None, None, None, b"\x08"
        return arg, None, _raw(op, arg), b"\1" + SIGNED[arg]


_RAW = {
    "BINARY_OP": lambda arg: dis._nb_ops[arg][1],
    "CALL_INTRINSIC_1": lambda arg: dis._intrinsic_1_descs[arg],
    "CALL_INTRINSIC_2": lambda arg: dis._intrinsic_2_descs[arg],
    "CONVERT_VALUE": lambda arg: ("", "str", "repr", "ascii")[arg],
    "SET_FUNCTION_ATTRIBUTE": lambda arg: ", ".join(
        name for bit, name in enumerate(dis.FUNCTION_ATTR_FLAGS) if arg & (1 << bit)
    ),
}
_RAW = {_NAMES[name]: function for name, function in _RAW.items()}


def _raw(op, arg):
    return _RAW[op](arg) if op in _RAW else ""


def resolve(stream, arguments):
    """Columns of what `Arguments` says of each instruction."""
    ints, strs, reprs, encoded, effects = map(list, zip(*[arguments[key] for key in zip(stream.ops, stream.args)]))
    labels = None
    for at in _places(stream.ops, _JUMPS):
        if labels is None:
            labels = dict(zip(stream.offsets, stream.labels))
        target = ints[at] = stream.targets[at]
        reprs[at] = f"to L{labels[target]}"
        encoded[at] = b"\x08" + SIGNED[target]
    return ints, strs, reprs, encoded, effects
