"""What no section can see alone: names that exist nowhere, and choices of two sections that cannot meet."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from data_prep.demo.models import EMBEDDED
from data_prep.prompts import PROMPTS
from data_prep.section import SourceSection
from data_prep.sources import SOURCES, misplaced_options
from eval_harness.metrics import METRICS
from eval_harness.section import OWN, TASK_NAMES
from eval_harness.tasks import TASKS, Task
from mlplora_vlm.errors import did_you_mean
from mlplora_vlm.kinds import KINDS
from recipes.typed import Problem, standing

if TYPE_CHECKING:
    from recipes.recipe import Recipe


def cross_problems(recipe: Recipe, broken: Collection[str]) -> Iterator[Problem]:
    """Every finding of every check below that depends on no key in ``broken``."""
    for check in CHECKS:
        yield from standing(check, recipe, broken)


def source_exists(recipe: Recipe) -> Iterator[Problem]:
    """The sources, as data_prep/sources/ has them, and the keys that each of them takes."""
    for key, section in _sources(recipe):
        unknown = list(_known(f"{key}.source", section.source, SOURCES, "data_prep/sources/"))
        yield from unknown
        if not unknown:
            for option, what, fix in misplaced_options(section):
                yield f"{key}.{option}", what, fix


def prompt_exists(recipe: Recipe) -> Iterator[Problem]:
    """The prompts, as data_prep/prompts.py has them."""
    for key, section in _sources(recipe):
        yield from _known(f"{key}.prompt", section.prompt, PROMPTS, "data_prep/prompts.py")


def task_exists(recipe: Recipe) -> Iterator[Problem]:
    """The task, as eval_harness/tasks.py has it, or what the recipe's own is made of."""
    yield from _known("eval.task", recipe.eval.task, TASK_NAMES, "eval_harness/tasks.py")
    if (own := recipe.eval.own) is None:
        return
    for metric in (own.metric, *own.also):
        yield from _known("eval.own.metric", metric, METRICS, "eval_harness/metrics/")
    yield from _known("eval.own.prompt", own.prompt, PROMPTS, "data_prep/prompts.py")
    unknown = list(_known("eval.own.source", own.source, SOURCES, "data_prep/sources/"))
    yield from unknown
    if not unknown:
        for option, what, fix in misplaced_options(own):
            yield f"eval.own.{option}", what, fix


def demo_model_exists(recipe: Recipe) -> Iterator[Problem]:
    """A model that is assembled here must be one of those that are."""
    if recipe.model.id.startswith("demo/"):
        yield from _known("model.id", recipe.model.id, EMBEDDED, "data_prep/demo/models.py")


def held_out(recipe: Recipe) -> Iterator[Problem]:
    """A score on rows that were trained on means nothing."""
    task = _task(recipe)
    for key, section in _sources(recipe):
        if task and not task.by_heart and _same_rows(recipe, task, section):
            yield (
                f"{key}.split",
                f"task {recipe.eval.task} is measured on this very split",
                "train on another split, or take another task",
            )


def by_heart(recipe: Recipe) -> Iterator[Problem]:
    """A task about rows that were trained on means nothing unless all of them were, in the same words."""
    task = _task(recipe)
    if not task or not task.by_heart:
        return
    for key, value, needed in (
        ("data.source", recipe.data.source, task.source),
        ("data.split", recipe.data.split, task.split),
        ("data.prompt", recipe.data.prompt, task.prompt),
        ("data.limit", recipe.data.limit, 0),
        ("data.mixed_with", recipe.data.mixed_with, {}),
        ("train.eval_steps", recipe.train.eval_steps, 0),  # nothing is held back
    ):
        if value != needed:
            yield (
                key,
                f"task {recipe.eval.task} asks about all rows of {task.source}/{task.split} as they were trained on, "
                f"and {key} is {value}",
                f"use {key}={needed}, or take another task",
            )


def quantized_engine(recipe: Recipe) -> Iterator[Problem]:
    """ZeRO-3 cuts and offloads weights by element; quantised ones are packed, and keep their scales elsewhere."""
    chosen = recipe.model.quantization
    if chosen != "none" and recipe.train.zero_stage == 3:
        bits = "8-bit" if chosen == "int8" else "4-bit"
        yield (
            "train.zero_stage",
            f"ZeRO stage 3 can neither partition nor offload {bits} weights (model.quantization is {chosen})",
            "use train.zero_stage=2 (every process holds all of them, and its part of the optimizer), or "
            "model.quantization=none",
        )


def start_in_few_bits(recipe: Recipe) -> Iterator[Problem]:
    """A start that is taken out of the base weights needs to read and change them."""
    chosen = recipe.model.quantization
    if chosen != "none" and KINDS[recipe.adapter.kind].changes_base:
        bits = "8-bit" if chosen == "int8" else "4-bit"
        yield (
            "adapter.kind",
            f"{recipe.adapter.kind} starts from the base weights' singular vectors, which {bits} weights do not give",
            "use adapter.kind=lora, or model.quantization=none",
        )


def compute_type(recipe: Recipe) -> Iterator[Problem]:
    """What quantised weights are turned into must be what the machine multiplies, and no coarser than the adapter."""
    model = recipe.model
    if model.compute_dtype == "float16" and recipe.hardware.gpus == 0:
        yield (
            "model.compute_dtype",
            "no engine trains in float16 on a CPU (hardware.gpus is 0)",
            "use model.compute_dtype=auto",
        )
    if model.dtype == "float32" and model.compute_dtype in ("float16", "bfloat16"):
        yield (
            "model.compute_dtype",
            f"every product would round a float32 model's activations to {model.compute_dtype}",
            "use model.dtype=bfloat16, or model.compute_dtype=auto",
        )


