"""Corpus of bad and hard inputs, and what CPython 3.13 does with each.

    python3.13 bad_inputs.py OUT_DIR [--no-huge]

makes `OUT_DIR/corpus/THEME/NAME.py` (a repository folder per theme, a file named for what it is) and
`OUT_DIR/expected.json`, a list in path order of

    {"repo": ..., "path": ..., "path_hex": hex of repo/path, "stage": ..., "error_type": ..., "cpython": {...}}

    repo, path   null where the name is not UTF-8: then only `path_hex` names the file
    stage        what the contract calls the outcome: null (compiles), `decode`, `compile`, `marshal`,
                 `read`; `any` where limits, or what a lister takes in, decide
    cpython      null where CPython is not asked (unreadable, a link, a FIFO); else
                 {"outcome": "compiles", "units": n, "instructions": n, "warnings": [...]}
                 {"outcome": "error", "error": {...}, "warnings": [...]}, as in a RECORD of dis_facts.py
                 {"outcome": "limit", "detail": ...}: more than CPU_SECONDS or MEMORY_BYTES, or it died

Each file is compiled and marshalled (version 2) in a child process of its own with a large thread stack. `--no-huge`
leaves out what is larger than 10 MB. OUT_DIR must not exist; everything in it is a pure function of this script, the
`cpython` part of the interpreter.
"""

import codecs
import json
import marshal
import os
import resource
import stat
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import dis_facts
import facts

CPU_SECONDS = 20
MEMORY_BYTES = 2 << 30
HUGE_BYTES = 10 << 20


# --- sources by theme ------------------------------------------------------------------------------------------------

def nested_finally(depth, body="pass"):
    """CPython emits a `finally` body twice: the code doubles with each level."""
    lines = []
    for level in range(depth):
        lines += [" " * level + f"try: {body}", " " * level + "finally:"]
    return "\n".join(lines) + "\n" + " " * depth + "done()\n"


def nested_functions(depth):
    return "".join(" " * level + f"def f{level}():\n" for level in range(depth)) + " " * depth + "pass\n"


def long_jumps():
    body = "".join(f"    a{index}.b.c(d[{index}])\n" for index in range(8000))
    return (
        f"for x in y:\n    if x: continue\n    if x is None: break\n{body}else:\n    z()\n"
        f"async def f():\n  async with a:\n   while b:\n" + body.replace("    ", "    " * 2)
        + f"try:\n{body}except E:\n{body}finally:\n    z()\n"
    )


EMPTY = {
    "empty": "",
    "one_newline": "\n",
    "only_comment": "# nothing",
    "only_blanks": "   \t\n\f\n   ",
    "only_bom": codecs.BOM_UTF8,
    "only_docstring": '"""doc"""',
    "only_pass": "pass",
    "no_final_newline": "x = 1",
    "no_final_newline_after_block": "if x:\n    y",
    "no_final_newline_after_comment": "x = 1\n# end",
    "backslash_at_end": "x = 1 \\",
    "backslash_newline_at_end": "x = 1 \\\n",
}

LINE_ENDS = {
    "crlf": "def f():\r\n    return 'é', \\\r\n        x\r\n",
    "lone_cr": "def f():\r    return 'é', x\ry = f()\r",
    "mixed": "a\r\rb\r\n\r\nc\n\rd\r\n\r\re",
    "cr_in_string": "x = '''a\rb\r\nc'''\ny\n",
    "form_feed": "\fx = 1\n\f\n\fif x:\n    y\n\f    z\n",
    "form_feed_in_indent": "if x:\n  \f  y\n",
    "vertical_tab": "x = 1\n\vy = 2\n",
    "next_line_and_separators": "x = '\x85\u2028\u2029\x1c'; y\nz\n",
    "control_z": "x = 1\n\x1ay = 2\n",
    "long_line": "x = [" + "é, " * 200_000 + "]\n",
    "many_blank_lines": "\n" * 1_000_000 + "x = 1\n",
    "far_column": "x = '" + "a" * 70_000 + "'; y.z\n",
}

