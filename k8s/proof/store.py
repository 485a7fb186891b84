"""An S3 server in the cluster, over a folder of its pod's: what `k8s/overlays/dev` has, with the same corpora.

Objects are files there. The corpora are parts of the interpreter's own library, copied before the server starts.
"""

from pathlib import Path

from .kube import Failure, run, until

MANIFESTS = Path(__file__).resolve().parent.parent / "store"
BUCKET = "bytefacts"
PORT = 7070
SMALL, LIBRARY = f"s3://{BUCKET}/corpora/small", f"s3://{BUCKET}/corpora/library"
FACTS = f"s3://{BUCKET}/facts"
SECRET = "store-credentials"
ENVIRONMENT = {"AWS_ENDPOINT": f"http://store:{PORT}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}


def install(namespace, image, store_image):
    """Brings the server up."""
    text = run(["kubectl", "kustomize", MANIFESTS])
    text = text.replace("image: bytefacts-store:1.8.0", f"image: {store_image}").replace("image: bytefacts:0.1.0", f"image: {image}")
    namespace.apply(text)
    until("the store is ready", lambda: namespace.ready("app.kubernetes.io/name=store", 1), seconds=180)


def pod(namespace):
    return namespace.names("pods", "app.kubernetes.io/name=store")[0]


def away(namespace, seconds):
    """Stops the server for so long; requests wait, and those under way stand still."""
    namespace.shell(pod(namespace), 'kill -STOP "$(cat /tmp/pid)" && sleep "$1"; kill -CONT "$(cat /tmp/pid)"', seconds, seconds=seconds + 60)


def files(namespace, below):
    """The keys below a prefix."""
    found = namespace.shell(pod(namespace), f'cd "/data/objects/{BUCKET}" && if [ -d "$1" ]; then find "$1" -type f; fi', below).split()
    return sorted(found)


def forget(namespace, below):
    """Deletes what is below a prefix: only for facts of these tests."""
    if not below.startswith("facts"):
        raise Failure(f"{below} is none of the tests' own facts")
    namespace.shell(pod(namespace), f'rm -rf "/data/objects/{BUCKET}/$1"', below)
