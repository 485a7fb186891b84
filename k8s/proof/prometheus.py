"""A Prometheus in the cluster, which finds pods by the chart's PodMonitor, as the operator of Prometheus has it do, and judges by the chart's rules.

Its program is put into a pod of the image: any Prometheus for Linux does, such as Debian's, which is built without Kubernetes' discovery. So a program beside
it tells of pods what that would. A kube-state-metrics beside it, where one is found, tells of Jobs and CronJobs.
"""

import json
import re
import shutil
import subprocess

from . import clients, rendering, release
from .kube import Failure, Namespace, until
from .report import require

NAME = "prometheus"
# Scraped and judged so often.
EVERY = "2s"
# Waits and windows are so much shorter than in the rules: an hour of waiting is a minute, and one that is looked at five minutes.
WAITS, WINDOWS = 60, 12
UNITS = {"s": 1, "m": 60, "h": 3600}

ASK = """
import sys, urllib.parse, urllib.request
path, *pairs = sys.argv[1:]
query = urllib.parse.urlencode([tuple(pair.split("=", 1)) for pair in pairs])
sys.stdout.write(urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/{path}?{query}", timeout=20).read().decode())
"""


# Pods of a namespace with their labels and ports, as Prometheus' own discovery of Kubernetes tells of them (`role: pod`).
DISCOVERY = """
import http.server, json, os, re, ssl, sys, urllib.request
secrets = "/var/run/secrets/kubernetes.io/serviceaccount/"
trust = ssl.create_default_context(cafile=secrets + "ca.crt")
# Authorities of small clusters do not say what their key is for.
trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
def pods(namespace):
    headers = {"Authorization": "Bearer " + open(secrets + "token").read()}
    asked = urllib.request.Request(f"https://{host}:{port}/api/v1/namespaces/{namespace}/pods", headers=headers)
    return json.load(urllib.request.urlopen(asked, context=trust, timeout=10))["items"]
def targets(namespace):
    for pod in pods(namespace):
        about, address = pod["metadata"], pod["status"].get("podIP")
        labels = {"namespace": about["namespace"], "pod_name": about["name"], "pod_phase": pod["status"]["phase"]}
        labels |= {"pod_label_" + re.sub(r"\\W", "_", key): value for key, value in about.get("labels", {}).items()}
        for container in pod["spec"]["containers"]:
            for each in container.get("ports", []) if address else []:
                own = {"pod_container_name": container["name"], "pod_container_port_name": each.get("name", "")}
                yield {"targets": [f"{address}:{each['containerPort']}"], "labels": {f"__meta_kubernetes_{key}": v for key, v in (labels | own).items()}}
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(list(targets(self.path.strip("/")))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", 9093), Answer).serve_forever()
"""


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)([smh])", duration).groups()
    return int(number) * UNITS[unit]


def hastened(rule):
    """A rule that comes to its end while somebody waits. What it compares stays, but for the hours after which an audit is late."""
    shorter = lambda duration: f"{max(5, seconds(duration) // WINDOWS)}s"
    expression = re.sub(r"\[(\d+[smh])(:\w+)?\]", lambda found: f"[{shorter(found[1])}{':' + EVERY if found[2] else ''}]", rule["expr"])
    expression = re.sub(r"\boffset (\d+[smh])", lambda found: f"offset {shorter(found[1])}", expression)
    if rule["alert"] == "BytefactsAuditLate":
        expression = re.sub(r"> (\d+)\b", lambda found: f"> {int(found[1]) // WINDOWS}", expression)
    return {**rule, "expr": expression, "for": f"{seconds(rule['for']) // WAITS}s"}


def monitoring(deployed, values):
    """The PodMonitor and the rules of a release."""
    text = deployed.rendered(release.merged(values, OBSERVED), "monitors.yaml", "prometheusrule.yaml")
    found, troubles = rendering.objects(deployed.helm, {"monitoring": text})
    require(not troubles, str(troubles))
    of = {each["kind"]: each for each in found["monitoring"]}
    return of["PodMonitor"], of["PrometheusRule"]["spec"]["groups"]


OBSERVED = {"metrics": {"podMonitor": {"enabled": True}, "rules": {"enabled": True, "auditLateHours": 1, "stuckMinutes": 5}}}
sanitized = lambda label: re.sub(r"\W", "_", label)


def scraping(namespace, monitor):
    """What the operator makes of a PodMonitor."""
    of_label = lambda label: f"__meta_kubernetes_pod_label_{sanitized(label)}"
    keep = lambda source, regex: {"source_labels": [source], "regex": regex, "action": "keep"}
    take = lambda source, target: {"source_labels": [source], "target_label": target}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    selector = monitor["spec"]["selector"]
    rules = [keep(of_label(label), value) for label, value in selector.get("matchLabels", {}).items()]
    for expression in selector.get("matchExpressions", []):
        require(expression["operator"] == "In", f"not known here: {expression}")
        rules.append(keep(of_label(expression["key"]), "|".join(expression["values"])))
    rules += [keep("__meta_kubernetes_pod_container_port_name", endpoint["port"]), keep("__meta_kubernetes_pod_phase", "Pending|Running|Unknown")]
    rules += [take(f"__meta_kubernetes_{source}", target) for source, target in
              (("namespace", "namespace"), ("pod_container_name", "container"), ("pod_name", "pod"))]
    rules += [take(of_label(label), sanitized(label)) for label in monitor["spec"].get("podTargetLabels", [])]
    return {
        "job_name": f"{namespace.name}/{monitor['metadata']['name']}",
        "metrics_path": endpoint["path"],
        "http_sd_configs": [{"url": f"http://127.0.0.1:9093/{namespace.name}", "refresh_interval": EVERY}],
        "relabel_configs": rules,
    }