ENCODINGS = {
    "bom": codecs.BOM_UTF8 + "é = 'ü'\n".encode(),
    "bom_and_utf8_cookie": codecs.BOM_UTF8 + "# coding: utf-8\né = 'ü'\n".encode(),
    "bom_and_latin1_cookie": codecs.BOM_UTF8 + b"# coding: latin-1\nx = 1\n",
    "bom_twice": codecs.BOM_UTF8 * 2 + b"x = 1\n",
    "bom_utf16": "x = 1\n".encode("utf-16"),
    "utf16_without_bom": "x = 1\n".encode("utf-16-le"),
    "not_utf8": b"x = '\xff\xfe'\n",
    "not_utf8_in_comment": b"x = 1\n# caf\xe9\n",
    "not_utf8_in_comment_and_syntax_error": b"# caf\xe9\nx = = 1\n",
    "not_utf8_in_name": b"x = caf\xe9.y\n",
    "not_utf8_between_tokens": b"x = \xff 1\n",
    "not_utf8_in_fstring": b"x = f'caf\xe9{y}'\n",
    "not_utf8_far_behind": b"x = 1\n" * 20_000 + b"# caf\xe9\n",
    "utf8_cut_short": "x = 'é".encode()[:-1] + b"'\n",
    "utf8_overlong": b"x = '\xc0\xaf'\n",
    "utf8_surrogate": b"x = '\xed\xa0\x80'\n",
    "utf8_beyond_unicode": b"x = '\xf4\x90\x80\x80'\n",
    "latin1_cookie": "# -*- coding: latin-1 -*-\né = 'ü'; x\n".encode("latin-1"),
    "latin1_in_the_cookie_line": "# coding: latin-1 é\nx = 'ü'\n".encode("latin-1"),
    "latin1_cookie_syntax_error": "# coding: latin-1\né = = 'ü'\n".encode("latin-1"),
    "cookie_lies": b"# coding: utf-8\nx = 'caf\xe9'\n",
    "cookie_ascii_lies": "# coding: ascii\nx = 'é'\n".encode(),
    "cookie_wrong_but_decodes": "# coding: cp1252\nx = 'é'\n".encode(),
    "cookie_unknown": b"# coding: no-such-codec\nx = 1\n",
    "cookie_not_text": b"# coding: hex\nx = 1\n",
    "cookie_undefined": b"# coding: undefined\nx = 1\n",
    "cookie_utf16": b"# coding: utf-16\nx = 1\n",
    "cookie_utf7": b"# coding: utf-7\nx = '+AOk-'\n",
    "cookie_unicode_escape": b"# coding: unicode_escape\nx = '\\x41'\\x0ay = 2\n",
    "cookie_on_second_line": "#!/usr/bin/python\n# coding: latin-1\nx = 'é'\n".encode("latin-1"),
    "cookie_on_third_line": "#!/usr/bin/python\n\n# coding: latin-1\nx = 'é'\n".encode("latin-1"),
    "cookie_behind_code": "x = 1\n# coding: latin-1\ny = 'é'\n".encode("latin-1"),
    "cookie_behind_lone_cr": "#!x\r# coding: latin-1\rx = 'é'\r".encode("latin-1"),
    "cookie_emacs_suffix": "# -*- coding: utf-8-unix -*-\nx = 'é'; y\n".encode(),
    "cookie_odd_spelling": "# vim: set fileencoding=UTF_8 :\nx = 'é'; y\n".encode(),
    "shift_jis": "# coding: shift_jis\nx = '日本語'; y\n".encode("shift_jis"),
    "nul_byte": b"x = 1\0\n",
    "nul_bytes_only": b"\0" * 100,
    "nul_byte_in_string": b"x = 'a\0b'\n",
    "nul_byte_in_comment": b"x = 1 # \0\n",
    "binary": bytes(range(256)) * 16,
    "elf_header": b"\x7fELF\x02\x01\x01" + bytes(9),
    "identifier_nfkc": "ﬁ = 1; print(fi, ª, 𝔘nicode)\n",
    "identifier_emoji": "😀 = 1\n",
    "smart_quotes": "x = “a”\n",
    "zero_width_space": "x =\u200b 1\n",
    "no_break_space": "x =\xa01\n",
    "astral_in_column": "x = '😀' + y.z; é.ü\n",
    "astral_in_error_column": "x = '😀é' + ; y\n",
}

