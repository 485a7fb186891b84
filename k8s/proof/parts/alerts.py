"""Alerts that fire in a real Prometheus, each for its cause; and that dashboards and rules name what is scraped.

Two releases: one is well until it is hurt, the other one is set up badly from its beginning. Prometheus finds both by their PodMonitors, through their
NetworkPolicies. What the rules wait for is shortened (`proof/prometheus.py` says how), since nobody waits for hours here.
"""

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import subprocess
import time
from pathlib import Path

from .. import audits, clients, picture, release, store
from ..kube import until
from ..prometheus import Prometheus
from ..report import require
from .audit import FALSE, FORGE, KILL, TRUE, exit_codes
from .trouble import begin, ended_well, extracted

DASHBOARDS = Path(__file__).resolve().parents[3] / "helm" / "bytefacts" / "dashboards"
WELL, ILL = "bytefacts", "bytefacts-ill"
KILLERS = f"{store.CORPORA}/killers"
# A corpus of forty files that take a good while to be compiled, and of two small ones.
MAKE_KILLERS = """
set -eu
cd "/data/objects/$1/corpora"
mkdir -p making-killers/a making-killers/b
for n in $(seq 40); do { printf 'x = ['; yes '1,' | head -c 1500000 | tr -d '\\n'; printf ']\\n# %s\\n' "$n"; } >"making-killers/a/large$n.py"; done
for n in 1 2; do printf 'x = %s\\n' "$n" >"making-killers/b/small$n.py"; done
mv making-killers killers
"""
# In an executor: whatever worker is at such a file ends as by a fault of the interpreter, which it would have of itself (one that is killed from outside
# blames nobody).
KILL_WORKERS = """
import os, time
while not os.path.exists("/tmp/enough"):
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"A worker of bytefacts" in open(f"/proc/{entry}/cmdline", "rb").read():
                fields = open(f"/proc/{entry}/stat").read().rpartition(")")[2].split()
                if int(fields[11]) + int(fields[12]) > 0.15 * os.sysconf("SC_CLK_TCK"):
                    os.kill(int(entry), 11)
        except OSError:
            pass
    time.sleep(0.005)
"""
# One of many small files, whose compiled units are ever so many entries of a cache.
MAKE_MANY = """
set -eu
cd "/data/objects/$1/corpora"
mkdir -p making-many/a
for n in $(seq 6000); do printf 'x = %s\n' "$n" >"making-many/a/m$n.py"; done
mv making-many many
"""
MANY = f"{store.CORPORA}/many"
# One that takes minutes, and no memory to speak of.
LONG = "SELECT sum(a.offset * b.offset) AS n FROM py_bc_instructions a CROSS JOIN py_bc_instructions b"
# One that only its rows show to be impossible.
IMPOSSIBLE = "SET bytefacts.execution = 'cluster'; SELECT sum(CAST(path AS BIGINT)) AS n FROM py_bc_code_units"
SERVICE = "grpc://127.0.0.1:50052"
# The SQL service looks for audits every five minutes.
AUDITS_ARE_TOLD = 300


