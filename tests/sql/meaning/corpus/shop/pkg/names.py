total = 0


def count(items, *rest, key=None, **more):
    global total
    for i, item in enumerate(items):
        total += item
    squares = [i * i for i in items]
    del rest
    return squares


def outer(a):
    b = a

    def inner():
        nonlocal b
        b = a + len
        return lambda: b

    return inner, [lambda: c for c in a]


class C:
    x = total
    __y = x

    def m(self):
        try:
            return self.__y, __class__
        except ValueError as error:
            pass


def generic[T](value: T) -> T:
    match value:
        case [first, *others]:
            return first
