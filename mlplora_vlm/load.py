"""Loads a base model and its processor as the recipe says: precision, 4-bit weights, attention implementation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


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
    trust_remote_code: bool = False
    """Runs Python code from the model's repo; off unless asked for."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if not self.id.strip():
            yield "id", "no model is named", "give a hub id such as llava-hf/llava-1.5-7b-hf, or a folder"
