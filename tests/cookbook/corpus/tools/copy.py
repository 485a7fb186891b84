import tempfile


def same(x):
    return x + 1


def warn(x):
    name = tempfile.mktemp()
    return "\d" + name, x is 1
