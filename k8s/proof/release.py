"""The chart, installed into a namespace: by Helm 4, Helm 3, or rendered and applied."""

import functools
import json
import subprocess
from pathlib import Path

from . import store
from .kube import run, until

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "bytefacts"
NAME = "bytefacts"
# What a role is found by, whatever else a pod is called.
COMPONENT = "app.kubernetes.io/component"
INSTANCE = "app.kubernetes.io/instance"
DAEMONS = ("scheduler", "executor", "sql")


def image_values(image):
    """`registry/name:tag`, as the chart has it."""
    name, _, tag = image.rpartition(":")
    registry, _, repository = name.rpartition("/")
    return {"registry": registry, "repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}


def values(image, **more):
    """Small: two executors of a core, room for what two cores of a machine that does other things can do."""
    small = {"requests": {"cpu": "50m", "memory": "128Mi"}}
    base = {
        "image": image_values(image),
        "corpus": store.SMALL,
        "corpora": [store.LIBRARY],
        "facts": store.FACTS,
        "store": {"secretName": store.SECRET, "env": store.ENVIRONMENT},
        "networkPolicy": {"storePorts": [store.PORT]},
        "scheduler": {"resources": {**small, "limits": {"cpu": "1", "memory": "512Mi"}}},
        "executor": {"replicas": 2, "drainSeconds": 20, "resources": {**small, "limits": {"cpu": "1", "memory": "1Gi"}}},
        "sql": {"insecure": True, "resources": {**small, "limits": {"cpu": "1", "memory": "1Gi"}}, "running": 2},
        "audit": {"schedule": "0 2 * * *", "suspend": True, "resources": {**small, "limits": {"cpu": "1", "memory": "1536Mi"}}},
        "extraction": {"resources": {**small, "limits": {"cpu": "1", "memory": "1Gi"}}},
    }
    return merged(base, more)


def previous():
    """The commit whose chart installations have before this one: the last release, else the one before the chart's last change. None without a history."""
    git = lambda *words: run(["git", "-C", ROOT, *words], check=False)
    tagged = git("describe", "--tags", "--abbrev=0", "--match=v[0-9]*")
    if tagged.returncode == 0:
        return tagged.stdout.strip()
    changed = git("log", "-1", "--format=%H", "--", "helm/bytefacts").stdout.strip()
    before = changed if git("diff", "--quiet", "HEAD", "--", "helm/bytefacts").returncode else f"{changed}^"
    known = git("rev-parse", "--verify", "--quiet", f"{before}^{{commit}}")
    return known.stdout.strip() if changed and known.returncode == 0 else None


def chart_at(revision, folder):
    """The chart as a commit has it, in a folder."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", revision, "helm/bytefacts"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return Path(folder) / "helm" / "bytefacts"


@functools.cache
def server_version():
    """Of the cluster: what `helm install` asks for by itself, and `helm template` has to be told."""
    return json.loads(run(["kubectl", "version", "--output", "json"]))["serverVersion"]["gitVersion"]


def merged(below, above):
    """One document laid over another."""
    both = dict(below)
    for key, value in above.items():
        both[key] = merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


class Release:
    """An installed chart."""

    def __init__(self, namespace, helm="helm", name=NAME, chart=CHART):
        self.namespace, self.helm, self.name, self.chart = namespace, helm, name, chart

    def bring_up(self, trial, values, executors=2, outlives=False):
        """A store, perhaps one whose data outlives its pod, and the chart beside it, until every daemon is ready."""
        store.install(self.namespace, trial.image, trial.store_image, outlives)
        self.install(values)
        self.healthy(executors=executors)

    def install(self, values, seconds=300, wait=True):
        """Installs, or upgrades; Helm waits until all is ready."""
        waiting = ["--wait", "--timeout", f"{seconds}s"] if wait else []
        run(
            [self.helm, "upgrade", "--install", self.name, self.chart, "--namespace", self.namespace.name, "--values", "-", *waiting],
            given=json.dumps(values),
            seconds=seconds + 60,
        )

    def history(self):
        """The revisions, the first one first."""
        return json.loads(run([self.helm, "history", self.name, "--namespace", self.namespace.name, "--output", "json"]))

    def rollback(self, revision, seconds=300):
        """As it was at a revision; Helm waits until all is ready."""
        waiting = ["--wait", "--timeout", f"{seconds}s"]
        run([self.helm, "rollback", self.name, str(revision), "--namespace", self.namespace.name, *waiting], seconds=seconds + 60)

    def uninstall(self):
        run([self.helm, "uninstall", self.name, "--namespace", self.namespace.name, "--wait"], seconds=300)

    def test(self):
        """`helm test`; what its pods said."""
        return run([self.helm, "test", self.name, "--namespace", self.namespace.name, "--logs", "--timeout", "600s"], seconds=660)

    def rendered(self, values, *only):
        """What the chart gives for values, or some of its templates alone."""
        shown = [word for name in only for word in ("--show-only", f"templates/{name}")]
        of = ["--namespace", self.namespace.name, "--kube-version", server_version(), "--values", "-"]
        return run([self.helm, "template", self.name, self.chart, *of, *shown], given=json.dumps(values))

    def selector(self, component):
        return f"{INSTANCE}={self.name},{COMPONENT}={component}"

    def pods(self, component):
        """The names of a role's pods that are not about to leave."""
        items = self.namespace.get("pods", self.selector(component))
        return sorted(pod["metadata"]["name"] for pod in items if not pod["metadata"].get("deletionTimestamp"))

    def healthy(self, seconds=300, executors=None):
        """Waits until every daemon is ready, and none is about to leave."""
        for component in DAEMONS:
            count = executors if component == "executor" else None
            until(f"{component} is ready", lambda c=component, n=count: self.namespace.ready(self.selector(c), n), seconds=seconds)

    def service(self, component):
        """The Service that clients of a role are told of: the one that waits for readiness."""
        for item in self.namespace.get("services", self.selector(component)):
            if item["spec"].get("clusterIP") != "None" and not item["spec"].get("publishNotReadyAddresses"):
                return item["metadata"]["name"]
        raise LookupError(f"no service of {component}")
