"""Compiles every .py file below a folder, as the workers do, and writes frames to standard output.

A frame is the path below the folder, the source and the marshalled code, each with its length in front (8 bytes, little-endian).
The code of a file that does not compile is empty. Usage: compile.py FOLDER [EVERY_NTH]
"""

import marshal
import os
import sys
import warnings

warnings.simplefilter("ignore")
root, nth = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
paths = []
for folder, folders, names in os.walk(root):
    folders[:] = [name for name in folders if name not in ("site-packages", "__pycache__")]
    paths += [os.path.join(folder, name) for name in names if name.endswith(".py")]
for path in sorted(paths)[::nth]:
    with open(path, "rb") as file:
        source = file.read()
    try:
        code = marshal.dumps(compile(source, "<unit>", "exec", dont_inherit=True, optimize=0), 2)
    except Exception:
        code = b""
    for part in (os.path.relpath(path, root).encode(), source, code):
        sys.stdout.buffer.write(len(part).to_bytes(8, "little") + part)
