"""Whatever dies, the run ends right: rounds of trouble under a running extraction, audits and SQL clients.

A round begins an extraction that compiles every file anew, waits until bins are landed (of an audit: judged), makes trouble, and waits for the end.
The digest is to be that of the undisturbed run, each file is to have one row, nobody is to be quarantined, an audit is to come to the verdicts of the
undisturbed one, and no SQL client is to get another answer than before. A round that was over before the trouble came shows nothing, and is begun again.
"""

import json
import random
import time

from .. import audits, clients, release, store
from ..kube import Failure, nodes, run, until
from ..report import require

ASKERS = 2
# How often a round is begun until its trouble comes in time, and the share of rounds whose trouble may come too late all the same.
BEGINNINGS, TOO_LATE = 4, 0.05
# In a pod's own control group: small processes until its memory is at an end, so that the kernel takes a large one, which is the daemon.
HOG = """
import os, time
for _ in range(400):
    if os.fork() == 0:
        held = bytearray(12 << 20)
        for at in range(0, len(held), 4096):
            held[at] = 1
        time.sleep(30)
        os._exit(0)
time.sleep(20)
"""
# In the audit's container: its process dies, and process 1 tells of it.
KILL = """
import os
for entry in filter(str.isdigit, os.listdir("/proc")):
    try:
        if entry != "1" and b"audit" in open(f"/proc/{entry}/cmdline", "rb").read().split(b"\\0"):
            os.kill(int(entry), 9)
    except OSError:
        pass
"""


def part(trial):
    report, namespace = trial.report, trial.namespace("trouble")
    # A name that nobody else's release has: a drain finds pods by it, in every namespace.
    deployed = release.Release(namespace, name=f"bytefacts-trouble-{trial.seed}")
    values = release.values(trial.image, corpus=trial.corpus, audit={"minutes": 60, "extraArgs": ["--format", "json"]})
    random_numbers = random.Random(trial.seed)
    wanted = [kind for kind in KINDS if not trial.kinds or any(words in kind for words in trial.kinds)]
    kinds = [kind for kind in wanted if kind not in NEEDS_HOOK or trial.hook]
    require(kinds, f"no kind of trouble is called {trial.kinds}, or it needs --hook; there are: {', '.join(KINDS)}")
    order = []
    while len(order) < trial.rounds:
        order += random_numbers.sample(kinds, len(kinds))
    order = order[: trial.rounds]
    if left_out := sorted(set(wanted) - set(kinds)):
        print(f"trouble   left out, since they need --hook: {', '.join(left_out)}")

    expected = None
    with report.shows("trouble", "the undisturbed run", namespace.story) as note:
        deployed.bring_up(trial, values, outlives=True)
        expected = extracted(deployed, values, "undisturbed", trial.corpus)
        note(f"digest {expected['digest'][:16]}, {expected['files']} files, {expected['bins']} bins, {expected['seconds']:.0f} s")
    verdicts = None
    with report.shows("trouble", "the undisturbed audit", namespace.story) as note:
        verdicts = audits.verdicts(namespace, audits.begun(deployed, values, "audit-undisturbed"))
        namespace.remove("job", "audit-undisturbed")
        note(str(verdicts))
    if expected is None or verdicts is None:
        return trial.done(namespace)

    service, question = f"grpc://{deployed.service('sql')}:50052", clients.QUESTION.format(run=f'runs."{expected["run"]}".')
    totals, late = {}, []
    with clients.Askers(deployed, trial.image, service, question, ASKERS) as askers:
        until("clients get answers", lambda: askers.answers()["right"] >= ASKERS)
        for number, kind in enumerate(order, 1):
            with report.shows("trouble", f"round {number}: {kind}", namespace.story) as note:
                if one_round(trial, deployed, values, f"r{number}", kind, expected, verdicts, note):
                    totals[kind] = totals.get(kind, 0) + 1
                else:
                    late.append(number)
                answers = askers.answers()
                note(f"answers {answers}")
                require(not answers["WRONG"], "a SQL client got a wrong answer")
        with report.shows("trouble", "trouble came in time") as note:
            too_late = f"too late in rounds {late} of {len(order)}: what is to be troubled is too short"
            require(len(late) <= TOO_LATE * len(order), too_late)
            note(f"{len(order) - len(late)} of {len(order)} rounds")
        with report.shows("trouble", "each file has one row in every run", namespace.story) as note:
            counted = rows_of_all(deployed, trial)
            wrong = {run: row for run, row in counted.items() if row != [expected["files"]] * 3}
            require(not wrong, f"rows, files and paths: {wrong}, not {expected['files']}")
            note(f"{len(counted)} runs of {expected['files']} files")
        with report.shows("trouble", "SQL clients got right answers only") as note:
            answers = askers.answers()
            require(answers["right"] > 0 and not answers["WRONG"], str(answers))
            note(str(answers))
    print(f"trouble   seed {trial.seed}, rounds {sum(totals.values())}: {json.dumps(totals)}")
    return trial.done(namespace)


