"""Lengths of rows in tokens as two kinds of training data have them, drawn from what is published of such data.

Counts of rows, pictures and questions are published (the source stands beside them).  What is not published is assumed
and said to be: how many tokens questions and answers have, how they spread, and the shares of picture sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Chance = np.random.Generator
Size = tuple[int, int]
Tokens = Callable[[Chance, int], "NDArray[np.int64]"]
"""(chance, how many) → so many numbers of tokens."""

LLAVA, QWEN = "llava-hf/llava-1.5-7b-hf", "Qwen/Qwen2.5-VL-7B-Instruct"

VQAV2_QUESTIONS, VQAV2_PICTURES = 443_757, 82_783
"""Of the training split (visualqa.org/download.html)."""
GQA_QUESTIONS = 943_000
"""Of the balanced training split, about 72,140 pictures (cs.stanford.edu/people/dorarad/gqa)."""
OCR_VQA_QUESTIONS, OCR_VQA_PICTURES = 1_002_146, 207_572
"""ocr-vqa.github.io; the mixture has 80,000 of the pictures."""
LLAVA_CONVERSATIONS = 250_000
"""Turns of conversation_58k.json, about (github.com/opendatalab/VIGC, issue 17)."""

ANSWER_BRIEFLY = 11  # tokens of "\nAnswer the question using a single word or phrase."
LLAVA_FIXED = (
    12 + 576
)  # what stands around question and answer (USER: … ASSISTANT: …), and the picture's 24 x 24 patches
QWEN_FIXED, QWEN_TURN, QWEN_PICTURE = 11, 10, 2  # the system message, what stands around a turn and around a picture


def questions(chance: Chance, rows: int, mean: float = 6.2, deviation: float = 2.0) -> NDArray[np.int64]:
    """Words, most of them four to ten (as Anderson et al. 2018, arXiv:1711.07280, say of VQA), as tokens.

    Assumed: a normal distribution with this mean and deviation, three words in ten of two tokens, and a question mark.
    """
    words = np.maximum(2, np.rint(chance.normal(mean, deviation, rows)).astype(np.int64))
    return words + chance.binomial(words, 0.3) + 1


def answers(chance: Chance, rows: int) -> NDArray[np.int64]:
    """Assumed: nine short answers in ten are one word, the others two or three; a word in ten has two tokens."""
    words = chance.choice(np.array([1, 2, 3]), rows, p=[0.9, 0.07, 0.03])
    return words + chance.binomial(words, 0.1)


def around(median: float, spread: float) -> Tokens:
    """A logarithmic normal distribution; ``spread`` is the deviation of its logarithm."""
    return lambda chance, rows: np.maximum(1, np.rint(chance.lognormal(np.log(median), spread, rows))).astype(np.int64)


def asked(mean: float, deviation: float) -> Tokens:
    return lambda chance, rows: questions(chance, rows, mean, deviation)


def on_average(turns: float) -> Tokens:
    """Turns of a row: one, and a Poisson number (an assumption) that makes this mean."""
    return lambda chance, rows: 1 + chance.poisson(turns - 1, rows)


def between(least: int, most: int) -> Tokens:
    return lambda chance, rows: chance.integers(least, most + 1, rows)


def once(chance: Chance, rows: int) -> NDArray[np.int64]:
    return np.ones(rows, np.int64)


COCO: Mapping[Size, float] = {
    (640, 480): 0.25, (640, 427): 0.19, (480, 640): 0.10, (640, 426): 0.06, (427, 640): 0.06, (500, 375): 0.06,
    (640, 425): 0.04, (640, 424): 0.03, (640, 428): 0.03, (612, 612): 0.03, (500, 333): 0.03, (375, 500): 0.03,
    (640, 360): 0.02, (640, 640): 0.02, (640, 512): 0.01, (640, 383): 0.01, (333, 500): 0.01, (640, 320): 0.01,
    (500, 500): 0.01,
}  # fmt: skip
"""Assumed shares; that nine pictures in ten have 167,500 to 355,840 pixels, and a height of 0.6 to 1.5 widths, is
published (github.com/Lextal/SotA-CV, content/datasets/coco_detection.md)."""
VISUAL_GENOME: Mapping[Size, float] = {
    (500, 375): 0.25, (640, 480): 0.15, (375, 500): 0.10, (640, 427): 0.10, (500, 333): 0.10, (800, 600): 0.10,
    (1024, 768): 0.08, (1024, 683): 0.06, (480, 640): 0.06,
}  # fmt: skip
"""Assumed: pictures of COCO and of YFCC100M."""
COVERS: Mapping[Size, float] = {(333, 500): 0.5, (375, 500): 0.2, (313, 500): 0.15, (400, 500): 0.1, (500, 500): 0.05}
"""Assumed: covers of books."""
OPEN_IMAGES: Mapping[Size, float] = {
    (1024, 768): 0.45, (1024, 683): 0.25, (768, 1024): 0.15, (683, 1024): 0.05, (1024, 1024): 0.05, (1024, 576): 0.05
}  # fmt: skip
"""Assumed: the longer side has 1024 pixels."""


@dataclass(frozen=True)
class Part:
    """A part of a mixture: how many rows, with which pictures, and the tokens of its turns."""

    rows: int
    sizes: Mapping[Size, float]
    """(width, height) of the row's picture → share; empty: a row without one."""
    turns: Tokens
    question: Tokens
    answer: Tokens
    opening: int = 0
    """Tokens of the first question that say how to answer."""


