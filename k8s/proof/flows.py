"""Who may reach whom, as the table in ARCHITECTURE.md says: `yes`, `no`, or `not ours` where no policy of the chart decides."""

import re
from pathlib import Path

ARCHITECTURE = Path(__file__).resolve().parents[2] / "ARCHITECTURE.md"
WORDS = {"yes", "no", "not ours"}


def table():
    """{caller: {target: word}}, in the order of the table."""
    text = ARCHITECTURE.read_text()
    found = re.search(r"^\| from +\|(.*)\|\n\|[-|]+\|\n((?:\|.*\|\n)+)", text, flags=re.MULTILINE)
    cells = lambda line: [cell.strip() for cell in line.strip().strip("|").split("|")]
    targets = [cell.removeprefix("to ") for cell in cells(found[1])]
    flows = {}
    for line in found[2].splitlines():
        caller, *words = cells(line)
        if len(words) != len(targets) or set(words) - WORDS:
            raise ValueError(f"ARCHITECTURE.md: of {caller} are said {words}, not one of {sorted(WORDS)} for each of {targets}")
        flows[caller] = dict(zip(targets, words))
    return flows