LITERALS = {
    "lone_surrogates": "x = '\\ud800', '\\udfff\\ud800', '\\ud83d\\ude00', f'\\udc80{y}'\n'\\udcff'\nd['\\ud800'].a\n",
    "lone_surrogate_in_frozenset": "x in {'\\ud800', 'a', b'\\xff'}\n",
    "int_4300_digits": "x = " + "9" * 4300 + "\n",
    "int_5000_digits": "x = " + "9" * 5000 + "\n",
    "int_5000_digits_hex": "x = 0x1" + "0" * 5000 + "\ny = -0x" + "f" * 4000 + ", 0x" + "f" * 3571 + "\n",
    "int_beyond_64_bits": f"f({2**63 - 1}, {2**63}, {-(2**63)}, {-(2**63) - 1}, {2**64}, {2**15 - 1}, {2**30}, {2**31})\n",
    "floats": "f(0.0, -0.0, 1e999, -1e999, 1e999 - 1e999, 5e-324, 1e16, 1e22, 1e-5, 0.1, 2.0**0.5, 1.7976931348623157e308)\n",
    "complex": "f(1j, -1j, 0j, -0j, 1+0j, -0.0+0j, 1e999j, 1e999-1e999j, (1e999-1e999)*1j)\n",
    "zeros_apart": "f(0, 0.0, -0.0, 0j, -0j, False, True, 1, 1.0, (0,), (0.0,), (False,))\n",
    "frozensets": "x in {3, 1, 2, 'b', 'a', None, 1.5, b'z', (2, 1), ...}\ny in {()}\nz in {(frozenset,), 1}\n",
    "repr_of_text": "x = 'it\\'s', 'say \"hi\"', '\\'\"', '\\0\\x7f\\x80\\xad\\u0378\\u200b\\u2028\\ue000\\U000e0001', b'\\'\"\\0\\xff'\n",
    "fstrings": "x = f'{a!r:>{b}}{{}}{c=}', f'''\n{d}\n  {e:%H:%M}'''\n",
    "fstring_nested": "x = f'{f\"{f'{f\"{a}\"}'}\"}'\n",
    "fstring_unterminated": "x = f'{a\n",
    "fstring_too_deep": "x = " + "f'{" * 200 + "a" + "}'" * 200 + "\n",
    "fstring_empty": "x = f'{}'\n",
    "bytes_not_ascii": "x = b'é'\n",
    "bad_unicode_name": "x = '\\N{NO SUCH CHARACTER}'\n",
    "bad_unicode_escape": "x = '\\U00110000'\n",
    "truncated_escape": "x = '\\x4'\n",
    "unterminated": "x = 'abc\n",
    "unterminated_triple": "x = '''abc\ndef\n",
    "leading_zeros": "x = 0777\n",
    "bad_decimal": "x = 1_000_\n",
    "distinct_constants_70000": "x = [" + ", ".join(f"f({index}.5)" for index in range(70_000)) + "]\n",
    "distinct_names_70000": "x = [" + ", ".join(f"n{index}" for index in range(70_000)) + "]\n",
    "long_name": "x" * 100_000 + " = 1\n",
}

