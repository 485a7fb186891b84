"""The audit's life in a cluster: evicted in the middle it goes on, executors come to the same verdicts, an instability fails once, a second firing is
skipped, two clusters share a bucket."""

import json

from .. import audits, release, store
from ..kube import run, until
from ..report import require
from .trouble import begin, ended_well

SPOILT = f"{store.FACTS}/spoilt"
# All files under all conditions, within CPU minutes that are enough for it.
ARGUMENTS = {"preset": "full", "minutes": 60, "extraArgs": ["--format", "json"]}

# In an executor: forges one constant of one compiled unit in its cache, with a digest that fits, as whoever may write there could.
FORGE = """
import ctypes, hashlib, os, sys
zstd = ctypes.CDLL("libzstd.so.1")
zstd.ZSTD_compressBound.restype = zstd.ZSTD_compress.restype = zstd.ZSTD_decompress.restype = ctypes.c_size_t
size = ctypes.c_size_t
before, after = sys.argv[1].encode(), sys.argv[2].encode()
forged = 0
for folder, _, names in os.walk("/cache/units"):
    for name in names:
        path = os.path.join(folder, name)
        stem = name.partition(".")[0]
        data = open(path, "rb").read()
        try:
            key = bytes.fromhex(stem)
        except ValueError:
            continue
        if len(data) < 48:
            continue
        length = int.from_bytes(data[8:16], "little")
        value = ctypes.create_string_buffer(length)
        if zstd.ZSTD_decompress(value, size(length), data[48:], size(len(data) - 48)) != length:
            continue
        changed = value.raw.replace(before, after, 1)
        if changed == value.raw:
            continue
        bound = zstd.ZSTD_compressBound(size(length))
        packed = ctypes.create_string_buffer(bound)
        used = zstd.ZSTD_compress(packed, size(bound), changed, size(length), 1)
        body = packed.raw[:used]
        digest = hashlib.sha256(key + data[:8] + data[8:16] + body).digest()
        with open(path + ".new", "wb") as file:
            file.write(data[:16] + digest + body)
        os.rename(path + ".new", path)
        forged += 1
print(forged)
"""
TRUE, FALSE = "Expecting property name enclosed in double quotes", "Expecting property neme enclosed in double quotes"

# Ends the daemon as a kill does, so that it begins anew with the cache that is there and nothing in memory.
KILL = """
import os
for entry in filter(str.isdigit, os.listdir("/proc")):
    try:
        if entry != "1" and b"executor" in open(f"/proc/{entry}/cmdline", "rb").read().split(b"\\0"):
            os.kill(int(entry), 9)
    except OSError:
        pass
"""


