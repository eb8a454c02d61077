"""The sweep: its words, its cells on disk, what a cell measures, and what it says at the end."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json
from recipes.__main__ import main
from recipes.sweep import run, summary
from recipes.sweep.cells import Cells
from recipes.sweep.grid import METHODS, coarse_to_fine, load_grid, parse_label, parse_rates, split_words

ROOT = Path(__file__).parents[2]
LLAVA = ROOT / "recipes" / "llava_vqa.yaml"
TINY = (
    *("data.split=train", "data.limit=16", "eval.task=shapes_test"),
    *("train.eval_rows=8", "train.max_steps=3", "train.batch_size=4"),
)


def grid(kinds=("lora", "op-lora"), rates=(1e-3, 1e-2), seeds=1, overrides=TINY):
    return load_grid(LLAVA, "smoke", overrides, kinds, rates, seeds)


# the words


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("1e-5:1e-2:1", [1e-5, 1e-4, 1e-3, 1e-2]),
        ("1e-3:1e-2:3", [1e-3, 2.2e-3, 4.6e-3, 1e-2]),
        ("3e-4:5e-3:3", [3e-4, 4.6e-4, 1e-3, 2.2e-3, 5e-3]),
        ("2e-4:3e-4:2", [2e-4, 3e-4]),
        ("3e-3,1e-4,1e-4", [1e-4, 3e-3]),
        ("1e-3", [1e-3]),
    ],
)
def test_learning_rates(text, rates):
    assert parse_rates(text) == pytest.approx(rates)


@pytest.mark.parametrize(
    "text",
    ["", "fast", "1e-3:1e-2", "1e-2:1e-3:3", "1e-3:1e-2:0", "1e-3:1e-2:2.5", "0,1", "-1", "nan", "1e-3:inf:3", "1:2,3"],
)
def test_bad_learning_rates_say_where(text):
    with pytest.raises(MendableError) as error:
        parse_rates(text)
    assert error.value.where == f"command line: --lr {text}" and error.value.fix


def test_every_method_is_its_recipe():
    assert len(METHODS) == 15
    cells = {cell.label: cell.recipe.adapter for cell in grid((*METHODS, "lora+", "op-dora+"), rates=[1e-3])}
    for label, adapter in cells.items():
        assert label.removesuffix("+").removeprefix("op-").removeprefix("linear-") == adapter.kind
        assert adapter.generated == label.startswith(("op-", "linear-"))
        assert (adapter.generator.form == "linear") == label.startswith("linear-")
        assert adapter.b_lr_ratio == (16 if label.endswith("+") else 1)


def test_own_methods():
    own = "narrow:adapter.on=[language,vision],adapter.generator.hidden=4"
    assert parse_label(own) == ("narrow", ("adapter.on=[language,vision]", "adapter.generator.hidden=4"))
    narrow, wide = (cell.recipe.adapter for cell in grid((own, "op-lora:adapter.rank=8"), rates=[1e-3]))
    assert narrow.on == ("language", "vision") and narrow.generator.hidden == 4
    assert (wide.generated, wide.rank) == (True, 8)
    assert split_words(["lora", own, "data.limit=4", "op-lora"]) == (["lora", own, "op-lora"], ["data.limit=4"])


def test_all_mistakes_come_at_once_and_each_once():
    kinds = ("op-lroa", "lora", "lora", "pissa:model.quantization=nf4", "a b:adapter.rank=1", "mine:")
    with pytest.raises(MendableError) as error:
        grid(kinds, seeds=0, overrides=("adapter.rank=0", "train.learning_rate=1"))
    text = str(error.value)
    for part in (
        "there is no method 'op-lroa' (did you mean 'op-lora'?)",
        "command line: --kind op-lroa",
        "'a b' cannot be part of a file's name",
        "'mine' has no overrides",
        "rank must be at least 1",
        "pissa starts from the base weights' singular vectors",
        "0 seeds are none",
        "a sweep sets the learning rate itself",
    ):
        assert text.count(part) == 1, part


def test_labels_share_model_and_data():
    with pytest.raises(MendableError, match=r"(?s)other changes the section data.*--kind other"):
        grid(("lora", "other:data.limit=8"))
    with pytest.raises(MendableError, match="lora is named twice"):
        grid(("lora", "lora:adapter.rank=2"))
    with pytest.raises(MendableError, match="nothing is held out"):
        grid(overrides=("train.eval_rows=0",))


def test_command_line_tells_mistakes_and_help_has_examples(capsys):
    words = ["sweep", str(LLAVA), "--preset", "smoke", "--lr", "1e-3", "--kind", "op-lroa", "train.max_steps=1"]
    assert main(words) == 2
    assert "did you mean 'op-lora'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    assert "python -m recipes sweep recipes/llava_vqa.yaml" in capsys.readouterr().out


# the order, and the cells on disk


def test_coarse_curves_come_first():
    rates = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert coarse_to_fine(rates) == [4.0, 2.0, 6.0, 1.0, 3.0, 5.0, 7.0]
    cells = grid(rates=rates, seeds=2)
    assert [cell.seed for cell in cells] == [0] * 14 + [1] * 14
    assert [cell.label for cell in cells[:2]] == ["lora", "op-lora"] and {cell.lr for cell in cells[:2]} == {4.0}


def test_name_changes_with_what_the_result_hangs_on():
    names = [cell.name for cell in grid(seeds=2)]
    assert len(set(names)) == len(names) == 8
    assert [cell.name for cell in grid(seeds=2, overrides=(*TINY, "eval.limit=3"))] == names
    assert not {cell.name for cell in grid(seeds=2, overrides=(*TINY, "adapter.rank=3"))} & set(names)
    assert all(re.fullmatch(r"[\w.+-]+", name) for name in names)


RESULT = {
    "diverged": False, "train_loss": 1.0, "losses": [1.0], "held_out": {"loss": 1.0, "accuracy": 0.5},
    "seconds": {"all": 1.0},
}  # fmt: skip


def test_processes_share_cells_without_doubling(tmp_path):
    """Each claim opens the lock anew, so threads are to it what processes are."""
    cells, done, doubled = grid(rates=[1e-3, 1e-2, 1e-1], seeds=4), [], threading.Barrier(4)

    def work():
        mine = Cells(tmp_path)
        doubled.wait()
        for cell in cells:
            with mine.claimed(cell) as free:
                if free:
                    done.append(cell.name)
                    mine.finish(cell, RESULT)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(done) == sorted(cell.name for cell in cells)


def test_cell_at_work_is_left_alone_and_a_killed_one_is_free(tmp_path):
    (cell,), first, second = grid(["lora"], rates=[1e-3]), Cells(tmp_path), Cells(tmp_path)
    with first.claimed(cell) as mine:
        assert mine
        with second.claimed(cell) as too:
            assert not too
    with second.claimed(cell) as mine:  # the lock went with its holder, and there is no result
        assert mine
        second.finish(cell, RESULT)
    with first.claimed(cell) as mine:
        assert not mine
    assert first.result(cell) == {"label": "lora", "lr": 1e-3, "seed": 0} | RESULT


def test_finished_cells_load_no_model(tmp_path, monkeypatch):
    cells = grid()
    for cell in cells:
        Cells(tmp_path).finish(cell, RESULT)
    monkeypatch.setattr("recipes.sweep.measure.Base", None)
    run.work(cells, tmp_path)


def test_unfinished_sweep_shows_its_shape(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SHOWN_EVERY", 0.0)
    monkeypatch.setattr("recipes.sweep.measure.Base", lambda recipe: None)
    seen = []

    def measure(base, recipe):
        seen.append((tmp_path / "sweep.json").exists() and read_json(tmp_path / "sweep.json")["cells"]["finished"])
        return RESULT

    monkeypatch.setattr("recipes.sweep.measure.measure", measure)
    run.work(grid(), tmp_path)
    assert seen == [False, 1, 2, 3]


# the summary


def swept(tmp_path, values, rates=(1e-3, 1e-2, 1e-1), seeds=3):
    """A sweep whose cells' held-out loss is ``values(label, rate index, seed)``; None: not finished, nan: diverged."""
    cells = grid(rates=rates, seeds=seeds)
    for cell in cells:
        loss = values(cell.label, rates.index(cell.lr), cell.seed)
        if loss is None:
            continue
        lost = math.isnan(loss)
        scores = None if lost else {"loss": loss, "accuracy": 1 - loss / 10}
        Cells(tmp_path).finish(
            cell, RESULT | {"diverged": lost, "held_out": scores, "train_loss": None if lost else loss / 2}
        )
    return summary.write_summary(cells, tmp_path)


