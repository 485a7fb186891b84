"""Who may reach whom: the table of ARCHITECTURE.md, in which each cell is tried, from a pod of each role to a port of each."""

import json
import time

from .. import clients, flows, release, store
from ..kube import until
from ..report import require

TRIES = 5
CONNECT = """
import json, socket, sys
open_ = {}
for name, host, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((host, port), timeout=3).close()
        open_[name] = True
    except OSError:
        open_[name] = False
print(json.dumps(open_))
"""

PORTS = {"scheduler": ("scheduler", 50050), "executor": ("executor", 50051), "sql": ("sql", 50052)}
PROBES = {"scheduler probes": ("scheduler", 50060), "executor probes": ("executor", 50061), "sql probes": ("sql", 50062)}


def part(trial):
    report, namespace, other = trial.report, trial.namespace("network"), trial.namespace("elsewhere")
    deployed = release.Release(namespace)
    with report.shows("network", "a release with policies", namespace.story):
        deployed.bring_up(trial, release.values(trial.image, gc={"enabled": True, "suspend": True}))

    with report.shows("network", "each pair of roles is tried", namespace.story) as note:
        address = {}
        for component in release.DAEMONS:
            address[component] = namespace.get("pods", deployed.selector(component))[0]["status"]["podIP"]
        address["store"] = namespace.get("pods", "app.kubernetes.io/name=store")[0]["status"]["podIP"]
        targets = [[name, address[role], port] for name, (role, port) in {**PORTS, **PROBES}.items()]
        targets.append(["store", address["store"], store.PORT])

        # Executors twice, so that one asks the other.
        callers = {component: (namespace, deployed.pods(component)[-1]) for component in release.DAEMONS}
        base = {"app.kubernetes.io/name": namespace.get("pods", deployed.selector("sql"))[0]["metadata"]["labels"]["app.kubernetes.io/name"]}
        for component in ("audit", "extract", "gc", "test"):
            labels = {**base, release.INSTANCE: deployed.name, release.COMPONENT: component}
            callers[component] = (namespace, stand_in(trial, namespace, f"as-{component}", labels))
        labels = {label: "true" for label in client_labels(namespace, deployed)}
        callers["sql client"] = (namespace, stand_in(trial, namespace, "as-client", labels))
        callers["stranger"] = (namespace, stand_in(trial, namespace, "as-stranger", {}))
        callers["other namespace"] = (other, stand_in(trial, other, "as-other", labels))
        allowed = flows.table()
        require(set(callers) == set(allowed), f"ARCHITECTURE.md has {sorted(allowed)}, and tried are {sorted(callers)}")
        for where, name in callers.values():
            until(f"{name} runs", lambda w=where, n=name: w.get(f"pod/{n}")["status"]["phase"] == "Running")

        # A policy takes a moment until nodes have it for a new pod.
        for _ in range(TRIES):
            table = {name: json.loads(where.python(pod, CONNECT, json.dumps(targets))) for name, (where, pod) in callers.items()}
            wrong = list(differences(table, allowed))
            if not wrong:
                break
            time.sleep(3)
        for line in drawn(table, [target[0] for target in targets]):
            print(f"network   {line}")
        require(not wrong, f"not as it should be: {wrong}")
        note(f"{sum(map(len, table.values()))} cells")

    with report.shows("network", "names are found by every role") as note:
        service = deployed.service("sql")
        for name, (where, pod) in callers.items():
            where.python(pod, "import socket, sys; socket.getaddrinfo(sys.argv[1], None)", f"{service}.{namespace.name}.svc")
        note(f"{len(callers)} callers")
    trial.done(namespace, other)


def stand_in(trial, namespace, name, labels):
    namespace.apply([clients.pod(name, trial.image, labels, command=["sleep", "3600"])])
    return name


def client_labels(namespace, deployed):
    """The labels by which the policy of SQL lets clients in."""
    found = set()
    for policy in namespace.get("networkpolicies", f"{release.INSTANCE}={deployed.name}"):
        for rule in policy["spec"].get("ingress") or []:
            for peer in rule.get("from") or []:
                for key in peer.get("podSelector", {}).get("matchLabels", {}):
                    if key.endswith("sql-client"):
                        found.add(key)
    return found


def differences(table, allowed):
    """Which cells are not as they should be."""
    for caller, row in table.items():
        for target, is_open in row.items():
            role, _, probes = target.partition(" ")
            should = allowed[caller][probes or role]
            # (Of itself a pod is never kept from.)
            if role == caller != "executor" or should == "not ours":
                continue
            if (should == "yes") != is_open:
                yield f"{caller} -> {target} is {'open' if is_open else 'shut'}"


def drawn(table, targets):
    yield "from \\ to".ljust(18) + " ".join(target.ljust(16) for target in targets)
    for caller, row in table.items():
        yield caller.ljust(18) + " ".join(("open" if row[target] else "-").ljust(16) for target in targets)
