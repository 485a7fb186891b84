"""The judge judged: tricky sources whose facts are known beforehand, and an untouched `dis` beside the tuned one.

Run by `dis_facts.py --selftest`.
"""

import importlib.util
import json
import os
import subprocess
import sys
import unittest

import dis_facts
import facts
import stdlib

SAMPLE = (
    "statistics.py", "typing.py", "contextlib.py", "asyncio/tasks.py", "test/test_patma.py", "test/test_dis.py",
    "test/test_generators.py", "test/test_coroutines.py", "test/test_except_star.py", "test/test_type_params.py",
    "test/test_peepholer.py", "decimal.py", "_pydecimal.py", "enum.py", "pydoc_data/topics.py",
)  # fmt: skip


def load_stock_dis():
    """A second `dis`, as the standard library has it."""
    spec = importlib.util.find_spec("dis")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stock_dis = load_stock_dis()


def record(source, path="m.py", **options):
    raw = source if isinstance(source, bytes) else source.encode()
    result = dis_facts.file_record(raw, path, **options)
    return json.loads(dis_facts._encode(result).encode().decode())


STOCK_COLUMNS = (
    "offset", "start_offset", "end_offset", "opname", "opname", "opcode", "opcode", "arg", "arg", "line_number",
    "starts_line", "label", "jump_target", "start_col", "end_col",
)  # fmt: skip


def stock_row(one):
    """What an untouched `dis` says, its own derived properties included, in the order of STOCK_COLUMNS."""
    return (
        one.offset, one.start_offset, one.end_offset, one.opname, one.baseopname, one.opcode, one.baseopcode, one.arg,
        one.oparg, one.line_number, int(one.starts_line), one.label, one.jump_target, one.positions.col_offset,
        one.positions.end_col_offset,
    )  # fmt: skip


def rows(unit):
    columns = unit["instructions"]
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def unit_named(result, name):
    (unit,) = [unit for unit in result["units"] if unit["name"] == name]
    return unit


