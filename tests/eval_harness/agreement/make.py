"""Runs official evaluators over our cases and writes what they said.

    PYTHONPATH=. python tests/eval_harness/agreement/make.py NAME CHECKOUT [NAME CHECKOUT …]

CHECKOUT is a clone of the evaluator's repository (bare will do), NAME one of agreement_files.py.  The code is taken
from the commit that stands there, through git, and none of it is kept.  "gqa_copy" also needs LLaVA's clone in the
variable LLAVA, for its way of writing predictions.  pycocoevalcap is run as installed, after a comparison with the
commit, in a UTF-8 locale.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from agreement_cases import cases
from agreement_files import CHOICES, LLAVA, MATCHING, PAIRS, Pair, write

Outputs = tuple[dict[str, list[float]], dict[str, dict[str, float]]]
Rows = list[dict[str, Any]]


def committed(checkout: str, commit: str, file: str) -> bytes:
    """A file of a commit."""
    return subprocess.run(["git", "-C", checkout, "show", f"{commit}:{file}"], check=True, capture_output=True).stdout


def run(source: bytes | str, given: Mapping[str, Any] | None = None, **imports: ModuleType) -> dict[str, Any]:
    """Executes official code, its prints unheard, and returns its names; ``imports`` stand in for what it imports."""
    names: dict[str, Any] = {"__name__": "official", "__file__": "official.py", **(given or {})}
    stand_ins = {name.replace("__", "."): module for name, module in imports.items()}
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(source, "official.py", "exec"), names)
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name)
            else:
                sys.modules[name] = module
    return names


def module(**names: Any) -> ModuleType:
    """A module with these names."""
    made = ModuleType("made")
    vars(made).update(names)
    return made


class Anything(ModuleType):
    """A module that has every name, for imports that the code we run does not use."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


def nothing() -> ModuleType:
    return Anything("anything")


