"""What a chart renders, as objects. Only the standard library is needed: YAML is read by Helm itself."""

import json
import re
import subprocess
import tempfile
from pathlib import Path


def objects(helm, texts):
    """The objects of several renderings, by name, and what could not be read: a chart of ours has Helm read them as YAML and write them as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder)
        (chart / "templates").mkdir()
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: reader\nversion: 0.0.0\n")
        (chart / "templates/all.yaml").write_text(
            '{{- range $path, $_ := .Files.Glob "read/*" }}\n---\nname: {{ base $path }}\n'
            "object: {{ $.Files.Get $path | fromYaml | toJson | quote }}\n{{- end }}\n"
        )
        (chart / "read").mkdir()
        for name, text in texts.items():
            for nth, document in enumerate(re.split(r"^---$", text, flags=re.MULTILINE)):
                if re.search(r"^\w", re.sub(r"^#.*$", "", document, flags=re.MULTILINE), flags=re.MULTILINE):
                    (chart / f"read/{name}@{nth:03}").write_text(document)
        done = subprocess.run([str(helm), "template", "reader", str(chart)], capture_output=True, text=True, check=False)
        troubles = [f"what was rendered cannot be read: {done.stderr}"] if done.returncode else []
        found = {name: [] for name in texts}
        for name, quoted in re.findall(r'^name: (\S+)@\d+\nobject: (".*")$', done.stdout, flags=re.MULTILINE):
            read = json.loads(json.loads(quoted))
            if "Error" in read:
                troubles.append(f"{name}: {read['Error']}")
            found[name].append(read)
        return found, troubles
