"""A model in this process as whoever answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from data_prep.example import Example
from eval_harness.generate import answers
from eval_harness.predictions import model_digest
from mlplora_vlm.files import digest
from mlplora_vlm.processor_check import check_vocabulary
from mlplora_vlm.provenance import versions

if TYPE_CHECKING:
    from mlplora_vlm.families.processor import FamilyProcessor


class LocalModel:
    """A loaded model, base or tuned, with its processor; see `eval_harness.answerer.Answerer`."""

    def __init__(self, model: Any, processor: FamilyProcessor, name: str, about: dict[str, Any] | None = None) -> None:
        """``about``: what to say of it beside the hashes, such as the folder it was loaded from.

        Raise `MendableError` where the tokenizer has more tokens than the model has embeddings.
        """
        check_vocabulary(model, processor, f"model {name}")
        self.model, self.processor, self.name, self._about = model, processor, name, about or {}
        self.weights = model_digest(model)
        self.digest = digest([self.weights, _plain(_settings(model, processor))])

    def close(self) -> None:
        """Let go of the model, whoever still holds on to this object."""
        self.model = None

    def answers(
        self,
        examples: Sequence[Example],
        prompt: str,
        max_new_tokens: int,
        batch_size: int,
        description: str = "answering",
        progress: bool = True,
    ) -> Iterator[tuple[int, str]]:
        """See `eval_harness.generate.answers`."""
        yield from answers(
            self.model, self.processor, examples, prompt, max_new_tokens, batch_size, description, progress
        )

    def prompt(self, example: Example, prompt: str) -> str:
        """The prompt as it is sent, its picture placeholders not yet widened."""
        from data_prep.collate import PromptCollator

        return PromptCollator(self.processor, prompt).text(example)

    def describe(self) -> dict[str, Any]:
        """Name, family, precision, and the hashes of what its answers hang on."""
        return {
            "name": self.name,
            **self._about,
            "family": self.processor.card.model_type,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "weights": self.weights,
            "digest": self.digest,
        }


PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "peft", "bitsandbytes", "pillow")
"""Libraries that compute an answer."""
UNRELATED = {"_name_or_path", "base_model_name_or_path", "transformers_version", "architectures", "inference_mode"}
"""Keys of configurations that say where a model lies or who wrote it."""


def _settings(model: Any, processor: FamilyProcessor) -> dict[str, Any]:
    """Everything but the weights that an answer depends on."""
    parts = [model.config, *(getattr(model.config, name, None) for name in model.config.sub_configs)]
    adapters = getattr(model, "peft_config", None) or {}
    return {
        "config": model.config.to_dict(),
        "attention": [getattr(part, "_attn_implementation", None) for part in parts],
        "dtype": [model.dtype, *sorted({str(getattr(part, "compute_dtype", "")) for part in model.modules()})],
        "device": model.device.type,
        "adapters": {name: adapter.to_dict() for name, adapter in adapters.items()},
        "ends": model.generation_config.eos_token_id,
        "processor": processor.to_dict(),
        "template": [processor.chat_template, dict(processor.card.template_options), processor.answer_end],
        "tokenizer": processor.tokenizer.backend_tokenizer.to_str(),
        "versions": {name: found for name, found in versions(PACKAGES).items() if name in PACKAGES},
    }


def _plain(value: Any) -> Any:
    """The value as JSON holds it, without `UNRELATED` keys; sets in order."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items() if key not in UNRELATED}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return value if isinstance(value, str | int | float | None) else str(value)
