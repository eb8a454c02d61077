"""Damages every kind of file that a command reads: its loader refuses it, or gives what the whole file would.

``python tests/loader_fuzz.py --mutations 2000 --seed 0`` damages so many files and prints counts and every fault; a
fault is an exception that is no `MendableError`, or a result that silently differs.  Everything is tiny and runs in
this process.  What no loader can notice without a hash is left out: bits flipped inside tensors and Arrow columns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import struct
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(path) for path in (HERE.parent, HERE, HERE / "mlplora_vlm", HERE / "recipes")]

import torch  # noqa: E402
from safetensors.torch import load, save  # noqa: E402

from mlplora_vlm.errors import MendableError  # noqa: E402

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>not here</body></html>\n"
OTHER_TYPES: tuple[Any, ...] = (None, True, 7, -1, 0.5, "text", "", [], ["text"], {}, {"key": 1})
REMOVED = object()


# ---------------------------------------------------------------- mutations: content → content, or None: not possible
def truncated(content: bytes, random: Random) -> bytes | None:
    return content[: random.randrange(1, len(content))] if len(content) > 1 else None


def flipped(content: bytes, random: Random) -> bytes | None:
    """Some bits of the header: of text the whole, of safetensors all but the tensors, of another file its beginning."""
    if content[8:9] == b"{":
        size = 8 + int.from_bytes(content[:8], "little")
    else:
        size = len(content) if content[:1] in b"{[" else min(len(content), 200)
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(min(size, len(content)))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value[:20]) if isinstance(value, list) else ()
    for key, part in items:
        yield (*path, key)
        yield from _places(part, (*path, key))


def _edited(content: bytes, random: Random, change: Callable[[Any], Any]) -> bytes | None:
    """JSON, or a random line of JSON lines, with the value in a random place changed; top-level places are likelier."""
    lines, number = [content], 0
    if content.count(b"\n{") > 0 and content.rstrip().endswith(b"}") and b"\n}" not in content.rstrip()[:-2]:
        lines = content.rstrip(b"\n").split(b"\n")
        number = random.randrange(len(lines))
    try:
        value = json.loads(lines[number])
    except ValueError:
        return None
    places = list(_places(value))
    if not places:
        return None
    place = random.choice([p for p in places if len(p) == 1] if random.random() < 0.5 else places)
    parent = value
    for key in place[:-1]:
        parent = parent[key]
    made = change(parent[place[-1]])
    if made is REMOVED:
        del parent[place[-1]]
    else:
        parent[place[-1]] = made
    lines[number] = json.dumps(value).encode()
    return b"\n".join(lines)


def another_type(content: bytes, random: Random) -> bytes | None:
    def change(value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return random.choice(
            [one for one in OTHER_TYPES if type(one) is not type(value) and not (number and type(one) in (int, float))]
        )

    return _edited(content, random, change)


def key_removed(content: bytes, random: Random) -> bytes | None:
    return _edited(content, random, lambda value: REMOVED)


def a_list(content: bytes, random: Random) -> bytes | None:
    return b"[" + content + b"]" if content[:1] == b"{" else None


def _of_tensors(change: Callable[[dict[str, torch.Tensor], str, Random], None]) -> Callable[[bytes, Random], Any]:
    def mutation(content: bytes, random: Random) -> bytes | None:
        (size,) = struct.unpack("<Q", content[:8])
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__")
        tensors = load(content)
        floats = sorted(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel() > 1)
        change(tensors, random.choice(floats), random)
        return save(tensors, metadata)

    return mutation


@_of_tensors
def tensor_removed(tensors: dict[str, torch.Tensor], name: str, random: Random) -> None:
    del tensors[name]


@_of_tensors
def tensor_renamed(tensors: dict[str, torch.Tensor], name: str, random: Random) -> None:
    tensors[random.choice((f"{name}.old", f"x.{name}", name.replace(".", "_", 1)))] = tensors.pop(name)


@_of_tensors
def tensor_reshaped(tensors: dict[str, torch.Tensor], name: str, random: Random) -> None:
    tensor = tensors[name]
    shapes = [tensor.flatten(), tensor[:-1].clone(), tensor[:0].clone(), tensor.unsqueeze(0)]
    if tensor.dim() == 2 and tensor.shape[0] != tensor.shape[1]:
        shapes.append(tensor.T.contiguous())
    tensors[name] = random.choice([one for one in shapes if one.shape != tensor.shape])


@_of_tensors
def tensor_not_finite(tensors: dict[str, torch.Tensor], name: str, random: Random) -> None:
    tensors[name].view(-1)[random.randrange(tensors[name].numel())] = random.choice((float("nan"), float("inf")))


@_of_tensors
def tensor_of_another_dtype(tensors: dict[str, torch.Tensor], name: str, random: Random) -> None:
    tensors[name] = tensors[name].to(random.choice((torch.float16, torch.bfloat16, torch.float64, torch.int32)))


BROKEN: dict[str, Callable[[bytes, Random], bytes | None]] = {
    "truncated": truncated,
    "emptied": lambda content, random: b"" if content else None,
    "git-LFS pointer": lambda content, random: LFS,
    "web page": lambda content, random: PAGE,
    "flipped": flipped,
}
JSON: dict[str, Callable[[bytes, Random], bytes | None]] = {
    "another type": another_type,
    "key removed": key_removed,
    "a list": a_list,
}
TENSORS: dict[str, Callable[[bytes, Random], bytes | None]] = {
    "tensor removed": tensor_removed,
    "tensor renamed": tensor_renamed,
    "tensor reshaped": tensor_reshaped,
    "tensor not finite": tensor_not_finite,
    "tensor of another dtype": tensor_of_another_dtype,
}


def mutations_of(file: str) -> dict[str, Callable[[bytes, Random], bytes | None]]:
    """By the kind of file; every file may also be missing."""
    suffix = Path(file).suffix
    more = JSON if suffix in (".json", ".jsonl") else TENSORS if suffix == ".safetensors" else {}
    return BROKEN | more | {"missing": lambda content, random: None}


# ------------------------------------------------------------------------------------------------- what is damaged
@dataclass
class Subject:
    """A folder that commands read, and how they read it."""

    name: str
    folder: Path
    loaders: dict[str, Callable[[Path], Any]]
    """What each command makes of the folder: tensors, numbers and texts in dicts and lists."""
    files: list[str] = field(default_factory=list)
    """Which files are damaged; empty: all."""
    says: Callable[[str, str], bool] = lambda file, mutation: False
    """Whether a damaged file (of such a mutation) may say something else that is valid: weights alone must be equal."""
    weights: Callable[[Any], Any] = lambda outcome: outcome
    """Of a loader's outcome what must not change even then."""

    def __post_init__(self) -> None:
        if not self.files:
            self.files = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
        self.clean = {}
        for name, loader in self.loaders.items():  # a loader may write into the folder
            with tempfile.TemporaryDirectory() as copy:
                shutil.copytree(self.folder, Path(copy) / "copy")
                self.clean[name] = loader(Path(copy) / "copy")


