"""A few drawn photographs of real sizes with questions, as a table that the recipe's own prompt and task read."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.prompts import PROMPTS
from mlplora_vlm.files import write_text

if TYPE_CHECKING:
    from PIL.Image import Image

SIZES = ((640, 480), (480, 640), (640, 427), (500, 375), (1024, 768), (333, 500))
"""Width x height in pixels: COCO's usual ones, a larger one and a narrow one."""
ROWS = {"train": 8, "test": 4}
COLORS = {"red": (200, 40, 40), "green": (40, 170, 60), "blue": (50, 70, 200), "yellow": (220, 210, 60)}
QUESTION = "what color is the shape?"


def write_rows(folder: Path, prompts: dict[str, str], seed: int = 0) -> None:
    """Write ``SPLIT.jsonl`` and the images of both splits; ``prompts``: the named prompt of each split."""
    chance = random.Random(seed)
    for split, count in ROWS.items():
        asks = "{question}" in PROMPTS[prompts[split]]
        lines = []
        for number in range(count):
            color = chance.choice(sorted(COLORS))
            name = f"images/{split}-{number}.jpg"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            photograph(SIZES[number % len(SIZES)], COLORS[color], chance.randrange(2**31)).save(folder / name)
            row = {"id": f"{split}-{number}", "image": name, "answer": color, "references": [color] * 10}
            lines.append(json.dumps(row | ({"question": QUESTION} if asks else {})))
        write_text(folder / f"{split}.jsonl", "\n".join(lines) + "\n")


def photograph(size: tuple[int, int], color: tuple[int, int, int], seed: int) -> Image:
    """A colored ellipse on a smooth background with grain: as hard to compress as a photograph."""
    import numpy as np
    from PIL import Image, ImageDraw

    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    width, height = size
    ImageDraw.Draw(image).ellipse([width // 4, height // 4, 3 * width // 4, 3 * height // 4], fill=color)
    grain = chance.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
