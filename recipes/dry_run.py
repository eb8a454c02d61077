"""A recipe carried as far as it goes without weights, GPU or network: what would be adapted, held in memory and run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.demo.models import tiny_config
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import card_of
from mlplora_vlm.families.published import published_config, published_ids
from mlplora_vlm.memory import GIB, MemoryEstimate, estimate, number_size, peak
from mlplora_vlm.weight_kinds import Kinds, planned_kinds, said
from recipes.located_yaml import dump
from recipes.pictures import PictureCosts, picture_costs
from recipes.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class DryRun:
    """What a run of the recipe would be."""

    recipe: Recipe
    layers: dict[str, int]
    """Adapted layers by part of the model."""
    parameters: dict[str, int]
    """Numbers of the base, the adapter, what is trained in full, and the generator behind the adapter; 0: none."""
    pictures: PictureCosts
    deepspeed: dict[str, Any]
    memory: MemoryEstimate
    weights: Kinds
    """The base's weights by kind and precision, in bytes."""
    commands: tuple[str, ...]
    """The commands that would run, in order."""

    @property
    def fits(self) -> bool:
        """Whether the estimate stays within the memory that the recipe states."""
        return self.memory.fits(self.recipe.hardware)


def dry_run(recipe: Recipe, commands: Sequence[str] = (), planner: Planner | None = None) -> DryRun:
    """Builds the architecture on the meta device, attaches the adapter and adds everything up.

    Raises `MendableError` where the model's configuration is nowhere to be had, or a picture alone is longer than the
    longest row.  Of a model whose configuration alone is here pictures are not counted.
    """
    import torch

    from mlplora_vlm.attach import attach, trained_numbers
    from mlplora_vlm.meta import meta_model
    from mlplora_vlm.training import deepspeed_config

    planner = planner or Planner(recipe)
    memory, base = planner.memory(recipe), sum(p.numel() for p in planner.model.parameters())
    kinds = planned_kinds(
        planner.model, card_of(planner.model.config), recipe.model, number_size(recipe.model, recipe.hardware)
    )
    with torch.device("meta"):  # PEFT would draw numbers first, and drop them
        adapted, layers = attach(meta_model(planner.config), recipe.adapter)
    trained = trained_numbers(adapted)
    return DryRun(
        recipe=recipe,
        layers=layers,
        parameters={
            "base": base,
            **trained,
            "generator": _generator_numbers(recipe, trained["adapter"], sum(layers.values())),
        },
        pictures=planner.pictures,
        deepspeed=deepspeed_config(recipe.train),
        memory=memory,
        weights=kinds,
        commands=tuple(commands),
    )


class Planner:
    """The memory of a recipe, and of others with the same model and pictures.

    Raises as `dry_run` does.
    """

    def __init__(self, recipe: Recipe) -> None:
        from mlplora_vlm.meta import meta_model

        self.config = model_config(recipe)
        self.pictures = picture_costs(recipe.model, self.config, recipe.data.max_length)
        self.model = meta_model(self.config)

    def memory(self, recipe: Recipe) -> MemoryEstimate:
        """By `mlplora_vlm.memory.estimate`, for rows of ``data.max_length``."""
        from mlplora_vlm.training import deepspeed_config

        return estimate(
            self.model,
            recipe.model,
            recipe.adapter,
            recipe.train,
            recipe.hardware,
            tokens=recipe.data.max_length,
            pictures=self.pictures.tower,
            eval_batch=recipe.eval.batch_size,
            new_tokens=recipe.eval.chosen().max_new_tokens,
            zero=deepspeed_config(recipe.train)["zero_optimization"],
        )


def model_config(recipe: Recipe) -> PreTrainedConfig:
    """The model's configuration, as published, from a folder or the hub's local cache; never from the network."""
    name = recipe.model.id
    if (kept := tiny_config(name) or published_config(name)) is not None:
        return kept
    from transformers import AutoConfig

    if (folder := Path(name).expanduser()).is_dir():
        from mlplora_vlm.load import load_config

        return load_config(folder, recipe.model)
    try:
        return AutoConfig.from_pretrained(name, revision=recipe.model.revision or "main", local_files_only=True)
    except (OSError, ValueError) as error:
        raise MendableError(
            f"the configuration of {name} is neither kept here nor in the local cache",
            "model.id",
            f"hf download {name} config.json; or add its values in mlplora_vlm/families/published/"
            f" (kept: {', '.join(published_ids())})",
        ) from error