SYNTAX = {
    "python2_print": "import sys\nprint 'hello'\n",
    "python2_except": "try:\n    x\nexcept E, e:\n    raise E, 'x'\n",
    "python2_backquotes": "x = `y`\n",
    "python2_long": "x = 10L\n",
    "tabs_mixed": "if x:\n\ty\n        z\n",
    "tabs_equal_to_eight": "if x:\n        y\n\tz\n",
    "unexpected_indent": "x\n  y\n",
    "unindent_mismatch": "if x:\n    y\n  z\n",
    "missing_block": "if x:\ny\n",
    "return_outside_function": "x = 1\nreturn x\n",
    "return_in_class": "class C:\n    return 1\n",
    "yield_outside_function": "yield 1\n",
    "await_outside_async": "def f():\n    await x\n",
    "break_outside_loop": "break\n",
    "continue_in_class": "while x:\n    class C:\n        continue\n",
    "return_value_in_async_generator": "async def f():\n    yield 1\n    return 2\n",
    "nonlocal_at_module": "nonlocal x\n",
    "global_after_use": "def f():\n    x = 1\n    global x\n",
    "parameter_twice": "def f(a, a): pass\n",
    "keyword_twice": "f(a=1, a=2)\n",
    "positional_behind_keyword": "f(a=1, 2)\n",
    "assignment_to_literal": "1 = x\n",
    "assignment_to_call": "f() = x\n",
    "star_alone": "*x\n",
    "two_stars": "*a, *b = c\n",
    "walrus_at_top": "x := 1\n",
    "walrus_in_comprehension_target": "[x := 0 for x in y]\n",
    "walrus_in_class_comprehension": "class C:\n    [y := 0 for x in z]\n",
    "walrus_unparenthesised_keyword": "f(a := 1, b=c := 2)\n",
    "future_too_late": "x = 1\nfrom __future__ import annotations\n",
    "future_unknown": "from __future__ import no_such_feature\n",
    "future_braces": "from __future__ import braces\n",
    "except_star_mixed": "try: x\nexcept* E: y\nexcept F: z\n",
    "except_star_break": "while x:\n    try: y\n    except* E: break\n",
    "bare_except_first": "try: x\nexcept: y\nexcept E: z\n",
    "irrefutable_case_first": "match x:\n    case y: pass\n    case 1: pass\n",
    "pattern_name_twice": "match x:\n    case [y, y]: pass\n",
    "type_parameter_twice": "def f[T, T](): pass\n",
    "type_default_before_none": "class C[T = int, U]: pass\n",
    "type_alias_walrus": "type X = (y := 1)\n",
    "import_star_in_function": "def f():\n    from x import *\n",
    "bracket_never_closed": "x = (1,\n\ny = 2\n",
    "bracket_mismatch": "x = (1]\n",
    "bracket_unmatched": "x = 1)\n",
    "unexpected_character": "x = $1\n",
    "question_mark": "x = y ? 1 : 2\n",
    "merge_conflict": "<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> other\n",
    "jinja_template": "{% if x %}\nimport {{ module }}\n{% endif %}\n",
    "html_page": "<!DOCTYPE html>\n<html><body>404</body></html>\n",
    "notebook_magic": "%matplotlib inline\n!pip install x\n",
    "keyword_as_name": "class = 1\n",
    "error_on_last_line_without_newline": "x = 1\ny = (",
    "many_arguments": "f(" + ", ".join(f"a{index}" for index in range(300)) + ")\n",
}

WARNINGS = {
    "invalid_escape": "x = '\\d'\ny = b'\\d'\nz = f'\\d{x}'\n",
    "invalid_octal_escape": "x = '\\777'\n",
    "invalid_escape_and_error": "x = '\\d'\ny = = 1\n",
    "is_literal": "x is 1\nx is not ''\n",
    "assert_tuple": "assert (x, 'message')\n",
    "call_of_literal": "'a'(1)\n[1](2)\n",
    "index_of_literal": "[1]['a']\n(1, 2)(3)\n",
    "number_runs_into_keyword": "x = 1if y else 2\nz = 0x1for x in y\n",
    "warning_in_finally": "try: x\nfinally:\n    y is 1\n",
    "invert_bool": "~True\n",
}