def only_generated(recipe: Recipe) -> Iterator[Problem]:
    """Choices about a generator that is not there."""
    if recipe.adapter.generated:
        return
    generator = recipe.adapter.generator
    for key, value, plain in (
        ("adapter.generator.form", generator.form, "exact"),
        ("adapter.generator.start", generator.start, "paper"),
        ("train.clip", recipe.train.clip, "adapter"),
    ):
        if value != plain:
            yield (
                key,
                f"{value} is about the generator, and adapter.generated is false",
                f"use adapter.generated=true, or {key}={plain}",
            )


def generator_clipping(recipe: Recipe) -> Iterator[Problem]:
    """ZeRO 1-3 step one layer after the other: the norm over all generators is not known."""
    if recipe.train.clip == "generator" and recipe.train.zero_stage > 0:
        yield (
            "train.clip",
            f"with ZeRO stage {recipe.train.zero_stage} the norm over all generators is not known when the first one "
            "steps",
            "use train.zero_stage=0, or train.clip=adapter",
        )


def eight_bit_states(recipe: Recipe) -> Iterator[Problem]:
    """The 8-bit states are bitsandbytes' AdamW's."""
    states = recipe.adapter.generator.states
    if recipe.adapter.generated and recipe.train.optimizer == "sgd" and states != "float32":
        yield (
            "adapter.generator.states",
            f"{states} is for AdamW's moments, and train.optimizer is sgd",
            "use adapter.generator.states=float32, or train.optimizer=adamw",
        )


def masters(recipe: Recipe) -> Iterator[Problem]:
    """ZeRO 1-3 keep fp32 masters of the adapter; without them bfloat16 rounds A and B at every step."""
    if recipe.model.dtype == "bfloat16" and recipe.train.zero_stage == 0:
        yield (
            "train.zero_stage",
            "ZeRO stage 0 trains a bfloat16 model without fp32 masters: small steps are rounded away",
            "use train.zero_stage=1 or 2, or model.dtype=float32",
        )


def flash_attention(recipe: Recipe) -> Iterator[Problem]:
    """FlashAttention-2 is a GPU kernel for half precision."""
    if recipe.model.attn_implementation != "flash_attention_2":
        return
    if recipe.model.dtype == "float32":
        yield (
            "model.attn_implementation",
            "flash_attention_2 has no float32 kernel",
            "use model.dtype=bfloat16, or sdpa",
        )
    if recipe.hardware.gpus == 0:
        yield "model.attn_implementation", "flash_attention_2 needs a GPU (hardware.gpus is 0)", "use sdpa"


def gpu_only(recipe: Recipe) -> Iterator[Problem]:
    """Options that mean nothing without a GPU."""
    if recipe.hardware.gpus == 0 and recipe.train.liger_kernel:
        yield "train.liger_kernel", "Liger's kernels need a GPU (hardware.gpus is 0)", "leave train.liger_kernel out"
    if recipe.hardware.gpus == 0 and recipe.train.offload:
        yield "train.offload", "there is no GPU to offload from (hardware.gpus is 0)", "leave train.offload out"


def processes_fit(recipe: Recipe) -> Iterator[Problem]:
    """One process a GPU, the same number on every node."""
    gpus, processes = recipe.hardware.gpus, recipe.train.processes
    if gpus and processes > gpus:
        yield (
            "train.processes",
            f"{processes} processes for {gpus} GPU{'s' * (gpus > 1)}: each process needs its own",
            f"use train.processes={gpus}",
        )
    elif gpus and gpus % processes:
        yield (
            "train.processes",
            f"{gpus} GPUs are not a whole number of nodes with {processes} processes each",
            "train.processes is the number of GPUs of one node",
        )


def evaluation_loss(recipe: Recipe) -> Iterator[Problem]:
    """An evaluation during training needs rows to evaluate."""
    if recipe.train.eval_steps and recipe.train.eval_rows < 1:
        yield (
            "train.eval_rows",
            "train.eval_steps is set, and no rows are held back",
            "hold back about 128, or set train.eval_steps=0",
        )


CHECKS = (
    source_exists,
    prompt_exists,
    task_exists,
    demo_model_exists,
    held_out,
    by_heart,
    quantized_engine,
    start_in_few_bits,
    compute_type,
    only_generated,
    generator_clipping,
    eight_bit_states,
    masters,
    flash_attention,
    gpu_only,
    processes_fit,
    evaluation_loss,
)


def _sources(recipe: Recipe) -> Iterator[tuple[str, SourceSection]]:
    """(key, section) of every source of the mixture."""
    yield "data", recipe.data
    for name, section in recipe.data.mixed_with.items():
        yield f"data.mixed_with.{name}", section


def _task(recipe: Recipe) -> Task | None:
    """The task; None where there is none of that name."""
    own = recipe.eval.own
    return TASKS.get(recipe.eval.task) or (own.task() if own and recipe.eval.task == OWN else None)


def _same_rows(recipe: Recipe, task: Task, section: SourceSection) -> bool:
    """Whether the task asks about the rows that the section trains on."""
    asked, keys = recipe.eval.rows_of(task.split), ["source", "split", "file", "repo", "config"]
    keys += ["folder"] if recipe.eval.task == OWN else []  # a public set is the same wherever it lies
    return all(getattr(asked, key) == getattr(section, key) for key in keys)


def _known(key: str, name: str, known: Collection[str], where: str) -> Iterator[Problem]:
    if name not in known:
        yield key, f"there is no {name!r}{did_you_mean(name, known)}", f"{where} has: {', '.join(sorted(known))}"
