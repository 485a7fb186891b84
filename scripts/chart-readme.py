#!/usr/bin/env python3
"""Writes helm/bytefacts/README.md: README.in.md with a table of values.yaml in it. scripts/chart-readme.py [--check]

values.yaml is read line by line: `## …` begins a section, `# …` above a key says what it means. A value that nothing is said of is an error.
"""

import pathlib
import re
import sys

CHART = pathlib.Path(__file__).resolve().parent.parent / "helm/bytefacts"
KEY = re.compile(r"^( *)([A-Za-z][\w./-]*):(?: (.*))?$")


def entries(text):
    """(section, path, default, about) of every value, in the order of the file."""
    section, about, stack, found, title = "", [], [], [], True
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            about, title = [], False
        elif line.startswith("## "):
            section, about = line[3:], []
        elif line.lstrip().startswith("#"):
            about.append(line.strip().lstrip("#").strip())
        elif match := KEY.match(line):
            indent, key, value = len(match[1]), match[2], (match[3] or "").strip()
            while stack and stack[-1]["indent"] >= indent:
                stack.pop()
            parent = stack[-1] if stack else None
            entry = {"section": section, "indent": indent, "path": f"{parent['path']}.{key}" if parent else key, "value": value,
                     "about": " ".join(about), "inside": [], "line": number}
            if parent and not entry["about"] and (parent["about"] or parent.get("covered")):
                # Said by the value that it is in.
                entry["covered"] = True
                top = next(above for above in reversed(stack) if above["about"])
                top["inside"].append(f"{entry['path'].removeprefix(top['path'] + '.')}: {value or '…'}")
            else:
                found.append(entry)
            stack.append(entry)
            about = []
        else:
            sys.exit(f"values.yaml:{number}: a line that is neither a comment nor a key: {line}")
    for entry in found:
        leaf = entry["value"] or entry["inside"]
        if leaf and not entry["about"]:
            sys.exit(f"values.yaml:{entry['line']}: nothing is said of {entry['path']}")
    return [entry for entry in found if entry["about"]]


def table(text):
    lines, section = [], None
    for entry in entries(text):
        if entry["section"] != section:
            section = entry["section"]
            lines += ["", f"### {section}", "", "| value | default | |", "|---|---|---|"]
        default = entry["value"] or ", ".join(entry["inside"])
        cell = f"`{default}`".replace("|", "\\|") if default else ""
        lines.append(f"| `{entry['path']}` | {cell} | {entry['about']} |".replace("<", "&lt;"))
    return "\n".join(lines).strip() + "\n"


def main():
    values = (CHART / "values.yaml").read_text()
    text = (CHART / "README.in.md").read_text().replace("<!-- values -->\n", table(values))
    path = CHART / "README.md"
    if "--check" not in sys.argv[1:]:
        path.write_text(text)
    elif not path.exists() or path.read_text() != text:
        sys.exit("helm/bytefacts/README.md is not what scripts/chart-readme.py writes: run it")


if __name__ == "__main__":
    main()
