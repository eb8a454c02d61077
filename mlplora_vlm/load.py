"""Loads a base model and its processor as the recipe says: precision, quantised weights, attention implementation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import card_of
from mlplora_vlm.families.processor import FamilyProcessor
from mlplora_vlm.quantization import FOUR_BIT, check_quantized, check_unchanged, quantization_config

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class ModelSection:
    """Which base model, and how it is loaded."""

    id: str
    """A hub id, a folder, or `demo/…` for a model that is assembled here."""
    revision: str | None = None
    """The hub revision (a commit pins it)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on CUDA and on CPUs with AMX, else float32."""
    quantization: Literal["none", "nf4", "fp4", "int8"] = "none"
    """The frozen base weights of the language layers: nf4 or fp4, 4 bits (QLoRA); int8, 8 bits (LLM.int8)."""
    double_quantization: bool = True
    """4 bits: the scales of the weights are quantised too, which saves 0.37 bits a weight."""
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """4 bits: what the weights are turned into for each product; auto: the model's dtype."""
    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """auto: what transformers chooses for the model."""
    picture_tokens: int | None = None
    """No picture costs more tokens than this: larger ones are shrunk, or cut into fewer tiles; the family knows how."""
    trust_remote_code: bool = False
    """Runs Python code from the model's repo; off unless asked for."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if not self.id.strip():
            yield "id", "no model is named", "give a hub id such as llava-hf/llava-1.5-7b-hf, or a folder"
        if self.picture_tokens is not None and self.picture_tokens < 1:
            yield (
                "picture_tokens",
                "picture_tokens must be at least 1",
                "256 to 2048 are usual; null: no bound",
            )
        if self.quantization not in FOUR_BIT:
            if not self.double_quantization:
                yield (
                    "double_quantization",
                    f"double quantisation is for 4-bit weights, and quantization is {self.quantization}",
                    "leave double_quantization out, or use quantization=nf4",
                )
            if self.compute_dtype != "auto":
                yield (
                    "compute_dtype",
                    f"a compute type is for 4-bit weights, and quantization is {self.quantization}",
                    "set dtype instead: the model computes in it",
                )


def resolve_dtype(dtype: str) -> torch.dtype:
    """The precision that "auto" means on this machine: bfloat16 where the hardware is faster in it."""
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    return torch.bfloat16 if torch.cuda.is_available() or _cpu_multiplies_bf16() else torch.float32


def _cpu_multiplies_bf16() -> bool:
    """AMX is much faster in bfloat16; AVX-512's bfloat16 instructions alone were measured slower than float32."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8", errors="replace")


def load_model(path: str, settings: ModelSection, device: str | None = None) -> PreTrainedModel:
    """The base model, frozen or not as transformers has it, in the recipe's precision.

    ``path`` is a hub id or a folder; ``device`` places it (None: this process's GPU; where ZeRO-3 partitions
    it or there is none, where transformers leaves it).  On a CPU and in the files' own precision its weights are the
    files' pages, which all processes share.
    Raises `MendableError` where the model cannot be had, or other modules than the card's are quantised.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    dtype = resolve_dtype(settings.dtype)
    options: dict[str, Any] = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    try:
        card = card_of(AutoConfig.from_pretrained(path, **options))
        if settings.attn_implementation != "auto":
            options["attn_implementation"] = settings.attn_implementation
        if settings.quantization != "none":
            options["quantization_config"] = quantization_config(settings, dtype, card)
            options["device_map"] = {"": device or local_device()}
        elif device is None and _straight_to_gpu():
            options["device_map"] = {"": local_device()}
        with card.loading():
            model = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype, use_safetensors=True, **options)
    except (OSError, ValueError) as error:
        raise MendableError(
            f"the model cannot be loaded: {str(error).splitlines()[0]}",
            f"model.id {path!r}",
            "check the id or folder, the network and, for a gated model, `hf auth login`",
        ) from error
    if settings.quantization != "none":
        for layer in check_quantized(model, card, settings):
            # on a CPU with AVX-512 it would repack its weights at the first answer: refused for widths that 32 does
            # not divide, and a training that goes on after an evaluation would read the repacked ones
            layer.support_avx512bf16_for_cpu = False
        check_unchanged(model, dtype)
    elif device:
        model.to(device)  # type: ignore[arg-type]
    if settings.picture_tokens is not None and card.mirrored:
        pictures = load_processor(path, settings).image_processor
        for name in card.mirrored:
            setattr(model.config, name, getattr(pictures, name))
    if card.mend:
        card.mend(model)
    return model


def load_processor(path: str | Path, settings: ModelSection, kept: Path | None = None) -> FamilyProcessor:
    """The model's own processor (tokenizer, pictures, chat template), its pictures bounded as the recipe says.

    ``path`` is a model's folder or hub id; ``kept`` a folder with a processor's files alone, such as a run's adapter/
    with the one that it was trained with.  Raises `MendableError` where the bound cannot be kept.
    """
    from transformers import AutoConfig, AutoProcessor

    options: dict[str, Any] = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    card = card_of(AutoConfig.from_pretrained(str(path), **options))
    processor = FamilyProcessor(AutoProcessor.from_pretrained(str(kept or path), **options), card)
    if settings.picture_tokens is not None:
        processor.card.pictures.bound(processor.stock, settings.picture_tokens)
    return processor


def load_tuned(path: str, adapter: Path, settings: ModelSection, device: str | None = None) -> PeftModel:
    """The base model with a PEFT adapter folder on it, ready to answer.

    Raises `MendableError` for an adapter that does not fit it, before any weights are loaded.
    """
    from mlplora_vlm.adapter_folder import check_fit, put_on

    check_fit(path, settings, adapter)
    return put_on(load_model(path, settings, device), adapter)


def best_device() -> str:
    """``cuda`` where there is one, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def local_device() -> str:
    """This process's own GPU, or the CPU."""
    import os

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if best_device() == "cuda" else "cpu"


def _straight_to_gpu() -> bool:
    """Whether weights are loaded to this process's GPU one by one, so that the host never holds a copy a process.

    Not under ZeRO-3, which partitions them as they come: there the first process alone reads the files.
    """
    from transformers.integrations import is_deepspeed_zero3_enabled

    return best_device() == "cuda" and not is_deepspeed_zero3_enabled()
