"""kubectl, as far as it is needed here. Nothing is taken for done before the cluster says so."""

import json
import os
import subprocess
import time


class Failure(Exception):
    """What should be so is not."""


def run(command, *, given=None, check=True, seconds=300, environment=None):
    """Runs a command; what it wrote to stdout. Its stderr is in the failure."""
    done = subprocess.run(
        [str(word) for word in command],
        input=given,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, **(environment or {})},
    )
    if check and done.returncode:
        raise Failure(f"{' '.join(map(str, command))[:300]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout if check else done


def until(what, question, *, seconds=300, every=0.5):
    """Asks until the answer is true; the answer. A question that fails has no answer yet."""
    end, last = time.monotonic() + seconds, None
    while True:
        try:
            last = question()
            if last:
                return last
        except (Failure, subprocess.TimeoutExpired, KeyError, IndexError, json.JSONDecodeError) as error:
            last = error
        if time.monotonic() > end:
            raise Failure(f"{what}: not so after {seconds} s; the last answer: {str(last)[:1500]}")
        time.sleep(every)


class Namespace:
    """A namespace of our own, whose pods must be `restricted`."""

    def __init__(self, name):
        self.name = name

    def create(self, level="restricted"):
        labels = {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn", "audit")}
        apply_anywhere([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": {**labels, "bytefacts-e2e": "true"}}}])

    def delete(self, seconds=180):
        self.kubectl("delete", "namespace", self.name, "--ignore-not-found", "--wait=false")
        until(f"namespace {self.name} is gone", lambda: run(["kubectl", "get", "namespace", self.name], check=False).returncode, seconds=seconds)

    def kubectl(self, *arguments, **options):
        return run(["kubectl", "--namespace", self.name, *arguments], **options)

    def get(self, kind, selector=None):
        """Objects of a kind, or one of that name (`kind/name`)."""
        selection = ["--selector", selector] if selector else []
        answer = json.loads(self.kubectl("get", kind, *selection, "--output", "json"))
        return answer["items"] if answer["kind"] == "List" else answer

    def names(self, kind, selector=None):
        return [item["metadata"]["name"] for item in self.get(kind, selector)]

    def apply(self, objects):
        self.kubectl("apply", "--filename", "-", given=as_text(objects))

    def remove(self, *what, wait=True):
        self.kubectl("delete", *what, "--ignore-not-found", f"--wait={'true' if wait else 'false'}")

    def logs(self, *what, check=True):
        done = self.kubectl("logs", *what, "--tail=-1", check=False)
        if check and done.returncode:
            raise Failure(f"no log of {what}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def log_of(self, job):
        """What the pods of a Job have said that are still there, the first one first."""
        pods = sorted(self.get("pods", f"batch.kubernetes.io/job-name={job}"), key=lambda pod: pod["metadata"]["creationTimestamp"])
        return "".join(self.logs(pod["metadata"]["name"], "--all-containers", check=False) for pod in pods)

    def shell(self, pod, script, *arguments, check=True, seconds=120, given=None):
        """Runs a script of sh in a pod."""
        stdin = ["--stdin"] if given is not None else []
        return self.kubectl("exec", *stdin, pod, "--", "sh", "-c", script, "sh", *arguments, check=check, seconds=seconds, given=given)

    def python(self, pod, program, *arguments, check=True, seconds=120):
        """Runs a program in a pod's own Python."""
        return self.kubectl("exec", pod, "--", "python3.13", "-I", "-c", program, *arguments, check=check, seconds=seconds)

    def ready(self, selector, count=None):
        """The pods of a selector, if all of them (and so many) are ready and none is about to leave."""
        pods = self.get("pods", selector)
        fine = [pod for pod in pods if is_ready(pod)]
        return fine if fine and len(fine) == len(pods) and count in (None, len(fine)) else None

    def ended(self, job):
        """How a Job ended: Complete or Failed; nothing while it goes on."""
        conditions = self.get(f"job/{job}")["status"].get("conditions", [])
        return next((c["type"] for c in conditions if c["status"] == "True" and c["type"] in ("Complete", "Failed")), None)

    def finished(self, job, seconds=900):
        """Waits for the end of a Job; how it ended."""
        return until(f"job {job} ends", lambda: self.ended(job), seconds=seconds)

    def story(self, limit=30):
        """What happened, for who reads a failure."""
        events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", "--output=custom-columns=:.lastTimestamp,:.reason,:.involvedObject.name,:.message", check=False)
        pods = self.kubectl("get", "pods", "--output=wide", check=False)
        return pods.stdout + "\n".join(events.stdout.splitlines()[-limit:])


def is_ready(pod):
    if pod["metadata"].get("deletionTimestamp"):
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def as_text(objects):
    return objects if isinstance(objects, str) else json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def apply_anywhere(objects):
    run(["kubectl", "apply", "--filename", "-"], given=as_text(objects))


def nodes():
    """Names of the nodes that take pods."""
    items = json.loads(run(["kubectl", "get", "nodes", "--output", "json"]))["items"]
    return sorted(node["metadata"]["name"] for node in items if not node["spec"].get("unschedulable"))
