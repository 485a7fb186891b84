"""What CPython and plain walking say of the flow of code: the other side of the comparison in main.rs.

    judge.py effects                          the effect of every opcode on the stack, for many arguments
    judge.py library EVERY SHARD SHARDS       the flow of the code of every EVERYth file of the standard library, one shard of them
    judge.py code EVERY SHARD SHARDS          the code of those files alone
    judge.py large                            code that tempts an analysis into quadratic time

Nothing here merges anything, orders blocks, or knows of dominators. An interpreter steps through instructions with a stack of
labels that say who pushed each value; it goes down random ways, and down every way there is where a unit has few enough states.
What instructions do to the stack is written in the notation of CPython's bytecodes.c, from which the rules of operands follow:
an input that the output holds in the same place is looked at only, everything else is popped and pushed; `unused` is no operand
unless it is popped.
"""

import dis
import marshal
import os
import random
import re
import struct
import sys
import sysconfig
import types
import warnings

OUT = sys.stdout.buffer

SIGNATURES = """
NOP RESUME EXTENDED_ARG CACHE JUMP_FORWARD JUMP_BACKWARD JUMP_BACKWARD_NO_INTERRUPT RETURN_CONST: --
MAKE_CELL COPY_FREE_VARS SETUP_ANNOTATIONS DELETE_FAST DELETE_DEREF DELETE_GLOBAL DELETE_NAME: --
LOAD_CONST LOAD_FAST LOAD_FAST_CHECK LOAD_FAST_AND_CLEAR LOAD_DEREF LOAD_NAME LOAD_LOCALS: -- value
LOAD_ASSERTION_ERROR LOAD_BUILD_CLASS PUSH_NULL RETURN_GENERATOR: -- res
LOAD_FAST_LOAD_FAST: -- value1 value2
LOAD_GLOBAL: -- res null[oparg & 1]
POP_TOP END_FOR POP_EXCEPT RETURN_VALUE: value --
POP_JUMP_IF_TRUE POP_JUMP_IF_FALSE POP_JUMP_IF_NONE POP_JUMP_IF_NOT_NONE: cond --
STORE_FAST STORE_DEREF STORE_GLOBAL STORE_NAME: value --
STORE_FAST_STORE_FAST: value2 value1 --
STORE_FAST_LOAD_FAST: value1 -- value2
STORE_ATTR: v owner --
DELETE_ATTR: owner --
STORE_SUBSCR: v container sub --
DELETE_SUBSCR: container sub --
STORE_SLICE: v container start stop --
BINARY_SLICE: container start stop -- res
RAISE_VARARGS: args[oparg] --
RERAISE: values[oparg] exc -- values[oparg]
UNARY_INVERT UNARY_NEGATIVE UNARY_NOT TO_BOOL CALL_INTRINSIC_1 CONVERT_VALUE FORMAT_SIMPLE: value -- res
MAKE_FUNCTION: codeobj -- func
SET_FUNCTION_ATTRIBUTE: attr func_in -- func_out
YIELD_VALUE: retval -- value
GET_ITER GET_YIELD_FROM_ITER GET_AITER GET_AWAITABLE: iterable -- iter
LOAD_FROM_DICT_OR_DEREF LOAD_FROM_DICT_OR_GLOBALS: mod_or_class_dict -- v
LOAD_ATTR: owner -- attr self_or_null[oparg & 1]
LOAD_SUPER_ATTR: global_super class self -- attr null[oparg & 1]
BEFORE_WITH BEFORE_ASYNC_WITH: mgr -- exit res
WITH_EXCEPT_START: exit_func lasti unused val -- exit_func lasti unused val res
PUSH_EXC_INFO: exc_in -- prev_exc exc_out
CHECK_EXC_MATCH: left right -- left b
CHECK_EG_MATCH: exc_value match_type -- rest match
CLEANUP_THROW: sub_iter last_sent_val exc_value -- none value
END_ASYNC_FOR: awaitable exc --
UNPACK_SEQUENCE: seq -- values[oparg]
UNPACK_EX: seq -- left[oparg & 0xFF] middle right[oparg >> 8]
BINARY_OP BINARY_SUBSCR COMPARE_OP CONTAINS_OP IS_OP: left right -- res
FORMAT_WITH_SPEC: value fmt_spec -- res
IMPORT_NAME: level fromlist -- res
IMPORT_FROM: from -- from res
CALL_INTRINSIC_2: value2 value1 -- res
SEND: receiver v -- receiver retval
END_SEND: receiver value_in -- value_out
FOR_ITER: iter -- iter next
GET_ANEXT: aiter -- aiter awaitable
GET_LEN: obj -- obj len
MATCH_MAPPING MATCH_SEQUENCE: subject -- subject res
MATCH_KEYS: subject keys -- subject keys values_or_none
MATCH_CLASS: subject type names -- attrs
BUILD_LIST BUILD_TUPLE BUILD_SET: values[oparg] -- res
BUILD_STRING: pieces[oparg] -- str
BUILD_MAP: values[oparg * 2] -- map
BUILD_CONST_KEY_MAP: values[oparg] keys -- map
BUILD_SLICE: start stop step[oparg == 3] -- slice
CALL: callable self_or_null args[oparg] -- res
CALL_KW: callable self_or_null args[oparg] kwnames -- res
CALL_FUNCTION_EX: func unused callargs kwargs[oparg & 1] -- result
LIST_APPEND: list unused[oparg - 1] v -- list unused[oparg - 1]
LIST_EXTEND: list unused[oparg - 1] iterable -- list unused[oparg - 1]
SET_ADD: set unused[oparg - 1] v -- set unused[oparg - 1]
SET_UPDATE: set unused[oparg - 1] iterable -- set unused[oparg - 1]
MAP_ADD: dict unused[oparg - 1] key value -- dict unused[oparg - 1]
DICT_UPDATE: dict unused[oparg - 1] update -- dict unused[oparg - 1]
DICT_MERGE: callable unused unused dict unused[oparg - 1] update -- callable unused unused dict unused[oparg - 1]
"""

