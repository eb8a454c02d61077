"""Proves that what was written is what was trained: logits of the live model, the adapter and the merged model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import ModelSection, best_device, load_model, load_tuned, resolve_dtype

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

BOUNDS = {"float32": 1e-5, "bfloat16": 5e-2}
"""Largest relative logit error, by precision; in bfloat16 the merged weights' own rounding (2⁻⁹ each) dominates."""


def answer_logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The logits that predict each label token, fp32 on the CPU, shape (label tokens, vocabulary)."""
    import torch

    inputs = {key: value for key, value in batch.items() if key != "labels"}
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.inference_mode():
        logits = model(**{key: value.to(device) for key, value in inputs.items()}).logits.float().cpu()
    model.train(training)
    return logits[:, :-1][batch["labels"][:, 1:] != -100].contiguous()


def save_reference(model: nn.Module, batch: dict[str, Tensor], file: Path | None) -> None:
    """Records a batch and what the live trained model says to it.

    Under ZeRO-3 every process must call it, since each forward gathers; those with ``file`` None write nothing.
    """
    from safetensors.torch import save_file

    logits = answer_logits(model, batch)
    if file:
        save_file({name: t.contiguous() for name, t in batch.items()} | {"answer_logits": logits}, file)


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """‖got − wanted‖ / ‖wanted‖."""
    return ((got - wanted).norm() / wanted.norm()).item()


def verify_logits(
    path: str, settings: ModelSection, adapter: Path, merged: Path, reference: Path
) -> tuple[dict[str, Any], PreTrainedModel]:
    """Loads adapter and merged model from disk and compares both with the live model's recorded logits.

    Returns dtype, bound, relative errors and the largest single difference, and the merged model, still loaded.
    Raises `MendableError` past the bound.
    """
    from safetensors.torch import load_file

    batch = load_file(reference)
    wanted = batch.pop("answer_logits")
    tuned = load_tuned(path, adapter, settings, best_device())
    collapsed = answer_logits(tuned, batch)
    del tuned
    # like its base, but never in 4 bits
    plain = ModelSection(id=str(merged), dtype=settings.dtype, attn_implementation=settings.attn_implementation)
    model = load_model(str(merged), plain, best_device()).eval()
    whole = answer_logits(model, batch)
    dtype = str(resolve_dtype(settings.dtype)).removeprefix("torch.")
    facts: dict[str, Any] = {
        "dtype": dtype,
        "answer_tokens": len(wanted),
        "collapse_error": relative_error(collapsed, wanted),
        "collapse_bound": BOUNDS[dtype],
        "merge_error": relative_error(whole, wanted),
        "merge_bound": BOUNDS[dtype],
        "largest_logit_difference": (whole - wanted).abs().max().item(),
    }
    for step, folder in (("collapse", adapter), ("merge", merged)):
        if not facts[f"{step}_error"] <= facts[f"{step}_bound"]:  # NaN fails too
            raise MendableError(
                f"after {step} logits differ by {facts[f'{step}_error']:.1e}, above {BOUNDS[dtype]:.0e} ({dtype})",
                str(folder),
                f"run again with --from {step}; nothing has been published",
            )
    return facts, model
