"""Loads a base model and its processor as the recipe says: precision, quantised weights, attention implementation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlplora_vlm.base_files import CONFIG, GENERATION, PROCESSOR, BaseFiles, check_json, check_template
from mlplora_vlm.errors import MendableError, library_errors, reason
from mlplora_vlm.families.card import card_for, card_of
from mlplora_vlm.families.processor import FamilyProcessor
from mlplora_vlm.files import read_json
from mlplora_vlm.meta import meta_model
from mlplora_vlm.processor_check import check_processor, check_vocabulary
from mlplora_vlm.quantization import FOUR_BIT, check_quantized, check_unchanged, quantization_config

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

CHECK_ID = "check the id or folder, the network and, for a gated model, `hf auth login`"


@dataclass(frozen=True)
class ModelSection:
    """Which base model, and how it is loaded."""

    id: str
    """A hub id, a folder, or `demo/…` for a model that is assembled here."""
    revision: str | None = None
    """The hub revision (a commit pins it)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on CUDA and on CPUs with AMX, else float32."""
    quantization: Literal["none", "nf4", "fp4", "int8"] = "none"
    """The frozen base weights of the language layers: nf4 or fp4, 4 bits (QLoRA); int8, 8 bits (LLM.int8)."""
    double_quantization: bool = True
    """4 bits: the scales of the weights are quantised too, which saves 0.37 bits a weight."""
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """4 bits: what the weights are turned into for each product; auto: the model's dtype."""
    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """auto: what transformers chooses for the model."""
    picture_tokens: int | None = None
    """No picture costs more tokens than this: larger ones are shrunk, or cut into fewer tiles; the family knows how."""
    trust_remote_code: bool = False
    """Runs Python code from the model's repo; off unless asked for."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if not self.id.strip():
            yield "id", "no model is named", "give a hub id such as llava-hf/llava-1.5-7b-hf, or a folder"
        if self.picture_tokens is not None and self.picture_tokens < 1:
            yield (
                "picture_tokens",
                "picture_tokens must be at least 1",
                "256 to 2048 are usual; null: no bound",
            )
        if self.quantization not in FOUR_BIT:
            if not self.double_quantization:
                yield (
                    "double_quantization",
                    f"double quantisation is for 4-bit weights, and quantization is {self.quantization}",
                    "leave double_quantization out, or use quantization=nf4",
                )
            if self.compute_dtype != "auto":
                yield (
                    "compute_dtype",
                    f"a compute type is for 4-bit weights, and quantization is {self.quantization}",
                    "set dtype instead: the model computes in it",
                )


def resolve_dtype(dtype: str) -> torch.dtype:
    """The precision that "auto" means on this machine: bfloat16 where the hardware is faster in it."""
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    return torch.bfloat16 if torch.cuda.is_available() or _cpu_multiplies_bf16() else torch.float32


def _cpu_multiplies_bf16() -> bool:
    """AMX is much faster in bfloat16; AVX-512's bfloat16 instructions alone were measured slower than float32."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8", errors="replace")