def test_summary_finds_the_best_rate_its_interval_and_what_diverged(tmp_path):
    table = {"lora": (3.0, 2.0, math.nan), "op-lora": (1.02, 1.0, 1.01)}
    result = swept(tmp_path, lambda label, i, seed: table[label][i] + 0.001 * seed)
    lora, op = result["labels"]["lora"], result["labels"]["op-lora"]
    assert (lora["best_lr"], lora["diverged"], lora["cells"]) == (1e-2, 3, 9)
    assert lora["held_out_loss"]["mean"] == pytest.approx(2.001) and op["held_out_loss"]["mean"] == pytest.approx(1.001)
    assert op["held_out_loss"]["width"] == pytest.approx(2) and op["held_out_loss"]["wider"]
    assert lora["width_at_best"]["width"] == 0 and op["width_at_best"]["width"] == pytest.approx(2)
    assert op["accuracy"]["mean"] == pytest.approx(1 - 0.1001) and op["train_loss"]["mean"] == pytest.approx(0.5005)
    assert result["sentence"].startswith("Lowest held-out loss: op-lora at 1e-2, 1.001")
    assert "the intervals do not overlap, and paired by seed it is worse (+1.000" in result["sentence"]
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert read_json(tmp_path / "sweep.json") == result
    heads, rows = summary.table(result["labels"])
    assert [row[0] for row in rows] == ["lora", "op-lora"] and all(len(row) == len(heads) for row in rows)


