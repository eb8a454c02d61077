"""Every task asks its source's official rows in known words, and changes only with its version."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import task_versions
from official_sets import WRITERS
from task_versions import PROMPTS_FILE, VERSIONS_FILE, current, main, snapshots, task_digest, unraised

from data_prep.prompts import PROMPTS
from data_prep.rows import strict
from data_prep.sources import SOURCES, open_source
from eval_harness.figures import grouped
from eval_harness.metrics import METRICS
from eval_harness.tasks import TASKS
from mlplora_vlm.files import read_json

SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
OWN = {"easy_vqa", "shapes"}
"""Sources that bring their own data."""
ASKED = {
    "answer_or_unanswerable": f"{{question}}\nWhen the provided information is insufficient, respond with "
    f"'Unanswerable'.{SHORT}",
    "caption": "Provide a one-sentence caption for the provided image.",
    "option_letter": f"{{question}}{LETTER}",
    "short_answer": f"{{question}}{SHORT}",
}
"""The published words; car_model and true_or_false are our own."""


@pytest.fixture(scope="module")
def shown():
    return snapshots()


def test_the_published_words_are_asked():
    assert {name: PROMPTS[name] for name in ASKED} == ASKED
    own = {"car_model": {"stanford_cars_test"}, "true_or_false": {"nlvr2_test1"}}
    for name, tasks in own.items():
        assert {task for task, row in TASKS.items() if row.prompt == name} == tasks


def test_every_benchmark_has_its_task():
    assert set(TASKS) >= {
        *("vqav2_val", "ok_vqa_val", "textvqa_val", "textvqa_val_ocr", "vizwiz_val", "gqa_testdev"),
        *("scienceqa_test_img", "ai2d_test", "mmbench_dev", "mmbench_dev_circular", "seed_bench_image"),
        *("pope_random", "pope_popular", "pope_adversarial", "mme_all", "nlvr2_test1"),
        *("chartqa_test", "docvqa_val", "info_vqa_val"),
        *("coco_captions_val", "coco_captions_karpathy_test", "no_caps_val", "flickr30k_test"),
        *("stanford_cars_test", "easy_vqa_test", "shapes_test", "shapes_sixteen"),
    }


@pytest.mark.parametrize("name", TASKS)
def test_what_a_task_names_is_there(name):
    task = TASKS[name]
    assert name == f"{task.source}_{task.split}"
    assert task.source in SOURCES and {task.split, task.prior_split} - {None} <= set(open_source(task.source).SPLITS)
    assert task.prompt in PROMPTS and task.version >= 1 and task.max_new_tokens >= 1
    assert task.metric not in task.also


def test_every_metric_that_a_task_names_is_there():
    assert {metric for task in TASKS.values() for metric in (task.metric, *task.also)} <= set(METRICS)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.source not in OWN])
def test_a_task_reads_its_official_rows(name, tmp_path):
    task = TASKS[name]
    found = task_versions.rows(task, tmp_path)
    assert found and len({row.id for row in found}) == len(found)
    for row in found:
        assert row.id.startswith(f"{task.source}/") and row.category and row.answer in row.references
        assert len(row.images) == (2 if task.source == "nlvr2" else 1)
        assert bool(row.question) == ("{question}" in PROMPTS[task.prompt])
        if task.prompt == "option_letter":
            assert f"\n{row.answer}. " in row.question
        if task.metric.startswith("vqa_accuracy"):
            assert len(row.references) == 10
        if task.metric in ("yes_no", "mme"):
            assert row.references in (("yes",), ("no",))


def test_every_official_source_has_a_small_set():
    assert {task.source for task in TASKS.values()} == set(WRITERS) | OWN


def test_rows_that_are_scored_together_share_their_ids_up_to_the_last_slash(tmp_path):
    for name, sizes in (("mme_all", {2}), ("mmbench_dev_circular", {2, 4})):
        (folder := tmp_path / name).mkdir()
        found = task_versions.rows(TASKS[name], folder)
        assert {len(rows) for rows in grouped([{"id": row.id} for row in found]).values()} == sizes


def test_pictures_without_a_question_of_their_own_are_no_row_of_scienceqa_img(tmp_path):
    WRITERS["scienceqa"](tmp_path)
    whole = list(strict(open_source("scienceqa").rows("test", tmp_path)))
    pictured = list(strict(open_source("scienceqa").rows("test_img", tmp_path)))
    assert [len(row.images) for row in whole] == [0, 1] and pictured == [whole[1]]


@pytest.mark.skipif(find_spec("easy_vqa") is None, reason="the package easy-vqa is not installed")
def test_what_is_sent_is_what_was_sent(shown):
    kept = read_json(PROMPTS_FILE)
    assert list(kept) == sorted(TASKS)
    for name in TASKS:
        assert shown[name] == kept[name], f"{name}: raise its version; python tests/eval_harness/task_versions.py"


@pytest.mark.skipif(find_spec("easy_vqa") is None, reason="the package easy-vqa is not installed")
def test_no_task_has_changed_without_a_new_version(shown):
    now = current(TASKS, shown, task_versions.metric_fingerprint())
    assert VERSIONS_FILE.is_file(), "python tests/eval_harness/task_versions.py"
    assert not unraised(now, kept := read_json(VERSIONS_FILE)), "raise the version in eval_harness/tasks.py"
    assert now == kept, "python tests/eval_harness/task_versions.py"


def fingerprint(metric: str) -> str:
    return f"the scores of {metric}"


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "as_written"},
        {"metric": "exact_match"},
        {"max_new_tokens": 17},
        {"split": "train"},
        {"source": "textvqa"},
        {"options": {"file": "other.json"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_is_asked_and_how_it_is_scored_are_in_the_digest(shown, changed):
    task, sent = TASKS["vqav2_val"], shown["vqav2_val"]
    assert task_digest(replace(task, **changed), sent, fingerprint) != task_digest(task, sent, fingerprint)


def test_words_rows_and_scores_are_in_the_digest_and_the_rest_is_not(shown, monkeypatch):
    task, sent = TASKS["vqav2_val"], shown["vqav2_val"]
    before = task_digest(task, sent, fingerprint)
    assert task_digest(task, sent | {"asked": sent["asked"] + " "}, fingerprint) != before
    assert task_digest(task, sent | {"references": ["up"] * 10}, fingerprint) != before
    assert task_digest(task, sent, lambda metric: "other scores") != before
    assert task_digest(task, sent | {"sent": "through another chat template"}, fingerprint) == before
    assert task_digest(replace(task, version=2, also=("exact_match",), prior_split=None), sent, fingerprint) == before
    monkeypatch.setitem(PROMPTS, "short_answer", "{question}\nAnswer in a word.")
    assert task_digest(task, sent, fingerprint) != before


def test_the_command_refuses_a_change_without_a_new_version(tmp_path, monkeypatch, capsys, shown):
    monkeypatch.setattr(task_versions, "snapshots", lambda: shown)
    files = tmp_path / "prompts.json", tmp_path / "versions.json"
    assert main(TASKS, fingerprint, files) == 0 and read_json(files[0]) == shown
    first = read_json(files[1])
    assert sorted(first) == sorted(TASKS) and first["vqav2_val"]["version"] == TASKS["vqav2_val"].version
    shorter = {**TASKS, "vqav2_val": replace(TASKS["vqav2_val"], max_new_tokens=8)}
    assert main(shorter, fingerprint, files) == 1 and read_json(files[1]) == first
    assert "vqav2_val" in capsys.readouterr().err
    assert main(TASKS, lambda metric: f"{metric} {metric == 'anls'}", files) == 1  # the metric's own behaviour
    raised = {**shorter, "vqav2_val": replace(shorter["vqav2_val"], version=2)}
    assert main(raised, fingerprint, files) == 0 and read_json(files[1])["vqav2_val"]["version"] == 2
    assert main(shorter, fingerprint, files) == main(TASKS, fingerprint, files) == 1  # a version does not go back


def test_the_snapshots_are_of_the_sets_that_are_written_now(tmp_path: Path, shown):
    first = task_versions.rows(TASKS["textvqa_val_ocr"], tmp_path)[0]
    assert shown["textvqa_val_ocr"]["id"] == first.id and first.question in shown["textvqa_val_ocr"]["sent"]
