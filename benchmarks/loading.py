"""Host memory while a base model is loaded, by one process and by two: whether the machine holds a copy for each.

A LLaVA of a gigabyte, in bfloat16 and in files of at most 300 MB, is loaded by `mlplora_vlm.load` in fresh processes
at once, and each weight is read once.  A page that processes share counts for each of them in proportion, so their sum
is what the machine holds.  "held" is memory that stays until they give it back; "mapped" are pages of the files
themselves, which the system drops and reads again as it sees fit.  What Python and the libraries hold before is taken
off.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.bars import Bars, plot_bars
from benchmarks.common import parse, write_result
from benchmarks.resident import Resident, resident
from recipes.readme import markdown

FULL = {"hidden_size": 2048, "intermediate_size": 5632, "layers": 8, "vocabulary": 32064}
QUICK = {"hidden_size": 256, "intermediate_size": 704, "layers": 2, "vocabulary": 2000}
RUNS = (("bfloat16", 1), ("bfloat16", 2), ("float32", 1), ("float32", 2))
SHARD = "300MB"
MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the model, loads it in one and in two processes, writes what they held."""
    options = parse("loading", __doc__, argv)
    sizes, rows = QUICK if options.quick else FULL, []
    with tempfile.TemporaryDirectory() as folder:
        size = make(Path(folder), sizes)
        for dtype, processes in RUNS:
            rows.append({"dtype": dtype, "processes": processes, **held(folder, dtype, processes)})
            print(rows[-1], flush=True)
    result = write_result("loading", {"sizes": sizes, "shard": SHARD}, {"bytes": size, "rows": rows}, options.out)
    plot_bars(options.out / "loading.png", panels(result))
    return 0


def make(folder: Path, sizes: Mapping[str, int]) -> int:
    """A random LLaVA in bfloat16; returns the bytes of its files."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    text = LlamaConfig(
        vocab_size=sizes["vocabulary"], hidden_size=sizes["hidden_size"], intermediate_size=sizes["intermediate_size"],
        num_hidden_layers=sizes["layers"], num_attention_heads=16,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, image_size=56, patch_size=14
    )
    config = LlavaConfig(text_config=text, vision_config=vision, image_token_index=1, image_seq_length=16)
    with torch.device("meta"):
        model: Any = LlavaForConditionalGeneration._from_config(config, dtype=torch.bfloat16)
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.data.fill_(0.01)  # its values are nobody's business, and random ones take minutes
    model.save_pretrained(folder, max_shard_size=SHARD)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def held(folder: str, dtype: str, processes: int) -> dict[str, Any]:
    """The processes' memory in sum: the most while loading, and at the end."""
    command = [sys.executable, "-m", "benchmarks.loading_process", folder, dtype]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(processes)
    ]
    try:
        for worker in workers:
            _wait(worker, "ready")
        before = _all(workers)
        done: list[int] = []
        threads = [Thread(target=lambda w=worker: done.append(_go(w, "used"))) for worker in workers]
        for thread in threads:
            thread.start()
        most = Resident()
        while len(done) < processes and any(thread.is_alive() for thread in threads):
            now = _all(workers)
            most = Resident(max(most.held, now.held), max(most.mapped, now.mapped))
            time.sleep(0.02)
        assert len(done) == processes, "a process ended; run benchmarks.loading_process by hand"
        end = _all(workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return {
        "held": most.held - before.held,
        "mapped": most.mapped - before.mapped,
        "end_held": end.held - before.held,
        "end_mapped": end.mapped - before.mapped,
    }


def _all(workers: Sequence[subprocess.Popen[str]]) -> Resident:
    return sum((resident(worker.pid) for worker in workers), Resident())


def _go(worker: subprocess.Popen[str], word: str) -> int:
    assert worker.stdin is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    _wait(worker, word)
    return worker.pid


def _wait(worker: subprocess.Popen[str], word: str) -> None:
    assert worker.stdout is not None
    told = worker.stdout.readline().strip()
    assert told == word, f"the process said {told!r} and not {word!r}"


def table(result: Mapping[str, Any]) -> str:
    """Bytes held and mapped, and both as copies of the model."""
    rows = []
    for row in result["rows"]:
        copy = result["bytes"] * (2 if row["dtype"] == "float32" else 1)
        most = {key: max(row[key], row[f"end_{key}"]) for key in ("held", "mapped")}
        rows.append([
            f"loaded as {row['dtype']}", str(row["processes"]), *(f"{size / MIB:,.0f}" for size in most.values()),
            f"{sum(most.values()) / copy:.2f}",
        ])  # fmt: skip
    heads = [
        f"files of {result['bytes'] / MIB:,.0f} MiB, bfloat16",
        "processes",
        "held, MiB",
        "mapped, MiB",
        "copies on the machine",
    ]
    return markdown(heads, rows, right=4)


def panels(result: Mapping[str, Any]) -> list[Bars]:
    """What the machine holds and has mapped, beside the files' size."""
    rows = result["rows"]
    names = [f"{row['dtype']}, {row['processes']} process{'es' * (row['processes'] > 1)}" for row in rows]
    most = {key: [max(row[key], row[f"end_{key}"]) / MIB for row in rows] for key in ("held", "mapped")}
    files = {"the files (bfloat16)": result["bytes"] / MIB}
    return [Bars("loading a model of a gigabyte", names, most, "MiB on the machine", stacked=True, lines=files)]


if __name__ == "__main__":
    sys.exit(main())
