"""docs/kubernetes.md, command by command: from nothing to the first audit and the first query, and away again.

Every block of commands is run as it stands, in one folder and with the variables of those before it. What is another's is put in its place: the
namespace, the credentials' dots, and by one more file of values the image and the store of this trial.
"""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from .. import clients, guide, release, store
from ..kube import Failure, Namespace, until
from ..report import require
from .install import objects

ROOT = Path(__file__).resolve().parents[3]
# Variables that a block leaves to those behind it.
LEFT = "TOKEN HASH"
# Those of the trials' store (k8s/store).
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bytefacts", "AWS_SECRET_ACCESS_KEY": "for-trials-only"}
# A pod takes a moment until it has a log to follow: the guide says to ask again.
ASKED_AGAIN = re.compile(r"^kubectl .* logs -f ", re.MULTILINE)


def part(trial):
    report, namespace = trial.report, Namespace("bytefacts-e2e-guide")
    namespace.delete()
    trial.made.append(namespace)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "helm").symlink_to(ROOT / "helm")
        (place / "trial.yaml").write_text(json.dumps(here(trial)))
        before = None
        for number, (heading, block) in enumerate(guide.blocks("sh"), 1):
            if heading == "Install" and number == 2:
                # The object store that the reader is to have.
                store.install(namespace, trial.image, trial.store_image)
            with report.shows("guide", f"block {number}: {heading}", namespace.story) as note:
                if "helm install" in block:
                    before = objects(namespace)
                said = performed(block, namespace, place)
                note((said.strip().splitlines() or [""])[-1][:150])
                if "helm uninstall" in block:
                    rest = lambda: sorted(name for name in objects(namespace) - before if not name.startswith(("pod/", "secret/")))
                    until("nothing but Secrets and the pods of tests is left", lambda: not rest(), seconds=120)
    trial.done(namespace)


def here(trial):
    """What differs between the guide's cluster and this one: the image, the store, and little room."""
    ours = release.values(trial.image)
    taken = ("image", "corpus", "corpora", "facts", "networkPolicy", "scheduler", "executor", "extraction")
    return {
        **{name: ours[name] for name in taken},
        "store": {"env": store.ENVIRONMENT},
        "sql": {name: ours["sql"][name] for name in ("resources", "running")},
        "audit": {"resources": ours["audit"]["resources"], "preset": "quick"},
    }


def performed(block, namespace, place):
    """What a block says that ends well."""
    text = block.replace("namespace facts", f"namespace {namespace.name}").replace("-n facts", f"-n {namespace.name}")
    for name, value in CREDENTIALS.items():
        text = text.replace(f"{name}=…", f"{name}={value}")
    text = text.replace("-f values.yaml", "-f values.yaml -f trial.yaml")
    text = ASKED_AGAIN.sub(lambda found: f"asked_again {found[0]}", text)
    script = f"""
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
asked_again() {{ for _ in $(seq 120); do "$@" && return; sleep 2; done; return 1; }}
if [ -f variables ]; then . ./variables; fi
{text}
for name in {LEFT}; do if [ -n "${{!name:-}}" ]; then declare -p "$name"; fi; done >variables
"""
    # `pip` and `python3` are those of an environment of the trials' own.
    path = f"{clients.adbc().parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], cwd=place, capture_output=True, text=True, timeout=1800, env={**os.environ, "PATH": path})
    if done.returncode:
        raise Failure(f"it ended with {done.returncode}: {(done.stdout + done.stderr)[-2500:]}")
    require("…" not in text, "there are dots left that the reader is to fill in")
    return done.stdout
