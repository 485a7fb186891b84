"""What Prometheus's own client for Python reads of a scrape, as JSON; an error where it reads none."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    # A counter is named without `_total` by the parser, and with it by whoever asks for it.
    name = family.name + "_total" if family.type == "counter" else family.name
    assert name not in families, f"{name} is told twice"
    seen = set()
    for sample in family.samples:
        series = (sample.name, tuple(sorted(sample.labels.items())))
        assert series not in seen, f"{series} is told twice"
        seen.add(series)
    labels = sorted({label for sample in family.samples for label in sample.labels if label != "le"})
    families[name] = {"type": family.type, "help": family.documentation, "labels": labels, "samples": len(family.samples)}
json.dump(families, sys.stdout)