GOOD = {
    "same_line_genexprs": "x = (a for a in b), (a for a in c), [lambda: 0, lambda: 1]\n",
    "type_params": "type X[T: int, *U, **P = [int]] = list[T]\nclass C[T: (int, str) = int](B[T]):\n    def m[V](self): return super().m()\n",
    "match": "match x:\n    case {'a': [1, *b], **c} if d: e\n    case C(1, y=None) | 'z': f\n    case _: g\n",
    "except_star": "async def f():\n    try:\n        async with a as b, c: yield await d\n    except* (E, F) as e: raise\n    else: h\n    finally: i\n",
    "async_comprehension": "async def f(): return [await x async for x in y if [z async for z in x]]\n",
    "class_cell": "class C:\n    x = __class__\n    def f(self): return __class__, super\n    y = [x for z in (lambda: x)()]\n",
    "decorators": "@a(lambda: b)\n@c.d\ndef f(x=1, *y, z: int = 2, **k) -> str: 'doc'; return f\n",
    "generator_throw": "def f():\n    try:\n        while x: y = yield from z\n    finally:\n        for a in b: yield\n",
    "nested_finally_return": "def f():\n" + "".join(f" {line}\n" for line in nested_finally(5, "return a").splitlines()),
    "long_jumps": long_jumps(),
    "locals_300": "def f():\n" + "".join(f"    a{i} = a{i - 1} + a{i - 2}\n" for i in range(2, 300)) + "    del a5\n    print(a5)\n",
    "cells_300": "def f():\n" + "".join(f"    a{i} = {i}\n" for i in range(300)) + "    return lambda: (" + ", ".join(f"a{i}" for i in range(300)) + ")\n",
    "line_beyond_65535": "#\n" * 70_000 + "def f():\n    x\n" + "#\n" * 70_000 + "    y\n",
    "functions_5000": "".join(f"def f{i}(a): return a + {i}\n" for i in range(5000)),
}  # fmt: skip

DEEP = {
    "parentheses_199": "x = " + "(" * 199 + ")" * 199 + "\n",
    "parentheses_100000": "x = " + "(" * 100_000 + ")" * 100_000 + "\n",
    "brackets_100000_open": "[" * 100_000,
    "terms_9990": "x = " + "+".join(["a"] * 9990) + "\n",
    "terms_10000": "x = " + "+".join(["a"] * 10_000) + "\n",
    "terms_20000": "x = " + "+".join(["a"] * 20_000) + "\n",
    "attributes_9990": "x = a" + ".b" * 9990 + "\n",
    "attributes_20000": "x = a" + ".b" * 20_000 + "\n",
    "calls_9990": "x = a" + "()" * 9990 + "\n",
    "unary_5900": "x = " + "-" * 5900 + "1\n",
    "unary_100000": "x = " + "-" * 100_000 + "1\n",
    "elif_2500": "if a: b\n" + "elif a: b\n" * 2500,
    "elif_5000": "if a: b\n" + "elif a: b\n" * 5000,
    "elif_20000": "if a: b\n" + "elif a: b\n" * 20_000,
    "functions_99": nested_functions(99),
    "functions_300": nested_functions(300),
    "lambdas_300": "x = " + "lambda: " * 300 + "0\n",
    "lambdas_900": "x = " + "lambda: " * 900 + "0\n",
    "lambdas_2500": "x = " + "lambda: " * 2500 + "0\n",
    "tuples_150": "x = " + "(" * 150 + "1" + ",)" * 150 + "\n",
    "loops_21": "".join(" " * level + "for x in y:\n" for level in range(21)) + " " * 21 + "pass\n",
    "finally_10_returns": "def f():\n" + "".join(f" {line}\n" for line in nested_finally(10, "return a").splitlines()),
    "finally_12": nested_finally(12),
    "finally_16": nested_finally(16),
    "finally_28": nested_finally(28),
    "finally_40": nested_finally(40),
}

HUGE = {
    "string_50mb": b"x = '" + b"a" * (50 << 20) + b"'\n",
    "docstring_50mb_multibyte": ('"""' + "é\n" * (17 << 20) + '"""\nx\n').encode(),
    "comment_50mb": b"#" + b"x" * (50 << 20) + b"\nx\n",
    "list_12mb": b"x = [" + b"1, " * (4 << 20) + b"]\n",
}

