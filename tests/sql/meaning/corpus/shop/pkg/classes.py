import abc
import functools


def deco(f):
    return f


class Plain:
    pass


@deco
@functools.wraps(deco)
class Child(Plain, abc.ABC, metaclass=abc.ABCMeta):
    @property
    def p(self):
        return 1

    @(lambda f: f)
    def q(self, x=[1]):
        return x


class Starred(Plain, *[abc.ABC], key=1, **{}):
    pass


class Generic[T](Plain):
    @deco
    def of[U](self):
        pass


@functools.lru_cache(maxsize=None)
def cached():
    pass
