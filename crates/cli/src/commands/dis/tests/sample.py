"""A bit of everything that a listing shows."""

LIMIT = 10


class Stack:
    def __init__(self, *items, limit=LIMIT, **rest):
        self.items = list(items)

    def drain(self, a, /, b, *, c=None):
        try:
            while self.items:
                yield self.items.pop() + a
        except (IndexError, ValueError) as error:
            print(f"{error!r:>{b}}")
        finally:
            c = (lambda: a)()


async def main(names):
    async with names as found:
        return [name async for name in found if name != "\x1b[31mé"]
