"""The image by itself, in a pod as confined as the chart's."""

import json
import time

from ..clients import pod
from ..kube import until
from ..report import require

SCHEDULER = ["--log-format", "json", "scheduler", "--listen", "127.0.0.1:50050", "--probes", "0.0.0.0:50060"]
READY = {"httpGet": {"path": "/readyz", "port": 50060}, "periodSeconds": 1}

# Processes of the container, as (id, parent, state, name).
PROCESSES = """
import json, os
rows = []
for entry in filter(str.isdigit, os.listdir("/proc")):
    try:
        head, _, rest = open(f"/proc/{entry}/stat").read().rpartition(")")
    except OSError:
        continue
    rows.append([int(entry), int(rest.split()[1]), rest.split()[0], head.partition("(")[2]])
print(json.dumps(rows))
"""

# A process whose parent is gone, so that process 1 gets it, and which then ends: forty times.
ORPHANS = """
import os
for _ in range(40):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
"""

WRITES = """
import os
def can(path):
    try:
        with open(os.path.join(path, "tried"), "w"):
            pass
    except OSError:
        return False
    os.unlink(os.path.join(path, "tried"))
    return True
folders = {"/", "/usr/local/bin", "/usr/local/lib/python3.13", "/etc", "/var/tmp", "/home", "/run", "/tmp", "/cache"}
print(" ".join(sorted(filter(can, folders))))
"""


def processes(namespace, name):
    return json.loads(namespace.python(name, PROCESSES))


def part(trial):
    namespace, report = trial.namespace("image"), trial.report

    with report.shows("image", "a daemon is ready in a restricted pod", namespace.story) as note:
        begun = time.monotonic()
        namespace.apply([pod("one", trial.image, args=SCHEDULER, readinessProbe=READY)])
        until("the pod is ready", lambda: namespace.ready("app=one", 1), every=0.1)
        note(f"{time.monotonic() - begun:.1f} s from asking for the pod to ready")

    with report.shows("image", "process 1 reaps who has lost its parent", namespace.story) as note:
        rows = processes(namespace, "one")
        require(any(row[0] == 1 and row[3] == "bytefacts" for row in rows), f"process 1 is another: {rows}")
        namespace.python("one", ORPHANS)
        zombies = lambda: [row for row in processes(namespace, "one") if row[2] == "Z"]
        until("no zombie is left", lambda: not zombies(), seconds=10)
        note("40 orphans")

    with report.shows("image", "nothing is writable but /tmp and /cache") as note:
        where = namespace.python("one", WRITES).split()
        require(where == ["/cache", "/tmp"], f"it can write to {where}")
        who = namespace.shell("one", "id -u; id -g").split()
        require(who == ["10001", "10001"], f"it runs as {who}")

    with report.shows("image", "SIGTERM ends a daemon in time, with 0") as note:
        begun = time.monotonic()
        namespace.kubectl("delete", "pod", "one", "--wait=true")
        took = time.monotonic() - begun
        note(f"gone after {took:.1f} s")
        require(took < 20, f"it took {took:.1f} s, as if it had to be killed")

    with report.shows("image", "a command that listens to no signal ends by SIGTERM too", namespace.story) as note:
        # It waits for a source on stdin that nobody gives.
        namespace.apply([pod("two", trial.image, args=["dis", "-"], stdin=True, restart="Never")])
        until("it runs", lambda: namespace.get("pod/two")["status"]["phase"] == "Running")
        begun = time.monotonic()
        namespace.kubectl("delete", "pod", "two", "--wait=true")
        took = time.monotonic() - begun
        note(f"gone after {took:.1f} s")
        require(took < 20, f"it took {took:.1f} s, as if it had to be killed")

    with report.shows("image", "exit codes come through process 1", namespace.story):
        expected = {"three": (["--no-such-option"], 2), "four": (["runs", "--facts", "/tmp/nothing-here"], 1), "five": (["python", "find"], 0)}
        namespace.apply([pod(name, trial.image, args=args, restart="Never") for name, (args, _) in expected.items()])
        for name, (_, code) in expected.items():
            state = lambda n=name: namespace.get(f"pod/{n}")["status"]["containerStatuses"][0]["state"].get("terminated")
            found = until(f"{name} ends", state)["exitCode"]
            require(found == code, f"{expected[name][0]} ended with {found}, not {code}: {namespace.logs(name)}")

    with report.shows("image", "the list of crates is beside the binary and in it") as note:
        namespace.apply([pod("six", trial.image, command=["sleep", "600"], restart="Never")])
        until("it runs", lambda: namespace.ready("app=six", 1))
        document = json.loads(namespace.shell("six", "cat /usr/share/doc/bytefacts/sbom.json"))
        embedded = json.loads(namespace.python("six", EMBEDDED))
        names = {(p["name"], p["version"]) for p in embedded["packages"] if p["source"] != "local"}
        listed = {(c["name"], c["version"]) for c in document["components"] if c["type"] == "library"}
        require(names <= listed and len(names) > 100, f"{len(names)} in the binary, {len(listed)} beside it")
        note(f"{len(names)} crates")
        size = namespace.shell("six", "stat -c %s /usr/local/bin/bytefacts").strip()
        note(f"binary {int(size) / 1e6:.1f} MB")

    trial.done(namespace)


# The section `.dep-v0` of the binary, found by the section headers of its ELF file.
EMBEDDED = """
import struct, zlib
data = open("/usr/local/bin/bytefacts", "rb").read()
(at,), (size, count, names) = struct.unpack_from("<Q", data, 0x28), struct.unpack_from("<HHH", data, 0x3A)
sections = [struct.unpack_from("<IIQQQQ", data, at + size * nth) for nth in range(count)]
strings = sections[names][4]
for name, _, _, _, offset, length in sections:
    if data[strings + name : data.index(b"\\0", strings + name)] == b".dep-v0":
        print(zlib.decompress(data[offset : offset + length]).decode())
"""
