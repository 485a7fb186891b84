"""What each instruction of CPython 3.13 does to the stack and to variables, by opcode and oparg.

The stack side is written from the signatures in CPython's `bytecodes.c`: what an instruction names and leaves in its
place it *peeks* at, what else it names it pops, what it leaves in a new place it pushes. `dis` knows the sum only, and
each row is checked against it when it is made.
"""

import dis
from itertools import count
from typing import NamedTuple

USE, DEFINE, DELETE, CAPTURE = range(4)
"""What happens to a variable; a capture is a MAKE_CELL, whose new cell takes over what the local slot holds."""
LOCAL, CELL, GLOBAL, NAME = range(4)
"""Where it lives. A variable is written as 4 * index + namespace."""

STAY, COPY, SWAP = range(3)


class Effect(NamedTuple):
    """The effect of one opcode with one oparg."""

    pops: int
    pushes: int
    peeks: tuple
    """Slots used and left in place, deepest first, counted from the top before the instruction, which is 1."""
    reach: int
    """The least depth that the instruction needs."""
    net: int
    accesses: tuple
    """(what happens, variable, which of the instruction's uses it is) in the order in which it does."""
    moves: int
    """COPY and SWAP move values, whose makers stay who they were."""
    number: int
    """Of its (pops, pushes, operands) among `COUNTS`."""


COUNTS = []
"""Distinct (pops, pushes, operands): some hundred for any amount of code."""
_NUMBERS = {}


def _table():
    """By opcode name: (pops, pushes) or a function of the oparg; what is peeked at follows."""
    rows = {}

    def add(pops, pushes, names, peeks=None):
        rows.update(dict.fromkeys(names.split(), (pops, pushes, peeks)))

    add(0, 0, "NOP RESUME EXTENDED_ARG CACHE JUMP_FORWARD JUMP_BACKWARD JUMP_BACKWARD_NO_INTERRUPT RETURN_CONST")
    add(0, 0, "MAKE_CELL COPY_FREE_VARS SETUP_ANNOTATIONS DELETE_FAST DELETE_DEREF DELETE_GLOBAL DELETE_NAME")
    add(0, 1, "LOAD_CONST LOAD_FAST LOAD_FAST_CHECK LOAD_FAST_AND_CLEAR LOAD_DEREF LOAD_NAME LOAD_LOCALS")
    add(0, 1, "LOAD_ASSERTION_ERROR LOAD_BUILD_CLASS PUSH_NULL RETURN_GENERATOR")
    add(0, 2, "LOAD_FAST_LOAD_FAST")
    add(0, lambda arg: 1 + (arg & 1), "LOAD_GLOBAL")
    add(1, 0, "POP_TOP POP_EXCEPT END_FOR RETURN_VALUE INTERPRETER_EXIT DELETE_ATTR")
    add(1, 0, "POP_JUMP_IF_TRUE POP_JUMP_IF_FALSE POP_JUMP_IF_NONE POP_JUMP_IF_NOT_NONE")
    add(1, 0, "STORE_FAST STORE_DEREF STORE_GLOBAL STORE_NAME")
    add(2, 0, "STORE_FAST_STORE_FAST STORE_ATTR DELETE_SUBSCR END_ASYNC_FOR")
    add(3, 0, "STORE_SUBSCR")
    add(4, 0, "STORE_SLICE")
    add(lambda arg: arg, 0, "RAISE_VARARGS")
    add(1, 1, "UNARY_INVERT UNARY_NEGATIVE UNARY_NOT TO_BOOL CALL_INTRINSIC_1 CONVERT_VALUE FORMAT_SIMPLE YIELD_VALUE")
    add(1, 1, "MAKE_FUNCTION GET_ITER GET_YIELD_FROM_ITER GET_AITER GET_AWAITABLE STORE_FAST_LOAD_FAST")
    add(1, 1, "LOAD_FROM_DICT_OR_DEREF LOAD_FROM_DICT_OR_GLOBALS")
    add(1, lambda arg: 1 + (arg & 1), "LOAD_ATTR")
    add(1, 2, "BEFORE_WITH BEFORE_ASYNC_WITH PUSH_EXC_INFO")
    add(1, lambda arg: arg, "UNPACK_SEQUENCE")
    add(1, lambda arg: (arg & 0xFF) + 1 + (arg >> 8), "UNPACK_EX")
    add(2, 1, "BINARY_OP BINARY_SUBSCR COMPARE_OP CONTAINS_OP IS_OP FORMAT_WITH_SPEC IMPORT_NAME CALL_INTRINSIC_2")
    add(2, 1, "SET_FUNCTION_ATTRIBUTE END_SEND")
    add(2, 2, "CHECK_EG_MATCH")
    add(3, 1, "BINARY_SLICE MATCH_CLASS")
    add(3, lambda arg: 1 + (arg & 1), "LOAD_SUPER_ATTR")
    add(3, 2, "CLEANUP_THROW")
    add(lambda arg: arg, 1, "BUILD_LIST BUILD_TUPLE BUILD_SET BUILD_STRING")
    add(lambda arg: 2 * arg, 1, "BUILD_MAP")
    add(lambda arg: arg + 1, 1, "BUILD_CONST_KEY_MAP")
    add(lambda arg: 3 if arg == 3 else 2, 1, "BUILD_SLICE")
    add(lambda arg: arg + 2, 1, "CALL")
    add(lambda arg: arg + 3, 1, "CALL_KW")
    add(lambda arg: 3 + (arg & 1), 1, "CALL_FUNCTION_EX")
    add(0, 1, "COPY", lambda arg: (arg,))
    add(0, 0, "SWAP", lambda arg: (arg, 1))
    add(0, 1, "FOR_ITER IMPORT_FROM GET_ANEXT GET_LEN MATCH_MAPPING MATCH_SEQUENCE", lambda arg: (1,))
    add(0, 1, "MATCH_KEYS", lambda arg: (2, 1))
    add(1, 1, "SEND CHECK_EXC_MATCH", lambda arg: (2,))
    add(1, 0, "LIST_APPEND LIST_EXTEND SET_ADD SET_UPDATE DICT_UPDATE", lambda arg: (arg + 1,))
    add(2, 0, "MAP_ADD", lambda arg: (arg + 2,))
    add(1, 0, "DICT_MERGE", lambda arg: (arg + 4, arg + 1))  # the callable, for the message, and the dict
    add(0, 1, "WITH_EXCEPT_START", lambda arg: (4, 3, 1))  # the exit function, lasti and the exception
    add(1, 0, "RERAISE", lambda arg: tuple(range(arg + 1, 1, -1)))
    return {dis.opmap[name]: row for name, row in rows.items()}