def part(trial):
    report, namespace = trial.report, trial.namespace("audit")
    deployed = release.Release(namespace)
    values = release.values(trial.image, corpus=store.LIBRARY, audit=ARGUMENTS)
    with report.shows("audit", "a release", namespace.story):
        deployed.bring_up(trial, values)

    expected = None
    with report.shows("audit", "evicted in the middle it goes on in a new pod", namespace.story) as note:
        expected = audits.verdicts(namespace, audits.begun(deployed, values, "undisturbed"))
        require(expected["bad"] == expected["fail"] == expected["unknown"] == 0 and expected["good"] > 0, f"undisturbed: {expected}")
        note(f"undisturbed {expected}")
        before = set(audits.records(namespace))
        evicted = audits.begun(deployed, values, "evicted")
        judged = lambda: sorted(set(audits.records(namespace)) - before)
        kept = until("bins of it are judged", lambda: judged() if len(judged()) >= 2 else None, seconds=600, every=0.2)
        require(not namespace.ended(evicted), "it was over before it could be evicted")
        times = ages(namespace, kept)
        evict(namespace, pods_of(namespace, evicted)[0])
        again = audits.verdicts(namespace, evicted)
        pods = pods_of(namespace, evicted)
        note(f"{len(kept)} of {len(judged())} bins judged before the eviction, {len(pods)} pods, verdicts {again}")
        require(again == expected, f"{again} is not {expected}")
        require(ages(namespace, kept) == times, "what had been judged was judged again")
        require(failed(namespace, evicted) == 0, "the eviction was counted as a failure of the Job")

    with report.shows("audit", "executors derive it, with the same verdicts", namespace.story) as note:
        on_executors = release.merged(values, {"audit": {"useCluster": True}})
        verdicts = audits.verdicts(namespace, audits.begun(deployed, on_executors, "by-executors"))
        require(verdicts == expected, f"{verdicts} is not {expected}")
        note(str(verdicts))

    with report.shows("audit", "an instability fails once, and is not tried again", namespace.story) as note:
        # A word that is in the cache of whichever executor compiled it.
        forged = sum(int(namespace.python(pod, FORGE, TRUE, FALSE)) for pod in deployed.pods("executor"))
        require(forged > 0, "no cache had what was to be forged")
        for pod in deployed.pods("executor"):
            namespace.python(pod, KILL, check=False)
        deployed.healthy(executors=2)
        job = audits.begun(deployed, values, "unstable", facts=SPOILT)
        how = namespace.finished(job)
        codes = list(exit_codes(namespace, job))
        findings = audits.document_in(namespace.log_of(job), "findings", "verdicts")
        require(how == "Failed" and codes == [3], f"it ended as {how}, its pods with {codes}: {findings['verdicts']}")
        note(f"{forged} forged, verdicts {findings['verdicts']}, one pod with exit code 3")
        for pod in deployed.pods("executor"):
            namespace.kubectl("delete", "pod", pod)
        deployed.healthy(executors=2)

    with report.shows("audit", "a second firing while one runs is skipped", namespace.story) as note:
        cron = namespace.names("cronjobs", deployed.selector("audit"))[0]
        each_minute = {"spec": {"schedule": "* * * * *", "suspend": False}}
        namespace.kubectl("patch", "cronjob", cron, "--type=merge", "--patch", json.dumps(each_minute))
        most = 0

        def skipped():
            nonlocal most
            most = max(most, len(namespace.get(f"cronjob/{cron}")["status"].get("active", [])))
            events = namespace.get("events", None)
            return [event for event in events if event["reason"] == "JobAlreadyActive" and event["involvedObject"]["name"] == cron]

        try:
            until("a firing is skipped", skipped, seconds=400, every=2)
        finally:
            namespace.kubectl("patch", "cronjob", cron, "--type=merge", "--patch", json.dumps({"spec": {"suspend": True}}))
        require(most == 1, f"{most} audits at a time")
        note("never more than one at a time")
        for job in namespace.names("jobs", deployed.selector("audit")):
            namespace.remove("job", job)

    with report.shows("audit", "two clusters on one bucket do no harm", namespace.story) as note:
        second = release.Release(namespace, name="bytefacts-second")
        second.install(release.merged(values, {"sql": {"enabled": False}, "audit": {"enabled": False}}))
        until("its executors are ready", lambda: namespace.ready(second.selector("executor"), 2), seconds=180)
        # The same run by both at once, and each one of its own.
        jobs = [begin(one, values, name, store.LIBRARY) for name in ("both", "own") for one in (deployed, second)]
        digests = {ended_well(deployed, job)["digest"] for job in jobs}
        require(len(digests) == 1, f"digests: {digests}")
        note(f"{len(jobs)} jobs of two clusters, one digest")
        second.uninstall()
    trial.done(namespace)


def ages(namespace, keys):
    """When each was written."""
    script = f'cd "/data/objects/{store.BUCKET}" && stat -c %Y "$@"'
    return namespace.shell(store.pod(namespace), script, *keys).split()


def evict(namespace, pod):
    """As a drain does it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace.name}}
    run(["kubectl", "create", "--raw", f"/api/v1/namespaces/{namespace.name}/pods/{pod}/eviction", "--filename", "-"], given=json.dumps(body))


def pods_of(namespace, job):
    return namespace.names("pods", f"batch.kubernetes.io/job-name={job}")


def failed(namespace, job):
    return namespace.get(f"job/{job}")["status"].get("failed", 0)


def exit_codes(namespace, job):
    for pod in namespace.get("pods", f"batch.kubernetes.io/job-name={job}"):
        for status in pod["status"].get("containerStatuses", []):
            if ended := status["state"].get("terminated"):
                yield ended["exitCode"]
