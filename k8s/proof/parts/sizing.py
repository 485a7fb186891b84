"""How much memory and time it takes, by the number of files; and that the memory which the guide names is enough, half of it being named as too little."""

import contextlib
import json
import re
import subprocess
import time
from pathlib import Path

from .. import clients, release, store
from ..kube import Failure, until
from ..report import require
from .trouble import begin, ended_well, extracted

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "kubernetes.md"
# What reads every row, and what reads every instruction.
QUESTIONS = (clients.QUESTION.format(run=""), "SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname")

# In a pod, until its stdin ends: the most memory of their own that all processes below process 1 have had at a time. What is a file's counts as well against
# the pod's limit, but is given back before anything is killed.
WATCH = """
import os, select, sys
def held():
    parents, own = {}, {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            lines = open(f"/proc/{entry}/status").read().splitlines()
        except OSError:
            continue
        words = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("PPid:", "RssAnon:", "RssShmem:"))}
        parents[entry] = words["PPid"]
        own[entry] = int(words.get("RssAnon", 0)) + int(words.get("RssShmem", 0))
    def of_process_one(entry):
        while entry not in ("0", "1"):
            entry = parents.get(entry, "0")
        return entry == "1"
    return sum(memory for entry, memory in own.items() if of_process_one(entry))
most = 0
while True:
    most = max(most, held())
    if select.select([sys.stdin], [], [], 0.2)[0]:
        break
print(most * 1024)
"""


def part(trial):
    report, namespace = trial.report, trial.namespace("sizing")
    deployed = release.Release(namespace)
    corpora = {copies: store.copies(copies) for copies in trial.copies}
    values = release.values(trial.image, corpora=[store.LIBRARY, *corpora.values()], audit={"enabled": False})

    with report.shows("sizing", "a release, and corpora of several sizes", namespace.story):
        deployed.bring_up(trial, values)
        for copies in trial.copies:
            store.make_copies(namespace, copies)
    rows = []
    for copies, corpus in corpora.items():
        with report.shows("sizing", f"the library {copies} times over", namespace.story) as note:
            rows.append(measured(deployed, values, f"times-{copies}", corpus))
            note(str(rows[-1]))
    print("sizing    by two executors of one core each, memory of their own at most (MiB):")
    for line in table(rows):
        print(line)

    enough(trial, deployed)
    trial.done(namespace)


# ---- how much it takes

class Watch:
    """Watches the memory of pods until it is asked for it."""

    def __init__(self, namespace, pods):
        self.watchers = {}
        for pod in pods:
            command = ["kubectl", "--namespace", namespace.name, "exec", "--stdin", pod, "--", "python3.13", "-I", "-c", WATCH]
            self.watchers[pod] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def most(self):
        """Of each pod, in bytes."""
        found = {}
        for pod, watcher in self.watchers.items():
            said, error = watcher.communicate(timeout=60)
            if watcher.returncode:
                raise Failure(f"{pod} was not watched to the end, it may have been killed: {error.strip()[-300:]}")
            found[pod] = int(said)
        return found

    def close(self):
        for watcher in self.watchers.values():
            watcher.kill()
            watcher.wait()


def measured(deployed, values, name, corpus):
    """A cold extraction, and questions to the SQL service over what it has landed."""
    pods = {component: deployed.pods(component) for component in release.DAEMONS}
    every = [pod for several in pods.values() for pod in several]
    with contextlib.closing(Watch(deployed.namespace, every)) as watch:
        summary = extracted(deployed, values, name, corpus, "--another-corpus")
        extracting = watch.most()
    with contextlib.closing(Watch(deployed.namespace, every)) as watch:
        with clients.forwarded(deployed.namespace, deployed.service("sql"), 50052) as port:
            seconds = [answered(port, question) for question in QUESTIONS]
        asking = watch.most()
    most = lambda memory, component: max(memory[pod] for pod in pods[component])
    return {
        **{key: summary[key] for key in ("files", "bins", "instructions", "bytes", "seconds")},
        "scheduler": max(most(extracting, "scheduler"), most(asking, "scheduler")),
        "executor": most(extracting, "executor"),
        "asked": seconds,
        "sql": most(asking, "sql"),
        "executor asked": most(asking, "executor"),
    }


