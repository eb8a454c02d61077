"""A model in this process, as an `Answerer`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from data_prep.collate import PromptCollator
from data_prep.example import Example
from eval_harness.generate import answers
from eval_harness.predictions import model_digest
from mlplora_vlm.files import digest

if TYPE_CHECKING:
    from mlplora_vlm.families.processor import FamilyProcessor


class LocalModel:
    """Answers with a loaded model and its processor."""

    def __init__(self, model: Any, processor: FamilyProcessor, name: str) -> None:
        self.model, self.processor, self.name = model, processor, name
        self.digest = digest([model_digest(model), processor.chat_template])

    def answers(
        self,
        examples: Sequence[Example],
        prompt: str,
        max_new_tokens: int,
        batch_size: int,
        description: str = "answering",
        progress: bool = True,
    ) -> Iterator[tuple[int, str]]:
        """(place, answer) of each example."""
        yield from enumerate(
            answers(self.model, self.processor, examples, prompt, max_new_tokens, batch_size, description, progress)
        )

    def prompt(self, example: Example, prompt: str) -> str:
        """The prompt through the chat template."""
        return PromptCollator(self.processor, prompt).text(example)

    def describe(self) -> dict[str, Any]:
        """The model's name and digest."""
        return {"model": self.name, "digest": self.digest}