class Judge(unittest.TestCase):
    maxDiff = None

    def instruction(self, unit, opname, which=0):
        found = [row for row in rows(unit) if row["opname"] == opname]
        self.assertTrue(found, f"no {opname} in {unit['instructions']['opname']}")
        return found[which]

    # --- instructions ---

    def test_superinstructions_name_both_locals(self):
        unit = unit_named(record("def f(a, b):\n    c, d = a, b\n    return c + d\n"), "f")
        load = self.instruction(unit, "LOAD_FAST_LOAD_FAST")
        self.assertEqual((load["argval_kind"], load["argval_str"], load["argrepr"]), ("local", "('a', 'b')", "a, b"))
        self.assertEqual((load["arg"], load["argval_int"]), (0x01, None))

    def test_kinds_of_argval(self):
        source = "def f(x):\n    global g\n    def h(): return x < g.a\n    for i in x: print(f'{i!r}')\n    return h\n"
        result = record(source)
        outer, inner = unit_named(result, "f"), unit_named(result, "h")
        self.assertEqual(self.instruction(outer, "MAKE_CELL")["argval_kind"], "free")
        self.assertEqual(self.instruction(inner, "LOAD_DEREF")["argval_str"], "x")
        compare = self.instruction(inner, "COMPARE_OP")
        self.assertEqual((compare["argval_kind"], compare["argval_str"], compare["argval_int"]), ("compare", "<", None))
        self.assertEqual(self.instruction(inner, "LOAD_GLOBAL")["argrepr"], "g")
        self.assertEqual(self.instruction(outer, "LOAD_GLOBAL")["argrepr"], "print + NULL")
        convert = self.instruction(outer, "CONVERT_VALUE")
        self.assertEqual((convert["argval_kind"], convert["argval_int"], convert["argrepr"]), (None, 2, "repr"))
        closure = self.instruction(outer, "SET_FUNCTION_ATTRIBUTE")
        self.assertEqual((closure["argval_int"], closure["argrepr"]), (8, "closure"))
        loop = self.instruction(outer, "FOR_ITER")
        target = next(row for row in rows(outer) if row["offset"] == loop["jump_target"])
        self.assertEqual((target["opname"], loop["argval_int"]), ("END_FOR", target["offset"]))
        self.assertEqual(loop["argrepr"], f"to L{target['label']}")
        self.assertEqual(self.instruction(outer, "RESUME")["argval_int"], 0)
        self.assertIsNone(self.instruction(outer, "GET_ITER")["argval_int"])

    def test_extended_arg_rows_are_counted(self):
        names = ", ".join(f"n{index}" for index in range(70000))
        unit = record(f"x = ({names})\n")["units"][0]
        found = rows(unit)
        last = next(row for row in found if row["argval_str"] == "n69999")
        index = found.index(last)
        self.assertEqual([row["opname"] for row in found[index - 2 : index]], ["EXTENDED_ARG", "EXTENDED_ARG"])
        self.assertEqual(last["start_offset"], last["offset"] - 4)
        self.assertEqual([row["arg"] for row in found[index - 2 : index + 1]], [1, 0x111, 69999])
        self.assertEqual(found[index - 1]["start_offset"], found[index - 1]["offset"])

    def test_jumps_land_on_the_prefix(self):
        body = "".join(f"    a{index}.b.c()\n" for index in range(400))
        unit = record(f"while q:\n{body}")["units"][0]
        found = {row["offset"]: row for row in rows(unit)}
        back = self.instruction(unit, "JUMP_BACKWARD")
        self.assertGreater(back["arg"], 255)
        self.assertIsNotNone(found[back["jump_target"]]["label"])
        self.assertEqual(back["start_offset"] + 2, back["offset"])

    def test_cache_fields_follow_one_another(self):
        table = facts.CacheTable()
        op = facts.dis.opmap["LOAD_ATTR"]
        table.index(op, bytes(range(18)))
        expected = [
            ["counter", 1, "0001"],
            ["version", 2, "02030405"],
            ["keys_version", 2, "06070809"],
            ["descr", 4, "0a0b0c0d0e0f1011"],
        ]
        self.assertEqual(table.rows, [expected])

    def test_equal_to_an_untouched_dis(self):
        for path in SAMPLE:
            with self.subTest(path), open(os.path.join(stdlib.root(), path), "rb") as file:
                self.compare_with_stock(file.read(), path)

    def compare_with_stock(self, raw, path):
        result = record(raw, path)
        self.assertIsNone(result["error"])
        units = list(facts.walk(compile(raw, path, "exec", dont_inherit=True, optimize=0)))
        self.assertEqual(len(units), len(result["units"]))
        for unit, judged in zip(units, result["units"]):
            stream = list(stock_dis.get_instructions(unit.code))
            columns = judged["instructions"]
            self.assertEqual([stock_row(one) for one in stream], list(zip(*(columns[name] for name in STOCK_COLUMNS))))
            for one, argrepr, cache in zip(stream, columns["argrepr"], columns["cache"]):
                if one.argrepr != argrepr:
                    self.assertRegex(one.argrepr, r" at 0x[0-9a-f]+, file|frozenset")
                fields = [] if cache is None else result["caches"][cache]
                self.assertEqual([tuple(field[:2]) for field in fields], [info[:2] for info in one.cache_info or ()])
            self.assertNotIn(" at 0x", "".join(name for name in columns["argrepr"] if name.startswith("<code")))

    # --- constants ---

    def consts(self, source):
        return record(source)["units"][0]["consts"]["const_repr"]

    def test_frozenset_is_sorted_by_type_then_text(self):
        texts = self.consts("x in {'b', 10, 9, b'a', None, 2.5, 'a', (1,), ...}\n")
        self.assertIn("frozenset({None, b'a', Ellipsis, 2.5, 10, 9, 'a', 'b', (1,)})", texts)

    def test_frozenset_in_a_tuple_and_empty_text(self):
        self.assertEqual(facts.canonical((frozenset("ba"), 1)), "(frozenset({'a', 'b'}), 1)")
        self.assertEqual(facts.canonical(frozenset()), "frozenset()")
        self.assertEqual(facts.canonical(slice(None, (1,), 0x10)), "slice(None, (1,), 16)")

    def test_seed_does_not_show(self):
        source = "x in {'b', 'a', 'c', 'd', 'e'}\nclass C:\n    def f(self): self.a = self.b = self.c = 1\n"
        outputs = {self.in_child(source, seed) for seed in "0123"}
        self.assertEqual(len(outputs), 1)

    def in_child(self, source, seed):
        script = "import sys, dis_facts; sys.stdout.write(dis_facts._encode(dis_facts.file_record(%r, 'm.py')))"
        return subprocess.run(
            [sys.executable, "-c", script % source.encode()],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=os.path.dirname(os.path.abspath(__file__)),
            check=True, capture_output=True,
        ).stdout  # fmt: skip

    def test_floats(self):
        texts = self.consts("f(-0.0, 0.0, 1e999, -1e999, 1e999 - 1e999, 1e22, 5e-324, -0j)\n")
        self.assertLessEqual({"-0.0", "0.0", "inf", "-inf", "nan", "1e+22", "5e-324", "(-0-0j)"}, set(texts))
        self.assertIn("(1+0j)", self.consts("x = 1 + 0j\n"))

    def test_lone_surrogates(self):
        unit = record("x = '\\ud800é\\U0001f600'\n")["units"][0]
        row = self.instruction(unit, "LOAD_CONST")
        self.assertEqual(row["argval_str"], "\\ud800é\U0001f600")
        self.assertEqual(row["argrepr"], "'\\ud800é\U0001f600'")

    def test_huge_ints(self):
        fits, beyond = 10**4300 - 1, 10**4300
        texts = self.consts(f"x = {hex(fits)}, y\nx = {hex(beyond)}, y\nx = ({hex(beyond)}, -{hex(beyond)})\n")
        self.assertIn("9" * 4300, texts)
        self.assertIn(hex(beyond), texts)
        self.assertIn(f"({hex(beyond)}, -{hex(beyond)})", texts)

    def test_ints_beyond_64_bits_have_no_argval_int(self):
        unit = record("f(9223372036854775807, 9223372036854775808, -9223372036854775808, True, None)\n")["units"][0]
        found = [(row["argval_int"], row["argval_str"]) for row in rows(unit) if row["opname"] == "LOAD_CONST"]
        self.assertEqual(
            found,
            [(2**63 - 1, str(2**63 - 1)), (None, str(2**63)), (-(2**63), str(-(2**63))), (1, "True"), (None, None)],
        )

    # --- units ---

    def test_same_line_siblings_are_told_apart(self):
        result = record("x = (a for a in b), (a for a in c)\n")
        self.assertEqual([unit["code_path"] for unit in result["units"]], [[], [0], [1]])
        self.assertEqual(len({unit["code_unit_id"] for unit in result["units"]}), 3)
        self.assertEqual({unit["qualname"] for unit in result["units"][1:]}, {"<module>.<genexpr>@1"})
        children = [child for child in result["units"][0]["consts"]["child_code_unit_id"] if child]
        self.assertEqual(children, [unit["code_unit_id"] for unit in result["units"][1:]])

    def test_units_are_in_pre_order(self):
        result = record("class C:\n    def m(self):\n        return lambda: 0\n    def n(self): pass\ndef f(): pass\n")
        self.assertEqual(
            [(unit["qualname"], unit["unit_kind"], unit["code_path"]) for unit in result["units"]],
            [
                ("<module>", "module", []),
                ("<module>.C@1", "class", [0]),
                ("<module>.C@1.m@2", "function", [0, 0]),
                ("<module>.C@1.m@2.<lambda>@3", "lambda", [0, 0, 0]),
                ("<module>.C@1.n@4", "function", [0, 1]),
                ("<module>.f@5", "function", [1]),
            ],
        )

    def test_kinds_of_type_syntax(self):
        generics = "type Y[T: int] = list[T]\nclass C[T = int](B[T]): pass\n@d\ndef T[T: (T,) = 1](): pass\n"
        result = record("type X = int\n" + generics)
        self.assertEqual(
            [(unit["name"], unit["unit_kind"]) for unit in result["units"]],
            [
                ("<module>", "module"),
                ("X", "type_alias"),
                ("<generic parameters of Y>", "type_params"),
                ("T", "type_var_bound"),
                ("Y", "type_alias"),
                ("<generic parameters of C>", "type_params"),
                ("T", "type_param_default"),
                ("C", "class"),
                ("<generic parameters of T>", "type_params"),
                ("T", "type_var_constraints"),
                ("T", "type_param_default"),
                ("T", "function"),
            ],
        )

    def test_legacy_vectors(self):
        self.assertEqual(facts.code_id("<module>", "<module>", 1), "code:dd6d05d53f10ab17093cde448bd68d4a")
        self.assertEqual(facts.file_id("pkg/mod.py"), "file:e38ce2e912202f083f4e67112ef6f755")

    def test_tables(self):
        unit = unit_named(record("def f():\n    try:\n        g()\n    finally:\n        h()\n"), "f")
        table = unit["exception_table"]
        code = compile("def f():\n    try:\n        g()\n    finally:\n        h()\n", "m.py", "exec").co_consts[0]
        expected = [(entry.start, entry.end, entry.target, entry.depth, entry.lasti)
                    for entry in stock_dis._parse_exception_table(code)]  # fmt: skip
        self.assertEqual(list(zip(*table.values())), expected)
        self.assertTrue(expected)
        lines = record("\n\nx = 1\n")["units"][0]["line_table"]
        self.assertEqual(lines, {"offset": [0, 2], "line1": [0, 3], "line0": [None, 2]})

    # --- spans ---

    def spans(self, raw, opname="LOAD_NAME"):
        result = record(raw)
        self.assertIsNone(result["error"])
        return [
            None if row["byte_start"] is None else raw[row["byte_start"] : row["byte_start"] + row["byte_len"]]
            for row in rows(result["units"][0])
            if row["opname"] == opname
        ]

    def test_spans_find_their_bytes(self):
        lines = ["é = 'ü'", "(é.b(", "  c))", "\fü", ""]
        for end in ("\n", "\r\n", "\r"):
            for bom in (b"", b"\xef\xbb\xbf"):
                raw = bom + end.join(lines).encode()
                self.assertEqual(self.spans(raw), ["é".encode(), b"c", "ü".encode()], (end, bom))
                self.assertEqual(self.spans(raw, "STORE_NAME"), ["é".encode()], (end, bom))

    def test_mixed_line_ends(self):
        raw = b"a\r\rb\r\n\r\nc\n\rd\r\n\r\re"
        self.assertEqual(self.spans(raw), [b"a", b"b", b"c", b"d", b"e"])

    def test_only_lf_cr_and_crlf_end_lines(self):
        raw = "'\x0b\x0c\x1c\x85\u2028'; x\ny\n".encode()
        self.assertEqual(self.spans(raw), [b"x", b"y"])

    def test_other_encodings_have_no_byte_span(self):
        raw = "# coding: latin-1\né = 'ü'; x\n".encode("latin-1")
        self.assertEqual(self.spans(raw), [None])
        self.assertEqual(record(raw)["encoding"], "iso8859-1")
        self.assertEqual(self.instruction(record(raw)["units"][0], "LOAD_CONST")["argval_str"], "ü")
        for cookie in ("utf-8", "UTF_8", "utf8", "utf-8-unix", "U8"):
            raw = f"#!x\r# vim: set fileencoding={cookie} :\nx\n".encode()
            if cookie == "utf-8-unix":  # CPython takes any name that starts with utf-8-
                self.assertIsNone(record(raw)["error"])
            self.assertEqual(self.spans(raw), [b"x"], cookie)

    def test_module_resume_has_line_zero(self):
        first = rows(record("x\n")["units"][0])[0]
        self.assertEqual((first["line_number"], first["start_line0"], first["end_line0"]), (0, None, 0))
        self.assertEqual((first["byte_start"], first["start_col"]), (None, 0))

    def test_lines_are_counted(self):
        for raw, lines in ((b"", 0), (b"\n", 1), (b"#", 1), (b"#\r\r\n\n", 3), (b"\xef\xbb\xbf", 0), (b"\r\n#\r", 2)):
            self.assertEqual(record(raw)["source_lines"], lines, raw)

    # --- errors ---

    def failure(self, raw):
        result = record(raw)
        self.assertEqual(result["units"], [])
        error = result["error"]
        return error["stage"], error["error_type"], error["message"], error["line1"], error["col"]

    def test_errors(self):
        self.assertEqual(self.failure(b"x = = 1\n"), ("compile", "SyntaxError", "invalid syntax", 1, 4))
        self.assertEqual(self.failure(b"return\n")[:3], ("compile", "SyntaxError", "'return' outside function"))
        self.assertEqual(self.failure(b"if x:\n\ty\n        z\n")[1], "TabError")
        self.assertEqual(self.failure(b"x\n  y\n")[1:3], ("IndentationError", "unexpected indent"))
        self.assertEqual(self.failure(b"x = 1\0\n")[:2], ("compile", "SyntaxError"))
        self.assertEqual(self.failure(b"x = '\xff'\n")[:2], ("decode", "SyntaxError"))
        self.assertEqual(self.failure(b"f'\xe9'\n")[:2], ("decode", "UnicodeDecodeError"))
        self.assertEqual(self.failure(b"# caf\xe9\nx = = 1\n"), ("compile", "SyntaxError", "invalid syntax", 2, 4))
        unknown = self.failure(b"# coding: nothing\nx\n")
        self.assertEqual(unknown, ("decode", "SyntaxError", "unknown encoding: nothing", None, None))
        self.assertEqual(self.failure(b"# coding: latin-1 \xe9\nx = = 1\n")[0], "compile")
        self.assertEqual(self.failure(b"(" * 1000)[:3], ("compile", "SyntaxError", "too many nested parentheses"))
        self.assertEqual(self.failure(b"-" * 100000 + b"1")[:2], ("compile", "MemoryError"))
        self.assertEqual(self.failure(b"+".join([b"x"] * 20000))[:2], ("compile", "RecursionError"))
        self.assertEqual(self.failure(b"x = " + b"9" * 5000)[:2], ("compile", "SyntaxError"))

    def test_syntax_warnings(self):
        result = record("x = '\\d'\nx is 1\ntry: x\nfinally:\n    y is 1\n")
        self.assertIsNone(result["error"])
        self.assertEqual(
            [(warning["error_type"], warning["line1"]) for warning in result["warnings"]],
            # the body of `finally` is compiled twice, and warned of twice
            [("SyntaxWarning", 1), ("SyntaxWarning", 2), ("SyntaxWarning", 5), ("SyntaxWarning", 5)],
        )
        (folded,) = record("~True\n")["warnings"]
        self.assertEqual((folded["error_type"], folded["line1"]), ("DeprecationWarning", None))

    def test_corpus_path_stands_in_code_objects(self):
        result = record("def f(): pass\n", "a b/'q'.py")
        self.assertEqual(result["units"][0]["co_filename"], "a b/'q'.py")
        self.assertIn("<code object f, file \"a b/'q'.py\", line 1>", result["units"][0]["consts"]["const_repr"])

    def test_missing_files_are_records(self):
        result = dis_facts.answer({"path": "/nowhere/at/all.py", "corpus_path": "all.py"})
        self.assertEqual(result["read_error"]["error_type"], "FileNotFoundError")

    def test_optimize_is_honoured(self):
        self.assertIn("'doc'", self.consts("'doc'\n"))
        result = record("'doc'\nassert x\n", optimize=2)
        self.assertNotIn("'doc'", result["units"][0]["consts"]["const_repr"])
        self.assertEqual(result["units"][0]["names"], [])


def run():
    """Exit code of the whole selftest."""
    facts.tune_dis()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Judge)
    return 0 if unittest.TextTestRunner(verbosity=1).run(suite).wasSuccessful() else 1
