"""Byte spans by another way than CPython's own positions: JSON of [source in hex, [[line, col, end line, end col, text in hex]…]].

The text is cut out of the decoded source with its line ends translated, as the compiler sees it.
"""

import ast
import json

SOURCES = [
    b"",
    b"x = 1",
    b"x = 1\n",
    b"\xef\xbb\xbfx = 'a' + y\nz = x\n",
    b"\xef\xbb\xbf# coding: utf-8\nx = f(1)\n",
    b"a = 1\r\nb = [\r\n  a,\r\n  2]\r\n",
    b"a = 1\rb = [\r  a,\r  2]\r",
    b"a = 1\r\n\rb = (a,\n\r\n a)\r\n",
    b"\x0ca = 1\n\x0c\nb = a\x0c+ 2\n",
    "é = 'ünï' + 'x'; ß = é[0]\nλ = (é,\n  ß)\n".encode(),
    "s = '''a\u2028b\u2029c\u0085d\x0b\x0ce'''; t = s\nu = t + s\n".encode(),
    "s = '''a\r\nb\rc\n'''; t = s\r\nu = t\r\n".encode(),
    "x = '𝒳' ; 𝒳 = x # 𝒳\ny = f'{𝒳!r:>{x}} é {y + 1}'\n".encode(),
    b"def f(a,\tb=1, *c):\n\treturn a + \\\n  b\n\n\nclass C: x = f(1,\n 2)",
    b"# -*- coding: utf8 -*-\nx = y.z\n",
    b"#!/usr/bin/python\n# vim: set fileencoding=UTF-8 :\nx = 'caf\xc3\xa9'.upper()\n",
    b"if 1:\n    x = {1: 2,\n\n\n     3: 4}[1]",
]


def cut(text, node):
    lines = text.split("\n")
    if node.lineno == node.end_lineno:
        return lines[node.lineno - 1].encode()[node.col_offset : node.end_col_offset]
    first = lines[node.lineno - 1].encode()[node.col_offset :]
    last = lines[node.end_lineno - 1].encode()[: node.end_col_offset]
    return b"\n".join([first, *(line.encode() for line in lines[node.lineno : node.end_lineno - 1]), last])


cases = []
for source in SOURCES:
    text = source.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    nodes = [node for node in ast.walk(ast.parse(source)) if hasattr(node, "lineno")]
    spans = [[n.lineno, n.col_offset, n.end_lineno, n.end_col_offset, cut(text, n).hex()] for n in nodes]
    cases.append([source.hex(), spans])
print(json.dumps(cases))
