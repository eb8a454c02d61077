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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_harness.predictions import read_rows
from mlplora_vlm.errors import MendableError, did_you_mean
from mlplora_vlm.files import json_text, read_json, write_text

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
    notes: list[str] = []
    if form.entry is None:
        table, notes = _mmbench(rows, ids, annotations)
        _write_table(out, table)
    else:
        entries = [form.entry(own, row["prediction"]) for own, row in zip(ids, rows, strict=True)]
        keys = [next(iter(entry.values())) for entry in entries]
        if len(set(keys)) < len(keys):
            raise MendableError("two rows have the same official id", str(folder), "evaluate each picture once")
        write_text(out, json_text(entries) + "\n")
    return [*_notes(form, folder, len(rows)), *notes]


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
ROTATIONS = 1_000_000
"""In MMBench's own file a question's rotations have its index and whole millions."""


def _mmbench(rows: list[dict[str, Any]], ids: list[str], annotations: Path | None) -> tuple[Any, list[str]]:
    """(a table of the official columns of each row and the prediction, what is to be known of it).

    Which rotation a row was asked in is found by its choices: VLMEvalKit (at commit 32b0072, scripts/build_circular.py)
    turns them the other way round than LLaVA, and some questions ("all of the above") not all the way.
    """
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
    waiting: dict[int, list[dict[str, str]]] = {}
    for entry in official.to_dict("records"):
        waiting.setdefault(int(entry["index"]) % ROTATIONS, []).append(entry)
    table, unknown = [], 0
    for row, own in zip(rows, ids, strict=True):
        number, _, turned = own.partition("/")
        if (entries := waiting.get(_whole(number))) is None:
            what = f"the official file has no question {number}"
            raise MendableError(what, str(annotations), "is it the file that the evaluation read?")
        entry = next((each for each in entries if _asks(each, str(row["question"]))), None)
        if entry is None and turned in ("", "0"):
            what = f"row {row['id']} was asked other choices than the official question has, or twice"
            raise MendableError(what, str(annotations), "take the file that the evaluation read")
        if entry is None:
            unknown += 1
            continue
        entries.remove(entry)
        table.append({**{column: entry[column] for column in _COLUMNS}, "prediction": row["prediction"]})
    notes = []
    if unknown:
        notes.append(f"{unknown:,} rotations were left out: the official file does not have them")
    if missing := len(official) - len(table):
        notes.append(f"{missing:,} of the official file's rows (questions or rotations) were not asked")
    return pd.DataFrame(table, columns=[*_COLUMNS, "prediction"]), notes


def _asks(entry: Mapping[str, str], question: str) -> bool:
    """Whether the question ends with the entry's choices under their letters."""
    lines = [f"{letter}. {entry[letter]}" for letter in "ABCD" if entry[letter] not in ("", "nan")]
    return " ".join(question.split()).endswith(" ".join(" ".join(lines).split()))


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
