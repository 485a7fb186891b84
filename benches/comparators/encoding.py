"""The parts of the canonical encoding that digests are made of, each kept once made.

Unsigned numbers are LEB128, signed ones zigzag before that, a missing number is 0 and a present one its zigzag code
plus one; texts have their length in front.
"""


def zigzag(number):
    return number << 1 if number >= 0 else (-number << 1) - 1


class _Unsigned(dict):
    def __missing__(self, number):
        out, rest = bytearray(), number
        while rest >= 0x80:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
        found = self[number] = bytes(out)
        return found


UNSIGNED = _Unsigned()


class _Signed(dict):
    def __missing__(self, number):
        found = self[number] = UNSIGNED[zigzag(number)]
        return found


SIGNED = _Signed()


class _Optional(dict):
    def __missing__(self, number):
        found = self[number] = UNSIGNED[0 if number is None else 1 + zigzag(number)]
        return found


OPTIONAL = _Optional()


class _Position(dict):
    def __missing__(self, number):
        found = self[number] = UNSIGNED[0 if number is None else number + 1]
        return found


POSITION = _Position()


def data(value):
    return UNSIGNED[len(value)] + value


def text(value):
    return data(value.encode("utf-8", "surrogatepass"))


class _Names(dict):
    def __missing__(self, name):
        found = self[name] = text(name)
        return found


NAMES = _Names()
"""`text` of identifiers and the like, of which a corpus has few."""
