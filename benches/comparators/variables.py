"""Variables of a code object: what each instruction does to them, and which definitions reach which use."""

import dis

from effects import CELL, DEFINE, DELETE, LOCAL, USE

_COPY_FREE_VARS = dis.opmap["COPY_FREE_VARS"]
_SAVE = dis.opmap["LOAD_FAST_AND_CLEAR"]
# By opcode, the operand that goes into the first local and the one that goes into the second.
_STORES = {
    dis.opmap["STORE_FAST"]: (0,),
    dis.opmap["STORE_FAST_LOAD_FAST"]: (0,),
    dis.opmap["STORE_FAST_STORE_FAST"]: (1, 0),
}

CALLER, NOTHING = -1, -2
"""Makers that are no instructions. What is below them is the late maker of that number: one that blocks before decide."""


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


def restores(ops, accesses, operands):
    """For each place in `accesses` that puts back what an inlined comprehension has saved: the saving instruction.

    None for one that saves. A slot is saved with the cell that it may hold, so that what the cell held comes back too.
    """
    if _SAVE not in ops:
        return {}
    found, stores = {}, {}
    for place, (at, what, _, _) in enumerate(accesses):
        if what == DELETE and ops[at] == _SAVE:
            found[place] = None
        elif what == DEFINE and ops[at] in _STORES and operands[at]:
            store = stores[at] = stores.get(at, -1) + 1
            maker = operands[at][_STORES[ops[at]][store]]
            if maker < len(ops) and ops[maker] == _SAVE:
                found[place] = maker
    return found


def uses(code, graph, accesses, restores):
    """(instruction, which of its uses, variable, maker or makers) of the uses that may have one, in order.

    A maker is an instruction or one of those above. What a save keeps is two variables more, below 0: the slot and its cell.
    """
    found, open_uses, late = [], [], []
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

        def copied(var):
            """The maker of what a variable holds now."""
            maker = current.get(var, NOTHING if whole else None)
            if maker is None:
                late.append((block, var))
                maker = NOTHING - len(late)
            return maker

        def restored(instr, maker):
            """The restoring instruction, if there is anything to restore."""
            if maker >= NOTHING:
                return NOTHING if maker == NOTHING else instr
            late.append((None, (instr, maker)))
            return NOTHING - len(late)

        for place in range(start, at):
            instr, what, var, number = accesses[place]
            if what == USE:
                if var in defined:
                    maker = current.get(var)
                    if maker is not None:
                        found.append((instr, number, var, maker))
                    elif not whole:
                        open_uses.append((len(found), block, var))
                        found.append((instr, number, var, ()))
                continue
            cell = var // 4 * 4 + CELL
            if place in restores:
                save = restores[place]
                if save is None:
                    slot, held = -1 - 2 * instr, -2 - 2 * instr
                    steps = [(slot, copied(var)), (held, copied(cell)), (var, NOTHING), (cell, NOTHING)]
                else:
                    steps = [(var, restored(instr, copied(-1 - 2 * save))), (cell, copied(-2 - 2 * save))]
            elif what == DEFINE:
                steps = [(var, instr)]
            elif what == DELETE:
                steps = [(var, NOTHING)]
            else:
                steps = [(var, copied(var // 4 * 4 + LOCAL))]
            current.update(steps)
            if seen is not None and instr != last:
                seen += steps
        left[block], raised[block] = current, seen
    if open_uses or late:
        _close(found, open_uses, late, graph, left, raised, arguments if entered else {})
    return found


def _close(uses, open_uses, late, graph, left, raised, arguments):
    """Gives `open_uses`, whose makers stand in other blocks, all that reach them.

    A definition is a bit, one for each maker and variable. `left` is what blocks leave in variables, `raised` what
    they may leave to their handlers. A late maker is what reaches (block, variable), or (None, (instruction, maker)): the
    instruction, if the maker made anything.
    """
    wanted = {var for _, _, var in open_uses}
    wanted.update(var for block, var in late if block is not None)
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

    early = [set() for _ in late]
    """Of each late maker, those that it stands for."""

    def resolved(found):
        gained = set()
        for maker in found:
            if maker > NOTHING:
                gained.add(maker)
            elif maker < NOTHING:
                gained |= early[NOTHING - 1 - maker]
        return gained

    again = True
    while again:
        again = False
        for number, (block, what) in enumerate(late):
            if block is None:
                instr, maker = what
                gained = {instr} if resolved([maker]) else set()
            else:
                gained = resolved(reaching(block, what))
            if gained - early[number]:
                early[number] |= gained
                again = True

    for index, block, var in open_uses:
        uses[index] = (*uses[index][:3], tuple(sorted(resolved(reaching(block, var)))))
    for index, (*use, found) in enumerate(uses) if late else ():
        if type(found) is int and found < NOTHING:
            uses[index] = (*use, tuple(sorted(resolved([found]))))


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
