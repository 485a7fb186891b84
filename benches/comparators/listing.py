"""Listings of source files: what the comparators read.

A listing has one path a line, or one JSON object a line as `tests/judge/stdlib.py --json` prints them
(`{"path": ..., "corpus_path": ...}`); `-` is standard input.
"""

import json
import sys


def read(listing):
    """(path to open, path inside the corpus) of each file."""
    with open(0 if listing == "-" else listing, encoding="utf-8", errors="surrogateescape") as lines:
        return [_entry(line.rstrip("\n")) for line in lines if line.strip()]


def _entry(line):
    if line.startswith("{"):
        request = json.loads(line)
        return request["path"], request.get("corpus_path", request["path"])
    return line, line


def interpreter():
    return f"{sys.implementation.name} {sys.version.split()[0]}"
