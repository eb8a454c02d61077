"""A 512-wide MLP that knows upright 8 x 8 digits is adapted to digits turned by 45 degrees, at ranks 1 and 4.

Real PEFT layers on its three linears and the product's optimizer; 300 AdamW steps of 64 digits, warm-up 20, linear
decay, alpha = rank.  A seed sets the adapter's start and the order of the digits, the same for all methods.  Reported:
the loss over all 1400 training digits at the end, and the accuracy on the 397 others.  Each finished cell is kept in
out/benchmarks/rotated_digits.jsonl: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common import SCRATCH, Cells, minus, parse, rounded, signed, write_result
from benchmarks.compact import CompactOptimizer
from eval_harness.lr_curve import Interval, Values, decades, learning_rates, mean, summarise, width
from eval_harness.lr_plot import Panel, plot
from eval_harness.numbers import rate
from mlplora_vlm.errors import MendableError
from mlplora_vlm.generator import hidden_units
from mlplora_vlm.layers import GeneratedLayer
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups
from recipes.readme import markdown

ANGLE, TRAINING = 45, 1400


@dataclass(frozen=True)
class Method:
    """How a method is attached and stepped."""

    peft: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Any] = field(default_factory=lambda: {"generated": False})
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    ranks: tuple[int, ...] = (1, 4)
    within: tuple[float, float] = (0.0, math.inf)
    """The learning rates that are run: slow ones only around the best."""


OP: dict[str, Any] = {"groups": {"generated": True}}
METHODS = {
    "LoRA": Method(),
    "OP-LoRA": Method(**OP),
    "OP-LoRA, LoRA's start": Method(**OP, optimizer={"start": "keep"}),
    "OP-LoRA, hidden 4": Method(**OP, optimizer={"hidden": 4}),
    "OP-LoRA, linear": Method(**OP, optimizer={"form": "linear"}),
    "DoRA": Method(peft={"use_dora": True}),
    "OP-DoRA": Method(**OP, peft={"use_dora": True}),
    "PiSSA": Method(peft={"init_lora_weights": "pissa"}),
    "LoRA+ (ratio 16)": Method(groups={"generated": False, "b_lr_ratio": 16.0}),
    "compact": Method(**OP, optimizer={"variant": "compact"}),
    "LoRA, learned gain": Method(**OP, optimizer={"variant": "gain"}),
    "LoRA, LR × (1 + Σh₀)": Method(**OP, optimizer={"variant": "scaled"}),
    "OP-LoRA, W2 in bfloat16": Method(**OP, optimizer={"weights": "bfloat16"}, ranks=(4,), within=(9e-4, 0.11)),
    "OP-LoRA, 8-bit moments": Method(**OP, optimizer={"states": "8bit"}, ranks=(4,), within=(9e-4, 0.11)),
}
SHOWN = (
    ("LoRA", "OP-LoRA", "OP-LoRA, LoRA's start", "OP-LoRA, hidden 4", "OP-LoRA, linear"),
    ("LoRA", "OP-LoRA", "DoRA", "OP-DoRA", "PiSSA", "LoRA+ (ratio 16)"),
    ("LoRA", "OP-LoRA", "compact", "LoRA, learned gain", "LoRA, LR × (1 + Σh₀)", "OP-LoRA, W2 in bfloat16",
     "OP-LoRA, 8-bit moments"),
)  # fmt: skip
"""Methods that share a panel of the plot."""
FULL: dict[str, Any] = {"steps": 300, "warmup": 20, "batch": 64, "seeds": 5, "ranks": (1, 4), "low": 1e-4, "high": 0.46,
                        "per_decade": 3, "methods": tuple(METHODS)}  # fmt: skip
QUICK = FULL | {"steps": 4, "warmup": 1, "seeds": 2, "ranks": (1,), "low": 1e-3, "high": 1e-1, "per_decade": 1}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is missing and writes the result and its plot."""
    options = parse("rotated_digits", __doc__, argv)
    torch.set_num_threads(1)
    settings: dict[str, Any] = QUICK if options.quick else FULL
    cells = Cells(SCRATCH / ("quick" if options.quick else "") / "rotated_digits.jsonl")
    rates = learning_rates(settings["low"], settings["high"], settings["per_decade"])
    ranks = {}
    for rank in settings["ranks"]:
        found: dict[str, dict[float, list[Any]]] = {}
        for method in [name for name in settings["methods"] if rank in METHODS[name].ranks]:
            low, high = METHODS[method].within
            for lr in [r for r in rates if low <= r <= high]:
                for seed in range(settings["seeds"]):
                    key = {"method": method, "rank": rank, "lr": lr, "seed": seed}
                    key |= {name: settings[name] for name in ("steps", "warmup", "batch")}
                    if key not in cells:
                        cells[key] = cell(method, rank, lr, seed, settings)
                    found.setdefault(method, {}).setdefault(lr, []).append(cells[key])
            print(f"rank {rank}, {method}", flush=True)
        ranks[str(rank)] = summary(found)
    _, _, test, labels = turned()
    with torch.no_grad():
        before = (network()(test).argmax(1) == labels).float().mean().item()
    write_result("rotated_digits", settings, {"before": rounded(before), "ranks": ranks}, options.out)
    plot(options.out / "rotated_digits.png", panels(ranks))
    return 0


