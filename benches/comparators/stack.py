"""The stack of a code object, run block by block: how deep it is, and what may have made each value that is used."""

from effects import COPY, SWAP
from graph import FlowError

INSTR, EXCEPTION, LASTI, PHI = 1, 2, 3, 4
"""What makes a value."""


class Sets:
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
        """(producer, instruction) of each, by instruction.

        An edge is identified by the instructions that it names, so that an instruction and the exception that enters the
        handler at it are one edge.
        """
        found = self._makers.get(value)
        if found is None:
            by_place = {}
            for member in sorted(self._members(value), reverse=True):
                kind, place = divmod(member, self.count)
                by_place[place] = PHI if kind == 0 and place in by_place else INSTR + kind
            found = self._makers[value] = [(by_place[place], place) for place in sorted(by_place)]
        return found


def run(graph, effects, exceptions):
    """Depths before the instructions, the values that each uses, and the sets that these are.

    Each block is run with the stack that ways into it bring, again if a way brings other values.
    """
    count = len(effects)
    depths, operands = [-1] * count, [None] * count
    sets = Sets(count)
    firsts, lasts, ways, handlers = graph.firsts, graph.lasts, graph.ways, graph.handlers
    if len(firsts) == 1:
        _run_block(0, count - 1, [], effects, depths, operands, 0, None)
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
            _run_block(first, lasts[block], stack, effects, depths, operands, low, raised)
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


def _run_block(first, last, stack, effects, depths, operands, low, raised):
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
