"""Control flow, stack and data flow of a code object, written from the data contract (section 4).

Instructions and blocks are named by their positions. Sets are what the contract defines things by, so sets they are: the
makers of a stack slot are numbers that stand for sets, the definitions that reach a block are the bits of an int. Most
code objects are small and many are one block, and each step here is left out where it cannot matter.
"""

import dis
from bisect import bisect_left
from operator import add
from typing import NamedTuple

from effects import COPY, DEFINE, DELETE, LOCAL, SWAP, USE

ENTRY, HANDLER, NORMAL = range(3)
BLOCK_KINDS = ["entry", "handler", "normal"]
NEXT, BRANCH, JUMP, EXC = range(4)
EDGE_KINDS = ["next", "branch", "jump", "exc"]
ARGUMENT, INSTR, EXCEPTION, LASTI = range(4)
PRODUCERS = ["argument", "instr", "exception", "lasti"]
USES = ["USE_STACK", "USE_LOCAL", "USE_CELL", "USE_GLOBAL", "USE_NAME"]

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
_COPY_FREE_VARS = _NAMES["COPY_FREE_VARS"]
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
    """4 * kind (of `USES`) + producer (of `PRODUCERS`)"""
    operands: list
    variables: list
    """-1 for the stack"""


def analyze(code, stream, effects, exceptions):
    """The flow of a code object: `stream` as `decode` gives it, `exceptions` as `facts` does."""
    ops = stream.ops
    graph = _graph(ops, stream.offsets, len(code.co_code), stream.targets, exceptions)
    depths, operands, sets = _stack(graph, effects, exceptions)
    accesses = _accesses(code, ops, effects)
    edges = _data_edges(len(ops), operands, sets, _uses(code, graph, accesses))
    nets = [effect.net for effect, depth in zip(effects, depths) if depth >= 0] if -1 in depths else None
    reached = depths if nets is None else [depth for depth in depths if depth >= 0]
    nets = nets or [effect.net for effect in effects]
    max_depth = max(max(reached), max(map(add, reached, nets)))
    if max_depth > code.co_stacksize:
        raise FlowError(f"stack reaches depth {max_depth}, beyond co_stacksize {code.co_stacksize}")
    numbers = [effect.number for effect in effects]
    return Flow(graph, numbers, depths, max_depth, accesses, edges)


# --- control flow ----------------------------------------------------------------------------------------------------

def _graph(ops, offsets, code_end, targets, exceptions):
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
    return Graph([0], [count - 1], [0], [code_end], [ENTRY], [True], [True], [0], [None], [], [0], [()], [None], [None])


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


# --- the stack -------------------------------------------------------------------------------------------------------

class _Sets:
    """Makers of a value, as numbers: below `single` one maker, from there on a set of such.

    Of n instructions, i is instruction i, n + i the exception that enters the handler at i, 2n + i its lasti.
    """

    def __init__(self, count):
        self.single = 3 * count
        self.count = count
        self._sets, self._numbers, self._unions, self._makers = [], {}, {}, {}

    def union(self, one, other):
        """The number of the union of two."""
        key = one, other
        found = self._unions.get(key)
        if found is None:
            members = self._members(one) | self._members(other)
            found = self._numbers.get(members)
            if found is None:
                found = self._numbers[members] = self.single + len(self._sets)
                self._sets.append(members)
            self._unions[key] = found
        return found

    def _members(self, value):
        return frozenset((value,)) if value < self.single else self._sets[value - self.single]

    def makers(self, value):
        """(producer, instruction) of each, by instruction. An instruction stands for the exception at the same place."""
        found = self._makers.get(value)
        if found is None:
            by_place = {}
            for member in sorted(self._members(value), reverse=True):
                kind, place = divmod(member, self.count)
                by_place[place] = INSTR + kind
            found = self._makers[value] = [(by_place[place], place) for place in sorted(by_place)]
        return found


def _stack(graph, effects, exceptions):
    """Depths before the instructions, the values that each uses, and the sets that these are.

    Each block is run with the stack that ways into it bring, again if a way brings other values.
    """
    count = len(effects)
    depths, operands = [-1] * count, [None] * count
    sets = _Sets(count)
    firsts, lasts, ways, handlers = graph.firsts, graph.lasts, graph.ways, graph.handlers
    if len(firsts) == 1:
        _run(0, count - 1, [], effects, depths, operands, 0, None)
        return depths, operands, sets
    stacks = [None] * len(firsts)
    stacks[0] = []
    again = {0}
    while again:
        for block in graph.order:
            if block not in again:
                continue
            again.remove(block)
            first, entry = firsts[block], graph.entries[block]
            if entry is None:
                low, raised = 0, None
            else:
                low, raised = exceptions["depth"][entry], []
                if len(stacks[block]) < low:
                    raise FlowError(f"instruction {first} raises below the depth of its handler")
                raised.append(stacks[block][:low])
            stack = stacks[block][:]
            _run(first, lasts[block], stack, effects, depths, operands, low, raised)
            for target in ways[block]:
                if _bring(stack, target, stacks, sets):
                    again.add(target)
            if raised:
                handler = handlers[block]
                place = firsts[handler]
                pushed = [2 * count + place, count + place] if exceptions["lasti"][entry] else [count + place]
                for kept in raised:
                    if _bring(kept + pushed, handler, stacks, sets):
                        again.add(handler)
    return depths, operands, sets


