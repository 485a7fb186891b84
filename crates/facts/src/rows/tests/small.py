# coding: utf-8
def f(a, *b):
    x = (a, 'é\ud800', None, 2**80, b'')
    return lambda: x if a < 1 else f
