"""What an adapter starts from: a folder that another training left, or the base weights' own singular vectors.

PiSSA (arXiv 2404.02948) takes its start s·B0·A0 out of the base weights: W = R + s·B0·A0, and trains R + s·B·A.  Its A
and B fit no model that anyone else has.  On the original base the same model is W + s·(B·A − B0·A0): a LoRA of twice
the rank, A' = [A; A0] and B' = [B, −B0].  That is what training leaves.  In float32 the two agree to a few 1e-7 of the
logits; a bfloat16 model rounds R, A0 and B0, each by up to 2⁻⁹, which the adapter's own training sees and the original
base does not: on the tiny models of the tests about 1e-2 of the logits, as much as rounding merged weights costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.adapter_file import PICKLE, PLAIN_STARTS, SavedAdapter, read_adapter, read_config
from mlplora_vlm.checkpoint import ADAPTER_FILE, CONFIG_FILE
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_tensors, write_json
from mlplora_vlm.kinds import KINDS, kind_of

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from mlplora_vlm.attach import AdapterSection

START_FILE = "start.safetensors"
LORA_A, LORA_B = (f".{ending}" for ending in KINDS["pissa"].tensors)
ROUNDING = 1e-2
"""Largest relative difference of two computations of one start: bfloat16's 2⁻⁸, with room; another base's is near 1."""


def check_init_from(settings: AdapterSection) -> SavedAdapter:
    """Raises `MendableError` unless ``settings.init_from`` is a PEFT folder of the very adapter that is attached.

    The layers are compared once there is a model.
    """
    assert settings.init_from is not None
    folder, kind = Path(settings.init_from).expanduser(), KINDS[settings.kind]
    missing = [name for name in (CONFIG_FILE, ADAPTER_FILE) if not (folder / name).is_file()]
    if missing and not (folder / PICKLE).is_file():
        raise MendableError(
            f"{folder} holds no PEFT adapter in safetensors ({' and '.join(missing)} missing)",
            "adapter.init_from",
            "give a folder such as out/…/adapter",
        )
    config = read_config(folder, checkpoint=True)
    here: dict[str, Any] = {"kind": settings.kind}
    there: dict[str, Any] = {"kind": kind_of(config) or config.get("peft_type")}
    for key, name in kind.names.items():
        if key != "dropout":  # may change between two trainings
            here[key], there[key] = getattr(settings, key), config.get(name)
    own = {rank for part in settings.on if (rank := settings.rank_of(part)) != settings.rank}
    here["ranks"], there["ranks"] = sorted(own), sorted(set((config.get("rank_pattern") or {}).values()))
    for key in ("layer_replication", "trainable_token_indices"):
        here[key], there[key] = None, config.get(key) or None
    here["bias"], there["bias"] = "none", config.get("bias", "none")
    start = config.get("init_lora_weights")  # pissa, olora, corda, …: its file fits no base but the one that it changed
    here["start"], there["start"] = "the base itself", "the base itself" if start in PLAIN_STARTS else start
    differing = [f"{key} is {there[key]} there and {here[key]} here" for key in here if here[key] != there[key]]
    if differing:
        raise MendableError(
            f"the adapter to go on from is another one: {'; '.join(differing)}",
            f"adapter.init_from {folder}",
            "set the adapter section as that folder has it",
        )
    return read_adapter(folder, checkpoint=True)


def tensors_to_go_on_from(model: PreTrainedModel, settings: AdapterSection) -> dict[str, Tensor]:
    """The tensors of ``settings.init_from`` under the names of ``model``, which has no adapter yet.

    Adapters from before transformers 4.52 carry older layer names, which are translated.  Raises `MendableError` where
    the folder holds another adapter, or one of another model.
    """
    from mlplora_vlm.adapter_folder import placed

    return placed(model, check_init_from(settings))[1]


def go_on_from(model: PeftModel, tensors: dict[str, Tensor], settings: AdapterSection) -> None:
    """Writes an adapter's tensors into a model with a freshly attached adapter; every process must call it.

    Raises `MendableError` where they are tensors of other layers.
    """
    import torch

    from mlplora_vlm.checkpoint import load_tensors

    folder = Path(str(settings.init_from)).expanduser()
    for name in KINDS[settings.kind].shared:
        part = name.rpartition(".")[2]
        made = getattr(model.base_model, part)["default"]
        if name not in tensors or not torch.equal(tensors[name].to(made), made):
            raise MendableError(
                f"the frozen projection {part} is not the one that is drawn here",
                f"adapter.init_from {folder}",
                "adapt the same layers: their largest sizes decide the projection's",
            )
    load_tensors(model, tensors, str(folder / ADAPTER_FILE))


@contextmanager
def same_every_time(enabled: bool) -> Iterator[None]:
    """Inside, random numbers (the fast SVD's) are the same in every run and process; outside nothing has changed."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count()), enabled=enabled):
        if enabled:
            torch.manual_seed(0)
        yield


def record_start(model: PeftModel) -> None:
    """Keeps the adapter as it is now in ``model.adapter_start``: names as in an adapter file, tensors on the CPU."""
    from mlplora_vlm.checkpoint import saved_name
    from mlplora_vlm.sharding import whole

    trained = {n: p for n, p in model.named_parameters() if p.requires_grad and ".modules_to_save." not in n}
    with whole(trained.values()):
        start = {saved_name(n): p.detach().to("cpu", copy=True).contiguous() for n, p in trained.items()}
    model.adapter_start = start  # type: ignore[assignment]


def keep_start(model: PeftModel, folder: Path, write: bool) -> None:
    """Writes the start into a training folder, or compares it with the one there: a checkpoint fits its own alone.

    Does nothing for a model whose base weights are as they were.  ``write``: whether this process writes.
    Raises `MendableError` where the start is not the one that the folder's training began with.
    """
    from safetensors.torch import save_file

    start: dict[str, Tensor] | None = getattr(model, "adapter_start", None)
    if start is None:
        return
    file = folder / START_FILE
    if not file.exists():
        if write:
            folder.mkdir(parents=True, exist_ok=True)
            part = file.with_name(f".{file.name}.part")
            save_file(start, part)
            part.replace(file)
        return
    kept = read_tensors(file)
    layers = [name.removesuffix(LORA_A) for name in start if name.endswith(LORA_A)]
    odd = sorted(start.keys() ^ kept.keys()) or [layer for layer in layers if not _close(layer, start, kept)]
    if odd:
        raise MendableError(
            f"the adapter's start is not the one that this training began with: it differs in {len(odd)} of "
            f"{len(layers)} layers, such as {odd[0]}",
            str(file),
            "go on with the same base model, precision and rank; or train anew, without this folder",
        )


def _close(layer: str, start: dict[str, Tensor], kept: dict[str, Tensor]) -> bool:
    """Whether both take the same B0·A0 out of the layer, whatever the singular vectors' signs."""
    import torch

    A, B, A_kept, B_kept = (tensors[layer + side].double() for tensors in (start, kept) for side in (LORA_A, LORA_B))
    if A.shape != A_kept.shape:
        return False
    difference = _norm_of_product(torch.cat([B, -B_kept], 1), torch.cat([A, A_kept]))
    return bool(difference <= ROUNDING * _norm_of_product(B_kept, A_kept))


def _norm_of_product(B: Tensor, A: Tensor) -> Tensor:
    """‖B·A‖ without the product itself.  B: (out, r), A: (r, in)."""
    return ((B.T @ B) * (A @ A.T)).sum().clamp(min=0).sqrt()


def onto_original_base(folder: Path, start: dict[str, Tensor]) -> None:
    """Rewrites a saved adapter folder: a stock LoRA of twice the rank, on the base as it was before its start."""
    import torch
    from safetensors.torch import save_file

    adapter = read_adapter(folder, checkpoint=True)
    tensors, config = adapter.tensors, adapter.config
    odd = [name for name, first in start.items() if name not in tensors or tensors[name].shape != first.shape]
    if odd:
        raise MendableError(
            f"the start is another adapter's: {len(odd)} of its {len(start)} tensors do not fit, such as {odd[0]}",
            str(folder / ADAPTER_FILE),
            f"take the {START_FILE} of the training that wrote this checkpoint",
        )
    for name, first in start.items():
        sign, dim = (1, 0) if name.endswith(LORA_A) else (-1, 1)
        tensors[name] = torch.cat([tensors[name], sign * first.to(tensors[name])], dim).contiguous()
    part = folder / f".{ADAPTER_FILE}.part"
    save_file(tensors, part, metadata={"format": "pt"})
    part.replace(folder / ADAPTER_FILE)
    doubled = {key: 2 * config[key] for key in ("r", "lora_alpha")}
    for key in ("rank_pattern", "alpha_pattern"):
        doubled[key] = {name: 2 * number for name, number in (config.get(key) or {}).items()}
    write_json(folder / CONFIG_FILE, config | doubled | {"init_lora_weights": True})
