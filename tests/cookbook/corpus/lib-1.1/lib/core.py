"""A line more."""
from lib.deep import *


def same(x):
    return x + 1


def changed(x):
    return x + 3


def new(x, y):
    return x