def vqa_official(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    python3 = re.sub(r'print "(.*)"', r'print("\1")', source.decode())  # it is Python 2, and this is all that is
    answers = {
        number: {
            "answers": [{"answer": text, "answer_id": place} for place, text in enumerate(row["references"])],
            "question_type": "",
            "answer_type": "",
        }
        for number, row in enumerate(rows)
    }
    questions = module(qa=answers, getQuesIds=lambda: list(answers))
    results = module(qa={number: {"answer": row["prediction"]} for number, row in enumerate(rows)})
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = run(python3)["VQAEval"](questions, results, n=12)
        evaluation.evaluate()
    return {"vqa_accuracy": [evaluation.evalQA[number] / 100 for number in answers]}, {}


def lmms_eval_vqav2(code: dict[str, bytes], rows: Rows) -> Outputs:
    processor, utils = code.values()
    process = run(
        utils,
        loguru=nothing(),
        lmms_eval=nothing(),
        lmms_eval__tasks=nothing(),
        lmms_eval__tasks___task_utils=nothing(),
        lmms_eval__tasks___task_utils__file_utils=nothing(),
        lmms_eval__tasks___task_utils__vqa_eval_metric=module(**run(processor, loguru=nothing())),
    )["vqav2_process_results"]
    found = []
    for row in rows:
        answers = [{"answer": text, "answer_id": place} for place, text in enumerate(row["references"])]
        found.append(float(process({"answers": answers, "question_id": 0}, [row["prediction"]])["exact_match"]))
    return {"vqa_accuracy_always": found}, {}


def mmf_textvqa(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    evaluator = run(source)["TextVQAAccuracyEvaluator"]()
    each = [{"pred_answer": row["prediction"], "gt_answers": row["references"]} for row in rows]
    return {"vqa_accuracy_m4c": [float(evaluator.eval_pred_list([one])) for one in each]}, {}


def vizwiz_copy(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    wanted = {n: {"answers": [{"answer": text} for text in row["references"]]} for n, row in enumerate(rows)}
    said = {number: {"answer": row["prediction"]} for number, row in enumerate(rows)}
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = run(source)["VQAEval"](wanted, said, n=12)
        evaluation.evaluate()
    return {"vqa_accuracy_vizwiz": [evaluation.evalQA[number] / 100 for number in wanted]}, {}


def gqa_copy(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    convert = committed(os.environ["LLAVA"], LLAVA[1], "scripts/convert_gqa_for_eval.py")
    questions = {
        str(number): {
            "answer": row["references"][0],
            "question": "which",
            "semantic": [],
            "isBalanced": True,
            "imageId": "0",
            "entailed": [],
            # A type of its own for each question: the script prints and keeps accuracy by type
            "types": {"structural": f"type {number}", "semantic": "rel", "detailed": ""},
            "groups": {"global": "group"},
        }
        for number, row in enumerate(rows)
    }
    choices = {number: {"valid": [], "plausible": []} for number in questions}
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        arguments("--src", "said", "--dst", "predictions"),
    ):
        lines = [
            {"question_id": number, "text": row["prediction"]} for number, row in zip(questions, rows, strict=True)
        ]
        Path("said").write_text("".join(json.dumps(line) + "\n" for line in lines))
        run(convert)
        for name, data in (("scenes", {}), ("questions", questions), ("choices", choices)):
            Path(name).write_text(json.dumps(data))
        files = [word for name in ("scenes", "questions", "choices", "predictions") for word in (f"--{name}", name)]
        with arguments(*files):
            by_type = run(source)["scores"]["accuracyPerStructuralType"]
    return {"gqa_match": [by_type[f"type {number}"][0] / 100 for number in questions]}, {}


@contextlib.contextmanager
def arguments(*words: str) -> Any:
    """The command line that a script sees."""
    before, sys.argv = sys.argv, ["official.py", *words]
    try:
        yield
    finally:
        sys.argv = before


def pix2struct(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    names = run(source, editdistance=nothing())
    each = [
        names["aggregate_metrics"]([row["references"]], [row["prediction"]], names["relaxed_correctness"]) / 100
        for row in rows
    ]
    return {"relaxed_accuracy": each}, {}


def docvqa_copy(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    wanted = [{"questionId": n, "question": "", "answers": row["references"]} for n, row in enumerate(rows)]
    said = [{"questionId": number, "answer": row["prediction"]} for number, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, "wanted"), Path(folder, "said")]
        files[0].write_text(json.dumps({"dataset_name": "ours", "data": wanted}))
        files[1].write_text(json.dumps(said))
        names = run(source)
        names["validate_data"](*files)
        found = names["evaluate_method"](*files, module(answer_types=False, anls_threshold=0.5))["per_sample_result"]
    return {"anls": [float(found[str(number)]["score"]) for number in range(len(rows))]}, {}


def listed(row: Mapping[str, Any]) -> list[str]:
    """The options' texts of a question of ours."""
    return re.findall(r"^[A-E]\. (.*)$", row["question"].split("in the picture?")[1], re.MULTILINE)


def lmms_eval_scienceqa(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    process = run(source)["sqa_process_results"]
    docs = [{"choices": listed(row), "answer": "ABCDE".index(row["references"][0])} for row in rows]
    found = [process(doc, [row["prediction"]])["exact_match"] for doc, row in zip(docs, rows, strict=True)]
    return {"choice_letter": found}, {}


def llava_scienceqa(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    names = [str(number) for number in range(len(rows))]
    problems = {
        name: {"choices": listed(row), "answer": "ABCDE".index(row["references"][0])}
        for name, row in zip(names, rows, strict=True)
    }
    said = [
        {"question_id": n, "text": row["prediction"], "prompt": "<image>"} for n, row in zip(names, rows, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("problems.json").write_text(json.dumps(problems))
        Path("pid_splits.json").write_text(json.dumps({"test": names}))
        Path("said").write_text("".join(json.dumps(line) + "\n" for line in said))
        with arguments(
            "--base-dir", ".", "--result-file", "said", "--output-file", "each", "--output-result", "result"
        ):
            run(source, {"__name__": "__main__"})
        right = {one["question_id"] for one in json.loads(Path("each").read_text())["correct"]}
    return {"choice_letter": [float(name in right) for name in names]}, {}


def lmms_eval_seedbench(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    names = run(source)
    found = []
    for row in rows:
        doc = {"answer": row["references"][0], "data_type": "image", "question_id": 0}
        one = names["seed_process_result"](doc, [row["prediction"]])["seed_all"]
        found.append(float(names["seed_aggregation_result"]([one])))
    return {"choice_letter": found}, {}


def _vlmevalkit(code: dict[str, bytes]) -> dict[str, Any]:
    log = module(get_logger=lambda name: nothing())
    matching = module(**run(code[MATCHING], vlmeval=nothing(), vlmeval__smp=nothing(), vlmeval__smp__log=log))
    stand_ins = {"vlmeval": nothing(), "vlmeval__smp": nothing(), "vlmeval__smp__vlm": nothing()}
    matching.track_progress_rich = None  # type: ignore[attr-defined]
    return run(code[CHOICES], **stand_ins, vlmeval__utils=matching)


def _items(rows: Rows) -> list[dict[str, str]]:
    return [
        {"prediction": row["prediction"], "GT": row["references"][0], "question": "what"}
        | dict(zip("ABCDE", listed(row), strict=False))
        for row in rows
    ]


def vlmevalkit(code: dict[str, bytes], rows: Rows) -> Outputs:
    evaluate = _vlmevalkit(code)["eval_vanilla"]
    return {"choice_lenient": [float(evaluate(None, item)["hit"]) for item in _items(rows)]}, {}


def vlmevalkit_circular(code: dict[str, bytes], rows: Rows) -> Outputs:
    import pandas as pd

    names, groups = _vlmevalkit(code), {}
    for row, item in zip(rows, _items(rows), strict=True):
        groups.setdefault(row["id"].rpartition("/")[0], []).append(item)
    found = [names["prefetch_circular_group"](pd.DataFrame(items)) for items in groups.values()]
    right = sum(one["hit"] for one in found if one)  # None: only a language model could tell, and there is none
    each = [float(names["eval_vanilla"](None, item)["hit"]) for item in _items(rows)]
    figures = {"circular accuracy": right / len(groups), "accuracy of the rotations": sum(each) / len(each)}
    return {"choice_circular": each}, {"choice_circular": figures}


def lmms_eval_pope(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    names = run(source)
    each = [
        names["pope_process_results"]({"answer": row["references"][0], "question_id": 0}, [row["prediction"]])
        for row in rows
    ]
    ours = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "F1": "f1_score"}
    figures = {
        name: names[f"pope_aggregate_{official}"]([one[f"pope_{official}"] for one in each])
        for name, official in (ours | {"yes ratio": "yes_ratio"}).items()
    }
    return {"yes_no": [one["pope_accuracy"]["score"] for one in each]}, {"yes_no": figures}


def _of_pope(said: list[str], rows: Rows, found: Mapping[str, float]) -> Outputs:
    names = {"accuracy": "acc", "precision": "precision", "recall": "recall", "F1": "f1", "yes ratio": "yes_ratio"}
    figures = {f"first sentence: {name}": found[official] for name, official in names.items()}
    scores = [float(one == row["references"][0]) for one, row in zip(said, rows, strict=True)]
    return {"yes_no_first_sentence": scores}, {"yes_no_first_sentence": figures}


def pope_official(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    with tempfile.TemporaryDirectory() as folder:
        files = {"ans_file": Path(folder, "answers"), "label_file": Path(folder, "labels")}
        files["ans_file"].write_text("".join(json.dumps({"answer": row["prediction"]}) + "\n" for row in rows))
        files["label_file"].write_text("".join(json.dumps({"label": row["references"][0]}) + "\n" for row in rows))
        script = source.decode()
        for name, path in files.items():  # the script leaves its two paths to be filled in
            script = script.replace(f"{name} = ''", f"{name} = {str(path)!r}")
        names = run(script)
    return _of_pope([answer["answer"] for answer in names["answers"]], rows, names)


def llava_pope(code: dict[str, bytes], rows: Rows) -> Outputs:
    (source,) = code.values()
    answers = [{"text": row["prediction"]} for row in rows]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as heard:
        labels = Path(folder, "labels")
        labels.write_text("".join(json.dumps({"label": row["references"][0]}) + "\n" for row in rows))
        run(source)["eval_pope"](answers, str(labels))
    said = dict(re.findall(r"^(\w[\w ]+): ([\d.e-]+)$", heard.getvalue(), re.MULTILINE))
    names = {
        "acc": "Accuracy",
        "precision": "Precision",
        "recall": "Recall",
        "f1": "F1 score",
        "yes_ratio": "Yes ratio",
    }
    return _of_pope([one["text"] for one in answers], rows, {name: float(said[key]) for name, key in names.items()})


def mme_official(code: dict[str, bytes], rows: Rows) -> Outputs:
    (archive,) = code.values()
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        source = files.read("eval_tool/calculation.py")
    calculation = run(source)["calculate_metrics"]()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as heard:
        for category in {row["category"] for row in rows}:
            lines = [
                f"{row['id']}.jpg\tIs it?\t{row['references'][0]}\t{row['prediction']}\n"
                for row in rows
                if row["category"] == category
            ]
            Path(folder, f"{category}.txt").write_text("".join(lines))
        calculation.process_result(folder)
    totals = [float(text) for text in re.findall(r"total score: ([\d.]+)", heard.getvalue())]
    each = [float(calculation.parse_pred_ans(r["prediction"].lower()) == r["references"][0].lower()) for r in rows]
    return {"mme": each}, {"mme": dict(zip(("perception", "cognition"), totals, strict=True))}


def pycocoevalcap(code: dict[str, bytes], rows: Rows) -> Outputs:
    import pycocoevalcap.bleu.bleu
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    installed = Path(pycocoevalcap.bleu.bleu.__file__).parents[1]
    for file, content in code.items():
        assert (installed / file).read_bytes() == content, f"the installed {file} is not the commit's"
    wanted = {n: [{"caption": text} for text in row["references"]] for n, row in enumerate(rows)}
    said = {number: [{"caption": row["prediction"]}] for number, row in enumerate(rows)}
    wanted, said = PTBTokenizer().tokenize(wanted), PTBTokenizer().tokenize(said)
    bleu, bleu_each = Bleu(4).compute_score(wanted, said, verbose=0)
    meteor, meteor_each = Meteor().compute_score(wanted, said)
    scores = {
        "bleu": bleu_each[3],
        "cider": Cider().compute_score(wanted, said)[1].tolist(),
        "meteor": meteor_each,
        "rouge_l": Rouge().compute_score(wanted, said)[1].tolist(),
    }
    figures = {
        "bleu": {f"BLEU-{order}": value for order, value in enumerate(bleu, start=1)},
        "meteor": {"METEOR": meteor},
    }
    return scores, figures


def words(rows: Rows) -> list[str]:
    """What the official tokeniser makes of the predictions."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    said = PTBTokenizer().tokenize({number: [{"caption": row["prediction"]}] for number, row in enumerate(rows)})
    return [said[number][0] for number in range(len(rows))]


RUN: dict[str, Callable[[dict[str, bytes], Rows], Outputs]] = {
    one.__name__: one
    for one in (
        vqa_official,
        lmms_eval_vqav2,
        mmf_textvqa,
        vizwiz_copy,
        gqa_copy,
        pix2struct,
        docvqa_copy,
        lmms_eval_scienceqa,
        llava_scienceqa,
        lmms_eval_seedbench,
        vlmevalkit,
        vlmevalkit_circular,
        lmms_eval_pope,
        pope_official,
        llava_pope,
        mme_official,
        pycocoevalcap,
    )
}


def make(pair: Pair, checkout: str) -> None:
    """Runs the pair's evaluator and writes its file."""
    code = {file: committed(checkout, pair.commit, file) for file in pair.files}
    made = cases(pair.kind)
    scores, figures = RUN[pair.name](code, json.loads(json.dumps(made)))
    assert set(scores) == set(pair.metrics) and all(len(one) == len(made) for one in scores.values())
    evaluator = {"repository": f"github.com/{pair.repository}", "commit": pair.commit, "files": list(pair.files)}
    write(
        pair,
        {
            "evaluator": evaluator,
            "cases": made,
            "scores": {name: [float(f"{one:.12g}") for one in values] for name, values in scores.items()},
            "figures": figures,
            **({"words": words(made)} if pair.kind == "captions" else {}),
        },
    )
    print(f"{pair.path.name}: {len(made)} cases, {pair.path.stat().st_size:,} bytes")


if __name__ == "__main__":
    by_name = {pair.name: pair for pair in PAIRS}
    for name, checkout in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        make(by_name[name], checkout)
