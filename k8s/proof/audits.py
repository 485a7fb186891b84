"""Audits, as the chart makes them: begun by hand, watched in the store, and what they came to."""

import json

from . import store
from .kube import Failure
from .report import require

# Of audits that are begun by hand: midnight begins no other one. (Those of the schedule have theirs from the name of their Job.)
NIGHT = ["--night", "1"]


def begun(deployed, values, name, facts=None):
    """A Job as the schedule makes it with these values, perhaps into other facts, for a night of its own; its name."""
    namespace = deployed.namespace
    rendered = deployed.rendered(values, "audit.yaml")
    template = json.loads(namespace.kubectl("apply", "--dry-run=client", "--output=json", "--filename=-", given=rendered))["spec"]["jobTemplate"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**template["metadata"], "name": name}, "spec": template["spec"]}
    spec = job["spec"]["template"]["spec"]
    next(container for container in spec["containers"] if container["name"] == "audit")["command"] += NIGHT
    if facts:
        for container in spec["initContainers"] + spec["containers"]:
            for variable in container["env"]:
                if variable["name"] == "BYTEFACTS_FACTS":
                    variable["value"] = facts
    namespace.apply([job])
    return name


def records(namespace):
    """A record for each bin that an audit has judged under a condition."""
    return store.judged_bins(store.files(namespace, "facts/audits"))


def verdicts(namespace, job, seconds=1500):
    """How many of each, of an audit that ends well. Its values say `--format json`."""
    how = namespace.finished(job, seconds=seconds)
    log = namespace.log_of(job)
    require(how == "Complete", f"{job} ended as {how}: {log[-1500:]}")
    return document_in(log, "verdicts")["verdicts"]


def document_in(log, *keys):
    """The JSON document with these keys among the lines of a log."""
    decoder, at = json.JSONDecoder(), 0
    while (at := log.find("{", at)) >= 0:
        try:
            document, end = decoder.raw_decode(log, at)
        except ValueError:
            at += 1
            continue
        if isinstance(document, dict) and all(key in document for key in keys):
            return document
        at = end
    raise Failure(f"nothing with {keys} in: {log[-1500:]}")
