from lib.deep import *


def same(x):
    return x + 1


def changed(x):
    return x + 2


def gone(x):
    return x
