"""MLP-generated LoRA adapters for vision-language models.  The optimizer alone needs torch and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups

__all__ = ["GeneratedAdapterOptimizer", "adapter_groups"]


def __getattr__(name: str) -> Any:
    """Loads torch only when the optimizer is asked for: recipes are checked without it."""
    if name in __all__:
        from mlplora_vlm import optimizer

        return getattr(optimizer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
