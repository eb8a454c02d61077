"""Official evaluators beside ours: which code, on which cases, what it said, and where and why we say otherwise.

NAME.json.gz beside this file holds the cases and the official outputs: ``evaluator`` (repository, commit, files),
``cases`` (rows), ``scores`` and ``figures`` by metric; for captions also ``words``, the predictions as the official
tokeniser parts them.  `make.py` writes it by running the official code.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cause:
    """Why an official output differs from ours."""

    text: str
    explains: Callable[[Row], bool]
    """Whether the cause is there in a case.  A case counts for the first cause that is."""


@dataclass(frozen=True)
class Pair:
    """An official evaluator, and which of our metrics stand beside it."""

    name: str
    repository: str
    """On GitHub."""
    commit: str
    files: tuple[str, ...]
    kind: str
    """Of the cases: see agreement_cases.py."""
    metrics: tuple[str, ...]
    causes: tuple[Cause, ...] = ()
    figure_causes: tuple[tuple[str, str], ...] = ()
    """(figure that differs, why)."""
    tolerance: float = 1e-9
    slow: bool = False

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.json.gz"


LMMS_EVAL = ("EvolvingLMMs-Lab/lmms-eval", "75571cfe0fa36ca5ec2e6aa2bb268f9d38295af3")
LLAVA = ("haotian-liu/LLaVA", "c121f0432da27facab705978f83c4ada465e46fd")
VLMEVALKIT = ("open-compass/VLMEvalKit", "e8e78f05f3080fe28154f2130321f17951c3be94")
MATCHING, CHOICES = "vlmeval/utils/matching_util.py", "vlmeval/dataset/utils/multiple_choice.py"


def _said(pattern: str) -> Callable[[Row], bool]:
    found = re.compile(pattern)
    return lambda row: bool(found.search(row["prediction"]))


def _anyone_said(pattern: str) -> Callable[[Row], bool]:
    found = re.compile(pattern)
    return lambda row: any(found.search(text) for text in [row["prediction"], *row["references"]])


PAIRS: tuple[Pair, ...] = (
    Pair(
        "vqa_official",
        "GT-Vision-Lab/VQA",
        "a013f0043c1e2cdc995922dfe257f7149aa9af06",
        ("PythonEvaluationTools/vqaEvaluation/vqaEval.py",),
        "vqa",
        ("vqa_accuracy",),
    ),
    Pair(
        "lmms_eval_vqav2",
        *LMMS_EVAL,
        ("lmms_eval/tasks/_task_utils/vqa_eval_metric.py", "lmms_eval/tasks/vqav2/utils.py"),
        "vqa",
        ("vqa_accuracy_always",),
        (
            Cause(
                "two commas in a row inside a number are one to it; to the official script, and to us, they are none",
                _anyone_said(r"\d,,+\d"),
            ),
        ),
    ),
    Pair(
        "mmf_textvqa",
        "facebookresearch/mmf",
        "b0ffc7fba39f210f833c127362146aec01a2f259",
        ("mmf/utils/m4c_evaluators.py",),
        "vqa",
        ("vqa_accuracy_m4c",),
    ),
    Pair(
        "vizwiz_copy",
        "TRI-ML/vlm-evaluation",
        "d9f58967de7f62371ee068dbfa07878cdaef5607",
        ("vlm_eval/util/evaluation/vizwiz/eval.py",),
        "vqa",
        ("vqa_accuracy_vizwiz",),
        (
            Cause(
                "the copy's table of contractions has a backtick where VizWiz's own has a typographic apostrophe",
                _said(r"(?i)’|dont|wont|isnt|whats|whos|\bhes\b|theyre|couldn'tve|shouldve|yall|oclock|somebody"),
            ),
        ),
    ),
    Pair(
        "gqa_copy",
        "junayednaushad/Relation-Network-VQA",
        "64f6c6a08b54450a41430335ab8c96ca7cde1435",
        ("gqa/eval.py",),
        "short",
        ("gqa_match",),
    ),
    Pair(
        "pix2struct",
        "google-research/pix2struct",
        "945f27e936c9464d9d7c133f1bd1f4f383be9e99",
        ("pix2struct/metrics.py",),
        "numbers",
        ("relaxed_accuracy",),
    ),
    Pair(
        "docvqa_copy",
        "QwenLM/Qwen-VL",
        "aa00ed04091eea5fcdd32985e7915f1c53e7d599",
        ("eval_mm/infographicsvqa_eval.py",),
        "accepted",
        ("anls",),
    ),
    Pair("lmms_eval_scienceqa", *LMMS_EVAL, ("lmms_eval/tasks/scienceqa/utils.py",), "choice", ("choice_letter",)),
    Pair(
        "llava_scienceqa",
        *LLAVA,
        ("llava/eval/eval_science_qa.py",),
        "choice",
        ("choice_letter",),
        (
            Cause('it reads "The answer is B."', _said(r"The answer is [A-Z].")),
            Cause("it takes no lower-case letter", _said(r"^[a-e]$")),
            Cause("it takes no letter with spaces around it", _said(r"^\s+[A-E]\s*$")),
            Cause('it takes "B. text" only with a space after the full stop', _said(r"^[A-E]\.(?! )")),
        ),
    ),
    Pair(
        "lmms_eval_seedbench",
        *LMMS_EVAL,
        ("lmms_eval/tasks/seedbench/utils.py",),
        "choice",
        ("choice_letter",),
        (Cause("it takes the first sign for the letter, whatever follows", _said(r"(?i)^\s*[a-e][^.]")),),
    ),
    Pair("vlmevalkit", *VLMEVALKIT, (MATCHING, CHOICES), "choice", ("choice_lenient",)),
    Pair("vlmevalkit_circular", *VLMEVALKIT, (MATCHING, CHOICES), "circular", ("choice_circular",)),
    Pair(
        "lmms_eval_pope",
        *LMMS_EVAL,
        ("lmms_eval/tasks/pope/utils.py",),
        "yes_no",
        ("yes_no",),
        figure_causes=(
            ("yes ratio", "it counts the right answers; we count the predictions, as POPE's own script does"),
        ),
    ),
    Pair(
        "pope_official",
        "AoiDragon/POPE",
        "08d957b917e5a378a2f99d35b6293c536a66298b",
        ("evaluate.py",),
        "yes_no",
        ("yes_no_first_sentence",),
    ),
    Pair("llava_pope", *LLAVA, ("llava/eval/eval_pope.py",), "yes_no", ("yes_no_first_sentence",)),
    Pair(
        "mme_official",
        "BradyFU/Awesome-Multimodal-Large-Language-Models",
        "dd2950902889cd614d4edf606827240166d29381",
        ("tools/eval_tool.zip",),
        "mme",
        ("mme",),
    ),
    Pair(
        "pycocoevalcap",
        "salaniz/pycocoevalcap",
        "ad63453cfab57a81a02b2949b17a91fab1c3df77",
        (
            "tokenizer/ptbtokenizer.py",
            "bleu/bleu.py",
            "bleu/bleu_scorer.py",
            "cider/cider.py",
            "cider/cider_scorer.py",
            "meteor/meteor.py",
            "rouge/rouge.py",
        ),
        "captions",
        ("bleu", "cider", "meteor", "rouge_l"),
        tolerance=1e-6,
        slow=True,
    ),
)


@lru_cache
def read(pair: Pair) -> dict[str, Any]:
    """The committed file."""
    return json.loads(gzip.decompress(pair.path.read_bytes()))


def write(pair: Pair, data: Mapping[str, Any]) -> None:
    """Writes the file, the same bytes for the same data."""
    pair.path.write_bytes(gzip.compress(json.dumps(data, ensure_ascii=False).encode(), compresslevel=9, mtime=0))


def rows(pair: Pair) -> list[dict[str, Any]]:
    """The cases as rows of predictions.jsonl."""
    return [
        {"id": f"{pair.kind}/{number}", "category": "all", "question": "", **case}
        for number, case in enumerate(read(pair)["cases"])
    ]


@lru_cache
def ours(pair: Pair, metric: str) -> tuple[tuple[float, ...], dict[str, float]]:
    """Our scores, and our figures' values, over the cases."""
    from eval_harness.metrics import Metric

    cases, scorer = rows(pair), Metric(metric)
    scores = scorer.scores(
        [row["prediction"] for row in cases], [row["references"] for row in cases], [row["question"] for row in cases]
    )
    return tuple(scores), {
        name: float(figure.value(figure.counts.sum(0))) for name, figure in scorer.figures(cases).items()
    }


def differing(pair: Pair, metric: str) -> dict[str, list[int]]:
    """By cause, the cases where ours is not the official score; "" has those that no cause explains."""
    official, cases = read(pair)["scores"][metric], rows(pair)
    found: dict[str, list[int]] = {}
    for number, (one, other) in enumerate(zip(ours(pair, metric)[0], official, strict=True)):
        if abs(one - other) > pair.tolerance:
            cause = next((cause.text for cause in pair.causes if cause.explains(cases[number])), "")
            found.setdefault(cause, []).append(number)
    return found


def differing_figures(pair: Pair, metric: str) -> list[str]:
    """The official figures that ours are not equal to."""
    mine = ours(pair, metric)[1]
    official = read(pair)["figures"].get(metric, {})
    return [
        name for name, value in official.items() if abs(mine[name] - value) > max(pair.tolerance, 1e-9 * abs(value))
    ]
