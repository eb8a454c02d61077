"""The same rows written in every format that users have are the same batches, tensor for tensor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from same_rows import FORMATS, ROWS, Rows

from data_prep.collate import TrainCollator
from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import build_processor
from data_prep.example import Example
from data_prep.section import SourceSection
from data_prep.sources import check_source, source_rows


@pytest.fixture(scope="module")
def collator() -> TrainCollator:
    """Of a family whose template writes pictures where they stand, and whose tokens depend on their sizes."""
    return TrainCollator(build_processor(tiny_family("qwen2_5_vl")), "as_written")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    made = tmp_path / "data"
    made.mkdir()
    Image.effect_noise((90, 60), 50).convert("RGB").save(made / "a.jpg")
    Image.effect_noise((40, 120), 50).convert("RGB").save(made / "b.jpg")
    return made


def expected(folder: Path, rows: Rows) -> list[Example]:
    """The examples that the rows are."""
    made = []
    for row in rows:
        *earlier, (question, answer) = row.turns
        images = tuple((folder / name).read_bytes() for name in row.images)
        made.append(Example("", images, question, answer, (answer,), "", tuple(earlier), row.system))
    return made


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_rows_are_the_same_batches(name: str, folder: Path, collator: TrainCollator) -> None:
    source, write, holds = FORMATS[name]
    rows = [row for row in ROWS if holds(row)]
    wanted = collator(expected(folder, rows))
    write(folder, rows)
    given = {"repo": str(folder)} if source == "hub" else {"folder": str(folder)}
    settings = SourceSection(source, **given)
    check_source(settings)
    found = list(source_rows(settings))
    assert all(isinstance(row, Example) and not row.repairs for row in found), found
    batch = collator(found)
    assert batch.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert torch.equal(batch[key], tensor), key


def test_the_formats_hold_the_rows_between_them() -> None:
    held = {name: [row for row in ROWS if holds(row)] for name, (_, _, holds) in FORMATS.items()}
    assert all(held.values()) and sum(rows == list(ROWS) for rows in held.values()) >= 10
