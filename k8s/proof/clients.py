"""Who asks: ADBC from outside through `kubectl port-forward`, and clients inside that ask again and again."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from .kube import Failure, run

# What `asker` and ADBC ask: an answer that every row of the corpus goes into.
QUESTION = "SELECT count(*) AS units, sum(code_len) AS bytes, count(DISTINCT path) AS files FROM {run}py_bc_code_units"


@contextlib.contextmanager
def forwarded(namespace, service, port):
    """A port of this machine that leads to a Service."""
    command = ["kubectl", "--namespace", namespace.name, "port-forward", f"service/{service}", f":{port}", "--address", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        if not found:
            raise Failure(f"port-forward says {line!r}")
        yield int(found.group(1))
    finally:
        process.terminate()
        process.wait()


def adbc():
    """A Python with ADBC's driver for Flight SQL: in a folder of its own, made once."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bytefacts-e2e"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        run([sys.executable, "-m", "venv", folder])
        run([python, "-m", "pip", "install", "--quiet", "adbc-driver-flightsql>=1.5", "pyarrow>=16"], seconds=600)
        ready.touch()
    return python


ASK_ONCE = """
import json, sys
import adbc_driver_flightsql.dbapi as flightsql
with flightsql.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.execute(sys.argv[2])
    print(json.dumps(cursor.fetch_arrow_table().to_pylist()))
"""


def ask(port, sql):
    """The rows that ADBC gets."""
    return json.loads(run([adbc(), "-c", ASK_ONCE, f"grpc://127.0.0.1:{port}", sql], seconds=180))


# In a pod of the image: asks until it is told to end, a line an answer. Who cannot be reached may be asked again; who answers has to be right.
ASK_ON = """
import json, signal, subprocess, sys, time
address, sql = sys.argv[1], sys.argv[2]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
first = None
while True:
    done = subprocess.run(["bytefacts", "sql", "--connect", address, "--format", "json", sql], capture_output=True, text=True)
    if done.returncode:
        print("away", done.stderr.strip().splitlines()[-1:] or "", flush=True)
        time.sleep(1)
        continue
    answer = json.loads(done.stdout)
    first = first or answer
    print("right" if answer == first else "WRONG", json.dumps(answer), flush=True)
    time.sleep(0.5)
"""


class Askers:
    """Clients of SQL in the cluster, as many as told, while the block lasts."""

    def __init__(self, release, image, address, sql, count):
        self.release, self.image, self.address, self.sql, self.count = release, image, address, sql, count
        self.name = f"{release.name}-askers"

    def __enter__(self):
        labels = {"app": self.name, f"{self.release.name}-bytefacts-sql-client": "true", f"{self.release.name}-sql-client": "true"}
        self.release.namespace.apply([pod_maker(self.name, self.image, labels, ["python3.13", "-I", "-c", ASK_ON, self.address, self.sql], self.count)])
        return self

    def answers(self):
        """How often each thing was said: right, WRONG, away."""
        said = {"right": 0, "WRONG": 0, "away": 0}
        different = set()
        for pod in self.release.namespace.names("pods", f"app={self.name}"):
            for line in self.release.namespace.logs(pod, check=False).splitlines():
                word, _, rest = line.partition(" ")
                said[word] = said.get(word, 0) + 1
                if word in ("right", "WRONG"):
                    different.add(rest)
        # Each asker trusts its own first answer; between them there must be one as well.
        if len(different) > 1 and not said["WRONG"]:
            said["WRONG"] = len(different) - 1
        return said

    def __exit__(self, *_):
        self.release.namespace.remove("deployment", self.name, "--grace-period=1")


RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "fsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def pod_spec(image, command=None, args=None, *, memory="256Mi", restart="Always", environment=(), **more):
    """A pod of the image, as confined as `restricted` asks for."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": RESTRICTED,
        "env": list(environment),
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": memory}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "cache", "mountPath": "/cache"}],
    }
    if command:
        container["command"] = command
    if args:
        container["args"] = args
    container.update(more)
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": restart,
        # (A command in place of ours, such as sleep, listens to no signal as process 1.)
        "terminationGracePeriodSeconds": 1 if command else 30,
        "securityContext": RESTRICTED_POD,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "cache", "emptyDir": {}}],
    }


def pod_maker(name, image, labels, command, count=1, **more):
    """A Deployment of such pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name, **labels}}, "spec": pod_spec(image, command, **more)},
        },
    }


def pod(name, image, labels=None, **spec):
    """One such pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name, **(labels or {})}}, "spec": pod_spec(image, **spec)}


def seconds_between(earlier, later):
    """Of two times as Kubernetes writes them."""
    at = lambda text: time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    return at(later) - at(earlier)

