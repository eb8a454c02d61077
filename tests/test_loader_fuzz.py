"""No damaged file ends a command with a library's exception, or changes its result in silence (see loader_fuzz.py)."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from loader_fuzz import SUBJECTS, Result, mutations_of, tried


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_every_kind_of_damage_to_every_kind_of_file(name: str, tmp_path: Path) -> None:
    subject, random = SUBJECTS[name](tmp_path / "clean"), Random(0)
    kinds: dict[str, list[str]] = {}
    for file in subject.files:
        kinds.setdefault(Path(file).suffix, []).append(file)
    results: list[Result] = []
    for files in kinds.values():
        for mutation in mutations_of(files[0]):
            for seed in range(10):  # until it has changed something
                loader = random.choice(list(subject.loaders))
                if done := tried(subject, random.choice(files), mutation, seed, tmp_path / "work" / "copy", (loader,)):
                    results += done
                    break
            else:
                raise AssertionError(f"{mutation} changed none of {files}")
    assert not [result for result in results if result.fault]
    assert any(result.outcome == "refused" for result in results)
