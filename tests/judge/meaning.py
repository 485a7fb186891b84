"""What Python code means, derived from its source by CPython's `ast` and `symtable`, and compared with rows of the views.

    python3.13 meaning.py ROWS SOURCES

ROWS is a folder with a file `VIEW.jsonl` for each view, one row a line with the columns that the test asks for, by path. SOURCES is a
folder with the files of those paths; any that does not compile is left out. Prints one line of JSON: how many rows were compared by view,
what was left out by view and reason, and what differs.

The rows are derived from the syntax tree and the symbol table alone. What was compiled is asked one thing only: whether it has an
instruction of some kind at the place of a node. If it has none, the compiler removed the node (after a `return`, in `if 0:`, in an
annotation that is not evaluated), and no view can have a row for it: that is counted as `removed`. What else is left out has a reason of
its own, and nothing is left out without one.
"""

import collections
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from meaning_source import VIEWS, Reader


def place_of(row):
    places = row["pos_start_line"], row["pos_start_col"], row["pos_end_line"], row["pos_end_col"]
    if None in places:
        return None
    return places[0] + 1, places[1], places[2] + 1, places[3]


class Comparison:
    def __init__(self):
        self.compared = collections.Counter()
        self.skipped = collections.Counter()
        self.differences = []

    def file(self, path, reader, rows):
        self.skipped.update(reader.skipped)
        for view in VIEWS:
            compare = getattr(self, view, None) or self.exactly
            compare(view, path, reader, rows[view], reader.rows[view])

    def differ(self, view, path, what, row):
        self.differences.append(f"{view} {path}: {what} {row}")

    def exactly(self, view, path, reader, found, expected):
        """The same rows with the same values. What stands in `finally` is compiled more than once, so that rows are a set."""
        keys = sorted(expected[0]) if expected else sorted(found[0].keys() - POSITIONS) if found else []
        keys = [key for key in keys if key not in ("place", "branches")]
        form = lambda where, row: (where, *(row[key] for key in keys))
        found = {form(place_of(row), row) for row in found}
        branched = [row for row in expected if len(row.get("branches", ())) > 1]
        by_branch = {form(row["place"], {**row, "value": value}) for row in branched for value in row["branches"]}
        whole = {form(row["place"], row) for row in branched}
        expected = {form(row["place"], row) for row in expected}
        self.compared[view] += len(expected)
        if by_branch:
            self.skipped.update({(view, "compiled by branch"): len((found & by_branch) - expected)})
            found -= by_branch - expected
            expected -= whole - found
        for row in sorted(expected - found, key=repr):
            self.differ(view, path, "missing", dict(zip(["place", *keys], row)))
        for row in sorted(found - expected, key=repr):
            self.differ(view, path, "not in the source", dict(zip(["place", *keys], row)))

    def global_writes(self, view, path, reader, found, expected):
        keys = ("line_number", "name", "access")
        form = lambda row: tuple(row[key] for key in keys)
        found, expected = set(map(form, found)), set(map(form, expected))
        self.compared[view] += len(expected)
        for row in sorted(expected ^ found):
            self.differ(view, path, "missing" if row in expected else "not in the source", row)

    def names(self, view, path, reader, found, expected):
        """Names by line, and those that have a place by that too."""
        lazy = reader.lazy_names
        unit = lambda row: row["unit"] if row["access"] == "parameter" else None
        form = lambda row: (row["line_number"], row["name"], row["access"], row["scope"], unit(row))
        places = {(row["place"], *form(row)) for row in expected}
        expected = set(map(form, expected))
        self.compared[view] += len(expected)
        for row in found:
            where = place_of(row)
            if (row["line_number"], row["name"]) in lazy:
                continue
            if where is not None and (where, *form(row)) not in places and (None, *form(row)) not in places:
                self.differ(view, path, "not in the source", row)
        found = set(map(form, found))
        for row in sorted(expected - found, key=repr):
            self.differ(view, path, "missing", row)
        for row in sorted(found - expected, key=repr):
            if (row[0], row[1]) in lazy:
                self.skipped[view, "lazy scope"] += 1
            else:
                self.differ(view, path, "not in the source", row)

    def constants(self, view, path, reader, found, expected):
        """Constants that are written, and those that the compiler makes of an expression, or loads for a statement."""
        places = {(row["place"], row["literal"]) for row in expected}
        self.compared[view] += len(places)
        found = {(place_of(row), row["literal"]) for row in found}
        for row in sorted(places - found, key=repr):
            self.differ(view, path, "missing", row)
        for where, literal in sorted(found - places, key=repr):
            reason = reader.why(where, literal)
            if reason:
                self.skipped[view, reason] += 1
            else:
                self.differ(view, path, "not in the source", (where, literal))


POSITIONS = {"path", "line_number", "pos_start_line", "pos_start_col", "pos_end_line", "pos_end_col"}


class Rows:
    """The rows of a view, file by file: a whole library is too much at a time."""

    def __init__(self, folder, view):
        self.lines = open(os.path.join(folder, f"{view}.jsonl"), encoding="utf-8")
        self.next = None
        self.advance()

    def advance(self):
        line = self.lines.readline()
        self.next = json.loads(line) if line else None

    def of(self, path):
        """The rows of a path; the paths must be asked for in order. Also the paths before it that have rows and nobody asked for."""
        rows, skipped = [], set()
        while self.next is not None and self.next["path"] <= path:
            if self.next["path"] == path:
                rows.append(self.next)
            else:
                skipped.add(self.next["path"])
            self.advance()
        return rows, skipped


def sources_of(folder):
    """Paths below a folder in the order in which the rows are."""
    found = []
    for root, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(root, name), folder).replace(os.sep, "/") for name in names]
    return sorted(found)


def main(rows_folder, sources):
    sys.setrecursionlimit(20000)
    rows = {view: Rows(rows_folder, view) for view in VIEWS}
    comparison = Comparison()
    files = 0
    for path in sources_of(sources):
        with open(os.path.join(sources, path), "rb") as file:
            source = file.read()
        try:
            reader = Reader(source, path)
        except (SyntaxError, ValueError):
            continue
        files += 1
        of_views = {}
        for view in VIEWS:
            of_views[view], others = rows[view].of(path)
            for other in sorted(others):
                comparison.differ(view, other, "rows of a file that does not compile", "")
        comparison.file(path, reader, of_views)
    left_out = {f"{view}: {reason}": count for (view, reason), count in sorted(comparison.skipped.items()) if count}
    print(json.dumps({"files": files, "compared": comparison.compared, "left_out": left_out, "differences": comparison.differences}))


if __name__ == "__main__":
    main(*sys.argv[1:])
