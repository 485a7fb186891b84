"""Answers questions over facts with engines that others wrote, each in a process of its own.

    engines.py flatten FLAT NESTED...        # DuckDB writes flat Parquet with the rows of the views, from the data files of a run
    engines.py duckdb --threads N FLAT SQL   # DuckDB over that, tables named as the views are
    engines.py pyarrow --threads N QUESTION ARGUMENT NESTED...
    engines.py polars --threads N QUESTION ARGUMENT NESTED...

An answer is CSV without a header. DuckDB is asked in the SQL that `bytefacts` is asked in; pyarrow and polars have no SQL for nested rows, and
answer those of the questions that an analyst would write with them.
"""

import argparse
import csv
import os
import sys

UNIT = "u.code_unit_id"

# The columns of the views that the questions ask for and that an analyst would keep. Those around an element are repeated, as in the views.
VIEWS = {
    "py_bc_code_units": """
        SELECT repo, file_id, path, u.code_unit_id, u.qualname AS qualpath, u.co_qualname, u.unit_kind, u.firstlineno1 AS firstlineno, u.stacksize,
          u.code_len, u.facts_digest
        FROM (SELECT repo, file_id, path, unnest(code_objects) AS u FROM read_parquet({files}))""",
    "py_bc_instructions": """
        SELECT repo, file_id, path, code_unit_id, i.instr_index, i."offset", i.opname, i.opcode, i.arg, i.argval_kind, i.argval_int, i.argval_str,
          i.argrepr, i.line_number, i.label, i.is_jump_target, i.stack_depth_before, i.stack_depth_after, i.pops, i.pushes, i.block_index
        FROM (SELECT repo, file_id, path, u.code_unit_id AS code_unit_id, unnest(u.instructions) AS i
          FROM (SELECT repo, file_id, path, unnest(code_objects) AS u FROM read_parquet({files})))""",
    "py_bc_dfg_edges": """
        SELECT repo, file_id, path, code_unit_id, CASE WHEN e.src_instr_index < 0 THEN NULL ELSE e.src_instr_index END AS src_instr_index,
          e.dst_instr_index, e.kind, e.operand_index, e.symbol, e.producer_kind
        FROM (SELECT repo, file_id, path, u.code_unit_id AS code_unit_id, unnest(u.dfg_edges) AS e
          FROM (SELECT repo, file_id, path, unnest(code_objects) AS u FROM read_parquet({files})))""",
}


def flatten(arguments):
    import duckdb

    os.makedirs(arguments.flat, exist_ok=True)
    for view, select in VIEWS.items():
        folder = os.path.join(arguments.flat, view)
        os.makedirs(folder, exist_ok=True)
        # A data file at a time: DuckDB holds what it unnests.
        for number, file in enumerate(arguments.nested):
            connection = duckdb.connect()
            target = os.path.join(folder, f"{number:04}.parquet")
            connection.execute("SET preserve_insertion_order = true")
            connection.execute(f"COPY ({select.format(files=quoted([file]))}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
            connection.close()


def quoted(files):
    return "[" + ", ".join("'" + file.replace("'", "''") + "'" for file in files) + "]"


def ask_duckdb(arguments):
    import duckdb

    connection = duckdb.connect(config={"threads": arguments.threads})
    for view in VIEWS:
        connection.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet('{arguments.flat}/{view}/*.parquet')")
    answer(connection.execute(arguments.sql).fetchall())


OPNAME = "code_objects.list.element.instructions.list.element.opname"
NAME = "code_objects.list.element.instructions.list.element.argval_str"


def ask_pyarrow(arguments):
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    pyarrow.set_cpu_count(arguments.threads)

    def leaf(file, path, **more):
        column = parquet.read_table(file, columns=[path], **more).column("code_objects")
        return compute.struct_field(compute.list_flatten(compute.struct_field(compute.list_flatten(column), 0)), 0)

    if arguments.question == "count":
        answer([[sum(len(leaf(file, OPNAME)) for file in arguments.nested)]])
    elif arguments.question == "histogram":
        counts = {}
        for file in arguments.nested:
            for entry in compute.value_counts(leaf(file, OPNAME)).to_pylist():
                counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
        answer(sorted(counts.items()))
    elif arguments.question == "filter":
        answer([[sum(compute.sum(compute.equal(leaf(file, NAME), arguments.argument)).as_py() or 0 for file in arguments.nested)]])
    elif arguments.question == "file":
        repo, path = arguments.argument.split("/", 1)
        chosen = [("repo", "=", repo), ("path", "=", path)]
        answer([[sum(len(leaf(file, OPNAME, filters=chosen)) for file in arguments.nested)]])


def ask_polars(arguments):
    os.environ["POLARS_MAX_THREADS"] = str(arguments.threads)
    import polars

    def instructions(column):
        files = polars.scan_parquet(arguments.nested)
        if arguments.question == "file":
            repo, path = arguments.argument.split("/", 1)
            files = files.filter((polars.col("repo") == repo) & (polars.col("path") == path))
        units = files.select("code_objects").explode("code_objects").select(polars.col("code_objects").struct.field("instructions"))
        return units.explode("instructions").select(polars.col("instructions").struct.field(column)).drop_nulls("opname" if column == "opname" else [])

    if arguments.question in ("count", "file"):
        answer(instructions("opname").select(polars.len()).collect(engine="streaming").rows())
    elif arguments.question == "histogram":
        answer(instructions("opname").group_by("opname").len().collect(engine="streaming").rows())
    elif arguments.question == "filter":
        answer(instructions("argval_str").filter(polars.col("argval_str") == arguments.argument).select(polars.len()).collect(engine="streaming").rows())


def answer(rows):
    csv.writer(sys.stdout, lineterminator="\n").writerows(["" if value is None else value for value in row] for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("flatten")
    command.add_argument("flat")
    command.add_argument("nested", nargs="+")
    command.set_defaults(run=flatten)
    command = commands.add_parser("duckdb")
    command.add_argument("--threads", type=int, required=True)
    command.add_argument("flat")
    command.add_argument("sql")
    command.set_defaults(run=ask_duckdb)
    for name, run in (("pyarrow", ask_pyarrow), ("polars", ask_polars)):
        command = commands.add_parser(name)
        command.add_argument("--threads", type=int, required=True)
        command.add_argument("question", choices=["count", "histogram", "file", "filter"])
        command.add_argument("argument")
        command.add_argument("nested", nargs="+")
        command.set_defaults(run=run)
    arguments = parser.parse_args()
    arguments.run(arguments)


main()
