"""The prepared set: every row is accounted for, what is trained on is what was read, and memory stays on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from chat_processors import processors
from PIL import Image

from data_prep.prepared import load_prepared, prepare, rejects
from data_prep.record import to_example
from data_prep.section import DataSection, SourceSection
from data_prep.sources import source_rows
from mlplora_vlm.errors import MendableError

PROCESSOR = processors()["chatml"]
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def conversations(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), "red").save(folder / "red.png")
    (folder / "rows.json").write_text(json.dumps(rows))
    return folder


def row(question="<image>\nwhat is it?", answer="red", **more):
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"image": "red.png", "conversations": turns} | more


def mine(folder: Path, **settings):
    return DataSection("llava_conversations", folder=str(folder), prompt="as_written", **settings)


def prepared(settings, folder, **options):
    counts = prepare(settings, PROCESSOR, folder, progress=False, **options)
    return counts, *load_prepared(settings, folder)


def test_what_is_trained_on_is_what_the_source_has_in_its_order(tmp_path):
    settings = DataSection("shapes")
    counts, rows, held_back = prepared(settings, tmp_path / "data")
    wanted = list(source_rows(settings))
    assert counts["shapes"].accepted == len(rows) == len(wanted) == 256 and not len(held_back)
    assert [record["id"] for record in rows] == [example.id for example in wanted]
    for record, example in zip(rows, wanted, strict=True):
        shown = to_example(record)
        assert shown.answer == example.answer and shown.question.startswith(example.question)
        assert Image.open(__import__("io").BytesIO(shown.images[0])).tobytes() == example.images[0].tobytes()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["prepared.json", "rejects.jsonl", "shapes"]


def test_every_row_is_accepted_or_stands_among_the_rejects(tmp_path):
    bad = [
        row("what is it?<image><image>"),
        row(answer=" "),
        row(image="../red.png"),
        row(image="blue.png"),
        {"conversations": []},
        row("<image>\nwhat? " + "why " * 300),
        "no row",
    ]
    folder = conversations(tmp_path / "mine", [row(), *bad, row("what?")])
    counts, rows, _ = prepared(mine(folder, max_length=128, max_reject_rate=0.9), tmp_path / "data")
    (count,) = counts.values()
    left_out = list(rejects(tmp_path / "data"))
    assert (count.read, count.accepted, sum(count.rejected.values()), count.unused) == (9, 2, 7, 0)
    assert len(left_out) == 7 and count.reject_rate == pytest.approx(7 / 9)
    assert sorted(reject["where"][-1] for reject in left_out) == list("1234567")
    assert all(reject["detail"] and reject["reason"] in count.rejected for reject in left_out)
    assert [record["repairs"] for record in rows] == [[], ["picture markers missing: put before the first question"]]


def test_too_many_rejects_end_the_run_and_are_on_file(tmp_path):
    folder = conversations(tmp_path / "mine", [row()] * 49 + [row(answer="")])
    with pytest.raises(MendableError, match=r"2\.0% of the rows .* are left out: 1 empty answer") as error:
        prepare(mine(folder), PROCESSOR, tmp_path / "data", progress=False)
    assert error.value.where == str(tmp_path / "data" / "rejects.jsonl") and "max_reject_rate" in error.value.fix
    assert [reject["where"] for reject in rejects(tmp_path / "data")] == [f"{folder / 'rows.json'}, row 49"]
    prepare(mine(folder, max_reject_rate=0.02), PROCESSOR, tmp_path / "data", progress=False)


def test_a_set_without_any_usable_row_ends_the_run(tmp_path):
    folder = conversations(tmp_path / "mine", [row(answer="")])
    with pytest.raises(MendableError, match=r"100\.0%"):
        prepare(mine(folder, max_reject_rate=1.0), PROCESSOR, tmp_path / "data", progress=False)
    conversations(folder, [])
    with pytest.raises(MendableError, match="the source has no rows"):
        prepare(mine(folder), PROCESSOR, tmp_path / "data", progress=False)


def test_a_limit_is_seeded_and_held_back_pictures_are_not_trained_on(tmp_path):
    settings = DataSection("shapes", limit=100)
    counts, rows, held_back = prepared(settings, tmp_path / "data", held_back=16)
    assert (len(rows), len(held_back)) == (100, 16)
    assert counts["shapes"].read == 256 and counts["shapes"].unused == 140
    assert not {d for r in rows for d in r["digests"]} & {d for r in held_back for d in r["digests"]}
    _, again, _ = prepared(settings, tmp_path / "again", held_back=16)
    assert again["id"] == rows["id"]
    with pytest.raises(MendableError, match=r"lower data\.limit"):
        prepare(DataSection("shapes", limit=257), PROCESSOR, tmp_path / "data", progress=False)
    with pytest.raises(MendableError, match=r"train\.eval_rows"):
        prepare(DataSection("shapes"), PROCESSOR, tmp_path / "data", held_back=257, progress=False)


def test_a_mixture_has_its_shares(tmp_path):
    folder = conversations(tmp_path / "mine", [row(f"<image>\nwhat {number}?") for number in range(10)])
    also = SourceSection("llava_conversations", folder=str(folder), prompt="as_written", epochs=2.5)
    settings = DataSection("shapes", limit=20, mixed_with={"mine": also})
    counts, rows, _ = prepared(settings, tmp_path / "data")
    assert {name: count.accepted for name, count in counts.items()} == {"shapes": 20, "mine": 10}
    sources = [record["source"] for record in rows]
    assert sources.count("shapes") == 20 and sources.count("mine") == 25
    assert {record["id"].split("/")[0] for record in rows} == {"shapes", "llava_conversations"}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_processes_changes_nothing(tmp_path, workers, monkeypatch):
    monkeypatch.setattr("data_prep.prepared.ROWS_A_PROCESS", 10)
    folder = conversations(tmp_path / "mine", [row(answer="" if number == 7 else str(number)) for number in range(80)])
    counts, rows, _ = prepared(mine(folder, workers=workers, max_reject_rate=0.1), tmp_path / "data")
    assert [record["turns"][0]["answer"] for record in rows] == [str(number) for number in range(80) if number != 7]
    assert next(iter(counts.values())).rejected == {"empty answer": 1}


def test_an_option_that_the_source_does_not_take_is_named(tmp_path):
    with pytest.raises(MendableError, match="shapes has no columns"):
        prepare(DataSection("shapes", columns={"answer": "a"}), PROCESSOR, tmp_path / "data", progress=False)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_ends_a_run_inside_is_told_outside(tmp_path, workers, monkeypatch):
    monkeypatch.setattr("data_prep.prepared.ROWS_A_PROCESS", 10)
    folder = conversations(tmp_path / "mine", [row()] * 40 + [row("<image>" + "why? " * 300)])
    with pytest.raises(MendableError, match="tokens") as error:
        prepare(
            mine(folder, too_long="fail", max_length=64, workers=workers), PROCESSOR, tmp_path / "data", progress=False
        )
    assert error.value.where.endswith("row 40") and "data.max_length" in error.value.fix
    text = (folder / "rows.json").read_text()
    (folder / "rows.json").write_text(text[: len(text) // 2])
    with pytest.raises(MendableError, match="breaks off after"):
        prepare(mine(folder), PROCESSOR, tmp_path / "data", progress=False)


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory):
    """A prepared set of two sources, with a rejected row."""
    home = tmp_path_factory.mktemp("prepared")
    folder = conversations(home / "mine", [row(), row("what?"), row(answer="")])
    also = SourceSection("llava_conversations", folder=str(folder), prompt="as_written")
    settings = DataSection("shapes", limit=20, max_reject_rate=0.5, mixed_with={"mine": also})
    prepare(settings, PROCESSOR, home / "data", progress=False)
    return settings, home / "data"


def damaged(path: Path, random: Random) -> Iterator[bytes | None]:
    """Contents in place of the file's own; None: no file."""
    content = path.read_bytes()
    yield from (None, b"", b"\xff" * 9, LFS_POINTER, b"[" * 5000, content + b"\n", content[:-1], content[:-8])
    yield from (content[: random.randrange(len(content))] for _ in range(6))
    if path.suffix == ".json":
        yield from (json.dumps(value).encode() for value in (None, 1, "a", [], {}, [[]], {"files": 1, "rows": []}))
        for key in (whole := json.loads(content)):
            yield from (json.dumps(whole | {key: other}).encode() for other in (None, 7, "a", [], {}, ["a"], {"a": 1}))


