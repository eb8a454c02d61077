"""The optimizer in a bare PyTorch loop: equal to autograd, defined where gradients are odd, clear about mistakes."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
import torch
from lora_net import FORM, LoraLinear, OracleNet, batch, network, train, trained
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mlplora_vlm.errors import MendableError
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups

SETTINGS = [{"states": "float32"}, {"states": "8bit"}, {"states": "paged8bit"}, {"optimizer": "sgd", "momentum": 0.9},
            {"weights": "bfloat16"}, {"form": "linear"}]  # fmt: skip


def optimizer_for(model, **options) -> GeneratedAdapterOptimizer:
    return GeneratedAdapterOptimizer(adapter_groups(model), **({"lr": 1e-2} | FORM | options))


def test_bare_loop_equals_autograd_through_the_mlp():
    model = network(33, 47, 11)
    oracle = OracleNet(model, adapter_groups(model))
    inner = torch.optim.AdamW(oracle.parameters, lr=1e-2, eps=1e-6, weight_decay=0.1)
    begin = oracle.trained()
    got = train(model, optimizer_for(model, eps=1e-6, weight_decay=0.1), 6)
    for step in range(6):
        inner.zero_grad()
        oracle(batch(step)).square().mean().backward()
        inner.step()
    assert (got - oracle.trained()).norm() / (oracle.trained() - begin).norm() <= 1e-5


def test_units_that_wake_up_change_nothing_in_the_result():
    """W2 has the columns of units that are on; those that wake up later come as if they had always been there."""
    model = network(33, 47, 11)
    oracle = OracleNet(model, adapter_groups(model), hidden=40)
    inner = torch.optim.AdamW(oracle.parameters, lr=2e-2, eps=1e-3, weight_decay=0.9)
    begin = oracle.trained()
    optimizer = optimizer_for(model, lr=2e-2, eps=1e-3, weight_decay=0.9, hidden=40)
    train(model, optimizer, 1)
    first = [layer.tensors["W2"].shape[1] for layer in optimizer.layers.values()]
    got = train(model, optimizer, 11, begin=1)
    last = [layer.tensors["W2"].shape[1] for layer in optimizer.layers.values()]
    assert all(0 < n < 40 for n in first) and sum(last) > sum(first), "some are off at the start, and some wake up"
    for step in range(12):
        inner.zero_grad()
        oracle(batch(step)).square().mean().backward()
        inner.step()
    assert (got - oracle.trained()).norm() / (oracle.trained() - begin).norm() <= 1e-5


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_saved_and_loaded_goes_on_exactly(options):
    widths = (33, 257, 65)  # large enough for bitsandbytes to keep 8-bit states
    whole = network(*widths)
    wanted = train(whole, optimizer_for(whole, **options), 6)
    first = network(*widths)
    optimizer = optimizer_for(first, **options)
    train(first, optimizer, 3)
    file = io.BytesIO()
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = network(*widths)
    second.load_state_dict(saved["model"])
    resumed = optimizer_for(second, **options, **({} if "optimizer" in options else {"lr": 9.9}))
    resumed.load_state_dict(saved["optimizer"])
    assert torch.equal(train(second, resumed, 3, begin=3), wanted)


@pytest.mark.parametrize("states", ["8bit", "paged8bit"])
def test_eight_bit_states_are_eight_bit_and_stay_near_float32(states):
    updates = {}
    for kind in ("float32", states):
        model = network(33, 257, 65)
        optimizer = optimizer_for(model, lr=1e-3, states=kind)
        begin = trained(model)
        updates[kind] = train(model, optimizer, 10) - begin
        kinds = {t.dtype for layer in optimizer.layers.values() for s in layer.inner.state.values()
                 for t in s.values() if isinstance(t, torch.Tensor)}  # fmt: skip
        assert (torch.uint8 in kinds) == (kind == states)
    difference = (updates[states] - updates["float32"]).norm() / updates["float32"].norm()
    assert 0 < difference < 0.1


def test_bfloat16_weights_are_that_and_stay_near_float32():
    updates = {}
    for weights in ("float32", "bfloat16"):
        model = network(33, 257, 65)
        optimizer = optimizer_for(model, lr=1e-3, weights=weights)
        begin = trained(model)
        updates[weights] = train(model, optimizer, 20) - begin
        assert {layer.tensors["W2"].dtype for layer in optimizer.layers.values()} == {getattr(torch, weights)}
    difference = (updates["bfloat16"] - updates["float32"]).norm() / updates["float32"].norm()
    assert 0 < difference < 0.1


def test_zero_learning_rate_changes_nothing_and_the_schedule_reaches_the_generator():
    model = network(33, 11)
    optimizer = optimizer_for(model, lr=0.0)
    begin = trained(model)
    # P is generated anew in another order of sums than at the start
    torch.testing.assert_close(train(model, optimizer, 2), begin, rtol=0, atol=1e-7)
    optimizer.param_groups[0]["lr"] = 1e-2
    assert (train(model, optimizer, 1) - begin).abs().max() > 1e-3


def test_a_layer_without_gradient_stays_as_it_is():
    model = network(33, 11, 5)
    optimizer = optimizer_for(model)
    before = [p.detach().clone() for p in optimizer.param_groups[1]["params"]]
    model[0](torch.ones(2, 33)).sum().backward()
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(optimizer.param_groups[1]["params"], before, strict=True))


def test_a_tensor_without_gradient_counts_as_zero_and_a_zero_gradient_is_a_step():
    """As in autograd through the MLP: what adds nothing to the loss adds nothing to the sum, but the MLP is stepped."""
    ends = []
    for a_missing in (True, False):
        model = network(33, 11)
        optimizer = optimizer_for(model)
        train(model, optimizer, 2)
        A, B = optimizer.param_groups[0]["params"]
        optimizer.zero_grad()
        B.grad = torch.ones_like(B)
        A.grad = None if a_missing else torch.zeros_like(A)
        optimizer.step()
        ends.append(trained(model))
        A.grad, B.grad = torch.zeros_like(A), torch.zeros_like(B)
        optimizer.step()
        assert not torch.equal(trained(model), ends[-1]), "momentum goes on"
    assert torch.equal(*ends)


def test_b_is_zero_at_first_so_a_has_no_gradient_and_that_is_no_mistake():
    model = network(33, 11)
    optimizer = optimizer_for(model)
    A, B = optimizer.param_groups[0]["params"]
    model(batch(0)).square().mean().backward()
    assert not A.grad.any() and B.grad.any() and not B.any()
    optimizer.step()
    optimizer.zero_grad()
    model(batch(1)).square().mean().backward()
    assert A.grad.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_before_anything_changes(bad):
    model = network(33, 11)
    optimizer = optimizer_for(model)
    before, saved = train(model, optimizer, 2), optimizer.layers["0"].tensors["W2"].clone()
    optimizer.param_groups[0]["params"][1].grad[0, 0] = bad
    with pytest.raises(MendableError, match="not finite"):
        optimizer.step()
    assert torch.equal(trained(model), before) and torch.equal(optimizer.layers["0"].tensors["W2"], saved)


@pytest.mark.parametrize("overflows", [False, True])
def test_a_gradient_scaler_unscales_before_the_step_and_skips_an_overflow(overflows):
    """What fp16 training does; the CPU has no fp16 engine, so its scaler is fed fp32 gradients here."""
    plain, scaled = network(33, 11), network(33, 11)
    wanted = train(plain, optimizer_for(plain), 1)
    optimizer, scaler = optimizer_for(scaled), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    begin = trained(scaled)
    scaler.scale(scaled(batch(0)).square().mean()).backward()
    if overflows:
        optimizer.param_groups[0]["params"][1].grad[0, 0] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    torch.testing.assert_close(trained(scaled), begin if overflows else wanted, rtol=0, atol=1e-6)
    assert scaler.get_scale() == (2.0**9 if overflows else 2.0**10)


def test_frozen_tensors_are_left_out():
    model = network(33, 11, 5)
    model[0].lora_A["default"].weight.requires_grad_(False)
    for p in model[1].parameters():
        p.requires_grad_(False)
    groups = adapter_groups(model)
    assert [(g["name"], len(g["params"]), g["heads"]) for g in groups] == [("0", 1, ("zero",))]
    frozen = model[0].lora_A["default"].weight.clone()
    begin = trained(model)
    assert not torch.equal(train(model, GeneratedAdapterOptimizer(groups, lr=1e-2, **FORM), 2), begin)
    assert torch.equal(model[0].lora_A["default"].weight, frozen)


def test_tied_tensors_are_refused_by_name():
    model = network(33, 33, 33)
    model[1].lora_A["default"].weight = model[0].lora_A["default"].weight
    with pytest.raises(MendableError, match="lora_A is shared with 0"):
        adapter_groups(model)


def test_tensors_written_by_others_are_overwritten_unless_adopted():
    model = network(33, 11)
    optimizer = optimizer_for(model, lr=0.0)
    begin = train(model, optimizer, 1)
    A, B = optimizer.param_groups[0]["params"]
    with torch.no_grad():
        A.normal_()
        B.fill_(0.5)
    written = trained(model)
    optimizer.adopt()
    torch.testing.assert_close(train(model, optimizer, 1), written, rtol=0, atol=1e-6)
    with torch.no_grad():
        A.zero_()
    torch.testing.assert_close(train(model, optimizer, 1), written, rtol=0, atol=1e-6)
    assert not torch.equal(written, begin)


@pytest.mark.parametrize("form", ["exact", "linear"])
@pytest.mark.parametrize("start", ["paper", "keep"])
def test_an_adapter_that_holds_something_is_kept(start, form):
    model = network(33, 11)
    with torch.no_grad():
        model[0].lora_B["default"].weight.normal_()
    begin = trained(model)
    optimizer = optimizer_for(model, start=start, form=form, lr=0.0)
    assert torch.equal(trained(model), begin)
    torch.testing.assert_close(train(model, optimizer, 2), begin, rtol=0, atol=1e-6)


def test_a_layer_whose_units_are_all_off_keeps_its_own_start():
    """Else A and B would both be 0, and the layer would never learn."""
    for seed in range(20):  # hidden 1: off with one chance in two
        model = network(33, 11)
        begin = trained(model)
        optimizer = optimizer_for(model, hidden=1, seed=seed)
        assert model[0].lora_A["default"].weight.any()
        assert optimizer.param_groups[0]["keep"] == torch.equal(trained(model), begin)
        end = train(model, optimizer, 3)
        assert not torch.equal(end[:99], begin[:99]) and end[99:].any(), "both A and B learn"


def test_keep_starts_from_pefts_own_a():
    model = network(33, 11)
    begin = trained(model)
    optimizer_for(model, start="keep")
    assert torch.equal(trained(model), begin)
    optimizer_for(model, start="paper")
    assert not torch.equal(trained(model), begin)


PLUS = {
    "adamw": ({}, torch.optim.AdamW, {}),
    "adamw, large eps": ({"eps": 1e-2}, torch.optim.AdamW, {"eps": 1e-2}),
    "adamw, decay": ({"weight_decay": 0.5}, torch.optim.AdamW, {"weight_decay": 0.5}),
    "sgd": ({"optimizer": "sgd"}, torch.optim.SGD, {}),
    "sgd, momentum": ({"optimizer": "sgd", "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    "sgd, decay": (
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.5},
        torch.optim.SGD,
        {"momentum": 0.9, "weight_decay": 0.5},
    ),
}


@pytest.mark.parametrize("case", PLUS)
def test_the_rows_that_make_b_have_their_own_learning_rate(case):
    """LoRA+ as an optimizer's parameter groups would have it: the rate of what makes B is ratio x that of all else."""
    options, kind, theirs = PLUS[case]
    ratio, lr = 4.0, 1e-2
    model = network(33, 47, 11)
    oracle = OracleNet(model, adapter_groups(model))
    groups = [
        {"params": [p for mlp in oracle.mlps for p in (mlp.z, mlp.W1, mlp.c1, mlp.W2[0], mlp.b2[0])], "lr": lr},
        {"params": [p for mlp in oracle.mlps for p in (mlp.W2[1], mlp.b2[1])], "lr": ratio * lr},
    ]
    inner = kind(groups, lr=lr, **({"eps": 1e-6, "weight_decay": 0.0} if kind is torch.optim.AdamW else {}) | theirs)
    begin = oracle.trained()
    ours = GeneratedAdapterOptimizer(adapter_groups(model, b_lr_ratio=ratio), lr=lr, **({"eps": 1e-6} | FORM | options))
    got = train(model, ours, 6)
    for step in range(6):
        inner.zero_grad()
        oracle(batch(step)).square().mean().backward()
        inner.step()
    assert (got - oracle.trained()).norm() / (oracle.trained() - begin).norm() <= 1e-5


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("generated", [True, False])
def test_the_first_step_moves_b_ratio_times_as_far(optimizer, generated):
    moved = {}
    for ratio in (1.0, 4.0):
        model = network(33, 11)
        groups = adapter_groups(model, b_lr_ratio=ratio, generated=generated)
        train(model, GeneratedAdapterOptimizer(groups, lr=1e-4, eps=1e-30, optimizer=optimizer, **FORM), 1)
        moved[ratio] = model[0].lora_B["default"].weight.detach().clone()
    torch.testing.assert_close(moved[4.0], 4 * moved[1.0], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("states", ["8bit", "paged8bit"])
def test_eight_bit_states_move_b_by_its_own_learning_rate(states):
    updates = {}
    for kind in ("float32", states):
        model = network(33, 257, 65)
        groups = adapter_groups(model, b_lr_ratio=4.0)
        optimizer = GeneratedAdapterOptimizer(groups, lr=1e-3, weight_decay=0.1, states=kind, **FORM)
        begin = trained(model)
        updates[kind] = train(model, optimizer, 10) - begin
    assert (updates[states] - updates["float32"]).norm() / updates["float32"].norm() < 0.1


def test_an_embeddings_drawn_b_starts_as_the_paper_draws_it_and_wakes_up_with_its_own_decay():
    """The B of an embedding is drawn, so its learning rate must change neither its start nor what wakes up later."""
    made = {}
    for ratio in (1.0, 4.0):
        model = network(33, 11)
        groups = adapter_groups(model, b_lr_ratio=ratio)
        for group in groups:
            group["heads"] = ("zero", "drawn")
        optimizer = GeneratedAdapterOptimizer(groups, lr=1e-2, weight_decay=0.9, **FORM)
        made[ratio] = trained(model)
        assert "awake" not in optimizer._start(optimizer.param_groups[0], torch.arange(132)) or ratio == 1.0
    torch.testing.assert_close(made[4.0], made[1.0])


def test_plain_groups_equal_torchs_adamw():
    first, second = network(33, 47, 11), network(33, 47, 11)
    ours = GeneratedAdapterOptimizer(adapter_groups(first, generated=False, b_lr_ratio=4.0), lr=1e-2, weight_decay=0.1)
    sides = [[p for n, p in second.named_parameters() if side in n] for side in ("lora_A", "lora_B")]
    groups = [{"params": sides[0]}, {"params": sides[1], "lr": 4e-2}]
    theirs = torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.1, fused=True)
    assert torch.equal(train(first, ours, 5), train(second, theirs, 5))


