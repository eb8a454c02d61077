"""What the families' proofs share: each family's tiny model, built once a session, and rows to show it."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import os
import shutil
import tempfile
from pathlib import Path
from random import Random

from PIL import Image

from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import TinyFamily, build
from data_prep.example import Example
from mlplora_vlm.attach import AdapterSection
from mlplora_vlm.families.card import FamilyCard, known_families
from mlplora_vlm.families.processor import FamilyProcessor
from mlplora_vlm.load import ModelSection, load_model, load_processor

FAMILIES = sorted(known_families())
SIZES = [(50, 33), (33, 50), (28, 28), (64, 64), (100, 40), (40, 100), (301, 97), (97, 301), (513, 511), (1, 7)]
"""(width, height); the last is smaller than any patch."""
ROOT = Path(os.environ.get("TINY_FAMILIES") or tempfile.mkdtemp(prefix="families-"))
"""Where the models are; a worker's are those of the tests that started it."""
if "TINY_FAMILIES" not in os.environ:
    atexit.register(shutil.rmtree, ROOT, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Family:
    """One family's tiny model on disk."""

    card: FamilyCard
    row: TinyFamily
    folder: Path
    section: ModelSection

    def model(self, **changes):
        """Loaded anew; in evaluation mode."""
        return load_model(str(self.folder), dataclasses.replace(self.section, **changes)).eval()

    @functools.cached_property
    def processor(self) -> FamilyProcessor:
        return load_processor(self.folder, self.section)

    @property
    def adapter(self) -> AdapterSection:
        """Language and projector: by adapters, or where the projector is a bare weight in full."""
        if self.card.bare_projector:
            return AdapterSection(on=("language",), full=("projector",), rank=3, alpha=6)
        return AdapterSection(rank=3, alpha=6)


@functools.cache
def family(model_type: str) -> Family:
    folder, row = ROOT / model_type, tiny_family(model_type)
    if not (folder / "processor_config.json").exists():
        build(folder, row)
    return Family(known_families()[model_type], row, folder, ModelSection(id=str(folder), dtype="float32"))


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Coloured noise, the same for a seed."""
    data = Random(f"{width} {height} {seed}").randbytes(3 * width * height)
    return Image.frombytes("RGB", (width, height), data)


def example(number: int, *sizes: tuple[int, int], question: str = "what color is the shape?", answer: str = "blue"):
    pictures = tuple(picture(width, height, number) for width, height in sizes)
    return Example(f"row/{number}", pictures, question, answer, (answer,), "test")
