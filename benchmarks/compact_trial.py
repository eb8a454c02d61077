"""Does the compact generator (benchmarks/compact.py) earn its place?  The rule, fixed before the numbers were seen:

it is kept only if in each of matrix factorisation with Adam and rotated digits at ranks 1 and 4, against both of its
controls, its best-LR result is at least as good (the 95 % interval of the difference, paired by seed, does not lie
above 0) and its width of the learning rates within 5 % of the best is larger by 0.3 decades; or its best-LR result is
better beyond the interval.  The result is the final loss: over the SVD's, or over the training digits.

Before that, how close its steps are to exact AdamW's: the gradients of a run with the exact generator with W2 = 0 at
the start are recorded and fed to it; reported is |P - P_exact| / |P_exact - P_0| over all layers.  Reads the results of
the other two benchmarks in benchmarks/results.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import RESULTS, minus, parse, rounded, signed, write_result
from benchmarks.compact import VARIANTS, CompactOptimizer
from benchmarks.rotated_digits import FULL as DIGITS
from benchmarks.rotated_digits import METHODS, attached, train
from eval_harness.lr_curve import decades, mean_interval
from eval_harness.lr_plot import Panel, plot
from eval_harness.numbers import rate
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer
from recipes.readme import markdown

MARGIN = 0.3
"""Decades by which its width must beat both controls'."""
NAMES = {
    "matrix_factorization": ("compact", ("plain, learned gain", "plain, LR × (1 + Σh₀)")),
    "rotated_digits": ("compact", ("LoRA, learned gain", "LoRA, LR × (1 + Σh₀)")),
}
FULL: dict[str, Any] = {"steps": DIGITS["steps"], "warmup": DIGITS["warmup"], "batch": DIGITS["batch"], "seeds": 5,
                        "ranks": (1, 4), "rates": (1e-3, 1e-2, 4.6e-2), "at": (1, 3, 10, 30, 100, 300)}  # fmt: skip
QUICK = FULL | {"steps": 4, "warmup": 1, "seeds": 2, "ranks": (1,), "rates": (1e-2,), "at": (1, 4)}
FED = {"compact": "compact", "learned gain": "gain", "LR × (1 + Σh₀)": "scaled", "exact, W2 drawn": ""}


def main(argv: Sequence[str] | None = None) -> int:
    """Feeds the recorded gradients, applies the rule, and writes the result and its plot."""
    options = parse("compact_trial", __doc__, argv)
    torch.set_num_threads(1)
    settings = QUICK if options.quick else FULL
    found = {}
    for rank in settings["ranks"]:
        for lr in settings["rates"]:
            runs = [distances(rank, lr, seed, settings) for seed in range(settings["seeds"])]
            found[f"rank {rank}, {rate(lr)}"] = {name: [run[name] for run in runs] for name in FED}
            print(f"rank {rank}, {rate(lr)}", flush=True)
    write_result("compact_trial", settings, {"distances": found, "verdict": verdict(*results())}, options.out)
    panels = [
        Panel(title, {
            name: {float(at): [run[i] for run in runs] for i, at in enumerate(settings["at"])}
            for name, runs in row.items()
        }, x="step", y="distance of P from exact AdamW's", bottom=1e-3, top=10)
        for title, row in found.items()
    ]  # fmt: skip
    plot(options.out / "compact_trial.png", panels)
    return 0


