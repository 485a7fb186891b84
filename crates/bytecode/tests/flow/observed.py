"""Which store each load of a local variable or of a cell really reads, watched while CPython runs small functions.

    observed.py SEED COUNT       the functions written below, and COUNT made from a seed

Under `sys.monitoring` every instruction is met before it runs. A shadow of each frame moves with it: what each slot holds (nothing,
a value, or a cell, which is an object of its own), who stored it, and the stack, on which what LOAD_FAST_AND_CLEAR takes out of a slot
lies as it was. So a STORE_FAST that puts a cell back puts back that very cell with what it holds: no rule about comprehensions is
written here, they are only watched. From judge.py comes what each opcode does to the height of the stack.
"""

import itertools
import marshal
import os
import random
import sys
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from judge import ARGUMENT, Unit, send, units

# (name, source of f, lists of arguments; all ways are gone, so that there may be no reaching store beyond the observed ones)
WATCHED = [
    ("outer cell", "def f():\n x = 1; g = lambda: x; [(lambda: x) for x in (2, 3)]; return x, g", [()]),
    ("argument in a cell", "def f(n):\n fs = [lambda: n for n in range(n)]\n return fs, n", [(2,)]),
    ("target of a loop", "def f(items):\n out = []\n for i in items: out.append(lambda: i)\n [(lambda: i) for i in range(3)]; return out, i", [([1, 2],)]),
    ("deleted before", "def f(a):\n x = 1; del x; [x for x in a]\n try: return x\n except NameError: return a", [([1],)]),
    ("unbound, then bound", "def f(a, b):\n [x for x in a]\n if b:\n  try: return x\n  except NameError: return a\n x = 1; return x", [([1], 0), ([1], 1)]),
    ("bound in one arm", "def f(a, b):\n if b: x = 1\n [x for x in a]\n x = [x] if b else 0\n return x", [([1], 0), ([1], 1)]),
    ("nested, one name", "def f(x):\n h = lambda: x\n r = [[(lambda: x) for x in (x, 1)] for x in (2, 3)]\n return r, x, h", [(1,)]),
    ("nested, two names", "def f(a, b):\n c = {a: [b for b in a if (lambda: a)] for a in b}\n return a, b, c", [("a", ["b"])]),
    ("two at once", "def f(x, y):\n g = lambda: (x, y)\n [(x, y) for x, y in [(1, 2)]]; return [lambda: (x, y) for x in (3, 4) for y in (5, 6)], x, y, g", [(1, 2)]),
    ("free outside", "def f():\n def g():\n  r = {(n, lambda: s) for n, s in enumerate('ab')}\n  return s, [s for n in s], r\n s = 'xy'\n return g()", [()]),
    ("changed after", "def f(x):\n g = lambda: x\n [(lambda: x) for x in (2, 3)]\n x = x + 1; [(lambda: x) for x in (2, 3)]\n return x, g", [(1,)]),
    ("in a loop", "def f(items):\n x = 0; g = lambda: x\n for i in items:\n  x = x + i\n  [(lambda: x) for x in (2, 3)]\n return x, g", [([1, 2],), ([],)]),
    ("it raises", "def f(x):\n g = lambda: x\n try: [(lambda: x) / x for x in (2, 3)]\n except TypeError: return x, g", [(1,)]),
]
# Here more ways lead from store to load than any call takes: handlers stand for every instruction that might raise.
NOT_EVERY_WAY = {"deleted before", "unbound, then bound", "it raises"}
# A store that reaches only round an unbound restore or past an arm that two tests exclude together.
NOT_EVERY_WAY |= {"bound in one arm"}
# CPython 3.13.0 wraps the free cell into another one, which only a comprehension over nothing leaves as it is.
NOT_EVERY_WAY |= {"free outside"}


class Cell:
    def __init__(self, stored_by):
        self.stored_by = stored_by


