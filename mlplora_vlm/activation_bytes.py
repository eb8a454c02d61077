"""What a forward pass leaves for the backward pass, and what answering needs, from the widths of a model's layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlplora_vlm.attach import AdapterSection
from mlplora_vlm.families.card import card_of
from mlplora_vlm.kinds import KINDS
from mlplora_vlm.load import ModelSection
from mlplora_vlm.stacks import Block, Layer, projections, stack
from mlplora_vlm.targets import targets

if TYPE_CHECKING:
    from transformers import PreTrainedModel


CHUNK = 64
"""Tokens that transformers' gated delta rule works on at once."""
CONVOLVED = 4
"""Tokens that the short convolutions before it look back on; LFM2's, which stand in for attention, on 3."""


@dataclass(frozen=True)
class TowerInput:
    """What the vision tower is given for one row."""

    positions: int
    """Patches, and one more for each tile."""
    attended: int
    """How many of them attend to each other: a tile's, or all."""


def assumed_input(model: PreTrainedModel, tokens: int) -> TowerInput:
    """For pictures that nobody counted: all of a row, each of its ``tokens`` made of as many patches as are merged."""
    card = card_of(model.config)
    width = stack(model, card, "vision")[0].width
    merged = max(1, next(iter(projections(model, card).values()))[0] // width)
    return TowerInput(tokens * merged, tokens * merged)


class Passes:
    """The passes of a batch's rows through a model: each of ``tokens`` tokens, at ``size`` bytes a number.

    A layer leaves for each token: its norms with their fp32 input, q, k, v, the attention's output twice (as it comes,
    and as the output Linear's input), gate, its activation, up and their product, and each adapter's rank-sized middle.
    Keys and values count as wide as the queries: with a mask, sdpa repeats those of grouped heads.  Frozen weights need
    no gradient, but the adapters need every layer's input.  In half precision that makes 38 bytes a token and unit of
    width of a plain ViT, where Korthikanti et al. (arXiv 2205.05198) count 34: norms keep their input in fp32 here.
    """

    def __init__(
        self, model: PreTrainedModel, base: ModelSection, batch: int, tokens: int, pictures: TowerInput, size: int
    ) -> None:
        self.model, self.card, self.base = model, card_of(model.config), base
        self.batch, self.tokens, self.pictures, self.size = batch, tokens, pictures, size
        self.text = model.config.get_text_config()
        self.vision = getattr(model.config, "vision_config", None) or model.config
        self.crossing = set(getattr(self.text, "cross_attention_layers", None) or ())
        kinds = dict(enumerate(getattr(self.text, "layer_types", None) or ()))
        self.delta_rule = {number for number, kind in kinds.items() if kind == "linear_attention"}
        self.recurrent = self.delta_rule | {number for number, kind in kinds.items() if kind == "conv"}

    def kept(self, adapter: AdapterSection, checkpointing: bool) -> int:
        """What a batch's forward pass leaves for the backward pass; logits apart.

        With checkpointing only each layer's input stays.  A tower without adapters keeps nothing: it needs one layer at
        a time, and its layers' outputs until the features are picked, before the language model has kept anything.
        """
        found = targets(self.model, adapter, self.card)
        language, tower = (self._stack(part, found, adapter) for part in ("language", "vision"))
        row: float = _left_bytes(*language, self.tokens, self.size, checkpointing)
        seeing = _left_bytes(*tower, self.pictures.positions, self.size, checkpointing or "vision" not in found)
        if "vision" in found:
            row += seeing
        else:
            row = max(row, seeing + max(tower[1]))
        row += self._projector(tower[0][0].width, found.get("projector", ()), adapter)
        if self.crossing:  # the picture's features
            row += self.pictures.positions * language[0][0].width * self.size
        return round(self.batch * row)

    def at_work(self, adapter: AdapterSection, checkpointing: bool) -> int:
        """What exists besides while one layer runs, backward too: its widest gradients; a checkpointed layer in whole;
        the weight that a quantised one is turned into; the copies that an adapter's kind makes of a weight.
        """
        found = targets(self.model, adapter, self.card)
        row = 0
        for part, positions in (("language", self.tokens), ("vision", self.pictures.positions)):
            if part == "language" or part in found:
                layers, left = self._stack(part, found, adapter)
                widest = 2 * self.size * positions * max(layer.mlp.writes for layer in layers)
                row = max(row, widest + (max(left) if checkpointing else 0))
        linears: list[Any] = [self.model.get_submodule(name) for names in found.values() for name in names]
        copies = KINDS[adapter.kind].weight_copies + (self.base.quantization != "none")
        return self.batch * row + self.size * copies * max(linear.weight.numel() for linear in linears)

    def _stack(
        self, part: str, found: Mapping[str, Sequence[str]], adapter: AdapterSection
    ) -> tuple[list[Layer], list[int]]:
        """A part's layers, and what each of them leaves of one row."""
        layers = stack(self.model, self.card, part, found.get(part, ()))
        return layers, [self._left(part, layer, adapter) for layer in layers]

    def answering(self, new_tokens: int) -> dict[str, int]:
        """What questions need beside the weights: nothing is kept but keys, values and one layer's work."""
        language, tower = (stack(self.model, self.card, part) for part in ("language", "vision"))
        cache = 0  # keys and values, or what stands in for them
        for layer in language:
            if layer.number in self.delta_rule:
                cache += 4 * layer.attention.writes * self.text.linear_key_head_dim
            if layer.number in self.recurrent:
                cache += self.size * CONVOLVED * sum(layer.attention.reads)
            else:
                reach = self.pictures.positions if layer.number in self.crossing else self.tokens + new_tokens
                cache += reach * layer.attention.keys * self.size
        work = max(self.tokens * self._work("language", layer) for layer in language)
        seeing = max(self.pictures.positions * self._work("vision", layer) for layer in tower)
        return {
            "key-value cache": self.batch * cache,
            "activations": self.batch * max(work, seeing),
            "logits": self.batch * vocabulary(self.model) * (self.size + 4),
        }

    def _left(self, part: str, layer: Layer, adapter: AdapterSection) -> int:
        """What a layer leaves of one row."""
        kind, tokens = KINDS[adapter.kind], self.tokens if part == "language" else self.pictures.positions
        numbers = _attention_numbers(layer.attention) + _mlp_numbers(layer.mlp)
        numbers += len(layer.adapted) * adapter.rank_of(part) + kind.kept_outputs * sum(out for _, out in layer.adapted)
        if part == "vision" and getattr(self.vision, "use_clipped_linears", False):  # a clamp keeps its input
            numbers += sum(_ends(block, layer.width) for block in (layer.attention, layer.mlp))
        each = self.size * numbers + (4 + self.size) * layer.norms + self._matrix(part, layer)
        if adapter.dropout:  # each adapter drops its own copy of its input: the copy and the mask
            each += (self.size + 1) * sum(into for into, _ in layer.adapted)
        left = tokens * each
        if part == "language" and layer.number in self.delta_rule:
            left += 4 * _delta_rule_numbers(self.text, tokens)
        if part == "language" and layer.number in self.crossing:  # keys and values: normed in fp32, and repeated
            each = (4 + self.size) * layer.attention.keys + self.size * 2 * layer.attention.writes
            left += self.pictures.positions * (each + 2 * self.size * adapter.rank_of(part))
        return left

    def _matrix(self, part: str, layer: Layer) -> int:
        """What attention leaves of its (tokens x tokens) matrix for one token: nothing with flash attention.

        sdpa leaves the mask, which it makes anew in each layer; eager attention besides each head's scores, their
        softmax in fp32 and its copy, and a capped score's tanh.
        """
        config, reach = self._attending(part, layer)
        chosen = self.base.attn_implementation
        if chosen == "auto":  # transformers has chosen: eager for Gemma 2, whose scores are capped, mostly sdpa
            chosen = getattr(config, "_attn_implementation", None) or "sdpa"
        if chosen == "flash_attention_2":
            return 0
        capped = 2 * self.size if getattr(config, "attn_logit_softcapping", None) else 0
        scores = _heads(config) * (4 + 2 * self.size + capped) if chosen == "eager" else 0
        return reach * (self.size + scores)

    def _attending(self, part: str, layer: Layer) -> tuple[Any, int]:
        """(configuration, how many positions a token attends to)."""
        if part == "vision":
            return self.vision, self.pictures.attended
        if layer.number in self.recurrent:
            return self.text, 0
        return self.text, self.pictures.positions if layer.number in self.crossing else self.tokens

    def _work(self, part: str, layer: Layer) -> int:
        """What a layer needs for one token while it runs, nothing being kept."""
        numbers = 4 * layer.width + 3 * layer.attention.writes + 3 * layer.mlp.writes
        return self.size * numbers + self._matrix(part, layer)

    def _projector(self, width: int, adapted: Sequence[str], adapter: AdapterSection) -> int:
        """What the projector leaves of one row; ``width``: of the tower."""
        kind, positions, left = KINDS[adapter.kind], self.pictures.positions, 0.0
        for name, (into, out) in projections(self.model, self.card).items():
            numbers = into + out
            if name in adapted:
                numbers += adapter.rank_of("projector") + kind.kept_outputs * out
            # as many as the tower's until patches are merged, then as many as the language model takes of them
            merged = max(min(positions, self.tokens), positions * width / into)
            left += (positions if self.crossing else merged) * self.size * numbers
        return round(left)


def logit_bytes(model: PreTrainedModel, rows: int) -> int:
    """Logits over the vocabulary for every token, as transformers computes the loss; ``rows`` is batch x tokens.

    At most three in fp32 exist at once, whatever the model's precision: the log-softmax, its gradient and that of the
    logits.  Where the model caps them, so do their tanh and what that is taken of.
    """
    each = 3 * 4
    if getattr(model.config.get_text_config(), "final_logit_softcapping", None):
        each += 2 * 4
    return rows * vocabulary(model) * each


def vocabulary(model: PreTrainedModel) -> int:
    """How many logits a token has."""
    head: Any = model.get_output_embeddings()
    return int(head.weight.shape[0])


def _left_bytes(layers: Sequence[Layer], left: Sequence[int], tokens: int, size: int, inputs_only: bool) -> int:
    """Every layer whole, or the inputs of all."""
    return tokens * size * sum(layer.width for layer in layers) if inputs_only else sum(left)


def _attention_numbers(block: Block) -> int:
    return max(sum(block.reads), 3 * block.writes) + 2 * block.writes


def _mlp_numbers(block: Block) -> int:
    gated = sum(block.reads) > block.writes
    return sum(block.reads) + (2 if gated else 1) * block.writes


def _ends(block: Block, width: int) -> int:
    """Inputs and outputs of a block's Linears, each with a copy of its own."""
    return sum(block.reads) + block.writes + (len(block.reads) + 1) * width


def _delta_rule_numbers(text: Any, tokens: int) -> int:
    """fp32 numbers that the gated delta rule leaves of a row, as transformers has it without a kernel of its own.

    20 of the width of all heads for each token, 6 matrices for each chunk and head, and 3 times each chunk's state.
    """
    heads, keys = text.linear_num_value_heads, text.linear_key_head_dim
    values = text.linear_value_head_dim
    chunks = math.ceil(tokens / CHUNK)
    return int(chunks * heads * (20 * CHUNK * max(keys, values) + 6 * CHUNK**2 + 3 * keys * values))


def _heads(config: Any) -> int:
    names = ("num_attention_heads", "num_heads", "attention_heads")
    return next(int(getattr(config, name)) for name in names if getattr(config, name, None))
