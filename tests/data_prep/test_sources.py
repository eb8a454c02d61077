"""The sources: what they yield, in what order, and what they say when the data is not there."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from data_prep.example import Example
from data_prep.sources import SOURCES, open_source
from mlplora_vlm.errors import MendableError

needs_easy_vqa = pytest.mark.skipif(find_spec("easy_vqa") is None, reason="the package easy-vqa is not installed")


def test_every_source_has_the_common_functions() -> None:
    assert {"easy_vqa", "shapes", "vqav2"} <= set(SOURCES)
    for name in SOURCES:
        source = open_source(name)
        assert source.SPLITS and callable(source.check) and callable(source.rows)


def test_an_unknown_source_or_split_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(MendableError, match="did you mean 'easy_vqa'") as error:
        open_source("easyvqa")
    assert "shapes" in error.value.fix
    for name in SOURCES:
        with pytest.raises(MendableError, match="did you mean 'train'"):
            open_source(name).check("trian", Path())


def test_sources_import_no_torch() -> None:
    import subprocess

    code = "import sys; from data_prep.sources import *; from data_prep.sources import SOURCES, open_source\n"
    code += "[open_source(name) for name in SOURCES]; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def _key(row: Example) -> tuple:
    pictures = tuple(str(p) if isinstance(p, Path) else p.tobytes() for p in row.images)
    return row.id, pictures, row.question, row.answer, row.references, row.category


def test_shapes_are_the_same_at_every_call_and_differ_between_splits() -> None:
    shapes = open_source("shapes")
    train, test = list(shapes.rows("train")), list(shapes.rows("test"))
    assert [_key(row) for row in train] == [_key(row) for row in shapes.rows("train")]
    assert (len(train), len(test)) == (256, 64)
    assert len({row.id for row in train + test}) == 320
    assert not {row.images[0].tobytes() for row in train} & {row.images[0].tobytes() for row in test}


def test_shapes_answers_are_true_of_the_picture() -> None:
    from data_prep.sources.shapes import COLOURS, SHAPES

    for row in open_source("shapes").rows("train"):
        (picture,) = row.images
        colours = {name for name, rgb in COLOURS.items() if picture.getcolors() and rgb in dict(_counts(picture))}
        assert len(colours) == 1
        words = row.question.rstrip("?").split()
        asked = [word for word in words if word in COLOURS]
        if row.category == "open":
            assert row.answer in COLOURS or row.answer in SHAPES
            assert row.answer in colours or row.answer not in COLOURS
            assert set(asked) <= colours
        elif asked:
            assert row.answer == ("yes" if asked[0] in colours else "no")
    categories = [(row.category, row.answer) for row in open_source("shapes").rows("test")]
    assert categories.count(("yes/no", "yes")) == categories.count(("yes/no", "no")) == 16


def _counts(picture) -> list[tuple[tuple[int, int, int], int]]:
    return [(rgb, count) for count, rgb in picture.getcolors(picture.width * picture.height)]


@needs_easy_vqa
def test_easy_vqa_yields_the_published_splits() -> None:
    source = open_source("easy_vqa")
    train, test = list(source.rows("train")), list(source.rows("test"))
    assert (len(train), len(test)) == (38_575, 9_673)
    assert len({row.id for row in train + test}) == 48_248
    assert train[123].id == "easy_vqa/train/000123"
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


@pytest.fixture
def vqav2_folder(tmp_path: Path) -> Path:
    """Two questions in the official files' form."""
    answers = [{"answer": "net", "answer_confidence": "maybe", "answer_id": i} for i in range(1, 10)]
    answers.append({"answer": "netting", "answer_confidence": "yes", "answer_id": 10})
    common = {"image_id": 458752}
    questions = [
        {**common, "question": "What is this photo taken looking through?", "question_id": 458752000},
        {**common, "question": "Is he a pitcher?", "question_id": 458752001},
    ]
    annotations = [
        {**common, "question_id": 458752001, "answer_type": "yes/no", "multiple_choice_answer": "yes"},
        {**common, "question_id": 458752000, "answer_type": "other", "multiple_choice_answer": "net"},
    ]
    for annotation in annotations:
        annotation["answers"] = answers if annotation["answer_type"] == "other" else [{"answer": "yes"}] * 10
    name = "v2_OpenEnded_mscoco_train2014_questions.json"
    (tmp_path / name).write_text(json.dumps({"questions": questions}))
    (tmp_path / "v2_mscoco_train2014_annotations.json").write_text(json.dumps({"annotations": annotations}))
    (tmp_path / "train2014").mkdir()
    (tmp_path / "train2014/COCO_train2014_000000458752.jpg").write_bytes(b"not opened here")
    return tmp_path


def test_vqav2_joins_questions_and_annotations_by_id(vqav2_folder: Path) -> None:
    first, second = open_source("vqav2").rows("train", vqav2_folder)
    assert first.id == "vqav2/train/458752000"
    assert (first.answer, first.category) == ("net", "other")
    assert first.references == ("net",) * 9 + ("netting",)
    assert first.images == (vqav2_folder / "train2014/COCO_train2014_000000458752.jpg",)
    assert (second.answer, second.category, len(second.references)) == ("yes", "yes/no", 10)


def test_vqav2_names_each_missing_file_and_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        open_source("vqav2").check("val", tmp_path)
    for part in ("val2014_questions.json", "val2014_annotations.json", "visualqa.org", "zips/val2014.zip"):
        assert part in str(error.value)
    with pytest.raises(MendableError, match="needs a folder"):
        open_source("vqav2").check("train")


@pytest.mark.parametrize("image_id", ["../../secret", -1, None, 1.5, True])
def test_vqav2_pictures_stay_in_the_folder(vqav2_folder: Path, image_id: object) -> None:
    path = vqav2_folder / "v2_OpenEnded_mscoco_train2014_questions.json"
    path.write_text(json.dumps({"questions": [{"image_id": image_id, "question": "?", "question_id": 458752000}]}))
    with pytest.raises(MendableError, match="is not a COCO image_id"):
        next(iter(open_source("vqav2").rows("train", vqav2_folder)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not an official VQAv2 file"),
        ("[]", "not an official VQAv2 file"),
        ('{"questions": [{"question_id": 458752000, "question": "?"}]}', "lacks 'image_id'"),
        ('{"questions": [{"question_id": 7, "question": "?", "image_id": 458752}]}', "question 7 has no annotation"),
        ('{"questions": [{"question_id": 458752000, "question": "?", "image_id": 9}]}', "a picture is missing"),
    ],
)
def test_vqav2_says_what_is_wrong_with_a_file(vqav2_folder: Path, text: str, says: str) -> None:
    (vqav2_folder / "v2_OpenEnded_mscoco_train2014_questions.json").write_text(text)
    with pytest.raises(MendableError, match=says):
        list(islice(open_source("vqav2").rows("train", vqav2_folder), 1))


@needs_easy_vqa
def test_captions_agree_with_the_open_answers() -> None:
    from data_prep.demo.captions import COLOURS, SHAPES, known_pictures

    rows = list(open_source("easy_vqa").rows("train"))
    known = known_pictures(rows)
    assert len(known) > 3000
    for row in rows:
        if row.category == "open" and row.images[0] in known:
            assert row.answer in known[row.images[0]]
    assert {colour for colour, _ in known.values()} == set(COLOURS)
    assert {shape for _, shape in known.values()} == set(SHAPES)
