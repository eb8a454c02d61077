"""The optimizer equals autograd through the MLP, in real Trainer and DeepSpeed runs (arXiv 2412.10362).

One torchrun a number of processes trains every case; the oracle is one fp32 process with the MLP in the graph.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import parity
import pytest
import torch
from safetensors.torch import load_file

BOUND = 1e-5
BROKEN = [("W1", 2), ("z", 2), ("mask", 2), ("mask", 3), ("all-reduce", 1), ("all-reduce", 3)]


def launch(folder: Path, world: int, cases: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={world}"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("parity_worker.py")), str(folder)],
        cwd=root,
        env=os.environ
        | {"DS_ACCELERATOR": "cpu", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("parity")
    parity.save_base(folder / "base")
    return folder


@pytest.fixture(scope="module")
def runs(base) -> dict[str, dict[str, torch.Tensor]]:
    """A and B after training, by case and number of processes."""
    exact = [{"name": f"zero{stage}", "stage": stage} for stage in (0, 1, 2, 3)]
    exact += [{"name": f"zero{stage}-sgd", "stage": stage, "sgd": True, "learning_rate": 1.0} for stage in (2, 3)]
    broken = [{"name": f"zero{stage}-without-{part}", "stage": stage, "broken": part} for part, stage in BROKEN]
    stopped = [
        {"name": f"zero{stage}-stopped", "stage": stage, **({"stop_at": 3} if half else {})}
        for stage in (0, 1, 2, 3)
        for half in (True, False)
    ]
    launch(base, 1, exact + stopped)
    launch(base, 2, exact + stopped + broken)
    return {path.stem: load_file(path) for path in base.glob("*.safetensors")}


@pytest.fixture(scope="module")
def oracle(base):
    """(start, end) of A and B by name, trained with autograd through the MLP; one entry an inner optimizer."""
    return {sgd: train_by_autograd(base / "base", sgd) for sgd in (False, True)}


def train_by_autograd(folder: Path, sgd: bool):
    from torch.func import functional_call
    from transformers import AutoModelForImageTextToText, get_scheduler

    from mlplora_vlm.attach import attach
    from mlplora_vlm.generator import AutogradGenerator, new_generator
    from mlplora_vlm.optimizer import adapter_groups

    settings = parity.settings(0, 1)
    model, _ = attach(AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32), parity.ADAPTER)
    form = {"hidden": 5, "z_dim": 7, "z_std": 0.1, "seed": settings.seed}
    mlps, names = [], {id(p): name for name, p in model.named_parameters()}
    for group in adapter_groups(model):
        start = new_generator(group["name"], [p.numel() for p in group["params"]], **form)
        mlps.append(
            (AutogradGenerator(start, [p.shape for p in group["params"]]), [names[id(p)] for p in group["params"]])
        )
    tensors = [p for mlp, _ in mlps for p in mlp.parameters()]
    if sgd:
        optimizer = torch.optim.SGD(tensors, lr=1.0, weight_decay=0.1)
    else:
        optimizer = torch.optim.AdamW(tensors, lr=settings.learning_rate, eps=settings.adam_eps, weight_decay=0.1)
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=3, num_training_steps=parity.STEPS)

    def adapters():
        return {name: p for mlp, pair in mlps for name, p in zip(pair, mlp(), strict=True)}

    start = {name: p.detach().clone() for name, p in adapters().items()}
    rows = parity.rows()
    answer_tokens = sum(int((row["labels"] != -100).sum()) for row in rows)
    for _ in range(parity.STEPS):
        optimizer.zero_grad()
        for i in range(0, len(rows), len(rows) // parity.ACCUMULATION):
            batch = parity.collate(rows[i : i + len(rows) // parity.ACCUMULATION])
            labels = batch.pop("labels")
            logits = functional_call(model, adapters(), kwargs=batch).logits
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
            )
            (loss / answer_tokens).backward()
        optimizer.step()
        scheduler.step()
    return start, {name: p.detach() for name, p in adapters().items()}


def error_of_update(got: dict[str, torch.Tensor], oracle) -> float:
    """‖got − oracle‖ / ‖oracle − start‖ over all of A and B."""
    start, end = oracle
    assert got.keys() == end.keys()
    flat = lambda tensors: torch.cat([tensors[name].flatten() for name in sorted(end)])  # noqa: E731
    return ((flat(got) - flat(end)).norm() / (flat(end) - flat(start)).norm()).item()


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("case", ["zero0", "zero1", "zero2", "zero3", "zero2-sgd", "zero3-sgd"])
def test_equals_autograd_through_the_mlp(runs, oracle, case, world):
    error = error_of_update(runs[f"{case}-w{world}"], oracle["sgd" in case])
    print(f"{case} x {world}: relative error of the update {error:.1e}")
    assert error <= BOUND


@pytest.mark.slow
@pytest.mark.parametrize(("part", "stage"), BROKEN)
def test_harness_sees_a_broken_part(runs, oracle, part, stage):
    error = error_of_update(runs[f"zero{stage}-without-{part}-w2"], oracle[False])
    print(f"zero{stage} without {part}: {error:.1e}")
    assert not error <= 10 * BOUND  # NaN counts as seen


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_resumed_equals_uninterrupted(runs, stage, world):
    whole, resumed = runs[f"zero{stage}-w{world}"], runs[f"zero{stage}-stopped-w{world}"]
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
