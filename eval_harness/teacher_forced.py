"""Loss and exact answers from one forward pass a batch, without generating."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from data_prep.example import Example


def teacher_forced(
    model: Module, collator: Callable[..., dict[str, Tensor]], examples: Sequence[Example], batch_size: int
) -> dict[str, Any]:
    """The model's ``loss`` (mean negative log likelihood a label token, in nats) and ``accuracy`` on ``examples``.

    A row counts as right where the most likely token is the label at every label position, the end of the turn among
    them, given the labels before it.  That is so exactly where greedy decoding gives exactly this answer (by induction
    over its tokens; up to rounding), so one forward pass does.  ``by_category`` has each category's accuracy.
    ``collator`` makes labels, as `data_prep.collate.TrainCollator`.  The model is left in evaluation mode.
    """
    import torch

    from data_prep.collate import IGNORED
    from mlplora_vlm.inputs import on_model

    model.eval()
    loss, tokens, right = 0.0, 0, []
    with torch.no_grad():
        for start in range(0, len(examples), batch_size):
            rows = examples[start : start + batch_size]
            batch = on_model(collator(rows), model)
            labels = batch.pop("labels")[: len(rows), 1:]  # a collator may add a row without labels
            columns = (labels != IGNORED).any(0).nonzero()[:, 0]  # the output layer is worth computing for these alone
            labels = labels[:, columns]
            learnt = labels != IGNORED
            logits = model(**batch, logits_to_keep=columns).logits[: len(rows)][learnt].float()
            wanted = labels[learnt]
            loss += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
            tokens += len(wanted)
            hit = torch.ones_like(learnt)
            hit[learnt] = logits.argmax(-1) == wanted
            right += hit.all(1).tolist()
    groups: dict[str, list[bool]] = defaultdict(list)
    for example, one in zip(examples, right, strict=True):
        groups[example.category].append(one)
    return {
        "loss": loss / tokens,
        "accuracy": sum(right) / len(right),
        "by_category": {name: sum(ones) / len(ones) for name, ones in sorted(groups.items())},
        "rows": len(right),
    }
