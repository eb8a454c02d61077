"""Takes an adapter off again: the base model is then bit for bit what it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.families.card import card_of
from mlplora_vlm.kinds import KINDS
from mlplora_vlm.targets import targets, trained_in_full

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@contextmanager
def attached(model: PreTrainedModel, settings: AdapterSection) -> Iterator[PeftModel]:
    """`attach` for the time of a ``with`` block; whatever happens inside, the base is restored at its end.

    Weights that the kind takes its start from (PiSSA) are kept aside meanwhile, and modules that were trained in full
    are put back as they were; all other base weights are frozen.
    """
    import torch

    card = card_of(model.config)
    paths = [path for part in trained_in_full(model, settings, card).values() for path in part]
    in_full = {path: model.get_submodule(path) for path in paths}
    changed = [name for part in targets(model, settings, card).values() for name in part]
    weights = [model.get_parameter(f"{name}.weight") for name in changed if KINDS[settings.kind].changes_base]
    aside = [weight.detach().clone() for weight in weights]
    tuned = None
    try:
        tuned, _ = attach(model, settings)
        yield tuned
    finally:
        if tuned is not None:
            tuned.unload()
        for path, module in in_full.items():  # PEFT would leave the trained copy there
            model.set_submodule(path, module)
        with torch.no_grad():
            for weight, was in zip(weights, aside, strict=True):
                weight.copy_(was)
