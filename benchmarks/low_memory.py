"""Memory and speed of low-memory training, as ratios to plain LoRA in bfloat16; TRL's SFTTrainer as outside reference.

Every method trains the demo's model in the demo's own steps (two micro-batches of 8 rows of Easy-VQA) through
transformers' Trainer, without DeepSpeed, in a process of its own on one thread; they step in turn, so that whatever
else the machine does falls on all alike.  Bytes are those of live tensors at the peak of one step
(`benchmarks.live_bytes`).  A last step is profiled: how much of it the optimizer takes, and turning 4 bits into
numbers.  TRL trains plain PEFT LoRA on the same model, adapter and batch, with its own loss and metrics.  The compact
generator was dropped (compact_trial) and is not measured.  For LLaVA-1.5-7B the ratio of step times is computed, not
measured: see `benchmarks.real_sizes`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.bars import Bars, plot_bars
from benchmarks.common import clean_processes, parse, quartiles, rounded, write_result
from benchmarks.real_sizes import GPU, computed, real_sizes
from recipes.readme import markdown

PLAIN = ["adapter.generated=false"]
NF4 = ["model.quantization=nf4", "model.dtype=bfloat16"]
REFERENCE, TRL, TRL_NF4 = "bf16 LoRA", "TRL SFTTrainer, bf16 LoRA", "TRL SFTTrainer, NF4 LoRA"
METHODS: dict[str, list[str]] = {
    REFERENCE: [*PLAIN, "model.dtype=bfloat16"],
    TRL: [*PLAIN, "model.dtype=bfloat16"],
    "fp32 LoRA": [*PLAIN, "model.dtype=float32"],
    "NF4 LoRA": [*PLAIN, *NF4],
    TRL_NF4: [*PLAIN, *NF4],
    "NF4 OP-LoRA": NF4,
    "NF4 OP-LoRA, 8-bit moments": [*NF4, "adapter.generator.states=8bit"],
    "NF4 OP-LoRA, hidden 4": [*NF4, "adapter.generator.hidden=4"],
}
COMMON = ["adapter.rank=8", "adapter.generator.hidden=32", "train.zero_stage=1", "train.max_grad_norm=0"]
FULL = {"preset": "demo", "rows": 8, "accumulation": 2, "repeats": 5}
QUICK = {"preset": "smoke", "rows": 4, "accumulation": 1, "repeats": 2}
WARM, WATCHED = 1, 2
"""The first step makes the states, the second is the one whose bytes are counted."""
TO_NUMBERS = "bitsandbytes::dequantize_4bit"
"""What torch's profiler calls turning a weight's 4 bits into numbers."""
KINDS = ("weights", "adapter", "states", "gradients", "activations", "passing", "inputs")
MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Measures all methods in turn, computes the real sizes, writes the result."""
    options = parse("low_memory", __doc__, argv)
    settings = QUICK if options.quick else FULL
    measured = in_turn(settings)
    result = write_result(
        "low_memory",
        settings | {"common": COMMON, "methods": METHODS, "gpu": GPU},
        {"methods": measured, "real": real_sizes()},
        options.out,
    )
    plot_bars(options.out / "low_memory.png", panels(result))
    print(table(result))
    return 0


