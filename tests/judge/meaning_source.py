"""The rows that the views of meaning should have of a file, from its syntax tree and symbol table."""

import ast
import collections
import re
import symtable
import warnings

from meaning_nodes import (
    FUNCTIONS,
    Compiled,
    attribute_place,
    is_nothing,
    names_of_functions,
    place,
    raises_nothing,
    read_literal,
    same_set,
    text_of,
    up_to_jump,
    value_of,
    vars_of_place,
    walk_here,
)

VIEWS = tuple(
    "attributes calls call_arguments bases decorators imports handlers names constants awaits global_writes".split()
)

LOGGING = frozenset(
    "debug info warning warn error exception critical fatal log print print_exc print_exception print_last".split()
)
ALL_EXCEPTIONS = frozenset(["BaseException", "Exception", "builtins.BaseException", "builtins.Exception"])
STACK_USE_GUIDELINE = 30
"""With more arguments than this CPython passes them in a tuple and a dictionary."""

OF_CLASSES = frozenset(
    "__module__ __qualname__ __firstlineno__ __type_params__ __classcell__ __classdictcell__ __static_attributes__".split()
)
"""What every class body writes: other statements that write them are not told from that."""

LOCAL, GLOBAL_EXPLICIT, GLOBAL_IMPLICIT, FREE, CELL = 1, 2, 3, 4, 5
"""Scopes as the symbol table numbers them."""


class Unit:
    """A scope on the way down: what it is called, where it begins, its symbols, and the class that mangles its names."""

    def __init__(self, kind, name, line, table, class_name):
        self.kind, self.name, self.line, self.table, self.class_name = kind, name, line, table, class_name
        self.borrowed = []
        """The variables of the comprehensions around that are part of this code object, and the scope of each."""
        self.children = collections.defaultdict(list)
        for child in table.get_children():
            self.children[child.get_lineno(), child.get_name()].append(child)

    def has_child(self, name, line):
        return bool(self.children.get((line, name)))

    def child(self, name, line):
        """The symbols of a scope inside, the next one of its name that begins on a line."""
        found = self.children.get((line, name))
        return found.pop(0) if found else None


