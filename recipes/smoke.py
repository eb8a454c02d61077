"""Every recipe's smoke preset, run for real one after the other: ``python -m recipes.smoke [RECIPE …]``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_harness import facts, numbers
from mlplora_vlm.files import read_json
from recipes.recipe import available_presets, recipe_files

ROOT = Path(__file__).parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every run ended well and knows all of its rows by heart; else 1."""
    names = [path.stem for path in recipe_files(ROOT / "recipes") if "smoke" in available_presets(path)]
    parser = argparse.ArgumentParser(prog="python -m recipes.smoke", description=__doc__)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"some of: {', '.join(names)}")
    parser.add_argument("--out", type=Path, default=Path("out"), help="out/NAME-smoke is made anew (%(default)s)")
    given = parser.parse_args(arguments)
    results = {name: run(name, given.out / f"{name}-smoke") for name in given.recipes or names}
    show(results)
    return 0 if all(result and by_heart(result) for result in results.values()) else 1


def run(name: str, out: Path) -> Mapping[str, Any]:
    """result.json of the recipe's smoke run through its shell file; empty where the run failed."""
    environment = {"MLPLORA_PYTHON": sys.executable} | os.environ | {"PRESET": "smoke", "OUT": str(out.absolute())}
    done = subprocess.run(["bash", f"recipes/{name}.sh", "--force"], cwd=ROOT, env=environment, check=False)
    return read_json(out / "result.json") if done.returncode == 0 else {}


def by_heart(result: Mapping[str, Any]) -> bool:
    """Whether every row that was trained on is answered right."""
    return facts.by_heart(result) and _overall(result).get("score") == 1


def show(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints a row a recipe."""
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "by heart", "time", "collapse error", "merge error")
    for name, result in results.items():
        if not result:
            table.add_row(name, "failed")
            continue
        cell, verify = _overall(result), facts.section(result, "verify")
        table.add_row(
            name,
            numbers.of_all(cell["score"], cell["n"]),
            numbers.duration(sum(facts.section(result, "seconds").values())),
            *(numbers.error(verify[f"{what}_error"]) for what in ("collapse", "merge")),
        )
    Console().print(table)


def _overall(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return facts.at(result, "scores", "after", "scores", "overall") or {}


if __name__ == "__main__":
    sys.exit(main())
