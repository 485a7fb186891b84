"""The memory that the guide names is enough; with half of it the kill is named, and no file is blamed."""

from .. import release, store
from ..kube import until
from ..report import require
from .trouble import begin, ended_well, extracted

# docs/operations.md: memory of an executor of one core, and of two.
GUIDE = {1: 320, 2: 512}


def part(trial):
    report, namespace = trial.report, trial.namespace("sizing")
    deployed = release.Release(namespace)
    corpus = store.LIBRARY

    def sized(cores, mebibytes, replicas=1):
        resources = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": str(cores), "memory": f"{mebibytes}Mi"}}
        return release.values(trial.image, corpus=corpus, audit={"enabled": False}, executor={"replicas": replicas, "cores": cores, "resources": resources})

    with report.shows("sizing", "a store", namespace.story):
        store.install(namespace, trial.image, trial.store_image)
    digests = set()
    for cores, mebibytes in GUIDE.items():
        with report.shows("sizing", f"{mebibytes} MiB for {cores} core(s): no kill", namespace.story) as note:
            values = sized(cores, mebibytes)
            deployed.install(values)
            deployed.healthy(executors=1)
            summary = extracted(deployed, values, f"with-{cores}", corpus)
            digests.add(summary["digest"])
            require(not kills(deployed), f"killed: {kills(deployed)}")
            note(f"{summary['seconds']:.0f} s, peak {peak(deployed)}")
    with report.shows("sizing", "half of it: the kill is named, nobody is blamed", namespace.story) as note:
        values = sized(1, GUIDE[1] // 2)
        deployed.install(values, wait=False)
        until("an executor of that size", lambda: is_of_size(deployed, f"{GUIDE[1] // 2}Mi"), seconds=180)
        job = begin(deployed, values, "starved", corpus)
        summary = ended_well(deployed, job, seconds=1500)
        digests.add(summary["digest"])
        named = kills(deployed)
        require(named, "nothing was killed: the guide says more than is needed")
        require(not [e for e in summary["errors"] if e["stage"] == "quarantine"], f"blamed: {summary['errors']}")
        note(f"{summary['seconds']:.0f} s; killed {named}")
    with report.shows("sizing", "one digest"):
        require(len(digests) == 1, f"digests: {digests}")
    trial.done(namespace)


def kills(deployed):
    """Containers of executors that were killed for their memory, as Kubernetes says."""
    found = []
    for pod in deployed.namespace.get("pods", deployed.selector("executor")):
        for status in pod["status"].get("containerStatuses", []):
            ended = status.get("lastState", {}).get("terminated") or status["state"].get("terminated") or {}
            if ended.get("reason") == "OOMKilled":
                found.append(f"{pod['metadata']['name']}: {status['restartCount']} restarts")
    return found


def is_of_size(deployed, memory):
    pods = deployed.namespace.ready(deployed.selector("executor"), 1)
    return pods and pods[0]["spec"]["containers"][0]["resources"]["limits"]["memory"] == memory


def peak(deployed):
    """The most memory that the executor's control group has had, if it says so."""
    script = "cat /sys/fs/cgroup/memory.peak 2>/dev/null || cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes"
    text = deployed.namespace.shell(deployed.pods("executor")[0], script, check=False).stdout.strip()
    return f"{int(text) / (1 << 20):.0f} MiB" if text.isdigit() else "unknown"
