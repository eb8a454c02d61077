"""Loads a base model and its processor as the recipe says: precision, 4-bit weights, attention implementation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import FamilyCard, card_of
from mlplora_vlm.families.processor import FamilyProcessor

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
    quantization: Literal["none", "nf4"] = "none"
    """nf4: frozen 4-bit base weights (QLoRA), double quantisation."""
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

    ``path`` is a hub id or a folder; ``device`` places it (None: where transformers leaves it, as DeepSpeed wants).
    Raises `MendableError` where the model cannot be had, or other modules than the card's are 4-bit.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    dtype = resolve_dtype(settings.dtype)
    options: dict[str, Any] = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    try:
        card = card_of(AutoConfig.from_pretrained(path, **options))
        if settings.attn_implementation != "auto":
            options["attn_implementation"] = settings.attn_implementation
        if settings.quantization == "nf4":
            options["quantization_config"] = nf4(dtype, card)
            options["device_map"] = {"": device or local_device()}
        with card.loading():
            model = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype, use_safetensors=True, **options)
    except OSError as error:
        raise MendableError(
            f"the model cannot be loaded: {str(error).splitlines()[0]}",
            f"model.id {path!r}",
            "check the id, the network and, for a gated model, `hf auth login`",
        ) from error
    if settings.quantization == "nf4":
        for layer in check_quantized(model, card):
            # on a CPU with AVX-512 it would repack its weights at the first answer: refused for widths that 32 does
            # not divide, and a training that goes on after an evaluation would read the repacked ones
            layer.support_avx512bf16_for_cpu = False
    elif device:
        model.to(device)  # type: ignore[arg-type]
    if settings.picture_tokens is not None and card.mirrored:
        pictures = load_processor(path, settings).image_processor
        for name in card.mirrored:
            setattr(model.config, name, getattr(pictures, name))
    if card.mend:
        card.mend(model)
    return model


def load_processor(path: str | Path, settings: ModelSection) -> FamilyProcessor:
    """The model's own processor (tokenizer, pictures, chat template), its pictures bounded as the recipe says.

    ``path`` is a model's folder or hub id.  Raises `MendableError` where the bound cannot be kept.
    """
    from transformers import AutoConfig, AutoProcessor

    options: dict[str, Any] = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    card = card_of(AutoConfig.from_pretrained(str(path), **options))
    processor = FamilyProcessor(AutoProcessor.from_pretrained(str(path), **options), card)
    if settings.picture_tokens is not None:
        processor.card.pictures.bound(processor.stock, settings.picture_tokens)
    return processor


def load_tuned(path: str, adapter: Path, settings: ModelSection, device: str | None = None) -> PeftModel:
    """The base model with a PEFT adapter folder on it, ready to answer."""
    from mlplora_vlm.adapter_folder import put_on

    return put_on(load_model(path, settings, device), adapter)


def best_device() -> str:
    """``cuda`` where there is one, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def local_device() -> str:
    """This process's own GPU, or the CPU."""
    import os

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if best_device() == "cuda" else "cpu"


def nf4(dtype: torch.dtype, card: FamilyCard) -> Any:
    """QLoRA's NF4 with double quantisation (arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(card.unquantized),
    )


def check_quantized(model: PreTrainedModel, card: FamilyCard) -> list[Any]:
    """The 4-bit layers; raises `MendableError` unless they are language layers: a wrong skip name is silent."""
    from bitsandbytes.nn import Linear4bit

    four_bit = {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}
    odd = sorted(name for name in four_bit if not re.fullmatch(card.language, name))
    if odd or not four_bit:
        raise MendableError(
            f"{len(four_bit)} modules are 4-bit, {len(odd)} of them are not language layers",
            f"mlplora_vlm/families/ card {card.model_type!r} unquantized",
            f"name their full paths there: {odd[:4]}",
        )
    return list(four_bit.values())
