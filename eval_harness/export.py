"""The answers of an evaluation in the forms that the official evaluation servers and scripts take.

Answers are written as the model gave them: the official code normalises them itself.  Sources of the forms:

VQAv2: visualqa.org/evaluation.html ("Results Format").  OK-VQA has no server of its own; its files have VQA's form, and
VQA's evaluation code reads them with results of that form.
TextVQA: github.com/facebookresearch/mmf at commit ded4747, mmf/datasets/builders/textvqa/dataset.py
(format_for_prediction; EvalAI reads ``question_id`` and ``answer``).
VizWiz: vizwiz.org/tasks-and-datasets/vqa/, as github.com/haotian-liu/LLaVA at commit ce1aa08,
scripts/convert_vizwiz_for_submission.py, writes it.
DocVQA, InfographicVQA: rrc.cvc.uab.es/?ch=17&com=tasks, as github.com/EvolvingLMMs-Lab/lmms-eval at commit 75571cf,
lmms_eval/tasks/docvqa/utils.py and infovqa/utils.py, write it.
COCO captions: github.com/cocodataset/cocoapi at commit 0546e0f, results/captions_val2014_fakecap_results.json.
NoCaps: github.com/nocaps-org/updown-baseline at commit 05fc2f9, scripts/inference.py.
MMBench: github.com/open-compass/VLMEvalKit at commit ee7dfb7, scripts/mmb_eval_gradio.py, the official service's own
script: .xlsx, .tsv or .csv with the columns index, question, A, B, C, D and prediction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_harness.predictions import read_rows
from mlplora_vlm.errors import MendableError, did_you_mean
from mlplora_vlm.files import read_json, write_text

Answers = Mapping[str, Any]
"""A row of predictions.jsonl."""


@dataclass(frozen=True)
class Form:
    """One official form: a JSON list with an entry a row, or a table."""

    sources: tuple[str, ...]
    """Of which evaluations it is made: what their rows' ids begin with."""
    place: str
    """Where it is handed in, or what reads it."""
    entry: Callable[[str, str], dict[str, Any]] | None
    """(the official id, the prediction) → the entry; None: the table of MMBench."""
    name: str = ""
    """What the server wants the file to be called, where it does."""


def _whole(official: str) -> int:
    if not (official.isascii() and official.isdigit()):
        raise MendableError(f"{official!r:.80} is no official number", "id", "evaluate the set's own source")
    return int(official)


def _question(official: str, prediction: str) -> dict[str, Any]:
    return {"question_id": _whole(official), "answer": prediction}


def _document(official: str, prediction: str) -> dict[str, Any]:
    return {"questionId": _whole(official), "answer": prediction}


def _picture(official: str, prediction: str) -> dict[str, Any]:
    return {"image": f"{official.removesuffix('.jpg')}.jpg", "answer": prediction}


def _caption(official: str, prediction: str) -> dict[str, Any]:
    return {"image_id": _whole(official), "caption": prediction}


FORMS = {
    "coco": Form(
        ("coco_captions",), "codalab.lisn.upsaclay.fr/competitions/7404", _caption, "captions_SPLIT_NAME_results.json"
    ),
    "docvqa": Form(("docvqa",), "rrc.cvc.uab.es/?ch=17, task 1", _document),
    "infovqa": Form(("info_vqa",), "rrc.cvc.uab.es/?ch=17, task 3", _document),
    "mmbench": Form(("mmbench",), "mmbench.opencompass.org.cn/mmbench-submission", None),
    "nocaps": Form(("no_caps",), "nocaps.org (EvalAI)", _caption),
    "okvqa": Form(("ok_vqa",), "the official VQA evaluation code", _question),
    "textvqa": Form(("textvqa",), "textvqa.org/challenge (EvalAI)", _question),
    "vizwiz": Form(("vizwiz",), "vizwiz.org/tasks-and-datasets/vqa (EvalAI)", _picture),
    "vqav2": Form(("vqav2",), "visualqa.org/challenge.html (EvalAI)", _question),
}


