"""The paper's proxy (arXiv 2412.10362): a 100 x 100 matrix factorised at rank 8, plainly and over-parameterised.

M is uniform in [0, 1], the loss ||M - BA||², 1000 steps, warm-up 50, linear decay, with SGD, SGD with momentum 0.9 and
Adam.  Over-parameterised, one MLP makes A and another makes B.  Every method starts from the same A and B (the paper's
start at hidden width 32; the others move b2), but for one control with a larger start.  The result is the final loss
over the loss of the truncated SVD, the best that rank 8 allows.  All learning rates of a seed run as one batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import SCRATCH, Cells, finite, minus, parse, rounded, signed, write_result
from benchmarks.compact import Adam, CompactLayer
from eval_harness.lr_curve import TOLERANCE, Interval, decades, difference, learning_rates, mean, summarise
from eval_harness.lr_plot import Panel, plot
from eval_harness.numbers import rate
from mlplora_vlm.generator import generate, keep, new_generator
from recipes.readme import markdown

SIZE, RANK = 100, 8
NUMEL = SIZE * RANK
"""Numbers in A, and in B."""
GRIDS = {"Adam": (1e-4, 10.0), "momentum": (1e-6, 1e-1), "SGD": (1e-5, 1e-1)}
OP = {
    "OP, hidden 32": (32, True),
    "OP, hidden 1": (1, True),
    "OP, hidden 4": (4, True),
    "OP, hidden 128": (128, True),
    "OP linear, hidden 32": (32, False),
}
"""Method → hidden width, ReLU."""
COMPACT = {"compact": "compact", "plain, learned gain": "gain", "plain, LR × (1 + Σh₀)": "scaled"}
PLAIN = {"plain": 1.0, "plain, start × 10": 10.0}
METHODS = ("plain", *OP, "plain, start × 10", *COMPACT)
FULL = {"steps": 1000, "warmup": 50, "seeds": 5, "every": 10, "per_decade": 3, "methods": METHODS}
QUICK = {"steps": 12, "warmup": 2, "seeds": 2, "every": 4, "per_decade": 1,
         "methods": ("plain", "OP, hidden 32", "OP linear, hidden 32", *COMPACT)}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is missing and writes the result and its plot."""
    options = parse("matrix_factorization", __doc__, argv)
    torch.set_num_threads(1)
    settings: dict[str, Any] = QUICK if options.quick else FULL
    cells = Cells(SCRATCH / ("quick" if options.quick else "") / "matrix_factorization.jsonl")
    measured: dict[str, Any] = {"optimizers": {}}
    for optimizer, (low, high) in GRIDS.items():
        rates = learning_rates(low, high, settings["per_decade"])
        curves: dict[str, list[Tensor]] = {}
        for method in settings["methods"]:
            if method in COMPACT and optimizer != "Adam":
                continue  # it is what Adam makes of W2; SGD has no such form
            for seed in range(settings["seeds"]):
                key = {"optimizer": optimizer, "method": method, "seed": seed, "rates": rates}
                key |= {name: settings[name] for name in ("steps", "warmup", "every")}
                if key not in cells:
                    cells[key] = run(optimizer, method, rates, seed, settings).tolist()
                    print(f"{optimizer}, {method}, seed {seed}", flush=True)
                curves.setdefault(method, []).append(torch.tensor(cells[key]))
        measured["optimizers"][optimizer] = summary(
            rates, {method: torch.stack(seeds) for method, seeds in curves.items()}
        )
    write_result("matrix_factorization", settings, measured, options.out)
    plot(options.out / "matrix_factorization.png", panels(measured["optimizers"], settings))
    return 0


def run(optimizer: str, method: str, rates: Sequence[float], seed: int, settings: Mapping[str, Any]) -> Tensor:
    """Loss over the SVD's, at the start, after every ``every`` steps and at the end.  Shape (rates, points)."""
    M, floor = problem(seed)
    lr = torch.tensor(rates)
    tensors, make, step = (compact if method in COMPACT else generated if method in OP else plain)(
        optimizer, method, seed, len(rates)
    )
    points = []
    for t in range(settings["steps"] + 1):
        A, B = make()
        loss = (M - B @ A).square().sum((-1, -2))
        if t % settings["every"] == 0 or t == settings["steps"]:
            points.append(loss.detach() / floor)
        if t < settings["steps"]:
            grads = torch.autograd.grad(loss.sum(), tensors)
            with torch.no_grad():
                step(grads, lr * schedule(t, settings))
    return torch.stack(points, 1)


def schedule(t: int, settings: Mapping[str, Any]) -> float:
    """Linear warm-up, and linear decay to 0 over the whole run."""
    return min(1.0, (t + 1) / settings["warmup"]) * (1 - t / settings["steps"])


def problem(seed: int) -> tuple[Tensor, Tensor]:
    """M (100, 100) and the smallest loss that rank 8 allows (Eckart-Young)."""
    M = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return M, torch.linalg.svdvals(M.double())[RANK:].square().sum().float()


