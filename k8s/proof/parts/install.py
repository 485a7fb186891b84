"""From an empty namespace to the first answer, by the commands of the README; and away again."""

from pathlib import Path

from .. import clients, release, store
from ..kube import Failure, run, until
from ..report import require

OVERLAYS = Path(__file__).resolve().parents[2] / "overlays"
# What is not the chart's, or comes and goes by itself.
NOT_COUNTED = {"events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "pods.metrics.k8s.io", "leases.coordination.k8s.io"}


def part(trial):
    for helm in ("helm", "helm3"):
        if run(["sh", "-c", f"command -v {helm}"], check=False).returncode:
            print(f"install   {helm} is not here: left out")
            continue
        by_helm(trial, helm)
    by_kustomize(trial)


def objects(namespace):
    """All that is in a namespace, as kind/name."""
    kinds = run(["kubectl", "api-resources", "--namespaced", "--verbs=list", "--output=name"]).split()
    asked = ",".join(sorted(kind for kind in kinds if kind not in NOT_COUNTED))
    found = namespace.kubectl("get", asked, "--output=name", "--ignore-not-found", check=False).stdout
    return {line.strip() for line in found.splitlines() if line.strip()}


def extraction(trial, deployed, name):
    """Waits for an extraction that the release has begun; its summary."""
    how = deployed.namespace.finished(name)
    log = deployed.namespace.log_of(name)
    require(how == "Complete", f"the extraction ended as {how}: {log[-1500:]}")
    return log


def first_answer(deployed, note):
    service = deployed.service("sql")
    with clients.forwarded(deployed.namespace, service, 50052) as port:
        rows = until("ADBC gets an answer", lambda: clients.ask(port, clients.QUESTION.format(run="")), seconds=60)
    require(rows and rows[0]["units"] > 1000 and rows[0]["files"] > 50, f"an odd answer: {rows}")
    note(f"{rows[0]['units']} code units of {rows[0]['files']} files")
    return rows


def first_audit(deployed, note, values, apply):
    """Lets the schedule begin an audit: the next full minute."""
    before = set(deployed.namespace.names("jobs", deployed.selector("audit")))
    apply(release.merged(values, {"audit": {"schedule": "* * * * *", "suspend": False, "preset": "quick"}}))
    begun = lambda: sorted(set(deployed.namespace.names("jobs", deployed.selector("audit"))) - before)
    job = until("the schedule begins an audit", begun, seconds=100)[0]
    apply(release.merged(values, {"audit": {"suspend": True, "preset": "quick"}}))
    how = deployed.namespace.finished(job)
    log = deployed.namespace.log_of(job)
    require(how == "Complete", f"the audit ended as {how}: {log[-1500:]}")
    concluded = store.concluded_audits(store.files(deployed.namespace, "facts/audits"))
    require(concluded, "no audit is concluded")
    note(f"{job}: {len(concluded)} concluded")


def by_helm(trial, helm):
    report, namespace = trial.report, trial.namespace(helm)
    deployed = release.Release(namespace, helm)
    part, values = "install", release.values(trial.image, extractions=[{"name": "first", "corpus": store.SMALL}])

    with report.shows(part, f"{helm}: a store is there", namespace.story):
        store.install(namespace, trial.image, trial.store_image)
        before = objects(namespace)
    with report.shows(part, f"{helm}: install, all daemons ready", namespace.story):
        deployed.install(values)
        deployed.healthy(executors=2)
    with report.shows(part, f"{helm}: first extraction", namespace.story) as note:
        jobs = namespace.names("jobs", deployed.selector("extract"))
        require(len(jobs) == 1, f"jobs: {jobs}")
        note(extraction(trial, deployed, jobs[0]).strip().splitlines()[-1][:150])
    with report.shows(part, f"{helm}: first answer through the Service by ADBC", namespace.story) as note:
        first_answer(deployed, note)
    with report.shows(part, f"{helm}: helm test", namespace.story):
        deployed.test()
    with report.shows(part, f"{helm}: first audit by its schedule", namespace.story) as note:
        first_audit(deployed, note, values, deployed.install)
    with report.shows(part, f"{helm}: an upgrade that changes nothing restarts nothing", namespace.story):
        now = release.merged(values, {"audit": {"suspend": True, "preset": "quick"}})
        deployed.install(now)
        ids = lambda: sorted(pod["metadata"]["uid"] for c in release.DAEMONS for pod in namespace.get("pods", deployed.selector(c)))
        was = ids()
        deployed.install(now)
        deployed.healthy()
        require(ids() == was, "pods were replaced")
    with report.shows(part, f"{helm}: uninstall leaves what is documented", namespace.story) as note:
        deployed.uninstall()
        # As docs/kubernetes.md says, the pods of `helm test` stay, and go by this.
        namespace.remove("pods", "--selector", f"{release.COMPONENT}=test")
        rest = lambda: sorted(objects(namespace) - before)
        try:
            until("nothing is left", lambda: not rest(), seconds=60)
        except Failure:
            raise Failure(f"left: {rest()}") from None
        require([key for key in store.files(namespace, "facts") if key.endswith("current.json")], "the facts are gone")
        note("nothing but the facts")
    trial.done(namespace)


def by_kustomize(trial):
    """`kubectl apply -k k8s/overlays/dev`, with the images of this trial, in a namespace of this trial."""
    report, part = trial.report, "install"
    namespace = trial.namespace("kustomize")
    deployed = release.Release(namespace)

    def rendered():
        text = run(["kubectl", "kustomize", OVERLAYS / "dev"])
        text = text.replace("namespace: bytefacts\n", f"namespace: {namespace.name}\n").replace(".bytefacts.svc", f".{namespace.name}.svc")
        return trial.with_images(text)

    with report.shows(part, "kustomize: apply -k overlays/dev, all daemons ready", namespace.story):
        documents = [text for text in rendered().split("\n---\n") if "\nkind: Namespace\n" not in f"\n{text}\n"]
        namespace.apply("\n---\n".join(documents))
        deployed.healthy()
    with report.shows(part, "kustomize: first extraction", namespace.story) as note:
        jobs = until("a job", lambda: namespace.names("jobs", deployed.selector("extract")))
        note(extraction(trial, deployed, jobs[0]).strip().splitlines()[-1][:150])
    with report.shows(part, "kustomize: first answer through the Service by ADBC", namespace.story) as note:
        first_answer(deployed, note)
    with report.shows(part, "kustomize: an audit, begun by hand", namespace.story) as note:
        cron = namespace.names("cronjobs", deployed.selector("audit"))[0]
        namespace.kubectl("create", "job", "by-hand", f"--from=cronjob/{cron}")
        how = namespace.finished("by-hand")
        require(how == "Complete", f"it ended as {how}: {namespace.log_of('by-hand')[-1500:]}")
    with report.shows(part, "kustomize: delete -k leaves nothing", namespace.story):
        namespace.kubectl("delete", "--filename", "-", "--ignore-not-found", "--wait=true", given="\n---\n".join(documents), seconds=180)
        namespace.remove("job", "by-hand")
        until("pods are gone", lambda: not [name for name in objects(namespace) if name.startswith("pod/")], seconds=120)
    trial.done(namespace)