def answered(port, question):
    """Seconds until the answer is there, the start of a Python with ADBC (a second) included."""
    begun = time.monotonic()
    rows = clients.ask(port, question)
    require(rows, f"nothing is answered to {question}")
    return time.monotonic() - begun


def table(rows):
    """As docs/kubernetes.md has it."""
    yield "| files | instructions | Parquet | bins | extraction | scheduler | executor | count of units | count by opcode | SQL | executor, asked |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    mebibytes = lambda number: f"{number / (1 << 20):.0f}"
    for row in rows:
        units, opcodes = row["asked"]
        cells = [f"{row['files']:,}", f"{row['instructions'] / 1e6:.1f} M", f"{row['bytes'] / 1e6:.0f} MB", row["bins"], f"{row['seconds']:.0f} s"]
        cells += [mebibytes(row["scheduler"]), mebibytes(row["executor"]), f"{units:.1f} s", f"{opcodes:.1f} s"]
        cells += [mebibytes(row["sql"]), mebibytes(row["executor asked"])]
        yield f"| {' | '.join(map(str, cells))} |"


# ---- the guide's figures

def guide():
    """What docs/kubernetes.md says that the library needs: MiB of an executor by its cores."""
    found = {int(cores): int(mebibytes) for cores, mebibytes in re.findall(r"^\| an executor of (\d) cores? \| (\d+) MiB", GUIDE.read_text(), re.MULTILINE)}
    require(found, f"{GUIDE} says nothing of executors")
    return found


def enough(trial, deployed):
    """The guide's memory is enough for the library, and half of it is not: which is said, and laid at no file's door."""
    report, namespace, corpus, sizes = trial.report, deployed.namespace, store.LIBRARY, guide()
    least = min(sizes)

    def sized(cores, mebibytes):
        resources = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": str(cores), "memory": f"{mebibytes}Mi"}}
        return release.values(trial.image, corpus=corpus, audit={"enabled": False}, executor={"replicas": 1, "cores": cores, "resources": resources})

    digests = set()
    for cores, mebibytes in sizes.items():
        with report.shows("sizing", f"{mebibytes} MiB for {cores} core(s): no kill", namespace.story) as note:
            values = sized(cores, mebibytes)
            deployed.install(values)
            until("an executor of that size", lambda: is_of_size(deployed, mebibytes), seconds=180)
            with contextlib.closing(Watch(namespace, deployed.pods("executor"))) as watch:
                summary = extracted(deployed, values, f"with-{cores}", corpus, "--another-corpus")
                most = max(watch.most().values())
            digests.add(summary["digest"])
            require(not kills(deployed), f"killed: {kills(deployed)}")
            note(f"{summary['seconds']:.0f} s, {most / (1 << 20):.0f} MiB of its own at most")
    with report.shows("sizing", f"{sizes[least] // 2} MiB for {least} core: the kill is named, nobody is blamed", namespace.story) as note:
        values = sized(least, sizes[least] // 2)
        deployed.install(values, wait=False)
        until("an executor of that size", lambda: is_of_size(deployed, sizes[least] // 2), seconds=180)
        summary = ended_well(deployed, begin(deployed, values, "starved", corpus, "--another-corpus"), seconds=1500)
        digests.add(summary["digest"])
        named = kills(deployed)
        require(named, "nothing was killed: the guide says more than is needed")
        require(not [e for e in summary["errors"] if e["stage"] == "quarantine"], f"blamed: {summary['errors']}")
        note(f"{summary['seconds']:.0f} s; killed {named}")
    with report.shows("sizing", "one digest"):
        require(len(digests) == 1, f"digests: {digests}")


def kills(deployed):
    """Containers of executors that were killed for their memory, as Kubernetes says."""
    found = []
    for pod in deployed.namespace.get("pods", deployed.selector("executor")):
        for status in pod["status"].get("containerStatuses", []):
            ended = status.get("lastState", {}).get("terminated") or status["state"].get("terminated") or {}
            if ended.get("reason") == "OOMKilled":
                found.append(f"{pod['metadata']['name']}: {status['restartCount']} restarts")
    return found


def is_of_size(deployed, mebibytes):
    pods = deployed.namespace.ready(deployed.selector("executor"), 1)
    return pods and pods[0]["spec"]["containers"][0]["resources"]["limits"]["memory"] == f"{mebibytes}Mi"
