"""An invented result and gallery for the report's tests; no number in it was measured."""

from __future__ import annotations

import json
import math
import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image, ImageDraw

from eval_harness.gallery import Answer, Sample
from recipes.chain import Chain
from recipes.recipe import load_recipe
from recipes.result import result_of
from recipes.stages import STAGES

RECIPES = Path(__file__).parents[2] / "recipes"
RAN = {
    "prepare": ("09:12:44", 9.4, 820),
    "leaks": ("09:12:54", 1.0, 700),
    "attach": ("09:12:55", 3.0, 700),
    "before": ("09:12:58", 102, 1710),
    "train": ("09:14:40", 492, 4310),
    "after": ("09:22:52", 104, 1790),
    "collapse": ("09:24:36", 4.1, 700),
    "merge": ("09:24:40", 6, 900),
    "verify": ("09:24:46", 41, 1905),
}
"""Stage → when it began, its seconds, its MiB."""

COLOURS = {"red": "#d63a2f", "blue": "#2d5fd0", "green": "#2f9e53", "yellow": "#e8c02a", "brown": "#7a4a26"}
SHAPES = ("circle", "rectangle", "triangle")
CHANGES = ("wrong-right", "wrong-right", "wrong-wrong", "right-wrong", "right-right", "wrong-right")


@cache
def _result() -> str:
    return json.dumps(_made())


def fake_result() -> dict[str, Any]:
    """A whole result.json, every key present."""
    return json.loads(_result())


def _made() -> dict[str, Any]:
    """As `write_result` makes it, from the stamps that a chain writes."""
    chance = random.Random(0)
    log: list[dict[str, float]] = []
    for step in range(1, 241):
        loss = (0.21 + 7.5 * math.exp(-step / 9) + 0.4 * math.exp(-step / 60)) * math.exp(chance.gauss(0, 0.22))
        rate = 3e-4 * min(1, step / 8) * 0.5 * (1 + math.cos(math.pi * step / 240))
        log.append({"step": step, "loss": loss, "learning_rate": rate, "grad_norm": 1.0})
        if step % 60 == 0:
            log.append({"step": step, "eval_loss": 0.24 + 0.4 * math.exp(-step / 60)})
    controls = {
        "blank": _scores(0.52, 0.84, 0.196),
        "shuffled": _scores(0.531, 0.863, 0.2),
        "prior": _scores(0.528, 0.824, 0.232),
    }
    common = {
        "task": "easy_vqa_test",
        "version": 1,
        "metric": "exact_match",
        "split": "test",
        "n": 1000,
        "prompt_example": "USER: <image>\nWhat color is the triangle?\n"
        "Answer the question using a single word or phrase. ASSISTANT:",
        "decoding": {"do_sample": False, "max_new_tokens": 8},
        "batch_size": 32,
        "seconds": 104.2,
        "samples_per_second": 9.6,
    }
    outputs = {
        "prepare": {"rows": 1000, "left_out": {}, "dtype": "float32"},
        "leaks": {"pictures": 0},
        "attach": {
            "adapted_layers": {"language": 210, "projector": 2},
            "parameters": {"base": 157_338_240, "adapter": 4_884_480, "full": 0, "generator": 161_188_224},
        },
        "before": {**common, "scores": _scores(0.078, 0.103, 0.052), "controls": {}},
        "train": {"steps": 240, "step_seconds_median": 2.03, "final_loss": 0.204, "log": log},
        "after": {
            "summary": {**common, "scores": _scores(0.948, 0.954, 0.942), "controls": controls},
            "verdict": {
                "status": "looks",
                "sentence": "Open questions: 94.2 % (92.1–96.1), above every control’s upper bound (27.0 %).",
            },
        },
        "collapse": {},
        "merge": {},
        "verify": {
            "dtype": "float32",
            "collapse_error": 1.3e-7,
            "collapse_bound": 1e-5,
            "merge_error": 4.4e-7,
            "merge_bound": 1e-5,
            "answers": {"n": 64, "different": 0, "explained": 0},
            "hashes": {"adapter": "9f" * 32, "merged": "3c" * 32},
        },
    }
    recipe = load_recipe(RECIPES / "llava_vqa.yaml", "demo", ["train.learning_rate=3e-4", "train.max_steps=240"])
    with TemporaryDirectory() as folder:
        chain = Chain(STAGES, recipe, Path(folder))
        for name, (began, seconds, memory) in RAN.items():
            chain.finish(name, outputs[name], f"2026-03-01T{began}+0000", seconds, memory)
        stamps = {name: chain.stamp(name) for name in RAN}
    return result_of(recipe, stamps, "bash recipes/llava_vqa.sh --preset demo train.learning_rate=3e-4")


def fake_gallery(n: int = 24) -> tuple[list[Sample], dict[tuple[str, str], tuple[Image.Image]]]:
    """Questions about drawn shapes, and their pictures; the kinds of change repeat in a fixed order."""
    chance = random.Random(0)
    drawn = [_sample(index, chance) for index in range(n)]
    return [sample for sample, _ in drawn], {(sample.task, sample.id): (picture,) for sample, picture in drawn}


def _scores(overall: float, closed: float, free: float) -> dict[str, dict[str, float]]:
    def cell(score: float, n: int) -> dict[str, float]:
        half = 1.96 * math.sqrt(score * (1 - score) / n)
        return {"score": score, "low": max(0, score - half), "high": min(1, score + half), "n": n}

    return {"overall": cell(overall, 1000), "yes/no": cell(closed, 500), "open": cell(free, 500)}


def _sample(index: int, chance: random.Random) -> tuple[Sample, Image.Image]:
    colour, shape = chance.choice(list(COLOURS)), chance.choice(SHAPES)
    picture = Image.new("RGB", (64, 64), "#f2ead9")
    draw, (x, y) = ImageDraw.Draw(picture), (chance.randint(4, 28), chance.randint(4, 28))
    box = (x, y, x + 30, y + 26)
    if shape == "triangle":
        draw.polygon([(x, y + 26), (x + 15, y), (x + 30, y + 26)], fill=COLOURS[colour])
    else:
        {"circle": draw.ellipse, "rectangle": draw.rectangle}[shape](box, fill=COLOURS[colour])
    if index % 2:
        category, question, answer, wrong = "open", f"what color is the {shape}?", colour, "The image shows a"
    else:
        category, question, answer, wrong = "yes/no", f"is there a {colour} {shape} in the image?", "yes", "no"
    was, now = (part == "right" for part in CHANGES[index % len(CHANGES)].split("-"))
    sample = Sample(
        id=f"test-{1000 + 37 * index}",
        task="easy_vqa_test",
        category=category,
        question=question,
        references=(answer,),
        answers=(
            Answer(answer if was else wrong, float(was)),
            Answer(answer if now else "green" if category == "open" else wrong, float(now)),
        ),
    )
    return sample, picture
