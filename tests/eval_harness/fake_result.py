"""An invented result and gallery for the report's tests; no number in it was measured."""

from __future__ import annotations

import math
import random
from typing import Any

from PIL import Image, ImageDraw

from eval_harness.gallery import Answer, Sample

COLOURS = {"red": "#d63a2f", "blue": "#2d5fd0", "green": "#2f9e53", "yellow": "#e8c02a", "brown": "#7a4a26"}
SHAPES = ("circle", "rectangle", "triangle")
CHANGES = ("wrong-right", "wrong-right", "wrong-wrong", "right-wrong", "right-right", "wrong-right")


def fake_result() -> dict[str, Any]:
    """A whole result.json, every key present."""
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
    return {
        "schema": 1,
        "recipe": {
            "name": "llava_vqa",
            "preset": "demo",
            "command": "PRESET=demo bash recipes/llava_vqa.sh train.learning_rate=3e-4",
            "resolved": {
                "model": {"id": "demo:smollm2-135m+vit-s", "dtype": "auto", "quantization": "none"},
                "data": {"source": "easy_vqa", "split": "train", "limit": 0, "prompt": "short_answer"},
                "adapter": {"kind": "lora", "generated": True, "rank": 16, "on": ("language", "projector")},
                "train": {"learning_rate": 3e-4, "max_steps": 240, "zero_stage": 2},
                "evaluate": {"task": "easy_vqa_test", "limit": 1000, "judge": "open"},
            },
        },
        "started": "2026-03-01T09:12:44+00:00",
        "finished": "2026-03-01T09:29:58+00:00",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "versions": {"python": "3.11.9", "torch": "2.14.1", "transformers": "5.23.0", "peft": "0.21.2"},
        "device": "CPU, 2 cores, AVX-512 bf16",
        "adapted_layers": {"language": 210, "projector": 2},
        "parameters": {"base": 157_338_240, "trained": 4_884_480, "generator": 161_188_224},
        "seconds": {
            "prepare": 9.4,
            "before": 102,
            "train": 492,
            "after": 104,
            "collapse": 4.1,
            "merge": 6,
            "verify": 41,
        },
        "peak_memory_mib": {"prepare": 820.0, "before": 1710.0, "train": 4310.0, "after": 1790.0, "verify": 1905.0},
        "training": {"steps": 240, "step_seconds_median": 2.03, "final_loss": 0.204, "log": log},
        "scores": {
            "before": {**common, "scores": _scores(0.078, 0.103, 0.052), "controls": {}},
            "after": {**common, "scores": _scores(0.948, 0.954, 0.942), "controls": controls},
        },
        "verdict": {
            "status": "looks",
            "sentence": "Open questions: 94.2 % (92.1–96.1), above every control’s upper bound (27.0 %).",
        },
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
