#!PYTHON -IS
"""Stands in for an interpreter: becomes the real one, with a fault in its worker if BYTEFACTS_TEST_FAULT names one."""

import os
import sys

FAULTS = '''
import math
import _opcode_metadata

def plain(source, flags=0, optimize=None):
    return compile(source, FILENAME, "exec", flags=flags, dont_inherit=True, optimize=OPTIMIZE if optimize is None else optimize)

def each(code, change):
    inner = tuple(each(c, change) if hasattr(c, "co_code") else c for c in code.co_consts)
    return change(code.replace(co_consts=inner))

def consts(code, change):
    return each(code, lambda c: c.replace(co_consts=tuple(change(x) for x in c.co_consts)))

def filtered(source, action):
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        return plain(source)

def raised(error):
    raise error

def elsewhere(source):
    try:
        return plain(source)
    except SyntaxError as error:
        raise SyntaxError(error.msg, (FILENAME, error.lineno + 1, 1, "x"))

def held(source):
    code = plain(source)
    KEPT.extend((code.co_linetable, code.co_consts))
    return code

def unlimited(source):
    sys.set_int_max_str_digits(0)
    return plain(source)

def statics(code):
    if "__static_attributes__" not in code.co_names:
        return code
    turned = lambda x: x[::-1] if type(x) is tuple and len(x) > 1 else x
    return code.replace(co_consts=tuple(turned(x) for x in code.co_consts))

def zero(x):
    return 0.0 if type(x) is float and x == 0 else x

def nan(x):
    return math.copysign(x, -math.copysign(1.0, x)) if type(x) is float and x != x else x

def next_float(x):
    return math.nextafter(x, math.inf) if type(x) is float and math.isfinite(x) and x else x

def one_type(x):
    return True if type(x) is int and x == 1 else x

def ligatures(code):
    return code.replace(co_names=tuple(n.replace("fi", chr(0xFB01)) for n in code.co_names))

def swallow(code):
    at = code.co_code.index(_opcode_metadata.opmap["POP_TOP"])
    return code.replace(co_code=code.co_code[:at] + bytes([_opcode_metadata.opmap["NOP"]]) + code.co_code[at + 1:])

KEPT = []
DO = {
    "C02": held,
    "C06": lambda source: consts(plain(source), lambda x: sys.intern(x) if type(x) is str else x),
    "C09": lambda source: each(plain(source), statics),
    "C14": lambda source: each(plain(source), lambda c: c.replace(co_filename="/build/a.py")),
    "C15": lambda source: each(plain(source), lambda c: c.replace(co_firstlineno=c.co_firstlineno + 1)),
    "C17": lambda source: plain(source, optimize=2),
    "C18": lambda source: plain(source, flags=0x1000000),
    "C19": lambda source: plain(source, flags=0x2000),
    "C20": lambda source: plain(source.decode("latin-1")),
    "C22": lambda source: filtered(source, "error"),
    "C23": lambda source: filtered(source, "ignore"),
    "C24": unlimited,
    "C25": lambda source: raised(RecursionError("maximum recursion depth exceeded during compilation")),
    "C27": lambda source: raised(MemoryError("Parser stack overflowed - Python source too complex to parse")),
    "C29": lambda source: consts(plain(source), next_float),
    "C30": lambda source: consts(plain(source), nan),
    "C31": lambda source: consts(plain(source), zero),
    "C31 type": lambda source: consts(plain(source), one_type),
    "C33": lambda source: each(plain(source), ligatures),
    "C34": plain,
    "C37": elsewhere,
    "X00": lambda source: swallow(plain(source)),
}

def faulty(source):
    return DO[FAULT](source)

def dumped(code, version):
    marshalled = marshal.dumps(code, version)
    if FAULT == "C34":
        resume, check = _opcode_metadata.opmap["RESUME"], _opcode_metadata._specialized_opmap["RESUME_CHECK"]
        marshalled = marshalled.replace(bytes([resume, 0]), bytes([check, 0]), 1)
    return marshalled
'''

COMPILE = 'code = compile(source, FILENAME, "exec", dont_inherit=DONT_INHERIT, optimize=OPTIMIZE)\n        stage = "marshal"'

arguments = sys.argv[1:]
fault = os.environ.get("BYTEFACTS_TEST_FAULT")
if fault and "-c" in arguments:
    at = arguments.index("-c") + 1
    script = arguments[at]
    assert script.count(COMPILE) == 1 and script.endswith("\nmain()\n"), "the worker's script has changed"
    script = script.replace(COMPILE, 'code = faulty(source)\n        stage = "marshal"')
    script = script.replace("code = marshal.dumps(code, MARSHAL_VERSION)", "code = dumped(code, MARSHAL_VERSION)")
    arguments[at] = script.removesuffix("main()\n") + f"FAULT = {fault!r}\n" + FAULTS + "\nmain()\n"
os.execv("PYTHON", ["PYTHON", *arguments])