RULES = {}
for line in SIGNATURES.strip().splitlines():
    names, _, signature = line.partition(": ")
    sides = []
    for side in signature.split("--"):
        items = re.findall(r"(\w+)(?:\[([^]]+)\])?", side)
        sides.append([(name, compile(count, name, "eval") if count else None) for name, count in items])
    for name in names.split():
        RULES[name] = tuple(sides)


def expand(side, oparg):
    """The names of one side of a signature, with (name, index) for the items of an array."""
    names = []
    for name, count in side:
        if count is None:
            names.append((name, None))
        else:
            names += [(name, index) for index in range(eval(count, {"oparg": oparg}))]
    return names


class Effect:
    """What an instruction does to the stack: `inputs` values are taken, `operands` of them are used (positions from the deepest),
    popped ones first, and `outputs` are put in their place: positions of inputs, or None for a new value."""

    def __init__(self, opname, oparg):
        if opname == "COPY":
            self.inputs, self.operands, self.outputs = oparg, [0], [*range(oparg), 0]
            self.popped = 0
            return
        if opname == "SWAP":
            self.inputs, self.operands = oparg, [0, oparg - 1]
            self.outputs = [oparg - 1, *range(1, oparg - 1), 0]
            self.popped = 0
            return
        taken, left = (expand(side, oparg) for side in RULES[opname])
        stays = [place < len(left) and left[place] == name for place, name in enumerate(taken)]
        self.inputs = len(taken)
        peeked = [place for place, name in enumerate(taken) if stays[place] and name[0] != "unused"]
        popped = [place for place in range(len(taken)) if not stays[place]]
        self.operands = popped + peeked
        self.popped = len(popped)
        self.outputs = [place if place < len(taken) and stays[place] else None for place in range(len(left))]


EFFECTS = {}


def effect_of(opname, oparg):
    key = opname, oparg
    if key not in EFFECTS:
        EFFECTS[key] = Effect(*key)
    return EFFECTS[key]


