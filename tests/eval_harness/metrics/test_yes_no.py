"""Yes and no: POPE's five figures in two readings, MME's accuracies and totals."""

from __future__ import annotations

import pytest

from eval_harness.figures import measured
from eval_harness.metrics import Metric, mme, yes_no, yes_no_first_sentence


def row(prediction: str, right: str, name: str = "1/0", category: str = "all") -> dict:
    return {"id": name, "category": category, "question": "", "prediction": prediction, "references": [right]}


def values(metric: str, rows: list[dict]) -> dict[str, float | None]:
    return {name: measured(figure)["value"] for name, figure in Metric(metric).figures(rows).items()}


@pytest.mark.parametrize(("prediction", "right"), [("yes", 1), (" YES\n", 1), ("yes.", 0), ("no", 0), ("", 0)])
def test_strict(prediction: str, right: int) -> None:
    assert yes_no.score(prediction, ["Yes"]) == right


@pytest.mark.parametrize(
    ("prediction", "read"),
    [
        ("no", "no"),
        ("No, there is none", "no"),
        ("There is not one. Yes", "no"),
        ("Yes. There is no dog", "yes"),
        ("NO", "yes"),  # the scripts' oddities
        ("No!", "yes"),
        ("", "yes"),
        ("nothing", "yes"),
    ],
)
def test_first_sentence(prediction: str, read: str) -> None:
    assert yes_no_first_sentence.read(prediction) == read


def test_five_figures_by_hand() -> None:
    rows = [row("yes", "yes"), row("yes", "yes"), row("no", "yes"), row("yes", "no"), row("no", "no"), row("?", "yes")]
    assert values("yes_no", rows) == pytest.approx(
        {"accuracy": 3 / 6, "precision": 2 / 3, "recall": 2 / 3, "F1": 2 / 3, "yes ratio": 3 / 6}
    )
    assert set(values("yes_no_first_sentence", rows)) == {
        f"first sentence: {name}" for name in ("accuracy", "precision", "recall", "F1", "yes ratio")
    }


def test_a_figure_that_does_not_exist_is_none() -> None:
    found = values("yes_no", [row("no", "no"), row("no", "no")])
    assert found["precision"] is None and found["recall"] is None and found["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("prediction", "read"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("None", "no"),
        (" Yes", "yes"),
        ("I do", "other"),
        ("", "other"),
        ("Well no", "other"),
    ],
)
def test_mme_reads_the_first_four_signs(prediction: str, read: str) -> None:
    assert mme.read(prediction) == read


def test_mme_by_hand() -> None:
    rows = [
        row("yes", "Yes", "mme/OCR/1/0", "OCR"),
        row("no", "No", "mme/OCR/1/1", "OCR"),
        row("yes", "Yes", "mme/OCR/2/0", "OCR"),
        row("yes", "No", "mme/OCR/2/1", "OCR"),
        row("yes", "Yes", "mme/count/3/0", "count"),  # a sample cut its other question off
        row("no", "No", "mme/code_reasoning/4/0", "code_reasoning"),
        row("yes", "Yes", "mme/code_reasoning/4/1", "code_reasoning"),
    ]
    found = values("mme", rows)
    assert found["OCR accuracy"] == 3 / 4 and found["OCR accuracy+"] == 1 / 2
    assert found["count accuracy"] == 1.0 and found["count accuracy+"] is None
    assert found["code_reasoning accuracy+"] == 1.0
    assert found["cognition, 1 of 4 subtasks"] == 200.0
    assert found["perception, 2 of 10 subtasks"] is None  # nothing is known of count's accuracy+
    both = values("mme", [one for one in rows if one["category"] != "count"])
    assert both["perception, 1 of 10 subtasks"] == pytest.approx(125.0)


def test_mme_totals_of_all_subtasks() -> None:
    rows = [
        row(said, right, f"mme/{name}/1/{number}", name)
        for name in (*mme.PERCEPTION, *mme.COGNITION)
        for number, (said, right) in enumerate([("yes", "Yes"), ("no", "No")])
    ]
    found = values("mme", rows)
    assert found["perception"] == 2000.0 and found["cognition"] == 800.0
    assert not Metric("mme").figures(rows)["perception"].share
