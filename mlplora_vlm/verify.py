"""Proves that what was written is what was trained: processors, tensors and logits, loaded from disk again."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError, reason
from mlplora_vlm.files import open_tensors, read_json, read_tensors, write_json
from mlplora_vlm.load import ModelSection, best_device, load_processor, resolve_dtype
from mlplora_vlm.merge import MergeSection, check_tensors
from mlplora_vlm.quantization import quantization_config

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mlplora_vlm.families.processor import FamilyProcessor

BOUNDS = {"float32": 1e-5, "bfloat16": 5e-2, "int8": 5e-2}
"""Largest relative logit error, by what rounds: in bfloat16 the merged weights' own rounding (2⁻⁹ each) dominates; with
an int8 base training rounds the activations of every layer to 8 bits too, which no merged weight can repeat."""
Batch = dict[str, "Tensor"]
Rebuild = Callable[["FamilyProcessor"], Sequence[Batch]]
"""Makes the reference's batches again, from the raw rows, with a processor."""
LOGITS = "answer_logits"
"""In a reference, the name of the trained model's logits beside a batch's tensors."""
RECORDED = 64
"""Label tokens of a batch whose logits are recorded: all of a long conversation's would take gigabytes."""


def answer_logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The logits that predict the first `RECORDED` label tokens, fp32 on the CPU, shape (label tokens, vocabulary)."""
    import torch

    inputs = {key: value for key, value in batch.items() if key != "labels"}
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.inference_mode():
        logits = model(**{key: value.to(device) for key, value in inputs.items()}).logits
        rows, columns = (batch["labels"][:, 1:] != -100).nonzero()[:RECORDED].to(logits.device).T
        wanted = logits[rows, columns].float().cpu()
    model.train(training)
    return wanted


def save_reference(
    model: nn.Module, batches: Sequence[Batch], file: Path | None, processor: FamilyProcessor | None = None
) -> None:
    """Record batches, the live trained model's logits for each, and the settings of the batches' ``processor``.

    Batches of the training's own size need no more memory than it did.  Under ZeRO-3 every process must call it, since
    each forward gathers; those with ``file`` None write nothing.
    """
    from safetensors.torch import save_file

    tensors: Batch = {}
    for number, batch in enumerate(batches):
        recorded = {**batch, LOGITS: answer_logits(model, batch)}
        tensors |= {f"{number}|{name}": tensor.contiguous() for name, tensor in recorded.items()}
    if file:
        settings = {key: json.dumps(value) for key, value in asked_with(processor).items()} if processor else None
        save_file(tensors, file, settings)


def read_reference(file: Path) -> list[Batch]:
    """The batches that `save_reference` recorded, each with its `LOGITS`."""
    batches: dict[int, Batch] = {}
    for key, tensor in read_tensors(file).items():
        number, _, name = key.partition("|")
        batches.setdefault(int(number), {})[name] = tensor
    return [batches[number] for number in sorted(batches)]


def asked_with(processor: Any) -> dict[str, Any]:
    """The chat template and the picture settings of a processor, as JSON holds them."""
    return {
        "chat template": processor.chat_template,
        "picture settings": json.loads(processor.image_processor.to_json_string()),
    }


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """‖got − wanted‖ / ‖wanted‖."""
    return ((got - wanted).norm() / wanted.norm()).item()


def verify(
    path: str,
    settings: ModelSection,
    adapter: Path,
    merged: Path,
    reference: Path,
    rebuild: Rebuild,
    choice: MergeSection | None = None,
) -> dict[str, Any]:
    """All checks below, the quick ones first; returns what `verify_logits` does, and the number of tensors compared."""
    for folder in (adapter, merged):
        check_processor(path, settings, folder, reference, rebuild)
    tensors = check_tensors(path, settings, adapter, merged, choice)
    return verify_logits(path, settings, adapter, merged, reference, choice) | {"tensors": tensors}


def check_processor(path: str, settings: ModelSection, folder: Path, reference: Path, rebuild: Rebuild) -> None:
    """Make the recorded batches again with the processor that lies in ``folder``, as it lies there.

    Raises `MendableError` where the chat template, the tokens or the pictures are not those of training.
    """
    from transformers import AutoConfig, AutoProcessor

    from mlplora_vlm.families.card import card_of
    from mlplora_vlm.families.processor import FamilyProcessor

    try:
        stock = AutoProcessor.from_pretrained(str(folder), trust_remote_code=settings.trust_remote_code)
    except Exception as error:  # whatever transformers stumbles over in its files
        raise _other(folder, f"its processor cannot be read: {reason(error)}") from error
    with open_tensors(reference) as opened:
        told = {key: json.loads(value) for key, value in (opened.metadata() or {}).items() if key != "format"}
    for what, value in asked_with(stock).items():
        if what in told and value != told[what]:
            raise _other(folder, f"the {what} {_differing(told[what], value)} not the one of training")
    config = AutoConfig.from_pretrained(path, revision=settings.revision, trust_remote_code=settings.trust_remote_code)
    wanted = read_reference(reference)
    try:
        got = rebuild(FamilyProcessor(stock, card_of(config)))
    except MendableError as error:
        raise _other(folder, f"its processor cannot make the recorded batch: {error.what}") from error
    if len(got) != len(wanted):
        raise _other(folder, f"it makes {len(got)} batches of what were {len(wanted)} in training")
    for recorded, batch in zip(wanted, got, strict=True):
        _check_same_batch(folder, {name: tensor for name, tensor in recorded.items() if name != LOGITS}, batch)


def _check_same_batch(folder: Path, wanted: Batch, got: Batch) -> None:
    """Raise `MendableError` where two batches differ in a name, a shape or a value."""
    import torch

    tokens = {name for name, tensor in wanted.items() if tensor.shape == wanted["input_ids"].shape}
    for name in sorted(wanted.keys() | got.keys(), key=lambda name: (name in tokens, name)):
        one, other = wanted.get(name), got.get(name)
        if one is None or other is None or one.shape != other.shape:
            shapes = [None if t is None else tuple(t.shape) for t in (one, other)]
            what = f"{name} had shape {shapes[0]} in training and has {shapes[1]} with this folder's processor"
        elif not torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-5):
            what = f"{name} has other values than in training"
        else:
            continue
        raise _other(folder, f"{what}: {'tokenizer' if name in tokens else 'processor'} settings changed")


def _differing(one: Any, other: Any) -> str:
    """Which of the settings differ, where they are several."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return "is"
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return f"({', '.join(f'{key}: {one.get(key)}, now {other.get(key)}' for key in keys[:3])}) are"


