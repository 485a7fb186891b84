"""Nodes of a syntax tree: where they are, what they are as constants, and what was compiled of them."""

import ast
import collections
import dis

FOLDABLE = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Tuple, ast.Subscript, ast.IfExp, ast.BoolOp, ast.Compare, ast.JoinedStr)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Compiled:
    """Which opcodes stand where, and which names are accessed on which line."""

    def __init__(self, code):
        self.places = collections.defaultdict(set)
        self.dead = collections.defaultdict(set)
        """Opcodes by place: of code that can run, and of handlers that no exception leads to."""
        self.names, self.units = set(), set()
        self.constants = collections.defaultdict(set)
        self.caught = set()
        """The places of what stands behind the start of a handler that some exception leads to."""
        units = [code]
        while units:
            unit = units.pop()
            self.units.add(f"{unit.co_name}@{unit.co_firstlineno}")
            units += [constant for constant in unit.co_consts if hasattr(constant, "co_code")]
            targets = {entry.target for entry in dis._parse_exception_table(unit)}
            is_caught = is_dead = False
            for instruction in dis.get_instructions(unit):
                if instruction.opname == "PUSH_EXC_INFO":
                    is_caught = instruction.offset in targets
                    is_dead = not is_caught
                place = instruction.positions
                start, end = (place.lineno, place.col_offset), (place.end_lineno, place.end_col_offset)
                (self.dead if is_dead else self.places)[start + end].add(instruction.opname)
                if is_caught and instruction.opname in ("CHECK_EXC_MATCH", "CHECK_EG_MATCH", "POP_TOP"):
                    self.caught.add(start + end)
                if instruction.opname in ("LOAD_CONST", "RETURN_CONST"):
                    self.constants[start + end].add(repr(instruction.argval))
                kind = instruction.opname.partition("_")[0]
                names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
                for nth, name in enumerate(names):
                    if isinstance(name, str) and kind in ("LOAD", "STORE", "DELETE") and instruction.opname != "LOAD_CONST":
                        access = kind
                        if instruction.opname == "STORE_FAST_LOAD_FAST":
                            access = ("STORE", "LOAD")[nth]
                        self.names.add((instruction.line_number, name, access))

    def has(self, place, *prefixes):
        return any(opname.startswith(prefixes) for opname in self.places.get(place, ()))


def place(node):
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def attribute_place(node, attribute):
    """Where CPython places what it does with an attribute that stands on another line than its object: at the attribute's name."""
    start, start_col, end, end_col = place(node)
    if start != attribute.end_lineno:
        # CPython takes characters for bytes here.
        start, start_col = attribute.end_lineno, attribute.end_col_offset - len(attribute.attr)
        if isinstance(node, ast.Attribute):
            end, end_col = attribute.end_lineno, attribute.end_col_offset
    return start, start_col, end, end_col


def text_of(value):
    """A constant as the facts have it."""
    if isinstance(value, frozenset):
        return f"frozenset({{{', '.join(sorted(map(text_of, value)))}}})"
    return repr(value)


def vars_of_place(node):
    return {name: getattr(node, name) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")}


def walk_here(node):
    """A node and what is in it, but for what is in another code object."""
    yield node
    if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.GeneratorExp)):
        parts = list(getattr(node, "decorator_list", []))
        if isinstance(node, ast.ClassDef):
            parts += node.bases + [keyword.value for keyword in node.keywords]
        elif isinstance(node, ast.GeneratorExp):
            parts.append(node.generators[0].iter)
        else:
            parts += node.args.defaults + [default for default in node.args.kw_defaults if default]
            if not isinstance(node, ast.Lambda):
                arguments = node.args.posonlyargs + node.args.args + [node.args.vararg] + node.args.kwonlyargs + [node.args.kwarg]
                parts += [argument.annotation for argument in arguments if argument and argument.annotation]
                parts += [node.returns] if node.returns else []
    else:
        parts = ast.iter_child_nodes(node)
    for part in parts:
        yield from walk_here(part)


def names_of_functions(node):
    """The names that functions and generators in an expression use."""
    for part in ast.walk(node):
        if isinstance(part, (ast.Lambda, ast.GeneratorExp)):
            own = {a.arg for a in ast.walk(part.args) if isinstance(a, ast.arg)} if isinstance(part, ast.Lambda) else set()
            inside = [part.body] if isinstance(part, ast.Lambda) else [part.elt, *part.generators[1:], *part.generators[0].ifs]
            for name in (name for root in inside for name in ast.walk(root)):
                if isinstance(name, ast.Name) and name.id not in own:
                    yield name.id


def read_literal(text):
    """The constant of that text; None if it is no literal, as `inf` and a set are none."""
    try:
        return None if text is None else ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError):
        return None


def same_set(values, literal):
    found = literal.removeprefix("frozenset(").removesuffix(")")
    try:
        return set(ast.literal_eval(values)) == ast.literal_eval(found)
    except (ValueError, TypeError, SyntaxError):
        return False


def value_of(node):
    """The text of an expression of constants, or None if it is none."""
    if isinstance(node, FOLDABLE):
        if any(isinstance(part, (ast.List, ast.Set, ast.Dict, ast.Starred)) for part in ast.walk(node)):
            return None
        try:
            return text_of(eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}}))
        except Exception:
            return None
    return None


def is_nothing(statement):
    """Whether a statement of a handler does nothing at all."""
    if isinstance(statement, (ast.Pass, ast.Continue, ast.Break, ast.Global, ast.Nonlocal)):
        return True
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Return):
        return statement.value is None or value_of(statement.value) is not None
    return False


def up_to_jump(statements):
    """Statements of a block as far as they are compiled: up to the first that always leaves it."""
    for nth, statement in enumerate(statements):
        if isinstance(statement, (ast.Return, ast.Continue, ast.Break, ast.Raise)):
            return statements[: nth + 1]
    return statements


def raises_nothing(statements):
    """Whether no exception can leave a block, so that the handlers of it are never reached."""
    def nothing(statement):
        if isinstance(statement, ast.Try):
            return all(map(raises_nothing, (statement.body, statement.orelse, statement.finalbody)))
        return isinstance(statement, ast.Pass)

    return all(map(nothing, statements))
