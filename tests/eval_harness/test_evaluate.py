"""A whole evaluation of the tiny model on drawn shapes: files, scores, controls, reuse and the verdict."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny_llava import build_model, build_processor

from data_prep.example import Example
from data_prep.rows import Rejected, RowError
from eval_harness import evaluate as module
from eval_harness.controls import blank, picture_key, prior, shuffled
from eval_harness.evaluate import evaluate
from eval_harness.figures import grouped
from eval_harness.local_model import LocalModel
from eval_harness.metrics import exact_match
from eval_harness.predictions import model_digest, read_rows, rows_of, write_rows
from eval_harness.sampling import sample
from eval_harness.section import EvalSection, OwnTask
from eval_harness.tasks import TASKS
from eval_harness.verdict import verdict
from mlplora_vlm.errors import MendableError

SETTINGS = EvalSection(task="shapes_test", limit=20, balance=True, batch_size=8, judge="open")


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture
def model(processor):
    return build_model(processor)


def row(name, category="open", question="what?", answer="red", picture=None):
    return Example(name, () if picture is None else (picture,), question, answer, (answer,), category)


def test_files_and_summary(model, processor, tmp_path):
    result = evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path)
    controls = ("blank", "shuffled", "prior")
    expected = {f"predictions-{name}.jsonl" for name in controls} | {"predictions.jsonl", "parts.json", "result.json"}
    assert {path.name for path in tmp_path.iterdir()} == expected
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert (result["task"], result["n"], result["metric"]) == ("shapes_test", 20, "exact_match")
    assert result["prompt_example"].startswith("<|im_start|>user\n<image>\n")
    assert "20 of 64 rows, seed 0, 10 of each category" in result["sample"]
    assert set(result["controls"]) == set(controls)
    for scores in (result["scores"], *result["controls"].values()):
        assert {name: score["n"] for name, score in scores.items()} == {"overall": 20, "open": 10, "yes/no": 10}
        assert all(score["low"] <= score["score"] <= score["high"] for score in scores.values())
    for name in ("predictions", *(f"predictions-{control}" for control in controls)):
        rows = read_rows(tmp_path / f"{name}.jsonl")
        assert all(row["score"] == exact_match.score(row["prediction"], row["references"]) for row in rows)
        assert list(rows[0]) == ["id", "category", "question", "references", "prediction", "score"]
    assert result["controls"]["prior"]["overall"]["score"] > 0.3  # half the questions are yes/no


def test_without_controls(model, processor, tmp_path):
    assert evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path, controls=False)["controls"] == {}
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.jsonl", "parts.json", "result.json"}


def test_finished_parts_are_reused_and_changed_ones_redone(model, processor, tmp_path, monkeypatch):
    first = evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path)
    asked = []

    def counted(self, *given):
        asked.append(given[4])
        return real(self, *given)

    real = LocalModel.answers
    monkeypatch.setattr(LocalModel, "answers", counted)
    assert evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path) == first and not asked
    blank = tmp_path / "predictions-blank.jsonl"
    for damage in (blank.unlink, lambda: blank.write_text('{"id": '), lambda: blank.write_text("")):
        damage()
        assert evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path)["scores"] == first["scores"]
        assert asked == ["shapes_test, blank pictures"]
        asked.clear()
    with torch.no_grad():
        model.lm_head.weight.add_(1e-3)
    evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path)
    assert len(asked) == 3
    asked.clear()
    evaluate(LocalModel(model, processor, "tiny"), EvalSection(**(vars(SETTINGS) | {"seed": 1})), tmp_path)
    assert len(asked) == 3


def test_a_crash_between_parts_keeps_the_finished_ones(model, processor, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "shuffled", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path)
    assert not (tmp_path / "result.json").exists()
    asked, real = [], LocalModel.answers
    monkeypatch.setattr(LocalModel, "answers", lambda *a, **o: asked.append(a[5]) or real(*a, **o))
    evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path)
    assert asked == ["shapes_test, shuffled pictures"]


class Killed(BaseException):
    pass


def test_a_run_that_is_stopped_within_a_part_goes_on_there(model, processor, tmp_path, monkeypatch):
    whole = evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path / "whole")
    real, asked = LocalModel.answers, []

    def dying(self, examples, *options):
        for count, found in enumerate(real(self, examples, *options)):
            if count == 9:  # of batches of 8
                raise Killed
            yield found

    with monkeypatch.context() as patch:
        patch.setattr(LocalModel, "answers", dying)
        with pytest.raises(Killed):
            evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path / "broken")
    assert not (tmp_path / "broken" / "predictions.jsonl").exists()
    monkeypatch.setattr(LocalModel, "answers", lambda self, *a: asked.append(len(a[0])) or real(self, *a))
    found = evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path / "broken")
    assert asked == [11, 20, 20]
    times = ("seconds", "samples_per_second")
    assert {k: v for k, v in found.items() if k not in times} == {k: v for k, v in whole.items() if k not in times}
    for name in ("predictions", "predictions-blank"):
        assert read_rows(tmp_path / "broken" / f"{name}.jsonl") == read_rows(tmp_path / "whole" / f"{name}.jsonl")
    assert not (tmp_path / "broken" / ".answers").exists()


@pytest.mark.parametrize("what", ["weights", "version", "decoding", "pictures"])
def test_answers_of_something_else_are_never_mixed_in(what, model, processor, tmp_path, monkeypatch):
    settings = EvalSection(**(vars(SETTINGS) | {"controls": (), "judge": None}))
    real = LocalModel.answers
    with monkeypatch.context() as patch:
        patch.setattr(LocalModel, "answers", lambda *a: (found for found, _ in zip(real(*a), range(5), strict=False)))
        with pytest.raises(KeyError):  # as if killed: not all answers are there
            evaluate(LocalModel(model, processor, "tiny"), settings, tmp_path)
    assert (
        len((tmp_path / ".answers").joinpath(next((tmp_path / ".answers").iterdir()).name).read_text().split("\n")) == 6
    )
    if what == "weights":
        with torch.no_grad():
            model.lm_head.weight.add_(1e-3)
    elif what == "pictures":
        monkeypatch.setattr(processor.image_processor, "image_mean", [0.1, 0.1, 0.1])
    else:
        changes = {"version": {"version": 2}, "decoding": {"max_new_tokens": 3}}[what]
        monkeypatch.setitem(TASKS, "shapes_test", replace(TASKS["shapes_test"], **changes))
    asked = []
    monkeypatch.setattr(LocalModel, "answers", lambda self, *a: asked.append(len(a[0])) or real(self, *a))
    evaluate(LocalModel(model, processor, "tiny"), settings, tmp_path)
    assert asked == [20]


def test_answers_of_other_runs_are_taken_over_from_where_they_are_kept(model, processor, tmp_path, monkeypatch):
    first = evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path / "a", False, kept=tmp_path / "kept")
    monkeypatch.setattr(LocalModel, "answers", lambda self, examples, *_: iter([1 / 0 for _ in examples]))
    again = evaluate(LocalModel(model, processor, "tiny"), SETTINGS, tmp_path / "b", False, kept=tmp_path / "kept")
    assert again["scores"] == first["scores"] and again["samples_per_second"] is None
    assert read_rows(tmp_path / "a" / "predictions.jsonl") == read_rows(tmp_path / "b" / "predictions.jsonl")


def test_a_task_of_one_s_own_needs_no_python(model, processor, tmp_path):
    lines = [{"file": f"{n}.png", "ask": "what color?", "say": "red", "kind": "ab"[n % 2]} for n in range(6)]
    for number in range(6):
        Image.new("RGB", (9, 9), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    columns = {"image": "file", "question": "ask", "answer": "say", "category": "kind"}
    own = OwnTask("table", split="test", folder=str(tmp_path), columns=columns, metric="anls", also=("exact_match",))
    settings = EvalSection("own", own, controls=("blank", "prior"))
    found = evaluate(LocalModel(model, processor, "tiny"), settings, tmp_path / "out")
    assert (found["task"], found["metric"], found["n"]) == ("own", "anls", 6)
    assert set(found["scores"]) == {"overall", "a", "b"} and set(found["figures"]) == {"exact_match"}
    assert set(found["controls"]) == {"blank"}  # there are no training answers to count
    with pytest.raises(MendableError, match="did you mean 'anls'"):
        evaluate(None, EvalSection("own", replace(own, metric="anl")), tmp_path / "out")


def test_digest_sees_training_and_ignores_names_of_folders(processor):
    model = build_model(processor)
    before = model_digest(model)
    assert model_digest(build_model(processor)) == before != model_digest(build_model(processor, seed=1))
    with torch.no_grad():
        model.lm_head.weight.mul_(1 + 1e-5)
    assert model_digest(model) != before
    assert model_digest(build_model(processor).to(torch.bfloat16)) != before


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"task": "shape_test"}, "did you mean 'shapes_test'"), ({"judge": "opne"}, "did you mean 'open'")],
)
def test_mistakes_are_found_before_any_answer(changed, message, tmp_path):
    with pytest.raises(MendableError, match=message):
        evaluate(None, EvalSection(**(vars(SETTINGS) | changed)), tmp_path)


def test_samples_are_seeded_ordered_and_balanced():
    rows = [row(str(number), "open" if number % 4 == 0 else "yes/no") for number in range(100)]
    some, note = sample(rows, 40, balance=True, seed=3)
    assert Counter(example.category for example in some) == {"open": 20, "yes/no": 20}
    assert [int(example.id) for example in some] == sorted(int(example.id) for example in some)
    assert sample(rows, 40, True, 3)[0] == some != sample(rows, 40, True, 4)[0]
    assert note == "a sample of 40 of 100 rows, seed 3, 20 of each category"
    assert Counter(example.category for example in sample(rows, 0, True, 0)[0]) == {"open": 25, "yes/no": 25}
    share, note = sample(rows, 7, False, 0)
    assert Counter(example.category for example in share) == {"open": 2, "yes/no": 5}  # 1.75 and 5.25
    assert note == "a sample of 7 of 100 rows, seed 0, each category in its share"
    assert sample(rows[1:4], 2, False, 0)[1] == "a sample of 2 of 3 rows, seed 0"
    assert sample(rows, 0, False, 0) == sample(rows, 200, False, 0) == (rows, None)
    with pytest.raises(MendableError, match="1 rows cannot hold"):
        sample(rows, 1, True, 0)


def test_rows_that_belong_together_are_drawn_together():
    rows = [row(f"mme/{'ab'[n % 2]}/{n // 2 % 10}/{n // 20}", "ab"[n % 2]) for n in range(40)]
    some, note = sample(rows, 10, False, 0, grouped=True)
    assert len(some) == 10 and {len(each) for each in grouped({"id": one.id} for one in some).values()} == {2}
    assert Counter(one.category for one in some) in ({"a": 4, "b": 6}, {"a": 6, "b": 4})
    assert note.startswith("10 of 40 rows in whole groups: a sample of 5 of 20 rows, seed 0")
    assert sample(rows, 0, False, 0, grouped=True) == (rows, None)


def test_blank_pictures_are_grey_and_as_large():
    [changed] = blank([row("a", picture=Image.new("RGB", (7, 5), "red"))])
    assert changed.images[0].size == (7, 5) and changed.images[0].getcolors() == [(35, (128, 128, 128))]
    assert changed.question == "what?"


@pytest.mark.parametrize("count", [2, 3, 10])
def test_no_picture_stays_when_shuffled(count):
    pictures = [Image.new("RGB", (4, 4), (number, 0, 0)) for number in range(count)]
    rows = [row(str(number), picture=pictures[number % count].copy()) for number in range(3 * count)]
    changed = shuffled(rows, seed=0)
    before, after = ([picture_key(example.images[0]) for example in some] for some in (rows, changed))
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert Counter(before) == Counter(after) and after[:count] == after[count : 2 * count]
    assert changed == shuffled(rows, seed=0)


def test_one_picture_cannot_be_shuffled():
    with pytest.raises(MendableError, match="fewer than two"):
        shuffled([row(name, picture=Image.new("RGB", (4, 4))) for name in "ab"], seed=0)


def test_prior_answers_each_question_as_training_mostly_did():
    counts = {"what color?": ["red", "blue", "blue"], "is it?": ["yes", "yes", "yes"], "tie?": ["b", "a"]}
    training = [row(f"{q}{i}", question=q, answer=a) for q, some in counts.items() for i, a in enumerate(some)]
    asked = [row("1", question="what color? "), row("2", question="unseen?"), row("3", question="tie?")]
    assert prior(asked, training) == prior(asked, [Rejected("", "empty answer", ""), *training]) == ["blue", "yes", "b"]
    with pytest.raises(MendableError, match="no training answers"):
        prior(asked, [])


def test_predictions_survive_any_text(tmp_path):
    texts = ('"\n', "\u2028\x85\r", "é😀", "")
    examples = [row(str(number), answer=text) for number, text in enumerate(texts)]
    rows = rows_of(examples, texts, [0.0] * len(texts))
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def summary(low, *highs):
    names = ("blank", "shuffled", "prior")
    controls = {
        n: {"open": {"score": h - 0.05, "low": 0.1, "high": h, "n": 500}} for n, h in zip(names, highs, strict=False)
    }
    return {"scores": {"open": {"score": low + 0.02, "low": low, "high": 1, "n": 500}}, "controls": controls}


def test_verdict_compares_bounds():
    found = verdict(summary(0.92, 0.20, 0.25, 0.27), "open")
    assert found["status"] == "looks"
    assert "94.0%" in found["sentence"] and "at least 92.0%" in found["sentence"] and "27.0%" in found["sentence"]
    found = verdict(summary(0.25, 0.20, 0.25, 0.27), "open")
    assert found["status"] == "does not look"
    assert "shuffled pictures and the training answers alone" in found["sentence"]


def test_verdict_is_withheld_without_a_category_or_controls():
    assert verdict(summary(0.9, 0.2), None)["status"] == "not judged"
    assert verdict(summary(0.9), "open")["status"] == "not judged"


class Scripted:
    """A model whose answers are given by the row's place; RowError for the row of ``broken``."""

    name, digest = "scripted", "d"

    def __init__(self, text, broken=None):
        self.text, self.broken, self.asked = text, broken, []

    def answers(self, examples, *options, **more):
        for number, example in enumerate(examples):
            if number == self.broken:
                raise RowError("model", "logits are NaN", f"row {example.id}")
            self.asked.append(example.id)
            yield number, self.text

    def prompt(self, example, prompt):
        return prompt

    def describe(self):
        return {"name": self.name}