def _other(folder: Path, what: str) -> MendableError:
    step = "merge" if (folder / "config.json").is_file() else "collapse"
    return MendableError(
        f"{folder.name}/ does not ask as training did: {what}",
        str(folder),
        f"write it again with --from {step}; nothing has been published",
    )


def verify_logits(
    path: str,
    settings: ModelSection,
    adapter: Path,
    merged: Path,
    reference: Path,
    choice: MergeSection | None = None,
) -> dict[str, Any]:
    """Loads adapter and merged model with stock libraries in a fresh process, against the live model's recorded logits.

    Returns dtype, bounds, relative errors and the largest single difference.  Merged into other weights than those that
    training saw (not ``faithful``), the merged model is held to the adapter on those weights; how far it is from the
    trained model (``trained_error``) is stated and has no bound.  Raises `MendableError` past a bound.
    """
    dtype = str(resolve_dtype(settings.dtype)).removeprefix("torch.")
    quantized = settings.quantization != "none"
    original = quantized and choice is not None and choice.base == "original"
    rounding = "int8" if settings.quantization == "int8" and not original else dtype
    found = _in_fresh_process(_task(path, settings, adapter, merged, reference, dtype, original))
    facts = {
        "dtype": dtype,
        "rounding": rounding,
        "base": "dequantized" if quantized and not original else "original",
        "faithful": not original,
        "answer_tokens": found["answer_tokens"],
        "collapse_error": found["collapse_error"],
        "collapse_bound": BOUNDS[dtype],
        "merge_error": found["original_error"] if original else found["merge_error"],
        "merge_bound": BOUNDS[rounding],
        "trained_error": found["merge_error"],
        "largest_logit_difference": found["largest_logit_difference"],
        "class": found["class"],
    }
    for step, folder in (("collapse", adapter), ("merge", merged)):
        if not facts[f"{step}_error"] <= facts[f"{step}_bound"]:  # NaN fails too
            raise MendableError(
                f"after {step} logits differ by {facts[f'{step}_error']:.1e}, above {facts[f'{step}_bound']:.0e} "
                f"({rounding if step == 'merge' else dtype})",
                str(folder),
                f"run again with --from {step}; nothing has been published",
            )
    return facts


def _task(
    path: str, settings: ModelSection, adapter: Path, merged: Path, reference: Path, dtype: str, original: bool
) -> dict[str, Any]:
    """What `mlplora_vlm.stock_check` is told."""
    from transformers import AutoConfig

    from mlplora_vlm.families.card import card_of

    options = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    card = card_of(AutoConfig.from_pretrained(path, **options))
    changed: dict[str, Any] = {}
    if settings.picture_tokens is not None and card.mirrored:
        pictures = load_processor(path, settings).image_processor
        changed = {name: getattr(pictures, name) for name in card.mirrored}
    quantization = None
    if settings.quantization != "none":
        asked = quantization_config(settings, resolve_dtype(dtype), card).to_dict()
        quantization = {k: v for k, v in asked.items() if not k.startswith("_") and k != "quant_method"}
    attention = settings.attn_implementation
    return {
        "base": str(Path(path).resolve()) if Path(path).is_dir() else path,
        "adapter": str(adapter.resolve()),
        "merged": str(merged.resolve()),
        "reference": str(reference.resolve()),
        "dtype": dtype,
        "device": best_device(),
        "attention": None if attention == "auto" else attention,
        "quantization": quantization,
        "options": options,
        "config": changed,
        "original": original,
    }


def _in_fresh_process(task: dict[str, Any]) -> dict[str, Any]:
    """Runs stock_check.py apart from this project: ``-I`` hides the working folder and PYTHONPATH from it."""
    script = Path(__file__).with_name("stock_check.py")
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        told, result = Path(folder) / "task.json", Path(folder) / "result.json"
        write_json(told, task)
        done = subprocess.run(
            [sys.executable, "-I", str(script), str(told), str(result)], capture_output=True, text=True, check=False
        )
        if done.returncode or not result.is_file():
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or [f"exit code {done.returncode}"]
            raise MendableError(
                f"stock transformers cannot load what was written: {last[0]}",
                task["merged"],
                "run again with --from collapse; nothing has been published",
            )
        found: dict[str, Any] = read_json(result)
    return found