@pytest.mark.parametrize("name", ["prepared.json", "rejects.jsonl", "state.json", "dataset_info.json", ".arrow"])
def test_a_damaged_set_is_prepared_again(two_sources, name):
    settings, folder = two_sources
    paths = [path for path in sorted(folder.rglob("*")) if path.name.endswith(name)]
    assert len(paths) == (1 if name in ("prepared.json", "rejects.jsonl") else 2)
    for path in paths:
        whole = path.read_bytes()
        for content in damaged(path, Random(0)):
            if content == whole or (name == "prepared.json" and content and content.strip() == whole.strip()):
                continue
            path.unlink() if content is None else path.write_bytes(content)
            with pytest.raises(MendableError) as error:
                load_prepared(settings, folder)
            assert str(folder) in error.value.where and "--from prepare" in error.value.fix
            path.write_bytes(whole)
    rows, _ = load_prepared(settings, folder)
    assert len(rows) == 22


def test_damaged_rejects_are_no_rejects(two_sources):
    _, folder = two_sources
    path = folder / "rejects.jsonl"
    whole = path.read_bytes()
    for content in (None, whole[:-5], b"\xff\n", LFS_POINTER, b"1\n", b"[1]\n"):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(MendableError, match="cannot be used"):
            list(rejects(folder))
    path.write_bytes(whole)
    assert len(list(rejects(folder))) == 1


