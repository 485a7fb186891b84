"""Control flow, stack and data flow of a code object, written from the data contract.

Instructions and blocks are named by their positions. Sets are what the contract defines things by, so sets they are:
the makers of a stack slot are numbers that stand for sets (`stack.py`), the definitions that reach a block are the
bits of an int (`variables.py`). Most code objects are small and many are one block (`graph.py`), and each step is left
out where it cannot matter.
"""

from operator import add
from typing import NamedTuple

import graph
import stack
import variables
from graph import FlowError, Graph

USES = ["USE_STACK", "USE_LOCAL", "USE_CELL", "USE_GLOBAL", "USE_NAME"]
PRODUCERS = ["argument", "instr", "exception", "lasti", "phi"]
_ARGUMENT = 0


class Flow(NamedTuple):
    """What is derived from the instructions."""

    graph: Graph
    numbers: list
    """Of each instruction's pops, pushes and operands among `effects.COUNTS`."""
    depths: list
    """Depth of the stack before each instruction; -1 where no path leads."""
    max_depth: int
    accesses: list
    """(instruction, what happens, variable, which of its uses) in order; see `effects`."""
    edges: "DataEdges"


class DataEdges(NamedTuple):
    """Columns of the edges, by using instruction, stack before variables, operand, and producing instruction."""

    src: list
    dst: list
    codes: list
    """len(PRODUCERS) * kind (of `USES`) + producer (of `PRODUCERS`)"""
    operands: list
    variables: list
    """-1 for the stack"""


def analyze(code, stream, effects, exceptions):
    """The flow of a code object: `stream` as `decode` gives it, `exceptions` as `facts` does."""
    ops = stream.ops
    blocks = graph.build(ops, stream.offsets, len(code.co_code), stream.targets, exceptions)
    depths, operands, sets = stack.run(blocks, effects, exceptions)
    accesses = variables.accesses(code, ops, effects)
    edges = _data_edges(len(ops), operands, sets, variables.uses(code, blocks, accesses, variables.restores(ops, accesses, operands)))
    nets = [effect.net for effect, depth in zip(effects, depths) if depth >= 0] if -1 in depths else None
    reached = depths if nets is None else [depth for depth in depths if depth >= 0]
    nets = nets or [effect.net for effect in effects]
    max_depth = max(max(reached), max(map(add, reached, nets)))
    if max_depth > code.co_stacksize:
        raise FlowError(f"stack reaches depth {max_depth}, beyond co_stacksize {code.co_stacksize}")
    numbers = [effect.number for effect in effects]
    return Flow(blocks, numbers, depths, max_depth, accesses, edges)


def _data_edges(count, operands, sets, uses):
    src, dst, codes, numbers, names = edges = DataEdges([], [], [], [], [])
    next_use, end = 0, len(uses)
    used_at = uses[0][0] if uses else count
    for at, values in enumerate(operands):
        if values:
            length = len(values)
            if max(values) < count:
                src += values
                dst += [at] * length
                codes += [stack.INSTR] * length
                numbers += range(length)
                names += [-1] * length
            else:
                for number, value in enumerate(values):
                    for producer, place in sets.makers(value):
                        src.append(place)
                        dst.append(at)
                        codes.append(producer)
                        numbers.append(number)
                        names.append(-1)
        while used_at == at:
            _, number, var, makers = uses[next_use]
            kind = len(PRODUCERS) * (var % 4 + 1)
            for maker in (makers,) if type(makers) is int else makers:
                if maker == variables.NOTHING:
                    continue
                src.append(maker)
                dst.append(at)
                codes.append(kind + stack.INSTR if maker >= 0 else kind + _ARGUMENT)
                numbers.append(number)
                names.append(var)
            next_use += 1
            used_at = uses[next_use][0] if next_use < end else count
    return edges
