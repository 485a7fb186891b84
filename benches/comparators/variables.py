"""Variables of a code object: what each instruction does to them, and which definitions reach which use."""

import dis

from effects import DEFINE, DELETE, LOCAL, USE

_COPY_FREE_VARS = dis.opmap["COPY_FREE_VARS"]

CALLER, NOTHING = -1, -2
"""Makers that are no instructions. What is below them is the capture of that number."""


def accesses(code, ops, effects):
    """(instruction, what happens, variable, which of its uses) in order; see `effects`."""
    found = [(at, *access) for at, effect in enumerate(effects) if effect.accesses for access in effect.accesses]
    if code.co_freevars and _COPY_FREE_VARS in ops:
        at = ops.index(_COPY_FREE_VARS)
        end = len(locals_plus(code))
        frees = range(end - len(code.co_freevars), end)
        found += [(at, DEFINE, 4 * index + LOCAL, 0) for index in frees]
        found.sort(key=lambda access: access[0])
    return found


def locals_plus(code):
    """The names of the slots of a frame: locals, then cells that are no locals, then free variables."""
    names = code.co_varnames
    shared = set(names)
    return (*names, *(name for name in code.co_cellvars if name not in shared), *code.co_freevars)


def argument_count(code):
    """How many of the slots a call fills."""
    starred = bool(code.co_flags & 0x4) + bool(code.co_flags & 0x8)
    return code.co_argcount + code.co_kwonlyargcount + starred


def uses(code, graph, accesses):
    """(instruction, which of its uses, variable, maker or makers) of the uses that may have one, in order.

    A maker is an instruction or one of those above.
    """
    found, open_uses, captures = [], [], []
    blocks = len(graph.firsts)
    # No way leads to the start of compiled code, so there the arguments are defined and nothing else is.
    entered = any(edge[1] == 0 for edge in graph.edges)
    arguments = dict.fromkeys(range(LOCAL, 4 * argument_count(code), 4), CALLER)
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
                        found.append((instr, number, var, maker))
                    elif not whole:
                        open_uses.append((len(found), block, var))
                        found.append((instr, number, var, ()))
                continue
            if what == DEFINE:
                maker = instr
            elif what == DELETE:
                maker = NOTHING
            else:
                local = var // 4 * 4 + LOCAL
                maker = current.get(local, NOTHING if whole else None)
                if maker is None:
                    captures.append((block, local))
                    maker = NOTHING - len(captures)
            current[var] = maker
            if seen is not None and instr != last:
                seen.append((var, maker))
        left[block], raised[block] = current, seen
    if open_uses or captures:
        _close(found, open_uses, captures, graph, left, raised, arguments if entered else {})
    return found


def _close(uses, open_uses, captures, graph, left, raised, arguments):
    """Gives `open_uses`, whose makers stand in other blocks, all that reach them.

    A definition is a bit, one for each maker and variable. `left` is what blocks leave in variables, `raised` what
    they may leave to their handlers.
    """
    wanted = {var for _, _, var in open_uses}
    wanted.update(local for _, local in captures)
    bits, makers, masks = {}, [], dict.fromkeys(wanted, 0)

    def bit(var, maker):
        if maker == NOTHING:
            return 0
        found = bits.get((var, maker))
        if found is None:
            found = bits[var, maker] = 1 << len(makers)
            makers.append(maker)
            masks[var] |= found
        return found

    def word(pairs):
        gained = 0
        for var, maker in pairs:
            if var in wanted:
                gained |= bit(var, maker)
        return gained

    start = word(arguments.items())
    made = {block: word(left[block].items()) for block in graph.order}
    thrown = {block: word(raised[block] or ()) for block in graph.order}
    kept = {}
    for block in graph.order:
        lost = 0
        for var in left[block]:
            if var in wanted:
                lost |= masks[var]
        kept[block] = ~lost
    arriving = _arriving(graph, start, kept, made, thrown)
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
        if found and min(found) < NOTHING:
            found = {maker for maker in found if maker > NOTHING} | {
                maker for capture in found if capture < NOTHING for maker in reaching(*captures[NOTHING - 1 - capture])
            }
        return tuple(sorted(set(found)))

    for index, block, var in open_uses:
        uses[index] = (*uses[index][:3], resolved(reaching(block, var)))
    for index, (*use, found) in enumerate(uses) if captures else ():
        if type(found) is int and found < NOTHING:
            uses[index] = (*use, resolved([found]))


def _arriving(graph, start, kept, made, thrown):
    """By block, the definitions that reach its start, as bits.

    A handler is entered from before each instruction that it covers: with what reaches the block, and with every
    definition in it but one by its last instruction.
    """
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
                out = here | thrown[block]
                if out & ~arriving[handler]:
                    arriving[handler] |= out
                    again |= handler in done
    return arriving
