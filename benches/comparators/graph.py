"""Control flow of a code object: blocks, edges, dominators and loops."""

import dis
from bisect import bisect_left
from typing import NamedTuple

ENTRY, HANDLER, NORMAL = range(3)
BLOCK_KINDS = ["entry", "handler", "normal"]
NEXT, BRANCH, JUMP, EXC = range(4)
EDGE_KINDS = ["next", "branch", "jump", "exc"]

_NAMES = dis.opmap
_JUMPS = frozenset(_NAMES[name] for name in ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"))
_EXITS = frozenset(_NAMES[name] for name in ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"))
_JUMPS_IF = {
    _NAMES["POP_JUMP_IF_TRUE"]: True,
    _NAMES["POP_JUMP_IF_NONE"]: True,
    _NAMES["POP_JUMP_IF_FALSE"]: False,
    _NAMES["POP_JUMP_IF_NOT_NONE"]: False,
    _NAMES["FOR_ITER"]: False,
    _NAMES["SEND"]: False,
}
"""The outcome of the test with which a conditional jump jumps. Of FOR_ITER and SEND it is: there is a next value."""
_ENDS = bytes(op in _JUMPS or op in _EXITS or op in _JUMPS_IF for op in range(256))


class FlowError(Exception):
    """Code that no compiler writes."""


class Graph(NamedTuple):
    """Blocks in the order of the code, columns of them, and the edges between them."""

    firsts: list
    lasts: list
    starts: list
    ends: list
    """Their offsets; ends are exclusive."""
    kinds: list
    exits: list
    reachable: list
    loop_depths: list
    dominators: list
    edges: list
    """(source, destination, kind, polarity, conditional jump, exception table entry, is a back edge), None for what is
    not there, by source, and `next` before `branch` or `jump` before `exc`."""
    order: list
    """Reachable blocks in reverse postorder."""
    ways: list
    """By block, the blocks that control goes on to, exceptions apart."""
    handlers: list
    """By block, its handler's block; None if no entry covers it."""
    entries: list
    """By block, the index of the entry that covers it."""


def build(ops, offsets, code_end, targets, exceptions):
    """The graph of instructions given by their columns."""
    count = len(ops)
    ends = ops.translate(_ENDS)
    starts = {0}
    at = ends.find(1)
    while at >= 0:
        starts.add(at + 1)
        at = ends.find(1, at + 1)
    if starts == {0, count} and ops[-1] in _EXITS and not exceptions["depth"]:
        return _one_block(count, code_end)

    def position(offset):
        at = bisect_left(offsets, offset)
        if at == count or offsets[at] != offset:
            raise FlowError(f"offset {offset} is not where an instruction starts")
        return at

    leads_to = {index: position(offset) for index, offset in enumerate(targets) if offset is not None}
    starts.update(leads_to.values())
    covers = []
    for start, end, target in zip(exceptions["start_offset"], exceptions["end_offset"], exceptions["target_offset"]):
        covers.append((position(start), count if end == code_end else position(end), position(target)))
        starts.update(covers[-1])
    starts.discard(count)
    firsts = sorted(starts)
    blocks = len(firsts)
    block_at = dict(zip(firsts, range(blocks)))
    lasts = [first - 1 for first in firsts[1:]]
    lasts.append(count - 1)
    kinds = [NORMAL] * blocks
    handlers, entries = [None] * blocks, [None] * blocks
    for entry, (start, end, target) in enumerate(covers):
        handler = block_at[target]
        kinds[handler] = HANDLER
        for block in range(block_at[start], block_at.get(end, blocks)):
            handlers[block], entries[block] = handler, entry
    kinds[0] = ENTRY

    edges, ways, exits = [], [], []
    for block, last in enumerate(lasts):
        op = ops[last]
        exits.append(op in _EXITS)
        jumps_if = _JUMPS_IF.get(op)
        if jumps_if is not None:
            target = block_at[leads_to[last]]
            edges.append((block, block + 1, NEXT, not jumps_if, last, None))
            edges.append((block, target, BRANCH, jumps_if, last, None))
            ways.append((block + 1, target))
        elif op in _JUMPS:
            target = block_at[leads_to[last]]
            edges.append((block, target, JUMP, None, None, None))
            ways.append((target,))
        elif op in _EXITS:
            ways.append(())
        else:
            edges.append((block, block + 1, NEXT, None, None, None))
            ways.append((block + 1,))
        if handlers[block] is not None:
            edges.append((block, handlers[block], EXC, None, None, entries[block]))
    if blocks in ways[-1]:
        raise FlowError("control falls off the end of the code")

    reached = [way if handler is None else (*way, handler) for way, handler in zip(ways, handlers)]
    order = _reverse_postorder(reached)
    ranks = [-1] * blocks
    for rank, block in enumerate(order):
        ranks[block] = rank
    predecessors = [[] for _ in firsts]
    for block in order:
        for target in reached[block]:
            predecessors[target].append(block)
    dominators = _dominators(order, ranks, predecessors)
    bodies = {}
    for index, edge in enumerate(edges):
        src, dst = edge[0], edge[1]
        back = ranks[src] >= ranks[dst] >= 0 and _dominates(dst, src, dominators, ranks)
        if back:
            bodies.setdefault(dst, []).append(src)
        edges[index] = (*edge, back)
    loop_depths = [0 if rank >= 0 else None for rank in ranks]
    for header, sources in bodies.items():
        for block in _loop(header, sources, predecessors):
            loop_depths[block] += 1
    reachable = [rank >= 0 for rank in ranks]
    block_starts = [offsets[first] for first in firsts]
    block_ends = [*block_starts[1:], code_end]
    return Graph(
        firsts, lasts, block_starts, block_ends, kinds, exits, reachable, loop_depths, dominators, edges, order, ways,
        handlers, entries,
    )  # fmt: skip


def _one_block(count, code_end):
    return Graph(
        [0], [count - 1], [0], [code_end], [ENTRY], [True], [True], [0], [None], [], [0], [()], [None], [None]
    )  # fmt: skip


def _reverse_postorder(ways):
    seen, order = [False] * len(ways), []
    seen[0] = True
    path = [(0, iter(ways[0]))]
    while path:
        block, rest = path[-1]
        for target in rest:
            if not seen[target]:
                seen[target] = True
                path.append((target, iter(ways[target])))
                break
        else:
            order.append(block)
            path.pop()
    order.reverse()
    return order


def _dominators(order, ranks, predecessors):
    """The immediate dominators, by Cooper, Harvey and Kennedy's iteration."""
    found = [None] * len(ranks)
    found[0] = 0
    changed = True
    while changed:
        changed = False
        for block in order[1:]:
            best = None
            for other in predecessors[block]:
                if found[other] is None:
                    continue
                if best is None:
                    best = other
                    continue
                while best != other:
                    while ranks[other] > ranks[best]:
                        other = found[other]
                    while ranks[best] > ranks[other]:
                        best = found[best]
            if found[block] != best:
                found[block] = best
                changed = True
    found[0] = None
    return found


def _dominates(by, block, dominators, ranks):
    while ranks[block] > ranks[by]:
        block = dominators[block]
    return block == by


def _loop(header, sources, predecessors):
    """The blocks that reach `sources`, where the back edges to `header` come from, without passing it."""
    body = {header}
    pending = sources
    while pending:
        block = pending.pop()
        if block not in body:
            body.add(block)
            pending.extend(predecessors[block])
    return body
