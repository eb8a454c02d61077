"""What a sweep runs: the words of the command line as recipes, one for each label, learning rate and seed."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_harness.lr_curve import learning_rates
from mlplora_vlm.errors import SEEDS, MendableError, MendableErrors, did_you_mean
from mlplora_vlm.files import digest
from mlplora_vlm.kinds import KINDS
from recipes.recipe import Recipe, load_recipe

PREFIXES = {
    "": ("adapter.generated=false", "adapter.generator.form=exact"),
    "op-": ("adapter.generated=true", "adapter.generator.form=exact"),
    "linear-": ("adapter.generated=true", "adapter.generator.form=linear"),
}
"""What stands before a kind: how its tensors are made."""
PLUS = 16
"""LoRA+ (arXiv 2402.12354): B's learning rate over A's, as its authors advise."""
METHODS = tuple(f"{prefix}{kind}" for prefix in PREFIXES for kind in KINDS)
SWEPT = ("train.learning_rate", "train.seed")
COMMON = ("model", "data", "eval")
"""Sections that a label may not change: then other things than methods would be compared."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # becomes part of a file's name
_OVERRIDE = re.compile(r"\w+\.[\w.]+=")


@dataclass(frozen=True)
class Cell:
    """One training: a recipe with its learning rate and seed set."""

    label: str
    lr: float
    seed: int
    recipe: Recipe

    @property
    def name(self) -> str:
        """A file's name; it changes with everything that the cell's result hangs on."""
        chosen = {key: _chosen(getattr(self.recipe, key)) for key in ("model", "data", "adapter", "train")}
        return f"{self.label}_{self.lr:g}_{self.seed}_{digest(chosen)[:8]}"


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(labels, overrides) where the command line's ``--kind`` has swallowed the overrides behind it."""
    overrides = [word for word in words if _OVERRIDE.match(word)]
    return [word for word in words if word not in overrides], overrides


def parse_rates(text: str) -> list[float]:
    """``1e-5:1e-2:3`` (both ends, and the even grid of 3 a decade between them) or ``1e-4,3e-4``, in rising order.

    Raises `MendableError`.
    """
    where, form = f"command line: --lr {text}", "write LOW:HIGH:POINTS_A_DECADE, such as 1e-5:1e-2:3, or 1e-4,3e-4,1e-3"
    try:
        numbers = [float(part) for part in re.split("[:,]", text)]
    except ValueError:
        raise MendableError(f"{text!r} is neither a range nor a list of learning rates", where, form) from None
    if ":" not in text:
        rates = sorted(set(numbers))
        if not all(0 < rate < math.inf for rate in rates):
            raise MendableError("a learning rate must be above 0 and finite", where, form)
        return rates
    if len(numbers) != 3 or "," in text:
        raise MendableError(f"a range has a lowest and a highest rate and points a decade, not {text!r}", where, form)
    low, high, points = numbers
    if not (0 < low < high < math.inf):
        raise MendableError(f"from {low:g} to {high:g} is no range of learning rates", where, form)
    if points != int(points) or not 1 <= points <= 100:
        raise MendableError(f"{points:g} points a decade are not a whole number from 1 to 100", where, form)
    half = 10 ** (0.5 / points)  # nothing nearer to an end than half a step
    inside = [rate for rate in learning_rates(low, high, int(points)) if low * half < rate < high / half]
    return [low, *inside, high]


