"""What a training step costs in time and memory, as ratios to plain LoRA (torch's fused AdamW) in the same run.

Methods: LoRA; the generator by autograd (the paper's way: the MLPs in the graph make A and B for each forward pass);
the generator in the optimizer (exact), also with 8-bit moments, with W2 in bfloat16, and without ReLU (linear); and the
compact form.  On the demo's model with a batch of Easy-VQA, and on one decoder layer of LLaVA-1.5-7B's size with random
weights.  A block is a model, a rank and a hidden width: each of its methods lives in a process of its own, on one
thread; they step in turn, one at a time, so that whatever else the machine does falls on all alike.  Bytes are those of
live tensors in one step (`benchmarks.live_bytes`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import SCRATCH, Cells, clean_processes, parse, quartiles, rounded, write_result
from benchmarks.live_bytes import allocated, living, watched
from eval_harness.lr_plot import Panel, plot
from mlplora_vlm.attach import GeneratorSection
from mlplora_vlm.optimizer_bytes import generator_bytes, layer_sizes, on_at_start, plain_moment_bytes
from recipes.readme import markdown

LORA, AUTOGRAD, COMPACT = "LoRA", "autograd", "compact"
OPTIONS: dict[str, dict[str, Any]] = {
    "exact": {},
    "exact, 8-bit states": {"states": "8bit"},
    "exact, bf16 W2": {"weights": "bfloat16"},
    "linear": {"form": "linear"},
}
"""Method → `GeneratorSection`'s choices."""
EVERYWHERE = (LORA, AUTOGRAD, "exact", "exact, 8-bit states")
"""What runs in every block, and is plotted."""
METHODS = (LORA, AUTOGRAD, *OPTIONS, COMPACT)
MAIN = (16, 32)
"""The rank and hidden width at which all methods run."""
CROSS = ((16, 4), (16, 32), (16, 128), (4, 32), (64, 32), (64, 4))
"""Ranks and hidden widths: each width at rank 16, each rank at width 32, and what a low-memory run would take."""
FULL: dict[str, Any] = {
    "models": ("demo", "layer"), "blocks": CROSS, "repeats": 5, "limit_gib": 2.6, "demo_rows": 2, "layer_tokens": 32,
    "layer": {"hidden_size": 4096, "intermediate_size": 11008, "heads": 32},
}  # fmt: skip
QUICK: dict[str, Any] = FULL | {
    "models": ("layer",), "blocks": (MAIN,), "repeats": 3, "layer_tokens": 8,
    "layer": {"hidden_size": 64, "intermediate_size": 160, "heads": 4},
}  # fmt: skip
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
GIB = 2**30


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the blocks that are missing, writes the result and its plot, and prints the formula beside the bytes."""
    options = parse("step_cost", __doc__, argv)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler tells of the GPU that it does not find
    torch.set_num_threads(1)
    settings = QUICK if options.quick else FULL
    cells = Cells(SCRATCH / ("quick" if options.quick else "") / "step_cost.jsonl")
    blocks: list[dict[str, Any]] = []
    for name in settings["models"]:
        subject = None
        for rank, hidden in settings["blocks"]:
            key = {"model": name, "rank": rank, "hidden": hidden, "settings": _plain(settings)}
            if key not in cells:
                subject = subject or SUBJECTS[name](settings)
                cells[key] = block(name, subject, rank, hidden, settings)
            blocks.append({"model": name, "rank": rank, "hidden": hidden, **cells[key]})
            _tell(blocks[-1])
    result = write_result("step_cost", settings, {"blocks": blocks}, options.out)
    plot(options.out / "step_cost.png", panels(result), columns=4)
    return 0


@dataclass
class Subject:
    """What is trained: a frozen model without adapter, what to adapt in it, and one batch."""

    model: nn.Module
    targets: Sequence[str]
    batch: dict[str, Tensor]


class DecoderLayer(nn.Module):
    """One of Llama's layers with its rotary embedding; the loss is a fixed random projection of its output."""

    def __init__(self, sizes: Mapping[str, int], tokens: int) -> None:
        from transformers import LlamaConfig
        from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

        super().__init__()
        config = LlamaConfig(
            hidden_size=sizes["hidden_size"],
            intermediate_size=sizes["intermediate_size"],
            num_attention_heads=sizes["heads"],
            num_hidden_layers=1,
            vocab_size=8,
        )
        config._attn_implementation = "sdpa"
        self.layer, self.rotary = LlamaDecoderLayer(config, 0), LlamaRotaryEmbedding(config)
        self.register_buffer("direction", torch.randn(1, tokens, sizes["hidden_size"]))

    def forward(self, states: Tensor) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        places = torch.arange(states.shape[1])[None]
        # a layer in the middle of a model hands a gradient on to the one before it
        out = self.layer(
            states.detach().requires_grad_(), position_embeddings=self.rotary(states, places), position_ids=places
        )
        return BaseModelOutput(last_hidden_state=((out[0] if isinstance(out, tuple) else out) * self.direction).mean())


