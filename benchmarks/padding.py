"""How many of a training's tokens are padding: in random order, grouped by length, and what packing could save.

Nothing is trained: two sets of row lengths (`benchmarks.row_lengths`) go through the orders that a training has.  The
collator pads a batch to its longest row, and a step lasts as long as its slowest GPU.  Grouped is the sampler that
`data.group_by_length` uses.  Packing, which the project does not do, puts rows side by side into lines of
`data.max_length` tokens by best fit, the longest first; each row sees itself alone.  Its lines are either filled up
with padding, or end where their rows end, as attention of variable length allows.  A step has as many lines as take
the tokens of its batch.  The cost is that of the language model's forward pass over that of the rows alone: tokens
(linear layers), and tokens with causal attention.  It is computed, not timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.common import parse, rounded, write_result
from benchmarks.row_lengths import LLAVA, QWEN, conversations, short_answers
from eval_harness.lr_plot import Panel, plot
from recipes.readme import markdown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Lengths = Sequence[int] | NDArray[np.int64]

FULL: dict[str, Any] = {
    "share": 1.0, "max_length": 2048, "batches": (4, 8, 16, 32), "gpus": (1, 8), "stretch": 1024, "seed": 0,
}  # fmt: skip
QUICK: dict[str, Any] = FULL | {"share": 0.02, "batches": (4, 16)}
SETS: dict[str, tuple[str, str]] = {
    "short answers": (LLAVA, "Short answers (VQAv2), LLaVA-1.5"),
    "conversations": (QWEN, "Conversations (as llava_v1_5_mix665k), Qwen2.5-VL"),
}
"""By name: the model whose sizes attention's cost is of, and a title."""
ORDERS = ("random", "grouped", "packed, filled up", "packed")
COSTS = {"cost, tokens": "tokens", "cost, with attention": "with_attention"}


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the lengths, measures all orders, writes the result and its plot."""
    options = parse("padding", __doc__, argv)
    settings = QUICK if options.quick else FULL
    found = {name: measure(lengths, attention(SETS[name][0]), settings) for name, lengths in drawn(settings).items()}
    result = write_result("padding", settings, {"sets": found}, options.out)
    plot(options.out / "padding.png", panels(result), columns=2)
    return 0


def drawn(settings: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    """Both sets' lengths in random order."""
    chance, share = np.random.default_rng(settings["seed"]), settings["share"]
    return {
        "short answers": short_answers(chance)[: round(share * 443_757)],
        "conversations": conversations(chance, share),
    }


def attention(model_id: str) -> float:
    """What attention costs for a row of one token over what the linear layers cost: causal, so half of all pairs.

    A token's linear layers take 2 operations a weight, and its attention 4·width for each token that it sees.
    """
    from mlplora_vlm.families.published import published_config

    config = published_config(model_id)
    assert config is not None
    text = config.get_text_config()
    heads = text.num_attention_heads
    width = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads)
    keys = width * text.num_key_value_heads // heads
    linear = text.hidden_size * (2 * width + 2 * keys + 3 * text.intermediate_size)
    weights = text.num_hidden_layers * linear + text.hidden_size * text.vocab_size
    return float(text.num_hidden_layers * 4 * width / 2 / (2 * weights))