def _run(first, last, stack, effects, depths, operands, low, raised):
    """Runs a block on `stack`. Where slots below `low` change, what is left of them is noted in `raised`."""
    for at in range(first, last + 1):
        pops, pushes, peeks, reach, _, _, moves, _ = effects[at]
        depth = depths[at] = len(stack)
        if depth < reach:
            raise FlowError(f"instruction {at} needs {reach} values on a stack of depth {depth}")
        if pops:
            used = stack[-pops:]
            if peeks:
                used += [stack[-slot] for slot in peeks]
            operands[at] = used
            del stack[-pops:]
            lowest = depth - pops
        elif peeks:
            operands[at] = [stack[-slot] for slot in peeks]
            lowest = depth
            if moves == COPY:
                stack.append(stack[-peeks[0]])
                continue
            if moves == SWAP:
                slot = peeks[0]
                stack[-slot], stack[-1] = stack[-1], stack[-slot]
                lowest -= slot
        else:
            lowest = depth
        if pushes == 1:
            stack.append(at)
        elif pushes:
            stack += [at] * pushes
        if lowest < low and at < last:
            if len(stack) < low:
                raise FlowError(f"instruction {at + 1} raises below the depth of its handler")
            raised.append(stack[:low])


def _bring(stack, block, stacks, sets):
    """Merges a stack into the one at the start of a block; whether that is new to it."""
    known = stacks[block]
    if known is None:
        stacks[block] = stack
        return True
    if known == stack:
        return False
    if len(known) != len(stack):
        raise FlowError(f"block {block} is entered with stacks of depth {len(known)} and {len(stack)}")
    merged = [one if one == other else sets.union(one, other) for one, other in zip(known, stack)]
    if merged == known:
        return False
    stacks[block] = merged
    return True


# --- variables -------------------------------------------------------------------------------------------------------

def _accesses(code, ops, effects):
    accesses = [(at, *access) for at, effect in enumerate(effects) if effect.accesses for access in effect.accesses]
    if code.co_freevars and _COPY_FREE_VARS in ops:
        at = ops.index(_COPY_FREE_VARS)
        end = len(locals_plus(code))
        frees = range(end - len(code.co_freevars), end)
        accesses += [(at, DEFINE, 4 * index + LOCAL, 0) for index in frees]
        accesses.sort(key=lambda access: access[0])
    return accesses


def locals_plus(code):
    """The names of the slots of a frame: locals, then cells that are no locals, then free variables."""
    names = code.co_varnames
    shared = set(names)
    return (*names, *(name for name in code.co_cellvars if name not in shared), *code.co_freevars)


def argument_count(code):
    """How many of the slots a call fills."""
    starred = bool(code.co_flags & 0x4) + bool(code.co_flags & 0x8)
    return code.co_argcount + code.co_kwonlyargcount + starred


_CALLER, _NOTHING = -1, -2


def _uses(code, graph, accesses):
    """(instruction, which of its uses, variable, makers) of uses in order; a maker is an instruction or -1, the caller."""
    uses, open_uses, captures = [], [], []
    blocks = len(graph.firsts)
    # No way leads to the start of compiled code, so there the arguments are defined and nothing else is.
    entered = any(edge[1] == 0 for edge in graph.edges)
    arguments = dict.fromkeys(range(LOCAL, 4 * argument_count(code), 4), _CALLER)
    defined = {var for _, what, var, _ in accesses if what != USE}
    defined.update(arguments)
    left, raised = [None] * blocks, [None] * blocks
    at, end = 0, len(accesses)
    for block, last in enumerate(graph.lasts):
        start = at
        while at < end and accesses[at][0] <= last:
            at += 1
        if not graph.reachable[block]:
            continue
        whole = block == 0 and not entered
        current = arguments.copy() if whole else {}
        seen = None if graph.handlers[block] is None else list(current.items())
        for instr, what, var, number in accesses[start:at]:
            if what == USE:
                if var in defined:
                    maker = current.get(var)
                    if maker is not None:
                        uses.append((instr, number, var, maker))
                    elif not whole:
                        open_uses.append((len(uses), block, var))
                        uses.append((instr, number, var, ()))
                continue
            if what == DEFINE:
                maker = instr
            elif what == DELETE:
                maker = _NOTHING
            else:
                local = var // 4 * 4 + LOCAL
                maker = current.get(local, _NOTHING if whole else None)
                if maker is None:
                    captures.append((block, local))
                    maker = _NOTHING - len(captures)
            current[var] = maker
            if seen is not None and instr != last:
                seen.append((var, maker))
        left[block], raised[block] = current, seen
    if open_uses or captures:
        _close(uses, open_uses, captures, graph, left, raised, arguments if entered else {})
    return uses