class Frame:
    """The shadow of a frame. A slot holds None or (who stored it, the cell or None)."""

    def __init__(self, unit):
        code = unit.code
        arguments = unit.arguments()
        count = len({*code.co_varnames, *code.co_cellvars}) + len(code.co_freevars)
        self.slots = [(ARGUMENT, None) if index < arguments else None for index in range(count + 16)]
        self.stack = []
        self.pending = None
        self.raised = False


class Watch:
    def __init__(self, module):
        self.units = list(units(module))
        self.known = {id(code): Unit(code) for code in self.units}
        self.frames = {}
        self.seen = {id(code): set() for code in self.units}
        self.met = {id(code): set() for code in self.units}

    def __enter__(self):
        monitoring, events = sys.monitoring, sys.monitoring.events
        monitoring.use_tool_id(3, "observed")
        monitoring.register_callback(3, events.INSTRUCTION, self.instruction)
        monitoring.register_callback(3, events.EXCEPTION_HANDLED, self.handled)
        for code in self.units:
            monitoring.set_local_events(3, code, events.INSTRUCTION)
        monitoring.set_events(3, events.EXCEPTION_HANDLED)
        return self

    def __exit__(self, *_):
        sys.monitoring.set_events(3, 0)
        for code in self.units:
            sys.monitoring.set_local_events(3, code, 0)
        sys.monitoring.free_tool_id(3)

    def handled(self, code, offset, error):
        if id(code) in self.known:
            self.frames[sys._getframe(1)].raised = True

    def instruction(self, code, offset):
        unit = self.known[id(code)]
        index = unit.index[offset]
        this = sys._getframe(1)
        frame = self.frames.get(this)
        if frame is None:
            frame = self.frames[this] = Frame(unit)
            # Cells are made before RESUME, which is the first instruction that CPython lets be watched.
            for before in range(index):
                self.finish(unit, frame, before, before + 1)
        if frame.pending is not None:
            if frame.raised:
                target, depth, lasti = unit.handlers[frame.pending]
                assert target == index, "a handler that the table does not name"
                frame.stack[depth:] = [None] * (1 + lasti)
            else:
                self.finish(unit, frame, frame.pending, index)
        frame.pending, frame.raised = index, False
        self.met[id(code)].add(index)
        self.read(unit, frame, index, self.seen[id(code)])

    def read(self, unit, frame, index, seen):
        """Notes what the instruction is about to read."""
        instruction = unit.instructions[index]
        name, arg = instruction.opname, instruction.arg

        def local(slot, ordinal=0):
            if slot is not None:
                seen.add((index, "local", ordinal, slot[0]))

        match name:
            case "LOAD_FAST" | "LOAD_FAST_CHECK" | "LOAD_FAST_AND_CLEAR":
                local(frame.slots[arg])
            case "LOAD_FAST_LOAD_FAST":
                local(frame.slots[arg >> 4])
                local(frame.slots[arg & 15], 1)
            case "STORE_FAST_LOAD_FAST" if arg >> 4 == arg & 15:
                seen.add((index, "local", 0, index))
            case "STORE_FAST_LOAD_FAST":
                local(frame.slots[arg & 15])
            case "LOAD_DEREF":
                cell = frame.slots[arg][1]
                if cell.stored_by is not None:
                    seen.add((index, "cell", 0, cell.stored_by))

    def finish(self, unit, frame, index, following):
        """Moves the shadow as the instruction has moved the frame."""
        instruction, slots, stack = unit.instructions[index], frame.slots, frame.stack
        name, arg = instruction.opname, instruction.arg

        def store(slot, saved):
            # What LOAD_FAST_AND_CLEAR took out is a list of one: that very slot, be it empty.
            if isinstance(saved, list):
                slots[slot] = saved[0] and (index, saved[0][1])
            else:
                slots[slot] = (index, None)

        match name:
            case "STORE_FAST" | "STORE_FAST_LOAD_FAST":
                store(arg >> 4 if name != "STORE_FAST" else arg, stack[-1])
            case "STORE_FAST_STORE_FAST":
                store(arg >> 4, stack[-1])
                store(arg & 15, stack[-2])
            case "DELETE_FAST":
                slots[arg] = None
            case "MAKE_CELL":
                slots[arg] = (index, Cell(slots[arg] and slots[arg][0]))
            case "COPY_FREE_VARS":
                count = len({*unit.code.co_varnames, *unit.code.co_cellvars})
                for free in range(arg):
                    slots[count + free] = (index, Cell(None))
            case "STORE_DEREF":
                slots[arg][1].stored_by = index
            case "DELETE_DEREF":
                slots[arg][1].stored_by = None
        if name == "FOR_ITER" and following != index + 1 and unit.instructions[following].opname != "END_FOR":
            stack.pop()  # exhausted: the iterator is gone, END_FOR and POP_TOP are skipped
            return
        effect = unit.effects[index]
        base = len(stack) - effect.inputs
        assert base >= 0, "the stack runs empty"
        taken = stack[base:]
        stack[base:] = [None if place is None else taken[place] for place in effect.outputs]
        if name == "LOAD_FAST_AND_CLEAR":
            stack[-1] = [slots[arg]]
            slots[arg] = None


