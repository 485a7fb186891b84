"""What the oracle of the compile workers says of every .py file below a folder, in frames on standard output.

For each file: its path below the folder, its source, its marshalled code, then the oracle's frames and an empty one; each with
its length in front (8 bytes, little-endian). Files that do not compile are left out. Usage: judge.py ORACLE FOLDER EVERY_NTH
"""

import marshal
import os
import sys
import types
import warnings

warnings.simplefilter("ignore")
oracle = types.ModuleType("oracle")
exec(compile(open(sys.argv[1]).read(), "<oracle>", "exec"), oracle.__dict__)
root, nth = sys.argv[2], int(sys.argv[3])
paths = []
for folder, folders, names in os.walk(root):
    folders[:] = [name for name in folders if name not in ("site-packages", "__pycache__")]
    paths += [os.path.join(folder, name) for name in names if name.endswith(".py")]


def write(part):
    sys.stdout.buffer.write(len(part).to_bytes(8, "little") + part)


for path in sorted(paths)[::nth]:
    with open(path, "rb") as file:
        source = file.read()
    try:
        code = compile(source, "<unit>", "exec", dont_inherit=True, optimize=0)
    except Exception:
        continue
    name = os.path.relpath(path, root)
    for part in (name.encode(), source, marshal.dumps(code, 2)):
        write(part)
    for frame in oracle.frames(code, name, len(source) % 2 == 1):  # adaptive or not: code that has not run is the same
        write(frame)
    write(b"")