def show(run: DryRun, console: Console) -> None:
    """Prints the run for people."""
    from rich.markup import escape
    from rich.syntax import Syntax

    recipe = run.recipe
    console.rule(f"{recipe.name}{f' · {recipe.preset}' if recipe.preset else ''}")
    console.print(Syntax(dump(recipe.to_dict()).rstrip(), "yaml", background_color="default"))
    counts = ", ".join(f"{part}: {count}" for part, count in run.layers.items())
    console.print(f"[bold]Adapted layers[/]  {counts}")
    console.print("[bold]Parameters[/]  " + ", ".join(f"{kind}: {number:,}" for kind, number in run.parameters.items()))
    console.print(f"[bold]Pictures[/]  {picture_line(run)}")
    console.print("[bold]DeepSpeed[/]")
    console.print(Syntax(json.dumps(run.deepspeed, indent=2), "json", background_color="default"))
    console.print(f"[bold]Base weights[/]  {said(run.weights)}")
    console.print(_memory_table(run.memory))
    console.print(verdict(run), style="green" if run.fits else "red bold")
    if run.commands:
        console.print("[bold]Commands[/]")
        for command in run.commands:
            console.print(f"  {escape(command)}", soft_wrap=True)


def picture_line(run: DryRun) -> str:
    """What pictures cost, as one sentence."""
    costs, longest = run.pictures, run.recipe.data.max_length
    if costs.tower is None:
        return f"not counted: the model's processor is not here; estimated as {longest} tokens a row"
    each = (
        f"of {width} x {height} costs {tokens:,} token{'s' * (tokens != 1)}"
        f"{', too long for data.max_length' if tokens >= longest else ''}"
        for (width, height), tokens in costs.tokens.items()
    )
    return f"a picture {'; '.join(each)}; at most {costs.tower.positions:,} positions in the vision tower"


def verdict(run: DryRun) -> str:
    """Whether the estimate fits, as one sentence."""
    hardware, needed = run.recipe.hardware, run.memory.needed(run.recipe.hardware) / GIB
    place = f"each of {hardware.gpus} GPUs" if hardware.gpus > 1 else "one GPU" if hardware.gpus else "the host"
    if not hardware.memory_gib:
        return f"{needed:.1f} GiB on {place}, by this estimate (hardware.memory_gib is not stated)"
    answer = "fits" if run.fits else "does NOT fit"
    return f"{needed:.1f} of {hardware.memory_gib:g} GiB on {place}, by this estimate: {answer}"


def _memory_table(memory: MemoryEstimate) -> Any:
    from rich.table import Table

    columns = {"a GPU, training": memory.gpu, "a host, training": memory.host, "answering": memory.evaluation}
    columns = {title: kinds for title, kinds in columns.items() if kinds}
    table = Table(title="Memory in GiB: an estimate for rows of data.max_length", title_justify="left")
    table.add_column("kind")
    for title in columns:
        table.add_column(title, justify="right")
    for kind in dict.fromkeys(kind for kinds in columns.values() for kind in kinds):
        table.add_row(kind, *(f"{kinds[kind] / GIB:.2f}" if kind in kinds else "" for kinds in columns.values()))
    table.add_section()
    table.add_row("at most at once", *(f"{peak(kinds) / GIB:.2f}" for kinds in columns.values()), style="bold")
    return table


def _generator_numbers(recipe: Recipe, adapter: int, layers: int) -> int:
    """Numbers in W2 and b2 (one row for each of the ``adapter`` numbers) and in each layer's W1, c1 and z."""
    if not recipe.adapter.generated:
        return 0
    generator = recipe.adapter.generator
    trunk = generator.hidden * generator.z_dim + generator.hidden + generator.z_dim
    return adapter * (generator.hidden + 1) + layers * trunk
