"""Upgrades and rollbacks with an extraction under way: it goes on, its Job ends well, and SQL clients get right answers all along."""

import tempfile

from .. import clients, release
from ..kube import until
from ..report import require
from .trouble import begin, ended_well, extracted, is_same, landed

# What the upgrade changes: something of every role.
CHANGED = {
    "scheduler": {"drainSeconds": 5},
    "executor": {"drainSeconds": 15, "resources": {"limits": {"memory": "1200Mi"}}},
    "sql": {"running": 3},
}
# What cannot work: an interpreter that is not there. The image names its own by the variable, which wins over settings.
BROKEN = {"pod": {"extraEnv": [{"name": "BYTEFACTS_PYTHON", "value": "/nowhere/python3.13"}]}}


def part(trial):
    report, namespace = trial.report, trial.namespace("upgrade")
    with tempfile.TemporaryDirectory() as folder:
        revision = trial.earlier or release.previous()
        require(revision, "there is no history with a chart before this one: --earlier REVISION names one")
        deployed = release.Release(namespace, chart=release.chart_at(revision, folder))
        entry = {"name": "own", "corpus": trial.corpus, "args": ["--no-cache"]}
        old = release.values(trial.image, corpus=trial.corpus)
        new = release.merged(old, {**CHANGED, "extractions": [entry]})
        expected = None
        with report.shows("upgrade", f"the chart of {revision[:12]}, and the undisturbed run", namespace.story) as note:
            deployed.bring_up(trial, old)
            expected = extracted(deployed, old, "undisturbed", trial.corpus)
            note(f"digest {expected['digest'][:16]}, {expected['bins']} bins, {expected['seconds']:.0f} s")
        if expected is None:
            return trial.done(namespace)
        service, question = f"grpc://{deployed.service('sql')}:50052", clients.QUESTION.format(run=f'runs."{expected["run"]}".')
        with clients.Askers(deployed, trial.image, service, question, 2) as askers:
            until("clients get answers", lambda: askers.answers()["right"] >= 2)
            certificates = keys(deployed)

            with report.shows("upgrade", "an upgrade under an extraction of the release's own", namespace.story) as note:
                deployed.install(release.merged(old, {"extractions": [entry]}), wait=False)
                is_under_way(deployed, own(deployed))
                before = daemons(deployed)
                deployed.chart = release.CHART
                deployed.install(new)
                deployed.healthy(executors=2)
                summary = ended_well(deployed, own(deployed))
                is_same(summary, expected)
                stayed = before & daemons(deployed)
                require(not stayed, f"{len(stayed)} pods were not replaced")
                note(f"{len(before)} pods replaced during the run of {summary['seconds']:.0f} s")
            with report.shows("upgrade", "the same upgrade once more replaces nothing", namespace.story):
                before = daemons(deployed)
                deployed.install(new)
                require(daemons(deployed) == before, "pods were replaced")
            with report.shows("upgrade", "a rollback under an extraction, whose pod stays", namespace.story) as note:
                job = begin(deployed, new, "back", trial.corpus)
                is_under_way(deployed, job)
                before = daemons(deployed)
                deployed.rollback(1)
                deployed.healthy(executors=2)
                summary = ended_well(deployed, job)
                is_same(summary, expected)
                pods = namespace.names("pods", f"batch.kubernetes.io/job-name={job}")
                require(len(pods) == 1, f"it took {len(pods)} pods")
                require(not before & daemons(deployed), "pods were not replaced")
                drains = {pod["spec"]["containers"][0]["resources"]["limits"]["memory"] for pod in namespace.get("pods", deployed.selector("executor"))}
                require(drains == {"1Gi"}, f"executors have {drains}")
                note(f"{len(before)} pods replaced during the run of {summary['seconds']:.0f} s")
            with report.shows("upgrade", "one that cannot work stops at the first executor, says why, and is rolled back", namespace.story) as note:
                deployed.install(release.merged(old, BROKEN), wait=False)
                why = until("an executor says why it is not ready", lambda: reason(deployed), seconds=180)
                require("/nowhere/python3.13" in why, f"its pod says {why!r}")
                summary = extracted(deployed, old, "meanwhile", trial.corpus)
                is_same(summary, expected)
                require(len(namespace.get("pods", deployed.selector("executor"))) == 2 and reason(deployed), "the upgrade has gone on")
                deployed.rollback(1)
                deployed.healthy(executors=2)
                note(f"the other executor has extracted all in {summary['seconds']:.0f} s; the pod says {why.strip().splitlines()[-1][:150]!r}")
            with report.shows("upgrade", "certificates, history and answers", namespace.story) as note:
                require(keys(deployed) == certificates, "the cluster's certificates were made anew")
                history = deployed.history()
                require(history[-1]["status"] == "deployed" and all(each["status"] == "superseded" for each in history[:-1]), str(history))
                answers = askers.answers()
                require(answers["right"] > 0 and not answers["WRONG"], str(answers))
                note(f"{len(history)} revisions, answers {answers}")
    trial.done(namespace)


def own(deployed):
    """The Job of the release's own extraction, once there is one alone."""
    jobs = lambda: [job for job in deployed.namespace.get("jobs", deployed.selector("extract")) if not job["metadata"].get("deletionTimestamp")]
    mine = lambda: [job["metadata"]["name"] for job in jobs() if "-own-" in job["metadata"]["name"]]
    return until("one Job of the release", lambda: mine()[0] if len(mine()) == 1 else None, seconds=60)


def is_under_way(deployed, job):
    """Waits until it has landed something, and is not at its end."""
    before = len(landed(deployed.namespace))
    until("bins are landed", lambda: len(landed(deployed.namespace)) >= before + 2 or deployed.namespace.ended(job), seconds=300, every=0.2)
    require(not deployed.namespace.ended(job), "it was over before anything was done to it")


def daemons(deployed):
    """Who the daemons' pods are."""
    return {pod["metadata"]["uid"] for component in release.DAEMONS for pod in deployed.namespace.get("pods", deployed.selector(component))}


def keys(deployed):
    """The certificates by which the cluster knows itself."""
    secrets = deployed.namespace.get("secrets", f"{release.INSTANCE}={deployed.name}")
    return {secret["metadata"]["name"]: secret["data"] for secret in secrets if secret["metadata"]["name"].endswith("-tls")}


def reason(deployed):
    """What an executor that runs and is not ready has logged of its interpreter."""
    for pod in deployed.namespace.get("pods", deployed.selector("executor")):
        if any(status["ready"] for status in pod["status"].get("containerStatuses", [])):
            continue
        said = [line for line in deployed.namespace.logs(pod["metadata"]["name"], check=False).splitlines() if "python3.13" in line]
        if said:
            return said[-1]
    return None
