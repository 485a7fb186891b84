"""Loops, handlers, closures and generators, for rows that are then spoilt."""
import os


class Counter:
    total = 0

    def count(self, items, *, start=0, **rest):
        n = start
        while n < 10:
            for item in items:
                if item > n:
                    n += item
                elif item is None:
                    continue
        return n, [x for x in items if x], {k: v for k, v in rest.items()}


def guarded(path):
    def name():
        return path

    try:
        with open(name()) as file:
            return file.read()
    except OSError as error:
        print(error)
        raise
    finally:
        del path


async def gather(sources):
    async for source in sources:
        yield await source


def select(value):
    match value:
        case [first, *rest] if first:
            return lambda: (first, rest)
        case {"key": 1}:
            global found
            found = os.sep
    return (x for x in value), (y for y in value)