THEMES = {
    "empty": EMPTY,
    "line_ends": LINE_ENDS,
    "encodings": ENCODINGS,
    "literals": LITERALS,
    "syntax": SYNTAX,
    "warnings": WARNINGS,
    "good": GOOD,
    "deep": DEEP,
    "huge": HUGE,
}

LIMITED = {
    ("deep", "finally_16"), ("deep", "finally_28"), ("deep", "finally_40"), ("deep", "lambdas_900"),
    ("huge", "docstring_50mb_multibyte"), ("huge", "string_50mb"), ("huge", "list_12mb"),
}  # fmt: skip
"""A product may set a limit below what CPython needs here."""

NAMES = [
    b"with space.py", b" leading.py", b"trailing .py", b"single'quote.py", b'double"quote.py', b"new\nline.py", b"tab\t.py",
    b"carriage\rreturn.py", b"escape\x1b[31m.py", b"back\\slash.py", b"-dash.py", b".hidden.py", b"per%20cent.py", b"%2e%2e.py",
    b"equals=sign.py", b"hash#question?.py", b"star*[glob].py", b"brace{}.py", b"colon:semi;.py", b"dollar$HOME.py", b"comma,pipe|.py",
    "é_composed.py".encode(), "e\u0301_decomposed.py".encode(), "日本語.py".encode(), "😀.py".encode(), "rtl\u202e.py".encode(),
    b"not_utf8_\xff.py", b"latin1_\xe9.py", b"UPPER.PY", b"dots..py", b".py", b"a" * 252 + b".py", b"CON.py", b"<angle>.py",
    b"deep/" * 60 + b"er.py", b"folder.py/inside.py", b"__pycache__/cached.py", b".git/hook.py", b"not utf8 \xff/inside.py",
]  # fmt: skip
REPOS = [b"repo with space", b"repo'quote", b"repo=equals", b"repo%2Fpercent", "répertoire".encode(), b"repo_\xff", b"repo\nline"]


# --- writing ---------------------------------------------------------------------------------------------------------

