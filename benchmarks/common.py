"""What the benchmarks share: arguments, cells that survive an interruption, results, differences of methods."""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval_harness.lr_curve import Values, difference
from mlplora_vlm import provenance
from mlplora_vlm.files import write_json

RESULTS = Path(__file__).parent / "results"
SCRATCH = Path(__file__).parents[1] / "out" / "benchmarks"
"""Unfinished runs and quick ones; git ignores it."""
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "numpy", "scipy", "scikit-learn")


def parse(name: str, description: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options that every benchmark has: ``quick``, and ``out`` (a folder)."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        epilog=f"example: OMP_NUM_THREADS=1 python -m benchmarks.{name}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; the numbers mean nothing")
    parser.add_argument(
        "--out", type=Path, help=f"folder of {name}.json and {name}.png (benchmarks/results; quick: out/benchmarks)"
    )
    options = parser.parse_args(argv)
    options.out = options.out or (SCRATCH / "quick" if options.quick else RESULTS)
    return options


def write_result(name: str, settings: Mapping[str, Any], measured: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Writes ``out``/NAME.json, with the environment that it was measured in; returns it as it was written."""
    result = {"benchmark": name, "environment": environment(), "settings": dict(settings), **measured}
    write_json(out / f"{name}.json", result)
    return result


def environment() -> dict[str, Any]:
    """Versions, processor, threads, date and commit."""
    torch = sys.modules.get("torch")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": provenance.commit(),
        "device": provenance.device(),
        "threads": torch.get_num_threads() if torch else None,
        "versions": provenance.versions(PACKAGES),
    }


def quartiles(values: Sequence[float]) -> dict[str, float | None]:
    """``q1``, ``median`` and ``q3``, rounded."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"q1": rounded(low), "median": rounded(middle), "q3": rounded(high)}


def clean_processes() -> Any:
    """A context whose processes start with the libraries imported and nothing else of the caller's: no backward pass
    has run in them, and nobody's accelerate or DeepSpeed state is there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bitsandbytes", "peft", "transformers"])
    return context


class Cells:
    """Finished cells of a long run, one JSON line each: what is there is not run again.

    The key must hold everything that changes a cell's value.  Delete the file after a change of the code.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, dict[str, Any]()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                try:
                    cell = json.loads(line)
                except json.JSONDecodeError:  # the last line of a run that was killed
                    continue
                self.found[_text(cell["key"])] = cell["value"]

    def __contains__(self, key: Mapping[str, Any]) -> bool:
        return _text(key) in self.found

    def __getitem__(self, key: Mapping[str, Any]) -> Any:
        return self.found[_text(key)]

    def __setitem__(self, key: Mapping[str, Any], value: Any) -> None:
        whole = not self.path.exists() or self.path.read_bytes()[-1:] in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("" if whole else "\n") + json.dumps({"key": key, "value": value}) + "\n")
        self.found[_text(key)] = value


def rounded(value: float, digits: int = 6) -> float | None:
    """``value`` with so many digits; None (null in JSON) where it is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def minus(first: Values, second: Values) -> dict[str, float | None]:
    """`difference` as JSON holds it; neither side has diverged."""
    return {k: rounded(v) for k, v in difference(finite(first), finite(second))._asdict().items()}


def finite(values: Values) -> list[float]:
    """The values of a setting where no seed diverged."""
    assert None not in values
    return [v for v in values if v is not None]


def signed(value: Mapping[str, float], form: str) -> str:
    """A difference with its interval, bold where that leaves 0 out; ``form`` such as ".3f"."""
    bold = "**" if value["low"] > 0 or value["high"] < 0 else ""
    return f"{bold}{value['mean']:+{form}}{bold} ({value['low']:+{form}} … {value['high']:+{form}})"


def _text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)