def cell(method: str, rank: int, lr: float, seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """One run: {"loss", "accuracy"}, None where it diverged, and for a generator with ReLU what its units did."""
    model, optimizer = attached(METHODS[method], rank, lr, seed)
    units = Units(optimizer) if isinstance(optimizer, GeneratedAdapterOptimizer) and optimizer.relu else None
    try:
        train(model, optimizer, seed, settings, units.look if units else None)
    except MendableError:  # a gradient that is not finite
        return {"loss": None, "accuracy": None}
    inputs, labels, test, test_labels = turned()
    with torch.no_grad():
        loss = functional.cross_entropy(model(inputs), labels).item()
        accuracy = (model(test).argmax(1) == test_labels).float().mean().item()
    if not math.isfinite(loss):
        return {"loss": None, "accuracy": None}
    return {"loss": rounded(loss), "accuracy": rounded(accuracy)} | (units.seen() if units and units.first else {})


def attached(method: Method, rank: int, lr: float, seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The pretrained network with PEFT's layers, and what steps them."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["fc1", "fc2", "fc3"], **method.peft)
    model = get_peft_model(network(), config)
    groups = adapter_groups(model, **method.groups)
    if "variant" in method.optimizer:
        return model, CompactOptimizer(groups, lr=lr, seed=seed, **method.optimizer)
    return model, GeneratedAdapterOptimizer(groups, lr=lr, seed=seed, **method.optimizer)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    seed: int,
    settings: Mapping[str, Any],
    after_step: Callable[[], None] | None = None,
) -> None:
    """Minimises the cross-entropy on turned training digits; ``seed`` sets their order."""
    steps, warmup, batch = settings["steps"], settings["warmup"], settings["batch"]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / warmup) * (1 - t / steps))
    inputs, labels, _, _ = turned()
    order = torch.randint(0, TRAINING, (steps, batch), generator=torch.Generator().manual_seed(seed))
    for chosen in order:
        functional.cross_entropy(model(inputs[chosen]), labels[chosen]).backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        if after_step:
            after_step()


class Units:
    """Which hidden units of the generators are off; the first step, with B = 0, leaves them as they started."""

    def __init__(self, optimizer: GeneratedAdapterOptimizer) -> None:
        self.optimizer = optimizer
        self.first: list[Tensor] = []
        self.last: list[Tensor] = []
        self.ever_on: list[Tensor] = []

    @torch.no_grad()
    def look(self) -> None:
        layers = [layer for layer in self.optimizer.layers.values() if isinstance(layer, GeneratedLayer)]
        self.last = [hidden_units(layer.tensors) > 0 for layer in layers]
        self.first = self.first or self.last
        self.ever_on = [a | b for a, b in zip(self.ever_on or self.last, self.last, strict=True)]

    def seen(self) -> dict[str, dict[str, float]]:
        """Shares of all units."""
        first, last, ever = (torch.cat(masks) for masks in (self.first, self.last, self.ever_on))
        shares = {
            "off_at_start": ~first, "off_at_end": ~last, "never_on": ~ever,
            "woke_up": ~first & last, "fell_asleep": first & ~last,
        }  # fmt: skip
        return {"units": {name: round(mask.float().mean().item(), 4) for name, mask in shares.items()}}


class Network(nn.Module):
    """64 → 512 → 512 → 10, with ReLUs."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


def network() -> Network:
    """A new copy of the network, pretrained on upright digits."""
    net = Network()
    net.load_state_dict(_pretrained())
    return net


@cache
@torch.enable_grad()
def _pretrained() -> dict[str, Tensor]:
    torch.manual_seed(0)
    net, (inputs, labels) = Network(), digits(0)
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(400):
        chosen = torch.randint(0, TRAINING, (64,))
        adam.zero_grad()
        functional.cross_entropy(net(inputs[chosen]), labels[chosen]).backward()
        adam.step()
    return net.state_dict()


@cache
def digits(angle: float) -> tuple[Tensor, Tensor]:
    """scikit-learn's 1797 digits turned by ``angle`` degrees, (1797, 64) in [0, 1], and their labels (1797,)."""
    import numpy
    from scipy.ndimage import rotate
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    pictures = pictures.reshape(-1, 8, 8) / 16.0
    if angle:
        pictures = numpy.stack([rotate(picture, angle, reshape=False, order=1) for picture in pictures])
    return torch.tensor(pictures.reshape(-1, 64), dtype=torch.float32), torch.tensor(labels)


