"""What the way from files to batches takes: rows a second, memory over 200,000 rows, and how long a training waits.

Synthetic conversations about synthetic JPEGs go the real way: the source reads them, `prepare` checks them into Arrow,
and a DataLoader with `TrainCollator` makes batches for the tiny LLaVA.  Every row has a picture file of its own (links
to one file a size): none is remembered.  Each phase runs in a new process, and the one that started it looks at its
memory and its children's.  A training waits while it asks for a step's batches; the first step is left out.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import SCRATCH, Cells, parse, rounded, write_result
from benchmarks.resident import resident
from data_prep.section import DataSection
from eval_harness.lr_plot import Panel, plot
from mlplora_vlm.files import emptied_folder
from recipes.readme import markdown

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from datasets import Dataset
    from torch.utils.data import DataLoader

    from mlplora_vlm.families.processor import FamilyProcessor

Size = tuple[int, int]
Steps = Generator[int, None, Any]
"""What a phase yields: 0 when it begins in earnest, then, if it knows, how many tenths of its work are done."""
Phase = Callable[..., Steps]

SMALL: tuple[Size, ...] = tuple((48 + 2 * i, 112 - 2 * i) for i in range(32))
"""Of the pictures that are streamed: (width, height)."""
USUAL: tuple[Size, ...] = ((640, 480), (480, 640), (640, 427), (500, 375))
"""Of the pictures that rates are measured with: as COCO's mostly are."""
TINY, DEMO = "demo/tiny-llava", "demo/llava-smollm2-135m"
STORES = {"files": "as files", "embedded": "in the set"}
"""Where the pictures are: `data.embed_pictures` copies them into the set."""
FULL: dict[str, Any] = {
    "stream_stores": ("embedded",), "rows": 200_000, "held_back": 128, "batch_size": 16, "stream_workers": 2,
    "stores": tuple(STORES), "rate_rows": 800, "workers": (0, 1, 2), "models": (TINY, DEMO), "train_batch": 4,
    "steps": 8,
}  # fmt: skip
"""The long stream has its pictures in the set: they lie in mapped files, from which memory could grow, and as files
they would take as long again."""
QUICK: dict[str, Any] = FULL | {
    "stores": ("embedded",), "rows": 400, "held_back": 8, "rate_rows": 96, "workers": (0, 1), "models": (TINY,),
    "steps": 4,
}  # fmt: skip
TENTHS = 10
PAUSE = 0.2  # seconds between two looks at the memory
WORDS = "what is the colour of the large thing left behind two small dogs on a street near one red bus"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what is missing, writes the result and its plot."""
    options = parse("data_throughput", __doc__, argv)
    settings = QUICK if options.quick else FULL
    scratch = SCRATCH / ("quick" if options.quick else "")
    cells, folder = Cells(scratch / "data_throughput.jsonl"), scratch / "data_throughput"
    measured: dict[str, dict[str, Any]] = {}
    for what, (measure, of, used) in MEASURES.items():
        for name in settings[of]:
            key = {"what": what, of: name, "settings": {key: settings[key] for key in used}}
            if key not in cells:
                emptied_folder(folder)
                cells[key] = measure(folder, name, settings)
                shutil.rmtree(folder)
            measured.setdefault(what, {})[name] = cells[key]
            print(f"{what}, {name}: {json.dumps(cells[key])}", flush=True)
    result = write_result("data_throughput", settings, measured, options.out)
    plot(options.out / "data_throughput.png", panels(result), columns=2)
    return 0


def stream(folder: Path, store: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All rows with small pictures, checked and then loaded once: seconds, and the memory in each tenth of both."""
    write_rows(folder, settings["rows"], SMALL)
    return {phase.__name__[1:]: watched(phase, folder, store, settings) for phase in (_check, _load)}


