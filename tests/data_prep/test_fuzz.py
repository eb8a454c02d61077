"""Broken data of any kind ends in an example, a rejection or an error that says how to mend it; and all rows count.

$FUZZ_EXAMPLES is how many cases there are in all; without it they are the same each time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import hostile_pictures
import mutants
import pytest
from chat_processors import processors
from fuzz_sets import SETS, encoded, lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep import images
from data_prep.check import RowCheck
from data_prep.example import Example
from data_prep.record import to_record
from data_prep.references import References
from data_prep.rows import REASONS, Rejected, RowError
from data_prep.section import DataSection
from data_prep.sources import open_source
from mlplora_vlm.errors import MendableError

CASES = int(os.environ.get("FUZZ_EXAMPLES", 2400))
PROCESSOR = processors()["chatml"]


def cases(share):
    """This share of all cases."""
    return settings(
        max_examples=round(CASES * share),
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def small_pictures_alone(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 500_000)  # what damaged headers say


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def read(small, folder):
    """The set's rows, or the error that says what is wrong with the whole of it."""
    try:
        return list(open_source(small.source).rows(small.split, folder, **small.options))
    except MendableError as error:
        assert not isinstance(error, RowError), f"one row ends the whole source: {error}"
        assert error.what
        return error


def of_lines(small, rows):
    """The rows without the pictures that no line names, each of which is there once."""
    alone = [row.where for row in rows if small.unnamed and row.where.endswith(small.pictures)]
    assert len(set(alone)) == len(alone)
    return len(rows) - len(alone)


def check_each(small, rows):
    """Every row is accepted or rejected for a known reason, also by the check before training."""
    options = {"control_tokens": "escape", "too_long": "shrink", "max_length": 512, "prompt": small.prompt}
    checked = RowCheck(PROCESSOR, DataSection(small.source, **options)).records(
        [to_record(row, small.source) for row in rows]
    )
    assert len(checked) == len(rows)
    for row, record in zip(rows, checked, strict=True):
        json.dumps(record, default=repr).encode()
        assert record["where"] == row.where.encode(errors="backslashreplace").decode()
        if record["reason"] is None:
            assert isinstance(row, Example) and record["label_tokens"] > 0
            assert record["length"] == record["text_tokens"] + record["picture_tokens"] <= 512
            assert len(record["digests"]) == len(record["images"]) == len(row.images)
        else:
            assert record["reason"] in REASONS and record["detail"]
            assert not isinstance(row, Rejected) or row.reason == record["reason"]


@pytest.fixture(params=SETS, ids=lambda small: f"{small.source}-{next(iter(small.files)).rpartition('.')[2]}")
def small(request):
    return request.param


def test_the_sets_themselves_are_whole(small, tmp_path):
    rows = read(small, small.write(tmp_path))
    assert len(rows) == small.count(small.files) and all(isinstance(row, Example) for row in rows)
    check_each(small, rows)


def test_changed_values(small, folder):
    @cases(0.4 / len(SETS))
    @given(st.data())
    def changed(data):
        values = dict(small.files)
        name = data.draw(st.sampled_from(sorted(values)))
        values[name] = data.draw(mutants.values(values[name]))
        rows = read(small, small.write(folder / str(SETS.index(small)), values))
        if isinstance(rows, MendableError):
            assert any(part in str(rows) for part in small.needs), rows
        else:
            assert of_lines(small, rows) == small.count(values)
            check_each(small, rows)

    changed()


PIECES = [
    b'"',
    b"'",
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"\n",
    b"\r",
    b"\0",
    b"\\",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"null",
]
PIECES += [
    b"NaN",
    b"1e999",
    b"-Infinity",
    b"1" * 30,
    b"1" * 5000,
    b"[" * 3000,
    b'{"a":' * 3000,
    b"\\u0000",
    b"{}\n",
    b"[]",
    b" ",
]


def test_changed_bytes(small, folder):
    @cases(0.3 / len(SETS))
    @given(st.data())
    def changed(data):
        name = data.draw(st.sampled_from(sorted(small.files)))
        file = data.draw(mutants.files(encoded(name, small.files[name]), PIECES))
        rows = read(small, small.write(folder / str(SETS.index(small)), {name: file}))
        if not isinstance(rows, MendableError):
            check_each(small, rows)
            if name.endswith(".jsonl"):
                assert of_lines(small, rows) == lines(file)

    changed()


PICTURES = {
    **hostile_pictures.plain(),
    **{name: file for name, (file, _) in {**hostile_pictures.mended(), **hostile_pictures.refused()}.items()},
}
"""By name, those that are refused as they are among them."""


@pytest.mark.slow
def test_damaged_pictures(folder):
    @cases(0.2)
    @given(st.data())
    def damaged(data):
        name = data.draw(st.sampled_from(sorted(PICTURES)))
        file = data.draw(mutants.files(PICTURES[name], [b"\0", b"\xff\xd8\xff", b"IDAT", b"Exif\0\0", b"\xff" * 16]))
        path = folder / f"damaged{Path(name).suffix}"
        path.write_bytes(file)
        source = data.draw(st.sampled_from([file, path]))
        try:
            found = images.inspect(source)
        except RowError as error:
            assert error.reason in ("unreadable picture", "too many pixels"), error
            assert error.what
        else:
            picture = images.open_image(source)
            assert (picture.mode, picture.size) == ("RGB", found.size) and not picture.info
            assert 0 < picture.width * picture.height <= images.MAX_PIXELS
            assert images.picture_size(source) == found.size

    damaged()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with pictures and all kinds of what a row may not reach, in it and beside it."""
    home = tmp_path_factory.mktemp("names")
    inside, outside = home / "pictures", home / "pictures2"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    for path in (inside / "a.png", inside / "b.png", inside / "sub" / "c.png", outside / "secret.png"):
        path.write_bytes(hostile_pictures.plain()["plain.png"])
    (inside / "out.png").symlink_to(outside / "secret.png")
    (inside / "outside").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "dangling.png").symlink_to(inside / "nothing.png")
    os.mkfifo(inside / "pipe.png")
    return inside


def test_names_of_pictures(pictures):
    find = References(pictures)

    @cases(0.1)
    @given(mutants.NAMES)
    def named(name):
        try:
            found = find(name, "row 7")
        except RowError as error:
            assert error.reason in REASONS and error.where == "row 7" and len(str(error)) < 1500
        else:
            assert isinstance(found, bytes) or (found.is_file() and found.resolve().is_relative_to(pictures.resolve()))

    named()
