"""What else a recipe could be: its memory by ZeRO stage and quantised, what makes it fit, the largest batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError
from mlplora_vlm.memory import GIB, HardwareSection, MemoryEstimate, peak
from recipes.checks import cross_problems
from recipes.dry_run import Planner
from recipes.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import Console

LARGEST_BATCH = 4096
"""Where the search for the largest batch ends."""

GROUPS: dict[str, tuple[str, ...]] = {
    "base weights": ("base weights",),
    "adapter": ("adapter",),
    "generator": ("generator weights", "generator moments"),
    "optimizer states": ("fp32 masters", "plain moments"),
    "gradients": ("gradients",),
    "activations": ("activations",),
    "logits, or a layer at work": ("logits", "layer at work"),
    "optimizer's step": ("generator step",),
    "engine, CUDA, allocator": ("engine buffers", "CUDA context", "allocator slack"),
    "processes": ("processes",),
}
"""Rows of the table → kinds of `mlplora_vlm.memory.estimate`."""


@dataclass(frozen=True)
class Change:
    """Something that saves memory."""

    what: str
    cost: str
    """What one pays for it."""
    words: Callable[[Recipe], dict[str, Any]]
    """section.key → value for a recipe; empty where it changes nothing."""


def _smaller_batch(recipe: Recipe) -> dict[str, Any]:
    batch, steps = recipe.train.batch_size, recipe.train.gradient_accumulation
    if batch == 1:
        return {}
    smaller = next(n for n in range(batch // 2, 0, -1) if batch % n == 0)
    return {"train.batch_size": smaller, "train.gradient_accumulation": steps * batch // smaller}


def _generator(key: str, value: str) -> Callable[[Recipe], dict[str, Any]]:
    def words(recipe: Recipe) -> dict[str, Any]:
        return {f"adapter.generator.{key}": value} if recipe.adapter.generated else {}

    return words


def _stage(recipe: Recipe) -> dict[str, Any]:
    return {"train.zero_stage": 3} if recipe.hardware.gpus > 1 else {}


def _halved(section: str, key: str, least: int) -> Callable[[Recipe], dict[str, Any]]:
    def words(recipe: Recipe) -> dict[str, Any]:
        held = recipe.adapter if section == "adapter" else recipe.adapter.generator
        value = getattr(held, key)
        if value // 2 < least or (section != "adapter" and not recipe.adapter.generated):
            return {}
        chosen = {f"{section}.{key}": value // 2}
        return chosen | ({"adapter.alpha": max(1, recipe.adapter.alpha // 2)} if key == "rank" else {})

    return words


def _fewer_questions(recipe: Recipe) -> dict[str, Any]:
    return {"eval.batch_size": recipe.eval.batch_size // 2} if recipe.eval.batch_size > 1 else {}


CHANGES: tuple[Change, ...] = (
    Change("smaller batches of questions", "evaluation takes longer", _fewer_questions),
    Change("smaller micro-batches, more of them", "the same steps; GPUs are less busy", _smaller_batch),
    Change("checkpointing", "about a third more time", lambda _: {"train.gradient_checkpointing": True}),
    Change("Liger's fused loss", "pip install liger-kernel; GPUs alone", lambda r: {"train.liger_kernel": True}),
    Change("W2 in bfloat16", "rounded stochastically; some time", _generator("weights", "bfloat16")),
    Change("8-bit moments", "moments to two digits; some time", _generator("states", "8bit")),
    Change("generator in host memory", "the optimizer steps on the CPU", _generator("device", "cpu")),
    Change("optimizer offloaded", "the optimizer steps on the CPU", lambda r: {"train.offload": True}),
    Change("ZeRO-3", "weights are sent around in every pass", _stage),
    Change("NF4 base", "4-bit weights have an error of their own; slower products",
           lambda _: {"model.quantization": "nf4"}),
    Change("half the generator's width", "less over-parameterised", _halved("adapter.generator", "hidden", 1)),
    Change("half the rank", "a smaller adapter, at the same scale", _halved("adapter", "rank", 1)),
)  # fmt: skip
"""Cheapest first: what leaves the result as it is, then what costs time, then what changes what is learnt."""


@dataclass(frozen=True)
class Advice:
    """One change, alone and on top of those before it."""

    change: Change
    overrides: tuple[str, ...]
    saves: int
    """Bytes, made alone."""
    needed: int
    """Bytes that the recipe needs with it and all that is advised before it."""


def on_hardware(recipe: Recipe, gpus: int | None, memory_gib: float | None) -> Recipe:
    """The recipe on another machine: one process a GPU; more than 8 GPUs are nodes of 8.

    Raises `MendableError` where the GPUs are no whole number of nodes.
    """
    hardware = recipe.hardware
    if memory_gib is not None:
        hardware = replace(hardware, memory_gib=memory_gib)
    if gpus is None:
        return replace(recipe, hardware=hardware)
    processes = min(max(gpus, 1), 8)
    if gpus % processes:
        raise MendableError(f"{gpus} GPUs are no whole number of nodes of 8", "--gpus", "give 1 to 8, or a multiple")
    hardware = replace(hardware, gpus=gpus)
    return replace(recipe, hardware=hardware, train=replace(recipe.train, processes=processes))


def changed(recipe: Recipe, words: dict[str, Any]) -> Recipe:
    """The recipe with some values replaced: ``section.key`` or ``section.part.key``."""
    for path, value in words.items():
        *parents, key = path.split(".")
        holders: list[Any] = [recipe]
        for parent in parents:
            holders.append(getattr(holders[-1], parent))
        made: Any = replace(holders.pop(), **{key: value})
        for parent in reversed(parents):
            made = replace(holders.pop(), **{parent: made})
        recipe = made
    return recipe


def refusals(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Why the recipe would not be read: of a section alone, or of two that do not meet."""
    sections = ("model", "adapter", "train", "hardware")
    own = [(f"{s}.{key}", what, fix) for s in sections for key, what, fix in getattr(recipe, s).problems()]
    return own + list(cross_problems(recipe, ()))