TERMINATORS = {"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"}
JUMPS = {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
# The outcome of the test for which a conditional jump jumps.
POLARITY = {"POP_JUMP_IF_TRUE": "T", "POP_JUMP_IF_NONE": "T"}

# Labels: an instruction that pushed or stored the value, and below 0: the caller, then handlers' exceptions and positions.
ARGUMENT = -1


def exception_label(handler):
    return -2 - 2 * handler


def lasti_label(handler):
    return -3 - 2 * handler


class Unit:
    def __init__(self, code):
        self.code = code
        self.instructions = list(dis.get_instructions(code))
        self.index = {instruction.offset: index for index, instruction in enumerate(self.instructions)}
        self.entries = dis._parse_exception_table(code)
        self.ways = []
        self.handlers = []
        self.effects = []
        for index, instruction in enumerate(self.instructions):
            opname = instruction.opname
            if opname in TERMINATORS:
                ways = []
            elif opname in JUMPS:
                ways = [self.index[instruction.argval]]
            elif instruction.opcode in dis.hasjump:
                ways = [index + 1, self.index[instruction.argval]]
            else:
                ways = [index + 1]
            self.ways.append(ways)
            entry = next((e for e in self.entries if e.start <= instruction.offset < e.end), None)
            self.handlers.append(entry and (self.index[entry.target], entry.depth, entry.lasti))
            self.effects.append(effect_of(opname, instruction.arg or 0))
        self.events = [list(self.events_of(instruction)) for instruction in self.instructions]
        self.saved_by = self.find_restores()

    def find_restores(self):
        """{(STORE_FAST, slot): the LOAD_FAST_AND_CLEAR whose value it stores}, by stepping once over each instruction."""
        if not any(i.opname == "LOAD_FAST_AND_CLEAR" for i in self.instructions):
            return {}
        found, seen, todo = {}, {0}, [(0, ())]
        while todo:
            index, stack = todo.pop()
            instruction = self.instructions[index]
            arg = instruction.arg
            stores = {
                "STORE_FAST": lambda: [(arg, 1)],
                "STORE_FAST_LOAD_FAST": lambda: [(arg >> 4, 1)],
                "STORE_FAST_STORE_FAST": lambda: [(arg >> 4, 1), (arg & 15, 2)],
            }.get(instruction.opname, list)()
            for slot, place in stores:
                label = stack[-place]
                if label >= 0 and self.instructions[label].opname == "LOAD_FAST_AND_CLEAR":
                    found[index, slot] = label
            after = self.step(index, stack, set())
            states = [(way, after) for way in self.ways[index]]
            if self.handlers[index]:
                states.append(self.raised(index, stack))
            for state in states:
                if state[0] not in seen:
                    seen.add(state[0])
                    todo.append(state)
        return found

    def events_of(self, instruction):
        """(what, namespace, index of the variable) for each thing that an instruction does to a variable."""
        opname, arg = instruction.opname, instruction.arg
        match opname:
            case "LOAD_FAST" | "LOAD_FAST_CHECK":
                yield "use", "local", arg
            case "LOAD_FAST_AND_CLEAR":
                yield "use", "local", arg
                yield "delete", "local", arg
            case "LOAD_FAST_LOAD_FAST":
                yield "use", "local", arg >> 4
                yield "use", "local", arg & 15
            case "STORE_FAST":
                yield "define", "local", arg
            case "STORE_FAST_LOAD_FAST":
                yield "define", "local", arg >> 4
                yield "use", "local", arg & 15
            case "STORE_FAST_STORE_FAST":
                yield "define", "local", arg >> 4
                yield "define", "local", arg & 15
            case "DELETE_FAST":
                yield "delete", "local", arg
            case "MAKE_CELL":
                yield "capture", "cell", arg
                yield "define", "local", arg
            case "COPY_FREE_VARS":
                slots = len(set(self.code.co_varnames) | set(self.code.co_cellvars))
                for index in range(arg):
                    yield "define", "local", slots + index
            case "LOAD_DEREF" | "LOAD_FROM_DICT_OR_DEREF":
                yield "use", "cell", arg
            case "STORE_DEREF":
                yield "define", "cell", arg
            case "DELETE_DEREF":
                yield "delete", "cell", arg
            case "LOAD_GLOBAL":
                yield "use", "global", arg >> 1
            case "LOAD_FROM_DICT_OR_GLOBALS":
                yield "use", "global", arg
            case "STORE_GLOBAL":
                yield "define", "global", arg
            case "DELETE_GLOBAL":
                yield "delete", "global", arg
            case "LOAD_NAME":
                yield "use", "name", arg
            case "STORE_NAME":
                yield "define", "name", arg
            case "DELETE_NAME":
                yield "delete", "name", arg

    def arguments(self):
        code = self.code
        return code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)

    # Control flow, straight from the contract's words.

    def blocks(self):
        code = self.code
        starts = {0, *dis.findlabels(code.co_code)}
        for entry in self.entries:
            starts |= {entry.start, entry.end, entry.target}
        for instruction in self.instructions:
            if instruction.opcode in dis.hasjump or instruction.opname in TERMINATORS:
                starts.add(instruction.end_offset)
        starts.discard(len(code.co_code))
        starts = sorted(starts)
        return list(zip(starts, [*starts[1:], len(code.co_code)]))

    def edges(self, blocks):
        for start, end in blocks:
            last = next(i for i in reversed(self.instructions) if i.offset < end)
            if last.opcode in dis.hasjump and last.opname not in JUMPS:
                jumps_if = POLARITY.get(last.opname, "F")
                yield start, end, "next", "F" if jumps_if == "T" else "T"
                yield start, last.argval, "branch", jumps_if
            elif last.opname in JUMPS:
                yield start, last.argval, "jump", "-"
            elif last.opname not in TERMINATORS:
                yield start, end, "next", "-"
            for number, entry in enumerate(self.entries):
                if entry.start < end and start < entry.end:
                    yield start, entry.target, "exc", f"{number}"

    # The stack.

    def step(self, index, stack, uses):
        """The stack after an instruction; adds its uses of values to `uses`."""
        effect = self.effects[index]
        base = len(stack) - effect.inputs
        assert base >= 0, "the stack runs empty"
        taken = stack[base:]
        for number, place in enumerate(effect.operands):
            uses.add((index, number, taken[place]))
        return stack[:base] + tuple(index if place is None else taken[place] for place in effect.outputs)

    def raised(self, index, stack):
        target, depth, lasti = self.handlers[index]
        assert len(stack) >= depth, "the stack is lower than the handler's depth"
        return target, stack[:depth] + ((lasti_label(target),) if lasti else ()) + (exception_label(target),)

    def every_stack(self, limit):
        """Depths and uses of every way through the unit; None if there are too many states."""
        seen = {(0, ())}
        todo = [(0, ())]
        uses = set()
        depths = [None] * len(self.instructions)
        deepest = 0
        while todo:
            if len(seen) > limit:
                return None
            index, stack = todo.pop()
            assert depths[index] in (None, len(stack)), "two ways disagree about the depth"
            depths[index] = len(stack)
            after = self.step(index, stack, uses)
            deepest = max(deepest, len(stack), len(after))
            states = [(way, after) for way in self.ways[index]]
            if self.handlers[index]:
                states.append(self.raised(index, stack))
            for state in states:
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
        return depths, deepest, uses

    # Variables. A slot and the cell of the same index are followed together, since a cell may take over what the slot holds; with
    # them what LOAD_FAST_AND_CLEAR has taken out of the slot and not yet put back, cell and all.

    def follow(self, key, index, labels, uses):
        ordinal = 0
        for what, namespace, variable in self.events[index]:
            mine = variable == key[1] and (namespace in ("local", "cell")) == (key[0] == "fast") and (key[0] == "fast" or namespace == key[0])
            if mine:
                side = 1 if namespace == "cell" else 0
                local, cell, saved = labels
                if what == "use":
                    if labels[side] is not None:
                        uses.add((index, namespace, ordinal, labels[side]))
                elif self.instructions[index].opname == "LOAD_FAST_AND_CLEAR":
                    kept = tuple(item for item in saved if item[0] != index)
                    labels = (None, None, (*kept, (index, local, cell)))
                elif what == "define" and namespace == "local" and (index, variable) in self.saved_by:
                    by = self.saved_by[index, variable]
                    local, cell = next(item[1:] for item in saved if item[0] == by)
                    labels = (None if local is None else index, cell, tuple(item for item in saved if item[0] != by))
                else:
                    new = {"define": index, "delete": None, "capture": local}[what]
                    labels = (local, new, saved) if side else (new, cell, saved)
            ordinal += what == "use"
        return labels

    def keys(self):
        """The variables that are used somewhere: ("fast", index), ("global", index) or ("name", index)."""
        keys = set()
        for events in self.events:
            for what, namespace, variable in events:
                if what == "use":
                    keys.add(("fast" if namespace in ("local", "cell") else namespace, variable))
        return sorted(keys)

    def initial(self, key):
        return (ARGUMENT if key[0] == "fast" and key[1] < self.arguments() else None, None, ())

    def every_value(self, key, uses):
        touched = [any(v == key[1] for _, _, v in events) for events in self.events]
        state = (0, self.initial(key))
        seen = {state}
        todo = [state]
        while todo:
            index, labels = todo.pop()
            after = self.follow(key, index, labels, uses) if touched[index] else labels
            states = [(way, after) for way in self.ways[index]]
            if self.handlers[index]:
                states.append((self.handlers[index][0], labels))
            for state in states:
                if state not in seen:
                    seen.add(state)
                    todo.append(state)

    # Random ways, with the stack and all variables at once.

    def walk(self, dice, keys, stack_uses, variable_uses):
        index, stack = 0, ()
        labels = {key: self.initial(key) for key in keys}
        by_index = {}
        for key in keys:
            by_index.setdefault(key[1], []).append(key)
        for _ in range(2 * len(self.instructions) + 100):
            if self.handlers[index] and dice.random() < 0.05:
                index, stack = self.raised(index, stack)
                continue
            stack = self.step(index, stack, stack_uses)
            if self.events[index]:
                for key in {key for _, _, variable in self.events[index] for key in by_index.get(variable, ())}:
                    labels[key] = self.follow(key, index, labels[key], variable_uses)
            if not self.ways[index]:
                if not self.handlers[index] or self.instructions[index].opname.startswith("RETURN"):
                    return
                index, stack = self.raised(index, stack)
                continue
            index = dice.choice(self.ways[index])