def demo(settings: Mapping[str, Any]) -> Subject:
    """The demo's LLaVA and the first rows of Easy-VQA."""
    from itertools import islice

    from data_prep.collate import TrainCollator
    from data_prep.demo.models import model_path
    from data_prep.rows import strict
    from data_prep.sources import easy_vqa
    from mlplora_vlm.attach import AdapterSection, targets
    from mlplora_vlm.families.card import card_for
    from mlplora_vlm.load import ModelSection, load_model, load_processor

    section = ModelSection(id="demo/llava-smollm2-135m", dtype="float32")
    path = model_path(section.id)
    model = load_model(path, section, "cpu")
    rows = list(islice(strict(easy_vqa.rows("train")), settings["demo_rows"]))
    found = targets(model, AdapterSection(), card_for(model.config.model_type))
    names = [name for part in found.values() for name in part]
    return Subject(model, names, TrainCollator(load_processor(path, section))(rows))


def layer(settings: Mapping[str, Any]) -> Subject:
    """One decoder layer with random weights, and random hidden states: one row."""
    torch.manual_seed(0)
    tokens, sizes = settings["layer_tokens"], settings["layer"]
    model = DecoderLayer(sizes, tokens)
    return Subject(model, TARGETS, {"states": torch.randn(1, tokens, sizes["hidden_size"])})


SUBJECTS: dict[str, Callable[[Mapping[str, Any]], Subject]] = {"demo": demo, "layer": layer}


class Trained:
    """One method on one subject, ready to step."""

    def __init__(self, subject: Subject, method: str, rank: int, hidden: int) -> None:
        from peft import LoraConfig, get_peft_model

        from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups

        torch.manual_seed(0)
        for parameter in subject.model.parameters():
            parameter.requires_grad_(False)
        self.model = get_peft_model(subject.model, LoraConfig(r=rank, target_modules=list(subject.targets)))
        self.model.train()
        self.batch = subject.batch
        self.before = set(living())
        self.mlps: list[tuple[list[str], PaperMlp]] = []
        groups = adapter_groups(self.model)
        self.trained: list[Tensor] = [p for group in groups for p in group["params"]]
        if method == LORA:
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(self.trained, lr=1e-5, fused=True)
        elif method == AUTOGRAD:
            self.mlps = _mlps(self.model, groups, hidden)
            self.trained = [p for _, mlp in self.mlps for p in mlp.parameters()]
            self.optimizer = torch.optim.AdamW(self.trained, lr=1e-5, fused=True)
        elif method == COMPACT:
            from benchmarks.compact import CompactOptimizer

            self.optimizer = CompactOptimizer(groups, lr=1e-5, hidden=hidden)
        else:
            self.optimizer = GeneratedAdapterOptimizer(groups, lr=1e-5, hidden=hidden, **OPTIONS[method])

    def step(self) -> tuple[float, float]:
        """Seconds of the forward and backward pass, and of the optimizer."""
        begin = time.perf_counter()
        made = {name: p for names, mlp in self.mlps for name, p in zip(names, mlp(), strict=True)}
        out = torch.func.functional_call(self.model, made, kwargs=self.batch) if made else self.model(**self.batch)
        (out["loss"] if "loss" in out else out["last_hidden_state"]).backward()
        del out, made
        middle = time.perf_counter()
        self.optimizer.step()
        end = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        return middle - begin, end - middle

    def bytes(self) -> dict[str, Any]:
        """Live bytes by kind at the step's peak, those of the states, and what the tracker did not see."""
        self.step()  # the first step makes the states
        states = [tensor for key, (_, tensor) in living().items() if key not in self.before]
        known = {
            "parameters": [*self.model.parameters(), *self.model.buffers()],
            "states": states,
            "inputs": list(self.batch.values()),
        }
        with watched(known, self.trained) as live:
            begin = sum(live.now.values())
            self.step()
        peak = {kind: live.peak.get(kind, 0) for kind in KINDS}
        return {
            "peak": peak,
            "total": sum(peak.values()),
            "states": sum(tensor.untyped_storage().nbytes() for tensor in states),
            "allocator": begin + allocated(self.step),
        }