def made(dice):
    """The source of a function that tosses coins, with comprehensions in comprehensions, closures, loops and deletes."""
    names = "xyz"

    def value(depth, targets=()):
        pick = dice.random()
        name = dice.choice(names)
        if depth and pick < 0.55:
            target = dice.choice(names)
            item = value(depth - 1)
            condition = f" if {value(depth - 1)} or 1" if dice.random() < 0.3 else ""
            second = f" for {dice.choice(names)} in (7, 8)" if dice.random() < 0.3 else ""
            return f"[{item} for {target} in (5, 6){second}{condition}]"
        if pick < 0.75:
            return f"(lambda: {name})"
        return name if pick < 0.95 else "1"

    def block(depth, indent):
        for _ in range(dice.randrange(1, 4)):
            pick, name = dice.random(), dice.choice(names)
            if pick < 0.3:
                yield f"{indent}{name} = 0"
            elif pick < 0.6:
                yield f"{indent}{value(3)}"
            elif pick < 0.7:
                yield f"{indent}{name} = {value(2)}"
            elif pick < 0.77:
                yield f"{indent}del {name}"
            elif depth:
                head = dice.choice(["if coin():", f"for {name} in (1, 2):", "while coin():", "try:"])
                yield indent + head
                yield from block(depth - 1, indent + " ")
                if head == "try:":
                    yield f"{indent}except NameError:"
                    yield from block(depth - 1, indent + " ")
            else:
                yield f"{indent}{name}"

    return "\n".join([f"def f({', '.join(dice.sample(names, dice.randrange(4)))}):", *block(2, " "), *block(2, " "), " return x, y, z"])


def watched(name, source, calls, coin, is_every_way):
    module = compile(source, name, "exec", dont_inherit=True, optimize=0)
    with Watch(module) as watch:
        space = {"coin": coin}
        exec(module, space)
        for arguments in calls:
            try:
                space["f"](*arguments)
            except NameError:
                pass
    lines = []
    for code in watch.units:
        seen, met = watch.seen[id(code)], watch.met[id(code)]
        lines.append(f"unit {'every' if is_every_way else 'some'} {len(watch.known[id(code)].instructions)}")
        lines.append("met " + " ".join(map(str, sorted(met))))
        lines.append("uses " + " ".join(":".join(map(str, use)) for use in sorted(seen)))
    send(name.encode())
    send(source.encode())
    send(marshal.dumps(module, 2))
    send("\n".join(lines).encode())


def main(seed, count):
    for name, source, calls in WATCHED:
        watched(name, source, calls, None, name not in NOT_EVERY_WAY)
    for number in range(count):
        dice = random.Random(f"{seed} {number}")
        source = made(dice)
        arguments = source.split(")")[0].count(",") + ("()" not in source.splitlines()[0])
        tosses = itertools.count()
        # Coins fall so that loops end.
        coin = lambda: next(tosses) % 50 != 49 and dice.random() < 0.5
        watched(f"made {seed} {number}", source, [(0,) * arguments] * 12, coin, False)
    send(b"")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*map(int, sys.argv[1:]))
