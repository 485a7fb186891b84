# Run with CPython 3.13: writes sample.marshal, the code object of sample.py as the compile workers send it.
import marshal
from pathlib import Path

here = Path(__file__).parent
code = compile((here / "sample.py").read_bytes(), "sample.py", "exec", dont_inherit=True, optimize=0)
(here / "sample.marshal").write_bytes(marshal.dumps(code, 2))
