"""A base model of a recipe's real widths with random weights and two layers of each part, as a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.demo.models import model_path
from data_prep.demo.tiny import FAMILIES, tiny_family
from data_prep.demo.tiny.build import TEXT, TinyFamily, Token, build_tokenizer, random_model
from data_prep.prompts import PROMPTS
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.depth import shallow
from mlplora_vlm.families.processor import FamilyProcessor
from mlplora_vlm.files import write_text
from recipes.dry_run import model_config
from recipes.pictures import local_processor, with_published_settings
from recipes.recipe import Recipe

if TYPE_CHECKING:
    pass

VOCABULARY = 2048
"""Tokens of the stand-in tokenizer: enough for most words of the prompts to be one token, as with the real one."""
SHARD = "400MB"
"""Published weights come in several files and an index: so do these."""


def build_base(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Write the model folder; return what was cut: layers by part, and the tokenizer where it is a stand-in."""
    from mlplora_vlm.load import resolve_dtype

    config, cuts = shallow(model_config(recipe))
    dtype = str(resolve_dtype(recipe.model.dtype)).removeprefix("torch.")
    row = tiny_family(config.model_type) if config.model_type in FAMILIES else None
    own = replace(recipe.model, id=model_path(recipe.model.id), picture_tokens=None)
    processor = local_processor(own, config)
    if stand_in := processor is None:
        processor = _stand_in(recipe, row)
        _set_tokens(config, row.config, processor.tokenizer)  # type: ignore[union-attr]
    model = random_model(config, processor.tokenizer, row.answer_ends if row else (), recipe.train.seed, dtype)
    head = model.get_output_embeddings().weight.data
    head[len(processor.tokenizer) :] = 0  # never the best token: it would be decoded to nothing
    model.save_pretrained(folder, max_shard_size=SHARD)
    processor.save_pretrained(folder)
    write_text(folder / "README.md", "---\nlicense: other\nlicense_name: none-random-weights\n---\n\nRandom weights.\n")
    return {
        "layers": {part: list(numbers) for part, numbers in cuts.items()},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "stand_in_tokenizer": stand_in,
    }


def _stand_in(recipe: Recipe, row: TinyFamily | None) -> FamilyProcessor:
    """The published image settings around a tokenizer trained on the prompts; raises `MendableError` without them."""
    if row is not None:
        text = "\n".join([TEXT, *PROMPTS.values(), row.chat_template or ""])
        found = with_published_settings(recipe.model.id, row, build_tokenizer(row, text, VOCABULARY))
        if found is not None:
            return found
    raise MendableError(
        f"the processor of {recipe.model.id} is neither in the local cache nor are its settings known",
        "model.id",
        f"hf download {recipe.model.id} --include '*.json' '*.jinja' '*.model', then repeat the command",
    )


def _set_tokens(config: Any, row: Mapping[str, Any], tokenizer: Any) -> None:
    """Write the stand-in tokenizer's ids where the family's configuration names tokens."""
    for key, value in row.items():
        if isinstance(value, Token):
            setattr(config, key, tokenizer.convert_tokens_to_ids(str(value)))
        elif isinstance(value, Mapping) and hasattr(getattr(config, key, None), "to_dict"):
            _set_tokens(getattr(config, key), value, tokenizer)
