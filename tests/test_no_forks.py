"""No process is forked from one in which torch has worked: such a child cannot run a backward pass, and may hang."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mlplora_vlm", "data_prep", "eval_harness", "recipes", "benchmarks", "tests")
FORKING = {"fork", "forkpty"}
CONTEXTS = {"get_context", "set_start_method"}
DEFAULT = {"Process", "Pool", "Manager"}
"""Of the module multiprocessing itself they take the default context, which forks on Linux up to Python 3.13."""


def forks(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of every call that forks this process, or may."""
    modules = {"os": set(), "multiprocessing": set()}
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                base = alias.name.removeprefix("torch.")
                if base in modules and (alias.asname or alias.name == base):
                    modules[base].add(alias.asname or alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").removeprefix("torch.") in (
            *modules, "concurrent.futures", "concurrent.futures.process", "multiprocessing.pool",
        ):  # fmt: skip
            imported |= {alias.asname or alias.name: alias.name for alias in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        owner = (
            function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
        )
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        name = imported.get(name, name)
        bare = not isinstance(function, ast.Attribute) and getattr(function, "id", "") in imported
        words = {argument.value for argument in (*node.args, *(k.value for k in node.keywords))
                 if isinstance(argument, ast.Constant)}  # fmt: skip
        if name in FORKING and (owner in modules["os"] or bare):
            yield node.lineno, f"os.{name}"
        elif name in CONTEXTS and (FORKING & words or not (node.args or node.keywords) or words == {None}):
            yield node.lineno, f"{name}({', '.join(map(str, words))})"
        elif (
            name == "ProcessPoolExecutor" and len(node.args) < 2 and "mp_context" not in {k.arg for k in node.keywords}
        ):
            yield node.lineno, "ProcessPoolExecutor without a context"
        elif name in DEFAULT and (owner in modules["multiprocessing"] or bare):
            yield node.lineno, f"multiprocessing.{name}"


def files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_nothing_forks() -> None:
    assert len(files()) > 400
    found = [
        f"{path.relative_to(ROOT)}:{line} {what}"
        for path in files()
        for line, what in forks(ast.parse(path.read_text("utf-8")))
    ]
    assert not found, "use get_context('spawn') or a fork server that is started clean:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.fork()",
        "from os import fork\nfork()",
        "import multiprocessing\nmultiprocessing.get_context('fork')",
        "import torch.multiprocessing as mp\nmp.get_context('fork').Pool(2)",
        "import multiprocessing as mp\nmp.get_context().Pool(2)",
        "import multiprocessing as mp\nmp.set_start_method('fork', force=True)",
        "import multiprocessing\nmultiprocessing.Process(target=print)",
        "from multiprocessing import Pool\nPool(3)",
        "from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor(4)",
        "import concurrent.futures as c\nc.ProcessPoolExecutor(max_workers=4)",
    ],
)
def test_every_way_to_fork_is_seen(code: str) -> None:
    assert [line for line, _ in forks(ast.parse(code))] == [2]


@pytest.mark.parametrize(
    "code",
    [
        "import multiprocessing\nmultiprocessing.get_context('spawn').Process(target=print)",
        "from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor(1, context)",
        "import torch\ntorch.random.fork_rng()",
        "import os\nos.getpid()",
    ],
)
def test_other_processes_are_not(code: str) -> None:
    assert not list(forks(ast.parse(code)))
