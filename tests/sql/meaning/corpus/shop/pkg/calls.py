import os.path
import numpy as np


class Base:
    def run(self, *args, **options):
        return self.loop.create(args)


class Job(Base):
    def run(self, command, *rest, **options):
        super().run(command, timeout=3)
        self.__log(command)
        return os.path.join(command, "x")

    def __log(self, text):
        print(text, end="")


def forms(f, xs, options):
    f(1, 2)
    f(*xs)
    f(1, *xs, 2, a=3, **options)
    f(1, 2, **options)
    f()()
    xs[0].go(np.array([1]))
    (lambda x: x)(1)
    (f if xs else print)(1)
    (g := f)(g)
    assert xs, f(1)
    with open("x") as file:
        return [x for x in file.read()], list(x for x in xs)


def exits(f):
    try:
        f(1)
    finally:
        f(2)


def many(f):
    f(a=1, b=2, c=3, d=4, e=5, f=6, g=7, h=8, i=9, j=10, k=11, l=12, m=13, n=14, o=15, p=16)
    if 0:
        f(3)
