"""Many small executors: how long until they are there, and what a run and the scheduler cost then."""

import json
import time

from .. import release
from ..kube import until
from ..report import require
from .trouble import extracted

SMALL = {"requests": {"cpu": "1m", "memory": "40Mi"}, "limits": {"cpu": "500m", "memory": "400Mi"}}

# Of the daemon in the scheduler's container: resident memory, CPU seconds since it began, and lines of its metrics.
COST = """
import json, os, re, urllib.request
for entry in filter(str.isdigit, os.listdir("/proc")):
    try:
        name = open(f"/proc/{entry}/comm").read().strip()
        words = open(f"/proc/{entry}/cmdline").read().split("\\0")
    except OSError:
        continue
    if name == "bytefacts" and entry != "1" and "scheduler" in words:
        resident = int(re.search(r"VmRSS:\\s+(\\d+)", open(f"/proc/{entry}/status").read()).group(1)) * 1024
        fields = open(f"/proc/{entry}/stat").read().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        text = urllib.request.urlopen("http://127.0.0.1:50060/metrics").read().decode()
        series = [line for line in text.splitlines() if line and not line.startswith("#")]
        seen = next((float(line.split()[-1]) for line in series if line.startswith("bytefacts_executors ")), None)
        print(json.dumps({"resident": resident, "cpu": cpu, "series": len(series), "executors": seen}))
        break
"""


def part(trial):
    report, namespace = trial.report, trial.namespace("scale")
    deployed = release.Release(namespace)
    small = {"kind": "Deployment", "resources": SMALL, "updateStrategy": None}
    values = release.values(trial.image, corpus=trial.corpus, audit={"enabled": False}, executor=small)
    cost = lambda: json.loads(namespace.python(deployed.pods("scheduler")[0], COST))
    with report.shows("scale", "two executors, to compare with", namespace.story) as note:
        deployed.bring_up(trial, values)
        base = extracted(deployed, values, "by-two", trial.corpus)
        note(f"{base['seconds']:.0f} s; scheduler {cost()}")
    with report.shows("scale", f"{trial.executors} executors are there", namespace.story) as note:
        begun = time.monotonic()
        name = namespace.names("deployments", deployed.selector("executor"))[0]
        namespace.kubectl("scale", f"deployment/{name}", f"--replicas={trial.executors}")
        until("all are ready", lambda: namespace.ready(deployed.selector("executor"), trial.executors), seconds=900, every=2)
        note(f"ready after {time.monotonic() - begun:.0f} s")
        until("the scheduler knows all", lambda: cost()["executors"] == trial.executors, seconds=120)
        note(f"known after {time.monotonic() - begun:.0f} s; scheduler {cost()}")
    with report.shows("scale", "a run by all of them, with the same digest", namespace.story) as note:
        many = extracted(deployed, values, "by-many", trial.corpus)
        require(many["digest"] == base["digest"], f"{many['digest']} is not {base['digest']}")
        note(f"{many['seconds']:.0f} s for {many['bins']} bins; scheduler {cost()}")
    trial.done(namespace)
