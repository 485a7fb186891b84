"""Writes real code as seeds for the fuzz target `marshal`: of each small file of the standard library, two forms.

    python3.13 crates/bytecode/scripts/seeds.py crates/bytecode/fuzz/corpus/marshal
"""

import marshal
import pathlib
import sys
import sysconfig

target = pathlib.Path(sys.argv[1])
target.mkdir(parents=True, exist_ok=True)
for number, path in enumerate(sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*/*.py"))):
    if path.stat().st_size < 3000 and "site-packages" not in path.parts:
        try:
            code = compile(path.read_bytes(), path.name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        for version in (2, 4):
            (target / f"{number}-{version}").write_bytes(marshal.dumps(code, version))