def one_round(trial, deployed, values, name, kind, expected, verdicts, note):
    """Whether the trouble came in time. What was under way ends as if there had been none."""
    namespace = deployed.namespace
    for beginning in range(BEGINNINGS):
        one = f"{name}-{beginning}"
        # Of its own, so that a seed repeats a round however often others were begun.
        random_numbers = random.Random(f"{trial.seed} {one}")
        before, judged = len(landed(namespace)), len(audits.records(namespace))
        job = begin(deployed, values, one, trial.corpus)
        # Beside every third round, and where it is what is troubled, an audit.
        audit = audits.begun(deployed, values, f"audit-{one}") if kind in OF_AUDITS or random_numbers.random() < 1 / 3 else None
        if kind in OF_AUDITS:
            troubled, wanted = audit, judged + random_numbers.randint(1, 8)
            has_begun = lambda: len(audits.records(namespace)) >= wanted
        else:
            troubled, wanted = job, before + random_numbers.randint(1, max(1, expected["bins"] // 3))
            has_begun = lambda: len(landed(namespace)) >= wanted
        until("it is under way", lambda: has_begun() or namespace.ended(troubled), seconds=600, every=0.2)
        early = not namespace.ended(troubled)
        begun = time.monotonic()
        if early:
            KINDS[kind](trial, deployed, random_numbers)
        seconds = time.monotonic() - begun
        summary = ended_well(deployed, job)
        is_same(summary, expected)
        if audit:
            again = audits.verdicts(namespace, audit)
            require(again == verdicts, f"the audit's verdicts are {again}, not {verdicts}")
        note(f"trouble for {seconds:.0f} s, run of {summary['seconds']:.0f} s{', an audit beside it' if audit else ''}" if early else "over too early")
        namespace.remove("job", job, *([audit] if audit else []))
        deployed.healthy(executors=2)
        if early:
            return True
    return False


def is_same(summary, expected):
    """A run is what the undisturbed one is, and nobody is blamed for what was done to it."""
    for key in ("digest", "files", "units", "instructions"):
        require(summary[key] == expected[key], f"{key}: {summary[key]}, not {expected[key]}")
    blamed = [error for error in summary["errors"] if error["stage"] == "quarantine"]
    require(not blamed, f"innocents in quarantine: {blamed}")


# ---- extractions, as the chart makes them

def begin(deployed, values, name, corpus, *more, cold=True):
    """Begins an extraction as an entry of `extractions` would, without an upgrade of the release; the Job's name."""
    entry = {"name": name, "corpus": corpus, "args": [*(["--no-cache"] if cold else []), "--format", "json", *more]}
    rendered = deployed.rendered(release.merged(values, {"extractions": [entry]}))
    items = json.loads(deployed.namespace.kubectl("apply", "--dry-run=client", "--output=json", "--filename=-", given=rendered))["items"]
    jobs = [item for item in items if item["kind"] == "Job" and item["metadata"]["labels"].get(release.COMPONENT) == "extract"]
    require(len(jobs) == 1, f"{len(jobs)} jobs rendered for one extraction")
    for annotation in [key for key in jobs[0]["metadata"].get("annotations", {}) if key.startswith("helm.sh/")]:
        del jobs[0]["metadata"]["annotations"][annotation]
    deployed.namespace.apply(jobs)
    return jobs[0]["metadata"]["name"]


def extracted(deployed, values, name, corpus, *more, cold=True):
    """An extraction from its beginning to its end; what is committed."""
    job = begin(deployed, values, name, corpus, *more, cold=cold)
    committed = ended_well(deployed, job)
    deployed.namespace.remove("job", job)
    return committed


def ended_well(deployed, job, seconds=900):
    """Waits for an extraction to be complete; what it has committed, as the store says and not its pod, which may have died after the commit."""
    namespace = deployed.namespace
    how = namespace.finished(job, seconds=seconds)
    require(how == "Complete", f"the extraction ended as {how}: {namespace.log_of(job)[-1500:]}")
    command = namespace.get(f"job/{job}")["spec"]["template"]["spec"]["containers"][0]["command"]
    run_id = command[command.index("--run-id") + 1]
    ask = lambda: namespace.kubectl("exec", deployed.pods("sql")[0], "--", "bytefacts", "runs", "--facts", store.FACTS, "--run", run_id, "--format", "json")
    header = json.loads(until("the run can be asked for", ask, seconds=120))["run"]
    stats = header["stats"]
    return {
        "run": header["run_id"],
        "digest": header["digest"],
        "bins": header["bins"],
        "bytes": header["data_bytes"],
        "files": stats["files"],
        "units": stats["units"],
        "instructions": stats["instructions"],
        "errors": stats["errors"],
        "seconds": (header["committed_at_ms"] - header["started_at_ms"]) / 1000,
    }


def landed(namespace):
    """Data files of all runs, those of attempts that lost included."""
    return [key for key in store.files(namespace, "facts") if key.endswith(".parquet") and "/audits/" not in key]


def rows_of_all(deployed, trial):
    """Rows, ids and paths of each committed run, as SQL counts them."""
    program = """
import json, subprocess, sys
def bytefacts(*words):
    return json.loads(subprocess.run(["bytefacts", *words], check=True, capture_output=True, text=True).stdout)
counted = {}
for run in bytefacts("runs", "--facts", sys.argv[1], "--format", "json"):
    name = run["run"]["run_id"] if "run" in run else run["run_id"]
    row = bytefacts("sql", "--facts", sys.argv[1], "--run", name, "--format", "json",
        "SELECT count(*) AS a, count(DISTINCT file_id) AS b, count(DISTINCT path) AS c FROM bytecode_files_v1")[0]
    counted[name] = [row["a"], row["b"], row["c"]]
print(json.dumps(counted))
"""
    pod = deployed.pods("sql")[0]
    return json.loads(deployed.namespace.python(pod, program, store.FACTS, seconds=600))


# ---- trouble

def a_pod(deployed, component, random_numbers):
    pods = deployed.pods(component)
    if not pods:
        raise Failure(f"no pod of {component} to be hurt")
    return random_numbers.choice(pods)


def deleting(component, *how):
    def trouble(trial, deployed, random_numbers):
        deployed.namespace.kubectl("delete", "pod", a_pod(deployed, component, random_numbers), "--wait=false", *how)

    return trouble


FORCE = ("--grace-period=0", "--force")


def all_executors(trial, deployed, random_numbers):
    for pod in deployed.pods("executor"):
        deployed.namespace.kubectl("delete", "pod", pod, "--wait=false", *FORCE)


def client(component, *how):
    """The pod of the extraction or the audit itself: its Job starts another, which goes on."""

    def trouble(trial, deployed, random_numbers):
        for pod in deployed.pods(component):
            deployed.namespace.kubectl("delete", "pod", pod, "--wait=false", *how)

    return trouble


def killed_audit(trial, deployed, random_numbers):
    """The audit's process in its container, which fails then: its Job starts another pod."""
    for pod in deployed.pods("audit"):
        deployed.namespace.python(pod, KILL, check=False)


def out_of_memory(component):
    def trouble(trial, deployed, random_numbers):
        pod = a_pod(deployed, component, random_numbers)
        restarts = lambda: sum(s["restartCount"] for s in deployed.namespace.get(f"pod/{pod}")["status"]["containerStatuses"])
        before = restarts()
        for _ in range(5):
            deployed.namespace.python(pod, HOG, check=False, seconds=120)
            if restarts() > before:
                break
        until("the pod was killed for its memory", lambda: restarts() > before, seconds=30)
        states = deployed.namespace.get(f"pod/{pod}")["status"]["containerStatuses"]
        reasons = {s["lastState"].get("terminated", {}).get("reason") for s in states}
        require("OOMKilled" in reasons, f"it was killed, but Kubernetes says {reasons}")

    return trouble


def drained(*, all_of_them):
    """Nodes are emptied of our pods, one after another, and come back; budgets say how many pods may go at a time."""

    def trouble(trial, deployed, random_numbers):
        namespace = deployed.namespace
        counted = lambda: {budget["metadata"]["labels"][release.COMPONENT]: budget["status"]["expectedPods"] for budget in namespace.get("poddisruptionbudgets")}
        there = lambda: {component: len(deployed.pods(component)) for component in release.DAEMONS}
        until("budgets count the pods of every role", lambda: counted() == there(), seconds=60)
        ours = f"{release.INSTANCE}={deployed.name}"
        where = lambda: [(pod["metadata"]["uid"], pod["spec"].get("nodeName")) for pod in namespace.get("pods", ours)]
        names = nodes()
        random_numbers.shuffle(names)
        # One alone is one that has something to lose.
        taken = names if all_of_them else [next(name for name in names if any(node == name for _, node in where()))]
        for node in taken:
            before = {uid for uid, at in where() if at == node}
            try:
                of = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--pod-selector={ours}", "--timeout=240s"]
                run(["kubectl", "drain", node, *of], seconds=300)
            finally:
                run(["kubectl", "uncordon", node])
            stayed = before & {uid for uid, _ in where()}
            require(not stayed, f"{len(stayed)} pods have stayed on {node}")

    return trouble


def hooked(before, after, seconds):
    """What only the owner of the nodes can do: a command of the caller's does it."""

    def trouble(trial, deployed, random_numbers):
        # Not the store's own node: its data is on it.
        home = deployed.namespace.get(f"pod/{store.pod(deployed.namespace)}")["spec"]["nodeName"]
        node = random_numbers.choice([name for name in nodes() if name != home])
        run([trial.hook, before, node])
        try:
            time.sleep(seconds)
        finally:
            run([trial.hook, after, node])

    return trouble


def to_the_store(what):
    return lambda trial, deployed, random_numbers: what(deployed.namespace, 30)


def rolling(component, kind):
    def trouble(trial, deployed, random_numbers):
        name = deployed.namespace.names(kind, deployed.selector(component))[0]
        deployed.namespace.kubectl("rollout", "restart", f"{kind}/{name}")
        deployed.namespace.kubectl("rollout", "status", f"{kind}/{name}", "--timeout=300s", seconds=320)

    return trouble


KINDS = {
    "an executor deleted": deleting("executor"),
    "an executor force-deleted": deleting("executor", *FORCE),
    "all executors force-deleted": all_executors,
    "the scheduler deleted": deleting("scheduler"),
    "the scheduler force-deleted": deleting("scheduler", *FORCE),
    "a SQL pod deleted": deleting("sql"),
    "a SQL pod force-deleted": deleting("sql", *FORCE),
    "the extraction's pod deleted": client("extract"),
    "the extraction's pod force-deleted": client("extract", *FORCE),
    "the audit's pod deleted": client("audit"),
    "the audit's pod force-deleted": client("audit", *FORCE),
    "the audit killed": killed_audit,
    "an executor out of memory": out_of_memory("executor"),
    "the scheduler out of memory": out_of_memory("scheduler"),
    "a node drained": drained(all_of_them=False),
    "all nodes drained, one after another": drained(all_of_them=True),
    "a kubelet frozen for 30 s": hooked("freeze", "thaw", 30),
    "a node cut off for 30 s": hooked("cut", "join", 30),
    "the store frozen for 30 s": to_the_store(store.frozen),
    "the store away for 30 s": to_the_store(store.away),
    "executors restarted one by one": rolling("executor", "statefulset"),
    "the scheduler restarted": rolling("scheduler", "deployment"),
    "SQL restarted": rolling("sql", "deployment"),
}
# What is of no use without an audit.
OF_AUDITS = {kind for kind in KINDS if "the audit" in kind}
NEEDS_HOOK = {"a kubelet frozen for 30 s", "a node cut off for 30 s"}