Run = tuple[list[Tensor], Callable[[], tuple[Tensor, Tensor]], Callable[[Sequence[Tensor], Tensor], None]]
"""Leaf tensors with a leading batch dimension; what makes A and B of them; a step from gradients and rates (batch,)."""


def plain(optimizer: str, method: str, seed: int, n: int) -> Run:
    """A and B themselves."""
    P = [leaf(start(name, seed) * PLAIN[method], n) for name in "AB"]
    return P, lambda: shaped(*P), inner(optimizer, P)


def generated(optimizer: str, method: str, seed: int, n: int) -> Run:
    """An MLP for A and one for B, by autograd."""
    hidden, relu = OP[method]
    mlps = []
    for name in "AB":
        g = new_generator(name, [NUMEL], ["drawn"], hidden, 128, 0.1, seed)
        keep(g, start(name, seed), relu)
        mlps.append({part: leaf(tensor, n) for part, tensor in g.items()})
    tensors = [tensor for mlp in mlps for tensor in mlp.values()]

    def make() -> tuple[Tensor, Tensor]:
        made = []
        for g in mlps:
            pre = torch.bmm(g["W1"], g["z"][..., None]) + g["c1"][..., None]
            made.append(torch.bmm(g["W2"], pre.relu() if relu else pre)[..., 0] + g["b2"])
        return shaped(*made)

    return tensors, make, inner(optimizer, tensors)


def compact(optimizer: str, method: str, seed: int, n: int) -> Run:
    """The compact generator or one of its controls."""
    P = [leaf(start(name, seed), n) for name in "AB"]
    layers = []
    for name in "AB":
        g = new_generator(name, [], [], 32, 128, 0.1, seed)
        z, W1, c1 = (g[part].repeat(n, *[1] * g[part].dim()) for part in ("z", "W1", "c1"))
        layers.append(CompactLayer(z, W1, c1, NUMEL, COMPACT[method]))

    def step(grads: Sequence[Tensor], lr: Tensor) -> None:
        for param, layer, grad in zip(P, layers, grads, strict=True):
            param += layer.step(grad, lr[:, None])

    return P, lambda: shaped(*P), step


def start(name: str, seed: int) -> Tensor:
    """A's or B's start, shape (800,): what the paper's generator of hidden width 32 makes."""
    g = new_generator(name, [NUMEL], ["drawn"], 32, 128, 0.1, seed)
    return generate(g)


def leaf(tensor: Tensor, n: int) -> Tensor:
    """``n`` copies as one tensor that has a gradient."""
    return tensor.repeat(n, *[1] * tensor.dim()).requires_grad_()


def shaped(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, 800) each → (batch, 8, 100), (batch, 100, 8)."""
    return A.view(-1, RANK, SIZE), B.view(-1, SIZE, RANK)


def inner(optimizer: str, tensors: Sequence[Tensor]) -> Callable[[Sequence[Tensor], Tensor], None]:
    """torch's SGD, SGD with momentum 0.9 or Adam, with a learning rate for each member of the batch."""
    with torch.no_grad():
        moments = [Adam(tensor) for tensor in tensors] if optimizer == "Adam" else []
        velocity = [torch.zeros_like(tensor) for tensor in tensors] if optimizer == "momentum" else []

    def step(grads: Sequence[Tensor], lr: Tensor) -> None:
        for i, (tensor, grad) in enumerate(zip(tensors, grads, strict=True)):
            if moments:
                grad = moments[i].direction(grad)
            elif velocity:
                grad = velocity[i].mul_(0.9).add_(grad)
            tensor.sub_(grad * lr.view(-1, *[1] * (tensor.dim() - 1)))

    return step


def summary(rates: list[float], curves: Mapping[str, Tensor]) -> dict[str, Any]:
    """``curves``: method → (seeds, rates, points)."""
    final = {
        name: {r: [rounded(v, 9) for v in curve[:, i, -1].tolist()] for i, r in enumerate(rates)}
        for name, curve in curves.items()
    }
    best = {name: summarise(values) for name, values in final.items()}
    low = min(rates, key=lambda r: abs(r / best["plain"]["best_lr"] - 0.01))
    methods = {}
    for name, values in final.items():
        good = [r for r in rates if mean(values[r]) <= (1 + TOLERANCE) * best[name]["mean"]]
        at_best = values[best[name]["best_lr"]]
        shown = {"best": best[name]["best_lr"], "low": low}
        methods[name] = {
            "summary": best[name] | {"from": min(good), "to": max(good)},
            "to_plain": minus(at_best, final["plain"][best["plain"]["best_lr"]]),
            "to_op": minus(at_best, final["OP, hidden 32"][best["OP, hidden 32"]["best_lr"]]),
            "final": {f"{r:g}": v for r, v in values.items()},
            "curves": {
                which: [rounded(v, 9) for v in curves[name][:, rates.index(r)].mean(0).tolist()]
                for which, r in shown.items()
            },
        }
    found = {"rates": rates, "low": low, "same_rate": same_rate(final), "methods": methods}
    return found | {"claims": claims(found)}


