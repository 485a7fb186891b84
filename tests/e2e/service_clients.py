"""What ADBC's driver for Flight SQL gets from a service, as JSON: service_clients.py URI [USER PASSWORD TOKEN], or grpc+tls://… CERTIFICATE….

Each answer is by name; those of pandas, polars and pyarrow are of the same questions, so that all can be compared with what our own SQL says.
"""

import json
import sys
import threading
import time
import warnings

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flightsql
from adbc_driver_flightsql import DatabaseOptions

COUNTS = "SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname ORDER BY opname"
ENDLESS = """SELECT count(*) FROM py_bc_instructions a, py_bc_instructions b, py_bc_instructions c, py_bc_instructions d
             WHERE a."offset" + b."offset" + c."offset" + d."offset" = -1"""


def connect(uri, **options):
    return flightsql.connect(uri, autocommit=True, db_kwargs={key: str(value) for key, value in options.items()})


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


def error(action):
    """The status and the text of what an action raises."""
    try:
        action()
    except Exception as raised:
        return [type(raised).__name__, str(raised)]
    return ["nothing", ""]


def readers(connection):
    import polars

    table = rows(connection, COUNTS)
    frame = rows(connection, COUNTS).to_pandas()
    of_polars = polars.read_database(COUNTS, connection)
    return {
        "pyarrow": [list(row.values()) for row in table.to_pylist()],
        "pandas": frame.values.tolist(),
        "polars": [list(row) for row in of_polars.rows()],
    }


def views(connection, names):
    """Rows of each, and whether the table's own schema is that of the rows."""
    answers = {}
    for name in names:
        table = rows(connection, f"SELECT * FROM {name}")
        listed = connection.adbc_get_table_schema(name)
        answers[name] = [table.num_rows, listed.equals(table.schema, check_metadata=False)]
    return answers


def parameters(connection):
    by_name = 'SELECT count(*) AS n FROM py_bc_instructions WHERE opname = ? AND "offset" >= ?'
    return [
        rows(connection, by_name, ("LOAD_CONST", 0)).to_pylist(),
        rows(connection, by_name.replace("?", "$1", 1).replace("?", "$2", 1), ("LOAD_CONST", 0)).to_pylist(),
        rows(connection, "SELECT path FROM py_bc_blocks ORDER BY path LIMIT ?", (2,)).num_rows,
        rows(connection, "SELECT count(*) AS n FROM bytecode_files_v1 WHERE repo = ?", (None,)).to_pylist(),
    ]


def cancelled(connection):
    """How a query ends that is cancelled while it is read, and after how many seconds."""
    cursor = connection.cursor()
    timer = threading.Timer(1.0, cursor.adbc_cancel)
    begun = time.monotonic()
    timer.start()
    ended = error(lambda: (cursor.execute(ENDLESS), cursor.fetchall()))
    timer.cancel()
    return [ended[0], time.monotonic() - begun]


def session(uri):
    with connect(uri, **{DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true"}) as connection:
        count = "SELECT count(*) AS n FROM bytecode_files_v1"
        before = rows(connection, count).to_pylist()[0]["n"]
        rows(connection, "SET bytefacts.run = 'first'")
        after = rows(connection, count).to_pylist()[0]["n"]
        return [before, after]


def header(uri):
    key = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "bytefacts.run"
    with connect(uri, **{key: "first"}) as connection:
        return rows(connection, "SELECT count(*) AS n FROM bytecode_files_v1").to_pylist()[0]["n"]


def tree(connection):
    """Names of all tables, by catalog and schema."""
    objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
    return {
        catalog["catalog_name"]: {
            schema["db_schema_name"]: sorted(table["table_name"] for table in schema["db_schema_tables"] or [])
            for schema in catalog["catalog_db_schemas"]
        }
        for catalog in objects
    }


def columns(connection):
    """Of a view, with comments."""
    schema = connection.adbc_get_table_schema("py_bc_blocks", catalog_filter="facts", db_schema_filter="public")
    return [[field.name, field.metadata[b"ARROW:FLIGHT:SQL:REMARKS"].decode()] for field in schema]


def long(connection):
    """A text of 15 MiB arrives, one of 17 is an error."""
    doubled = "SELECT 'x' AS s0"
    for n in range(23):
        doubled = f"SELECT s{n} || s{n} AS s{n + 1} FROM ({doubled})"
    fits = rows(connection, f"SELECT s23 || left(s23, 7340032) AS s FROM ({doubled})")
    return [len(fits["s"][0].as_py()), error(lambda: rows(connection, f"SELECT s23 || s23 || left(s23, 1048576) AS s FROM ({doubled})"))]


def anonymous(uri, names):
    with connect(uri) as connection:
        info = connection.adbc_get_info()
        return {
            "vendor": info["vendor_name"],
            "table_types": connection.adbc_get_table_types(),
            "tree": tree(connection),
            "columns": columns(connection),
            "readers": readers(connection),
            "views": views(connection, names),
            "parameters": parameters(connection),
            "empty": rows(connection, "SELECT * FROM py_bc_blocks WHERE false").num_columns,
            "cancelled": cancelled(connection),
            "long": long(connection),
            "errors": [error(lambda sql=sql: rows(connection, sql)) for sql in ["SELECT * FROM nonsense", "DROP TABLE t", "SELECT 1 / 0"]],
            "session": session(uri),
            "header": header(uri),
            "after": rows(connection, "SELECT 42 AS a").to_pylist(),
        }


def encrypted(uri, *roots):
    """What is answered to whoever trusts each of these certificates."""
    answers = []
    for root in roots:
        with open(root) as file:
            options = {DatabaseOptions.TLS_ROOT_CERTS.value: file.read()}
        answers.append(error(lambda: rows(connect(uri, **options), "SELECT 42 AS a"))[0])
    return answers


def known(uri, user, password, token):
    basic = {"username": user, "password": password}
    key = DatabaseOptions.AUTHORIZATION_HEADER.value
    ask = lambda **options: rows(connect(uri, **options), "SELECT 42 AS a").to_pylist()
    return {
        "password": ask(**basic),
        "token": ask(**{key: f"Bearer {token}"}),
        "wrong_password": error(lambda: ask(username=user, password=password + "x")),
        "wrong_token": error(lambda: ask(**{key: f"Bearer {token}x"})),
        "none": error(lambda: ask()),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    names = json.load(sys.stdin)
    uri, *rest = sys.argv[1:]
    answer = encrypted(uri, *rest) if uri.startswith("grpc+tls") else known(uri, *rest) if rest else anonymous(uri, names)
    print(json.dumps(answer))
