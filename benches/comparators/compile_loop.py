"""Comparator: a bare `compile()` loop over the files of a listing, the least that any tool built on CPython costs.

    python3.13 compile_loop.py LISTING

Prints JSON: `cpu_seconds` and `wall_seconds` of the whole loop (files read, compiled, code dropped), and the share of
reading and of compiling. One process, one thread; bytes in, `dont_inherit=True, optimize=0`, warnings ignored.
"""

import json
import sys
import threading
import time
import warnings

import listing


def loop(files):
    size = errors = unread = 0
    read_cpu = compile_cpu = 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    for path, name in files:
        start = time.process_time()
        try:
            with open(path, "rb") as file:
                source = file.read()
        except OSError:
            unread += 1
            continue
        finally:
            ready = time.process_time()
            read_cpu += ready - start
        size += len(source)
        try:
            compile(source, name, "exec", dont_inherit=True, optimize=0)
        except Exception:
            errors += 1
        compile_cpu += time.process_time() - ready
    return {
        "comparator": "compile_loop",
        "interpreter": listing.interpreter(),
        "files": len(files),
        "unread": unread,
        "bytes": size,
        "errors": errors,
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "wall_seconds": round(time.perf_counter() - wall, 3),
        "read_cpu_seconds": round(read_cpu, 3),
        "compile_cpu_seconds": round(compile_cpu, 3),
    }


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    files = listing.read(arguments[0])
    warnings.simplefilter("ignore")
    # Deep but valid source needs more C stack than some platforms give a main thread.
    threading.stack_size(256 << 20)
    thread = threading.Thread(target=lambda: print(json.dumps(loop(files))))
    thread.start()
    thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