def in_turn(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of each method the bytes of its second step by kind, and quartiles of its seconds and of their ratio."""
    context = clean_processes()
    found: dict[str, dict[str, Any]] = {}
    workers: dict[str, Any] = {}
    try:
        for method in METHODS:
            ours, theirs = context.Pipe()
            worker = context.Process(target=_serve, args=(theirs, method, dict(settings)), daemon=True)
            worker.start()
            theirs.close()
            workers[method] = (worker, ours)
            found[method] = _answer(ours)
            print(f"{method}: peak {sum(found[method]['peak'].values()) / MIB:,.0f} MiB", flush=True)
        seconds: dict[str, list[float]] = {method: [] for method in METHODS}
        for _ in range(settings["repeats"]):
            for method, (_, pipe) in workers.items():
                pipe.send("step")
                seconds[method].append(_answer(pipe))
        for method, (_, pipe) in workers.items():
            pipe.send("step")
            found[method]["profile"] = _answer(pipe)
    finally:
        for worker, _ in workers.values():
            worker.terminate()
            worker.join()
    for method, row in found.items():
        ratios = [own / plain for own, plain in zip(seconds[method], seconds[REFERENCE], strict=True)]
        row |= {"seconds": quartiles(seconds[method]), "ratio": quartiles(ratios)}
        row["tokens_per_second"] = rounded(row["tokens"] / row["seconds"]["median"])
    return found


def _serve(pipe: Any, method: str, settings: dict[str, Any]) -> None:
    """A method's process: sends its bytes, then the seconds of a step whenever it is asked for one."""
    import torch
    from transformers import set_seed

    from benchmarks.live_bytes import LiveBytes, living, watched
    from benchmarks.plan_check import RECIPE, batch_of
    from data_prep.demo.models import model_path
    from mlplora_vlm.attach import attach
    from mlplora_vlm.load import load_model
    from recipes.recipe import load_recipe

    torch.set_num_threads(1)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  the Trainer's own lines
    last = WATCHED + settings["repeats"] + 1
    words = [*COMMON, f"train.max_steps={last}", f"train.batch_size={settings['rows']}"]
    words.append(f"train.gradient_accumulation={settings['accumulation']}")
    recipe = load_recipe(RECIPE, settings["preset"], [*words, *METHODS[method]])
    path = model_path(recipe.model.id)
    batch, _ = batch_of(recipe, path)
    before = set(living())
    model = load_model(path, recipe.model, "cpu")
    set_seed(0)
    tuned, _ = attach(model, recipe.adapter)
    trained = [p for p in tuned.parameters() if p.requires_grad]
    if method in (TRL, TRL_NF4):
        for parameter in trained:
            parameter.data = parameter.data.bfloat16()

    class Steps:
        """Called by the Trainer around its steps."""

        def __init__(self) -> None:
            self.stack, self.begun = ExitStack(), 0.0
            self.live: LiveBytes | None = None
            self.profile: Any = None
            self.optimizer = 0.0

        def begin(self, step: int) -> None:
            if step == WATCHED - 1:
                own = {p.untyped_storage()._cdata for p in trained}
                storages = {key: t for key, (_, t) in living().items() if key not in before}
                frozen = {t.untyped_storage()._cdata for t in (*tuned.parameters(), *tuned.buffers())} - own
                constants = {t.untyped_storage()._cdata for t in _constants(tuned)}
                inputs = {t.untyped_storage()._cdata for t in batch.values()}
                kinds = {"weights": frozen | constants, "adapter": own, "inputs": inputs}
                named = {kind: [storages[key] for key in keys if key in storages] for kind, keys in kinds.items()}
                named["inputs"] = list(batch.values())
                taken = set().union(*kinds.values())
                named["states"] = [t for key, t in storages.items() if key not in taken]
                del storages
                self.live = self.stack.enter_context(watched(named, trained))
            elif step >= WATCHED:
                pipe.recv()
            if step == last - 1:
                self.profile = self.stack.enter_context(
                    torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
                )
            self.begun = time.perf_counter()

        def optimizer_begin(self) -> None:
            self.optimizer = -time.perf_counter()

        def optimizer_end(self) -> None:
            self.optimizer += time.perf_counter()

        def end(self, step: int) -> None:
            took = time.perf_counter() - self.begun
            if step == WATCHED:
                self.stack.close()
                assert self.live is not None
                peak = {kind: self.live.peak.get(kind, 0) for kind in KINDS}
                tokens = settings["accumulation"] * int(batch["attention_mask"].sum())
                pipe.send({"peak": peak, "tokens": tokens})
            elif step == last:
                self.stack.close()
                spent = [op.cpu_time_total for op in self.profile.key_averages() if op.key == TO_NUMBERS]
                share = {"optimizer": self.optimizer / took, "to_numbers": sum(spent) / 1e6 / took}
                pipe.send({part: rounded(value) for part, value in share.items()})
            elif step > WATCHED:
                pipe.send(took)

    _train(method, tuned, recipe, batch, Steps(), settings)


def _constants(model: Any) -> list[Any]:
    """Tensors beside a quantised weight's codes."""
    from mlplora_vlm.weight_kinds import constants

    states = [p.quant_state for p in model.parameters() if getattr(p, "quant_state", None) is not None]
    return [tensor for state in states for tensor in constants(state)]


def _train(
    method: str, tuned: Any, recipe: Any, batch: Mapping[str, Any], steps: Any, settings: Mapping[str, Any]
) -> None:
    """A training by TRL or by this project's Trainer, both under the Trainer alone."""
    from transformers import TrainerCallback

    from mlplora_vlm.training import adapter_optimizer, training_arguments

    class Around(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.begin(state.global_step)

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.optimizer_begin()

        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.optimizer_end()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            steps.end(state.global_step)

    needed = settings["rows"] * settings["accumulation"] * recipe.train.max_steps
    rows = [{"row": number} for number in range(needed)]
    with tempfile.TemporaryDirectory() as out:
        if method in (TRL, TRL_NF4):
            from datasets import Dataset
            from trl import SFTConfig, SFTTrainer

            from data_prep.demo.models import model_path
            from mlplora_vlm.load import load_processor

            arguments: Any = SFTConfig(
                output_dir=out, max_steps=recipe.train.max_steps, per_device_train_batch_size=settings["rows"],
                gradient_accumulation_steps=settings["accumulation"],
                learning_rate=recipe.train.learning_rate, max_grad_norm=0.0, bf16=False, use_cpu=True,
                gradient_checkpointing=False, activation_checkpointing=False,
                save_strategy="no", report_to="none", disable_tqdm=True,
                logging_steps=10**6, remove_unused_columns=False, dataset_kwargs={"skip_prepare_dataset": True},
            )  # fmt: skip
            trainer: Any = SFTTrainer(
                model=tuned, args=arguments, train_dataset=Dataset.from_list(rows), data_collator=lambda _: dict(batch),
                callbacks=[Around()],
                processing_class=load_processor(model_path(recipe.model.id), recipe.model).tokenizer,
            )  # fmt: skip
        else:
            from mlplora_vlm.trainer import GeneratedAdapterTrainer

            arguments = training_arguments(recipe.train, False, Path(out), deepspeed=None)
            arguments.save_strategy, arguments.disable_tqdm, arguments.logging_steps = "no", True, 10**6
            trainer = GeneratedAdapterTrainer(
                model=tuned, args=arguments, train_dataset=rows, data_collator=lambda _: dict(batch),
                callbacks=[Around()], optimizer_cls_and_kwargs=adapter_optimizer(tuned, recipe.train, recipe.adapter),
            )  # fmt: skip
        trainer.train()


def _answer(pipe: Any) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError("a method's process ended; its error stands above, or it ran out of memory") from None


def table(result: Mapping[str, Any]) -> str:
    """Bytes by kind and speed of every method, and the computed step times of a 7B model."""
    methods = result["methods"]
    plain = sum(methods[REFERENCE]["peak"].values())
    rows, speeds = [], []
    for method, row in methods.items():
        total = sum(row["peak"].values())
        rows.append(
            [
                method,
                *(f"{row['peak'][kind] / MIB:,.1f}" for kind in KINDS),
                f"{total / MIB:,.1f}",
                f"{total / plain:.2f}",
            ]
        )
        ratio, profile = row["ratio"], row["profile"]
        own = method.removeprefix("TRL SFTTrainer, ").split()[0]
        same = {"bf16": TRL, "NF4": TRL_NF4}.get(own)
        over = [row["tokens_per_second"] / methods[name]["tokens_per_second"] if name else None for name in (TRL, same)]
        speeds.append([
            method, f"{row['tokens_per_second']:,.1f}", f"{ratio['median']:.2f} ({ratio['q1']:.2f}–{ratio['q3']:.2f})",
            *("–" if ratio is None else f"{ratio:.2f}" for ratio in over),
            *(f"{100 * profile[part]:.0f} %" for part in ("optimizer", "to_numbers")),
        ])  # fmt: skip
    heads = ["peak of a step, MiB", *KINDS, "all", f"x {REFERENCE}"]
    parts = [markdown(heads, rows, right=len(heads) - 1)]
    heads = ["method", "tokens/s", f"step x {REFERENCE} (quartiles)", "tokens/s over TRL's bf16"]
    heads += ["over TRL's on the same weights", "of a step: optimizer", "4 bits to numbers"]
    parts.append(markdown(heads, speeds, right=6))
    parts.append(computed(result["real"]))
    return "\n\n".join(parts)


def panels(result: Mapping[str, Any]) -> list[Bars]:
    """A step's bytes by kind, and how long steps take."""
    methods = result["methods"]
    held = {kind: [row["peak"][kind] / MIB for row in methods.values()] for kind in KINDS}
    took = [tuple(row["ratio"][key] for key in ("median", "q1", "q3")) for row in methods.values()]
    return [
        Bars("peak of a step", list(methods), held, "MiB", stacked=True),
        Bars("step time (quartiles)", list(methods), {"step": took}, f"x {REFERENCE}", lines={REFERENCE: 1.0}),
    ]


if __name__ == "__main__":
    sys.exit(main())
