"""TextVQA (Singh et al., CVPR 2019) from its official files: questions whose answers are read in the picture.

The folder holds ``TextVQA_0.5.1_train.json`` and ``TextVQA_0.5.1_val.json`` beside the unpacked pictures of both,
``train_images/0054c91397f2fe05.jpg`` and so on.  34,602 train and 5,000 val questions; the test split's answers are not
public.  The split ``val_ocr`` is ``val`` with what an OCR system reads in the picture, of the authors'
``TextVQA_Rosetta_OCR_v0.2_val.json``, which holds ``image_id``, ``ocr_tokens`` and ``ocr_info`` of each picture under
``data``.  Names and nesting, and the counts: github.com/huggingface/datasets at commit 54f9471 (the authors' own
script, datasets/textvqa/textvqa.py) and at 040102f (datasets/textvqa/README.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field, texts
from data_prep.official import Official
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

SPLITS = ("train", "val", "val_ocr")
TEXTVQA = Official("TextVQA", "https://textvqa.org/dataset/")
OCR = "TextVQA_Rosetta_OCR_v0.2_val.json"
PICTURES = "https://dl.fbaipublicfiles.com/textvqa/images/train_val_images.zip"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("textvqa", split, SPLITS)
    folder = TEXTVQA.given(folder)
    files = [_questions(split, folder), *([folder / OCR] if split == "val_ocr" else [])]
    TEXTVQA.present([*((file, TEXTVQA.page) for file in files), (folder / "train_images", PICTURES)])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions in the file's order; references are the ten answers as given (VQA accuracy counts them).

    Taught is the most frequent answer, of equals the first.  For ``val_ocr`` the tokens stand in a line behind the
    question, which begins with a capital letter: so LLaVA-1.5 was evaluated (github.com/haotian-liu/LLaVA at commit
    c121f04, scripts/v1_5/eval/textvqa.sh, llava/eval/eval_textvqa.py), and so lmms-eval asks on demand (github.com/
    EvolvingLMMs-Lab/lmms-eval at commit 75571cf, lmms_eval/tasks/textvqa/utils.py); a picture without text has an empty
    line of them.  Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = TEXTVQA.given(folder)
    pictures = Pictures(folder / "train_images", f"unpack {PICTURES} into {folder}")

    tokens = dict(_tokens(folder / OCR)) if split == "val_ocr" else None

    def example(row: Any, where: str) -> Example:
        answers, image_id = texts(row, "answers", where), field(row, "image_id", str, where)
        question = field(row, "question", str, where)
        if tokens is not None:
            if image_id not in tokens:
                raise RowError("no annotation", f"picture {image_id!r:.80} has no OCR tokens in {OCR}", where)
            question = f"{question.capitalize()}\nReference OCR token: {', '.join(tokens[image_id])}"
        return Example(
            id=f"textvqa/{_own(split)}/{field(row, 'question_id', int, where)}",
            images=(pictures(f"{image_id}.jpg", where),),
            question=question,
            answer=Counter(answers).most_common(1)[0][0],
            references=answers,
            category="scene text",
        )

    yield from each(TEXTVQA.rows(_questions(split, folder), "data"), example)


def _tokens(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(picture, its tokens) of each entry that has both; the questions of others have none."""
    for _, entry in TEXTVQA.rows(path, "data", "picture"):
        if isinstance(entry, dict) and isinstance(name := entry.get("image_id"), str):
            found = entry.get("ocr_tokens")
            if isinstance(found, list) and all(isinstance(token, str) for token in found):
                yield name, found


def _own(split: str) -> str:
    """The authors' split: a question has one id, with tokens and without."""
    return split.removesuffix("_ocr")


def _questions(split: str, folder: Path) -> Path:
    return folder / f"TextVQA_0.5.1_{_own(split)}.json"