KINDS = ("parameters", "states", "gradients", "activations", "passing", "inputs")


class PaperMlp(nn.Module):
    """The paper's generator of one layer, in the graph: `AutogradGenerator` without scale and anchor."""

    def __init__(self, start: Mapping[str, Tensor], shapes: Sequence[torch.Size]) -> None:
        super().__init__()
        self.shapes = shapes
        self.z, self.W1, self.c1, self.W2, self.b2 = (nn.Parameter(start[n]) for n in ("z", "W1", "c1", "W2", "b2"))

    def forward(self) -> list[Tensor]:
        P = self.W2 @ torch.relu(self.W1 @ self.z + self.c1) + self.b2
        parts = P.split([shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]


def _mlps(model: nn.Module, groups: Sequence[Mapping[str, Any]], hidden: int) -> list[tuple[list[str], PaperMlp]]:
    """For each adapted layer the names of its tensors, and the MLP that makes them."""
    from mlplora_vlm.generator import new_generator

    names, found = {id(p): name for name, p in model.named_parameters()}, []
    for group in groups:
        shapes = [p.shape for p in group["params"]]
        start = new_generator(group["name"], [s.numel() for s in shapes], group["heads"], hidden, 128, 0.1, 0)
        found.append(([names[id(p)] for p in group["params"]], PaperMlp(start, shapes)))
    return found


def block(name: str, subject: Subject, rank: int, hidden: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The methods that fit under the limit, measured: bytes first, then the seconds of steps taken in turn.

    Each method's process makes the subject ``name`` itself: a fork of this one could run no backward pass after it did.
    """
    expected = {method: predicted(subject, method, rank, hidden) for method in METHODS}
    wanted = METHODS if (rank, hidden) == MAIN else EVERYWHERE
    limit = settings["limit_gib"] * GIB
    context = clean_processes()
    found, workers = {}, {}
    try:
        for method in wanted:
            if expected[method] > limit:
                continue
            ours, theirs = context.Pipe()
            worker = context.Process(
                target=_serve, args=(theirs, name, dict(settings), method, rank, hidden), daemon=True
            )
            worker.start()
            theirs.close()
            workers[method] = (worker, ours)
            found[method] = _ask(ours, "bytes")
        seconds: dict[str, list[tuple[float, float]]] = {method: [] for method in workers}
        for _ in range(settings["repeats"]):
            for method, (_, pipe) in workers.items():
                seconds[method].append(_ask(pipe, "step"))
    finally:
        for worker, _ in workers.values():
            worker.terminate()
            worker.join()
    for method, row in found.items():
        whole = [sum(pair) for pair in seconds[method]]
        row |= {
            "predicted": expected[method],
            "error": rounded(expected[method] / row["states"] - 1),
            "seconds": quartiles(whole),
            "optimizer_seconds": quartiles([optimizer for _, optimizer in seconds[method]]),
            "ratio": quartiles([a / sum(b) for a, b in zip(whole, seconds[LORA], strict=True)]),
        }
    return {"methods": found, "left_out": {method: expected[method] for method in wanted if method not in found}}


def _serve(pipe: Any, name: str, settings: dict[str, Any], method: str, rank: int, hidden: int) -> None:
    """A method's process: answers "bytes" and "step" until it is ended."""
    torch.set_num_threads(1)
    trained = Trained(SUBJECTS[name](settings), method, rank, hidden)
    while True:
        pipe.send(trained.bytes() if pipe.recv() == "bytes" else trained.step())


def _ask(pipe: Any, what: str) -> Any:
    pipe.send(what)
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError("a method's process ended; its error stands above, or it ran out of memory") from None


def predicted(subject: Subject, method: str, rank: int, hidden: int) -> int:
    """The formula's bytes of what the method holds beside model and gradients, from the layers' shapes alone."""
    suffixes = tuple(subject.targets)
    linears = {n: m for n, m in subject.model.named_modules() if isinstance(m, nn.Linear) and n.endswith(suffixes)}
    groups = [
        {"name": f"base_model.model.{n}",
         "params": [torch.empty(rank, m.in_features, device="meta"), torch.empty(m.out_features, rank, device="meta")],
         "heads": ("drawn", "zero")}
        for n, m in linears.items()
    ]  # fmt: skip
    sizes = layer_sizes(groups)
    n = sum(size.numbers for size in sizes)
    if method == LORA:
        return plain_moment_bytes([n])
    section = GeneratorSection(hidden=hidden, **OPTIONS.get(method, {}))
    held = generator_bytes(sizes, section, on=1.0 if method == AUTOGRAD else on_at_start(groups, section))
    if method == COMPACT:  # U and two moments, and the trunks with theirs
        trunks = generator_bytes([size.__class__((0,)) for size in sizes], GeneratorSection(hidden=hidden))
        return 12 * n + trunks["generator weights"] + trunks["generator moments"]
    whole = held["generator weights"] + held["generator moments"]
    return whole - n if method == AUTOGRAD else whole  # autograd needs no padding mask


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What changes a block's numbers, as JSON keeps it."""
    changing = ("repeats", "limit_gib", "demo_rows", "layer_tokens", "layer")
    return {key: settings[key] for key in changing}


def _tell(found: Mapping[str, Any]) -> None:
    for method, row in found["methods"].items():
        print(
            f"{found['model']}, rank {found['rank']}, hidden {found['hidden']}, {method}:"
            f" step x {row['ratio']['median']:.2f}, peak {row['total'] / 2**20:.0f} MiB,"
            f" states {row['states'] / 2**20:.1f} MiB, predicted {row['predicted'] / 2**20:.1f} ({row['error']:+.2%})",
            flush=True,
        )


def table(result: Mapping[str, Any]) -> str:
    """The costs of every block, and the peak by kind where all methods ran."""
    settings, parts = result["settings"], []
    for name in settings["models"]:
        rows, kinds = [], []
        for found in (b for b in result["blocks"] if b["model"] == name):
            plain = found["methods"][LORA]
            where = [str(found["rank"]), str(found["hidden"])]
            for method, row in found["methods"].items():
                r = row["ratio"]
                rows.append([
                    *where, method, f"{row['seconds']['median']:.2f}",
                    f"{r['median']:.2f} ({r['q1']:.2f}–{r['q3']:.2f})", f"{row['optimizer_seconds']['median']:.3f}",
                    f"{row['total'] / plain['total']:.2f}", _mib(row["states"]),
                    f"{row['states'] / plain['states']:.1f}", f"{100 * row['error']:+.3f} %",
                ])  # fmt: skip
                if (found["rank"], found["hidden"]) == MAIN:
                    unseen = row["allocator"] / row["total"] - 1
                    kinds.append([method, *(_mib(row["peak"][kind]) for kind in KINDS), f"{100 * unseen:+.1f} %"])
            rows += [
                [*where, method, *["not run"] * 4, f"{_mib(size)} predicted", "–", "–"]
                for method, size in found["left_out"].items()
            ]
        heads = ["rank", "hidden", "method", "step, s", "x LoRA (quartiles)", "optimizer, s", "peak x LoRA",
                 "states, MiB", "x LoRA", "formula"]  # fmt: skip
        parts.append(f"{_title(name, settings)}\n\n{markdown(heads, rows, right=9)}")
        if kinds:
            heads = ["peak, MiB", *KINDS, "allocator"]
            parts.append(f"Rank {MAIN[0]}, hidden {MAIN[1]}, by kind:\n\n{markdown(heads, kinds, right=7)}")
    return "\n\n".join(parts)


def _title(name: str, settings: Mapping[str, Any]) -> str:
    if name == "demo":
        return f"The demo's model, {settings['demo_rows']} rows of Easy-VQA, fp32, one thread."
    sizes = settings["layer"]
    return (
        f"One decoder layer ({sizes['hidden_size']} wide, {sizes['intermediate_size']} inside), "
        f"{settings['layer_tokens']} tokens, fp32, one thread."
    )


def _mib(size: float) -> str:
    return f"{size / 2**20:,.1f}"


def panels(result: Mapping[str, Any]) -> list[Panel]:
    """Step time and peak bytes relative to LoRA, over hidden width and over rank."""
    found = []
    for name in result["settings"]["models"]:
        for what, label in (("ratio", "step time / LoRA's"), ("peak", "peak bytes / LoRA's")):
            for x, fixed, value in (("hidden", "rank", MAIN[0]), ("rank", "hidden", MAIN[1])):
                curves: dict[str, dict[float, list[float | None]]] = {}
                for b in (b for b in result["blocks"] if b["model"] == name and b[fixed] == value):
                    for method, row in ((m, r) for m, r in b["methods"].items() if m in EVERYWHERE):
                        curves.setdefault(method, {})[b[x]] = [
                            row["ratio"]["median"] if what == "ratio" else row["total"] / b["methods"][LORA]["total"]
                        ]
                title = f"{name}, {fixed} {value}"
                found.append(
                    Panel(title, curves, x="hidden width" if x == "hidden" else x, y=label, log_x=False, log_y=False)
                )
    return found


if __name__ == "__main__":
    sys.exit(main())
