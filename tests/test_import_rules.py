"""Rooms import one way: mlplora_vlm ← data_prep ← eval_harness ← recipes ← benchmarks; names live where they belong."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("mlplora_vlm", "data_prep", "eval_harness", "recipes", "benchmarks")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
KNOW_DEEPSPEED = {"mlplora_vlm/sharding.py", "mlplora_vlm/training.py", "mlplora_vlm/checkpoint.py"}


def imported(path: Path) -> set[str]:
    """Every module a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def test_all_rooms_are_seen():
    assert len(FILES) > 60
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    later = ROOMS[ROOMS.index(room) + 1 :]
    wrong = {name for name in imported(path) if name.split(".")[0] in (*later, "tests")}
    assert not wrong, f"{path} imports {wrong}"


def test_only_the_engine_files_know_deepspeed():
    know = {
        str(path.relative_to(ROOT)) for path in FILES if any(n.split(".")[0] == "deepspeed" for n in imported(path))
    }
    assert know <= KNOW_DEEPSPEED


def test_module_paths_of_models_stay_in_the_family_cards():
    path_of_a_model = re.compile(r"model\.(language_model|vision_tower|multi_modal_projector|visual)\b")
    hits = {
        str(path.relative_to(ROOT))
        for path in FILES
        if path_of_a_model.search(path.read_text("utf-8")) and "families" not in path.parts and "demo" not in path.parts
    }
    assert not hits


def test_no_pickle_and_no_unsafe_yaml():
    unsafe = re.compile(r"\bimport pickle\b|pickle\.load|yaml\.(load|full_load|unsafe_load)\(|torch\.load\(")
    assert not [str(path) for path in FILES if unsafe.search(path.read_text("utf-8"))]