def part(trial):
    if not shutil.which("prometheus"):
        print("alerts    left out: there is no prometheus on PATH")
        return
    report, namespace = trial.report, trial.namespace("alerts")
    seal = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "seal"}, "stringData": {"secret": secrets.token_hex(32)}}
    token = secrets.token_hex(32)
    users = json.dumps({"users": [{"name": "ada", "tokens": [{"sha256": hashlib.sha256(token.encode()).hexdigest()}]}]})
    namespace.apply([seal, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql-users"}, "stringData": {"users.yaml": users}}])
    let_in = {"networkPolicy": {"metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"{namespace.name}-monitoring"}}}]}}
    audit = {"preset": "full", "minutes": 60, "extraArgs": ["--format", "json"], "extractArgs": ["--fail-on", "never", "--another-corpus"]}
    well = release.values(
        trial.image, **let_in, corpora=[KILLERS, store.LIBRARY], audit=audit, sharedCache={"uri": f"s3://{store.BUCKET}/cache", "secretName": "seal"},
    )
    ill = release.values(
        trial.image, **let_in, corpus=store.LIBRARY, facts=f"{store.FACTS}-ill", corpora=[MANY], clusterTls={"developmentDays": 3},
        executor={"replicas": 1, "cache": {"diskBytes": 1 << 20}}, sharedCache={"uri": "s3://nowhere/cache", "secretName": "seal"},
        sql={"insecure": False, "users": {"secretName": "sql-users"}, "running": 1}, audit={**audit, "minutes": 1},
    )
    deployed, other = release.Release(namespace, name=WELL), release.Release(namespace, name=ILL)
    prometheus = None
    with report.shows("alerts", "two releases, and a Prometheus that scrapes them", namespace.story) as note:
        deployed.bring_up(trial, well)
        other.install(ill)
        other.healthy(executors=1)
        prometheus = Prometheus(trial, namespace, [(deployed, well), (other, ill)])
        targets = lambda: [t for t in prometheus.ask("targets", state="active")["activeTargets"] if t["health"] == "up"]
        expected = 4 + 3 + (1 if prometheus.tells_of_jobs else 0)
        until("all pods are scraped", lambda: len(targets()) == expected, seconds=60)
        series = prometheus.query('count({__name__=~".+"})')[0]["value"][1]
        note(f"{expected} targets, {series} series")
    if prometheus is None:
        return trial.done(namespace)
    watch = Watch(report, namespace, prometheus, trial.kinds)

    if not trial.kinds:
        rests(trial, deployed, well, prometheus)
    hurt(deployed, well, other, ill, watch, token)
    with report.shows("alerts", "each alert of the rules has fired") as note:
        named = {rule["alert"] for group in prometheus.groups for rule in group["rules"] if watch.wanted(rule["alert"])}
        missing = named - watch.fired - (set() if prometheus.tells_of_jobs else {"BytefactsAuditFailed"})
        require(not missing, f"these have not: {sorted(missing)}")
        note(f"{len(watch.fired)} alerts" + ("" if prometheus.tells_of_jobs else "; BytefactsAuditFailed left out, for want of kube-state-metrics"))
    trial.done(prometheus.namespace, namespace)


def rests(trial, deployed, well, prometheus):
    """While all is well: nothing fires, and what is named is there."""
    report, namespace = trial.report, deployed.namespace
    with report.shows("alerts", "while all is well nothing fires", namespace.story) as note:
        verdicts = audits.verdicts(namespace, scheduled(deployed, "1"))
        extracted(deployed, well, "library", store.LIBRARY, "--another-corpus", cold=False)
        for _ in range(3):
            asked(deployed, clients.QUESTION.format(run=""))
        time.sleep(60)
        fired = {name for name, of in prometheus.firing() if of == WELL}
        require(not fired, f"these fire: {fired}")
        note(f"a minute after {verdicts}")
    with report.shows("alerts", "every metric that rules and dashboards name is scraped", namespace.story) as note:
        note(f"{scraped(prometheus)} names")
    with report.shows("alerts", "every panel has something to show", namespace.story) as note:
        note(f"{shown(prometheus, namespace)} queries")
    if trial.pictures:
        with report.shows("alerts", "the dashboards are drawn"):
            draw(prometheus, namespace, trial.pictures)


def hurt(deployed, well, other, ill, watch, token):
    """One cause after another."""
    namespace = deployed.namespace
    # Of the one that was set up badly.
    namespace.shell(store.pod(namespace), MAKE_MANY, store.BUCKET)
    watch.fire(ILL, ["BytefactsAuditUnknown"], lambda: audits.verdicts(namespace, scheduled(other, "1")))
    watch.fire(ILL, ["BytefactsCertificateEnding", "BytefactsCacheFull", "BytefactsSharedCacheFailing"], lambda: filled_up(other, ill))
    namespace.shell(other.pods("sql")[0], "cat >/tmp/token", given=token)
    many = f"for n in 1 2 3; do while :; do bytefacts sql --connect {SERVICE} 'SELECT 1'; done & done; wait"
    watch.fire(ILL, ["BytefactsSqlUnauthenticated"], beside=lambda: beside(namespace, other.pods("sql")[0], many))
    long = f"for n in 1 2 3 4; do timeout 90 bytefacts sql --connect {SERVICE} --token-file /tmp/token '{LONG}' & done; wait"
    watch.fire(ILL, ["BytefactsSqlSaturated"], beside=lambda: beside(namespace, other.pods("sql")[0], long))
    other.uninstall()

    # Of the one that was well.
    watch.fire(WELL, ["BytefactsSharedCacheDamaged"], lambda: damaged(deployed, well))
    watch.fire(WELL, ["BytefactsJobsFailing"], lambda: [asked(deployed, IMPOSSIBLE, check=False) for _ in range(3)])
    watch.fire(WELL, ["BytefactsQuarantine", "BytefactsErrorShare", "BytefactsWorkersKilled"], lambda: killed(deployed, well))
    of_jobs = ["BytefactsAuditFailed"] if watch.prometheus.tells_of_jobs else []
    watch.fire(WELL, [*of_jobs, "BytefactsAuditUnstable"], lambda: unstable(deployed, well))
    watch.fire(WELL, ["BytefactsStoreFailing"], lambda: without_a_store(deployed, well))
    watch.fire(WELL, ["BytefactsExecutorsDying"], lambda: dying(deployed))
    executors = f"statefulset/{namespace.names('statefulsets', deployed.selector('executor'))[0]}"
    watch.fire(WELL, ["BytefactsExecutorsLost"], lambda: namespace.kubectl("scale", executors, "--replicas=1"))

    def stuck():
        namespace.kubectl("scale", executors, "--replicas=0")
        until("no executor is left", lambda: not namespace.names("pods", deployed.selector("executor")))
        begin(deployed, well, "stuck", store.LIBRARY, "--another-corpus")

    watch.fire(WELL, ["BytefactsBacklogStuck"], stuck)
    namespace.kubectl("scale", executors, "--replicas=2")
    until("executors are ready", lambda: namespace.ready(deployed.selector("executor"), 2))
    gone = lambda component: namespace.kubectl("scale", f"deployment/{namespace.names('deployments', deployed.selector(component))[0]}", "--replicas=0")
    watch.fire(WELL, ["BytefactsSchedulerDown", "BytefactsExecutorDisconnected"], lambda: gone("scheduler"))
    # The last night is five minutes old some time, which stand for the hour of the rule.
    watch.fire(WELL, ["BytefactsAuditLate"])
    watch.fire(WELL, ["BytefactsSqlDown"], lambda: gone("sql"))


class Watch:
    """Says of each alert when it fires."""

    def __init__(self, report, namespace, prometheus, kinds):
        self.report, self.namespace, self.prometheus, self.kinds, self.fired = report, namespace, prometheus, kinds, set()

    def wanted(self, alert):
        return not self.kinds or any(words in alert for words in self.kinds)

    def fire(self, of, alerts, cause=lambda: None, beside=contextlib.nullcontext):
        """They fire after their cause, or while something is done beside."""
        alerts = [alert for alert in alerts if self.wanted(alert)]
        if not alerts:
            return
        with beside():
            begun = None
            with self.report.shows("alerts", f"a cause of {', '.join(alerts)}", self.namespace.story):
                early = {alert for alert in alerts if (alert, of) in self.prometheus.firing()}
                started = time.monotonic()
                cause()
                begun = time.monotonic()
            for alert in alerts if begun else []:
                with self.report.shows("alerts", f"{alert} fires", self.namespace.story) as note:
                    # What passes may be over when its cause is: as long as the cause took, it may have fired.
                    fired = lambda a=alert: self.prometheus.fired(a, of, time.monotonic() - started)
                    until(f"{alert} fires", fired, seconds=AUDITS_ARE_TOLD + 60, every=1)
                    self.fired.add(alert)
                    note("before this cause" if alert in early else f"{max(0, time.monotonic() - begun):.0f} s after its cause, or before that was over")


# ---- what is scraped

def expressions(prometheus):
    """(where, expression) of rules and panels, as the chart has them."""
    for group in prometheus.groups:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    yield from panels()


def panels():
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"]


def scraped(prometheus):
    """How many metrics are named; each is there."""
    named = {}
    for where, expression in expressions(prometheus):
        bare = re.sub(r'\{[^}]*\}|"[^"]*"', "", expression)
        for name in re.findall(r"\b((?:bytefacts|kube)_\w+)", bare):
            named.setdefault(name, where)
    # A CronJob that is suspended has no success to tell of; a Job that did not fail has none either.
    foreign = {name for name in named if name.startswith("kube_")}
    if not prometheus.tells_of_jobs:
        named = {name: where for name, where in named.items() if name not in foreign}
    missing = lambda: {name: where for name, where in named.items() if name != "kube_job_failed" and not prometheus.query(f"count({name})")}
    come_in_time("nobody tells of", missing)
    return len(named)


def come_in_time(what, missing):
    """Waits until nothing is missing, as long as audits take to be told of."""
    end = time.monotonic() + AUDITS_ARE_TOLD
    while left := missing():
        require(time.monotonic() < end, f"{what} {left}")
        time.sleep(10)


def shown(prometheus, namespace):
    """How many queries panels have; each has a series."""
    queries = list(panels())
    shows = lambda expression: prometheus.query(filled(expression, namespace, "5m"))
    come_in_time("nothing is shown by", lambda: [f"{where}: {expression}" for where, expression in queries if not shows(expression)])
    return len(queries)


def filled(expression, namespace, interval):
    """With the dashboard's variables in it."""
    for variable, value in (("$namespace", namespace.name), ("$release", WELL), ("$__rate_interval", interval)):
        expression = expression.replace(variable, value)
    return expression


def draw(prometheus, namespace, folder):
    """What the dashboards show of the time since Prometheus began."""
    end = time.time()
    begin = min(float(series["values"][0][0]) for series in prometheus.ask("query", query="up[1h]")["result"])
    folder.mkdir(parents=True, exist_ok=True)
    answer = lambda expression: prometheus.ask("query_range", query=expression, start=begin, end=end, step=2)["result"]
    for path in sorted(DASHBOARDS.glob("*.json")):
        fill = lambda expression: filled(expression, namespace, "20s")
        (folder / f"{path.stem}.svg").write_text(picture.drawn(json.loads(path.read_text()), answer, fill, begin, end))


# ---- causes

def scheduled(deployed, name):
    """An audit as its schedule makes it, with a name as those have."""
    cron = deployed.namespace.names("cronjobs", deployed.selector("audit"))[0]
    job = f"{cron}-{name}"
    deployed.namespace.kubectl("create", "job", job, f"--from=cronjob/{cron}")
    return job


def asked(deployed, sql, check=True):
    return deployed.namespace.kubectl("exec", deployed.pods("sql")[0], "--", "bytefacts", "sql", "--connect", SERVICE, sql, check=check, seconds=300)


@contextlib.contextmanager
def beside(namespace, pod, script):
    """A script that runs in a pod while the block lasts."""
    group = f"echo $$ >/tmp/beside; {script}"
    process = subprocess.Popen(
        ["kubectl", "--namespace", namespace.name, "exec", pod, "--", "setsid", "sh", "-c", group], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        namespace.shell(pod, 'kill -9 -- "-$(cat /tmp/beside)"', check=False)
        process.terminate()
        process.wait()


def filled_up(deployed, values):
    job = begin(deployed, values, "many", MANY, "--another-corpus", cold=False)
    how = deployed.namespace.finished(job)
    require(how == "Complete", f"the extraction ended as {how}: {deployed.namespace.log_of(job)[-1500:]}")


def damaged(deployed, values):
    """Objects of the shared cache are torn, and executors have nothing of their own."""
    namespace = deployed.namespace
    extracted(deployed, values, "shared", store.LIBRARY, "--another-corpus", cold=False)
    tear = 'cd "/data/objects/$1/cache" && find . -type f -exec truncate -s 20 {} + && find . -type f | wc -l'
    torn = namespace.shell(store.pod(namespace), tear, store.BUCKET)
    require(int(torn) > 100, f"{torn.strip()} objects in the shared cache")
    for pod in deployed.pods("executor"):
        namespace.kubectl("delete", "pod", pod)
    deployed.healthy(executors=2)
    extracted(deployed, values, "torn", store.LIBRARY, "--another-corpus", cold=False)


def killed(deployed, values):
    """Files whose workers die, three times each, so that they are given up."""
    namespace = deployed.namespace
    namespace.shell(store.pod(namespace), MAKE_KILLERS, store.BUCKET)
    killers = [["kubectl", "--namespace", namespace.name, "exec", pod, "--", "python3.13", "-I", "-c", KILL_WORKERS] for pod in deployed.pods("executor")]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in killers]
    try:
        job = begin(deployed, values, "killers", KILLERS, "--another-corpus")
        how = namespace.finished(job)
    finally:
        for pod in deployed.pods("executor"):
            namespace.shell(pod, "touch /tmp/enough", check=False)
        for process in running:
            process.kill()
            process.wait()
    errors = audits.document_in(namespace.log_of(job), "errors")["errors"]
    given_up = sum(error["count"] for error in errors if error["stage"] == "quarantine")
    # Findings, which fail a Job of an extraction.
    require(how == "Failed" and given_up, f"{given_up} files were given up: {errors}")


def unstable(deployed, values):
    """As in the part `audit`: a constant in the cache is another than its source has, and nothing is landed yet that could be taken in its place."""
    namespace = deployed.namespace
    extracted(deployed, values, "cached", store.LIBRARY, "--another-corpus", cold=False)
    forged = sum(int(namespace.python(pod, FORGE, TRUE, FALSE)) for pod in deployed.pods("executor"))
    require(forged, "no cache had what was to be forged")
    for pod in deployed.pods("executor"):
        namespace.python(pod, KILL, check=False)
    deployed.healthy(executors=2)
    store.forget(namespace, "facts")
    job = scheduled(deployed, "2")
    how, codes = namespace.finished(job), list(exit_codes(namespace, job))
    require(how == "Failed" and codes == [3], f"the audit ended as {how}, its pods with {codes}")


def without_a_store(deployed, values):
    job = begin(deployed, values, "no-store", store.LIBRARY, "--another-corpus")
    until("it has begun", lambda: deployed.pods("extract"))
    time.sleep(5)
    store.away(deployed.namespace, 45)
    ended_well(deployed, job)


def dying(deployed):
    """Executors end as by a kill, which says nothing to the scheduler. (One that is deleted, by force too, has a moment for it.)"""
    for nth in range(4):
        deployed.namespace.python(deployed.pods("executor")[nth % 2], KILL, check=False)
        time.sleep(2)
        deployed.healthy(executors=2)
