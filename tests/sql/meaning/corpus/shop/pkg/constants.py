"""The module."""
PASSWORD = "secret"
LIMIT = 10**6
NEGATIVE = -1.5
PAIR = ("a", 1)
IN = PASSWORD in {"x"}
BIG = 123456789012345678901234567890


class K:
    "The class."

    def m(self):
        "The function."
        return b"bytes"


def f(x=2j):
    f"{x} and"
    f(x="kw", y=True)
    return "text"
