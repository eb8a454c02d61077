"""The command line of a download: what it says first, whether it asks, and how it ends."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_prep import public_sets
from data_prep.public_sets import SETS, PublicFile, PublicSet
from recipes.__main__ import main
from recipes.verbs import download as verb
from tests.data_prep.dropping_server import Server, serve


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Stands in for ChartQA's place; its archive has the official folders."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for split in ("train", "val", "test"):
            archive.writestr(f"ChartQA Dataset/{split}/png/1.png", b"png")
            archive.writestr(f"ChartQA Dataset/{split}/annotations/1.json", b"{}")
            for kind in ("human", "augmented"):
                archive.writestr(f"ChartQA Dataset/{split}/{split}_{kind}.json", b"[]")
    running.forget()
    running.files = {"ChartQA Dataset.zip": out.getvalue()}
    official = public_sets.public_set("chartqa")
    file = official.files[0]
    here = PublicFile(
        file.name,
        file.kind,
        running.url(file.name),
        len(out.getvalue()),
        f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}",
        "here",
        file.unpacks,
    )
    hand = PublicFile("hand.tgz", "images", unpacks=(("", "hand"),))
    chartqa = PublicSet(**{**vars(official), "files": (here,)})
    partly = PublicSet(**{**vars(official), "name": "partly", "files": (here, hand), "by_hand": "write a letter"})
    monkeypatch.setattr(public_sets, "SETS", (chartqa, partly))
    return running


def test_it_fetches_unpacks_and_names_the_recipe_s_keys(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", "chartqa", "--folder", str(tmp_path / "to"), "--yes"]) == 0
    said = capsys.readouterr().out
    official = public_sets.public_set("chartqa")
    for part in (official.page, official.licence, official.citation, "to fetch", "sha256 published", "unpacked about"):
        assert part in said
    assert said.index(official.licence) < said.index("fetched")
    assert said.rstrip().endswith(f"ready: data.source=chartqa data.folder={tmp_path / 'to'}")
    assert (tmp_path / "to/train/png/1.png").exists()
    assert not (tmp_path / "to/train/annotations").exists()
    server.forget()
    assert main(["download", "chartqa", "--folder", str(tmp_path / "to")]) == 0  # nothing to ask for
    assert server.asked == []


def test_a_dry_run_fetches_nothing(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "chartqa", "--folder", str(tmp_path / "to"), "--dry-run"]) == 0
    assert (server.asked, list(tmp_path.iterdir())) == ([], [])
    assert server.url("ChartQA Dataset.zip") in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_it_asks_first(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    monkeypatch.setattr(verb.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert main(["download", "chartqa", "--folder", str(tmp_path)]) == code
    assert bool(server.asked) == (code == 0)


def test_without_a_terminal_it_asks_for_yes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb.sys, "stdin", io.StringIO())
    assert main(["download", "chartqa", "--folder", str(tmp_path)]) == 2
    assert "--yes" in capsys.readouterr().err
    assert server.asked == []


def test_what_is_left_to_a_person_is_said_and_is_exit_code_2(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", "partly", "--folder", str(tmp_path), "--yes"]) == 2
    said = capsys.readouterr().out
    assert "by hand: hand.tgz\n  write a letter\n  https://github.com/vis-nlp/ChartQA" in said
    assert (tmp_path / "train/png/1.png").exists()
    assert main(["download", "partly", "--folder", str(tmp_path), "--yes", "--only", "annotations"]) == 0
    (tmp_path / "hand").mkdir()
    assert main(["download", "partly", "--folder", str(tmp_path), "--yes"]) == 0


def test_a_full_disk_is_said_before_the_question(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**9))
    assert main(["download", "chartqa", "--folder", str(tmp_path / "to")]) == 2
    assert "the disk has 1.0 GB left" in capsys.readouterr().err
    assert (server.asked, list(tmp_path.iterdir())) == ([], [])


def test_an_unknown_set_is_answered_with_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "chart_qa", "--yes"]) == 2
    assert "did you mean 'chartqa'" in capsys.readouterr().err


def test_the_list_has_every_set_with_its_weight(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["download", "--list"], ["download"]):
        assert main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == [each.name for each in SETS]
        assert "VQAv2: 20.2 GB;" in lines[0]
        assert "by hand" in next(line for line in lines if line.startswith("docvqa"))


@pytest.mark.parametrize("chosen", SETS, ids=[each.name for each in SETS])
def test_every_real_set_can_be_shown_without_a_network(
    chosen: PublicSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("data_prep.download.remote_size", lambda _: None)
    code = main(["download", chosen.name, "--folder", str(tmp_path / "none"), "--dry-run"])
    assert code == (2 if chosen.by_hand else 0)
    said = capsys.readouterr().out
    for part in (chosen.page, chosen.licence, chosen.citation, chosen.by_hand, *(file.name for file in chosen.files)):
        assert part in said
