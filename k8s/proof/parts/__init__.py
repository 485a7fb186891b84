"""The parts: each a function of what is tried on, and a line that says what it shows."""

from . import alerts, audit, guide, image, install, network, scale, sizing, trouble, upgrade

PARTS = {
    "image": (image.part, "the image in restricted pods: process 1, signals, zombies, what is written, time to ready"),
    "install": (install.part, "from an empty namespace to the first audit and answer by Helm 4, Helm 3 and kustomize, and away again"),
    "guide": (guide.part, "docs/kubernetes.md, block by block as it stands"),
    "network": (network.part, "who may reach whom, each pair tried"),
    "audit": (audit.part, "an audit that is evicted goes on; an instability fails once; a second firing is skipped"),
    "trouble": (trouble.part, "pods, nodes, network and store go away under a running extraction, audits and SQL clients"),
    "alerts": (alerts.part, "each alert fires for its cause in a Prometheus that scrapes the cluster, whose series dashboards and rules name"),
    "scale": (scale.part, "many small executors"),
    "upgrade": (upgrade.part, "upgrades and rollbacks under an extraction and SQL clients, one that cannot work too"),
    "sizing": (sizing.part, "memory and seconds by the number of files; the guide's memory is enough, half of it is named as too little"),
}