def test_a_model_that_answers_nothing_is_reported_and_not_scored(tmp_path):
    settings = EvalSection("shapes_test", limit=6, controls=())
    for _ in range(2):  # whether or not its answers are there already
        with pytest.raises(MendableError, match="6 answers are empty"):
            evaluate(Scripted(""), settings, tmp_path)
        assert not list(tmp_path.glob("*.json*"))
    assert evaluate(Scripted("red"), replace(settings, limit=1), tmp_path / "one")["n"] == 1


def test_a_base_that_has_yet_to_learn_the_task_may_answer_nothing(tmp_path, capsys):
    """A pretrained model may end its turn at once in every row; it can be trained all the same."""
    settings = EvalSection("shapes_test", limit=6, controls=())
    assert evaluate(Scripted(""), settings, tmp_path, untuned=True)["n"] == 6
    assert "6 answers are empty" in capsys.readouterr().out and (tmp_path / "result.json").is_file()


def test_a_row_that_cannot_be_answered_is_named_and_loses_no_other_answer(tmp_path):
    settings = EvalSection("shapes_test", limit=6, controls=())
    with pytest.raises(MendableError, match="NaN") as error:
        evaluate(Scripted("red", broken=4), settings, tmp_path)
    assert error.value.where.startswith("row shapes/test/") and not (tmp_path / "result.json").exists()
    again = Scripted("red")
    assert evaluate(again, settings, tmp_path)["n"] == 6 and len(again.asked) == 2
