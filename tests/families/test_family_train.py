"""Proof 3: two steps under ZeRO-2 and ZeRO-3 with two processes, one of which never sees a picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_families import FAMILIES, ROOT, Family, family

from mlplora_vlm.files import read_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def trained(request, tmp_path_factory) -> Path:
    """One launch trains every family that is asked for; after a failure another goes on behind it."""
    out = tmp_path_factory.mktemp("trained")
    asked = {item.callspec.params["tiny"] for item in request.session.items if item.path == Path(__file__)}
    names = [name for name in FAMILIES if name in asked]
    for name in names:
        family(name)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {
        "TINY_FAMILIES": str(ROOT),
        "DS_ACCELERATOR": "cpu",
        "PYTHONPATH": f"{root}:{Path(__file__).parent}",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    left = 1 + 2 * len(names)
    while (missing := 2 * len(names) - len(list(out.glob("*.json")))) and missing < left:
        left = missing
        done = subprocess.run(
            [*command, str(Path(__file__).with_name("family_train_worker.py")), str(out), *names],
            cwd=root,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        (out / "log.txt").write_text(done.stdout + done.stderr)
    return out


@pytest.mark.parametrize("stage", [2, 3])
def test_two_steps_train_language_and_projector_alone(tiny: Family, trained: Path, stage: int):
    file = trained / f"{tiny.card.model_type}-{stage}.json"
    assert file.exists(), (trained / "log.txt").read_text()[-5000:]
    found = read_json(file)
    assert "error" not in found, found["error"]
    assert found["finite"] and not found["elsewhere"] and len(found["losses"]) == 2
    counts = found["counts"]
    sides = ("full",) if tiny.card.bare_projector else ("A", "B")
    assert set(counts) == {"language A", "language B", *(f"projector {side}" for side in sides)}
    for key, (layers, first, second) in counts.items():
        assert layers and second == layers, f"{key}: no gradient after the second step in {found.get('still')}"
        assert first == (0 if key.endswith("A") else layers), f"{key}: B alone has a gradient in the first step"
