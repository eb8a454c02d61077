"""Sets laid out as the hub's are, from a local folder, whole and streamed; and what is said where there is none."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image as Pictures
from told import told

from data_prep.example import Example
from data_prep.section import SourceSection
from data_prep.sources import check_source, hub, source_rows
from mlplora_vlm.errors import MendableError


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Pictures.new("RGB", (4, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of two splits in parquet, with pictures inside, a class label and a card with two configurations."""
    from datasets import ClassLabel, Dataset, Features, Image, Value

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    features = Features({"image": Image(), "question": Value("string"), "answer": ClassLabel(names=["red", "blue"])})
    folder = tmp_path / "repo"
    for split, count in (("train", 40), ("test", 3)):
        rows = [
            {"image": {"bytes": png("red"), "path": "a.png"}, "question": f"{n}?", "answer": n % 2}
            for n in range(count)
        ]
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_list(rows, features=features).to_parquet(path)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: all\n  data_files:\n  - {split: train, path: data/train-*}\n"
        "  - {split: test, path: data/test-*}\n- config_name: small\n  data_files:\n"
        "  - {split: train, path: data/test-*}\n---\n"
    )
    return folder


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_with_their_pictures_and_labels(repo: Path, streaming: bool) -> None:
    settings = SourceSection("hub", "train", repo=str(repo), config="all", streaming=streaming)
    check_source(settings)
    rows, rejected = told(source_rows(settings))
    assert not rejected and len(rows) == 40
    assert [row.answer for row in rows[:3]] == ["red", "blue", "red"]  # a label's name, and not its number
    assert rows[5].images == (png("red"),) and rows[5].question == "5?"
    assert rows[5].id == f"hub/{repo}/train/000005" and rows[5].where.endswith("train, row 5")


def test_streaming_reads_no_more_than_is_asked_for(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    tables = hub._tables

    def counted(*given):  # type: ignore[no-untyped-def]
        nonlocal read
        for table in tables(*given):
            read += table.num_rows
            yield table

    monkeypatch.setattr(hub, "_tables", counted)
    monkeypatch.setattr(hub, "BATCH", 4)
    rows = list(islice(hub.rows("train", repo=str(repo), config="all", streaming=True), 3))
    assert len(rows) == 3 and all(isinstance(row, Example) for row in rows) and read < 40
    assert not list((repo.parent / "cache").glob("**/*.arrow"))  # nothing was written


def test_configurations_and_splits_are_the_sets_own(repo: Path) -> None:
    assert len(list(hub.rows("train", repo=str(repo), config="small"))) == 3
    with pytest.raises(MendableError, match="did you mean 'test'"):
        hub.check("tets", repo=str(repo), config="all")
    with pytest.raises(MendableError) as error:
        hub.check("train", repo=str(repo), config="smal")
    assert error.value.where == f"hub: {repo}" and "smal" in error.value.what and error.value.fix == "see data.config"
    with pytest.raises(MendableError, match="column"):
        hub.check("train", repo=str(repo), config="all", columns={"question": "quesion"})


def test_a_set_that_cannot_be_had_is_said_to_be_so(repo: Path) -> None:
    with pytest.raises(MendableError) as error:
        hub.check("train", repo="nobody/nothing-of-this-name")
    assert error.value.where == "hub: nobody/nothing-of-this-name" and error.value.fix
    with pytest.raises(MendableError, match="needs the name of a data set"):
        hub.check("train")


def test_a_script_is_never_run(repo: Path) -> None:
    script = repo.parent / "scripted"
    script.mkdir()
    (script / "scripted.py").write_text(f"open({str(repo / 'ran')!r}, 'w')")
    with pytest.raises(MendableError):
        hub.check("train", repo=str(script))
    assert not (repo / "ran").exists()


def test_a_damaged_file_is_named_with_its_set(repo: Path) -> None:
    (repo / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 not a parquet file")
    with pytest.raises(MendableError) as error:
        list(hub.rows("test", repo=str(repo), config="all"))
    assert error.value.where == f"hub: {repo}"