def test_a_set_that_was_not_finished_is_not_trained_on(tmp_path):
    folder = conversations(tmp_path / "mine", [row(), row(answer="")])
    with pytest.raises(MendableError, match="are left out"):
        prepare(mine(folder), PROCESSOR, tmp_path / "data", progress=False)
    with pytest.raises(MendableError, match="cannot be used"):
        load_prepared(mine(folder), tmp_path / "data")


FOREIGN = ["notes.txt", "shapes/model.safetensors", "shapes/deeper/state.json", "report.json.bak"]


@pytest.mark.parametrize(
    ("name", "ours"), [*((name, True) for name in FOREIGN), ("rejects.jsonl", False), ("a", False)]
)
def test_nothing_is_removed_that_is_not_of_a_prepared_set(tmp_path, name, ours):
    data = tmp_path / "data"
    if ours:
        prepare(DataSection("shapes", limit=8), PROCESSOR, data, progress=False)
    (data / name).parent.mkdir(parents=True, exist_ok=True)
    (data / name).write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    with pytest.raises(MendableError) as error:
        prepare(DataSection("shapes", limit=8), PROCESSOR, data, progress=False)
    assert error.value.where == str(data) and name.partition("/")[0] in error.value.what
    assert before == {path: path.stat().st_mtime_ns for path in data.rglob("*")}


def test_what_a_killed_process_leaves_is_replaced(tmp_path):
    data = tmp_path / "data"
    (data / ".work").mkdir(parents=True)
    (data / "shapes").mkdir()
    for name in ("prepared.json", ".report.json.123", ".work/checked.arrow", "shapes/data-00000-of-00001.arrow"):
        (data / name).write_text("{}")
    prepare(DataSection("shapes", limit=8), PROCESSOR, data, progress=False)
    assert {path.name for path in data.iterdir()} == {"prepared.json", "rejects.jsonl", "shapes"}


def test_a_set_of_other_sources_gives_way(tmp_path):
    prepare(DataSection("shapes", limit=8), PROCESSOR, tmp_path / "data", progress=False)
    folder = conversations(tmp_path / "mine", [row()])
    prepare(mine(folder), PROCESSOR, tmp_path / "data", progress=False)
    found = {path.name for path in (tmp_path / "data").iterdir()}
    assert found == {"prepared.json", "rejects.jsonl", "llava_conversations"}
    link = tmp_path / "data" / "shapes"
    link.symlink_to(folder)
    with pytest.raises(MendableError, match="shapes"):
        prepare(mine(folder), PROCESSOR, tmp_path / "data", progress=False)
    assert link.is_symlink() and (folder / "rows.json").is_file()


@pytest.mark.parametrize("name", ["prepared.json", "rejects.jsonl", "report.json", "report.html"])
def test_no_source_has_the_name_of_a_file_of_the_set(name):
    settings = DataSection("shapes", mixed_with={name: SourceSection("shapes")})
    assert [(key, name in what) for key, what, _ in settings.problems()] == [("mixed_with", True)]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(MendableError) as error:
        prepare(DataSection("shapes", limit=8), PROCESSOR, tmp_path / "file" / "data", progress=False)
    assert str(tmp_path / "file" / "data") in error.value.where