def load_config(path: str | Path, settings: ModelSection) -> PreTrainedConfig:
    """The base model's configuration.

    Raises `MendableError` where it cannot be had, is broken, or is not of a known family.
    """
    from transformers import AutoConfig, PreTrainedConfig

    path, options = str(path), {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    where, fix = f"model.id {path!r}", CHECK_ID
    if Path(path).is_dir():
        where, fix = str(Path(path) / CONFIG), "copy config.json from the model as it was published"
        if not Path(where).exists():
            raise MendableError(f"the folder has no {CONFIG}: it holds no model", path, CHECK_ID)
        check_json(path, [CONFIG])
    elif Path(path).is_file() or path.startswith(("/", ".", "~")):  # no hub id begins so
        raise MendableError("the model cannot be loaded: expected a folder or a hub id", where, CHECK_ID)
    with library_errors("the model's configuration cannot be loaded", where, fix):
        values, _ = PreTrainedConfig.get_config_dict(path, **options)
        if not isinstance(model_type := values.get("model_type"), str):
            raise MendableError(f"{CONFIG}: expected model_type to be a string, got {model_type!r}", where, fix)
        card_for(model_type, where)
        config: PreTrainedConfig = AutoConfig.from_pretrained(path, **options)
    return config


def load_model(path: str, settings: ModelSection, device: str | None = None) -> PreTrainedModel:
    """The base model, frozen or not as transformers has it, in the recipe's precision.

    ``path`` is a hub id or a folder; ``device`` places it (None: this process's GPU; where ZeRO-3 partitions
    it or there is none, where transformers leaves it).  On a CPU and in the files' own precision its weights are the
    files' pages, which all processes share.
    Raises `MendableError` where the model cannot be had, its tensors are not those of its configuration, or other
    modules than the card's are quantised.
    """
    dtype = resolve_dtype(settings.dtype)
    config = load_config(path, settings)
    card, options = card_of(config), dict[str, Any]()
    if settings.attn_implementation != "auto":
        options["attn_implementation"] = settings.attn_implementation
    if settings.quantization != "none":
        options["quantization_config"] = quantization_config(settings, dtype, card)
        options["device_map"] = {"": device or local_device()}
    elif device is None and _straight_to_gpu():
        options["device_map"] = {"": local_device()}
    model = _from_files(path, settings, config, dtype, **options)
    if settings.quantization == "none" and device:
        with _fitting(path):
            model.to(device)  # type: ignore[arg-type]
    if settings.quantization != "none":
        for layer in check_quantized(model, card, settings):
            # on a CPU with AVX-512 it would repack its weights at the first answer: refused for widths that 32 does
            # not divide, and a training that goes on after an evaluation would read the repacked ones
            layer.support_avx512bf16_for_cpu = False
        check_unchanged(model, dtype)
    if settings.picture_tokens is not None and card.mirrored:
        pictures = load_processor(path, settings).image_processor
        for name in card.mirrored:
            setattr(model.config, name, getattr(pictures, name))
    if card.mend:
        card.mend(model)
    return model


def _from_files(
    path: str, settings: ModelSection, config: PreTrainedConfig, dtype: torch.dtype, **options: Any
) -> PreTrainedModel:
    """The model as transformers loads it, after a look at the headers of its files and before one at what fit."""
    from transformers import AutoModelForImageTextToText

    options |= {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code, "dtype": dtype}
    options |= {"use_safetensors": True, "output_loading_info": True}
    options |= {"ignore_mismatched_sizes": True}  # they are refused below, with their names
    loading, where = card_of(config).loading, f"model.id {path!r}"
    with library_errors("the model cannot be loaded", where, CHECK_ID), loading(), _fitting(path):
        files = BaseFiles(path, settings.revision)
        files.check(quantized=getattr(config, "quantization_config", None) is not None)
        options["generation_config"] = _end_tokens(files)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(path, **options)
        model: PreTrainedModel = loaded[0]
        found: dict[str, Any] = loaded[1]
    faults = [
        *(f"{name} is missing" for name in sorted(found["missing_keys"])),
        *(
            f"{name} has shape {tuple(got)}, expected {tuple(expected)}"
            for name, got, expected in sorted(found["mismatched_keys"])
        ),
        *(f"{name} has no place in the model" for name in sorted(found["unexpected_keys"])),
    ]
    if faults:
        shown = "; ".join(faults[:4]) + f"; {len(faults) - 4} more" * (len(faults) > 4)
        raise MendableError(
            f"the weights are not those of config.json: {shown}",
            where,
            "use weights and config.json of the same model; transformers would draw missing ones at random",
        )
    return model


@contextmanager
def _fitting(path: str) -> Iterator[None]:
    """Raise `MendableError` where the model inside does not fit into the device's memory."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        what, fix = f"the model does not fit into memory: {reason(error)}", "use model.quantization=nf4, or free memory"
        raise MendableError(what, f"model.id {path!r}", fix) from None


def _end_tokens(files: BaseFiles) -> GenerationConfig | None:
    """The tokens of the model's generation settings, which decode nothing else here; None: transformers' defaults."""
    from transformers import GenerationConfig

    if (file := files.find(GENERATION)) is None:
        return None
    values = read_json(file, dict)
    tokens = {key: values.get(key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for key, value in tokens.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None and type(one) is not int:
                what = f"{GENERATION}: expected {key} to be token ids, got {value!r:.80}"
                raise MendableError(what, str(file), "copy it from the model as it was published, or remove the key")
    return GenerationConfig(**tokens)


def check_base(path: str, settings: ModelSection, processor: FamilyProcessor) -> None:
    """Raise `MendableError` for what would end a run at its first answer or step; no more than headers is read."""
    from transformers import GenerationConfig

    config, dtype = load_config(path, settings), resolve_dtype(settings.dtype)
    if file := BaseFiles(path, settings.revision).find(GENERATION):  # copied to the merged model
        read_json(file, dict)
        with library_errors("transformers refuses the generation settings", str(file), "correct or remove the key"):
            GenerationConfig.from_pretrained(file.parent)
    if getattr(config, "quantization_config", None) is not None:  # bitsandbytes reads no weights on the meta device
        BaseFiles(path, settings.revision).check(quantized=True)
        model = meta_model(config, dtype)
    else:
        model = _from_files(path, settings, config, dtype, device_map={"": "meta"})
    check_vocabulary(model, processor, f"model.id {path!r}")


def load_processor(path: str | Path, settings: ModelSection, kept: Path | None = None) -> FamilyProcessor:
    """The model's own processor (tokenizer, pictures, chat template), its pictures bounded as the recipe says.

    ``path`` is a model's folder or hub id; ``kept`` a folder with a processor's files alone, such as a run's adapter/
    with the one that it was trained with.  Raises `MendableError` where it is broken, does not fit the model, or cannot
    keep the bound.
    """
    from transformers import AutoProcessor

    config, folder = load_config(path, settings), str(kept or path)
    if Path(folder).is_dir():
        check_json(folder, PROCESSOR)
        check_template(folder)
    options: dict[str, Any] = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    fix = "copy the processor's and the tokenizer's files from the model as it was published"
    with library_errors("the processor cannot be loaded", folder, fix):
        processor = FamilyProcessor(AutoProcessor.from_pretrained(folder, **options), card_of(config))
    check_processor(processor, config, folder)
    if settings.picture_tokens is not None:
        processor.card.pictures.bound(processor.stock, settings.picture_tokens)
    return processor


def load_tuned(path: str, adapter: Path, settings: ModelSection, device: str | None = None) -> PeftModel:
    """The base model with a PEFT adapter folder on it, ready to answer.

    Raises `MendableError` for an adapter that does not fit it, before any weights are loaded.
    """
    from mlplora_vlm.adapter_folder import check_fit, put_on

    check_fit(path, settings, adapter)
    return put_on(load_model(path, settings, device), adapter)


def best_device() -> str:
    """``cuda`` where there is one, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def local_device() -> str:
    """This process's own GPU, or the CPU."""
    import os

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if best_device() == "cuda" else "cpu"


def _straight_to_gpu() -> bool:
    """Whether weights are loaded to this process's GPU one by one, so that the host never holds a copy a process.

    Not under ZeRO-3, which partitions them as they come: there the first process alone reads the files.
    """
    from transformers.integrations import is_deepspeed_zero3_enabled

    return best_device() == "cuda" and not is_deepspeed_zero3_enabled()
