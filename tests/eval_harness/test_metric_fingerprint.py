"""The fingerprint of a metric stays where the metric does, and no two metrics share one."""

from __future__ import annotations

import pytest
from metric_fingerprint import fingerprint

from eval_harness.metrics import METRICS, Metric, anls, vqa_accuracy


def test_it_stays_and_tells_metrics_apart() -> None:
    names = [name for name in METRICS if not Metric(name).missing() and name != "meteor"]
    found = {name: fingerprint(name) for name in names}
    assert len(set(found.values())) == len(names)
    assert fingerprint("anls") == found["anls"]


def test_it_changes_with_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint("anls"), fingerprint("vqa_accuracy")
    monkeypatch.setattr(anls, "THRESHOLD", 0.501)
    monkeypatch.setattr(vqa_accuracy, "normalise", lambda answer: answer.lower())
    assert fingerprint("anls") != before[0] and fingerprint("vqa_accuracy") != before[1]
