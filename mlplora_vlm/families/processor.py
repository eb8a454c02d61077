"""A model's stock processor together with its family's card: what the chat's text and batches are made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlplora_vlm.families.card import FamilyCard

if TYPE_CHECKING:
    from transformers import ProcessorMixin


@dataclass(frozen=True)
class FamilyProcessor:
    """Stands for the stock processor, which answers to everything that is not named here."""

    stock: ProcessorMixin
    card: FamilyCard

    def __post_init__(self) -> None:
        published, unusable = getattr(self.stock, "chat_template", None), self.card.unusable_template
        if self.card.chat_template and (not published or (unusable and unusable in published)):
            self.stock.chat_template = self.card.chat_template  # saved with every model that is made of this one

    def __getattr__(self, name: str) -> Any:
        if name in ("stock", "card"):  # while it is being unpickled in a loader's process
            raise AttributeError(name)
        return getattr(self.stock, name)

    def __call__(self, **inputs: Any) -> Any:
        """The stock processor's output, or what the family has in its place."""
        encode = self.card.encode
        return encode(self.stock, **inputs) if encode else self.stock(**inputs)

    def render(self, chat: list[dict[str, Any]], add_generation_prompt: bool, **options: Any) -> str:
        """The chat's text by the chat template, which gets the family's own options beside ``options``."""
        options |= {**self.card.template_options, "add_generation_prompt": add_generation_prompt, "tokenize": False}
        return str(self.stock.apply_chat_template(chat, **options))

    @property
    def placeholder(self) -> str:
        """What the chat template writes for a picture."""
        return self.card.placeholder

    @property
    def answer_end(self) -> str | None:
        """The token that ends the assistant's turn; None where neither card nor tokenizer has one."""
        return self.card.answer_end or self.stock.tokenizer.eos_token
