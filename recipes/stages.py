"""prepare → leaks → attach → before → train → after → collapse → merge → verify → report → publish, a few lines each.

Every function takes the recipe and the output folder and returns what result.json says of the stage.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.demo.models import model_path
from mlplora_vlm.checkpoint import ADAPTER_FILE
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, sha256, write_json
from recipes.chain import Stage
from recipes.launch import train_command, train_environment, wait_for
from recipes.recipe import Recipe

REFERENCE_ROWS, COMPARED_ANSWERS = 16, 128
TRAINING_ERROR = ".stages/training_error.txt"
"""Why a training process ended, for the nodes that did not see it."""


def prepare(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Get and check the model's files, and check every training row: out/data has the rows, rejects and report."""
    from mlplora_vlm.load import check_base, load_processor, resolve_dtype
    from recipes.data import prepare_data, said

    path = model_path(recipe.model.id)
    processor = load_processor(path, recipe.model)
    check_base(path, recipe.model, processor)
    report = prepare_data(recipe, processor, out / "data")
    print(said(report, out / "data"), flush=True)
    dtype = str(resolve_dtype(recipe.model.dtype)).removeprefix("torch.")
    return {"rows": report["rows"], "left_out": report["left_out"], "dtype": dtype}


def leaks(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Looks for the evaluation's pictures among those trained on, pixel by pixel; what is found goes to the report."""
    from recipes.data import report_leaks

    found = report_leaks(recipe, out / "data")
    if found:
        print(
            f"{found:,} pictures of the evaluation are also trained on: see {out / 'data' / 'report.html'}", flush=True
        )
    return {"pictures": found}


def attach(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Attaches the adapter to the architecture alone: which layers, how many numbers, how much memory."""
    from data_prep.prepared import prepared_parts
    from recipes.data import refuse_nothing_learned
    from recipes.dry_run import dry_run, verdict

    refuse_nothing_learned(recipe, prepared_parts(recipe.data, out / "data"))  # what is trained may have changed
    run = dry_run(recipe)
    print(", ".join(f"{part}: {count} layers" for part, count in run.layers.items()), flush=True)
    if full := run.parameters["full"]:
        print(f"{', '.join(recipe.adapter.full)} in full: {full:,} numbers", flush=True)
    print(verdict(run), flush=True)
    return {"adapted_layers": run.layers, "parameters": run.parameters}


def before(recipe: Recipe, out: Path) -> dict[str, Any]:
    """The untuned model's scores; its answers are kept in the cache, where the next run with this base finds them."""
    from data_prep.demo.folder_cache import cache_root
    from eval_harness.evaluate import evaluate
    from eval_harness.local_model import LocalModel
    from mlplora_vlm.load import best_device, load_model, load_processor

    path = model_path(recipe.model.id)
    model = load_model(path, recipe.model, best_device()).eval()
    base = LocalModel(model, load_processor(path, recipe.model), recipe.model.id)
    kept = cache_root() / "answers"
    return evaluate(base, recipe.eval, out / "eval" / "before", controls=False, kept=kept, untuned=True)


def train(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Starts the training under torchrun, and waits for it."""
    reason = out / TRAINING_ERROR
    reason.unlink(missing_ok=True)
    if status := wait_for(train_command(recipe, out), train_environment(recipe)):
        said = f": {reason.read_text('utf-8')}" if reason.is_file() else ""
        raise MendableError(
            f"training ended with exit code {status}{said}",
            str(out / "run.log"),
            "see above what stopped it; the same command goes on from the last checkpoint",
        )
    return read_json(out / "train" / "training.json")


def train_process(recipe: Recipe, out: Path) -> None:
    """One process of the training, as torchrun starts it."""
    import torch
    from transformers import set_seed

    from data_prep.collate import TrainCollator
    from data_prep.prepared import load_prepared
    from mlplora_vlm.attach import attach as attach_adapter
    from mlplora_vlm.load import load_model, load_processor, resolve_dtype
    from mlplora_vlm.start import keep_start
    from mlplora_vlm.training import train as train_adapter
    from mlplora_vlm.training import training_arguments
    from mlplora_vlm.verify import save_reference
    from mlplora_vlm.weight_kinds import said, weight_kinds

    folder = out / "train"
    bf16 = resolve_dtype(recipe.model.dtype) == torch.bfloat16
    arguments = training_arguments(recipe.train, bf16, folder)  # before the model: see there
    path = model_path(recipe.model.id)
    model = load_model(path, recipe.model)
    set_seed(recipe.train.seed)
    tuned, _ = attach_adapter(model, recipe.adapter)
    keep_start(tuned, folder, write=arguments.process_index == 0)
    if arguments.process_index == 0:
        print(said(weight_kinds(tuned)), flush=True)
    rows, held_back = load_prepared(recipe.data, out / "data", recipe.train.seed)
    collator = TrainCollator(load_processor(path, recipe.model), "as_written")
    lengths = rows["length"] if recipe.data.group_by_length else None
    trainer = train_adapter(
        tuned, rows, collator, recipe.train, recipe.adapter, arguments, held_back or None, lengths=lengths
    )
    file = folder / "reference.safetensors" if trainer.is_world_process_zero() else None
    batches = _reference_batches(rows, recipe.train.batch_size, collator.processor)
    save_reference(trainer.model_wrapped, batches, file, collator.processor)


def _reference_batches(rows: Any, size: int, processor: Any) -> list[dict[str, Any]]:
    """The batches that verify compares logits on: the first training rows, no more at once than training had."""
    from data_prep.collate import TrainCollator

    count, collate = min(REFERENCE_ROWS, len(rows)), TrainCollator(processor, "as_written")
    return [
        collate([rows[number] for number in range(start, min(start + size, count))]) for start in range(0, count, size)
    ]


def after(recipe: Recipe, out: Path) -> dict[str, Any]:
    """The tuned model's scores, and the controls that show whether it looks."""
    from eval_harness.evaluate import evaluate
    from eval_harness.local_model import LocalModel
    from eval_harness.verdict import verdict
    from mlplora_vlm.load import best_device, load_processor, load_tuned

    path, adapter = model_path(recipe.model.id), out / "train" / "adapter"
    model = load_tuned(path, adapter, recipe.model, best_device())
    about = {"base": recipe.model.id, "adapter": "train/adapter", "adapter_sha256": sha256(adapter / ADAPTER_FILE)}
    tuned = LocalModel(model, load_processor(path, recipe.model), f"{recipe.name} tuned", about)
    summary = evaluate(tuned, recipe.eval, out / "eval" / "after")
    return {"summary": summary, "verdict": verdict(summary, recipe.eval.judge)}


def collapse(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Leaves the generator behind: adapter/ is a stock PEFT folder, with its chat template and pixels."""
    from mlplora_vlm.collapse import collapse as collapse_adapter
    from mlplora_vlm.load import load_processor

    facts = collapse_adapter(out / "train" / "adapter", out / "adapter", recipe.model.id)
    load_processor(model_path(recipe.model.id), recipe.model).save_pretrained(out / "adapter")
    return facts


def merge(recipe: Recipe, out: Path) -> dict[str, Any]:
    """merged/ is a stock transformers folder."""
    from mlplora_vlm.merge import merge as merge_adapter

    return merge_adapter(model_path(recipe.model.id), recipe.model, out / "adapter", out / "merged", recipe.merge)


def verify(recipe: Recipe, out: Path) -> dict[str, Any]:
    """adapter/ and merged/, loaded from disk, against training's batch and logits and the tuned model's answers."""
    from data_prep.prepared import load_prepared
    from eval_harness.agreement import agreement, agrees
    from eval_harness.metrics import Metric
    from eval_harness.predictions import read_rows
    from eval_harness.tasks import task_examples
    from mlplora_vlm.load import best_device, load_model, load_processor, load_tuned
    from mlplora_vlm.verify import verify as verify_written

    path, merged, reference = model_path(recipe.model.id), out / "merged", out / "train" / "reference.safetensors"
    rows, _ = load_prepared(recipe.data, out / "data", recipe.train.seed)
    rebuild = partial(_reference_batches, rows, recipe.train.batch_size)
    facts = verify_written(path, recipe.model, out / "adapter", merged, reference, rebuild, recipe.merge)
    # like its base, but never in 4 bits; its picture settings are those that lie in merged/
    plain = replace(recipe.model, id=str(merged), revision=None, quantization="none", picture_tokens=None)
    model = load_model(str(merged), plain, best_device()).eval()
    task = recipe.eval.chosen()
    said = {row["id"]: row for row in read_rows(out / "eval" / "after" / "predictions.jsonl")[:COMPARED_ANSWERS]}
    examples = task_examples(recipe.eval.rows_of(task.split), said)
    facts["answers"] = agreement(
        model,
        lambda: load_tuned(path, out / "adapter", recipe.model, best_device()),
        load_processor(merged, plain),
        examples,
        [said[example.id]["prediction"] for example in examples],
        task.prompt,
        task.max_new_tokens,
        recipe.eval.batch_size,
        facts["largest_logit_difference"],
        Metric(task.metric),
    )
    if facts["faithful"] and not agrees(facts["answers"]):
        write_json(out / ".stages" / "disagreement.json", facts)
        raise MendableError(
            f"the merged model answers {facts['answers']['different']} of {facts['answers']['n']} questions otherwise "
            f"than the tuned one, {facts['answers']['explained']} of them explained by rounding (so many in "
            f"{facts['answers']['near_ties']} answers with a near tie: chance {facts['answers']['chance']:.1g})",
            str(out / ".stages" / "disagreement.json"),
            "run again with --from merge; nothing has been published",
        )
    stated = "" if facts["faithful"] else f", {facts['trained_error']:.1e} from the trained model (merge.base=original)"
    print(
        f"collapse error {facts['collapse_error']:.1e}, merge error {facts['merge_error']:.1e} "
        f"(bound {facts['merge_bound']:.0e}, {facts['rounding']}){stated}; {facts['answers']['n']} answers compared, "
        f"{facts['answers']['different']} differ",
        flush=True,
    )
    facts["hashes"] = {
        f"{folder}/{path.name}": sha256(path)
        for folder in ("adapter", "merged")
        for path in sorted((out / folder).iterdir())
        if path.is_file()
    }
    return facts


def report(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Writes result.json and report.html."""
    from recipes.result import write_result

    return {"verdict": write_result(recipe, out)["verdict"]}


def publish(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Pushes what the recipe says to the hub; nothing where it says nothing."""
    from mlplora_vlm.publish import NOWHERE

    if recipe.publish.to == NOWHERE:
        return {"pushed": []}
    from recipes.publish import publish as push_all

    return {"pushed": push_all(recipe, out)}


STAGES = (
    Stage("prepare", prepare, ("model", "data", "train"), (), ("data",)),
    Stage("leaks", leaks, ("data", "eval"), ("prepare",)),
    Stage("attach", attach, ("model", "data", "adapter", "train", "eval", "hardware"), ("prepare",)),
    Stage("before", before, ("model", "eval"), (), ("eval/before",), resumes=True),
    Stage("train", train, ("model", "data", "adapter", "train"), ("prepare",), ("train",), resumes=True),
    Stage("after", after, ("model", "eval"), ("train",), ("eval/after",), resumes=True),
    Stage("collapse", collapse, ("model",), ("train",), ("adapter",)),
    Stage("merge", merge, ("model", "merge"), ("collapse",), ("merged",)),
    Stage("verify", verify, ("model", "data", "eval"), ("after", "merge")),
    Stage("report", report, (), ("leaks", "attach", "before", "verify"), ("result.json", "report.html")),
    Stage("publish", publish, ("publish",), ("report",)),
)