def _accesses():
    """By opcode, what the instruction does to which variable, given the oparg."""
    whole = lambda arg: arg  # noqa: E731
    first, second = lambda arg: arg >> 4, lambda arg: arg & 15
    rows = {
        "LOAD_FAST": [(USE, LOCAL, whole)],
        "LOAD_FAST_CHECK": [(USE, LOCAL, whole)],
        "LOAD_FAST_AND_CLEAR": [(USE, LOCAL, whole), (DELETE, LOCAL, whole)],
        "LOAD_FAST_LOAD_FAST": [(USE, LOCAL, first), (USE, LOCAL, second)],
        "STORE_FAST": [(DEFINE, LOCAL, whole)],
        "STORE_FAST_LOAD_FAST": [(DEFINE, LOCAL, first), (USE, LOCAL, second)],
        "STORE_FAST_STORE_FAST": [(DEFINE, LOCAL, first), (DEFINE, LOCAL, second)],
        "DELETE_FAST": [(DELETE, LOCAL, whole)],
        "MAKE_CELL": [(CAPTURE, CELL, whole), (DEFINE, LOCAL, whole)],
        "LOAD_DEREF": [(USE, CELL, whole)],
        "LOAD_FROM_DICT_OR_DEREF": [(USE, CELL, whole)],
        "STORE_DEREF": [(DEFINE, CELL, whole)],
        "DELETE_DEREF": [(DELETE, CELL, whole)],
        "LOAD_GLOBAL": [(USE, GLOBAL, lambda arg: arg >> 1)],
        "LOAD_FROM_DICT_OR_GLOBALS": [(USE, GLOBAL, whole)],
        "STORE_GLOBAL": [(DEFINE, GLOBAL, whole)],
        "DELETE_GLOBAL": [(DELETE, GLOBAL, whole)],
        "LOAD_NAME": [(USE, NAME, whole)],
        "STORE_NAME": [(DEFINE, NAME, whole)],
        "DELETE_NAME": [(DELETE, NAME, whole)],
    }
    return {dis.opmap[name]: row for name, row in rows.items()}


_ROWS, _ACCESSES = _table(), _accesses()
_MOVES = {dis.opmap["COPY"]: COPY, dis.opmap["SWAP"]: SWAP}


def _effect(op, arg):
    if op not in _ROWS:
        raise ValueError(f"{dis.opname[op]} is no opcode that a compiler emits")
    number = arg or 0
    pops, pushes, peeks = (field(number) if callable(field) else field for field in _ROWS[op])
    peeks = peeks or ()
    for jump in (False, True):
        if pushes - pops != dis.stack_effect(op, arg, jump=jump):
            raise AssertionError(f"{dis.opname[op]} {arg}: {pushes} - {pops} is not what `dis.stack_effect` says")
    uses = count()
    accesses = tuple(
        (what, 4 * index(number) + space, next(uses) if what == USE else 0)
        for what, space, index in _ACCESSES.get(op, ())
    )
    counts = pops, pushes, pops + len(peeks)
    if counts not in _NUMBERS:
        _NUMBERS[counts] = len(COUNTS)
        COUNTS.append(counts)
    reach = max(pops, *peeks, 0)
    return Effect(pops, pushes, peeks, reach, pushes - pops, accesses, _MOVES.get(op, STAY), _NUMBERS[counts])


class Effects(dict):
    """Effects by (opcode, oparg), made when first asked for."""

    def __missing__(self, key):
        found = self[key] = _effect(*key)
        return found


EFFECTS = Effects()
