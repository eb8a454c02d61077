"""States on disk: exact round trips, any other number of owners, nothing pickled, clear words for what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_net import FORM, LoraLinear, batch, network, train, trained
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mlplora_vlm import states
from mlplora_vlm.errors import MendableError
from mlplora_vlm.layers import cut, joined
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups
from mlplora_vlm.sharding import owned_rows


def optimizer_for(model, **options) -> GeneratedAdapterOptimizer:
    groups = adapter_groups(model, generated=options.pop("generated", True))
    return GeneratedAdapterOptimizer(groups, **({"lr": 1e-2} | FORM | options))


@pytest.mark.parametrize(
    "options",
    [{}, {"states": "8bit"}, {"weights": "bfloat16"}, {"optimizer": "sgd", "momentum": 0.9}, {"generated": False}],
    ids=str,
)
def test_saved_and_loaded_goes_on_exactly(tmp_path, options):
    whole = network(33, 257, 65)
    wanted = train(whole, optimizer_for(whole, **options), 6)
    first = network(33, 257, 65)
    optimizer = optimizer_for(first, **options)
    train(first, optimizer, 3)
    states.save_states(optimizer, tmp_path, "NO", sharded=True)
    assert [path.name for path in tmp_path.iterdir()] == ["optimizer-00001-of-00001.safetensors"]
    second = network(33, 257, 65)
    second.load_state_dict(first.state_dict())
    resumed = optimizer_for(second, **options)
    states.load_states(resumed, tmp_path, "NO")
    assert torch.equal(train(second, resumed, 3, begin=3), wanted)


def test_several_8_bit_states_of_a_layer_are_saved(tmp_path):
    """W2 and b2 both have over 4,096 elements here, as at real widths: their 8-bit states share one quantile table."""
    widths, options = (33, 1500, 65), {"states": "8bit"}
    whole, first, second = network(*widths), network(*widths), network(*widths)
    wanted = train(whole, optimizer_for(whole, **options), 6)
    optimizer = optimizer_for(first, **options)
    train(first, optimizer, 3)
    moments = optimizer.layers["0"].state()["inner"]
    assert moments["W2"]["qmap1"].data_ptr() == moments["b2"]["qmap1"].data_ptr()
    states.save_states(optimizer, tmp_path, "NO", sharded=True)
    second.load_state_dict(first.state_dict())
    resumed = optimizer_for(second, **options)
    states.load_states(resumed, tmp_path, "NO")
    assert torch.equal(train(second, resumed, 3, begin=3), wanted)


def test_saved_again_before_the_first_step_is_whole(tmp_path):
    """A checkpoint may be written right after one was loaded, when no layer has been asked for yet."""
    model = network(33, 11)
    optimizer = optimizer_for(model)
    train(model, optimizer, 2)
    states.save_states(optimizer, tmp_path / "a", "NO", sharded=True)
    again = optimizer_for(model)
    states.load_states(again, tmp_path / "a", "NO")
    states.save_states(again, tmp_path / "b", "NO", sharded=True)
    one, two = (next((tmp_path / name).iterdir()).read_bytes() for name in "ab")
    assert one == two


@settings(max_examples=40, deadline=None)
@given(
    numels=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    begin=st.tuples(st.sampled_from([1, 2, 3]), st.integers(1, 5)),
    end=st.tuples(st.sampled_from([0, 1, 2, 3]), st.integers(1, 5)),
)
def test_rows_can_be_cut_anew_for_any_number_of_owners(numels, begin, end):
    k, hidden = sum(numels), 3
    P = {"W2": torch.rand(k, hidden), "b2": torch.rand(k), "c1": torch.rand(hidden)}
    moments = {name: {"exp_avg": torch.rand_like(t), "step": torch.tensor(5.0)} for name, t in P.items()}

    def share(stage, rank, world):
        local = sum(-(-n // world) for n in numels) if stage == 3 else -(-k // world) if stage else k
        return owned_rows(numels, local, stage, rank, world)

    def of(rows):
        pick = lambda name, t: t if name == "c1" else t[rows.clamp(min=0)] * (rows >= 0).view(-1, *[1] * (t.dim() - 1))  # noqa: E731
        inner = {n: {"exp_avg": pick(n, m["exp_avg"]), "step": m["step"]} for n, m in moments.items()}
        return {"rows": rows.int(), "steps": 5, "generator": {n: pick(n, t) for n, t in P.items()}, "inner": inner}

    all_of_them = joined([of(share(begin[0], rank, begin[1])) for rank in range(begin[1])])
    for rank in range(end[1]):
        rows = share(end[0], rank, end[1])
        got, wanted = cut(all_of_them, rows, "layer"), of(rows)
        for part in ("generator", "inner"):
            for name, value in wanted[part].items():
                for key, tensor in (value if part == "inner" else {"": value}).items():
                    assert torch.equal(got[part][name][key] if key else got[part][name], tensor), (part, name, key)


def test_missing_rows_and_packed_moments_are_named():
    rows = torch.arange(6)
    state = {"rows": rows[:4].int(), "generator": {"b2": torch.rand(4)}, "inner": {}, "steps": 1}
    with pytest.raises(MendableError, match="lacks some"):
        cut(state, rows, "layer")
    packed = state | {"inner": {"W2": {"state1": torch.zeros(4, 2, dtype=torch.uint8)}}}
    with pytest.raises(MendableError, match="8-bit"):
        cut(packed, rows[:2], "layer")
    with pytest.raises(MendableError, match="8-bit"):
        joined([packed, packed])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MendableError, match="0 of 1 optimizer files"):
        states.state_files(tmp_path)
    (tmp_path / "optimizer-00001-of-00002.safetensors").touch()
    with pytest.raises(MendableError, match="1 of 2 optimizer files"):
        states.state_files(tmp_path)


def test_states_of_another_model_are_refused(tmp_path):
    model = network(33, 11)
    optimizer = optimizer_for(model)
    model(batch(0)).sum().backward()
    optimizer.step()
    states.save_states(optimizer, tmp_path, "NO", sharded=True)
    with pytest.raises(MendableError, match="not this model's 2"):
        states.load_states(optimizer_for(network(33, 11, 5)), tmp_path, "NO")


def saved(folder, model=None, **options) -> Path:
    """The only file of a small optimizer after a step."""
    model = model or network(33, 11)
    optimizer = optimizer_for(model, **options)
    train(model, optimizer, 1)
    states.save_states(optimizer, folder, "NO", sharded=True)
    return folder / "optimizer-00001-of-00001.safetensors"


def wider(rank: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(LoraLinear(33, 11, rank))


def test_a_state_of_another_rank_is_named_with_both_shapes(tmp_path):
    saved(tmp_path, wider(3))
    for with_settings in (True, False):
        with pytest.raises(MendableError, match="rank") as error:
            states.load_states(optimizer_for(wider(5)), tmp_path, "NO", with_settings)
        assert "[[3, 33], [11, 3]]" in error.value.what and "[[5, 33], [11, 5]]" in error.value.what
        assert error.value.where == "0" and "processes" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"hidden": 5}, "'W1': [6, 9]"), ({"z_dim": 4}, "'z': [9]")],
    ids=str,
)
def test_a_state_of_another_generator_is_refused_before_a_step(tmp_path, options, said):
    saved(tmp_path)
    model = network(33, 11)
    optimizer = optimizer_for(model, **options)
    states.load_states(optimizer, tmp_path, "NO")
    before = trained(model)
    with pytest.raises(MendableError, match="generator has the shapes") as error:
        train(model, optimizer, 1)
    assert said in error.value.what and error.value.where == "0"
    assert torch.equal(trained(model), before)


@pytest.mark.parametrize("other", [torch.optim.AdamW, torch.optim.SGD])
def test_the_state_of_another_optimizer_is_refused(other):
    model = network(33, 11)
    with pytest.raises(MendableError, match="not that of generators"):
        optimizer_for(model).load_state_dict(other(model.parameters(), lr=1e-3).state_dict())
    for broken in ({}, {"state": {}}, {"param_groups": []}, {"state": {}, "param_groups": None}):
        with pytest.raises(MendableError):
            optimizer_for(model).load_state_dict(broken)


def test_damaged_and_foreign_files_are_named(tmp_path):
    file = saved(tmp_path)
    whole, tensors = file.read_bytes(), load_file(file)
    with safe_open(file, "pt") as opened:
        told = json.loads(opened.metadata()["state"])
    fresh = network(33, 11)

    def refused(match):
        with pytest.raises(MendableError, match=match) as error:
            states.load_states(optimizer := optimizer_for(fresh), tmp_path, "NO")
            train(fresh, optimizer, 1)
        assert str(file) in error.value.where

    file.write_bytes(whole[:-10])
    refused("truncated")
    for header in (None, {"state": "{"}, {"state": "[]"}, {"state": json.dumps(told | {"processes": "1"})}):
        save_file(tensors, file, header)
        refused("not JSON" if header and header["state"] == "{" else "not a generator's state")
    save_file(tensors, file, {"state": json.dumps(told | {"values": {"0": None}})})
    refused("lacks a part of the layer 0")
    save_file({"x": torch.ones(1)}, file, {"state": json.dumps(told)})
    refused("lacks a part of the layer 0")
