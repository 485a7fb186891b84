import os
import os.path
import a.b.c
import a.b.c as d, numpy as np
from os import path as p, sep
from . import sibling
from .. import parent as up
from .deep.er import thing
from x import *


def inside():
    import json as j, re
    from a import b
    return j, re, b


class Inside:
    global shared
    import shared
    from a import __private