def test_what_is_trained_beside_the_adapter_is_stepped_as_it_is():
    model = network(33, 11)
    model.register_parameter("stray", nn.Parameter(torch.ones(3)))
    groups = adapter_groups(model, full_lr=0.5)
    assert [g["name"] for g in groups] == ["0", "in full"] and groups[1]["lr"] == 0.5
    optimizer = GeneratedAdapterOptimizer(groups, lr=1e-2, optimizer="sgd", **FORM)
    model.stray.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(model.stray, torch.full((3,), 0.5, requires_grad=True))


def test_a_generator_elsewhere_moves_adapter_sized_tensors_only():
    """The generator on the meta device stands for another one: every copy across is counted."""
    model = network(33, 257, 65)
    optimizer = optimizer_for(model, optimizer="sgd")  # fused AdamW has no kernel there
    optimizer.device = "meta"
    numbers = {name: sum(p.numel() for p in g["params"]) for g in optimizer.param_groups for name in [g["name"]]}
    model(batch(0)).square().mean().backward()
    crossings: list[int] = []

    class Counted(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            devices = {a.device.type for a in args if isinstance(a, torch.Tensor)}
            name = function.overloadpacket._qualified_op_name
            if name == "aten::_local_scalar_dense" and devices == {"meta"}:
                return True  # the check for finite gradients
            if name == "aten::copy_" and devices == {"meta", "cpu"}:
                crossings.append(args[1].numel())
                return args[0]
            made = function(*args, **(kwargs or {}))
            if name == "aten::_to_copy" and made.device != args[0].device:
                crossings.append(made.numel())
            return made

    for group in optimizer.param_groups:
        optimizer._layer(group)  # makes the generators: once, not in every step
    with Counted():
        optimizer.step()
    assert sum(crossings) == 2 * sum(numbers.values()), "the gradient there, the new tensors back"


def test_mistakes_are_named():
    with pytest.raises(MendableError, match="no trained layer"):
        adapter_groups(nn.Linear(3, 3))
    one, other = optimizer_for(network(33, 11)), optimizer_for(network(33, 11, 5))
    with pytest.raises(MendableError, match="not this model's 2"):
        other.load_state_dict(one.state_dict())
    for options, word in (
        ({"form": "exakt"}, "form"), ({"start": "begin"}, "start"), ({"weights": "fp8"}, "weights"),
        ({"states": "4bit"}, "inner"), ({"optimizer": "sgd", "states": "8bit"}, "inner"),
        ({"clip": 1.0, "zero_stage": 2}, "ZeRO stage 2"),
    ):  # fmt: skip
        with pytest.raises(MendableError, match=word):
            optimizer_for(network(33, 11), **options)


def test_a_layer_of_an_unknown_method_keeps_its_start():
    """Any PEFT method: a tensor that the table does not name is made as an offset from where it stands."""

    class Scaled(LoraLinear):
        adapter_layer_names = ("ia3_l",)

        def __init__(self) -> None:
            super().__init__(33, 11, 3)
            self.requires_grad_(False)
            self.ia3_l = nn.ParameterDict({"default": nn.Parameter(torch.ones(11))})

        def forward(self, x):
            return x @ self.weight.T * self.ia3_l["default"]

    model = nn.Sequential(Scaled())
    optimizer = optimizer_for(model, weight_decay=0.5)
    assert torch.equal(trained(model), torch.ones(11))
    assert not torch.equal(train(model, optimizer, 3), torch.ones(11))


def test_the_optimizer_alone_needs_torch_and_nothing_more():
    code = (
        "import sys\n"
        "blocked = ('transformers', 'peft', 'deepspeed', 'accelerate', 'datasets', 'safetensors', 'bitsandbytes')\n"
        "class Block:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in blocked: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from mlplora_vlm import GeneratedAdapterOptimizer\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