MIX665K: Mapping[str, Part] = {
    "LLaVA conversations": Part(
        57_895, COCO, on_average(LLAVA_CONVERSATIONS / 57_895), asked(9, 3), around(50, 0.5)
    ),
    "LLaVA descriptions": Part(22_958, COCO, once, around(12, 0.3), around(120, 0.3)),
    "LLaVA reasoning": Part(76_859, COCO, once, asked(14, 4), around(140, 0.35)),
    "ShareGPT": Part(40_688, {}, once, around(60, 1.0), around(600, 0.9)),
    "VQAv2": Part(
        VQAV2_PICTURES, COCO, on_average(VQAV2_QUESTIONS / VQAV2_PICTURES), questions, answers, ANSWER_BRIEFLY
    ),
    "GQA": Part(72_140, VISUAL_GENOME, on_average(GQA_QUESTIONS / 72_140), asked(8, 3), answers, ANSWER_BRIEFLY),
    "OKVQA": Part(8_998, COCO, once, asked(8, 2.5), answers, ANSWER_BRIEFLY),
    "OCR-VQA": Part(
        80_000, COVERS, on_average(OCR_VQA_QUESTIONS / OCR_VQA_PICTURES), asked(6, 1.5), around(4, 0.6), ANSWER_BRIEFLY
    ),
    "A-OKVQA": Part(66_160, COCO, once, asked(9, 2.5), answers, 35),
    "TextCaps": Part(21_953, OPEN_IMAGES, once, around(50, 0.6), around(14, 0.3), 12),
    "RefCOCO": Part(48_447, COCO, between(1, 9), around(25, 0.4), around(12, 0.6), 10),
    "Visual Genome": Part(86_417, VISUAL_GENOME, between(5, 10), around(12, 0.4), around(20, 0.2), 15),
}  # fmt: skip
"""llava_v1_5_mix665k: 665,298 rows, by part as counted in github.com/haotian-liu/LLaVA, issue 702; LLaVA's own three
kinds as the names of their files say (docs/Data.md there: 58, 23 and 77 thousand), scaled to their 157,712 rows.
ShareGPT's conversations are drawn whole, as one turn; Liu et al. 2023 (arXiv:2310.03744) cut them at 2048 tokens."""
CUT = 2048


def short_answers(chance: Chance, rows: int = VQAV2_QUESTIONS) -> NDArray[np.int64]:
    """A question a row about LLaVA-1.5's 576 tokens of picture, and a short answer."""
    return LLAVA_FIXED + ANSWER_BRIEFLY + questions(chance, rows) + answers(chance, rows)


def conversations(chance: Chance, share: float = 1.0) -> NDArray[np.int64]:
    """The mixture for Qwen2.5-VL, or this share of each part, in random order."""
    tokens = picture_tokens({size for part in MIX665K.values() for size in part.sizes})
    return chance.permutation(
        np.concatenate([_rows(chance, part, round(part.rows * share), tokens) for part in MIX665K.values()])
    )


def _rows(chance: Chance, part: Part, rows: int, tokens: Mapping[Size, int]) -> NDArray[np.int64]:
    turns = part.turns(chance, rows)
    of_row = np.repeat(np.arange(rows), turns)
    said = QWEN_TURN + part.question(chance, len(of_row)) + part.answer(chance, len(of_row))
    lengths = QWEN_FIXED + part.opening + np.bincount(of_row, weights=said, minlength=rows).astype(np.int64)
    if not part.sizes:
        return np.minimum(lengths, CUT)
    shown = np.array([tokens[size] for size in part.sizes]) + QWEN_PICTURE
    return lengths + chance.choice(shown, rows, p=list(part.sizes.values()))


def picture_tokens(sizes: set[Size]) -> dict[Size, int]:
    """What Qwen2.5-VL's processor makes of pictures of these sizes, with its published settings."""
    from data_prep.demo.tiny import tiny_family
    from data_prep.demo.tiny.build import build_processor
    from data_prep.lengths import PictureTokens
    from mlplora_vlm.families.published import published_processor

    settings = published_processor(QWEN) or {}
    count = PictureTokens(build_processor(tiny_family("qwen2_5_vl"), **settings["image_processor"]))
    return {size: count.of_sizes([size]) for size in sorted(sizes)}