def variants(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """(title, recipe) for each ZeRO stage, and for a 4-bit base."""
    for stage in (0, 1, 2, 3):
        yield f"ZeRO {stage}", replace(recipe, train=replace(recipe.train, zero_stage=stage, offload=False))
    if recipe.model.quantization == "none":
        words: dict[str, Any] = {"model.quantization": "nf4", "train.zero_stage": 2, "train.offload": False}
        yield "NF4, ZeRO 2", changed(recipe, words)


def advised(recipe: Recipe, planner: Planner) -> list[Advice]:
    """The changes that save something, the cheapest that does so at each point, until the recipe fits or none is left.

    A change that would be refused, or is made already, is left out; some come several times.
    """
    found: list[Advice] = []
    alone = needed = planner.memory(recipe).needed(recipe.hardware)
    now, going = recipe, True
    while going and not _fits(needed, recipe.hardware):
        going = False
        for change in CHANGES:
            words = change.words(now)
            then = changed(now, words)
            if then == now or refusals(then):
                continue
            with_it = planner.memory(then).needed(then.hardware)
            if with_it >= needed:
                continue
            by_itself = planner.memory(changed(recipe, words)).needed(recipe.hardware)
            overrides = tuple(f"{key}={str(value).lower()}" for key, value in words.items())
            if found and found[-1].change is change:  # once more: said once
                found.pop()
            found.append(Advice(change, overrides, alone - by_itself, with_it))
            now, needed, going = then, with_it, True
            break
    return found


def largest_batch(recipe: Recipe, planner: Planner) -> int:
    """The most rows a process and micro-batch that fit, 0 where not even one does; no memory stated: 0."""
    if not recipe.hardware.memory_gib:
        return 0

    def fits(batch: int) -> bool:
        return planner.memory(changed(recipe, {"train.batch_size": batch})).fits(recipe.hardware)

    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= LARGEST_BATCH and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def show_fit(recipe: Recipe, planner: Planner, console: Console) -> None:
    """Prints the table of variants, what to change where it does not fit, and the largest batch."""
    console.print(_table(recipe, planner))
    memory = planner.memory(recipe)
    if not memory.fits(recipe.hardware):
        _show_advice(advised(recipe, planner), recipe, console)
    if recipe.hardware.memory_gib:
        largest = largest_batch(recipe, planner)
        said = f"{largest} rows a process and micro-batch" if largest else "not even one row fits"
        console.print(
            f"[bold]Largest batch[/]  {said}, all else as it is (train.batch_size is {recipe.train.batch_size})"
        )


def _show_advice(advice: list[Advice], recipe: Recipe, console: Console) -> None:
    console.print("[bold]What to change[/], cheapest first")
    words: dict[str, str] = {}
    for number, one in enumerate(advice, 1):
        words |= dict(word.split("=", 1) for word in one.overrides)
        console.print(
            f"  {number}. {one.change.what} ({one.change.cost}): saves {one.saves / GIB:.2f} GiB alone, "
            f"{one.needed / GIB:.2f} GiB are needed then\n     {' '.join(one.overrides)}",
            soft_wrap=True,
            highlight=False,
        )
    if advice and _fits(advice[-1].needed, recipe.hardware):
        together = " ".join(f"{key}={value}" for key, value in words.items())
        console.print(f"[bold]Together these fit:[/] {together}", soft_wrap=True)
    else:
        console.print("Nothing of this makes it fit: take more or larger GPUs, a smaller model, or shorter rows.")


def _fits(needed: int, hardware: HardwareSection) -> bool:
    return hardware.memory_gib == 0 or needed <= hardware.memory_gib * GIB


def _table(recipe: Recipe, planner: Planner) -> Any:
    from rich.table import Table

    gpus = recipe.hardware.gpus
    where = (
        f"each of {gpus} GPUs" if gpus > 1 else "the GPU" if gpus else f"the host, {recipe.train.processes} processes"
    )
    table = Table(title=f"Memory of {where} while training, in GiB, by stage", title_justify="left")
    table.add_column("kind")
    columns: list[tuple[MemoryEstimate, Recipe]] = []
    for title, one in variants(recipe):
        table.add_column(title, justify="right")
        columns.append((planner.memory(one), one))
    for row, kinds in GROUPS.items():
        either = max if "or" in row.split() else sum
        cells = [either([(found.gpu or found.host).get(kind, 0) for kind in kinds]) for found, _ in columns]
        if any(cells):
            table.add_row(row, *(f"{cell / GIB:.2f}" for cell in cells))
    table.add_section()
    table.add_row(
        "at most at once", *(f"{peak(found.gpu or found.host) / GIB:.2f}" for found, _ in columns), style="bold"
    )
    if gpus:
        table.add_row("a host, all its processes", *(f"{peak(found.host) / GIB:.2f}" for found, _ in columns))
    table.add_row("answering", *(f"{peak(found.evaluation) / GIB:.2f}" for found, _ in columns))
    table.add_row("fits", *(_word(found, one) for found, one in columns))
    return table


def _word(found: MemoryEstimate, recipe: Recipe) -> str:
    if refusals(recipe):
        return "refused"
    if not recipe.hardware.memory_gib:
        return "not stated"
    return "yes" if found.fits(recipe.hardware) else "NO"