def same(one: Any, other: Any, mutation: str = "") -> bool:
    """Whether two outcomes are equal, but for what a damaged tensor's precision or values that are not finite say."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.shape != other.shape:
            return False
        if mutation == "tensor not finite" and one.is_floating_point():
            one = torch.where(one.isfinite(), one, other)
        if torch.equal(one, other):
            return True
        cast = mutation == "tensor of another dtype" and one.is_floating_point()
        kinds = (torch.float16, torch.bfloat16, torch.int32) if cast else ()
        return any(torch.equal(one, other.to(kind).to(one.dtype)) for kind in kinds)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], mutation) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(a, b, mutation) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


@dataclass
class Result:
    """What became of one mutation under one loader."""

    subject: str
    loader: str
    file: str
    mutation: str
    seed: int
    outcome: str
    """refused, same, says so (a valid file that says something else), exception, or silent."""
    detail: str = ""

    @property
    def fault(self) -> bool:
        return self.outcome in ("exception", "silent")


def tried(
    subject: Subject, file: str, mutation: str, seed: int, work: Path, loaders: tuple[str, ...] = ()
) -> list[Result]:
    """One mutation of one file, under these loaders of the folder, or under every one."""
    content = (subject.folder / file).read_bytes()
    damaged = mutations_of(file)[mutation](content, Random(seed))
    if damaged == content or (damaged is None and mutation != "missing"):
        return []
    results = []
    for name in loaders or subject.loaders:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(subject.folder, work)
        (work / file).unlink()
        if damaged is not None:
            (work / file).write_bytes(damaged)
        outcome, detail = _outcome(subject, name, subject.loaders[name], file, mutation, work)
        results.append(Result(subject.name, name, file, mutation, seed, outcome, detail))
    return results


def _outcome(
    subject: Subject, name: str, loader: Callable[[Path], Any], file: str, mutation: str, work: Path
) -> tuple[str, str]:
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            found = loader(work)
    except MendableError as error:
        return "refused", str(error).replace("\n", " ")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)
        mine = next(
            (f for f in reversed(where) if "site-packages" not in f.filename and "/lib/" not in f.filename), where[-1]
        )
        return "exception", f"{type(error).__name__}: {str(error)[:160]!r} at {Path(mine.filename).name}:{mine.lineno}"
    clean = subject.clean[name]
    if same(found, clean):
        return "same", ""
    if subject.says(file, mutation) and same(subject.weights(found), subject.weights(clean), mutation):
        return "says so", ""
    return "silent", "the result differs"


# ------------------------------------------------------------------------------------------------------- the folders
def subjects(root: Path, only: str | None = None) -> list[Subject]:
    """Every kind of folder, made by the code that makes it in real use."""
    return [make(root / name) for name, make in SUBJECTS.items() if only in (None, name)]


def _base(root: Path) -> Subject:
    from tiny_llava import build_model, build_processor

    folder, processor = root / "base", build_processor()
    build_model(processor).save_pretrained(folder, max_shard_size="100KB")
    processor.save_pretrained(folder)

    def predict(path: Path) -> Any:
        with _opened(str(path), path) as model:
            return {"weights": dict(model.model.state_dict()), "answers": _answered(model)}

    def may_say(file: str, mutation: str) -> bool:
        if file.endswith(".safetensors"):  # a model that answers with NaN is told when it answers
            return mutation in ("tensor not finite", "tensor of another dtype")
        optional = mutation == "missing" and file == "generation_config.json"
        return optional or mutation in ("another type", "key removed", "flipped") or file.endswith(".jinja")

    return Subject("base", folder, {"predict": predict}, says=may_say, weights=lambda outcome: outcome["weights"])


@contextlib.contextmanager
def _opened(word: str, base: Path) -> Iterator[Any]:
    from eval_harness.models import opened
    from mlplora_vlm.load import ModelSection

    with opened(word, ModelSection(id=str(base), dtype="float32")) as model:
        yield model


def _answered(model: Any) -> Any:
    """Prompt, batch and logits of a question about an image, and the answer."""
    from data_prep.collate import PromptCollator
    from data_prep.section import DataSection
    from data_prep.sources import source_rows

    row = next(iter(source_rows(DataSection("shapes"))))
    batch = PromptCollator(model.processor)([row])
    answers = dict(model.answers([row], "short_answer", 3, 1, progress=False))
    with torch.inference_mode():
        logits = model.model(**batch).logits
    return {"batch": dict(batch), "logits": logits, "answers": answers}


def _adapter(root: Path) -> Subject:
    from tiny_llava import build

    from mlplora_vlm.attach import AdapterSection, attach
    from mlplora_vlm.collapse import collapse
    from mlplora_vlm.load import ModelSection, load_model, load_processor
    from mlplora_vlm.merge import merge

    base = build(root / "base")
    section = ModelSection(id=str(base), dtype="float32")
    adapter = AdapterSection(rank=3, alpha=6, generated=False)
    model, _ = attach(load_model(str(base), section), adapter)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.05)
    model.save_pretrained(root / "trained")
    collapse(root / "trained", root / "adapter", str(base))
    load_processor(base, section).save_pretrained(root / "adapter")

    def predict(path: Path) -> Any:
        with _opened(f"{base}+{path}", base) as tuned:
            return {"weights": dict(tuned.model.state_dict()), "answers": _answered(tuned)}

    def merged(path: Path) -> Any:
        out = path.with_name("merged")
        merge(str(base), section, path, out)
        return {file.name: load(file.read_bytes()) for file in sorted(out.glob("*.safetensors"))}

    def collapsed(path: Path) -> Any:
        out = path.with_name("collapsed")
        shutil.rmtree(out, ignore_errors=True)
        collapse(path, out, str(base))
        with _opened(f"{base}+{out}", base) as tuned:  # a B that lacks rows fits no base, but is a B
            return {"weights": dict(tuned.model.state_dict())}

    def init_from(path: Path) -> Any:
        begun, _ = attach(load_model(str(base), section), replace(adapter, init_from=str(path)))
        return {n: p.detach() for n, p in begun.named_parameters() if p.requires_grad}

    def may_say(file: str, mutation: str) -> bool:
        """An edited setting, or another processor."""
        if file == "adapter_model.safetensors":
            return mutation == "tensor of another dtype"
        return mutation in ("another type", "key removed", "flipped", "missing") or file.endswith(".jinja")

    loaders = {"predict": predict, "merge": merged, "collapse": collapsed, "init_from": init_from}
    return Subject(
        "adapter",
        root / "adapter",
        loaders,
        says=may_say,
        weights=lambda found: found.get("weights") if found else None,
    )


def _checkpoint(root: Path) -> Subject:
    """A training that was stopped: the same command goes on, and ends with the adapter of one that was not."""
    from tiny_batch import batch
    from tiny_llava import build
    from transformers import set_seed

    from mlplora_vlm.attach import AdapterSection, GeneratorSection, attach
    from mlplora_vlm.load import ModelSection, load_model
    from mlplora_vlm.training import TrainSection, train, training_arguments

    base = build(root / "base")
    adapter = AdapterSection(rank=2, alpha=4, generator=GeneratorSection(hidden=4, z_dim=8))
    settings = TrainSection(max_steps=3, learning_rate=1e-2, batch_size=3, save_steps=1, keep_checkpoints=9)

    def resumed(path: Path) -> Any:
        arguments = training_arguments(settings, False, path, deepspeed=None)
        model = load_model(str(base), ModelSection(id=str(base), dtype="float32"))
        set_seed(0)
        tuned, _ = attach(model, adapter)
        train(tuned, [{}] * 3, lambda rows: batch(), settings, adapter, arguments)
        return load((path / "adapter" / "adapter_model.safetensors").read_bytes())

    folder = root / "train"
    with contextlib.redirect_stdout(io.StringIO()):
        resumed(folder)
    shutil.rmtree(folder / "checkpoint-3")
    shutil.rmtree(folder / "adapter")
    (folder / "training.json").unlink()
    newest = sorted(str(p.relative_to(folder)) for p in (folder / "checkpoint-2").rglob("*") if p.is_file())
    return Subject(
        "checkpoint",
        folder,
        {"train": resumed},
        files=newest,
        # weights of another precision are the file's own, and train on from there
        says=lambda file, mutation: (
            file.endswith("adapter_model.safetensors") and mutation == "tensor of another dtype"
        ),
        weights=lambda outcome: sorted(outcome),
    )


def _prepared(root: Path) -> Subject:
    from tiny_llava import build_processor

    from data_prep.prepared import load_prepared, prepare
    from data_prep.section import DataSection

    settings = DataSection("shapes", limit=24)
    prepare(settings, build_processor(), root / "data", held_back=4, progress=False)

    def rows(path: Path) -> Any:
        return [[dict(row) for row in part] for part in load_prepared(settings, path)]

    files = sorted(str(p.relative_to(root / "data")) for p in (root / "data" / "shapes").rglob("*") if p.is_file())
    return Subject("prepared set", root / "data", {"train": rows}, files=files)


def _evaluation(root: Path) -> Subject:
    from tiny_llava import build_model, build_processor

    from eval_harness.compare import compare
    from eval_harness.evaluate import evaluate
    from eval_harness.evaluations import found, model_names
    from eval_harness.local_model import LocalModel
    from eval_harness.section import EvalSection

    processor = build_processor()
    settings = EvalSection(task="shapes_test", limit=6, batch_size=8, controls=("blank",))
    models = {
        name: LocalModel(build_model(processor, seed), processor, name) for name, seed in (("one", 0), ("two", 1))
    }
    for name, model in models.items():
        evaluate(model, settings, root / "eval" / name)

    def compared(path: Path) -> Any:
        both = [model for folder in ("one", "two") for model in found(path / folder)]
        tasks = compare(both, model_names(both))["tasks"]
        return {task: one["comparisons"] for task, one in tasks.items()}

    def evaluated(path: Path) -> Any:
        return evaluate(models["one"], settings, path / "one")["scores"]

    files = sorted(str(p.relative_to(root / "eval")) for p in (root / "eval" / "one").rglob("*") if p.is_file())
    return Subject(
        "evaluation",
        root / "eval",
        {"compare": compared, "evaluate": evaluated},
        files=files,
        # an edited row or result says something else; evaluating again must not be led astray by either
        says=lambda file, mutation: mutation in ("another type", "key removed", "flipped", "missing", "truncated"),
        weights=lambda outcome: None,
    )


def _run(root: Path) -> Subject:
    from finished_run import finished_run

    from recipes.chain import Chain
    from recipes.publish import proven
    from recipes.recipe import load_resolved
    from recipes.stages import STAGES

    out = root / "run"
    finished_run(out)

    def published(path: Path) -> Any:
        recipe = load_resolved(path / "resolved.yaml")
        return {"proven": proven(recipe, path)["verify"]}

    def rerun(path: Path) -> Any:
        chain = Chain(STAGES, load_resolved(path / "resolved.yaml"), path)
        return {name: chain.done(name) for name in chain.stages}

    files = ["result.json", "resolved.yaml", *sorted(str(p.relative_to(out)) for p in out.glob(".stages/*.json"))]
    return Subject(
        "run",
        out,
        {"push": published, "run": rerun},
        files=files,
        says=lambda file, mutation: True,  # a stage whose stamp is damaged is done again
        weights=lambda outcome: outcome.get("proven"),
    )


SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "base": _base,
    "adapter": _adapter,
    "checkpoint": _checkpoint,
    "prepared set": _prepared,
    "evaluation": _evaluation,
    "run": _run,
}


# ----------------------------------------------------------------------------------------------------------- the fuzz
def planned(made: list[Subject], mutations: int | None, seed: int) -> Iterator[tuple[Subject, str, str, int]]:
    """Every mutation of every file once, in random order, and again with other seeds until there are enough."""
    pairs = [(subject, file, name) for subject in made for file in subject.files for name in mutations_of(file)]
    random = Random(seed)
    total = mutations or len(pairs)
    for number in range(total):
        if number % len(pairs) == 0:
            random.shuffle(pairs)
        yield *pairs[number % len(pairs)], seed * 1_000_003 + number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subject", help="this one alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = subjects(Path(folder) / "clean", given.subject)
        counts: Counter[tuple[str, str]] = Counter()
        faults: dict[tuple[str, ...], Result] = {}
        done = 0
        for subject, file, name, seed in planned(made, given.mutations, given.seed):
            results = tried(subject, file, name, seed, Path(folder) / "work" / subject.name)
            done += bool(results)
            for result in results:
                counts[result.subject, result.outcome] += 1
                if result.fault:
                    key = (result.subject, result.loader, Path(file).name, name, result.detail.split(" at ")[-1])
                    if key not in faults:
                        print(f"FAULT {result}", flush=True)
                    faults.setdefault(key, result)
    print(f"{done} mutations, {sum(counts.values())} loads")
    for (subject_name, outcome), count in sorted(counts.items()):
        print(f"  {subject_name}: {outcome} {count}")
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    raise SystemExit(main())
