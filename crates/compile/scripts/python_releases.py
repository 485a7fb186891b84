"""Writes src/install/releases.json from uv's public list of Python builds (crates/uv-python/download-metadata.json in astral-sh/uv).

    python3 crates/compile/scripts/python_releases.py download-metadata.json > crates/compile/src/install/releases.json

Takes the newest final release of CPython 3.13 that python-build-standalone built for every platform that bytefacts supports.
"""

import json
import sys

BASE = "https://github.com/astral-sh/python-build-standalone/releases/download/"
TARGETS = [
    ("linux", "x86_64", "gnu", "x86_64-unknown-linux-gnu"),
    ("linux", "x86_64", "musl", "x86_64-unknown-linux-musl"),
    ("linux", "aarch64", "gnu", "aarch64-unknown-linux-gnu"),
    ("linux", "aarch64", "musl", "aarch64-unknown-linux-musl"),
    ("darwin", "x86_64", "none", "x86_64-apple-darwin"),
    ("darwin", "aarch64", "none", "aarch64-apple-darwin"),
]


def builds(metadata):
    """Builds by patch release, then by target."""
    found = {}
    for build in metadata.values():
        fits = build["name"] == "cpython" and (build["major"], build["minor"]) == (3, 13) and not build["prerelease"]
        if not fits or build["variant"] or build["arch"]["variant"]:
            continue
        for system, arch, libc, target in TARGETS:
            if (build["os"], build["arch"]["family"], build["libc"]) == (system, arch, libc):
                found.setdefault(build["patch"], {})[target] = build
    return found


def main():
    with open(sys.argv[1]) as file:
        complete = {patch: row for patch, row in builds(json.load(file)).items() if len(row) == len(TARGETS)}
    patch = max(complete)
    row = complete[patch]
    (tag,) = {build["build"] for build in row.values()}
    archives = []
    for target in sorted(row):
        url, sha256 = row[target]["url"], row[target]["sha256"]
        assert url.startswith(BASE + tag + "/") and url.endswith("-install_only_stripped.tar.gz") and len(sha256) == 64, url
        archives.append({"target": target, "path": url.removeprefix(BASE), "sha256": sha256})
    json.dump({"version": f"3.13.{patch}", "build": tag, "archives": archives}, sys.stdout, indent=2)
    sys.stdout.write("\n")


main()