def export(name: str, folder: Path, out: Path, annotations: Path | None = None) -> list[str]:
    """Writes the evaluation in ``folder`` to ``out`` in the named form; what is to be known about the file, as lines.

    ``annotations`` is MMBench's official .tsv.  Raises MendableError for an unknown form, a folder without an
    evaluation, rows of another set, and ids that are not the set's own.
    """
    if name not in FORMS:
        known = ", ".join(FORMS)
        raise MendableError(f"there is no form {name!r}{did_you_mean(name, FORMS)}", "export", f"one of: {known}")
    form, rows = FORMS[name], _rows(folder)
    ids = [_official(form, str(row["id"]), folder) for row in rows]
    if form.entry is None:
        _write_table(out, _mmbench(rows, ids, annotations))
    else:
        entries = [form.entry(own, row["prediction"]) for own, row in zip(ids, rows, strict=True)]
        keys = [next(iter(entry.values())) for entry in entries]
        if len(set(keys)) < len(keys):
            raise MendableError("two rows have the same official id", str(folder), "evaluate each picture once")
        write_text(out, json.dumps(entries, ensure_ascii=False) + "\n")
    return list(_notes(form, folder, len(rows)))


def _rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / "predictions.jsonl"
    if not path.is_file() or not (folder / "result.json").is_file():
        what = "the folder holds no finished evaluation (predictions.jsonl and result.json)"
        raise MendableError(what, str(folder), "name one such as OUT/MODEL/TASK")
    if not (rows := read_rows(path)):
        raise MendableError("the evaluation holds no rows", str(path), "evaluate again")
    return rows


def _official(form: Form, own: str, folder: Path) -> str:
    """The id without the source and the split."""
    source, _, rest = own.partition("/")
    split, _, official = rest.partition("/")
    if source not in form.sources or not split or not official:
        fix = f"this form is made of evaluations of {' or '.join(form.sources)}"
        raise MendableError(f"the row {own!r:.80} is not of that set", str(folder), fix)
    return official


def _notes(form: Form, folder: Path, rows: int) -> list[str]:
    result = read_json(folder / "result.json")
    notes = [f"{rows:,} rows, for {form.place}"]
    if form.name:
        notes.append(f"the server wants the file to be called {form.name}, in a .zip")
    if (sample := result.get("sample", "all rows")) != "all rows":
        notes.append(f"it is {sample}: servers take whole splits only")
    return notes


_COLUMNS = ("index", "question", "A", "B", "C", "D")
ROTATION = 1_000_000
"""What MMBench's own file adds to a question's index for each rotation of its choices."""


def _mmbench(rows: list[dict[str, Any]], ids: list[str], annotations: Path | None) -> Any:
    """The official file's columns of each row, and the prediction, as a table."""
    import pandas as pd

    if annotations is None:
        fix = "name the official file with --annotations mmbench_dev_20230712.tsv"
        raise MendableError("MMBench's form repeats the official question and choices", "export mmbench", fix)
    if not annotations.is_file():
        raise MendableError("there is no such file", str(annotations), "github.com/open-compass/MMBench has it")
    try:
        official = pd.read_csv(annotations, sep="\t", dtype=str, keep_default_na=False, usecols=list(_COLUMNS))
    except (ValueError, OSError) as error:
        what = f"this is not MMBench's file ({error!s:.200})"
        raise MendableError(what, str(annotations), f"a .tsv with the columns {', '.join(_COLUMNS)}") from error
    by_index = {int(row["index"]): row for row in official.to_dict("records")}
    table = []
    for row, own in zip(rows, ids, strict=True):
        number, _, turned = own.partition("/")
        index = _whole(number) + ROTATION * _whole(turned or "0")
        if (entry := by_index.get(index)) is None:
            raise MendableError(f"the official file has no question {index}", str(annotations), "is it the same split?")
        choices = [entry[letter] for letter in "ABCD" if entry[letter] not in ("", "nan")]
        if not _asked_in_that_order(str(row["question"]), choices):
            what = f"row {row['id']} was asked other choices than the official question {index} has"
            raise MendableError(what, str(annotations), "take the file that the evaluation read")
        table.append({**{column: entry[column] for column in _COLUMNS}, "prediction": row["prediction"]})
    return pd.DataFrame(table, columns=[*_COLUMNS, "prediction"])


def _asked_in_that_order(question: str, choices: list[str]) -> bool:
    at = 0
    for letter, choice in zip("ABCD", choices, strict=False):
        at = question.find(f"{letter}. {choice.strip()}", at)
        if at < 0:
            return False
    return True


def _write_table(out: Path, table: Any) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".xlsx":
        try:
            table.to_excel(out, index=False, engine="openpyxl")
        except ImportError as error:
            fix = "pip install openpyxl, or name a .tsv: the server takes it too"
            raise MendableError("an .xlsx file takes the package openpyxl", str(out), fix) from error
    elif out.suffix in (".tsv", ".csv"):
        write_text(out, table.to_csv(sep="\t" if out.suffix == ".tsv" else ",", index=False, lineterminator="\n"))
    else:
        raise MendableError("MMBench's server takes .tsv, .csv and .xlsx", str(out), "give the file one of these ends")