def _close(uses, open_uses, captures, graph, left, raised, arguments):
    """Gives the uses whose maker another block is all that reach them: definitions are bits, one bit a maker and variable."""
    wanted = {var for _, _, var in open_uses}
    wanted.update(local for _, local in captures)
    bits, makers, masks = {}, [], dict.fromkeys(wanted, 0)

    def bit(var, maker):
        if maker == _NOTHING:
            return 0
        found = bits.get((var, maker))
        if found is None:
            found = bits[var, maker] = 1 << len(makers)
            makers.append(maker)
            masks[var] |= found
        return found

    made, thrown = {}, {}
    for block in graph.order:
        gained = 0
        for var, maker in left[block].items():
            if var in wanted:
                gained |= bit(var, maker)
        made[block] = gained
        if raised[block]:
            gained = 0
            for var, maker in raised[block]:
                if var in wanted:
                    gained |= bit(var, maker)
            thrown[block] = gained
    start = 0
    for var, maker in arguments.items():
        if var in wanted:
            start |= bit(var, maker)
    kept = {}
    for block in graph.order:
        lost = 0
        for var in left[block]:
            if var in wanted:
                lost |= masks[var]
        kept[block] = ~lost
    arriving = [0] * len(graph.firsts)
    arriving[0] = start
    again = True
    while again:
        again = False
        done = set()
        for block in graph.order:
            done.add(block)
            here = arriving[block]
            out = here & kept[block] | made[block]
            for target in graph.ways[block]:
                if out & ~arriving[target]:
                    arriving[target] |= out
                    again |= target in done
            handler = graph.handlers[block]
            if handler is not None:
                out = here | thrown.get(block, 0)
                if out & ~arriving[handler]:
                    arriving[handler] |= out
                    again |= handler in done

    memo = {}

    def reaching(block, var):
        word = arriving[block] & masks[var]
        found = memo.get(word)
        if found is None:
            found, rest = [], word
            while rest:
                low = rest & -rest
                found.append(makers[low.bit_length() - 1])
                rest ^= low
            memo[word] = found
        return found

    def resolved(found):
        """The makers, those of captured slots in the place of the captures."""
        if found and min(found) < _NOTHING:
            found = {maker for maker in found if maker > _NOTHING} | {
                maker for capture in found if capture < _NOTHING for maker in reaching(*captures[_NOTHING - 1 - capture])
            }
        return tuple(sorted(set(found)))

    for index, block, var in open_uses:
        uses[index] = (*uses[index][:3], resolved(reaching(block, var)))
    for index, (*use, found) in enumerate(uses) if captures else ():
        if type(found) is int and found < _NOTHING:
            uses[index] = (*use, resolved([found]))


# --- edges -----------------------------------------------------------------------------------------------------------

_STACK_INSTR = INSTR


def _data_edges(count, operands, sets, uses):
    src, dst, codes, numbers, variables = edges = DataEdges([], [], [], [], [])
    next_use, end = 0, len(uses)
    used_at = uses[0][0] if uses else count
    for at, values in enumerate(operands):
        if values:
            length = len(values)
            if max(values) < count:
                src += values
                dst += [at] * length
                codes += [_STACK_INSTR] * length
                numbers += range(length)
                variables += [-1] * length
            else:
                for number, value in enumerate(values):
                    for producer, place in sets.makers(value):
                        src.append(place)
                        dst.append(at)
                        codes.append(producer)
                        numbers.append(number)
                        variables.append(-1)
        while used_at == at:
            _, number, var, makers = uses[next_use]
            kind = 4 * (var % 4 + 1)
            for maker in (makers,) if type(makers) is int else makers:
                if maker == _NOTHING:
                    continue
                src.append(maker)
                dst.append(at)
                codes.append(kind + INSTR if maker >= 0 else kind + ARGUMENT)
                numbers.append(number)
                variables.append(var)
            next_use += 1
            used_at = uses[next_use][0] if next_use < end else count
    return edges
