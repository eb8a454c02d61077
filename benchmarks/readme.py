"""Makes the tables of benchmarks/README.md from benchmarks/results/*.json: ``python -m benchmarks.readme``.

A benchmark NAME has a module ``benchmarks.NAME`` with ``table(result) -> str`` in Markdown, its result in
results/NAME.json, and a pair of comments NAME:begin and NAME:end in README.md.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mlplora_vlm.files import read_json, write_text
from recipes.readme import command, replaced

FOLDER = Path(__file__).parent
MARK = re.compile(r"<!-- (\w+):begin -->")


def main(argv: Sequence[str] | None = None) -> int:
    """Brings the file up to date, or with ``--check`` returns 1 where it is stale."""
    return command("benchmarks.readme", __doc__, lambda check: update(FOLDER, check), argv)


def update(folder: Path, check: bool = False) -> list[Path]:
    """``folder``/README.md where it was stale; it is rewritten unless ``check``.

    Raises `MendableError` for a result that has no place in it.
    """
    path = folder / "README.md"
    text = path.read_text("utf-8") if path.exists() else ""
    wanted = text
    results = {result.stem: result for result in sorted((folder / "results").glob("*.json"))}
    for name in dict.fromkeys([*MARK.findall(text), *results]):
        wanted = replaced(wanted, name, table(name, results.get(name)), path)
    if wanted != text and not check:
        write_text(path, wanted)
    return [path] if wanted != text else []


def table(name: str, result: Path | None) -> str:
    """What stands between the marks of one benchmark."""
    if result is None:
        return f"*No result yet: `python -m benchmarks.{name}` makes it.*"
    return importlib.import_module(f"benchmarks.{name}").table(read_json(result)).strip()


if __name__ == "__main__":
    sys.exit(main())
