"""Adds an adapter into its base model's published files, one file at a time, and writes a stock transformers folder.

Memory stays near the largest file: the model is there on the meta device alone, and each tensor is read, changed and
written under the name and in the file that the base has it in.  A layer's sum is PEFT's own, computed in float32 and
rounded once to the precision that is written.
"""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlplora_vlm.adapter_file import ADAPTER_TENSOR, ROOT
from mlplora_vlm.adapter_folder import MARK, fitted
from mlplora_vlm.base_files import INDEX, BaseFiles, Translation, Unit
from mlplora_vlm.checkpoint import ADAPTER_FILE, saved_name
from mlplora_vlm.collapse import tensors_digest
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import open_tensors, read_json, read_tensors, replaced_folder, write_json
from mlplora_vlm.load import ModelSection, load_processor, resolve_dtype

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor, nn
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class MergeSection:
    """Into which weights the adapter is merged."""

    base: Literal["dequantized", "original", "quantized"] = "dequantized"
    """dequantized: the weights that training saw, also those of a 4-bit base; original: the published ones.  They
    differ for a 4-bit base alone, and quantized is refused."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.base == "quantized":
            yield (
                "base",
                "a merge inside 4 bits rounds the adapter away: the demo's logits are then wrong by 22 %, as much as "
                "without any adapter (benchmarks/README.md, merge_ways)",
                "use dequantized (exact), or original",
            )


def merge(
    path: str, settings: ModelSection, adapter: Path, out: Path, choice: MergeSection | None = None
) -> dict[str, Any]:
    """Writes ``out``: the base's files with the adapter in them, its settings, tokenizer, processor and chat template.

    ``path`` is the base's folder or hub id.  Files and tensors have the base's own names, and the precision of
    ``settings``.  LoRA's weight is W + (alpha / r)·B·A; a module that was trained in full takes its original's place.
    For a 4-bit base W is what its 4 bits say (see `MergeSection`).  Returns the merged layers, the modules in full, and
    the size in bytes.  Raises `MendableError` for a base that is no plain model or holds this adapter already, and
    where ``out`` is a folder with anything in it.
    """
    from safetensors.torch import save_file

    give_back_at_once()
    merging = Merging(path, settings, adapter, choice)
    base = merging.base
    place: dict[str, str] = {}
    size = 0
    with replaced_folder(out) as part:
        for file, tensors in merging.files():
            save_file(tensors, part / file, metadata={"format": "pt"})
            place |= dict.fromkeys(tensors, file)
            size += sum(tensor.nbytes for tensor in tensors.values())
            del tensors  # before the next file's are made
        if base.index:
            told = {**base.index.get("metadata", {}), "total_size": size}
            write_json(part / INDEX, {"metadata": told, "weight_map": dict(sorted(place.items()))})
        mark = {"sha256": merging.adapted.digest, "base": merging.onto}
        _write_settings(base, settings, part, str(merging.dtype).removeprefix("torch."), mark)
    return {
        "layers": len(merging.adapted.layers),
        "full": len(merging.adapted.full),
        "base": merging.onto,
        "bytes": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
        "largest_file": base.largest,
    }


def check_tensors(
    path: str, settings: ModelSection, adapter: Path, merged: Path, choice: MergeSection | None = None
) -> int:
    """Merges again, file by file, and compares with what lies in ``merged``; returns the number of tensors.

    Raises `MendableError`, naming them, where a tensor is missing, too many, or not the same to the bit.
    """
    import torch

    wrong: list[str] = []
    count = 0
    for file, tensors in Merging(path, settings, adapter, choice).files():
        if not (merged / file).is_file():
            wrong += tensors
            continue
        with open_tensors(merged / file, backend="pread") as written:
            names = set(written.keys())
            wrong += sorted(names ^ tensors.keys())
            for name in sorted(names & tensors.keys()):
                found = written.get_tensor(name)
                count += 1
                if found.dtype != tensors[name].dtype or not torch.equal(_bits(found), _bits(tensors[name])):
                    wrong.append(name)
        del tensors
    if wrong:
        raise MendableError(
            f"{len(wrong)} merged tensors are not the base's with the adapter in them: {', '.join(wrong[:4])}",
            str(merged),
            "merge again with --from merge; nothing has been published",
        )
    return count


def _bits(tensor: Tensor) -> Tensor:
    """The tensor's bytes, so that NaN equals itself."""
    import torch

    return tensor.contiguous().flatten().view(torch.uint8)


