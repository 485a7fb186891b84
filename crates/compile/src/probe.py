"""Says what this interpreter is, as one line of JSON. Runs on any Python 3, so that an unfit one is refused by name."""

import json
import sys


def opcode_map_digest():
    """As `bytefacts_bytecode::opcode::map_digest` documents it."""
    import hashlib
    import opcode

    rows = sorted((number, name) for name, number in opcode.opmap.items())
    text = "".join("%s %d %d\n" % (name, number, opcode._inline_cache_entries.get(name, 0)) for number, name in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def main():
    fits = sys.implementation.name == "cpython" and sys.version_info[:2] == (3, 13)
    if fits:
        import importlib.util
        import os
        import sysconfig

        details = {
            "magic": importlib.util.MAGIC_NUMBER.hex(),
            "opcode_map": opcode_map_digest(),
            "stdlib": os.path.dirname(os.__file__),
            "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "debug": hasattr(sys, "gettotalrefcount"),
        }
    else:
        details = {"magic": "", "opcode_map": "", "stdlib": "", "free_threaded": False, "debug": False}
    version = "%d.%d.%d" % sys.version_info[:3]
    suffix = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(sys.version_info[3])
    if suffix:
        version += suffix + str(sys.version_info[4])
    report = dict(details, executable=sys.executable, implementation=sys.implementation.name, version=version)
    print(json.dumps(report))


main()
