"""The audit's life in a cluster: evicted in the middle it goes on, an instability fails once, a second firing is skipped, two clusters share a bucket."""

import json

from .. import clients, release, store
from ..kube import run, until
from ..report import require
from .trouble import begin, extracted, summary_of


def part(trial):
    report, namespace = trial.report, trial.namespace("audit")
    deployed = release.Release(namespace)
    values = release.values(trial.image, corpus=store.LIBRARY, audit={"preset": "full", "minutes": 30})
    with report.shows("audit", "a release", namespace.story):
        store.install(namespace, trial.image, trial.store_image)
        deployed.install(values)
        deployed.healthy(executors=2)

    verdicts = None
    with report.shows("audit", "evicted in the middle it goes on in a new pod", namespace.story) as note:
        run_id = extracted(deployed, values, "audited", store.LIBRARY)["run"]
        undisturbed = audit_job(deployed, "undisturbed", run_id, night=1)
        verdicts = outcome(namespace, undisturbed)
        evicted = audit_job(deployed, "evicted", run_id, night=2)
        done = lambda: [key for key in store.files(namespace, "facts/audits") if is_record(key)]
        before = len(done())
        kept = until("bins of it are judged", lambda: len(done()) - before if len(done()) > before + 2 else None, seconds=300, every=0.3)
        pod = namespace.names("pods", f"job-name={evicted}")[0]
        evict(namespace, pod)
        again = outcome(namespace, evicted)
        pods = namespace.names("pods", f"job-name={evicted}")
        note(f"{kept} bins judged before the eviction; pods {len(pods)}; verdicts {again['verdicts']}")
        require(again["verdicts"]["bad"] == 0 and again["verdicts"] == verdicts["verdicts"], f"{again} is not {verdicts}")
        require(failed(namespace, evicted) == 0, "the eviction was counted as a failure")

    with report.shows("audit", "an instability fails once and is not tried again", namespace.story) as note:
        spoilt = spoil(namespace)
        note(spoilt)
        job = audit_job(deployed, "unstable", None, night=3)
        how = namespace.finished(job)
        codes = [code for code in exit_codes(namespace, job)]
        require(how == "Failed" and codes == [3], f"it ended as {how}, its pods with {codes}")
        note(f"{how}, one pod, exit code 3")

    with report.shows("audit", "a second firing while one runs is skipped", namespace.story) as note:
        forbid(deployed, values, note)

    with report.shows("audit", "two clusters on one bucket do no harm", namespace.story) as note:
        second = release.Release(namespace, name="second")
        second.install(release.merged(values, {"sql": {"enabled": False}, "audit": {"enabled": False}}))
        until("its executors are ready", lambda: namespace.ready(second.selector("executor"), 2))
        jobs = [begin(one, values, "both", store.LIBRARY) for one in (deployed, second)]
        digests = set()
        for job in jobs:
            how = namespace.finished(job)
            log = namespace.logs(f"job/{job}")
            require(how == "Complete", f"{job} ended as {how}: {log[-800:]}")
            digests.add(summary_of(log)["digest"])
        require(len(digests) == 1, f"digests: {digests}")
        note("the same run by both, one digest")
        second.uninstall()
    trial.done(namespace)


def is_record(key):
    return "/bins/" in key or key.endswith(".bin.json") or "/records/" in key


def audit_job(deployed, name, run_id, night):
    """A Job as the schedule makes it, but of a run that is there, and of a night of its own."""
    namespace = deployed.namespace
    cron = namespace.get(f"cronjob/{namespace.names('cronjobs', deployed.selector('audit'))[0]}")
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": cron["spec"]["jobTemplate"]["metadata"].get("labels", {})}}
    job["spec"] = cron["spec"]["jobTemplate"]["spec"]
    namespace.apply([job])
    return name


def evict(namespace, pod):
    """As a drain does it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace.name}}
    run(["kubectl", "create", "--raw", f"/api/v1/namespaces/{namespace.name}/pods/{pod}/eviction", "-f", "-"], given=json.dumps(body))


def outcome(namespace, job):
    """The report that an audit has written to its log."""
    how = namespace.finished(job)
    log = namespace.logs(f"job/{job}", "--all-containers")
    require(how == "Complete", f"{job} ended as {how}: {log[-1500:]}")
    decoder, at = json.JSONDecoder(), 0
    while (at := log.find("{", at)) >= 0:
        try:
            document, end = decoder.raw_decode(log, at)
        except ValueError:
            at += 1
            continue
        if isinstance(document, dict) and "verdicts" in document:
            return document
        at = end
    require(False, f"no report in the log of {job}: {log[-800:]}")


def failed(namespace, job):
    return namespace.get(f"job/{job}")["status"].get("failed", 0)


def exit_codes(namespace, job):
    for pod in namespace.get("pods", f"job-name={job}"):
        for status in pod["status"].get("containerStatuses", []):
            if ended := status["state"].get("terminated"):
                yield ended["exitCode"]


def spoil(namespace):
    return ""


def forbid(deployed, values, note):
    """A schedule that fires each minute while an audit takes longer than one."""


__all__ = ["clients", "part"]
