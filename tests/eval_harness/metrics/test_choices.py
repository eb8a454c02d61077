"""Letters read out of answers, strictly and leniently; circular evaluation; preferred positions."""

from __future__ import annotations

import pytest

from eval_harness.figures import measured
from eval_harness.metrics import Metric, choice_lenient, choice_letter
from eval_harness.metrics._choices import options

QUESTION = "Context: A. Lincoln said it.\nWhat is it?\nA. a dog\nB. a cat\nC. none of these"


def values(metric: str, rows: list[dict]) -> dict[str, float | None]:
    return {name: measured(figure)["value"] for name, figure in Metric(metric).figures(rows).items()}


def row(prediction: str, right: str, name: str = "q/0", question: str = QUESTION) -> dict:
    return {"id": name, "category": "all", "question": question, "prediction": prediction, "references": [right]}


def test_options_are_the_last_list_of_lettered_lines() -> None:
    assert options(QUESTION) == {"A": "a dog", "B": "a cat", "C": "none of these"}
    assert options("What is it?\nB. no\nwith A. in it") == {}
    assert options("A. one\nC. skipped\nB. two\nB. again") == {"A": "one", "B": "two"}


@pytest.mark.parametrize(
    ("prediction", "right"),
    [
        ("B", True),
        (" b \n", True),
        ("B.", True),
        ("B. a cat", True),
        ("B.a cat", True),
        ("b. a cat", False),  # the source takes the full stop after capitals alone
        ("(B)", False),
        ("The answer is B.", False),
        ("a cat", False),
        ("A", False),
        ("", False),
        (".", False),
    ],
)
def test_strict_letters(prediction: str, right: bool) -> None:
    assert choice_letter.score(prediction, ["B"]) == right


@pytest.mark.parametrize(
    ("prediction", "read"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("The answer is B.", "B"),
        ("answer is **b**, for there is a cat", "B"),
        ("I see a cat", "B"),
        ("NONE OF THESE", "C"),
        ("a dog and a cat", ""),  # two of them
        ("A or B", ""),
        ("A cat sits there", "A"),  # the source's oddity: an article is a letter
        ("I think that B is what one would have to say", ""),  # too far from the end
        ("b", ""),
        ("D", ""),  # no such option
        ("Z, not a cat", ""),
        ("I can't process this file. B", ""),
        ("Failed to obtain answer via API: B", ""),
        ("a cat " * 20, ""),  # too long to be an option's text
        ("", ""),
    ],
)
def test_lenient_letters(prediction: str, read: str) -> None:
    assert choice_lenient.letter(prediction, options(QUESTION)) == read


def test_without_listed_options_there_are_five_letters() -> None:
    assert Metric("choice_lenient").scores(["It is E", "F", "a cat"], [["E"], ["F"], ["B"]]) == [1.0, 0.0, 0.0]
    assert Metric("choice_lenient").scores(["a cat"], [["B"]], [QUESTION]) == [1.0]


def test_positions_show_a_preferred_letter() -> None:
    found = values("choice_letter", [row("A", "A"), row("A", "B"), row("A", "B"), row("dog", "A")])
    assert found == {
        "A predicted": 0.75,
        "A is right": 0.5,
        "accuracy where A is right": 0.5,
        "B predicted": 0.0,
        "B is right": 0.5,
        "accuracy where B is right": 0.0,
        "no letter": 0.25,
    }
    lenient = values("choice_lenient", [row("A", "A"), row("a cat", "B")])
    assert lenient["lenient: accuracy"] == 1.0 and lenient["lenient: B predicted"] == 0.5


def test_a_question_is_right_only_in_all_rotations() -> None:
    turned = "What is it?\nA. a cat\nB. a dog"
    rows = [
        row("A", "A", "mm/1/0"),
        row("B", "B", "mm/1/1", turned),
        row("A", "A", "mm/2/0"),
        row("A", "B", "mm/2/1", turned),
        row("a cat", "A", "mm/3/0", turned),
    ]
    found = values("choice_circular", rows)
    assert found["circular accuracy"] == pytest.approx(2 / 3)
    assert found["accuracy of the rotations"] == pytest.approx(4 / 5)
    figure = Metric("choice_circular").figures(rows)["circular accuracy"]
    assert measured(figure)["n"] == 3, "questions are drawn, not rotations"
