"""The commands of docs/kubernetes.md, cut out of it as a reader would copy them."""

import re
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "kubernetes.md"


def blocks(language):
    """(heading, text) of every block of a language, in order."""
    heading, found = "", []
    for match in re.finditer(r"^## ([^\n]+)$|^```(\w+)\n(.*?)^```$", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        elif match[2] == language:
            found.append((heading, match[3]))
    return found


def values():
    """The values that it has its reader write, and those of its other examples, each by itself."""
    written = re.compile(r"^cat >values\.yaml <<'END'\n(.*?)^END$", flags=re.MULTILINE | re.DOTALL)
    return [text for _, block in blocks("sh") for text in written.findall(block)], [text for _, text in blocks("yaml")]
