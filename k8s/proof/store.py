"""An S3 server in the cluster, over a folder of its pod's: what `k8s/overlays/dev` has, with the same corpora.

Objects are files there. The corpora are parts of the interpreter's own library, copied before the server starts for the first time.
"""

import re
import time
from pathlib import Path

from .kube import Failure, run, until

MANIFESTS = Path(__file__).resolve().parent.parent / "store"
BUCKET = "bytefacts"
PORT = 7070
CORPORA = f"s3://{BUCKET}/corpora"
SMALL, LIBRARY = f"{CORPORA}/small", f"{CORPORA}/library"
FACTS = f"s3://{BUCKET}/facts"
SECRET = "store-credentials"
ENVIRONMENT = {"AWS_ENDPOINT": f"http://store:{PORT}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}


SELECTOR = "app.kubernetes.io/name=store"
# Instead of the pod's own folder: what outlives the pod.
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "store", "labels": {"app.kubernetes.io/name": "store"}},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
}


def install(namespace, image, store_image, outlives=False):
    """Brings the server up; where told so with a claim, so that its data outlives its pod."""
    text = run(["kubectl", "kustomize", MANIFESTS])
    text = text.replace("image: bytefacts-store:1.8.0", f"image: {store_image}").replace("image: bytefacts:0.1.0", f"image: {image}")
    if outlives:
        namespace.apply([CLAIM])
        text, claimed = re.subn(r"- emptyDir:\n +sizeLimit: 10Gi\n( +)name: data\n", r"- name: data\n\1persistentVolumeClaim: {claimName: store}\n", text)
        if claimed != 1:
            raise Failure(f"{claimed} places for a claim in k8s/store")
    namespace.apply(text)
    until("the store is ready", lambda: namespace.ready(SELECTOR, 1), seconds=180)


def pod(namespace):
    return next(pod["metadata"]["name"] for pod in namespace.get("pods", SELECTOR) if not pod["metadata"].get("deletionTimestamp"))


def frozen(namespace, seconds):
    """Stops the server for so long; requests wait, and those under way stand still."""
    namespace.shell(pod(namespace), 'kill -STOP "$(cat /tmp/pid)" && sleep "$1"; kill -CONT "$(cat /tmp/pid)"', seconds, seconds=seconds + 60)


def away(namespace, seconds):
    """Takes the server's pod away, and gives it back after so long: whoever calls finds nobody."""
    namespace.kubectl("scale", "deployment/store", "--replicas=0")
    try:
        until("the store's pod is gone", lambda: not namespace.names("pods", SELECTOR), seconds=60)
        time.sleep(seconds)
    finally:
        namespace.kubectl("scale", "deployment/store", "--replicas=1")
        until("the store is ready", lambda: namespace.ready(SELECTOR, 1), seconds=180)


def copies(count):
    """A corpus of so many repositories, each the library once more, which `make_copies` makes."""
    return f"{CORPORA}/copies-{count}"


def make_copies(namespace, count):
    """Makes that corpus."""
    script = """
        set -eu
        cd "/data/objects/$1/corpora"
        [ -e "copies-$2" ] && exit
        mkdir -p "making-$2"
        for number in $(seq "$2"); do cp -Rp library/stdlib "making-$2/library$number"; done
        mv "making-$2" "copies-$2"
    """
    namespace.shell(pod(namespace), script, BUCKET, str(count), seconds=300)


def files(namespace, below):
    """The keys below a prefix."""
    found = namespace.shell(pod(namespace), f'cd "/data/objects/{BUCKET}" && if [ -d "$1" ]; then find "$1" -type f; fi', below).split()
    return sorted(found)


def concluded_audits(keys):
    """The headers among keys: one for each audit that is concluded."""
    return [key for key in keys if re.search(r"(^|/)audits/[^/]+/audit\.json$", key)]


def judged_bins(keys):
    """The records among keys: one for each bin that an audit has judged under a condition."""
    return [key for key in keys if re.search(r"(^|/)audits/[^/]+/units/[^/]+/[^/]+\.json$", key)]


def forget(namespace, below):
    """Deletes what is below a prefix, and what the server keeps beside it about each object: only for facts of these tests."""
    if not below.startswith("facts"):
        raise Failure(f"{below} is none of the tests' own facts")
    namespace.shell(pod(namespace), f'rm -rf "/data/objects/{BUCKET}/$1" "/data/about/{BUCKET}/$1"', below)