def distances(rank: int, lr: float, seed: int, settings: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Relative distances of P after the steps ``at``, by what was fed with the recorded gradients."""
    model, made = attached(METHODS["OP-LoRA, LoRA's start"], rank, lr, seed)
    groups = [{"name": g["name"], "params": g["params"], "heads": ("zero", "zero")} for g in made.param_groups]
    exact = GeneratedAdapterOptimizer(groups, lr=lr, seed=seed, start="keep")
    params = [p for group in groups for p in group["params"]]
    start = [p.detach().clone() for p in params]
    gradients: list[list[Tensor]] = []
    rates: list[float] = []
    path: list[Tensor] = []

    def record(*_: Any) -> None:
        gradients.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in params])
        rates.append(exact.param_groups[0]["lr"])

    exact.register_step_pre_hook(record)
    train(model, exact, seed, settings, lambda: path.append(flat(params)))
    found: dict[str, list[float | None]] = {}
    for name, variant in FED.items():
        fed = [p.clone().requires_grad_() for p in start]
        pairs = [
            {"name": g["name"], "params": fed[2 * i : 2 * i + 2], "heads": ("drawn", "zero")}
            for i, g in enumerate(groups)
        ]
        optimizer: torch.optim.Optimizer = (
            CompactOptimizer(pairs, lr=lr, seed=seed, variant=variant)
            if variant in VARIANTS
            else GeneratedAdapterOptimizer(pairs, lr=lr, seed=seed, start="keep")
        )
        found[name] = []
        for t, (grads, rate_t) in enumerate(zip(gradients, rates, strict=True)):
            for p, grad in zip(fed, grads, strict=True):
                p.grad = grad
            for group in optimizer.param_groups:
                group["lr"] = rate_t
            optimizer.step()
            if t + 1 in settings["at"]:
                moved = (path[t] - flat(start)).norm()
                found[name].append(rounded(((flat(fed) - path[t]).norm() / moved).item()))
    return found


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers in one vector."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def results() -> tuple[dict[str, Any], dict[str, Any]]:
    """What matrix_factorization and rotated_digits found."""
    for name in NAMES:
        if not (RESULTS / f"{name}.json").exists():
            raise MendableError(f"there is no result of {name}", str(RESULTS), f"run python -m benchmarks.{name}")
    return read_json(RESULTS / "matrix_factorization.json"), read_json(RESULTS / "rotated_digits.json")


def verdict(factorization: Mapping[str, Any], digits: Mapping[str, Any]) -> dict[str, Any]:
    """The rule applied: {"settings": …, "kept": bool}."""
    settings = {}
    found = factorization["optimizers"]["Adam"]["methods"]
    settings["matrix factorisation, Adam"] = against(
        *NAMES["matrix_factorization"], {name: (row["summary"], row["final"]) for name, row in found.items()}
    )
    for rank, row in digits["ranks"].items():
        settings[f"rotated digits, rank {rank}"] = against(
            *NAMES["rotated_digits"], {name: (m["loss"], m["cells"]["loss"]) for name, m in row["methods"].items()}
        )
    kept = all(any(all(row[key] for row in rows.values()) for key in ("wider", "better")) for rows in settings.values())
    return {"settings": settings, "kept": kept}


def against(
    name: str, controls: Sequence[str], methods: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> dict[str, Any]:
    """Control → whether ``name`` is better, or as good and wider.  ``methods``: → (`summarise`, values by rate)."""
    (mine, curve), found = methods[name], {}
    for control in controls:
        other, other_curve = methods[control]
        gap = minus(curve[f"{mine['best_lr']:g}"], other_curve[f"{other['best_lr']:g}"])
        better = gap["high"] is not None and gap["high"] < 0
        as_good = gap["low"] is not None and gap["low"] <= 0
        gain = mine["width"] - other["width"]
        found[control] = {
            "compact": mine, "control": other, "difference": gap, "width_gain": round(gain, 3),
            "better": better, "wider": as_good and gain >= MARGIN,
        }  # fmt: skip
    return found


def table(result: Mapping[str, Any]) -> str:
    """The verdict, and the distances at the end."""
    heads = ["compact against", "control", "its best loss", "control's", "difference", "width, decades", "control's",
             "better", "as good and wider"]  # fmt: skip
    rows = []
    for setting, controls in result["verdict"]["settings"].items():
        form = ".1e" if setting.startswith("matrix") else ".3f"
        for control, row in controls.items():
            mine, other = row["compact"], row["control"]
            less = 1.0 if form == ".1e" else 0.0
            rows.append([
                setting, control,
                *(f"{m['mean'] - less:{form}} at {rate(m['best_lr'])}" for m in (mine, other)),
                signed(row["difference"], form),
                *(decades(m["width"], m["wider"]) for m in (mine, other)),
                *("yes" if row[key] else "no" for key in ("better", "wider")),
            ])  # fmt: skip
    parts = [
        markdown(heads, rows, right=7),
        "(Matrix factorisation: loss over the SVD's, less 1.)  By the rule the compact form is "
        + ("**kept**." if result["verdict"]["kept"] else "**not kept**."),
    ]
    steps = result["settings"]["at"]
    heads = ["gradients of", "fed to", *(f"after {step}" for step in steps)]
    rows = [
        [setting, name, *(f"{mean_interval([run[i] for run in runs]).mean:.2g}" for i in range(len(steps)))]
        for setting, row in result["distances"].items()
        for name, runs in row.items()
    ]
    return "\n\n".join([*parts, markdown(heads, rows, right=len(steps))])


if __name__ == "__main__":
    sys.exit(main())
