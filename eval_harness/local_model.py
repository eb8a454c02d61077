"""A model in this process as whoever answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from data_prep.example import Example
from eval_harness.generate import answers
from eval_harness.predictions import model_digest
from mlplora_vlm.files import digest
from mlplora_vlm.processor_check import check_vocabulary

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
        template, pictures = processor.chat_template, processor.image_processor.to_dict()
        self.digest = digest([self.weights, template, {key: str(value) for key, value in pictures.items()}])

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