class Prometheus:
    """One that watches releases of a namespace: (release, values) each."""

    def __init__(self, trial, watched, releases):
        self.namespace, self.watched = Namespace(f"{watched.name}-monitoring"), watched
        self.namespace.delete()
        self.namespace.create()
        trial.made.append(self.namespace)
        self.tells_of_jobs = shutil.which("kube-state-metrics")
        scrapes, self.groups = [], []
        for deployed, values in releases:
            monitor, groups = monitoring(deployed, values)
            scrapes.append(scraping(watched, monitor))
            self.groups += groups
        if self.tells_of_jobs:
            # (Its own namespace and pod are not those of what it tells of.)
            scrapes.append({"job_name": "kube-state-metrics", "honor_labels": True, "static_configs": [{"targets": ["127.0.0.1:9091"]}]})
        rules = {"groups": [{**group, "rules": [hastened(rule) for rule in group["rules"]]} for group in self.groups]}
        settings = {"global": {"scrape_interval": EVERY, "evaluation_interval": EVERY}, "rule_files": ["/tmp/rules.json"], "scrape_configs": scrapes}
        self.begin(trial, {"rules.json": json.dumps(rules), "settings.json": json.dumps(settings), "discovery.py": DISCOVERY})

    def begin(self, trial, files):
        reads = [{"apiGroups": [""], "resources": ["pods"]}, {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"]}]
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
        api = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": NAME}}
        self.watched.apply([
            {**api, "kind": "Role", "rules": [{**each, "verbs": ["get", "list", "watch"]} for each in reads]},
            {**api, "kind": "RoleBinding", "roleRef": role, "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": self.namespace.name}]},
        ])
        begun = ["until [ -e /tmp/there ]; do sleep 0.2; done", "python3.13 -I /tmp/discovery.py >/tmp/discovery.log 2>&1 &"]
        if self.tells_of_jobs:
            told = f"--namespaces={self.watched.name} --resources=jobs,cronjobs --host=127.0.0.1 --port=9091 --telemetry-host=127.0.0.1 --telemetry-port=9092"
            begun.append(f"/tmp/kube-state-metrics {told} >/tmp/kube-state-metrics.log 2>&1 &")
        begun.append("exec /tmp/prometheus --config.file=/tmp/settings.json --storage.tsdb.path=/tmp/series --web.listen-address=127.0.0.1:9090")
        spec = clients.pod_spec(trial.image, ["sh", "-c", "\n".join(begun)], memory="1Gi")
        spec.update(serviceAccountName=NAME, automountServiceAccountToken=True)
        self.namespace.apply([
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": {"app": NAME}}, "spec": spec},
        ])
        until("Prometheus' pod is there", lambda: self.namespace.ready(f"app={NAME}", 1))
        for name in [NAME, *(["kube-state-metrics"] if self.tells_of_jobs else [])]:
            self.put(name, open(shutil.which(name), "rb"))
        for name, text in files.items():
            self.namespace.shell(NAME, 'cat >"/tmp/$1"', name, given=text)
        self.namespace.shell(NAME, "touch /tmp/there")
        try:
            self.ask("status/buildinfo")
        except Failure as failure:
            raise Failure(f"{failure}; it says: {self.namespace.logs(NAME, check=False)[-1000:]}") from failure

    def put(self, name, file):
        """A program into its pod."""
        command = ["kubectl", "--namespace", self.namespace.name, "exec", "--stdin", NAME, "--", "sh", "-c", f"cat >/tmp/{name} && chmod +x /tmp/{name}"]
        with file:
            done = subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise Failure(f"{name} could not be brought in: {done.stderr[-500:]}")

    def ask(self, path, **parameters):
        """The `data` of an answer of its API. A node that is busy may lose what was said."""
        said = lambda: json.loads(self.namespace.python(NAME, ASK, path, *(f"{key}={value}" for key, value in parameters.items())))["data"]
        return until(f"Prometheus answers {path}", lambda: [said()], seconds=60)[0]

    def query(self, expression):
        """The series that an expression has now."""
        return self.ask("query", query=expression)["result"]

    def fired(self, alert, of, since):
        """Whether it fires, or did at some time of the last seconds."""
        wanted = f'alertname="{alert}",bytefacts_release="{of}",alertstate="firing"'
        return bool(self.query(f"count_over_time(ALERTS{{{wanted}}}[{max(2, int(since))}s])"))

    def firing(self):
        """{(alert, release)} that fire now."""
        alerts = self.ask("alerts")["alerts"]
        return {(a["labels"]["alertname"], a["labels"]["bytefacts_release"]) for a in alerts if a["state"] == "firing"}
