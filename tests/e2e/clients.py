"""What a client reads of the data files of a run, as JSON: clients.py CLIENT, with {"files": [{"path": …}]} on standard input.

Each question is asked in the client's own words, so that its own filters, its own pruning by statistics and its own functions
for lists answer it. Answers have one shape whoever gives them, or are null where the client has no words for the question:

rows         repo, path, file_id, file_sha256, source_bytes and source_lines of each file, sorted
no_hash      paths of the files whose file_sha256 is null, as the client's filter finds them
with_hash    those of the others, likewise
hashes       how many file_sha256 there are
nulls_first  the path of the first file if they are sorted by file_sha256, nulls first, and by path
null_or      how many files have no file_sha256 or the path module.py, as the client's filter finds them
a_path       repositories that have a file module.py, as the client's filter finds them
opnames      how often each instruction is there
longest      the length of the longest argrepr
whole        a digest of all values of all columns
"""

import hashlib
import json
import sys

COLUMNS = ["repo", "path", "file_id", "file_sha256", "source_bytes", "source_lines"]


def whole(rows):
    """A digest of the values of rows, however a client spells a map."""
    digest = hashlib.sha256()
    for row in sorted(json.dumps(plain(row), sort_keys=True) for row in rows):
        digest.update(row.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def plain(value):
    """Maps as dicts, but for empty ones, which some cannot tell from empty lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()} or []
    if isinstance(value, list):
        if value and all(isinstance(item, dict) and item.keys() == {"key", "value"} for item in value):
            return {item["key"]: plain(item["value"]) for item in value}
        return [plain(item) for item in value]
    return value


def of_arrow(table):
    return table.to_pylist(maps_as_pydicts="strict")


def ordered(rows):
    return sorted(([*row] for row in rows), key=lambda row: (row[0] is not None, row[0] or "", row[1]))


def pyarrow(paths):
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    dataset = ds.dataset(paths, format="parquet")
    flat = dataset.to_table(columns=COLUMNS)
    units = pc.list_flatten(dataset.to_table(columns=["code_objects"])["code_objects"])
    instructions = pc.list_flatten(pc.struct_field(units, "instructions"))
    counts = pc.value_counts(pc.struct_field(instructions, "opname"))
    no_hash, module = ds.field("file_sha256").is_null(), ds.field("path") == "module.py"
    sorting = {"sort_keys": [("file_sha256", "ascending"), ("path", "ascending")], "null_placement": "at_start"}
    return {
        "rows": ordered(zip(*(flat[column].to_pylist() for column in COLUMNS))),
        "no_hash": sorted(dataset.to_table(columns=["path"], filter=no_hash)["path"].to_pylist()),
        "with_hash": sorted(dataset.to_table(columns=["path"], filter=~no_hash)["path"].to_pylist()),
        "hashes": pc.count(flat["file_sha256"]).as_py(),
        "nulls_first": flat.take(pc.sort_indices(flat, **sorting))["path"][0].as_py(),
        "null_or": dataset.count_rows(filter=no_hash | module),
        "a_path": dataset.to_table(columns=["repo"], filter=module)["repo"].to_pylist(),
        "opnames": {count["values"]: count["counts"] for count in counts.to_pylist()},
        "longest": pc.max(pc.utf8_length(pc.struct_field(instructions, "argrepr"))).as_py(),
        "whole": whole(of_arrow(dataset.to_table())),
    }


def duckdb(paths):
    import duckdb as client

    connection = client.connect()
    # The files say what their rows are of; folders are not asked.
    connection.execute(f"CREATE VIEW facts AS SELECT * FROM read_parquet({paths!r}, hive_partitioning = false)")
    ask = lambda sql: connection.execute(sql).fetchall()
    instructions = "(SELECT unnest(u.instructions) AS i FROM (SELECT unnest(code_objects) AS u FROM facts))"
    return {
        "rows": ordered(ask(f"SELECT {', '.join(COLUMNS)} FROM facts")),
        "no_hash": [path for path, in ask("SELECT path FROM facts WHERE file_sha256 IS NULL ORDER BY 1")],
        "with_hash": [path for path, in ask("SELECT path FROM facts WHERE file_sha256 IS NOT NULL ORDER BY 1")],
        "hashes": ask("SELECT count(file_sha256) FROM facts")[0][0],
        "nulls_first": ask("SELECT path FROM facts ORDER BY file_sha256 NULLS FIRST, path LIMIT 1")[0][0],
        "null_or": ask("SELECT count(*) FROM facts WHERE file_sha256 IS NULL OR path = 'module.py'")[0][0],
        "a_path": [repo for repo, in ask("SELECT repo FROM facts WHERE path = 'module.py'")],
        "opnames": dict(ask(f"SELECT i.opname, count(*) FROM {instructions} GROUP BY 1")),
        "longest": ask(f"SELECT max(length(i.argrepr)) FROM {instructions}")[0][0],
        "whole": whole(of_arrow(connection.sql("SELECT * FROM facts").to_arrow_table())),
    }


def polars(paths):
    import polars as pl

    facts = pl.scan_parquet(paths, hive_partitioning=False)
    instructions = (
        facts.select(pl.col("code_objects").explode().struct.field("instructions").explode().alias("i")).unnest("i").filter(pl.col("opname").is_not_null())
    )
    counts = instructions.group_by("opname").len().collect()
    no_hash, module = pl.col("file_sha256").is_null(), pl.col("path") == "module.py"
    return {
        "rows": ordered(facts.select(COLUMNS).collect().rows()),
        "no_hash": sorted(facts.filter(no_hash).select("path").collect()["path"]),
        "with_hash": sorted(facts.filter(~no_hash).select("path").collect()["path"]),
        "hashes": facts.select(pl.col("file_sha256").count()).collect().item(),
        "nulls_first": facts.sort("file_sha256", "path", nulls_last=False).select("path").head(1).collect().item(),
        "null_or": facts.filter(no_hash | module).select(pl.len()).collect().item(),
        "a_path": facts.filter(module).select("repo").collect()["repo"].to_list(),
        "opnames": dict(counts.rows()),
        "longest": instructions.select(pl.col("argrepr").str.len_chars().max()).collect().item(),
        "whole": whole(facts.collect().to_dicts()),
    }


def datafusion(paths):
    import datafusion as client

    context = client.SessionContext()
    for number, path in enumerate(paths):
        context.register_parquet(f"facts_{number}", path)
    union = " UNION ALL ".join(f"SELECT * FROM facts_{number}" for number in range(len(paths)))
    ask = lambda sql: context.sql(f"WITH facts AS ({union}) {sql}").to_arrow_table()
    values = lambda sql, column=0: ask(sql).column(column).to_pylist()
    instructions = "(SELECT unnest(u['instructions']) AS i FROM (SELECT unnest(code_objects) AS u FROM facts))"
    counts = ask(f"SELECT i['opname'] AS opname, count(*) AS n FROM {instructions} GROUP BY 1")
    rows = ask(f"SELECT {', '.join(COLUMNS)} FROM facts")
    return {
        "rows": ordered(zip(*(rows[column].to_pylist() for column in COLUMNS))),
        "no_hash": values("SELECT path FROM facts WHERE file_sha256 IS NULL ORDER BY 1"),
        "with_hash": values("SELECT path FROM facts WHERE file_sha256 IS NOT NULL ORDER BY 1"),
        "hashes": values("SELECT count(file_sha256) FROM facts")[0],
        "nulls_first": values("SELECT path FROM facts ORDER BY file_sha256 NULLS FIRST, path LIMIT 1")[0],
        "null_or": values("SELECT count(*) FROM facts WHERE file_sha256 IS NULL OR path = 'module.py'")[0],
        "a_path": values("SELECT repo FROM facts WHERE path = 'module.py'"),
        "opnames": dict(zip(counts["opname"].to_pylist(), counts["n"].to_pylist())),
        "longest": values(f"SELECT max(character_length(i['argrepr'])) FROM {instructions}")[0],
        "whole": whole(of_arrow(ask("SELECT * FROM facts"))),
    }


def fastparquet(paths):
    """It reads columns of the root, and single leaves of lists not at all."""
    import fastparquet as client
    import pandas

    frames = [client.ParquetFile(path).to_pandas(columns=COLUMNS) for path in paths]
    rows = []
    for frame in frames:
        for row in frame.itertuples(index=False):
            rows.append([None if pandas.isna(value) else int(value) if not isinstance(value, str) else value for value in row])
    return {
        "rows": ordered(rows),
        "no_hash": sorted(row[1] for row in rows if row[3] is None),
        "with_hash": sorted(row[1] for row in rows if row[3] is not None),
        "hashes": int(sum(frame["file_sha256"].count() for frame in frames)),
        "nulls_first": None,
        "null_or": None,
        "a_path": [row[0] for row in rows if row[1] == "module.py"],
        "opnames": None,
        "longest": None,
        "whole": None,
    }


paths = [file["path"] for file in json.load(sys.stdin)["files"]]
answer = globals()[sys.argv[1]](paths)
answer["a_path"] = sorted(answer["a_path"], key=lambda repo: (repo is not None, repo or ""))
json.dump(answer, sys.stdout)
