"""Peak memory of a merge: file by file, as the project does it, against the whole model at once.

A LLaVA of random bfloat16 numbers is written in several files under the published names, and a rank-16 LoRA on its
language model and projector; each way then merges the two in a process of its own.  The model is removed afterwards.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.bars import Bars, plot_bars
from benchmarks.common import SCRATCH, parse, write_result
from mlplora_vlm.files import write_json
from mlplora_vlm.load import ModelSection
from recipes.readme import markdown

GIB = 2**30
FULL = {"width": 1536, "middle": 6144, "layers": 24, "vocabulary": 32_064, "file": 256 * 2**20, "rank": 16}
"""2.1 GB in files of 256 MiB: twice the largest file and 1 GiB are less than the model and the libraries."""
QUICK = FULL | {"width": 256, "middle": 1024, "layers": 4, "file": 8 * 2**20}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures both ways and writes the result."""
    options = parse("merge_memory", __doc__, argv)
    settings = QUICK if options.quick else FULL
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="merge-memory-", dir=SCRATCH) as name:
        measured = measure(settings, Path(name))
    result = write_result("merge_memory", settings, measured, options.out)
    plot_bars(options.out / "merge_memory.png", panels(result))
    return 0


def measure(settings: Mapping[str, int], folder: Path) -> dict[str, Any]:
    """Makes the model in ``folder`` and merges it in both ways."""
    model = in_own_process(make, settings, folder)[0]
    ways = {}
    for way, work in (("libraries alone", imports), ("file by file", by_file), ("whole model", at_once)):
        shutil.rmtree(folder / "merged", ignore_errors=True)
        seconds, peak = in_own_process(work, folder)
        ways[way] = {"peak": peak, "seconds": round(seconds, 1)}
    return {"model": model, "bound": 2 * model["largest_file"] + GIB, "ways": ways}


def in_own_process(work: Callable[..., Any], *given: Any) -> tuple[Any, int]:
    """(what the work returns, the peak resident bytes of the fresh process that does it)."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, work, given).result()


def _measured(work: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, int]:
    answer = work(*given)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):  # of this program alone; getrusage also counts what started it
            return answer, 1024 * int(line.split()[1])
    raise AssertionError("Linux tells VmHWM")


def make(settings: Mapping[str, int], folder: Path) -> dict[str, int]:
    """Writes base/ file by file, and adapter/; returns bytes, largest_file and files."""
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file
    from transformers import AutoConfig
    from transformers.core_model_loading import revert_weight_conversion

    from data_prep.demo.tiny import tiny_family
    from data_prep.demo.tiny.build import build_config, build_processor
    from mlplora_vlm.meta import meta_model

    row = tiny_family("llava")
    values = build_config(row).to_dict()
    values["text_config"] |= {
        "hidden_size": settings["width"],
        "intermediate_size": settings["middle"],
        "num_hidden_layers": settings["layers"],
        "num_attention_heads": settings["width"] // 64,
        "num_key_value_heads": settings["width"] // 64,
        "head_dim": 64,
        "vocab_size": settings["vocabulary"],
    }
    model = meta_model(AutoConfig.for_model(**values), torch.bfloat16)
    base, random = folder / "base", torch.Generator().manual_seed(0)
    base.mkdir()
    named = revert_weight_conversion(model, model.state_dict())
    split = split_torch_state_dict_into_shards(named, max_shard_size=settings["file"])
    for file, names in split.filename_to_tensors.items():
        tensors = {name: torch.empty(named[name].shape, dtype=torch.bfloat16) for name in names}
        for tensor in tensors.values():
            tensor.normal_(0, 0.02, generator=random)
        save_file(tensors, base / file, {"format": "pt"})
    index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    write_json(base / "model.safetensors.index.json", index)
    model.config.save_pretrained(base)
    build_processor(row).save_pretrained(base)
    _adapter(model, settings["rank"], folder / "adapter")
    sizes = [path.stat().st_size for path in base.glob("*.safetensors")]
    return {"bytes": sum(sizes), "largest_file": max(sizes), "files": len(sizes)}


def _adapter(model: Any, rank: int, folder: Path) -> None:
    """A LoRA of random numbers on the language model and the projector."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    from mlplora_vlm.attach import AdapterSection, attach
    from mlplora_vlm.checkpoint import ADAPTER_FILE

    tuned, _ = attach(model, AdapterSection(rank=rank, alpha=rank))
    tuned.peft_config["default"].save_pretrained(str(folder))
    shapes = {name: tensor.shape for name, tensor in get_peft_model_state_dict(tuned).items()}
    tensors = {name: 0.01 * torch.randn(shape).bfloat16() for name, shape in shapes.items()}
    save_file(tensors, folder / ADAPTER_FILE, {"format": "pt"})


def imports(folder: Path) -> float:
    """What both ways import, and nothing else."""
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch  # noqa: F401
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401

    return 0.0


def by_file(folder: Path) -> float:
    """The project's merge; returns seconds."""
    from mlplora_vlm.merge import merge

    begun = time.perf_counter()
    merge(str(folder / "base"), _section(folder), folder / "adapter", folder / "merged")
    return time.perf_counter() - begun


def at_once(folder: Path) -> float:
    """The model loaded, merged by PEFT and saved; returns seconds."""
    from mlplora_vlm.load import load_tuned

    begun = time.perf_counter()
    tuned = load_tuned(str(folder / "base"), folder / "adapter", _section(folder))
    tuned.merge_and_unload(safe_merge=True).save_pretrained(folder / "merged")
    return time.perf_counter() - begun


def _section(folder: Path) -> ModelSection:
    return ModelSection(str(folder / "base"), dtype="bfloat16")


def table(result: Mapping[str, Any]) -> str:
    """Peak and time of each way."""
    model, ways = result["model"], result["ways"]
    heads = ["way", "peak resident memory, GiB", "over the libraries, GiB", "seconds"]
    alone = ways["libraries alone"]["peak"]
    rows = [
        [name, f"{way['peak'] / GIB:.2f}", f"{(way['peak'] - alone) / GIB:.2f}", f"{way['seconds']:.0f}"]
        for name, way in ways.items()
    ]
    said = (
        f"A LLaVA of {model['bytes'] / 1e9:.1f} GB in {model['files']} files, the largest of "
        f"{model['largest_file'] / GIB:.2f} GiB; the bound, twice the largest file and 1 GiB, is "
        f"{result['bound'] / GIB:.2f} GiB."
    )
    return f"{said}\n\n{markdown(heads, rows, right=len(heads) - 1)}"


def panels(result: Mapping[str, Any]) -> list[Bars]:
    """The peak of each way, with the model's size and the bound."""
    ways = result["ways"]
    lines = {"bound": result["bound"] / GIB, "the model": result["model"]["bytes"] / GIB}
    peaks = {"peak": [way["peak"] / GIB for way in ways.values()]}
    return [Bars("peak resident memory of a merge", list(ways), peaks, "GiB", lines=lines)]


if __name__ == "__main__":
    sys.exit(main())
