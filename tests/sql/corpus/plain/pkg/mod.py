"""A module with a little of everything."""
import os
from sys import path as sys_path

LIMIT = 3
WORDS = frozenset({"b", "a"}) if LIMIT in {1, 2, 3} else None


class Counter:
    total: int = 0

    def count(self, items, *, start=0):
        n = start
        for item in items:
            if item > LIMIT:
                n += item
            else:
                continue
        return n


def outer(x):
    def inner(y):
        return x + y

    try:
        return inner(os.getpid())
    except OSError as error:
        print(error)
    finally:
        del x


async def gather(sources):
    async with sources as s:
        return [await one async for one in s if one]


def squares(n): return {i: i * i for i in range(n)}, (j for j in range(n)), (k for k in range(n))
