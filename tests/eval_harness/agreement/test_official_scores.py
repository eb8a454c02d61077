"""Ours against the committed outputs of the official evaluators: equal, or different for a cause that is named."""

from __future__ import annotations

import gzip
import json

import pytest
from agreement_cases import NUMBER, cases
from agreement_files import FOLDER, PAIRS, Pair, differing, differing_figures, read
from agreement_table import PAGE, page

from eval_harness.metrics import METRICS
from eval_harness.metrics._caption_words import java_is_there, likeness

OURS_ALONE = {"exact_match", "spice"}  # our own definition; needs data that no test has

EVERY = [
    pytest.param(
        pair,
        metric,
        id=f"{pair.name}-{metric}",
        marks=[
            *([pytest.mark.slow] if metric == "meteor" else []),
            *([pytest.mark.skipif(not java_is_there(), reason="needs Java")] if pair.kind == "captions" else []),
        ],
    )
    for pair in PAIRS
    for metric in pair.metrics
]


@pytest.mark.parametrize(("pair", "metric"), EVERY)
def test_every_score_is_the_official_one_or_differs_for_a_named_cause(pair: Pair, metric: str) -> None:
    found = differing(pair, metric)
    assert not found.get(""), f"no cause explains case {found['']}"
    assert set(found) == {cause.text for cause in pair.causes}, "a cause that is never there, or one that is not named"
    assert differing_figures(pair, metric) == [name for name, _ in pair.figure_causes]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_files_hold_the_seeded_cases_and_name_the_code(pair: Pair) -> None:
    data = read(pair)
    assert len(data["cases"]) == NUMBER
    assert data["cases"] == json.loads(json.dumps(cases(pair.kind)))
    assert data["evaluator"] == {
        "repository": f"github.com/{pair.repository}",
        "commit": pair.commit,
        "files": list(pair.files),
    }
    assert len(pair.commit) == 40
    for metric in pair.metrics:
        scores = data["scores"][metric]
        assert len(scores) == NUMBER and len(set(scores)) > 1, "an evaluator that says the same of all proves nothing"


def test_every_metric_has_an_official_evaluator() -> None:
    assert {metric for pair in PAIRS for metric in pair.metrics} == set(METRICS) - OURS_ALONE


def test_the_files_are_small_and_belong_to_an_evaluator() -> None:
    files = sorted(FOLDER.glob("*.json.gz"))
    assert files == sorted(pair.path for pair in PAIRS)
    assert sum(path.stat().st_size for path in files) < 3 * 2**20
    assert all(gzip.decompress(path.read_bytes()) for path in files)


def test_hard_cases_are_among_them() -> None:
    said = {kind: [row["prediction"] for row in cases(kind)] for kind in {pair.kind for pair in PAIRS}}
    answers = said["vqa"]
    for sign in ("'", ".", ",", "-", "\t", "\n", "’", "日"):
        assert any(sign in text for text in answers), sign
    assert all("" in texts for kind, texts in said.items() if kind not in ("circular",)), "an empty answer in each kind"
    assert {len(set(row["references"])) for row in cases("vqa")} >= {1, 2, 3, 10}


def test_the_likeness_of_the_tokeniser_is_near_it() -> None:
    pair = next(pair for pair in PAIRS if pair.kind == "captions")
    data = read(pair)
    made = [likeness(case["prediction"].replace("\n", " ")) for case in data["cases"]]
    same = sum(one == other for one, other in zip(made, data["words"], strict=True))
    assert 0.95 * NUMBER < same < NUMBER


@pytest.mark.slow
@pytest.mark.skipif(not java_is_there(), reason="needs Java")
def test_the_page_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "PYTHONPATH=. python tests/eval_harness/agreement/agreement_table.py"
    )
