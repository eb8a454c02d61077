"""The evaluation tasks: rows, not functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data_prep.rows import strict
from data_prep.section import SourceSection
from data_prep.sources import source_rows
from mlplora_vlm.errors import MendableError, did_you_mean

if TYPE_CHECKING:
    from data_prep.example import Example


@dataclass(frozen=True)
class Task:
    """What is asked, of which rows, and how answers are scored."""

    source: str
    """A module of data_prep/sources/."""
    split: str
    prompt: str
    """One of data_prep/prompts.py."""
    metric: str
    """A module of eval_harness/metrics/."""
    max_new_tokens: int
    prior_split: str | None
    """The training split that the answer prior is counted on; None: the set has none."""
    version: int
    """Raised with every change of what is asked or how it is scored: scores of two versions are not to be compared."""
    also: tuple[str, ...] = ()
    """Further metrics, which give figures beside the score."""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Keys of `SourceSection` that say how the source reads, such as a table's columns."""
    by_heart: bool = False
    """Asked about the rows that were trained on: it proves the chain, and is never a score."""

    def rows_of(self, split: str, folder: str | None) -> SourceSection:
        """Where the rows of a split are read."""
        return SourceSection(self.source, split, folder, **self.options)


_VQA, _LETTER = ("vqa_accuracy_always",), ("choice_lenient",)
_CAPTION = ("bleu", "meteor", "rouge_l")

TASKS = {
    "ai2d_test": Task("ai2d", "test", "option_letter", "choice_letter", 16, "train", version=1, also=_LETTER),
    "chartqa_test": Task("chartqa", "test", "short_answer", "relaxed_accuracy", 16, "train", version=1),
    "coco_captions_karpathy_test": Task(
        "coco_captions", "karpathy_test", "caption", "cider", 64, "karpathy_train", version=1, also=_CAPTION
    ),
    "coco_captions_val": Task("coco_captions", "val", "caption", "cider", 64, "train", version=2, also=_CAPTION),
    "docvqa_val": Task("docvqa", "val", "short_answer", "anls", 128, "train", version=1),
    "easy_vqa_test": Task("easy_vqa", "test", "short_answer", "exact_match", 8, "train", version=1),
    "flickr30k_test": Task("flickr30k", "test", "caption", "cider", 64, "train", version=1, also=_CAPTION),
    "gqa_testdev": Task("gqa", "testdev", "short_answer", "gqa_match", 16, "train", version=1),
    "info_vqa_val": Task("info_vqa", "val", "short_answer", "anls", 128, "train", version=1),
    "mmbench_dev": Task("mmbench", "dev", "option_letter", "choice_letter", 16, None, version=1, also=_LETTER),
    "mmbench_dev_circular": Task("mmbench", "dev_circular", "option_letter", "choice_circular", 16, None, version=1),
    "mme_all": Task("mme", "all", "short_answer", "mme", 16, None, version=1),
    "nlvr2_test1": Task("nlvr2", "test1", "true_or_false", "exact_match", 8, None, version=1),
    "no_caps_val": Task("no_caps", "val", "caption", "cider", 64, None, version=1, also=_CAPTION),
    "ok_vqa_val": Task("ok_vqa", "val", "short_answer", "vqa_accuracy", 16, "train", version=1, also=_VQA),
    **{
        f"pope_{subset}": Task(
            "pope", subset, "short_answer", "yes_no", 16, None, version=1, also=("yes_no_first_sentence",)
        )
        for subset in ("random", "popular", "adversarial")
    },
    "scienceqa_test_img": Task(
        "scienceqa", "test_img", "option_letter", "choice_letter", 16, "train_img", version=1, also=_LETTER
    ),
    "seed_bench_image": Task(
        "seed_bench", "image", "option_letter", "choice_letter", 16, None, version=1, also=_LETTER
    ),
    "shapes_sixteen": Task("shapes", "sixteen", "short_answer", "exact_match", 8, "sixteen", version=1, by_heart=True),
    "shapes_test": Task("shapes", "test", "short_answer", "exact_match", 8, "train", version=1),
    "stanford_cars_test": Task("stanford_cars", "test", "car_model", "exact_match", 32, "train", version=1),
    "textvqa_val": Task(
        "textvqa", "val", "short_answer", "vqa_accuracy_m4c", 16, "train", version=2, also=("vqa_accuracy",)
    ),
    "textvqa_val_ocr": Task(
        "textvqa", "val_ocr", "short_answer", "vqa_accuracy_m4c", 16, "train", version=2, also=("vqa_accuracy",)
    ),
    "vizwiz_val": Task(
        "vizwiz",
        "val",
        "answer_or_unanswerable",
        "vqa_accuracy_vizwiz",
        16,
        "train",
        version=2,
        also=("vqa_accuracy_m4c",),
    ),
    "vqav2_val": Task("vqav2", "val", "short_answer", "vqa_accuracy", 16, "train", version=1),
}


def known_task(name: str) -> Task:
    """The task of that name; raises MendableError for an unknown one."""
    if name not in TASKS:
        raise MendableError(
            f"there is no task {name!r}{did_you_mean(name, TASKS)}", "eval.task", f"one of: {', '.join(TASKS)}"
        )
    return TASKS[name]


def task_examples(section: SourceSection, ids: Collection[str]) -> list[Example]:
    """The section's rows with these ids, in the source's order: result rows join their pictures again."""
    return [row for row in strict(source_rows(section)) if row.id in ids]