class Corpus:
    """Writes files and remembers what is expected of each."""

    def __init__(self, out):
        self.root = os.fsencode(os.path.join(out, "corpus"))
        self.expected = []
        os.makedirs(self.root)

    def path(self, repo, name):
        path = os.path.join(self.root, repo, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def expect(self, repo, name, stage, error_type, cpython):
        relative = repo + b"/" + name
        try:
            repo, name = repo.decode(), name.decode()
        except UnicodeDecodeError:
            repo = name = None
        self.expected.append(
            {
                "repo": repo,
                "path": name,
                "path_hex": relative.hex(),
                "stage": stage,
                "error_type": error_type,
                "cpython": cpython,
            }
        )

    def source(self, repo, name, source, limited=False):
        path = self.path(repo, name)
        with open(path, "wb") as file:
            file.write(source if isinstance(source, bytes) else source.encode())
        cpython = ask(path)
        error = cpython.get("error") or {}
        stage, error_type = error.get("stage"), error.get("error_type")
        if limited or cpython["outcome"] == "limit":
            stage = error_type = "any"
        self.expect(repo, name, stage, error_type, cpython)

    def unusual(self, repo, name, make, stage, error_type=None):
        """Something that is no plain readable file: CPython is not asked."""
        make(self.path(repo, name))
        self.expect(repo, name, stage, error_type, None)


def ask(path):
    """What CPython does with a file, in a child of its own."""
    limits = [(resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)]
    child = subprocess.run(
        [sys.executable, "-X", "utf8", os.path.abspath(__file__), "--ask", path],
        preexec_fn=lambda: [resource.setrlimit(kind, (value, value)) for kind, value in limits],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if child.returncode != 0:
        return {"outcome": "limit", "detail": f"exit code {child.returncode}"}
    return json.loads(child.stdout)


def answer(path):
    """What this CPython does with a file."""
    with open(path, "rb") as file:
        source = facts.Source(file.read())
    code, error, warnings = facts.compile_source(source, "module.py")
    if code is None and error["error_type"] == "MemoryError" and not error["message"]:
        # Not the parser's own limit, which has a message: memory ran out.
        return {"outcome": "limit", "detail": "MemoryError"}
    if code is not None:
        try:
            marshal.dumps(code, 2)
        except ValueError as exception:
            error = facts.exception_fields(exception, "marshal")
    if error is not None:
        return {"outcome": "error", "error": error, "warnings": warnings}
    units = [unit.code for unit in facts.walk(code)]
    count = sum(1 for code in units for _ in facts.dis._unpack_opargs(code.co_code))
    return {"outcome": "compiles", "units": len(units), "instructions": count, "warnings": warnings}


def make(out, huge=True):
    corpus = Corpus(out)
    for theme, sources in THEMES.items():
        for name, source in sources.items():
            if huge or len(source) < HUGE_BYTES:
                corpus.source(theme.encode(), f"{name}.py".encode(), source, (theme, name) in LIMITED)
    for name in NAMES:
        corpus.source(b"names", name, "def f(): return lambda: 0\n")
    for repo in REPOS:
        corpus.source(repo, b"module.py", "x = 1\n")
    make_unusual(corpus, out)
    corpus.expected.sort(key=lambda entry: bytes.fromhex(entry["path_hex"]))
    with open(os.path.join(out, "expected.json"), "w", encoding="utf-8") as file:
        json.dump(corpus.expected, file, indent=1, ensure_ascii=True)
        file.write("\n")
    return corpus.expected


def make_unusual(corpus, out):
    outside = os.path.join(out, "outside.py")
    with open(outside, "w", encoding="utf-8") as file:
        file.write("secret = 1\n")

    def unreadable(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write("x = 1\n")
        os.chmod(path, 0)

    def loop(path):
        other = os.path.join(os.path.dirname(path), b"loop_b.py")
        os.symlink(b"loop_b.py", path)
        os.symlink(os.path.basename(path), other)

    # root reads a file of mode 000 like any other
    denied = os.geteuid() != 0
    corpus.unusual(b"unreadable", b"mode_000.py", unreadable, "read" if denied else None, "any" if denied else None)
    corpus.unusual(b"links", b"dangling.py", lambda path: os.symlink(b"nowhere.py", path), "read", "any")
    corpus.unusual(b"links", b"loop_a.py", loop, "read", "any")
    corpus.expect(b"links", b"loop_b.py", "read", "any", None)
    corpus.source(b"links", b"target.py", "x = 1\n")
    corpus.unusual(b"links", b"inside.py", lambda path: os.symlink(b"target.py", path), "any")
    corpus.unusual(b"links", b"outside.py", lambda path: os.symlink(b"../../../outside.py", path), "any")
    corpus.unusual(b"links", b"folder_loop", lambda path: os.symlink(b".", path), "any")
    corpus.unusual(b"special", b"folder_named.py", lambda path: os.mkdir(path), "any")
    corpus.unusual(b"special", b"fifo.py", lambda path: os.mkfifo(path, stat.S_IRUSR | stat.S_IWUSR), "any")
    corpus.unusual(b"special", b"not_python.txt", lambda path: open(path, "wb").close(), "any")


def main(arguments):
    if arguments[:1] == ["--ask"]:
        print(json.dumps(answer(arguments[1])))
        return 0
    huge = "--no-huge" not in arguments
    arguments = [argument for argument in arguments if argument != "--no-huge"]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    if os.path.lexists(arguments[0]):
        print(f"{arguments[0]} exists already", file=sys.stderr)
        return 2
    expected = make(arguments[0], huge)
    print(json.dumps({"files": len(expected), "stages": tally(entry["stage"] for entry in expected)}))
    return 0


def tally(values):
    counts = {}
    for value in values:
        counts[value or "compiles"] = counts.get(value or "compiles", 0) + 1
    return dict(sorted(counts.items()))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asked = arguments[:1] == ["--ask"]
    sys.exit(dis_facts.in_large_stack(lambda: main(arguments)) if asked else main(arguments))