def same_rate(final: Mapping[str, Mapping[float, Sequence[float | None]]]) -> dict[str, list[float]]:
    """The learning rates at which OP (hidden 32) ends below plain beyond the 95 % interval, and the other way round."""
    found: dict[str, list[float]] = {"op_better": [], "plain_better": [], "neither": []}
    for r, values in final["OP, hidden 32"].items():
        other = final["plain"][r]
        if None in values or None in other:  # diverging is worse than any value
            low = high = float((None in values) - (None in other))
        else:
            _, low, high = difference(finite(values), finite(other))
        found["op_better" if high < 0 else "plain_better" if low > 0 else "neither"].append(r)
    return found


def panels(optimizers: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Panel]:
    """Final errors against the learning rate; below, learning curves."""
    final, curves = [], []
    for optimizer, found in optimizers.items():
        above = {
            name: {float(r): [None if v is None else max(v - 1, 1e-7) for v in vs] for r, vs in row["final"].items()}
            for name, row in found["methods"].items()
        }
        final.append(Panel(f"{optimizer}: final error", above, y="loss / SVD's loss − 1", top=30, bottom=1e-7))
        for which, title in (("best", "at its own best rate"), ("low", f"at {rate(found['low'])}")):
            steps = {
                name: {
                    float(min(i * settings["every"], settings["steps"])): [None if v is None else max(v - 1, 1e-7)]
                    for i, v in enumerate(row["curves"][which])
                }
                for name, row in found["methods"].items()
            }
            curves.append(
                Panel(f"{optimizer}: {title}", steps, x="step", y="loss / SVD's loss − 1", log_x=False, top=10.0)
            )
    return [*final, *curves[::2], *curves[1::2]]


def table(result: Mapping[str, Any]) -> str:
    """One table an optimizer, and one of the paper's claims."""
    parts = []
    for optimizer, found in result["optimizers"].items():
        heads = [optimizer, "best learning rate", "error over SVD's − 1 there", "decades within 5 % of its best",
                 "which"]  # fmt: skip
        rows = []
        for name, row in found["methods"].items():
            s = row["summary"]
            best_lr = rate(s["best_lr"]) + ("" if s["interior"] else " (end of the grid)")
            rows.append([name, best_lr, excess(Interval(s["mean"], s["low"], s["high"])),
                         decades(s["width"], s["wider"]), f"{rate(s['from'])} … {rate(s['to'])}"])  # fmt: skip
        parts.append(markdown(heads, rows, right=4))
    optimizers = result["optimizers"].values()
    first = next(iter(optimizers))
    rows = [[claim, *(found["claims"][claim] for found in optimizers)] for claim in first["claims"]]
    parts.append(markdown(["claim", *result["optimizers"]], rows))
    return "\n\n".join(parts)


def claims(found: Mapping[str, Any]) -> dict[str, str]:
    """What the numbers say of the paper's claims: claim → answer.  OP is hidden 32."""
    methods, same = found["methods"], found["same_rate"]
    op, plain = (methods[name]["summary"] for name in ("OP, hidden 32", "plain"))
    below = [r for r in found["rates"] if r <= op["best_lr"]]
    above = [r for r in found["rates"] if r > op["best_lr"]]

    def yes(whether: bool, numbers: str) -> str:
        return f"{'yes' if whether else 'no'}: {numbers}"

    def count(which: str, rates: Sequence[float]) -> str:
        return f"{len(set(same[which]) & set(rates))} of {len(rates)}"

    gap, linear = methods["OP, hidden 32"]["to_plain"], methods["OP linear, hidden 32"]["to_op"]
    return {
        "at its best rate OP is within 0.1 % of the SVD's error": yes(
            op["mean"] <= 1.001, f"{op['mean'] - 1:.1e} above"
        ),
        "at its best rate plain stays more than 0.1 % above it": yes(
            plain["mean"] > 1.001, f"{max(0.0, plain['mean'] - 1):.1e} above"
        ),
        "best against best, OP is lower than plain": yes(gap["high"] < 0, f"the difference is {signed(gap, '.1e')}"),
        "up to OP's best rate, OP is lower than plain at the same rate": f"at {count('op_better', below)} rates",
        "above it, plain is lower than OP at the same rate": f"at {count('plain_better', above)} rates",
        "OP's range of good rates is wider": yes(
            op["width"] > plain["width"], f"{op['width']:.2f} decades, plain {plain['width']:.2f}"
        ),
        "the ReLU helps (OP lower than linear at their best rates)": yes(
            linear["low"] > 0, f"linear − OP is {signed(linear, '.1e')}"
        ),
    }


def excess(value: Interval) -> str:
    """A ratio and its interval, less 1; single precision sees no less than about 1e-6."""
    if value.high < 1 + 1e-6:
        return "below 1e-6"
    return f"{value.mean - 1:.1e} ({value.low - 1:.1e} … {value.high - 1:.1e})"


if __name__ == "__main__":
    sys.exit(main())