class Reader(ast.NodeVisitor):
    """Collects the rows of a file, as the views should have them."""

    def __init__(self, source, path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tree = ast.parse(source)
            self.compiled = Compiled(compile(source, path, "exec", dont_inherit=True))
            table = symtable.symtable(source, path, "exec")
        self.rows = {view: [] for view in VIEWS}
        self.skipped = collections.Counter()
        self.nodes = collections.defaultdict(list)
        for node in ast.walk(self.tree):
            if hasattr(node, "lineno"):
                self.nodes[place(node)].append(node)
        self.unit = Unit("module", "<module>", 1, table, None)
        self.lazy_names = set()
        self.formats, self.annotations, self.returned = [], {}, set()
        self.parts = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
                text = read_literal(value_of(node.left))
                if isinstance(text, str):
                    self.formats.append((place(node), text))
            if isinstance(node, ast.JoinedStr):
                self.parts.update((part.lineno, repr(part.value)) for part in ast.walk(node) if isinstance(part, ast.Constant))
            if isinstance(node, ast.Return) and node.value is not None:
                self.returned.add(value_of(node.value))
            for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
                if isinstance(annotation, ast.expr):
                    self.annotations[place(annotation)] = ast.unparse(annotation)
        for statement in self.tree.body:
            self.visit(statement)

    def add(self, view, row, compiled=True, reason="removed"):
        if compiled:
            self.rows[view].append(row)
        else:
            self.skipped[view, reason] += 1

    def mangle(self, name):
        owner = self.unit.class_name
        if owner is None or not name.startswith("__") or name.endswith("__") or "." in name or not owner.strip("_"):
            return name
        return f"_{owner.lstrip('_')}{name}"

    # --- text of expressions -----------------------------------------------------------------------------------------

    def dotted(self, node):
        """A variable with attributes as text, or None."""
        if isinstance(node, ast.NamedExpr):
            return self.dotted(node.value)
        if isinstance(node, ast.Name) and node.id != "__debug__":
            return self.mangle(node.id)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            # What is false for sure is not compiled.
            *others, last = node.values
            return self.dotted(last) if all(isinstance(value, ast.Constant) and not value.value for value in others) else None
        if isinstance(node, ast.Attribute):
            if self.is_fused(node):
                return f"super().{self.mangle(node.attr)}"
            base = self.dotted(node.value)
            return base and f"{base}.{self.mangle(node.attr)}"
        return None

    def is_fused(self, node):
        """Whether an attribute is one of `super()` that CPython loads without calling anything."""
        value = node.value
        return (
            isinstance(node.ctx, ast.Load)
            and isinstance(value, ast.Call)
            and isinstance(value.func, ast.Name)
            and value.func.id == "super"
            and any(self.compiled.has(where, "LOAD_SUPER_ATTR") for where in (attribute_place(node, node), place(node)))
        )

    # --- scopes ------------------------------------------------------------------------------------------------------

    def inside(self, kind, name, line, class_name, walk, symbols=None):
        table = self.unit.child(symbols or name, line)
        if table is None:
            raise LookupError(f"no symbols of {kind} {name} at line {line}")
        outer, self.unit = self.unit, Unit(kind, name, line, table, class_name)
        walk()
        self.unit = outer

    def scope(self, name):
        """The scope of a name as a view names it; the symbol table has private names mangled."""
        for variables in reversed(self.unit.borrowed):
            if name in variables:
                return variables[name]
        scope = self.symbol(name)
        if scope in (FREE, CELL):
            return "free" if scope == FREE else "cell"
        if self.unit.kind == "class" and scope != GLOBAL_EXPLICIT and not self.unit.borrowed:
            return "class"
        if scope in (GLOBAL_EXPLICIT, GLOBAL_IMPLICIT) or self.unit.kind in ("module", "class"):
            return "global"
        return "local"

    def symbol(self, name):
        try:
            return self.unit.table.lookup(name)._Symbol__scope
        except KeyError:
            return GLOBAL_IMPLICIT

    def name(self, name, access, line, where=None):
        mangled = self.mangle(name)
        opname = {"read": "LOAD", "write": "STORE", "delete": "DELETE"}[access]
        scope = self.scope(mangled)
        row = {"line_number": line, "name": mangled, "access": access, "scope": scope, "place": where}
        known = (line, mangled, opname) in self.compiled.names
        if access == "write" and mangled in OF_CLASSES and (where is None or mangled == "__classcell__"):
            self.skipped["names", "of a class"] += 1
        elif access != "write" and where and where[3] - where[1] != len(name.encode()):
            self.skipped["names", "not spelt in NFKC"] += 1
        else:
            self.add("names", row, known)
        if access != "read" and self.symbol(mangled) == GLOBAL_EXPLICIT:
            row = {"line_number": line, "name": mangled, "access": access}
            self.add("global_writes", row, (line, mangled, opname) in self.compiled.names)

    def visit_all(self, nodes):
        for node in nodes:
            if node is not None:
                self.visit(node)

    # --- statements that make scopes ---------------------------------------------------------------------------------

    def visit_FunctionDef(self, node):
        self.name(node.name, "write", node.lineno)
        self.visit_all(node.args.defaults)
        self.visit_all(node.args.kw_defaults)
        self.decorators(node)
        first = min([node.lineno] + [decorator.lineno for decorator in node.decorator_list])

        def whole():
            self.visit_all(getattr(node, "type_params", ()))
            arguments = node.args.posonlyargs + node.args.args + [node.args.vararg] + node.args.kwonlyargs + [node.args.kwarg]
            self.visit_all(argument.annotation for argument in arguments if argument)
            self.visit_all([node.returns])
            self.inside("function", node.name, node.lineno, self.unit.class_name, lambda: body(arguments))

        def body(arguments):
            self.unit.first = first
            for argument in filter(None, arguments):
                self.parameter(argument.arg)
            self.visit_all(node.body)

        if node.type_params:
            self.inside("type_params", node.name, node.lineno, self.unit.class_name, whole)
        else:
            whole()

    visit_AsyncFunctionDef = visit_FunctionDef

    def parameter(self, name):
        mangled = self.mangle(name)
        row = {"line_number": None, "name": mangled, "access": "parameter", "scope": "local", "place": None}
        self.add("names", {**row, "unit": self.unit_key()}, self.unit_key() in self.compiled.units)

    def unit_key(self):
        unit = self.unit
        name = f"<generic parameters of {unit.name}>" if unit.kind == "type_params" else unit.name
        return f"{name}@{getattr(unit, 'first', unit.line)}"

    def visit_Lambda(self, node):
        self.visit_all(node.args.defaults)
        self.visit_all(node.args.kw_defaults)
        arguments = node.args.posonlyargs + node.args.args + [node.args.vararg] + node.args.kwonlyargs + [node.args.kwarg]

        def body():
            self.unit.name = "<lambda>"
            for argument in filter(None, arguments):
                self.parameter(argument.arg)
            self.visit(node.body)

        self.inside("function", "lambda", node.lineno, self.unit.class_name, body)

    def visit_ClassDef(self, node):
        self.name(node.name, "write", node.lineno)
        self.decorators(node)
        first = min([node.lineno] + [decorator.lineno for decorator in node.decorator_list])

        def whole():
            self.visit_all(node.type_params)
            self.bases(node)
            self.visit_all(node.bases)
            self.visit_all(keyword.value for keyword in node.keywords)
            self.inside("class", node.name, node.lineno, node.name, body)

        def body():
            self.unit.first = first
            self.visit_all(node.body)

        if node.type_params:
            self.inside("type_params", node.name, node.lineno, node.name, whole)
        else:
            whole()

    def comprehension(self, name, node, *parts):
        first, *others = node.generators
        self.visit(first.iter)

        def body():
            self.awaits_of(first)
            self.visit(first.target)
            self.visit_all(first.ifs)
            for generator in others:
                self.awaits_of(generator)
                self.visit(generator.iter)
                self.visit(generator.target)
                self.visit_all(generator.ifs)
            self.visit_all(parts)

        if name == "genexpr" or self.unit.has_child(name, node.lineno):
            self.inside("function", f"<{name}>", node.lineno, self.unit.class_name, body, symbols=name)
            return
        # It is part of the code object around it, and borrows its variables there.
        stored = [part for generator in node.generators for part in ast.walk(generator.target)]
        variables = {self.mangle(part.id) for part in stored if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        shared = {self.mangle(name) for part in parts for name in names_of_functions(part)}
        shared |= {self.mangle(name) for generator in node.generators for part in generator.ifs for name in names_of_functions(part)}
        self.unit.borrowed.append({name: "cell" if name in shared else "local" for name in variables})
        body()
        self.unit.borrowed.pop()

    def awaits_of(self, generator):
        if generator.is_async:
            self.awaited("async for", generator.iter, generator.iter, "GET_AITER")

    def visit_ListComp(self, node):
        self.comprehension("listcomp", node, node.elt)

    def visit_SetComp(self, node):
        self.comprehension("setcomp", node, node.elt)

    def visit_GeneratorExp(self, node):
        self.comprehension("genexpr", node, node.elt)

    def visit_DictComp(self, node):
        self.comprehension("dictcomp", node, node.key, node.value)

    def visit_TypeAlias(self, node):
        # Names of aliases and of bounds are in lazy scopes of their own, whose names are not walked.
        self.skipped["names", "lazy scope"] += 1
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                self.lazy_names.add((part.lineno, self.mangle(part.id)))
            elif isinstance(part, (ast.TypeVar, ast.ParamSpec, ast.TypeVarTuple)):
                self.lazy_names.add((part.lineno, self.mangle(part.name)))
        self.lazily(node.value)

    def lazily(self, node):
        """What is in a lazy scope, but for its names."""
        for part in ast.walk(node) if node else ():
            if isinstance(part, ast.Attribute):
                self.attribute(part, "read")
            elif isinstance(part, ast.Call):
                self.call(part)
            elif isinstance(part, ast.Constant):
                self.visit_Constant(part)

    # --- names -------------------------------------------------------------------------------------------------------

    def visit_Name(self, node):
        access = {ast.Load: "read", ast.Store: "write", ast.Del: "delete"}[type(node.ctx)]
        self.name(node.id, access, node.lineno, place(node))

    def visit_AugAssign(self, node):
        if isinstance(node.target, ast.Name):
            self.name(node.target.id, "read", node.lineno, place(node.target))
        elif isinstance(node.target, ast.Attribute):
            self.attribute(node.target, "read")
        self.visit(node.target)
        self.visit(node.value)

    def visit_ExceptHandler(self, node):
        if node.name:
            self.name(node.name, "write", node.lineno)
        self.generic_visit(node)

    def visit_match_case(self, node):
        self.pattern_line = node.pattern.lineno
        self.visit(node.pattern)
        self.visit_all([node.guard])
        self.visit_all(node.body)

    def captured(self, node, name):
        """What a pattern binds it binds at the end, in the line where it stands or where the whole pattern begins."""
        known = (node.lineno, self.mangle(name), "STORE") in self.compiled.names
        self.name(name, "write", node.lineno if known else self.pattern_line)

    def visit_MatchAs(self, node):
        self.generic_visit(node)
        if node.name:
            self.captured(node, node.name)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node):
        self.generic_visit(node)
        if node.rest:
            self.captured(node, node.rest)

    def visit_TypeVar(self, node):
        self.name(node.name, "write", node.lineno)
        for part in (getattr(node, "bound", None), getattr(node, "default_value", None)):
            for name in ast.walk(part) if part else ():
                if isinstance(name, ast.Name):
                    self.lazy_names.add((name.lineno, self.mangle(name.id)))
            self.lazily(part)

    visit_ParamSpec = visit_TypeVarTuple = visit_TypeVar

    # --- imports -----------------------------------------------------------------------------------------------------

    def visit_Import(self, node):
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            self.name(bound, "write", node.lineno)
            self.imported(node, "import", alias.name, 0, None, bound)

    def visit_ImportFrom(self, node):
        for alias in node.names:
            bound = None if alias.name == "*" else alias.asname or alias.name
            if bound:
                self.name(bound, "write", node.lineno)
            self.imported(node, "from", node.module or "", node.level, alias.name, bound)

    def imported(self, node, statement, module, level, name, bound):
        row = {
            "place": place(node), "statement": statement, "module": self.mangle(module), "level": level, "name": name and self.mangle(name),
            "bound_as": bound and self.mangle(bound), "unit": self.unit_key(),
        }
        self.add("imports", row, self.compiled.has(place(node), "IMPORT_NAME") or "IMPORT_NAME" in self.compiled.dead.get(place(node), ()))

    # --- expressions -------------------------------------------------------------------------------------------------

    def visit_Attribute(self, node):
        self.attribute(node, {ast.Load: "read", ast.Store: "write", ast.Del: "delete"}[type(node.ctx)])
        self.visit(node.value)

    def attribute(self, node, access):
        where = attribute_place(node, node)
        if self.compiled.has(place(node), "LOAD_SUPER_ATTR"):
            where = place(node)
        opnames = {"read": ("LOAD_ATTR", "LOAD_SUPER_ATTR"), "write": ("STORE_ATTR",), "delete": ("DELETE_ATTR",)}[access]
        base = self.dotted(node.value)
        if access == "read" and self.is_fused(node):
            base = "super()"
        attribute = self.mangle(node.attr)
        row = {"place": where, "access": access, "attribute": attribute, "dotted": base and f"{base}.{attribute}"}
        self.add("attributes", row, self.compiled.has(where, *opnames))

    def visit_Call(self, node):
        self.call(node)
        self.generic_visit(node)

    def call_place(self, node):
        places = [place(node)]
        if isinstance(node.func, ast.Attribute):
            places.insert(0, attribute_place(node, node.func))
        return next((where for where in places if self.compiled.has(where, "CALL", "CALL_KW", "CALL_FUNCTION_EX")), None)

    def call(self, node):
        where = self.call_place(node)
        if where is None:
            fused = isinstance(node.func, ast.Name) and node.func.id == "super"
            self.skipped["calls", "super" if fused else "removed"] += 1
            self.skipped["call_arguments", "super" if fused else "removed"] += len(node.args) + len(node.keywords)
            return
        func = node.func.value if isinstance(node.func, ast.NamedExpr) else node.func
        callee = self.dotted(func)
        if isinstance(func, ast.Attribute):
            callee_name = self.mangle(func.attr)
        else:
            callee_name = callee
        stars = any(isinstance(argument, ast.Starred) for argument in node.args)
        double_stars = any(keyword.arg is None for keyword in node.keywords)
        unpacked = stars or double_stars or len(node.args) + 2 * len(node.keywords) > STACK_USE_GUIDELINE
        dictionary = unpacked and node.keywords
        names = [keyword.arg for keyword in node.keywords]
        self.rows["calls"].append({
            "place": where, "callee": callee, "callee_name": callee_name, "is_unpacked": bool(unpacked),
            "positional_count": None if unpacked else len(node.args),
            "keyword_count": None if dictionary else len(names),
            "keyword_names": None if dictionary else " ".join(names),
        })
        self.arguments("call_arguments", where, node.args, node.keywords, bool(unpacked), {"callee": callee})

    def arguments(self, view, where, arguments, keywords, unpacked, more, value="value", text=None):
        """Rows of the arguments of a call or class."""
        text = text or self.simple
        starred = False
        constant = unpacked and arguments and (view != "bases" or len(arguments) > 2)
        if constant and all(value_of(argument) is not None for argument in arguments):
            whole = value_of(ast.Tuple([argument for argument in arguments], ast.Load(), **vars_of_place(arguments[0])))
            row = {"place": where, "kind": "constants", "position": None, "keyword": None, value: whole, **more}
            self.rows[view].append(row)
            arguments = []
        for nth, argument in enumerate(arguments):
            if isinstance(argument, ast.Starred):
                row = {"kind": "star", "position": None, "keyword": None, value: text(argument.value)}
                starred = True
            else:
                row = {"kind": "positional", "position": None if starred else nth, "keyword": None, value: text(argument)}
            self.rows[view].append({"place": where, **row, **more, "branches": self.branches(argument)})
        for keyword in keywords:
            kind = "keyword" if keyword.arg else "double_star"
            row = {"kind": kind, "position": None, "keyword": keyword.arg, value: text(keyword.value)}
            self.rows[view].append({"place": where, **row, **more, "branches": self.branches(keyword.value)})

    def simple(self, node):
        """A value as `py_bc_call_arguments` has it: a constant or a variable; None for any other."""
        folded = self.folded(node)
        if folded is not None:
            return folded
        if isinstance(node, ast.NamedExpr):
            return self.simple(node.value)
        return self.mangle(node.id) if isinstance(node, ast.Name) else None

    def folded(self, node):
        """The `repr` of a constant, or of what the compiler has made one at the node's place."""
        if isinstance(node, ast.Constant):
            return text_of(node.value)
        if isinstance(node, ast.Name):
            return "True" if node.id == "__debug__" else None
        value = value_of(node)
        if isinstance(node, ast.JoinedStr):
            return value if all(isinstance(part, ast.Constant) for part in node.values) else None
        return value if value in self.compiled.constants.get(place(node), ()) else None

    def branches(self, node):
        """What an expression with branches may be: the compiler may compile what follows it once for each of them."""
        if isinstance(node, ast.Starred):
            return self.branches(node.value)
        if isinstance(node, ast.IfExp):
            return self.branches(node.body) | self.branches(node.orelse) | {None}
        if isinstance(node, ast.BoolOp):
            return set().union({None}, *map(self.branches, node.values))
        return {self.simple(node)}

    def base(self, node):
        return self.folded(node) or self.dotted(node)

    def bases(self, node):
        where = place(node)
        if not self.compiled.has(where, "LOAD_BUILD_CLASS"):
            self.skipped["bases", "removed"] += len(node.bases) + len(node.keywords)
            return
        unpacked = any(isinstance(base, ast.Starred) for base in node.bases) or any(k.arg is None for k in node.keywords)
        self.arguments("bases", where, node.bases, node.keywords, unpacked, {"class_name": node.name}, "base", self.base)

    def decorators(self, node):
        first = min([node.lineno] + [decorator.lineno for decorator in node.decorator_list])
        for nth, decorator in enumerate(reversed(node.decorator_list)):
            is_call = isinstance(decorator, ast.Call)
            row = {
                "place": place(decorator), "decorator": self.dotted(decorator.func if is_call else decorator),
                "is_call": is_call, "nth": nth,
                "decorated": f"<generic parameters of {node.name}>" if node.type_params else node.name, "decorated_line": first,
            }
            self.add("decorators", row, self.compiled.has(place(decorator), "CALL"))
        self.visit_all(node.decorator_list)

    # --- awaits ------------------------------------------------------------------------------------------------------

    def awaited(self, kind, node, expression, opname):
        if isinstance(expression, ast.Call):
            func = expression.func.value if isinstance(expression.func, ast.NamedExpr) else expression.func
            text = self.dotted(func)
        else:
            text = self.dotted(expression)
        row = {"place": place(node), "kind": kind, "awaited": text}
        self.add("awaits", row, self.compiled.has(place(node), opname))

    def visit_Await(self, node):
        self.awaited("await", node, node.value, "GET_AWAITABLE")
        self.generic_visit(node)

    def visit_AsyncFor(self, node):
        self.awaited("async for", node.iter, node.iter, "GET_AITER")
        self.generic_visit(node)

    def visit_AsyncWith(self, node):
        for item in node.items:
            self.awaited("async with", item.context_expr, item.context_expr, "BEFORE_ASYNC_WITH")
        self.generic_visit(node)

    # --- constants ---------------------------------------------------------------------------------------------------

    def visit_Constant(self, node):
        if isinstance(node.value, (str, bytes, int, float, complex)) and not isinstance(node.value, bool):
            row = {"place": place(node), "literal": text_of(node.value)}
            self.add("constants", row, text_of(node.value) in self.compiled.constants.get(place(node), ()), "folded or removed")

    def why(self, where, literal):
        """Why a constant is loaded at a place where none is written: None if there is no reason."""
        value = read_literal(literal)
        for node in self.nodes.get(where, ()):
            if self.folded(node) == literal:
                return "folded"
            if isinstance(node, (ast.List, ast.Set)):
                values = value_of(ast.Tuple(node.elts, ast.Load(), **vars_of_place(node)))
                if literal == values or (isinstance(node, ast.Set) and same_set(values, literal)):
                    return "elements of a list or set"
            elif isinstance(node, ast.Call) and literal == value_of(ast.Tuple(node.args, ast.Load(), **vars_of_place(node))):
                return "arguments in a tuple"
            elif isinstance(node, ast.Call) and literal in {repr(keyword.arg) for keyword in node.keywords}:
                return "name of a keyword"
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                written = node.value.value
                if isinstance(written, str) and isinstance(value, str) and value.split() == written.split():
                    return "docstring"
            elif isinstance(node, ast.ClassDef):
                if literal in {repr(node.name), *(repr(keyword.arg) for keyword in node.keywords)} or isinstance(value, tuple):
                    return "name of a class, or its keywords"
            elif isinstance(node, FUNCTIONS):
                names = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)} | {"return"}
                mangled = {repr(name) for name in names} | {literal for name in names if literal.endswith(name + "'")}
                if literal in mangled or literal.startswith("("):
                    return "annotation's name, or defaults"
            elif isinstance(node, ast.AnnAssign):
                if isinstance(node.target, ast.Name) and isinstance(value, str) and value.endswith(node.target.id):
                    return "annotation's name"
            elif isinstance(node, (ast.MatchMapping, ast.MatchClass, ast.MatchSequence)):
                return "keys or length of a pattern"
            elif isinstance(node, (ast.TypeAlias, ast.TypeVar, ast.ParamSpec, ast.TypeVarTuple)):
                return "name of a type parameter"
        if any(abs(where[0] - line) < 20 and literal == part for line, part in self.parts):
            return "part of an f-string"
        if self.formats and isinstance(value, str) and re.fullmatch(r"[<>]\d*(\.\d+)?", value):
            return "part of a % format"
        if literal in self.returned:
            return "returned after a clean-up"
        if where in self.annotations and isinstance(value, str):
            return "annotation as text" if "".join(value.split()) == "".join(self.annotations[where].split()) else None
        for whole, text in self.formats:
            # CPython gives the parts no place, so that they take that of the instruction before or behind, outside the format even.
            if whole[0] - 50 <= where[0] <= whole[2] + 5 and isinstance(value, str):
                if value in text.replace("%%", "%"):
                    return "part of a % format"
        return None

    # --- handlers ----------------------------------------------------------------------------------------------------

    def visit_Try(self, node):
        for handler in node.handlers:
            self.handler(node.body, handler, "except*" if isinstance(node, ast.TryStar) else "except")
        self.generic_visit(node)

    visit_TryStar = visit_Try

    def handler(self, body, node, kind):
        types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type] if node.type else []
        names = [self.dotted(name) for name in types]
        bound = node.name and self.mangle(node.name)
        parts = [part for statement in node.body for part in walk_here(statement)]
        raised = [part for part in parts if isinstance(part, ast.Raise) and self.compiled.has(place(part), "RAISE_VARARGS")]
        asserts = [part for part in parts if isinstance(part, ast.Assert) and self.compiled.has(place(part), "LOAD_ASSERTION_ERROR")]
        calls = [part for part in parts if isinstance(part, ast.Call) and self.call_place(part)]
        loads = [part for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)]
        called = {self.mangle(c.func.attr) if isinstance(c.func, ast.Attribute) else self.dotted(c.func) for c in calls}
        row = {
            "place": place(node), "kind": kind, "is_bare": node.type is None,
            "caught": None if not types or None in names else ", ".join(names),
            "catches_all": node.type is None or bool(ALL_EXCEPTIONS.intersection(names)),
            "bound_as": bound,
            "raises": bool(raised or asserts),
            "reraises": any(part.exc is None or (bound and self.dotted(part.exc) == bound) for part in raised),
            "logs": bool(LOGGING.intersection(called)),
            "reads_exception": bool(bound) and any(
                self.mangle(part.id) == bound and (part.lineno, bound, "LOAD") in self.compiled.names for part in loads
            ),
            "is_empty": all(map(is_nothing, up_to_jump(node.body))),
        }
        row["drops"] = not (row["raises"] or row["logs"] or row["reads_exception"])
        known = place(node) in self.compiled.caught and not raises_nothing(body)
        self.add("handlers", row, known, "of a body that raises nothing, or removed")
