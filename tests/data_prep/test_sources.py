"""The sources: what they yield, in what order, and what they say when the data is not there."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import pytest
from datasets import Dataset

from data_prep.example import Example
from data_prep.record import features, to_record
from data_prep.rows import strict
from data_prep.section import SourceSection
from data_prep.sources import OPTIONS, SOURCES, check_source, open_source, source_rows
from mlplora_vlm.errors import MendableError

needs_easy_vqa = pytest.mark.skipif(find_spec("easy_vqa") is None, reason="the package easy-vqa is not installed")


def test_every_source_has_the_common_functions() -> None:
    assert {"easy_vqa", "flickr30k", "gqa", "llava_conversations", "scienceqa", "shapes", "textvqa", "vqav2"} <= set(
        SOURCES
    )
    for name in SOURCES:
        source = open_source(name)
        assert isinstance(source.SPLITS, tuple) and len(set(source.SPLITS)) == len(source.SPLITS)
        for function in (source.check, source.rows):
            split, folder, *options = signature(function).parameters.values()
            assert (split.name, folder.name, folder.default) == ("split", "folder", None), name
            assert {option.name for option in options} <= set(OPTIONS), name
        assert list(signature(source.check).parameters) == list(signature(source.rows).parameters), name


def test_an_unknown_source_or_split_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(MendableError, match="did you mean 'easy_vqa'") as error:
        open_source("easyvqa")
    assert "shapes" in error.value.fix
    named = [name for name in SOURCES if open_source(name).SPLITS]
    assert len(named) >= 21  # a user's own files may have any split
    for name in named:
        near = open_source(name).SPLITS[0]
        for function in (open_source(name).check, lambda *given, name=name: list(open_source(name).rows(*given))):
            with pytest.raises(MendableError, match=f"did you mean '{near}'"):
                function(near[1] + near[0] + near[2:], Path())


def test_sources_import_no_torch() -> None:
    import subprocess

    code = "import sys; from data_prep.sources import *; from data_prep.sources import SOURCES, open_source\n"
    code += "[open_source(name) for name in SOURCES]; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


@needs_easy_vqa
def test_easy_vqa_yields_the_published_splits() -> None:
    source = open_source("easy_vqa")
    train, test = list(strict(source.rows("train"))), list(strict(source.rows("test")))
    assert (len(train), len(test)) == (38_575, 9_673)
    assert len({row.id for row in train + test}) == 48_248
    assert train[123].id == "easy_vqa/train/000123"
    assert train[123].where.endswith("questions.json, row 123")
    assert len({row.answer for row in train}) == len({row.answer for row in test}) == 13
    assert all(row.references == (row.answer,) for row in test)
    assert all((row.category == "yes/no") == (row.answer in ("yes", "no")) for row in test)
    assert not {row.images[0] for row in train} & {row.images[0] for row in test}
    assert all(path.is_file() for path in {row.images[0] for row in train + test})


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.demo.packages.find_spec", lambda name: None)
    with pytest.raises(MendableError, match="easy-vqa is not installed") as error:
        open_source("easy_vqa").check("train")
    assert "requirements-demo.txt" in error.value.fix and "PRESET=smoke" in error.value.fix


@needs_easy_vqa
def test_captions_agree_with_the_open_answers() -> None:
    from data_prep.demo.captions import COLOURS, SHAPES, known_pictures

    rows = list(strict(open_source("easy_vqa").rows("train")))
    known = known_pictures(rows)
    assert len(known) > 3000
    for row in rows:
        if row.category == "open" and row.images[0] in known:
            assert row.answer in known[row.images[0]]
    assert {colour for colour, _ in known.values()} == set(COLOURS)
    assert {shape for _, shape in known.values()} == set(SHAPES)


def test_what_the_system_refuses_is_an_error_of_its_own(tmp_path, monkeypatch):
    path = tmp_path / "train.jsonl"
    path.write_text('{"question": "?", "answer": "a"}\n')
    settings = SourceSection("table", folder=str(tmp_path))
    usual = Path.open

    def refused(self, *args, **options):
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return usual(self, *args, **options)

    monkeypatch.setattr(Path, "open", refused)
    for act in (lambda: check_source(settings), lambda: list(source_rows(settings))):
        with pytest.raises(MendableError, match="Permission denied") as error:
            act()
        assert error.value.where == str(path)


def test_half_of_a_surrogate_pair_rejects_the_row_wherever_it_stands():
    whole = Example("row", (), "q?", "a", ("a",), "open", where="file:1")
    for change in (
        {"question": "\ud83d"},
        {"answer": "\ud83d"},
        {"earlier": (("\udc00", "a"),)},
        {"system": "\ud83d"},
        {"category": "\udcff"},
        {"id": "\udcff"},
        {"where": "f\udcff:1"},
        {"images": (Path("f\udcff.png"),)},
    ):
        record = to_record(replace(whole, **change), "mine")
        assert record["reason"] == "invalid text"
        Dataset.from_list([record], features=features())
