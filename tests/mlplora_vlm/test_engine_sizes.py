"""Engines on the far side of their size thresholds, in real training runs: equal to autograd through the MLP there too.

DeepSpeed's buckets, prefetching and persistence are made smaller than one tensor of the tiny LLaVA, as a real model's
tensors are larger than some of them; the parity runs are all below.  A wide generator's 8-bit moments are 8 bits.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from oracle import Oracle, error_of_update
from parity import Case, save_base
from safetensors.torch import load_file
from test_parity import BOUND, case, launch

from mlplora_vlm.optimizer_bytes import LayerSize

pytestmark = pytest.mark.slow

BUCKETS = {"reduce_bucket_size": 40}  # the smallest tensor has 54 elements
SMALL = {
    1: BUCKETS | {"allgather_bucket_size": 8},
    2: BUCKETS | {"allgather_bucket_size": 8},
    3: BUCKETS
    | {
        "stage3_param_persistence_threshold": 0,
        "stage3_max_live_parameters": 0,
        "stage3_max_reuse_distance": 0,
        "stage3_prefetch_bucket_size": 0,
    },
}
RUNS = [(1, 2, "adamw"), (1, 3, "full projector")]
RUNS += [(2, stage, variant) for stage in (1, 2, 3) for variant in ("adamw", "full projector")]
WIDE = {"generator": {"hidden": 90, "states": "8bit"}}  # most W2 have over 4,096 elements on one process and on two
EIGHT_BIT = [(1, "zero2"), (2, "zero3"), (2, "fsdp2")]
ONE_ROW = {"adapter": {"rank": 1}}  # FSDP2 cuts rows, and A has one: the second process gets nothing of it


def small(stage: int, variant: str) -> Case:
    return case(f"zero{stage}", variant, name=f"zero{stage}-{variant.split()[0]}-small", zero=SMALL[stage], record=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sizes")
    save_base(folder / "base")
    return folder


@pytest.fixture(scope="module")
def runs(base) -> dict[str, dict[str, torch.Tensor]]:
    """What was trained, by case and number of processes."""
    cases: dict[int, list[Case]] = {1: [], 2: []}
    for world, stage, variant in RUNS:
        cases[world].append(small(stage, variant))
    for world, engine in EIGHT_BIT:
        whole = Case(f"{engine}-wide", engine, **WIDE)
        stopped = Case(f"{engine}-wide-stopped", engine, **WIDE)
        cases[world] += [whole, Case(**vars(stopped) | {"stop_at": 3}), stopped]
    cases[2].append(Case("fsdp2-one-row", "fsdp2", **ONE_ROW))
    # W2 of the largest layers: 153 x 50 elements, 8-bit moments on one process and float32 ones on two
    grown = {"generator": {"hidden": 50, "states": "8bit"}, "folder": "grown"}
    cases[2].append(Case("zero2-shards", "zero2", stop_at=3, **grown))
    cases[1] += [Case("zero2-grown", "zero2", **grown), Case("zero2-grown-whole", "zero2", **grown | {"folder": ""})]
    for world in (2, 1):
        launch(base, world, cases[world])
    return {path.stem: load_file(path) for path in base.glob("*.safetensors")}


@pytest.mark.parametrize(("world", "stage", "variant"), RUNS)
def test_small_buckets_change_nothing(runs, base, world, stage, variant):
    name = f"{small(stage, variant).name}-w{world}"
    oracle = Oracle(base, case("loop", variant))
    begin = oracle.start
    assert error_of_update(runs[name], begin, oracle.train()) <= BOUND
    for rank in range(world):
        for layer, seen in torch.load(base / f"{name}-{rank}.pt").items():
            numels = [tensor.numel() for tensor_name, tensor in begin.items() if tensor_name.startswith(f"{layer}.")]
            assert len(seen["rows"]) == LayerSize(tuple(numels)).rows(stage, world), layer


def test_a_process_without_rows_of_a_tensor_trains_along(runs, base):
    oracle = Oracle(base, case("loop", "adamw", **ONE_ROW))
    assert error_of_update(runs["fsdp2-one-row-w2"], oracle.start, oracle.train()) <= BOUND


@pytest.mark.parametrize(("world", "engine"), EIGHT_BIT)
def test_eight_bit_moments_resume_exactly(runs, base, world, engine):
    from safetensors import safe_open

    files = sorted((base / f"{engine}-wide-w{world}" / "checkpoint-3").glob("optimizer-*.safetensors"))
    assert len(files) == world
    for file in files:
        with safe_open(file, "pt") as opened:
            held = [key for key in opened.keys() if key.endswith("|W2|state1")]  # noqa: SIM118
            assert "U8" in {opened.get_slice(key).get_dtype() for key in held}
    whole, resumed = runs[f"{engine}-wide-w{world}"], runs[f"{engine}-wide-stopped-w{world}"]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_small_shards_go_on_as_one_large_layer(runs, base):
    """Two processes keep the moments of their halves in float32; one process takes those over."""
    start = Oracle(base, case("loop", "adamw", generator={"hidden": 50})).start
    assert error_of_update(runs["zero2-grown-w1"], start, runs["zero2-grown-whole-w1"]) < 0.1
