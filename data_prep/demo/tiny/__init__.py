"""Tiny random models, one module a family: real classes, nothing learnt, for smoke runs and the families' proofs.

Each module has ``TINY``, a `build.TinyFamily`; the module's name is the family's ``model_type``, dashes as underscores.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_prep.demo.tiny.build import TinyFamily

FAMILIES: tuple[str, ...] = tuple(
    sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "build")
)


def tiny_family(model_type: str) -> TinyFamily:
    """The family's row."""
    family: TinyFamily = import_module(f"{__name__}.{model_type}").TINY
    return family