def give_back_at_once() -> None:
    """Has glibc return each freed tensor to the system; it would keep most, in pieces that no later tensor fits.

    Measured on files of 64 MiB: 0.17 GiB over the libraries' memory instead of 0.28.  Elsewhere it does nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, 1 << 20)


M_MMAP_THRESHOLD = -3
"""glibc's name of the setting (malloc.h): larger blocks are mapped, and unmapped when they are freed."""


class Merging:
    """One adapter going into one base."""

    def __init__(self, path: str, settings: ModelSection, adapter: Path, choice: MergeSection | None = None) -> None:
        from transformers import AutoConfig

        from mlplora_vlm.meta import meta_model

        self.base, self.dtype = base_of(path, settings), resolve_dtype(settings.dtype)
        options = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
        config = AutoConfig.from_pretrained(path, **options)
        four_bit = settings.quantization != "none" and (choice or MergeSection()).base == "dequantized"
        self.onto = "dequantized" if four_bit else "original"
        """The weights that it goes into."""
        self.translation = Translation(self.base, meta_model(config, self.dtype), self.dtype)
        self.adapted = Adapted(meta_model(config, self.dtype), adapter)
        self.seen = _Quantized(config, settings) if four_bit else None

    def files(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """(a file of the base, its tensors with the adapter in them) for every file; one is in memory at a time.

        Raises `MendableError` at the end where the base had no tensor for a layer of the adapter.
        """
        waiting: dict[str, dict[str, Tensor]] = {file: {} for file in self.base.files}
        for file, units in self.translation.by_file():
            for unit in units:
                for key, tensor in self._merged(unit).items():
                    waiting[self.base.place[key]][key] = tensor
            yield file, waiting.pop(file)
        self.adapted.check_all_merged(self.base)

    def _merged(self, unit: Unit) -> dict[str, Tensor]:
        if not unit.name:  # the model has no place for it
            return {key: self.base.read(key) for key in unit.keys}
        tensors = self.translation.to_model(unit)
        if self.seen:
            tensors = {name: self.seen.seen(name, tensor) for name, tensor in tensors.items()}
        return self.translation.to_files(unit, {n: self.adapted.merged(n, tensor) for n, tensor in tensors.items()})


def base_of(path: str, settings: ModelSection) -> BaseFiles:
    """The base's files; raises `MendableError` unless adapters can be merged into them."""
    if (Path(path) / "adapter_config.json").exists():
        raise MendableError("the base is itself an adapter folder", path, "name the full model in model.id")
    base = BaseFiles(path, settings.revision)
    config = read_json(_config_file(base))
    if "quantization_config" in config:
        method = config["quantization_config"].get("quant_method", "some method")
        raise MendableError(
            f"the base's files are quantized already ({method}), and a merge would have to round into them again",
            path,
            "name the model that they were made from in model.id, with model.quantization=nf4 for a 4-bit base",
        )
    return base


class Adapted:
    """The adapter on a model without weights: weights are handed in one by one and come back merged."""

    def __init__(self, model: Any, adapter: Path) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import ModulesToSaveWrapper

        ties = getattr(model, "all_tied_weights_keys", {}) or {}
        tuned, tensors = fitted(model, adapter)
        self.digest = tensors_digest(read_tensors(adapter / ADAPTER_FILE))
        _fill(tuned, tensors)
        root = tuned.get_base_model()
        self.layers = {name: m for name, m in root.named_modules() if isinstance(m, BaseTunerLayer)}
        """PEFT's adapted layers, by the name that the model has for them without an adapter."""
        self.full = {name: m for name, m in root.named_modules() if isinstance(m, ModulesToSaveWrapper)}
        """Modules that were trained in full, by the same."""
        self._own = {
            name.removeprefix(ROOT).replace(".base_layer.", "."): tensor
            for name, tensor in tensors.items()
            if name.startswith(ROOT) and not ADAPTER_TENSOR.search(name)
        }
        """What takes the place of the model's own tensors: of modules in full, trained biases, embeddings."""
        self._left = {f"{name}.weight" for name in self.layers} | set(self._own)
        if shared := sorted(self._left & {*ties, *ties.values()}):
            raise MendableError(
                f"{shared[0]} shares its weight with another layer (tie_word_embeddings): a merge would change both",
                str(adapter),
                "use base and adapter unmerged, or adapt layers of the language model, projector or vision tower alone",
            )

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """A tensor of the model with the adapter in it, in the tensor's own precision."""
        if name not in self._left:
            return weight
        self._left.remove(name)
        weight = self._own.get(name, weight).to(weight.dtype)
        layer = self.layers.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        return weight if layer is None else merged_weight(layer, weight)

    def check_all_merged(self, base: BaseFiles) -> None:
        """Raises `MendableError` where the base had no tensor for a layer of the adapter."""
        if self._left:
            raise MendableError(
                f"the base's files lack {len(self._left)} adapted tensors, such as {sorted(self._left)[:2]}",
                base.path,
                "name the model that the adapter was trained on in model.id",
            )


def merged_weight(layer: Any, weight: Tensor) -> Tensor:
    """What PEFT makes of a layer's weight, summed in float32 and rounded once to the weight's precision."""
    import torch

    linear: nn.Module = layer.get_base_layer()
    aside, linear.weight = linear.weight, torch.nn.Parameter(weight.float(), requires_grad=False)
    with torch.no_grad():
        layer.merge(safe_merge=True)
    whole = linear.weight.detach()
    linear.weight = aside
    layer.merged_adapters.clear()
    return whole.to(weight.dtype)


def _fill(tuned: PeftModel, tensors: dict[str, Tensor]) -> None:
    """Puts the adapter's tensors, in float32, where the meta device has left nothing."""
    import torch

    for name, _ in list(tuned.named_parameters()):
        if (saved := saved_name(name)) in tensors:
            parent, _, last = name.rpartition(".")
            whole = torch.nn.Parameter(tensors[saved].float(), requires_grad=False)
            tuned.get_submodule(parent).register_parameter(last, whole)
    for saved in tensors.keys() & {"base_model.vera_A", "base_model.vera_B"}:
        side = saved.removeprefix("base_model.")
        for module in tuned.modules():
            if isinstance(getattr(module, side, None), torch.nn.Module):
                getattr(module, side)["default"] = tensors[saved].float()


class _Quantized:
    """What the base's weights are once they have been quantized as training loaded them, on the same kind of device."""

    def __init__(self, config: PreTrainedConfig, settings: ModelSection) -> None:
        from transformers.quantizers.auto import AutoHfQuantizer

        from mlplora_vlm.families.card import card_of
        from mlplora_vlm.load import best_device
        from mlplora_vlm.meta import meta_model
        from mlplora_vlm.quantization import check_chosen, quantization_config

        dtype, card, self.device = resolve_dtype(settings.dtype), card_of(config), best_device()
        self.model = meta_model(config, dtype)
        self.quantizer = AutoHfQuantizer.from_config(quantization_config(settings, dtype, card), pre_quantized=False)
        self.quantizer.preprocess_model(model=self.model, dtype=dtype, device_map={"": self.device})
        check_chosen(self.model, card, settings)

    def seen(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of the model as training's forward saw it."""
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        if not self.quantizer.param_needs_quantization(self.model, name):
            return tensor
        operation = self.quantizer.get_quantize_ops()
        made = operation.convert({name: tensor.to(self.device)}, full_layer_name=name, model=self.model)
        weight: Tensor = dequantize_bnb_weight(made[name], state=made[name])  # an int8 one holds its scales itself
        return weight.to("cpu", tensor.dtype)


def _config_file(base: BaseFiles) -> Path:
    if (found := base.find("config.json")) is None:
        raise MendableError("the base has no config.json", base.path, "name a full model in model.id")
    return found


def _write_settings(base: BaseFiles, settings: ModelSection, part: Path, dtype: str, mark: dict[str, str]) -> None:
    """config.json as the base has it, but for precision and mark; the base's generation settings; the processor."""
    from mlplora_vlm.families.card import card_for

    config = read_json(_config_file(base))
    card = card_for(config["model_type"], base.path)
    for place in [config, *(value for value in config.values() if isinstance(value, dict))]:
        for key in ("dtype", "torch_dtype"):
            if place.get(key) is not None:
                place[key] = dtype
    config.setdefault("torch_dtype" if "torch_dtype" in config else "dtype", dtype)
    processor = load_processor(base.path, settings)
    if settings.picture_tokens is not None:
        config |= {name: getattr(processor.image_processor, name) for name in card.mirrored}
    write_json(part / "config.json", config | {MARK: mark})
    if generation := base.find("generation_config.json"):
        shutil.copyfile(generation, part / "generation_config.json")
    processor.save_pretrained(part)
