"""VQAv2 (Goyal et al., CVPR 2017) from its official files: questions, the ten annotators' answers, COCO's pictures.

The folder holds the unpacked archives side by side: ``v2_OpenEnded_mscoco_train2014_questions.json``,
``v2_mscoco_train2014_annotations.json``, ``train2014/COCO_train2014_000000000009.jpg`` and so on; ``val2014`` likewise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.example import Example
from data_prep.sources import known_split
from mlplora_vlm.errors import MendableError, MendableErrors

SPLITS = ("train", "val")
QUESTIONS_PAGE = "https://visualqa.org/download.html"
PICTURES_SITE = "http://images.cocodataset.org/zips/"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming each file or folder that is missing and where it comes from; opens none of them."""
    known_split("vqav2", split, SPLITS)
    folder = _given(folder)
    wanted = [(_questions(split, folder), QUESTIONS_PAGE), (_annotations(split, folder), QUESTIONS_PAGE)]
    wanted.append((_pictures(split, folder), f"{PICTURES_SITE}{split}2014.zip"))
    missing = [
        MendableError(f"VQAv2's {path.name} is missing", str(path), f"unpack it there from {origin}")
        for path, origin in wanted
        if not path.exists()
    ]
    if missing:
        raise missing[0] if len(missing) == 1 else MendableErrors(missing)


def rows(split: str, folder: Path | None = None) -> Iterator[Example]:
    """The split's questions in the file's order; references are the ten answers as given (VQA accuracy counts them).

    Raises MendableError for a missing or damaged file, a question without annotation, or a missing picture.
    """
    check(split, folder)
    folder = _given(folder)
    asked, answered = _questions(split, folder), _annotations(split, folder)
    annotations = {_field(item, "question_id", answered): item for item in _read(answered, "annotations")}
    for item in _read(asked, "questions"):
        number = _field(item, "question_id", asked)
        if (annotation := annotations.get(number)) is None:
            fix = f"take both files from {QUESTIONS_PAGE}"
            raise MendableError(f"question {number} has no annotation", str(answered), fix)
        yield Example(
            id=f"vqav2/{split}/{number}",
            images=(_picture(split, folder, _field(item, "image_id", asked)),),
            question=_field(item, "question", asked),
            answer=_field(annotation, "multiple_choice_answer", answered),
            references=tuple(_field(given, "answer", answered) for given in _field(annotation, "answers", answered)),
            category=_field(annotation, "answer_type", answered),  # yes/no, number or other
        )


def _given(folder: Path | None) -> Path:
    if folder is None:
        raise MendableError("VQAv2 needs a folder", "vqav2", f"name the one with the official files ({QUESTIONS_PAGE})")
    return Path(folder)


def _questions(split: str, folder: Path) -> Path:
    return folder / f"v2_OpenEnded_mscoco_{split}2014_questions.json"


def _annotations(split: str, folder: Path) -> Path:
    return folder / f"v2_mscoco_{split}2014_annotations.json"


def _pictures(split: str, folder: Path) -> Path:
    return folder / f"{split}2014"


def _picture(split: str, folder: Path, image_id: Any) -> Path:
    """The picture's path; inside the folder also where ``image_id`` is not the number that it should be."""
    questions = str(_questions(split, folder))
    if not isinstance(image_id, int) or isinstance(image_id, bool) or image_id < 0:
        raise MendableError(f"{image_id!r} is not a COCO image_id", questions, f"take the file from {QUESTIONS_PAGE}")
    path = _pictures(split, folder) / f"COCO_{split}2014_{image_id:012d}.jpg"
    if not path.is_file():
        raise MendableError("a picture is missing", str(path), f"unpack {PICTURES_SITE}{split}2014.zip into {folder}")
    return path


def _read(path: Path, key: str) -> list[dict[str, Any]]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))[key]
    except (ValueError, KeyError, TypeError) as error:
        what = f"not an official VQAv2 file ({type(error).__name__}: {error})"
        raise MendableError(what, str(path), f"take it again from {QUESTIONS_PAGE}") from error


def _field(item: dict[str, Any], key: str, path: Path) -> Any:
    try:
        return item[key]
    except (KeyError, TypeError):
        raise MendableError(f"a row lacks {key!r}", str(path), f"take the file again from {QUESTIONS_PAGE}") from None