def rates(folder: Path, store: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Rows a second with pictures of a usual size: of the check in one process, and of the loader by workers."""
    write_rows(folder, settings["rate_rows"], USUAL)
    found: dict[str, Any] = watched(_rates, folder, store, settings)["told"]
    return found


def waiting(folder: Path, model: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a real training by number of workers: the median step in seconds, and the share of waiting."""
    write_rows(folder, settings["train_batch"] * settings["steps"], USUAL)
    found: list[dict[str, Any]] = watched(_train, folder, model, settings)["told"]
    return found


MEASURES: dict[str, tuple[Callable[..., Any], str, tuple[str, ...]]] = {
    "stream": (stream, "stream_stores", ("rows", "held_back", "batch_size", "stream_workers")),
    "rates": (rates, "stores", ("rate_rows", "batch_size", "workers")),
    "waiting": (waiting, "models", ("workers", "train_batch", "steps")),
}
"""The measurements, the setting that names what each is made of, and those that change its numbers."""


def write_rows(folder: Path, rows: int, sizes: Sequence[Size]) -> None:
    """``folder``/train.json and ``folder``/pictures: conversations of one to three turns, each about its own JPEG."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for number, size in enumerate(sizes):
        draw(size).save(folder / f"{number}.jpg", quality=85)
    chance, known = random.Random(0), WORDS.split()

    def words(most: int) -> str:
        return " ".join(chance.choices(known, k=chance.randint(1, most)))

    with (folder / "train.json").open("w", encoding="utf-8") as file:
        for number in range(rows):
            name = f"{number:06d}.jpg"
            os.link(folder / f"{number % len(sizes)}.jpg", pictures / name)
            turns = [
                {"from": speaker, "value": words(most)}
                for _ in range(chance.randint(1, 3))
                for speaker, most in (("human", 12), ("gpt", 8))
            ]
            turns[0]["value"] = "<image>\n" + turns[0]["value"]
            row = {"id": str(number), "image": name, "conversations": turns}
            file.write(("," if number else "[") + json.dumps(row) + "\n")
        file.write("]")


def draw(size: Size) -> Any:
    """Running colours, discs and a camera's noise: about as many bytes as a photograph."""
    import numpy as np
    from PIL import Image, ImageDraw

    width, height = size
    chance = np.random.default_rng(size)
    y, x = np.mgrid[0:height, 0:width]
    picture = Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(20):
        left, top, side = (int(chance.integers(0, most)) for most in (width, height, min(size) // 2))
        pen.ellipse((left, top, left + side, top + side), fill=tuple(chance.integers(0, 256, 3).tolist()))
    noisy = np.asarray(picture) + chance.normal(0, 4, (height, width, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def watched(phase: Phase, *given: Any) -> dict[str, Any]:
    """Runs the phase in a new process: its ``seconds``, what it ``told`` at its end, and bytes in each tenth.

    The tenths are those that it yields, or, where it yields none, of its time; bytes are the most that were seen.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_run, args=(theirs, phase, given))
    process.start()
    theirs.close()
    assert process.pid
    looks: list[tuple[float, int, int, int]] = []
    tenth, begun, ended, told = 0, 0.0, False, None
    while not ended:
        if ours.poll(PAUSE):
            try:
                ended, value = ours.recv()
            except EOFError:
                process.join()
                raise RuntimeError(f"{phase.__name__} ended with {process.exitcode}; its error stands above") from None
            tenth, told = (tenth, value) if ended else (value, None)
            begun = begun or time.perf_counter()
        if begun:
            now = resident(process.pid)
            looks.append((time.perf_counter() - begun, tenth, now.held, now.mapped))
    seconds = time.perf_counter() - begun
    process.join()
    held: list[int | None] = [None] * TENTHS
    mapped: list[int | None] = [None] * TENTHS
    for at, known, own, shared in looks:
        place = min(TENTHS - 1, known if tenth else int(TENTHS * at / seconds))
        held[place], mapped[place] = max(own, held[place] or 0), max(shared, mapped[place] or 0)
    return {"seconds": rounded(seconds), "told": told, "held": held, "mapped": mapped}


def _run(pipe: Connection, phase: Phase, given: Sequence[Any]) -> None:
    """The phase's process: sends (False, what it yields), and at last (True, what it returns)."""
    import torch

    torch.set_num_threads(1)
    multiprocessing.set_start_method("forkserver", force=True)  # for workers
    steps = phase(*given)
    while True:
        try:
            pipe.send((False, next(steps)))
        except StopIteration as done:
            return pipe.send((True, done.value))


def _check(folder: Path, store: str, settings: Mapping[str, Any]) -> Steps:
    processor = _processor(TINY)
    yield 0
    return _prepared(folder, store, processor, settings["held_back"])


def _load(folder: Path, store: str, settings: Mapping[str, Any]) -> Steps:
    rows, loader = _loader(folder, store, settings["batch_size"], settings["stream_workers"])
    yield 0
    seen = 0
    for batch in loader:
        before, seen = seen, seen + len(batch["input_ids"])
        if (tenth := TENTHS * seen // len(rows)) > TENTHS * before // len(rows):
            yield tenth
    return seen


def _rates(folder: Path, store: str, settings: Mapping[str, Any]) -> Steps:
    """Checked by one process; loaded: from the first batch to the last."""
    processor = _processor(TINY)
    yield 0
    begun = time.perf_counter()
    rows = _prepared(folder, store, processor, workers=1)
    found: dict[str, Any] = {"check": rounded(rows / (time.perf_counter() - begun), 3), "load": []}
    for workers in settings["workers"]:
        rows, loader = _loader(folder, store, settings["batch_size"], workers)
        batches = iter(loader)
        first = len(next(batches)["input_ids"])
        begun = time.perf_counter()
        seen = sum(len(batch["input_ids"]) for batch in batches)
        assert first + seen == len(rows)
        found["load"].append({"workers": workers, "rows": rounded(seen / (time.perf_counter() - begun), 3)})
    return found


def _train(folder: Path, model: str, settings: Mapping[str, Any]) -> Steps:
    """A few steps of the real Trainer, with the generator, on one thread."""
    from transformers import set_seed

    from data_prep.collate import TrainCollator
    from data_prep.demo.models import model_path
    from mlplora_vlm.attach import AdapterSection, attach
    from mlplora_vlm.load import ModelSection, load_model
    from mlplora_vlm.trainer import GeneratedAdapterTrainer
    from mlplora_vlm.training import TrainSection, adapter_optimizer, training_arguments

    class Timed(GeneratedAdapterTrainer):
        """``waits``: when each step began to wait for its batches, and when it had them."""

        waits: list[tuple[float, float]]

        def get_batch_samples(self, *given: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            found = super().get_batch_samples(*given, **options)
            self.waits.append((begun, time.perf_counter()))
            return found

    yield 0
    processor, found = _processor(model), []
    _prepared(folder, "files", processor)
    rows, _ = _loader(folder, "files", 1, 0)
    for workers in settings["workers"]:
        section = TrainSection(
            batch_size=settings["train_batch"], max_steps=settings["steps"], workers=workers, save_steps=10**6
        )
        arguments = training_arguments(section, False, folder / f"train-{workers}", deepspeed=None)
        set_seed(0)
        adapter = AdapterSection()
        tuned, _ = attach(load_model(model_path(model), ModelSection(id=model, dtype="float32"), "cpu"), adapter)
        trainer = Timed(
            model=tuned,
            args=arguments,
            data_collator=TrainCollator(processor, "as_written"),
            train_dataset=rows,
            optimizer_cls_and_kwargs=adapter_optimizer(tuned, section, adapter),
        )
        trainer.waits = []
        trainer.train()
        steps = [after[0] - before[0] for before, after in itertools.pairwise(trainer.waits[1:])]
        waited = sum(end - begin for begin, end in trainer.waits[1:-1])
        found.append({
            "workers": workers, "step": rounded(statistics.median(steps), 3), "share": rounded(waited / sum(steps), 3)
        })  # fmt: skip
        del trainer, tuned
    return found


def _prepared(folder: Path, store: str, processor: FamilyProcessor, held_back: int = 0, workers: int = 0) -> int:
    """The rows that were checked."""
    from data_prep.prepared import prepare

    section = replace(_section(folder, store), workers=workers)
    counts = prepare(section, processor, folder / "data", 0, held_back, progress=False)
    return sum(count.accepted for count in counts.values())


def _loader(folder: Path, store: str, batch_size: int, workers: int) -> tuple[Dataset, DataLoader[Any]]:
    """The checked rows, and their batches in random order."""
    import torch
    from torch.utils.data import DataLoader

    from data_prep.collate import TrainCollator
    from data_prep.prepared import load_prepared

    rows, _ = load_prepared(_section(folder, store), folder / "data")
    collator = TrainCollator(_processor(TINY), "as_written")
    order = torch.Generator().manual_seed(0)
    return rows, DataLoader(rows, batch_size, True, num_workers=workers, collate_fn=collator, generator=order)


def _section(folder: Path, store: str) -> DataSection:
    return DataSection(
        "llava_conversations", folder=str(folder), file="train.json", pictures="pictures", prompt="as_written",
        embed_pictures=store == "embedded",
    )  # fmt: skip


def _processor(model: str) -> FamilyProcessor:
    from data_prep.demo.models import model_path
    from mlplora_vlm.load import ModelSection, load_processor

    return load_processor(model_path(model), ModelSection(id=model, dtype="float32"))


def table(result: Mapping[str, Any]) -> str:
    """Memory and pace of the long stream, rates by workers, and what a training waits."""
    settings = result["settings"]
    rows = [
        [
            name, STORES[store], f"{settings['rows'] / found['seconds']:,.0f}",
            *(_mib(found["held"][tenth - 1]) for tenth in (1, 5, 10)), _mib(found["mapped"][-1]),
        ]
        for store, both in result["stream"].items()
        for name, found in both.items()
    ]  # fmt: skip
    heads = ["phase", "pictures", "rows/s", "MiB at 10 %", "at 50 %", "at 100 %", "mapped files, MiB"]
    parts = [
        f"{settings['rows']:,} rows with pictures of about 80 × 80 pixels, in 2 processes; memory of all processes:",
        markdown(heads, rows, right=5),
        f"{settings['rate_rows']:,} rows with pictures of 640 × 480 pixels, rows a second:",
    ]
    loads = {store: {one["workers"]: one["rows"] for one in found["load"]} for store, found in result["rates"].items()}
    heads = ["pictures", "checked, 1 process", *(f"loaded, {w} workers" for w in settings["workers"])]
    rows = [
        [STORES[store], f"{found['check']:,.0f}", *(f"{loads[store][w]:,.0f}" for w in settings["workers"])]
        for store, found in result["rates"].items()
    ]
    parts += [markdown(heads, rows, right=len(heads) - 1), "Trainings on these pictures, on the CPU:"]
    rows = [
        [model, str(one["workers"]), f"{one['step']:.3g}", f"{one['share']:.1%}"]
        for model, found in result["waiting"].items()
        for one in found
    ]
    parts.append(markdown(["model", "workers", "step, s", "waiting for data"], rows, right=3))
    return "\n\n".join(parts)


def _mib(size: int | None) -> str:
    return "–" if size is None else f"{size / 2**20:,.0f}"


def panels(result: Mapping[str, Any]) -> list[Panel]:
    """Memory over the tenths of each phase, and the loader's rate by workers."""
    memory: dict[str, dict[float, list[float | None]]] = {
        f"{phase}, pictures {STORES[store]}": {
            10 * (number + 1): [None if size is None else size / 2**20] for number, size in enumerate(found["held"])
        }
        for store, both in result["stream"].items()
        for phase, found in both.items()
    }
    pace = {
        f"load, pictures {STORES[store]}": {one["workers"]: [one["rows"]] for one in found["load"]}
        for store, found in result["rates"].items()
    }
    plain: dict[str, Any] = {"log_x": False, "log_y": False, "bottom": 0}
    return [
        Panel("memory of all processes", memory, x="% of the rows (check: of the time)", y="MiB", **plain),
        Panel("batches of 640 × 480 pixels", pace, x="workers", y="rows/s", **plain),
    ]


if __name__ == "__main__":
    sys.exit(main())
