"""Reads metrics in Prometheus' text format with Prometheus' own parser: one JSON list of samples."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))
names = [family.name for family in families]
assert len(names) == len(set(names)), "a metric stands twice"
samples = []
for family in families:
    assert family.type in ("counter", "gauge"), family.name
    assert family.documentation, family.name
    samples += [[sample.name, sample.labels, sample.value] for sample in family.samples]
json.dump(samples, sys.stdout)
