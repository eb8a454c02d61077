"""MME (Fu et al., arXiv 2306.13394) from its official folders: two questions a picture, to be answered with yes or no.

The folder holds the unpacked ``MME_Benchmark_release_version/``, with the subtasks' folders in it or in its
``MME_Benchmark/``: a picture ``0001.jpg`` (or .png) beside ``0001.txt``, or in ``images/`` beside
``questions_answers_YN/``; a line of the .txt is a question, a tab, and Yes or No.  Ten subtasks of perception, four of
cognition.  Names and nesting: github.com/OpenGVLab/InternVL at commit 749a4c3, internvl_chat/eval/mme/get_images.py;
the subtasks: github.com/EvolvingLMMs-Lab/lmms-eval at commit 75571cf, lmms_eval/tasks/mme/utils.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.official import Official
from data_prep.records import Record
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

SPLITS = ("all",)
MME = Official("MME", "https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation")
PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
SUFFIXES = (".jpg", ".png", ".jpeg")
ASKED_ALREADY = " Please answer yes or no."


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableError where the folder is missing, naming where it comes from; looks at none of its files."""
    known_split("mme", split, SPLITS)
    folder = MME.given(folder)
    MME.present([(folder / "MME_Benchmark_release_version", f"MME_Benchmark_release_version.zip ({MME.page})")])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The questions by subtask (the category) and picture; ids of a picture's two agree up to the last slash.

    The sentence " Please answer yes or no." is taken off, since the prompt says how to answer: so lmms-eval and
    LLaVA-1.5 ask.  A file without exactly two questions is a rejected row: the score is of pairs.  Raises MendableError
    for a missing folder, and for one without questions.
    """
    check(split, folder)
    folder = MME.given(folder)
    for subtask in (*PERCEPTION, *COGNITION):
        yield from each(_questions(_subtasks(folder) / subtask), _example)


def _example(found: tuple[str, Path, int, str, str], where: str) -> Example:
    subtask, picture, number, question, answer = found
    return Example(
        id=f"mme/{subtask}/{picture.stem}/{number}",
        images=(picture,),
        question=question.strip().removesuffix(ASKED_ALREADY),
        answer=answer,
        references=(answer,),
        category=subtask,
    )


def _questions(subtask: Path) -> Iterator[Record]:
    """(where, (subtask, picture, 0 or 1, question, answer)) of each of the subtask's questions, or what is wrong."""
    apart = (subtask / "questions_answers_YN").is_dir()
    asked, shown = (subtask / "questions_answers_YN", subtask / "images") if apart else (subtask, subtask)
    pictures = Pictures(shown, f"take the folder again from {MME.page}")
    files = sorted(path for path in asked.glob("*.txt") if not path.name.startswith("."))
    if not files:
        raise MME.damaged(asked, ValueError("it holds no .txt file with questions"))
    for path in files:
        try:
            picture, pairs = _picture(pictures, path), _pairs(path)
        except RowError as error:
            yield str(path), error
            continue
        for number, (line, question, answer) in enumerate(pairs):
            yield f"{path}:{line}", (subtask.name, picture, number, question, answer)


def _picture(pictures: Pictures, path: Path) -> Path:
    names = [f"{path.stem}{suffix}" for suffix in SUFFIXES]
    there = [name for name in names if (pictures.folder / name).exists()]
    return pictures((there or names)[0], str(path))


def _pairs(path: Path) -> list[tuple[int, str, str]]:
    """(line, question, "yes" or "no") of the file's two questions; raises RowError where they are not two such."""
    try:
        lines: list[Any] = list(enumerate(path.read_text("utf-8-sig").split("\n"), 1))
    except (OSError, UnicodeDecodeError) as error:
        raise RowError("invalid text", f"the file cannot be read ({error!s:.100})", str(path)) from error
    found = []
    for number, line in lines:
        if not line.strip():
            continue
        question, _, answer = line.strip().rpartition("\t")
        if not question or answer.strip().lower() not in ("yes", "no"):
            raise RowError("broken line", f"line {number} is no question, a tab and Yes or No: {line!r:.80}", str(path))
        found.append((number, question, answer.strip().lower()))
    if len(found) != 2:
        raise RowError("no annotation", f"the file has {len(found)} questions, not two", str(path))
    return found


def _subtasks(folder: Path) -> Path:
    """Where the subtasks' folders lie: the archive has been packed in both ways."""
    unpacked = folder / "MME_Benchmark_release_version"
    inner = unpacked / "MME_Benchmark"
    return inner if inner.is_dir() else unpacked
