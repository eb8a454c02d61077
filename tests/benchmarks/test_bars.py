"""Bars of every kind are drawn; a benchmark whose result is there has its picture, shown in the README."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import readme
from benchmarks.bars import Bars, plot_bars


def painted_in(path: Path) -> int:
    """Pixels of the first kind's colour."""
    colours = Image.open(path).convert("RGB").getcolors(1 << 20)
    return next(count for count, colour in colours if colour == (0x1F, 0x77, 0xB4))


@pytest.mark.parametrize("stacked", [False, True])
def test_bars_fill_their_share_of_the_axes(tmp_path: Path, stacked: bool) -> None:
    """Three times as long a bar takes three times the pixels of its colour."""

    def painted(value: float) -> int:
        panel = Bars("t", ["first", "second"], {"kind": [value, 0.0]}, "MiB", stacked=stacked, lines={"bound": 4.0})
        plot_bars(tmp_path / "bars.png", [panel])
        return painted_in(tmp_path / "bars.png")

    assert painted(3.0) > 2 * painted(1.0) > 1000


def test_whiskers_of_an_interval_are_drawn(tmp_path: Path) -> None:
    """Over the bar, of which they hide a part."""

    def left_of_the_bar(spread: float) -> int:
        panel = Bars("t", ["one"], {"k": [(2.0, 2 - spread, 2 + spread)]}, "s", lines={"": 4.0})
        plot_bars(tmp_path / "bars.png", [panel])
        return painted_in(tmp_path / "bars.png")

    assert left_of_the_bar(0.5) < left_of_the_bar(0.0)


def test_every_result_has_its_picture_in_the_readme() -> None:
    text = (readme.FOLDER / "README.md").read_text("utf-8")
    for result in (readme.FOLDER / "results").glob("*.json"):
        assert result.with_suffix(".png").exists(), result.name
        assert f"](results/{result.stem}.png)" in text, result.stem