def test_seeds_that_do_not_tell_methods_apart_are_said_to(tmp_path):
    result = swept(tmp_path, lambda label, i, seed: 1.0 + abs(i - 1) + 0.1 * ((seed + (label == "lora")) % 3))
    assert "the intervals overlap, and paired by seed it is not shown to be different" in result["sentence"]


def test_interrupted_sweep_is_summed_up(tmp_path):
    result = swept(tmp_path, lambda label, i, seed: None if seed or i != 1 or label != "lora" else 2.0)
    assert result["cells"] == {"finished": 1, "all": 18}
    assert "best_lr" in result["labels"]["lora"] and result["labels"]["op-lora"] == {"cells": 0, "diverged": 0}


def test_one_seed_tells_nothing(tmp_path):
    result = swept(tmp_path, lambda label, i, seed: 1.0 + i + (label == "lora"), seeds=1)
    assert "lora at 1e-3: 2.000 (2.000–2.000); from one seed nothing follows" in result["sentence"]


def test_nothing_but_divergence_is_said(tmp_path):
    result = swept(tmp_path, lambda label, i, seed: math.nan)
    assert result["sentence"] == "No training has finished without diverging."
    assert result["labels"]["lora"]["diverged"] == 9


# the trainings


@pytest.fixture(scope="module")
def base():
    from recipes.sweep.measure import Base

    return Base(grid()[0].recipe)


@pytest.mark.slow
def test_cell_is_a_training_of_its_recipe_and_leaves_the_base_as_it_was(base, tmp_path):
    import torch
    from transformers import set_seed

    from data_prep.collate import TrainCollator
    from data_prep.demo.models import model_path
    from data_prep.prepared import load_prepared, prepare
    from data_prep.record import to_example
    from eval_harness.teacher_forced import teacher_forced
    from mlplora_vlm.attach import attach
    from mlplora_vlm.load import load_model, load_processor
    from mlplora_vlm.training import train, training_arguments
    from recipes.sweep.measure import measure

    cells = grid(("lora", "op-lora", "pissa", "linear-dora"), rates=[1e-2], seeds=2)
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    found = [measure(base, cell.recipe) for cell in cells]
    after = base.model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)

    for cell in (cells[1], cells[-1]):  # with a model of their own, and without the cache
        recipe = cell.recipe
        path, settings = model_path(recipe.model.id), dataclasses.replace(recipe.train, zero_stage=0, eval_steps=0)
        model = load_model(path, recipe.model)
        set_seed(cell.seed)
        tuned, _ = attach(model, recipe.adapter)
        processor, prepared = load_processor(path, recipe.model), tmp_path / f"{cell.name}-rows"
        prepare(recipe.data, processor, prepared, cell.seed, recipe.train.eval_rows, progress=False)
        rows, aside = load_prepared(recipe.data, prepared, cell.seed)
        held_out, collator = [to_example(row) for row in aside], TrainCollator(processor, "as_written")
        arguments = training_arguments(settings, False, tmp_path / cell.name, deepspeed=None)
        trainer = train(tuned, rows, collator, settings, recipe.adapter, arguments)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        mine = found[cells.index(cell)]
        assert len(losses) == recipe.train.max_steps and mine["losses"] == pytest.approx(losses, rel=1e-5)
        assert mine["train_loss"] == pytest.approx(losses[-1], rel=1e-5) and not mine["diverged"]
        wanted = teacher_forced(tuned, collator, held_out, 8)
        assert mine["held_out"]["loss"] == pytest.approx(wanted["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "op-lora"])
def test_divergence_is_a_result(base, kind):
    from recipes.sweep.measure import measure

    (cell,) = grid([kind], rates=[1e30])
    found = measure(base, cell.recipe)
    assert found["diverged"] and found["held_out"] is None and found["train_loss"] is None
    assert not measure(base, grid([kind], rates=[1e-3])[0].recipe)["diverged"]


@pytest.mark.slow
def test_two_processes_at_once_then_once_more(tmp_path, capsys):
    words = ["sweep", str(LLAVA), "--preset", "smoke", "--lr", "1e-3,1e-2", "--kind", "lora", "op-lora"]
    words += ["--seeds", "2", "--out", str(tmp_path), *TINY]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "recipes", *words],
            cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=300)[0] for process in both]
    finished = [name for text in said for name in re.findall(r"^\[\d/8\] (.*?):", text, re.MULTILINE)]
    assert len(finished) == len(set(finished)) == 8, said
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "8 of 8 cells are done before" in text and "Lowest held-out loss" in text
    result = read_json(tmp_path / "sweep.json")
    assert result["cells"] == {"finished": 8, "all": 8} and result["learning_rates"] == [1e-3, 1e-2]
    assert {".mlplora_vlm", "cells", "sweep.json", "curves.png"} == {path.name for path in tmp_path.iterdir()}
