"""Padding and packing on lengths whose answers are known, the drawn lengths against what is published, a quick run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import padding, row_lengths
from data_prep.statistics import padding_share
from mlplora_vlm.files import read_json

ROWS = st.lists(st.integers(1, 60), min_size=1, max_size=80)


def test_padding_of_known_batches():
    lengths = np.array([1, 3, 2, 2, 4, 4, 1, 1, 9])
    share, cost = padding.padded(lengths, batch=2, gpus=1)
    assert share == pytest.approx(2 / 20) and cost(0.0) == pytest.approx(20 / 18)
    assert cost(0.5) == pytest.approx(
        (20 + 0.5 * 2 * (9 + 4 + 16 + 1)) / (18 + 0.5 * (1 + 9 + 4 + 4 + 16 + 16 + 1 + 1))
    )
    share, cost = padding.padded(lengths, batch=2, gpus=2)  # steps of (3, 2) and (4, 1): both wait for the first
    assert share == pytest.approx(2 / 20) and cost(0.0) == pytest.approx(2 * 2 * (3 + 4) / 18)


@given(ROWS, st.integers(1, 8))
def test_padding_is_what_the_report_of_a_set_says(lengths, batch):
    whole = np.array(lengths * batch)
    assert padding.padded(whole, batch, 1)[0] == pytest.approx(padding_share(whole, batch))


@given(ROWS, st.integers(60, 200))
def test_packed_lines_hold_every_row_once(lengths, capacity):
    lines = padding.packed(lengths, capacity)
    assert sorted(length for line in lines for length in line) == sorted(lengths)
    assert all(0 < sum(line) <= capacity for line in lines)
    # of any two lines, the rows of the later would not all have fitted into the earlier
    assert len(lines) <= max(1, 2 * math.ceil(sum(lengths) / capacity))


def test_packing_takes_the_fullest_line_that_has_room():
    assert padding.packed([6, 7, 3, 4], 10) == [[6, 4], [7, 3]]
    assert padding.packed([6, 7, 2, 2], 10) == [[6, 2], [7, 2]]
    with pytest.raises(ValueError, match="11 tokens in lines of 10"):
        padding.packed([11], 10)


def test_cost_of_known_lines():
    lines = [[6, 4], [7], [5, 5], [2]]
    share, cost = padding.in_lines(lines, 1, 2, 10)
    assert share == pytest.approx(11 / 40) and cost(0.0) == pytest.approx(40 / 29)
    share, cost = padding.in_lines(lines, 1, 2, None)
    assert share == 0 and cost(0.0) == pytest.approx(2 * (10 + 10) / 29)
    assert padding.in_lines(lines, 2, 1, None)[1](0.3) == pytest.approx(1)


def test_attention_is_a_few_hundredths_at_the_usual_length():
    # Llama 7B: 32 layers of 4·4096² + 3·4096·11008 weights, and the head; 2 operations a weight and 4096·S a layer
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 4096 * 32_064
    assert padding.attention(row_lengths.LLAVA) == pytest.approx(32 * 2 * 4096 / (2 * weights), rel=1e-3)
    assert 0.02 < 2048 * padding.attention(row_lengths.QWEN) < 0.05


def test_drawn_lengths_are_what_is_published():
    chance = np.random.default_rng(0)
    words = row_lengths.questions(chance, 20_000)
    assert 0.8 < np.mean((words >= 5) & (words <= 15)) < 1  # four to ten words and what they are cut into
    assert sum(part.rows for part in row_lengths.MIX665K.values()) == 665_298
    for name in ("VQAv2", "GQA", "OCR-VQA"):
        turns = row_lengths.MIX665K[name].turns(chance, 20_000)
        wanted = {"VQAv2": 443_757 / 82_783, "GQA": 943_000 / 72_140, "OCR-VQA": 1_002_146 / 207_572}[name]
        assert turns.mean() == pytest.approx(wanted, rel=0.02) and turns.min() >= 1
    pixels = sum(share for (w, h), share in row_lengths.COCO.items() if 167_500 <= w * h <= 355_840)
    assert pixels == pytest.approx(0.9, abs=0.03)
    tables = (row_lengths.COCO, row_lengths.VISUAL_GENOME, row_lengths.COVERS, row_lengths.OPEN_IMAGES)
    assert all(sum(table.values()) == pytest.approx(1) for table in tables)


def test_pictures_become_as_many_tokens_as_qwens_patches():
    assert row_lengths.picture_tokens({(640, 480), (1024, 768)}) == {(640, 480): 23 * 17, (1024, 768): 37 * 27}


@pytest.mark.slow
def test_a_quick_run_gives_a_whole_result(tmp_path):
    assert padding.main(["--quick", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "padding.png").stat().st_size > 10_000
    result = read_json(tmp_path / "padding.json")
    assert set(result["sets"]) == set(padding.SETS)
    for found in result["sets"].values():
        assert sum(found["histogram"]["counts"]) == found["rows"]
        assert len(found["cells"]) == len(padding.QUICK["batches"]) * len(padding.QUICK["gpus"])
        for cell in found["cells"]:
            assert cell["grouped"]["padding"] < cell["random"]["padding"]
            assert 1 <= cell["grouped"]["tokens"] < cell["random"]["tokens"]
            assert cell["packed"]["padding"] == 0 and cell["packed"]["tokens"] <= cell["packed, filled up"]["tokens"]
    text = padding.table(result)
    assert "13,306 rows" in text and text.count("\n| 8 | 16 |") == 2
