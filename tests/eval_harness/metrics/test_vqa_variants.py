"""The variants of VQA accuracy, and GQA's match, where they part."""

from __future__ import annotations

import pytest

from eval_harness.metrics import (
    Metric,
    gqa_match,
    vqa_accuracy,
    vqa_accuracy_always,
    vqa_accuracy_m4c,
    vqa_accuracy_vizwiz,
)
from mlplora_vlm.errors import MendableError

VARIANTS = ("vqa_accuracy", "vqa_accuracy_always", "vqa_accuracy_m4c", "vqa_accuracy_vizwiz")


@pytest.mark.parametrize(
    ("prediction", "references", "official", "always", "m4c", "vizwiz"),
    [
        ("cat", ["cat"] * 10, 1, 1, 1, 1),
        ("Yes", ["yes"] * 10, 0, 1, 1, 1),  # ten who agree are not normalised by the official script
        ("yes", ["Yes"] * 9 + ["no"], 1, 1, 1, 0),  # VizWiz never touches the references
        ("1,000 t-shirts", ["1000 t shirts"] * 5 + ["shirts"] * 5, 0, 0, 1, 0),  # M4C takes the comma away first
        ("man's", ["man 's"] * 5 + ["man"] * 5, 0, 0, 1, 0),
        ("dont", ["don't"] * 5 + ["do"] * 5, 1, 1, 1, 0),
        ("dont", ["don’t"] * 5 + ["do"] * 5, 0, 0, 0, 1),  # VizWiz's table has the other apostrophe
        ("1,,000", ["1000"] * 5 + ["1"] * 5, 0, 0, 1, 0),
    ],
)
def test_where_they_part(
    prediction: str, references: list[str], official: int, always: int, m4c: int, vizwiz: int
) -> None:
    modules = (vqa_accuracy, vqa_accuracy_always, vqa_accuracy_m4c, vqa_accuracy_vizwiz)
    assert [module.score(prediction, references) for module in modules] == [official, always, m4c, vizwiz]


@pytest.mark.parametrize("name", VARIANTS)
def test_single_answers_are_no_annotations(name: str) -> None:
    with pytest.raises(MendableError, match=f"{name} needs"):
        Metric(name).scores(["yes"], [["yes"]])


@pytest.mark.parametrize(
    ("prediction", "right"),
    [("red", 1), ("Red.", 1), ("RED...", 1), (" red", 0), ("red!", 0), ("a red", 0), ("", 0)],
)
def test_gqa(prediction: str, right: int) -> None:
    assert gqa_match.score(prediction, ["red"]) == right
    assert gqa_match.score(prediction, ["Red"]) == 0.0
