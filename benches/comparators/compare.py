"""Two tables of `bytecode_files_v1` by path and value: what the product landed, and what `extract_all.py` wrote.

    venv/bin/python compare.py [--examples N] FACTS OUT.parquet

FACTS is a facts folder, of which the current run is read, or a Parquet file. Each leaf of the schema (a map is one) is
read for itself and by row group, so memory is bounded by a column of a row group. For each leaf it prints how many
values were compared and how many differ, with the first examples. What stands in `IGNORED` is left out. Both sides
need the same repository key and hash seed: see README.md.

Exit codes: 0 equal, 1 failed, 2 usage, 3 differences.
"""

import argparse
import itertools
import json
import os
import sys
import time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

IGNORED = {
    ("attrs", "analyzer_version"): "says which program wrote the table",
}
"""Entries of maps in the root row that cannot be equal, with the reason."""

ABSENT = type("Absent", (), {"__repr__": lambda self: "absent"})()


def tables(location):
    """The Parquet files of a facts folder's current run, or the one file named."""
    if os.path.isfile(location):
        return [location]
    with open(os.path.join(location, "current.json"), encoding="utf-8") as file:
        run = os.path.join(location, "runs", json.load(file)["run_id"])
    with open(os.path.join(run, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    return [os.path.join(location, *name.split("/")) for name in sorted(landed(manifest))]


def landed(manifest):
    """The names of data files in a manifest, wherever they stand in it."""
    if isinstance(manifest, dict):
        manifest = manifest.values()
    elif not isinstance(manifest, list):
        return {manifest} if isinstance(manifest, str) and manifest.endswith(".parquet") else set()
    return set().union(*map(landed, manifest))


def leaves(kind, path=()):
    """The paths of leaves below a type, in the names of Parquet."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from leaves(field.type, (*path, field.name))
    elif pa.types.is_list(kind):
        yield from leaves(kind.value_type, (*path, "list", "element"))
    else:
        yield path


class Side:
    """A table in one or more files, of which rows are found by path."""

    def __init__(self, names):
        self.files = [pq.ParquetFile(name) for name in names]
        self.schema = self.files[0].schema_arrow
        self.groups = []
        self.rows = {}
        """(row group, row in it) of each path."""
        for file in self.files:
            for group in range(file.num_row_groups):
                paths = file.read_row_group(group, columns=["path"])["path"].to_pylist()
                self.rows.update((path, (len(self.groups), row)) for row, path in enumerate(paths))
                self.groups.append((file, group, paths))

    def read(self, number, leaf):
        """One leaf of a row group, as deep as it stands in the schema."""
        file, group, _ = self.groups[number]
        table = file.read_row_group(group, columns=[".".join(leaf)], use_threads=False)
        column = table.column(0)
        return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def select(side, leaf, paths):
    """A leaf of the rows of `paths`, from however many row groups."""
    by_group = {}
    for place, path in enumerate(paths):
        group, row = side.rows[path]
        by_group.setdefault(group, []).append((place, row))
    parts = [side.read(group, leaf).take(pa.array([row for _, row in rows])) for group, rows in by_group.items()]
    places = [place for rows in by_group.values() for place, _ in rows]
    whole = pa.concat_arrays(parts)
    return whole if places == sorted(places) else whole.take(pc.sort_indices(pa.array(places)))


def count(array):
    """How many values a leaf has, nulls included."""
    while True:
        if pa.types.is_list(array.type):
            array = array.flatten()
        elif pa.types.is_struct(array.type):
            array = array.field(0)
        else:
            return len(array)


def differences(one, other, place=()):
    """(place, value, other value) where two nested values of one leaf differ; a place is positions in lists."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            yield from differences(one.get(name, ABSENT), other.get(name, ABSENT), place)
    elif isinstance(one, list) and isinstance(other, list) and not (is_map(one) or is_map(other)):
        for position, pair in enumerate(itertools.zip_longest(one, other, fillvalue=ABSENT)):
            if pair[0] != pair[1]:
                yield from differences(*pair, (*place, position))
    elif one != other:
        yield place, one, other


def is_map(value):
    return bool(value) and isinstance(value[0], tuple)


def comparable(array, leaf):
    """The values of an array, but for ignored entries of maps."""
    ignored = {key for name, key in IGNORED if leaf == (name,)}
    values = array.to_pylist()
    return [[entry for entry in value if entry[0] not in ignored] for value in values] if ignored else values


class Leaf:
    """What comparing one leaf has found."""

    def __init__(self, path):
        self.path = path
        self.values = self.different = 0
        self.examples = []

    def compare(self, facts, other, number, paths, limit):
        landed = facts.read(number, self.path)
        if len(paths) < len(landed):
            landed = select(facts, self.path, paths)
        written = select(other, self.path, paths)
        self.values += count(landed)
        if landed.equals(written):
            return
        chunk = 1 if len(self.path) > 1 else len(paths)
        for start in range(0, len(paths), chunk):
            one, two = landed.slice(start, chunk), written.slice(start, chunk)
            if one.equals(two):
                continue
            for row, pair in enumerate(zip(comparable(one, self.path), comparable(two, self.path)), start):
                for place, *values in differences(*pair):
                    self.different += 1
                    if len(self.examples) < limit:
                        self.examples.append((paths[row], unit(facts, paths[row], self.path, place), place, *values))

    def report(self):
        print(f"{self.values:>12,} {self.different:>10,}  {'.'.join(self.path).replace('.list.element', '[]')}")
        for path, name, place, landed, written in self.examples:
            print(f"{'':>25}{path} {name} at {list(place)}: landed {landed!r:.200}, written {written!r:.200}")


QUALNAMES = ("code_objects", "list", "element", "qualname")


def unit(facts, path, leaf, place):
    """The qualname of the unit that a place is in."""
    if leaf[0] != "code_objects" or not place:
        return ""
    group, row = facts.rows[path]
    names = facts.read(group, QUALNAMES)[row].as_py()
    return names[place[0]]["qualname"] if place[0] < len(names) else ""


def compare(facts, other, examples):
    """Prints what differs; whether anything does."""
    found = False
    if not facts.schema.equals(other.schema, check_metadata=True):
        found = True
        print("the schemas differ: see `pyarrow.parquet.read_schema` of both")
    for here, there, name in ((facts, other, "landed"), (other, facts, "written")):
        for path in sorted(here.rows.keys() - there.rows.keys()):
            found = True
            print(f"only {name}: {path}")
    print(f"{'values':>12} {'different':>10}")
    total = different = 0
    for field in facts.schema:
        if field.name not in other.schema.names:
            continue
        for path in leaves(field.type, (field.name,)):
            leaf = Leaf(path)
            for number, (_, _, paths) in enumerate(facts.groups):
                common = [path for path in paths if path in other.rows]
                if common:
                    leaf.compare(facts, other, number, common, examples)
            leaf.report()
            total, different = total + leaf.values, different + leaf.different
    files = len(facts.rows.keys() & other.rows.keys())
    print(f"{total:>12,} {different:>10,}  in all, of {files:,} files")
    for (name, key), reason in IGNORED.items():
        print(f"left out: {key} of {name}, which {reason}")
    return found or different > 0


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=3, metavar="N", help="differences shown a leaf [default: 3]")
    parser.add_argument("facts")
    parser.add_argument("out")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    found = compare(Side(tables(options.facts)), Side([options.out]), options.examples)
    print(f"compared in {time.perf_counter() - started:.0f} s")
    return 3 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