def turned() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Turned digits: training pictures and labels, test pictures and labels."""
    inputs, labels = digits(ANGLE)
    return inputs[:TRAINING], labels[:TRAINING], inputs[TRAINING:], labels[TRAINING:]


def summary(found: Mapping[str, Mapping[float, Sequence[Mapping[str, Any]]]]) -> dict[str, Any]:
    """``found``: method → learning rate → cells over seeds.  ``reach``: the width within 5 % of LoRA's best loss."""
    curves: dict[str, dict[str, dict[float, Values]]] = {
        what: {name: {lr: [c[what] for c in cells] for lr, cells in row.items()} for name, row in found.items()}
        for what in ("loss", "accuracy")
    }
    losses = {name: summarise(curve) for name, curve in curves["loss"].items()}
    methods = {}
    for name, row in found.items():
        best = losses[name]["best_lr"]
        rates = sorted(row)
        reach, wider = width(rates, [mean(curves["loss"][name][lr]) for lr in rates], best=losses["LoRA"]["mean"])
        tenth = min(rates, key=lambda lr: abs(math.log10(10 * lr / best)))
        units = {
            f"{lr:g}": {what: mean([c["units"][what] for c in cells]) for what in cells[0]["units"]}
            for lr, cells in row.items()
            if all("units" in c for c in cells)
        }
        methods[name] = {
            "loss": losses[name] | {"reach": round(reach, 3), "reach_wider": wider},
            "accuracy": summarise(curves["accuracy"][name], lower_is_better=False),
            "tenth_over_best": rounded(mean(curves["loss"][name][tenth]) / losses[name]["mean"]),
            "loss_to_lora": minus(curves["loss"][name][best], curves["loss"]["LoRA"][losses["LoRA"]["best_lr"]]),
            "cells": {what: {f"{lr:g}": v for lr, v in curves[what][name].items()} for what in curves},
        } | ({"units": units} if units else {})
    return {"methods": methods}


def panels(ranks: Mapping[str, Any]) -> list[Panel]:
    """Loss and accuracy against the learning rate, for `SHOWN` groups of methods."""
    made = []
    for rank, found in ranks.items():
        lowest = min(row["loss"]["mean"] for row in found["methods"].values())
        for what, title in (("loss", "training loss"), ("accuracy", "test accuracy")):
            for shown in SHOWN:
                curves = {
                    name: {float(lr): values for lr, values in found["methods"][name]["cells"][what].items()}
                    for name in shown
                    if name in found["methods"]
                }
                top, bottom = (8.0, 0.7 * lowest) if what == "loss" else (1.0, 0.0)
                made.append(Panel(f"rank {rank}", curves, y=title, log_y=what == "loss", top=top, bottom=bottom))
    return made


def table(result: Mapping[str, Any]) -> str:
    """One table a rank, and one of the units that are off."""
    parts = [f"Before adaptation the network gets {100 * result['before']:.1f} % of the turned test digits right."]
    for rank, found in result["ranks"].items():
        heads = [f"rank {rank}", "best learning rate", "training loss there", "minus LoRA's best",
                 "decades within 5 % of its best loss", "decades within 5 % of LoRA's best loss",
                 "loss at a tenth of its best rate, over its best", "best test accuracy, %",
                 "decades within 5 % of its best accuracy"]  # fmt: skip
        rows = []
        for name, row in found["methods"].items():
            loss, accuracy = row["loss"], row["accuracy"]
            rows.append([
                name,
                rate(loss["best_lr"]) + ("" if loss["interior"] else " (end of the grid)"),
                spread(loss, 1, 3),
                "" if name == "LoRA" else signed(row["loss_to_lora"], ".3f"),
                decades(loss["width"], loss["wider"]),
                decades(loss["reach"], loss["reach_wider"]),
                f"{row['tenth_over_best']:.1f}",
                f"{spread(accuracy, 100, 1)} at {rate(accuracy['best_lr'])}",
                decades(accuracy["width"], accuracy["wider"]),
            ])  # fmt: skip
        parts.append(markdown(heads, rows, right=8))
    heads = ["OP-LoRA's hidden units", "learning rate", "off at the start", "off at the end", "never on", "woke up",
             "fell asleep"]  # fmt: skip
    rows = []
    for rank, found in result["ranks"].items():
        row = found["methods"]["OP-LoRA"]
        for i, (lr, shares) in enumerate(row.get("units", {}).items()):
            best = float(lr) == row["loss"]["best_lr"]
            if i % 3 == 0 or best:
                cells = [f"{100 * share:.0f} %" for share in shares.values()]
                rows.append([f"rank {rank}", rate(float(lr)) + (" (best)" if best else ""), *cells])
    return "\n\n".join([*parts, markdown(heads, rows, right=6)])


def spread(row: Mapping[str, Any], factor: float, digits: int) -> str:
    """A mean and its interval."""
    value, low, high = (factor * v for v in Interval(row["mean"], row["low"], row["high"]))
    return f"{value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
