"""Pictures that are trained on are found among the evaluation's, whatever file they are in."""

from __future__ import annotations

import io

from chat_processors import processors

from data_prep.example import Example
from data_prep.leaks import leaks
from data_prep.prepared import prepare, prepared_parts
from data_prep.section import DataSection
from data_prep.sources import source_rows


def asked(name, *pictures):
    return Example(name, pictures, "what?", "red", ("red",), "open")


def test_a_trained_picture_is_found_in_another_container_and_others_are_not(tmp_path):
    settings = DataSection("shapes")
    prepare(settings, processors()["chatml"], tmp_path / "data", progress=False)
    rows = list(source_rows(settings))
    path, buffer = tmp_path / "copy.bmp", io.BytesIO()
    rows[3].images[0].save(path)
    rows[5].images[0].save(buffer, "webp", lossless=True)
    changed = rows[7].images[0].copy()
    changed.putpixel((0, 0), (1, 2, 3))
    evaluation = [asked("a", path), asked("b", buffer.getvalue(), changed), asked("c", changed), asked("d", b"broken")]
    found = leaks(prepared_parts(settings, tmp_path / "data"), evaluation)
    assert [(leak["train"], leak["evaluation"]) for leak in found] == [(rows[3].id, "a"), (rows[5].id, "b")]
    assert leaks(prepared_parts(settings, tmp_path / "data"), [asked("e", changed)]) == []