STATES = 30_000
VARIABLE_STATES = 200_000
WALKS = 3


def facts(code, dice):
    unit = Unit(code)
    yield f"unit {len(unit.instructions)} {code.co_stacksize} {code.co_qualname}"
    blocks = unit.blocks()
    yield "blocks " + " ".join(f"{start}-{end}" for start, end in blocks)
    yield "edges " + " ".join(sorted(":".join(map(str, edge)) for edge in unit.edges(blocks)))

    keys = unit.keys()
    stack_uses, variable_uses = set(), set()
    for _ in range(WALKS):
        unit.walk(dice, keys, stack_uses, variable_uses)
    every = unit.every_stack(STATES)
    if every:
        depths, deepest, uses = every
        assert stack_uses <= uses, "a walk found what the search for every way did not"
        yield f"depths {deepest} " + " ".join("-" if depth is None else str(depth) for depth in depths)
        stack_uses = uses
    yield f"stack {'every' if every else 'some'} " + " ".join(":".join(map(str, use)) for use in sorted(stack_uses))

    # As many variables as there is patience for, each followed down every way.
    patience = max(1, VARIABLE_STATES // (3 * len(unit.instructions)))
    whole = keys if len(keys) <= patience else dice.sample(keys, patience)
    uses = set()
    for key in whole:
        unit.every_value(key, uses)
    yield "followed " + " ".join(f"{kind}:{index}" for kind, index in whole)
    yield "every " + " ".join(":".join(map(str, use)) for use in sorted(uses))
    yield "walked " + " ".join(":".join(map(str, use)) for use in sorted(variable_uses))


PROGRAMS = {
    "with": """
def f(a, b):
    with a as x, b as y:
        if x: return y
        for z in y:
            try: z()
            finally: x = z
    return x
async def g(a, b):
    async with a as x, b:
        async for y in x: await y(x)
        else: return [await z async for z in x if z]
    yield x
    await (yield y)
""",
    "try": """
def f(a):
    try:
        try: x = a(); x = x.y; del x
        except (A, B) as e:
            x = e
            raise
        except* C: pass
    finally: print(a, x)
""".replace("        except* C: pass\n", "")
    + """
def g(a):
    while a:
        try:
            if a(1): continue
            a = a(2)
            if a(3): break
        except A: a = 1; continue
        except: a = 2; break
        else: a = 3
        finally:
            try: b = a
            finally: print(b)
    else: return b
    try: x = a(); y = a()
    except* (A, B) as e: print(e, x)
    except* C: y = x
    return x, y
""",
    "match": """
def f(a):
    match a:
        case [x, y, *z] if x: return z, y
        case {'k': [p, q], **r} | {'l': (p, q), **r}: pass
        case C(u, v=w) | C(w, v=u): return u, w
        case [[m, n], o] | [o, [m, n]]: return m, o
        case None | 'x' | -1: p = q = r = a
        case x: return x
    return p, q, r
""",
    "scopes": """
def f(a, b=1, *c, d, **e):
    def g():
        nonlocal a, x
        x = a
        del a
        return lambda: (x, b, c)
    x = 1
    class C[T: a]:
        y: T = x
        z = [y for y in x for w in y]
        def m(self): return super().m, __class__
        del y
    for i in [lambda: j for j in a]: j = i
    return x, a, {k: (lambda: k)() for k in e}, C
global_ = 1
def h():
    global global_
    global_ += 1
    if global_: del global_
    return global_
""",
    "expressions": """
def f(a, b, c):
    x = a if b else c if a else (b and c or a)
    y = z = a < b < c < x if x else not a
    a.b[c].d += y; a[b:c] += z; del a[b], a.b
    (p, *q), r = (s := a), f'{a!r:>{b}} {c=}'
    return [*a, *b], {**a, 'x': b, **c}, a(*b, **c), a(b, k=c, *x), p(q, r=s), {*a, b}, a[b:c:x], lambda d=p: d
""",
}


def sources(every):
    for name, program in PROGRAMS.items():
        yield name, program.encode()
    library = sysconfig.get_path("stdlib")
    paths = []
    for folder, folders, names in os.walk(library):
        folders[:] = sorted(set(folders) - {"site-packages", "__pycache__"})
        paths += [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
    for path in paths[::every]:
        with open(path, "rb") as file:
            yield os.path.relpath(path, library).replace(os.sep, "/"), file.read()


def units(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from units(constant)


def send(payload):
    OUT.write(struct.pack("<I", len(payload)))
    OUT.write(payload)


def library(with_facts, every, shard, shards):
    for number, (name, source) in enumerate(sources(every)):
        if number % shards != shard:
            continue
        try:
            code = compile(source, name, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError):
            continue
        # Each file has its own random ways, the same in every run.
        dice = random.Random(name)
        send(name.encode())
        send(marshal.dumps(code, 2))
        if not with_facts:
            continue
        send("\n".join(line for unit in units(code) for line in facts(unit, dice)).encode("utf-8", "surrogatepass"))
    send(b"")


def lines(count, template):
    return "".join(template.format(i=i, before=max(0, i - 1)) for i in range(count))


LARGE = {
    "tries": lambda n: lines(n, "try: x{i} = g(y)\nexcept E: x{i} = None\n") + lines(n, "print(x{i})\n"),
    "one try": lambda n: "def f(y):\n try:\n" + lines(2 * n, "  x{i} = y(x{before})\n  if y: x{i} = 3\n") + " except E: print(x0, x9, x99)\n",
    "inner tries": lambda n: "def f(y):\n try:\n" + lines(n, "  try: x{i} = y()\n  except F: z = x{i}\n") + " except E: print(x0, x9, x99)\n",
    "deep stack": lambda n: "try:\n def f(" + lines(n, "a{i}=(x if y else [z{i} for z{i} in y]),") + "): pass\nexcept E: pass\n",
    "decorators": lambda n: lines(4 * n, "@(a if b else c)\n") + "def f(): pass\n",
    "chain": lambda n: "def f(a): return " + " and ".join(f"a.b{i}" for i in range(8 * n)),
    "ifs": lambda n: "def f(a):\n" + lines(4 * n, " if a.b{i}: x = a\n") + " return x\n",
    "awaits": lambda n: "async def f(a):\n async with a as b:\n  try:\n" + lines(n, "   x{i} = await a(b)\n") + "  finally: print(x1)\n",
    "match": lambda n: "def f(a):\n match a:\n" + lines(n, "  case [x, {{'k{i}': y}}, C(z, w=q)] if x: print(x, y, z, q)\n"),
}


def large():
    for name, program in LARGE.items():
        send(name.encode())
        send(marshal.dumps(compile(program(8000), name, "exec"), 2))
    send(b"")


def counts_of_the_headers():
    """What CPython's own generated table says that opcodes pop and push, if its internal headers are installed."""
    path = os.path.join(sysconfig.get_path("include"), "internal", "pycore_opcode_metadata.h")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        text = file.read()
    tables = []
    for kind in "popped", "pushed":
        body = text.split(f"_PyOpcode_num_{kind}(int opcode, int oparg)  {{")[1].split("default:")[0]
        rows = re.findall(r"case (\w+):\s*return ([^;]+);", body)
        python = {name: re.sub(r"\((oparg == 3)\) \? 1 : 0", r"oparg == 3", text) for name, text in rows}
        tables.append({name: compile(text, name, "eval") for name, text in python.items()})
    return tables


def effects():
    """Lines of opcode, argument, net effect, inputs and operands by the signatures, and counts of CPython's header or -1."""
    headers = counts_of_the_headers()
    skipped = {"INTERPRETER_EXIT", "RESERVED", "EXIT_INIT_CHECK", "ENTER_EXECUTOR"}
    lines = []
    for name, opcode in sorted(dis.opmap.items()):
        if opcode > 255 or name.startswith("INSTRUMENTED_"):
            continue
        arguments = [*range(1, 40), 127, 128, 255, 256, 257, 511, 1000, 65_535, 65_536, 1 << 20, (1 << 24) - 1, (1 << 29) + 3]
        if opcode not in dis.hasarg:
            arguments = [None]
        elif name not in ("COPY", "SWAP", "LIST_APPEND", "LIST_EXTEND", "SET_ADD", "SET_UPDATE", "MAP_ADD", "DICT_UPDATE", "DICT_MERGE"):
            arguments.insert(0, 0)
        for arg in arguments:
            by_jump = {dis.stack_effect(opcode, arg, jump=jump) for jump in (True, False, None)}
            assert len(by_jump) == 1, f"{name} {arg} depends on the jump"
            oparg = arg or 0
            inputs = operands = pops = -1
            if name not in skipped and oparg <= 1000 and not (name == "SWAP" and oparg < 2):
                effect = effect_of(name, oparg)
                inputs, operands, pops = effect.inputs, len(effect.operands), effect.popped
            reach = -1
            if headers and name in headers[0]:
                reach = eval(headers[0][name], {"oparg": oparg})
            lines.append(f"{opcode} {name} {'-' if arg is None else arg} {by_jump.pop()} {inputs} {operands} {pops} {reach}")
    send("\n".join(lines).encode())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(10_000)
    if sys.argv[1] in ("effects", "large"):
        effects() if sys.argv[1] == "effects" else large()
    else:
        library(sys.argv[1] == "library", *map(int, sys.argv[2:]))
