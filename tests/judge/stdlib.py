"""Files of the standard library of the interpreter that runs this: every `.py` and `.pyw` under its folder, sorted.

    python3.13 stdlib.py [--json] [--null]

One absolute path a line; `--null` ends each with NUL instead, `--json` prints requests for `dis_facts.py`, their
`corpus_path` relative to the library's folder. `site-packages` (installed packages) and `__pycache__` are left out;
files that are bad on purpose (the test suite has some) are not.
"""

import json
import os
import sys
import sysconfig


def root():
    return sysconfig.get_path("stdlib")


def files(top):
    """Paths relative to `top`, `/`-separated, sorted as text."""
    found = []
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in ("site-packages", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, name), top) for name in names if name.endswith((".py", ".pyw"))]
    return sorted(path.replace(os.sep, "/") for path in found)


def main(arguments):
    if set(arguments) - {"--json", "--null"}:
        print(__doc__, file=sys.stderr)
        return 2
    top = root()
    end = "\0" if "--null" in arguments else "\n"
    for path in files(top):
        full = os.path.join(top, path)
        print(json.dumps({"path": full, "corpus_path": path}) if "--json" in arguments else full, end=end)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