def parse_label(text: str) -> tuple[str, tuple[str, ...]]:
    """(label, its overrides) of ``[op-|linear-]KIND[+]``, or of ``LABEL:section.key=value,…``.

    A LABEL that is no method's name begins with the recipe's own adapter.  Raises `MendableError`.
    """
    where = f"command line: --kind {text}"
    label, colon, rest = text.partition(":")
    own = tuple(re.split(r",(?=\w+\.[\w.]+=)", rest)) if rest else ()  # a value may be a list with commas
    method = label.removesuffix("+")
    if not _LABEL.fullmatch(label):
        raise MendableError(f"{label!r} cannot be part of a file's name", where, "use letters, digits and . _ + -")
    if method in METHODS:
        prefix = next(p for p in sorted(PREFIXES, key=len, reverse=True) if method.startswith(p))
        ratio = PLUS if label.endswith("+") else 1
        kind = f"adapter.kind={method.removeprefix(prefix)}"
        return label, (kind, *PREFIXES[prefix], f"adapter.b_lr_ratio={float(ratio)}", *own)
    if not colon:
        raise MendableError(
            f"there is no method {label!r}{did_you_mean(label, METHODS)}",
            where,
            f"[op-|linear-] before one of {', '.join(KINDS)}, + behind it for LoRA+; or LABEL:section.key=value,…",
        )
    if not own:
        raise MendableError(f"{label!r} has no overrides behind its colon", where, "write LABEL:section.key=value,…")
    return label, own


def load_grid(
    path: Path, preset: str | None, overrides: Sequence[str], kinds: Sequence[str], rates: Sequence[float], seeds: int
) -> list[Cell]:
    """All cells of a sweep, in the order in which they are worked on; a label's keys win over ``overrides``.

    Seeds count up from the recipe's own ``train.seed``.  The order makes a curve early: seed by seed, and the learning
    rates from coarse to fine.  Raises `MendableErrors` with every mistake at once, before anything heavy.
    """
    errors: list[MendableError] = []
    recipes: dict[str, Recipe] = {}
    for text in kinds:
        try:
            label, own = parse_label(text)
            if label in recipes:
                raise MendableError(f"{label} is named twice", f"command line: --kind {text}", "give one another label")
            recipe = recipes[label] = load_recipe(path, preset, [*overrides, *own])
        except MendableError as error:
            errors += getattr(error, "errors", [error])
            continue
        first = next(iter(recipes.values()))
        errors += [
            MendableError(
                f"{label} changes the section {key}: a sweep compares methods on one model and data",
                f"command line: --kind {text}",
                "say it for all of them, outside of --kind; or make another sweep",
            )
            for key in COMMON
            if getattr(recipe, key) != getattr(first, key)
        ]
    if seeds < 1:
        errors.append(MendableError(f"{seeds} seeds are none", f"command line: --seeds {seeds}", "3 or more are usual"))
    if any(recipe.train.eval_rows < 1 for recipe in recipes.values()):
        errors.append(
            MendableError("train.eval_rows is 0: nothing is held out to compare on", "train.eval_rows", "128 is usual")
        )
    if any(recipe.train.seed + seeds > SEEDS for recipe in recipes.values()):
        errors.append(MendableError(f"the last seed would be above {SEEDS - 1}", "train.seed", "choose a smaller one"))
    given = [word for word in overrides if word.startswith(tuple(f"{key}=" for key in SWEPT[:1]))]
    errors += [MendableError("a sweep sets the learning rate itself", f"command line: {w}", "use --lr") for w in given]
    if errors:
        raise MendableErrors({str(error): error for error in errors}.values())  # labels share the recipe's mistakes
    return [
        Cell(label, rate, seed, _with(recipe, rate, seed))
        for nth in range(seeds)
        for rate in coarse_to_fine(rates)
        for label, recipe in recipes.items()
        for seed in [recipe.train.seed + nth]
    ]


def coarse_to_fine(rates: Sequence[float]) -> list[float]:
    """The middle first, then the middles of both halves, and so on."""
    waiting, order = [(0, len(rates))], []
    while waiting:
        low, high = waiting.pop(0)
        if low < high:
            middle = (low + high) // 2
            order.append(rates[middle])
            waiting += [(low, middle), (middle + 1, high)]
    return order


def _chosen(section: Any) -> dict[str, Any]:
    """The values that differ from their defaults: a key that the section gets later leaves the names as they are."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            found[field.name] = _chosen(value)
        elif value != field.default:
            found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


def _with(recipe: Recipe, lr: float, seed: int) -> Recipe:
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, learning_rate=lr, seed=seed))
