"""Every test here takes a family's name; with $FAMILIES_RESULT the outcome of each proof is written there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tiny_families import FAMILIES, family
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

PROOFS = {}
"""(family, proof) → whether all its tests passed."""


def pytest_generate_tests(metafunc):
    if "tiny" in metafunc.fixturenames:
        metafunc.parametrize("tiny", FAMILIES, indirect=True)


@pytest.fixture
def tiny(request, record_property):
    if request.path.stem.startswith("test_family_"):
        record_property("family", request.param)
        record_property("proof", request.path.stem.removeprefix("test_family_"))
    return family(request.param)


def pytest_runtest_logreport(report):
    told = dict(report.user_properties)
    if "family" in told and (report.when == "call" or report.failed):
        key = told["family"], told["proof"]
        PROOFS[key] = PROOFS.get(key, True) and report.passed


def pytest_sessionfinish(session):
    path = os.environ.get("FAMILIES_RESULT")
    if not path or not PROOFS or hasattr(session.config, "workerinput"):
        return
    import transformers

    found = {name: {"class": MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[name]} for name, _ in sorted(PROOFS)}
    for (name, proof), passed in sorted(PROOFS.items()):
        found[name].setdefault("proofs", {})[proof] = passed
    result = {"transformers": transformers.__version__, "families": found}
    Path(path).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