def measure(lengths: NDArray[np.int64], attention: float, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of one set: what its lengths are, how well lines can be filled, and all orders by batch and GPUs."""
    from mlplora_vlm.sampler import LengthGroupedSampler

    capacity, chance = settings["max_length"], np.random.default_rng(settings["seed"])
    kept = lengths[lengths <= capacity]
    lines = packed(np.sort(kept)[::-1], capacity)
    near = [
        line
        for start in range(0, len(kept), settings["stretch"])
        for line in packed(np.sort(kept[start : start + settings["stretch"]])[::-1], capacity)
    ]
    mixed = [lines[number] for number in chance.permutation(len(lines))]
    cells = []
    for gpus in settings["gpus"]:
        for batch in settings["batches"]:
            grouped = list(LengthGroupedSampler(kept.tolist(), batch * gpus, settings["seed"]))
            a_gpu = max(1, round(batch * float(kept.mean()) / capacity))
            ways: dict[str, tuple[float, Callable[[float], float]]] = {
                "random": padded(kept, batch, gpus),
                "grouped": padded(kept[grouped], batch, gpus),
                "packed, filled up": in_lines(mixed, a_gpu, gpus, capacity),
                "packed": in_lines(mixed, a_gpu, gpus, None),
            }
            cells.append({
                "gpus": gpus, "batch": batch, "lines": a_gpu,
                **{
                    name: {
                        "padding": rounded(share, 4),
                        "tokens": rounded(cost(0.0), 5),
                        "with_attention": rounded(cost(attention), 5),
                    }
                    for name, (share, cost) in ways.items()
                },
            })  # fmt: skip
    counts, edges = np.histogram(kept, bins=64, range=(0, capacity))
    return {
        "rows": len(kept),
        "too_long": len(lengths) - len(kept),
        "tokens": {
            "mean": rounded(float(kept.mean()), 5),
            **{f"p{part}": int(np.percentile(kept, part)) for part in (1, 25, 50, 75, 95, 99)},
            "most": int(kept.max()),
        },
        "attention_at_max_length": rounded(attention * capacity, 4),
        "unfilled": {"whole": unfilled(lines, capacity), "near": unfilled(near, capacity)},
        "rows_a_line": rounded(len(kept) / len(lines), 4),
        "cells": cells,
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def padded(lengths: NDArray[np.int64], batch: int, gpus: int) -> tuple[float, Callable[[float], float]]:
    """(share of padding, cost by attention's weight) of batches in this order; a last step that is not whole is left.

    The cost is that of the slowest GPU of each step, times the GPUs, over that of the rows alone.
    """
    steps = lengths[: len(lengths) // (batch * gpus) * batch * gpus].reshape(-1, gpus, batch)
    longest = steps.max(axis=2)

    def cost(attention: float) -> float:
        taken = batch * _work(longest.astype(float), attention)
        return float(gpus * taken.max(axis=1).sum() / _work(steps.astype(float), attention).sum())

    return float(1 - steps.sum() / (batch * longest.sum())), cost


def in_lines(
    lines: Sequence[Sequence[int]], a_gpu: int, gpus: int, capacity: int | None
) -> tuple[float, Callable[[float], float]]:
    """As `padded`, of steps of ``a_gpu`` lines on each GPU; with a ``capacity``, lines are filled up to it."""
    whole = len(lines) // (a_gpu * gpus) * a_gpu * gpus
    used = np.array([sum(line) for line in lines[:whole]], float)
    squares = np.array([sum(length**2 for length in line) for line in lines[:whole]], float)
    rest = capacity - used if capacity else np.zeros_like(used)

    def cost(attention: float) -> float:
        taken = used + attention * squares + _work(rest, attention)
        slowest = taken.reshape(-1, gpus, a_gpu).sum(axis=2).max(axis=1)
        return float(gpus * slowest.sum() / (used + attention * squares).sum())

    return float(rest.sum() / (used + rest).sum()), cost


def packed(lengths: Lengths, capacity: int) -> list[list[int]]:
    """Lines of rows by best fit: each row into the fullest line that still has room for it, or a new one.

    Raises ValueError for a row that is longer than a line.
    """
    lines: list[list[int]] = []
    open_lines: list[list[int]] = [[] for _ in range(capacity + 1)]  # by room that is left
    rooms = 0  # bit n: some line has room for n tokens
    for length in map(int, lengths):
        if length > capacity:
            raise ValueError(f"a row of {length} tokens in lines of {capacity}")
        if fitting := rooms >> length:
            room = length + (fitting & -fitting).bit_length() - 1
            number = open_lines[room].pop()
            rooms &= ~(not open_lines[room] and 1 << room)
            lines[number].append(length)
        else:
            room, number = capacity, len(lines)
            lines.append([length])
        open_lines[room - length].append(number)
        rooms |= 1 << (room - length)
    return lines


def unfilled(lines: Sequence[Sequence[int]], capacity: int) -> float | None:
    """The share of the lines' tokens that no row takes."""
    return rounded(1 - sum(map(sum, lines)) / (capacity * len(lines)), 4)


def _work(lengths: NDArray[np.float64], attention: float) -> NDArray[np.float64]:
    """In units of a token's linear layers."""
    return lengths + attention * lengths**2


def table(result: Mapping[str, Any]) -> str:
    """Of each set its lengths, and by GPUs and batch the padding and the costs."""
    parts = []
    for name, found in result["sets"].items():
        tokens, unfilled = found["tokens"], found["unfilled"]
        parts.append(
            f"**{SETS[name][1]}.** {found['rows']:,} rows of {tokens['mean']:,.0f} tokens on average (1 % below "
            f"{tokens['p1']:,}, median {tokens['p50']:,}, 5 % above {tokens['p95']:,}, 1 % above {tokens['p99']:,}, "
            f"at most {tokens['most']:,}; {found['too_long']:,} longer than {result['settings']['max_length']:,} left "
            f"out). Packed: {found['rows_a_line']:.1f} rows a line, {unfilled['whole']:.1%} of the lines unfilled "
            f"(where only {result['settings']['stretch']:,} rows at a time may be put together, "
            f"{unfilled['near']:.1%}). Attention is {found['attention_at_max_length']:.1%} of the cost of linear "
            f"layers at {result['settings']['max_length']:,} tokens."
        )
        heads = ["GPUs", "rows a batch", "padding: random", "grouped", "packed, filled up"]
        heads += [f"{cost}: random" if way == "random" else way for cost in COSTS for way in ORDERS]
        rows = [
            [
                str(cell["gpus"]), str(cell["batch"]), *(f"{cell[way]['padding']:.1%}" for way in ORDERS[:3]),
                *(f"{cell[way][cost]:.3f}" for cost in COSTS.values() for way in ORDERS),
            ]
            for cell in found["cells"]
        ]  # fmt: skip
        parts.append(markdown(heads, rows, right=len(heads) - 1))
    return "\n\n".join(parts)


def panels(result: Mapping[str, Any]) -> list[Panel]:
    """Lengths, and what the most GPUs cost with attention, of each set."""
    gpus, drawn = max(result["settings"]["gpus"]), []
    for name, found in result["sets"].items():
        edges, counts = found["histogram"]["edges"], found["histogram"]["counts"]
        share = {(a + b) / 2: [100 * n / found["rows"]] for a, b, n in zip(edges, edges[1:], counts, strict=False)}
        costs = {
            way: {cell["batch"]: [cell[way]["with_attention"]] for cell in found["cells"] if cell["gpus"] == gpus}
            for way in ORDERS
        }
        plain: dict[str, Any] = {"log_x": False, "log_y": False}
        drawn += [
            Panel(SETS[name][1], {"rows": share}, x="tokens", y="% of the rows", bottom=0, **plain),
            Panel(f"{name}, {gpus} GPUs", costs, x="rows a batch", y="cost over the rows alone", **plain),
        ]
    return drawn


if __name__ == "__main__":
    sys.exit(main())
